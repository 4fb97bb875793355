//! Which headers travel, which way.
//!
//! Of a request everything travels but what belongs to one connection, to the caller's way to us
//! (tokens, cookies, addresses), or to us (`x-fairkey-*`). The key is put on by the client. Of an
//! answer everything travels but what belongs to one connection, cookies (which are a key's), and
//! what only an origin can say of itself: CORS, transport security, alternative services. Trailers
//! travel neither way: nobody looks for what must not among them.
//!
//! # Compression
//!
//! What has to be read on its way, answers of inference, is asked for without compression: usage
//! and failures are in there, and whoever passes what it cannot read calls every broken answer a
//! success. Everything else may be compressed as the caller likes, and passes as it is, as does a
//! compressed answer that comes in spite of what was asked for.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use fairkey_client::Served;
use fairkey_core::Class;
use fairkey_transport::{is_hop_by_hop, strip_hop_by_hop};

use crate::{Failure, Reason};

/// The label of the key that served the answer.
pub(crate) const X_FAIRKEY_KEY: HeaderName = HeaderName::from_static("x-fairkey-key");
/// How many attempts were made.
pub(crate) const X_FAIRKEY_ATTEMPTS: HeaderName = HeaderName::from_static("x-fairkey-attempts");
/// How many milliseconds the call stood in line for keys.
pub(crate) const X_FAIRKEY_QUEUE_MS: HeaderName = HeaderName::from_static("x-fairkey-queue-ms");
/// The name of the request, in logs and here.
pub(crate) const X_FAIRKEY_REQUEST_ID: HeaderName = HeaderName::from_static("x-fairkey-request-id");
/// How urgent a caller says that its request is: `interactive`, `normal` or `batch`.
pub(crate) const X_FAIRKEY_CLASS: HeaderName = HeaderName::from_static("x-fairkey-class");
/// Whether an SDK shall try again by itself.
pub(crate) const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// How many of these an answer has.
const OURS: usize = 4;

/// Of the caller's way to us.
static NOT_UPSTREAM: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// What only an origin says of itself, and cookies.
static NOT_TO_CALLERS: [HeaderName; 6] = [
    header::SET_COOKIE,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("public-key-pins"),
];

/// Takes off a request what does not travel. `is_read`: the answer has to be read on its way.
pub(crate) fn upstream(headers: &HeaderMap, is_read: bool) -> HeaderMap {
    // First of all: a caller could name there what is added later, such as the key.
    let named: Vec<&str> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let stays = |name: &HeaderName| {
        is_hop_by_hop(name)
            || NOT_UPSTREAM.contains(name)
            || (is_read && name == header::ACCEPT_ENCODING)
            || starts_with(name, &["x-fairkey-", "sec-"])
            || named
                .iter()
                .any(|named| named.eq_ignore_ascii_case(name.as_str()))
    };
    // What travels is copied: there are fewer of these than of the others to look for.
    let mut travels = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if !stays(name) {
            travels.append(name.clone(), value.clone());
        }
    }
    travels
}

/// Returns the class of a call: its tenant's, or a less urgent one that the caller names. Nobody
/// makes a call more urgent than its tenant may.
///
/// # Errors
///
/// Where what is named is no class: taken for none, a mistyped batch would stand before others.
pub(crate) fn class(headers: &HeaderMap, tenants: Class) -> Result<Class, Failure> {
    let Some(named) = headers.get(X_FAIRKEY_CLASS) else {
        return Ok(tenants);
    };
    let named = match named.as_bytes() {
        b"interactive" => Class::Interactive,
        b"normal" => Class::Normal,
        b"batch" => Class::Batch,
        _ => {
            let message = "the header x-fairkey-class is interactive, normal or batch";
            return Err(Failure::new(Reason::BadRequest, message));
        }
    };
    // The later, the less urgent.
    Ok(tenants.max(named))
}

/// Takes off an answer what does not travel.
pub(crate) fn to_caller(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    strip(headers, |name| {
        NOT_TO_CALLERS.contains(name) || starts_with(name, &["access-control-", "x-fairkey-"])
    });
    // For what is added, so that the map grows once, if at all.
    headers.reserve(OURS);
}

/// Says how an answer was had.
pub(crate) fn add_served(headers: &mut HeaderMap, served: &Served) {
    if let Ok(key) = HeaderValue::from_str(served.key.as_str()) {
        headers.insert(X_FAIRKEY_KEY, key);
    }
    add_effort(headers, served.attempts.len(), served.waited);
}

/// Says what was done for a call, whatever came of it.
pub(crate) fn add_effort(headers: &mut HeaderMap, attempts: usize, waited: std::time::Duration) {
    headers.insert(X_FAIRKEY_ATTEMPTS, number(attempts as u64));
    let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    headers.insert(X_FAIRKEY_QUEUE_MS, number(millis));
}

/// A number as a value. Nearly all are small: of one digit they are there already.
fn number(number: u64) -> HeaderValue {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let digit = usize::try_from(number).ok().and_then(|at| DIGITS.get(at));
    digit.map_or_else(|| number.into(), |digit| HeaderValue::from_static(digit))
}

fn strip(headers: &mut HeaderMap, is_out: impl Fn(&HeaderName) -> bool) {
    let out: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_out(name))
        .cloned()
        .collect();
    for name in &out {
        headers.remove(name);
    }
}

fn starts_with(name: &HeaderName, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|it| name.as_str().starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn what_belongs_to_the_callers_way_does_not_travel_on() {
        let headers = map(&[
            ("authorization", "Bearer theirs"),
            ("x-api-key", "theirs"),
            ("cookie", "a=b"),
            ("connection", "keep-alive, x-named"),
            ("x-named", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("host", "127.0.0.1:4210"),
            ("origin", "http://localhost"),
            ("x-forwarded-for", "10.0.0.7"),
            ("x-fairkey-key", "theirs"),
            ("sec-fetch-site", "same-origin"),
            ("accept-encoding", "gzip"),
            ("http-referer", "https://app.example"),
            ("x-title", "app"),
            ("x-session-id", "s"),
            ("x-openrouter-cache", "true"),
            ("anthropic-version", "2023-06-01"),
            ("content-type", "application/json"),
        ]);
        let kept = map(&[
            ("http-referer", "https://app.example"),
            ("x-title", "app"),
            ("x-session-id", "s"),
            ("x-openrouter-cache", "true"),
            ("anthropic-version", "2023-06-01"),
            ("content-type", "application/json"),
        ]);
        assert_eq!(upstream(&headers, true), kept);
        assert_eq!(upstream(&headers, false)["accept-encoding"], "gzip");
    }

    #[test]
    fn a_caller_lowers_its_class_and_never_raises_it() {
        use Class::{Batch, Interactive, Normal};
        let class = |tenants, named| {
            let headers = map(&[("x-fairkey-class", named)]);
            super::class(&headers, tenants).ok()
        };
        for (tenants, named, becomes) in [
            (Interactive, "batch", Batch),
            (Normal, "batch", Batch),
            (Interactive, "normal", Normal),
            (Normal, "interactive", Normal),
            (Batch, "interactive", Batch),
            (Batch, "normal", Batch),
        ] {
            assert_eq!(class(tenants, named), Some(becomes), "{tenants} {named}");
        }
        assert_eq!(class(Normal, "Batch"), None);
        assert_eq!(super::class(&HeaderMap::new(), Normal).ok(), Some(Normal));
    }

    #[test]
    fn cookies_and_what_an_origin_says_of_itself_do_not_reach_callers() {
        let mut headers = map(&[
            ("set-cookie", "__cf_bm=x"),
            ("connection", "close, x-odd"),
            ("x-odd", "1"),
            ("access-control-allow-origin", "*"),
            ("strict-transport-security", "max-age=1"),
            ("alt-svc", "h3"),
            ("x-fairkey-key", "forged"),
            ("x-generation-id", "gen-1"),
            ("x-openrouter-cache-status", "HIT"),
            ("retry-after", "3"),
            ("content-encoding", "gzip"),
        ]);
        to_caller(&mut headers);
        let kept = map(&[
            ("x-generation-id", "gen-1"),
            ("x-openrouter-cache-status", "HIT"),
            ("retry-after", "3"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(headers, kept);
    }
}
