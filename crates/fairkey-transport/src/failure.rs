//! Reads hyper's errors: what kind of trouble it is, and whether the server did anything.

use std::error::Error as StdError;
use std::io;

use crate::{TransportError, TransportErrorKind};

/// A failed exchange before its head.
pub(crate) struct Failure {
    pub(crate) error: TransportError,
    /// The peer told that it did nothing with the request (RFC 9113 8.7).
    pub(crate) untouched: bool,
}

/// Reads an error that came instead of a head.
pub(crate) fn before_head(error: hyper::Error) -> Failure {
    let untouched = is_untouched(&error);
    Failure {
        error: read(error, "before the answer began"),
        untouched,
    }
}

/// Reads an error that came instead of a chunk.
pub(crate) fn in_body(error: hyper::Error) -> TransportError {
    read(error, "before the answer was whole")
}

/// Returns the error for a connection that was given away already.
pub(crate) fn gone() -> TransportError {
    TransportError::new(
        TransportErrorKind::Canceled,
        "the connection is not there any more",
    )
}

/// Returns true when the peer refused this one stream (RFC 9113 8.7).
#[cfg(feature = "http2")]
pub(crate) fn is_refused(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|e| {
        e.is_reset() && e.is_remote() && e.reason() == Some(h2::Reason::REFUSED_STREAM)
    })
}

/// Returns true when hyper let the request fall without a word about the connection.
pub(crate) fn is_gone(error: &hyper::Error) -> bool {
    // hyper counts it among the mistakes of its users, and has no question of its own for it.
    error.is_user() && error.to_string().contains("dispatch task is gone")
}

#[cfg(feature = "http2")]
fn is_untouched(error: &hyper::Error) -> bool {
    // h2 hands a peer's GOAWAY to those streams only that lie beyond the last one which the peer
    // says it may have looked at; the others go on.
    is_refused(error) || find::<h2::Error>(error).is_some_and(|e| e.is_go_away() && e.is_remote())
}

#[cfg(not(feature = "http2"))]
fn is_untouched(_error: &hyper::Error) -> bool {
    false
}

fn read(error: hyper::Error, when: &'static str) -> TransportError {
    use TransportErrorKind as Kind;

    #[cfg(feature = "http2")]
    if let Some(inner) = find::<h2::Error>(&error) {
        let kind = if inner.is_library() {
            Kind::Protocol
        } else {
            Kind::Reset
        };
        // Not the error itself: it prints the debug data of a GOAWAY, and a peer may write there
        // what we sent it.
        return TransportError::new(kind, format!("the stream ended {when}"))
            .with_source(Cause::of_http2(inner));
    }
    if is_gone(&error) {
        let message = format!("the connection's task ended {when}");
        return TransportError::new(Kind::Reset, message).with_source(error);
    }
    if error.is_user() {
        return TransportError::new(Kind::Request, "the request cannot be written")
            .with_source(error);
    }
    let ended = error.is_incomplete_message()
        || error.is_closed()
        || error.is_canceled()
        || error.is_timeout()
        || error.is_shutdown();
    let broken = find::<io::Error>(&error).map(io::Error::kind);
    let kind = match broken {
        _ if ended => Kind::Reset,
        // hyper's decoder of chunked bodies reports what it cannot read in these.
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Kind::Body,
        Some(_) => Kind::Reset,
        None if error.is_parse() => Kind::Protocol,
        None => Kind::Reset,
    };
    let message = match kind {
        Kind::Protocol => "the answer is no valid HTTP".into(),
        Kind::Body => "the body is not framed as its head says".into(),
        _ => format!("the connection ended {when}"),
    };
    TransportError::new(kind, message).with_source(error)
}

/// Returns the first `E` among the causes of `error`.
fn find<'e, E: StdError + 'static>(error: &'e hyper::Error) -> Option<&'e E> {
    let mut next: Option<&'e (dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// A cause in our own words.
#[cfg(feature = "http2")]
#[derive(Debug)]
struct Cause(String);

#[cfg(feature = "http2")]
impl Cause {
    fn of_http2(error: &h2::Error) -> Self {
        let what = if error.is_go_away() {
            "connection"
        } else {
            "stream"
        };
        let whose = if error.is_remote() {
            "by the peer"
        } else {
            "here"
        };
        Self(match (error.reason(), error.get_io()) {
            (Some(reason), _) => format!("HTTP/2 {what} error, found {whose}: {reason:?}"),
            (None, Some(io)) => format!("HTTP/2 connection lost: {io}"),
            (None, None) => "HTTP/2 error".to_owned(),
        })
    }
}

#[cfg(feature = "http2")]
impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "http2")]
impl StdError for Cause {}
