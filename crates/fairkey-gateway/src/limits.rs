//! Bounds against abuse: [`ServerLimits`].
//!
//! Plain values and pure checks; the server keeps the times and the counts. What hyper refuses by
//! itself is not checked again, and what it settles cannot be: of two lengths that are equal it
//! shows one, and none beside a transfer coding. `tests/it/smuggling.rs` shows both on raw sockets.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use crate::reply::{Failure, Reason};

/// How much a caller may send, how fast, and how many callers there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The most bytes of a request's head. Default 64 KiB; at least 8 KiB.
    pub head_bytes: usize,
    /// The most headers of a request. Default 100; 1 to 1,000.
    pub headers: usize,
    /// The most connections at a time. Default 8,192.
    pub connections: usize,
    /// How long a head may take to come. Default 10 s.
    pub head_time: Duration,
    /// How long a body may take to come, whole. Default 5 min.
    pub body_time: Duration,
    /// How long a connection may be without a request. Default 75 s: a little longer than the
    /// pools of the usual clients keep one, so that they close first.
    pub idle_time: Duration,
    /// The most calls under way at a time in one connection of HTTP/2. Default 128.
    pub streams: u32,
    /// How many streams of one connection of HTTP/2 may be reset before they are looked at; beyond
    /// it the connection is closed. Default 32.
    pub resets: usize,
    /// How many calls of one connection of HTTP/2 may be left by their caller within a second of
    /// their beginning, at once and again in each 10 s; beyond it the connection is closed. Default
    /// 256.
    pub cancels: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            headers: 100,
            connections: 8_192,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(300),
            idle_time: Duration::from_secs(75),
            streams: 128,
            resets: 32,
            cancels: 256,
        }
    }
}

impl ServerLimits {
    /// Checks that the limits make sense.
    ///
    /// # Errors
    ///
    /// The name of a setting, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.head_bytes < 8 << 10 {
            Err((
                "head_bytes",
                "must be at least 8192: clients send long tokens and cookies",
            ))
        } else if !(1..=1_000).contains(&self.headers) {
            Err(("headers", "must be from 1 to 1000"))
        } else if self.connections == 0 {
            Err(("connections", "must be at least 1"))
        } else if self.streams == 0 {
            Err(("streams", "must be at least 1"))
        } else if self.resets == 0 {
            Err(("resets", "must be at least 1"))
        } else if self.cancels == 0 {
            Err(("cancels", "must be at least 1"))
        } else if [self.head_time, self.body_time, self.idle_time].contains(&Duration::ZERO) {
            Err((
                "head_time",
                "and body_time and idle_time must be longer than nothing",
            ))
        } else {
            Ok(())
        }
    }

    /// Checks a request by its head.
    ///
    /// # Errors
    ///
    /// 400 for what could mean two things to two programs, 431 for a head that is too large. After
    /// either the connection is to be closed: where the body ends is in doubt, or it is not worth
    /// reading.
    pub fn check_head(&self, head: &Parts) -> Result<(), Failure> {
        self.check_size(head)?;
        check_framing(head)
    }

    /// Checks how large a head is. hyper reads one that is somewhat larger than it was told, where
    /// that comes in one piece.
    fn check_size(&self, head: &Parts) -> Result<(), Failure> {
        let names = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            // As on the wire of HTTP/1.1: a colon, a space, and the end of the line.
            name.as_str().len() + value.len() + 4
        };
        let bytes: usize = head.headers.iter().map(names).sum();
        let target = head
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if bytes + target > self.head_bytes || head.headers.len() > self.headers {
            return Err(Failure::new(
                Reason::HeadTooLarge,
                format!(
                    "the head of the request has more than the {} bytes or the {} headers that are \
                     allowed",
                    self.head_bytes, self.headers
                ),
            ));
        }
        Ok(())
    }

    /// The failure of a body that did not come in time.
    pub fn body_too_slow(&self) -> Failure {
        Failure::new(
            Reason::TooSlow,
            format!("the body did not come within {:?}", self.body_time),
        )
    }
}

/// Refuses what one program could read as one request, and the next as two.
fn check_framing(head: &Parts) -> Result<(), Failure> {
    let bad = |what: &'static str| Err(Failure::new(Reason::BadRequest, what));
    let headers = &head.headers;
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 {
        return bad("the request says its length twice");
    }
    if let Some(length) = headers.get(CONTENT_LENGTH)
        && (length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return bad("the request's content-length is no number");
    }
    let codings = headers.get_all(TRANSFER_ENCODING).iter().count();
    if codings > 0 {
        if lengths > 0 {
            return bad("the request has a content-length and a transfer-encoding");
        }
        if head.version != Version::HTTP_11 {
            return bad("the request has a transfer-encoding, which its version of HTTP does not");
        }
        let coding = headers
            .get(TRANSFER_ENCODING)
            .map(http::HeaderValue::as_bytes);
        if codings > 1 || !coding.is_some_and(|it| it.eq_ignore_ascii_case(b"chunked")) {
            return bad("the request has a transfer-encoding other than chunked");
        }
    }
    if head.method == Method::CONNECT {
        return bad("the gateway is no proxy: CONNECT is not served");
    }
    if headers.contains_key(UPGRADE) && headers.contains_key("http2-settings") {
        return bad("HTTP/2 is not upgraded to: speak it from the start");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/v1/chat/completions");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn reason(headers: &[(&str, &str)]) -> Option<Reason> {
        let refused = ServerLimits::default().check_head(&head(headers)).err();
        refused.map(|failure| failure.reason())
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for (headers, fine) in [
            (&[("content-length", "5")][..], true),
            (&[("transfer-encoding", "chunked")], true),
            (&[("transfer-encoding", "Chunked")], true),
            (&[], true),
            (&[("content-length", "5"), ("content-length", "6")], false),
            (&[("content-length", "5"), ("content-length", "5")], false),
            (
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
                false,
            ),
            (&[("content-length", "+5")], false),
            (&[("content-length", "5, 5")], false),
            (&[("content-length", "")], false),
            (&[("transfer-encoding", "chunked, identity")], false),
            (&[("transfer-encoding", "gzip, chunked")], false),
            (&[("transfer-encoding", "xchunked")], false),
            (
                &[
                    ("transfer-encoding", "chunked"),
                    ("transfer-encoding", "chunked"),
                ],
                false,
            ),
            (&[("upgrade", "h2c"), ("http2-settings", "AAMAAABk")], false),
        ] {
            let expected = (!fine).then_some(Reason::BadRequest);
            assert_eq!(reason(headers), expected, "{headers:?}");
        }
        let mut old = head(&[("transfer-encoding", "chunked")]);
        old.version = Version::HTTP_10;
        assert!(ServerLimits::default().check_head(&old).is_err());
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_head() {
        let long = "x".repeat(70_000);
        assert_eq!(reason(&[("x-long", &long)]), Some(Reason::HeadTooLarge));
        assert_eq!(reason(&[("x", "y"); 101]), Some(Reason::HeadTooLarge));
        assert_eq!(reason(&[("x", "y"); 100]), None);
    }

    #[test]
    fn limits_that_make_no_sense_are_named() {
        assert_eq!(ServerLimits::default().check(), Ok(()));
        let limits = ServerLimits {
            connections: 0,
            ..ServerLimits::default()
        };
        assert_eq!(limits.check().unwrap_err().0, "connections");
    }
}
