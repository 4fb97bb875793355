//! When to try again: the hint of a [`Fault`](crate::Fault), and the forms it comes in.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::Value;

/// When trying again can make sense, as the upstream says it.
///
/// # Where it comes from
///
/// The first of these that says something:
///
/// 1. what the fault proves: a dead key, a cap that never starts anew, a model that is gone and
///    everything that is the request's own fault are [`Never`](Self::Never), unless
///    `availability.retryable` says otherwise;
/// 2. for what is used up (a cap, a budget, a quota) a stamp: `resets_at` in the metadata, then
///    `X-RateLimit-Reset`, from the headers before the body; for everything else a pause first:
///    `Retry-After` (seconds or a date), `Retry-After-Ms`, then the same in `metadata.headers`,
///    then `retry_after` in the body, then in the `availability`; after that the other of the two;
/// 3. the words of the message: "try again in 12s", "resets at 2026-11-01T00:00:00Z";
/// 4. a minute for the free requests of the minute.
///
/// Nothing is added for what is not said. Where the message names an interval, or the cause has
/// one, [`Fault::resets`](crate::Fault::resets) has it, and the calendar gives the time.
///
/// # What it means
///
/// | hint | for the call | for whoever is at fault |
/// | --- | --- | --- |
/// | `Never` | the same attempt will fail again | out until somebody changes something |
/// | `After` | not before that long | out for that long, counted from the answer |
/// | `At` | not before that time of day | out until then |
/// | `Unknown` | the schedule of whoever asks | the gate's own schedule |
///
/// It is what the upstream says, not what is believed: [`Fault::wait`](crate::Fault::wait) turns
/// it into a wait from now on, and bounds it by [`Fault::max_wait`](crate::Fault::max_wait), the
/// longest that such a fault can mean. A stamp in the past, or a wait of nothing, means what it
/// says there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RetryHint {
    /// Nothing is said.
    #[default]
    Unknown,
    /// Not until somebody changes something.
    Never,
    /// After this long, counted from the answer.
    After(Duration),
    /// At this time since 1970-01-01 00:00 UTC.
    At(Duration),
}

impl RetryHint {
    /// Returns this hint, or `other` where this one says nothing.
    pub(crate) fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::Unknown { other() } else { self }
    }
}

/// The longest hint that is kept, 10 years: anything longer is noise, and would only overflow
/// elsewhere.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Reads the value of a `Retry-After` header: seconds, whole or with a fraction, or a date in any
/// of the three forms that HTTP knows.
///
/// Returns [`RetryHint::Unknown`] for anything else.
#[must_use]
pub fn parse_retry_after(value: &str) -> RetryHint {
    let value = value.trim();
    if value.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return seconds(value).map_or(RetryHint::Unknown, RetryHint::After);
    }
    match httpdate::parse_http_date(value)
        .ok()
        .map(|date| date.duration_since(UNIX_EPOCH))
    {
        Some(Ok(at)) => RetryHint::At(at),
        // Before 1970: long ago, so it says nothing.
        Some(Err(_)) | None => RetryHint::Unknown,
    }
}

/// Reads a decimal number of seconds.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    from_secs_f64(text.parse().ok()?)
}

/// Reads the value of a `Retry-After-Ms` header, which some providers send beside the other.
fn parse_millis(value: &str) -> RetryHint {
    seconds(value.trim()).map_or(RetryHint::Unknown, |thousandfold| {
        RetryHint::After(thousandfold / 1000)
    })
}

fn from_secs_f64(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    Some(
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(LONGEST)
            .min(LONGEST),
    )
}

/// Reads the stamp of an `X-RateLimit-Reset` header, as the time since 1970-01-01 00:00 UTC.
///
/// The unit is undocumented, and milliseconds in practice; seconds are understood as well. The two
/// cannot be mistaken for each other: a count below 10¹¹ is seconds until the year 5138. What is
/// no plausible moment (before 1973, beyond 5138) is `None`.
#[must_use]
pub fn parse_reset_stamp(value: &str) -> Option<Duration> {
    reset_stamp(value.trim().parse().ok()?)
}

fn reset_stamp(number: f64) -> Option<Duration> {
    const FIRST: f64 = 1e8;
    const MILLIS: f64 = 1e11;
    const LAST: f64 = 1e14;
    if (FIRST..MILLIS).contains(&number) {
        Some(Duration::from_secs_f64(number))
    } else if (MILLIS..LAST).contains(&number) {
        Some(Duration::from_millis(number as u64))
    } else {
        None
    }
}

/// Reads a whole number of something; what no limit can be is none.
fn whole(text: &str) -> Option<u64> {
    let number = text.trim().parse().ok()?;
    (number <= 1 << 40).then_some(number)
}

/// The hints in headers, real ones or those that an error body repeats.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// `Retry-After`.
    pub(crate) retry_after: RetryHint,
    /// `X-RateLimit-Reset`.
    pub(crate) reset: Option<Duration>,
    /// `X-RateLimit-Limit`.
    pub(crate) limit: Option<u64>,
    /// `X-RateLimit-Remaining`.
    pub(crate) remaining: Option<u64>,
    /// Some `X-RateLimit-*` header is there: the platform's own limits say so, providers' do not.
    pub(crate) is_platform: bool,
}

impl Hints {
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let millis = || text("retry-after-ms").map_or(RetryHint::Unknown, parse_millis);
        Self {
            retry_after: text("retry-after")
                .map_or(RetryHint::Unknown, parse_retry_after)
                .or(millis),
            reset: text("x-ratelimit-reset").and_then(parse_reset_stamp),
            limit: text("x-ratelimit-limit").and_then(whole),
            remaining: text("x-ratelimit-remaining").and_then(whole),
            is_platform: headers
                .keys()
                .any(|name| name.as_str().starts_with("x-ratelimit-")),
        }
    }

    /// Reads `metadata.headers`: names in any case, values as texts or numbers.
    pub(crate) fn of_metadata(headers: &Value) -> Self {
        let mut hints = Self::default();
        for (name, value) in headers.as_object().into_iter().flatten() {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => continue,
            };
            if name.eq_ignore_ascii_case("retry-after") {
                hints.retry_after = parse_retry_after(&text);
            } else if name.eq_ignore_ascii_case("x-ratelimit-reset") {
                hints.reset = parse_reset_stamp(&text);
            } else if name.eq_ignore_ascii_case("x-ratelimit-limit") {
                hints.limit = whole(&text);
            } else if name.eq_ignore_ascii_case("x-ratelimit-remaining") {
                hints.remaining = whole(&text);
            }
            let prefix = name.get(..12).unwrap_or_default();
            hints.is_platform |= prefix.eq_ignore_ascii_case("x-ratelimit-");
        }
        hints
    }

    /// Reads a pause that stands as a member of its own: `retry_after`, in seconds.
    pub(crate) fn of_members(places: &[&Value]) -> Self {
        let found = places.iter().find_map(|place| {
            ["retry_after", "retry_after_seconds"]
                .iter()
                .find_map(|member| seconds_in(&place[member]))
        });
        Self {
            retry_after: found.map_or(RetryHint::Unknown, RetryHint::After),
            ..Self::default()
        }
    }

    /// These hints, completed by `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            retry_after: self.retry_after.or(|| other.retry_after),
            reset: self.reset.or(other.reset),
            limit: self.limit.or(other.limit),
            remaining: self.remaining.or(other.remaining),
            is_platform: self.is_platform || other.is_platform,
        }
    }
}

/// Reads a number of seconds in JSON: a number, or a text with one in it.
pub(crate) fn seconds_in(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(number) => from_secs_f64(number.as_f64()?),
        Value::String(text) => seconds(text.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, hint: RetryHint) {
        assert_eq!(parse_retry_after(value), hint, "{value:?}");
    }

    #[test]
    fn seconds_are_read_whole_and_with_a_fraction() {
        check("0", RetryHint::After(Duration::ZERO));
        check(" 120 ", RetryHint::After(Duration::from_secs(120)));
        check("1.5", RetryHint::After(Duration::from_millis(1500)));
        check("99999999999999999999999999", RetryHint::After(LONGEST));
    }

    #[test]
    fn dates_are_read_in_all_three_forms() {
        let at = RetryHint::At(Duration::from_secs(784_111_777));
        check("Sun, 06 Nov 1994 08:49:37 GMT", at);
        check("Sunday, 06-Nov-94 08:49:37 GMT", at);
        check("Sun Nov  6 08:49:37 1994", at);
    }

    #[test]
    fn what_is_neither_says_nothing() {
        for value in [
            "", "soon", "-5", "1e3", "12 s", "1.2.3", ".", "NaN", "inf", "١٢", "Sun, 06",
        ] {
            check(value, RetryHint::Unknown);
        }
        check("Sun, 06 Nov 1904 08:49:37 GMT", RetryHint::Unknown);
    }

    #[test]
    fn reset_stamps_are_milliseconds_or_seconds() {
        let at = Some(Duration::from_secs(1_791_800_000));
        assert_eq!(parse_reset_stamp("1791800000000"), at);
        assert_eq!(parse_reset_stamp("1791800000"), at);
        for value in ["", "60", "-1791800000", "1e400", "NaN", "1791800000000000"] {
            assert_eq!(parse_reset_stamp(value), None, "{value}");
        }
    }

    #[test]
    fn pauses_come_in_milliseconds_and_as_members_too() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after-ms", "1500".parse().unwrap());
        let wait = |millis| RetryHint::After(Duration::from_millis(millis));
        assert_eq!(Hints::of_headers(&headers).retry_after, wait(1500));
        headers.insert("retry-after", "3".parse().unwrap());
        assert_eq!(Hints::of_headers(&headers).retry_after, wait(3000));
        let members = serde_json::json!({"retry_after": "2"});
        assert_eq!(
            Hints::of_members(&[&Value::Null, &members]).retry_after,
            wait(2000)
        );
        assert_eq!(
            Hints::of_members(&[&Value::Null]).retry_after,
            RetryHint::Unknown
        );
    }

    #[test]
    fn headers_inside_a_body_are_read_whatever_their_case_and_type() {
        let hints = Hints::of_metadata(&serde_json::json!({
            "RETRY-AFTER": 7, "x-RateLimit-Reset": "1791800000000", "é-long-header": [1],
        }));
        assert_eq!(hints.retry_after, RetryHint::After(Duration::from_secs(7)));
        assert_eq!(hints.reset, Some(Duration::from_secs(1_791_800_000)));
        assert!(hints.is_platform);
        assert!(!Hints::of_metadata(&serde_json::json!(["Retry-After"])).is_platform);
    }
}
