//! The response cache: opt-in by header, by key, format, stream flag and body.

use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

/// What a call wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheWish {
    pub(crate) ttl: Duration,
    /// Forget what is there, and answer anew.
    pub(crate) clear: bool,
}

/// What the cache knows of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The generation that was answered with first.
    pub(crate) source: String,
    pub(crate) age: Duration,
    pub(crate) ttl: Duration,
}

impl CacheWish {
    /// `None` unless `X-OpenRouter-Cache` says `true`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if says("x-openrouter-cache") != Some("true") {
            return None;
        }
        let ttl = says("x-openrouter-cache-ttl").and_then(|ttl| ttl.parse().ok());
        Some(Self {
            ttl: Duration::from_secs(ttl.unwrap_or(300_u64).clamp(1, 86_400)),
            clear: says("x-openrouter-cache-clear") == Some("true"),
        })
    }

    /// Says in the head of an answer whether it came from the cache.
    pub(crate) fn tell(self, hit: Option<&Hit>, headers: &mut HeaderMap) {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put(
            "x-openrouter-cache-status",
            if hit.is_some() { "HIT" } else { "MISS" },
        );
        let ttl = hit.map_or(self.ttl, |hit| hit.ttl);
        put("x-openrouter-cache-ttl", &ttl.as_secs().to_string());
        if let Some(hit) = hit {
            put("x-openrouter-cache-age", &hit.age.as_secs().to_string());
            put("x-openrouter-cache-source-id", &hit.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_is_a_wish_and_times_are_kept_in_bounds() {
        let wish = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            CacheWish::of(&headers)
        };
        assert_eq!(wish(&[]), None);
        assert_eq!(wish(&[("x-openrouter-cache", "yes")]), None);
        let on = ("x-openrouter-cache", "true");
        let ttl = |text| {
            wish(&[on, ("x-openrouter-cache-ttl", text)])
                .unwrap()
                .ttl
                .as_secs()
        };
        assert_eq!(wish(&[on]).unwrap().ttl.as_secs(), 300);
        assert_eq!(
            [ttl("0"), ttl("60"), ttl("9999999"), ttl("x")],
            [1, 60, 86_400, 300]
        );
    }
}
