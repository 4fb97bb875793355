//! What a refusal says of the limit that it was: [`RateLimit`].

use std::time::Duration;

use crate::fault::cause::Cause;
use crate::fault::phrases::Phrases;
use crate::fault::retry_after::Hints;

/// What a refusal says of the limit that was hit: its `X-RateLimit-*`, in headers or in the body.
///
/// Only the platform's own limits have them. Successful answers have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How much may be used in its window: `X-RateLimit-Limit`.
    pub limit: Option<u64>,
    /// How much is left: `X-RateLimit-Remaining`.
    pub remaining: Option<u64>,
    /// When there is room again, since 1970-01-01 00:00 UTC: `X-RateLimit-Reset`.
    pub resets_at: Option<Duration>,
    /// What it counts, where the source or the words of the refusal say so. The headers do not:
    /// neither what is counted nor the length of the window.
    pub unit: Option<RateUnit>,
}

/// What a limit counts, and in which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RateUnit {
    /// Requests of a minute.
    RequestsPerMinute,
    /// Requests of a UTC day.
    RequestsPerDay,
    /// Tokens of a minute.
    TokensPerMinute,
    /// Tokens of a UTC day.
    TokensPerDay,
}

impl RateLimit {
    pub(super) fn read(cause: Cause, hints: &Hints, phrases: &Phrases) -> Option<Self> {
        if hints.limit.is_none() && hints.remaining.is_none() {
            return None;
        }
        let unit = match cause {
            Cause::FreePerMinute => Some(RateUnit::RequestsPerMinute),
            Cause::FreeDaily => Some(RateUnit::RequestsPerDay),
            Cause::SharedCapacity => [
                ("limit_rpm/", RateUnit::RequestsPerMinute),
                ("limit_rpd/", RateUnit::RequestsPerDay),
                ("limit_tpm/", RateUnit::TokensPerMinute),
                ("limit_tpd/", RateUnit::TokensPerDay),
            ]
            .into_iter()
            .find_map(|(word, unit)| phrases.has(word).then_some(unit)),
            _ => None,
        };
        Some(Self {
            limit: hints.limit,
            remaining: hints.remaining,
            resets_at: hints.reset,
            unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::Fault;

    fn read(body: &str, headers: &[(&'static str, &str)]) -> Option<RateLimit> {
        let headers = headers.iter();
        let headers: HeaderMap = headers
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Fault::from_response(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()).rate_limit()
    }

    fn body(message: &str, source: &str, headers: &str) -> String {
        format!(
            r#"{{"error":{{"code":429,"message":"{message}","metadata":{{"limit_source":"{source}","headers":{headers}}}}}}}"#
        )
    }

    #[test]
    fn the_limit_of_a_refusal_is_read_from_headers_and_from_the_body() {
        let in_body = body(
            "Rate limit exceeded: limit_tpm/a/b/1",
            "openrouter_shared_capacity",
            r#"{"X-RateLimit-Limit":"8","x-ratelimit-remaining":0,"X-RateLimit-Reset":"1791800000000"}"#,
        );
        let expected = RateLimit {
            limit: Some(8),
            remaining: Some(0),
            resets_at: Some(Duration::from_secs(1_791_800_000)),
            unit: Some(RateUnit::TokensPerMinute),
        };
        assert_eq!(read(&in_body, &[]), Some(expected));
        let free = body("x", "openrouter_free_tier_daily", "{}");
        let found = read(&free, &[("x-ratelimit-limit", "50")]).unwrap();
        assert_eq!(
            (found.limit, found.unit),
            (Some(50), Some(RateUnit::RequestsPerDay))
        );
        let silent = body("x", "openrouter_free_tier_daily", "{}");
        assert_eq!(read(&silent, &[]), None);
        for odd in ["-1", "1.5", "many", "99999999999999999999999", ""] {
            assert_eq!(read(&silent, &[("x-ratelimit-limit", odd)]), None, "{odd}");
        }
    }
}
