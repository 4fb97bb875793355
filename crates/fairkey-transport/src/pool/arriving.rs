//! The body of an answer as its connection hands it out: [`Arriving`].

#[cfg(feature = "http2")]
use std::task::{Context, Poll, ready};

#[cfg(feature = "http2")]
use bytes::Bytes;
#[cfg(feature = "http2")]
use http_body::Frame;
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;

#[cfg(feature = "http2")]
use super::driver::STREAM_WINDOW;

/// The body of an answer. Dropping that of HTTP/2 before its end resets its stream.
pub(crate) enum Arriving {
    Http1(Incoming),
    #[cfg(feature = "http2")]
    Http2(Http2Body),
}

impl Arriving {
    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            #[cfg(feature = "http2")]
            Self::Http2(body) => body
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// What comes by one stream of HTTP/2.
#[cfg(feature = "http2")]
pub(crate) struct Http2Body {
    stream: h2::RecvStream,
    /// What is still to come, where the head has told.
    left: Option<u64>,
    /// What was taken and does not count as taken for the peer yet.
    taken: usize,
    /// Only trailers may follow.
    has_ended: bool,
}

/// A peer may send on when this much was taken: each word of that costs a frame.
#[cfg(feature = "http2")]
const WORTH_TELLING: usize = STREAM_WINDOW as usize / 4;

#[cfg(feature = "http2")]
impl Http2Body {
    pub(super) fn new(stream: h2::RecvStream, headers: &http::HeaderMap) -> Self {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let left = if stream.is_end_stream() {
            Some(0)
        } else {
            // h2 has seen that what comes is as long as this says.
            length.and_then(|length| length.to_str().ok()?.parse().ok())
        };
        Self {
            stream,
            left,
            taken: 0,
            has_ended: false,
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.has_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    self.take(chunk.len());
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                // A peer that has answered whole may want no more of the request (RFC 9113 8.1);
                // of a reset after the end of a stream h2 tells nothing. What is reset before it
                // is whole only where its length says so.
                Some(Err(error))
                    if error.reason() == Some(h2::Reason::NO_ERROR) && self.left == Some(0) =>
                {
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.has_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.map(|some| some.map(Frame::trailers)).transpose())
    }

    fn take(&mut self, bytes: usize) {
        self.left = self.left.map(|left| left.saturating_sub(bytes as u64));
        self.taken += bytes;
        if self.taken >= WORTH_TELLING {
            // It fails only for more than came.
            let _ = self.stream.flow_control().release_capacity(self.taken);
            self.taken = 0;
        }
    }
}
