//! What a body is, by its header `Content-Type`.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Tells whether a body is a stream of events: `text/event-stream`, with whatever parameters.
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    of(headers).is_some_and(|media| media.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Tells whether a body is JSON: its type has that word in it, or there is none.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    of(headers).is_none_or(|media| {
        media.eq_ignore_ascii_case(b"application/json")
            || (media.windows(4)).any(|word| word.eq_ignore_ascii_case(b"json"))
    })
}

/// Returns the type without its parameters; what no text is is none.
fn of(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    value.is_ascii().then(|| value[..end].trim_ascii())
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
}
