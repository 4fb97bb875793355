//! What a body is, by its headers.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A stream of events: `text/event-stream`, with whatever parameters.
    EventStream,
    /// JSON: its type has that word in it, or there is none.
    Json,
    /// Something else.
    Other,
}

impl Media {
    /// Reads the headers of a body.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Self::Json;
        };
        match value.as_bytes() {
            // As nearly all write it.
            b"application/json" => Self::Json,
            b"text/event-stream" => Self::EventStream,
            // What no text is says nothing.
            value if !value.is_ascii() => Self::Json,
            value => Self::of_type(value),
        }
    }

    fn of_type(value: &[u8]) -> Self {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let media = value[..end].trim_ascii();
        let is_json = |word: &[u8]| word.eq_ignore_ascii_case(b"json");
        if media.eq_ignore_ascii_case(b"text/event-stream") {
            Self::EventStream
        } else if media.windows(4).any(is_json) {
            Self::Json
        } else {
            Self::Other
        }
    }
}

/// Tells whether a body is a stream of events.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    Media::of(headers) == Media::EventStream
}

/// Tells whether a body is JSON.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    Media::of(headers) == Media::Json
}

/// Tells whether a body can be read as it comes: it is not compressed, or by `identity` alone, which
/// changes nothing (RFC 9110 12.5.3).
#[must_use]
pub fn is_plain(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(CONTENT_ENCODING);
    (encodings.iter()).all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(media: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_bytes(media).unwrap())])
    }

    #[test]
    fn streams_of_events_are_told_by_their_type() {
        for media in ["text/event-stream", "Text/Event-Stream ; charset=utf-8"] {
            assert!(is_event_stream(&headers(media.as_bytes())), "{media}");
        }
        for media in [
            "",
            "text/plain",
            "text/event-streams",
            "x; text/event-stream",
        ] {
            assert!(!is_event_stream(&headers(media.as_bytes())), "{media}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }

    #[test]
    fn json_is_what_says_so_and_what_says_nothing() {
        for media in [
            "application/json",
            "application/problem+JSON; v=1",
            "text/json",
        ] {
            assert!(is_json(&headers(media.as_bytes())), "{media}");
        }
        for media in ["", "text/plain; json", "multipart/form-data", "jso"] {
            assert!(!is_json(&headers(media.as_bytes())), "{media}");
        }
        assert!(is_json(&HeaderMap::new()));
        assert!(is_json(&headers(b"\xff")));
    }

    #[test]
    fn what_is_compressed_by_nothing_is_plain() {
        let plain = |encodings: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for encoding in encodings {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            is_plain(&headers)
        };
        assert!(plain(&[]) && plain(&["identity"]) && plain(&["Identity", "identity"]));
        assert!(!plain(&["gzip"]) && !plain(&["identity", "br"]) && !plain(&["identity, gzip"]));
    }
}
