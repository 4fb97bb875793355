//! Reads the errors of hyper and h2: what kind of trouble it is, and whether the server did anything.

use std::error::Error as StdError;
use std::io;

use crate::{TransportError, TransportErrorKind};

/// A failed exchange before its head.
#[cfg(feature = "http2")]
pub(crate) struct Failure {
    pub(crate) error: TransportError,
    /// The peer told that it did nothing with the request (RFC 9113 8.7).
    pub(crate) untouched: bool,
}

/// Reads an error that came instead of a head.
pub(crate) fn before_head(error: hyper::Error) -> TransportError {
    read(error, "before the answer began")
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

/// Reads an error of HTTP/2 that came instead of a head.
#[cfg(feature = "http2")]
pub(crate) fn before_http2_head(error: &h2::Error) -> Failure {
    // h2 hands a peer's GOAWAY to those streams only that lie beyond the last one which the peer
    // says it may have looked at; the others go on.
    let untouched = is_refused(error) || (error.is_go_away() && error.is_remote());
    Failure {
        error: read_http2(error, "before the answer began"),
        untouched,
    }
}

/// Reads why a connection takes no more streams.
#[cfg(feature = "http2")]
pub(crate) fn closed_http2(error: &h2::Error) -> TransportError {
    let read = read_http2(error, "before it began");
    // A mistake of h2's user: it has no numbers left for further streams.
    if read.is_request() { gone() } else { read }
}

/// Reads an error of HTTP/2 that came instead of a chunk.
#[cfg(feature = "http2")]
pub(crate) fn in_http2_body(error: &h2::Error) -> TransportError {
    read_http2(error, "before the answer was whole")
}

/// Returns true when the peer refused this one stream (RFC 9113 8.7).
#[cfg(feature = "http2")]
pub(crate) fn is_refused(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Returns true when hyper let the request fall without a word about the connection.
fn is_gone(error: &hyper::Error) -> bool {
    // hyper counts it among the mistakes of its users, and has no question of its own for it.
    error.is_user() && error.to_string().contains("dispatch task is gone")
}

#[cfg(feature = "http2")]
fn read_http2(error: &h2::Error, when: &'static str) -> TransportError {
    use TransportErrorKind as Kind;

    if !error.is_reset() && !error.is_go_away() && !error.is_io() {
        // What is left are mistakes of h2's user: a head that HTTP/2 has no form for.
        return TransportError::new(Kind::Request, "the request cannot be written")
            .with_source(Cause::of_http2(error));
    }
    let kind = if error.is_library() {
        Kind::Protocol
    } else {
        Kind::Reset
    };
    // Not the error itself: it prints the debug data of a GOAWAY, and a peer may write there what
    // we sent it.
    TransportError::new(kind, format!("the stream ended {when}"))
        .with_source(Cause::of_http2(error))
}

fn read(error: hyper::Error, when: &'static str) -> TransportError {
    use TransportErrorKind as Kind;

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
            (None, None) => format!("HTTP/2: {error}"),
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
