//! What a request carries beside its body and its key.

use fairkey_openrouter::{HTTP_REFERER, X_OPENROUTER_TITLE};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers of one connection, or of one key: never taken over from a caller.
static NOT_FORWARDED: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Older names under which a caller may have said who the app is.
const X_TITLE: HeaderName = HeaderName::from_static("x-title");

/// Returns the caller's headers, with `defaults` where the caller sets none.
pub(crate) fn headers(mut callers: HeaderMap, defaults: &HeaderMap) -> HeaderMap {
    // What `Connection` names belongs to the connection, too.
    if callers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = callers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in &named {
            callers.remove(name);
        }
    }
    // To look at what is there takes less than to look for each.
    let there: Vec<HeaderName> = (callers.keys())
        .filter(|name| NOT_FORWARDED.contains(name))
        .cloned()
        .collect();
    for name in &there {
        callers.remove(name);
    }
    // Half an attribution of ours would credit the caller's calls to somebody else.
    let attributed =
        (callers.keys()).any(|name| [HTTP_REFERER, X_OPENROUTER_TITLE, X_TITLE].contains(name));
    for (name, value) in defaults {
        let attributes = name != header::USER_AGENT && name != header::ACCEPT;
        if !callers.contains_key(name) && (!attributes || !attributed) {
            callers.insert(name.clone(), value.clone());
        }
    }
    callers
}

/// Returns the headers of a call: the caller's, with `defaults`; `None` where they are those of
/// plain JSON and no others.
pub(crate) fn of_call(
    mut callers: HeaderMap,
    is_json: bool,
    defaults: &HeaderMap,
) -> Option<Box<HeaderMap>> {
    if callers.is_empty() && is_json {
        return None;
    }
    if is_json && !callers.contains_key(header::CONTENT_TYPE) {
        callers.insert(header::CONTENT_TYPE, JSON);
    }
    Some(Box::new(headers(callers, defaults)))
}

/// Returns those of a call of plain JSON whose caller sets none.
pub(crate) fn json(defaults: &HeaderMap) -> HeaderMap {
    headers(
        HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]),
        defaults,
    )
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Returns what every request carries by default, beside the attribution.
pub(crate) fn defaults(attribution: HeaderMap) -> HeaderMap {
    let mut headers = attribution;
    let agent = concat!("fairkey/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    headers
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::AppAttribution;

    use super::*;

    fn ours() -> HeaderMap {
        defaults(
            AppAttribution::new("https://ours.example")
                .title("ours")
                .headers()
                .unwrap(),
        )
    }

    fn callers(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn attribution_is_set_only_where_the_caller_sets_none() {
        let headers = super::headers(callers(&[("accept", "*/*")]), &ours());
        assert_eq!(headers["http-referer"], "https://ours.example");
        assert_eq!(headers["x-openrouter-title"], "ours");
        for own in ["http-referer", "x-title", "x-openrouter-title"] {
            let headers = super::headers(callers(&[(own, "theirs")]), &ours());
            assert_eq!(headers[own], "theirs");
            assert_eq!(headers.len(), 2, "and the user agent: {headers:?}");
        }
    }

    #[test]
    fn what_belongs_to_a_connection_or_a_key_is_not_forwarded() {
        let inbound = callers(&[
            ("authorization", "Bearer theirs"),
            ("proxy-authorization", "Basic x"),
            ("host", "gateway"),
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("keep-alive", "5"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("x-session-id", "kept"),
        ]);
        let headers = super::headers(inbound, &HeaderMap::new());
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["x-session-id"], "kept");
    }
}
