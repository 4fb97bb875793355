//! The body of an answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use crate::exchange::Wire;
use crate::{BoxError, TransportError, TransportErrorKind};

/// The body of an answer: a stream of byte chunks and, rarely, trailers.
///
/// Nobody reads ahead: a frame leaves the socket when it is asked for. A body that is dropped
/// before its end closes its HTTP/1.1 connection, or resets its one HTTP/2 stream.
///
/// After its end, and after an error, it returns `None` for good.
///
/// # Cancel safety
///
/// [`frame`](Self::frame) loses nothing when it is dropped.
pub struct Body {
    kind: Kind,
}

enum Kind {
    Done,
    Full(Bytes),
    Foreign(Pin<Box<UnsyncBoxBody<Bytes, BoxError>>>),
    Wire(Box<Wire>),
}

impl Body {
    /// Returns a body without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self { kind: Kind::Done }
    }

    /// Returns a body of one chunk.
    #[must_use]
    pub fn full(bytes: Bytes) -> Self {
        Self {
            kind: if bytes.is_empty() {
                Kind::Done
            } else {
                Kind::Full(bytes)
            },
        }
    }

    /// Wraps any body: for tests, for mocks, and for bodies that carry something along.
    ///
    /// A [`TransportError`] that it fails with comes through unchanged; any other error becomes
    /// the source of one of kind [`Body`](TransportErrorKind::Body).
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = body.map_err(Into::into).boxed_unsync();
        Self {
            kind: Kind::Foreign(Box::pin(body)),
        }
    }

    /// Whether it is all in memory.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.kind, Kind::Done | Kind::Full(_))
    }

    pub(crate) fn wire(wire: Wire) -> Self {
        Self {
            kind: Kind::Wire(Box::new(wire)),
        }
    }

    /// Returns when the call that it answers is over, whether it has come whole by then or not; `None`
    /// where nothing is waited for any more, and for a body that this crate did not receive.
    ///
    /// Whoever waits for it hears of that as of a [total](crate::Deadlines::total) deadline that has
    /// passed. Whoever does not, since there is nowhere to put more of it, may look.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Wire(wire) => Some(wire.deadline()),
            Kind::Done | Kind::Full(_) | Kind::Foreign(_) => None,
        }
    }

    /// Returns the next frame, or `None` at the end and after an error.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>, TransportError>> {
        BodyExt::frame(self).await
    }

    /// Reads the body to its end, as long as it has at most `limit_bytes` bytes. Trailers are
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](TransportErrorKind::TooLarge) as soon as the bound is known to be passed, by
    /// the declared or by the counted length; otherwise what the body failed with.
    pub async fn collect_bounded(self, limit_bytes: usize) -> Result<Bytes, TransportError> {
        collect(self, limit_bytes, |error| error).await
    }
}

/// Reads any body whole, as [`Body::collect_bounded`] does.
///
/// # Errors
///
/// Where it has more than `limit_bytes`, or breaks.
pub async fn collect_bounded<B>(body: B, limit_bytes: usize) -> Result<Bytes, TransportError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    collect(body, limit_bytes, |error| {
        TransportError::from_body(error.into())
    })
    .await
}

async fn collect<B>(
    mut body: B,
    limit_bytes: usize,
    broken: impl Fn(B::Error) -> TransportError,
) -> Result<Bytes, TransportError>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = BodyExt::frame(&mut body).await {
        let Ok(chunk) = frame.map_err(&broken)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + chunk.len() > limit_bytes {
            return Err(too_large(limit));
        }
        if rest.is_empty() && first.is_empty() {
            // Most answers are one chunk, which needs no copy.
            first = chunk;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

/// Makes the error for a body of more than `limit` bytes.
pub(crate) fn too_large(limit: u64) -> TransportError {
    TransportError::new(
        TransportErrorKind::TooLarge,
        format!("the body has more than the {limit} bytes that are allowed"),
    )
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let frame = match &mut self.kind {
            Kind::Done => None,
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Done;
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Kind::Foreign(body) => {
                ready!(body.as_mut().poll_frame(cx)).map(|f| f.map_err(TransportError::from_body))
            }
            Kind::Wire(wire) => ready!(wire.poll_frame(cx)),
        };
        // Fused here, for every kind: whoever polls on after an error meets the end.
        if !matches!(frame, Some(Ok(_))) {
            self.kind = Kind::Done;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Done => true,
            Kind::Full(_) => false,
            Kind::Foreign(body) => body.is_end_stream(),
            Kind::Wire(wire) => wire.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Done => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Foreign(body) => body.size_hint(),
            Kind::Wire(wire) => wire.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only: content is the caller's business, never a log's.
        let kind = match &self.kind {
            Kind::Done => "done",
            Kind::Full(_) => "full",
            Kind::Foreign(_) => "foreign",
            Kind::Wire(_) => "wire",
        };
        let hint = self.size_hint();
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("at_least_bytes", &hint.lower())
            .field("at_most_bytes", &hint.upper())
            .finish()
    }
}

const _: fn() = || {
    fn is<T: Send + Unpin + 'static>() {}
    is::<Body>();
};

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Yields what it was given, then an error on every further poll, as broken bodies do.
    struct Scripted(VecDeque<Bytes>, Arc<AtomicUsize>);

    impl HttpBody for Scripted {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            // Relaxed: a test's count, read on the same thread.
            self.1.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(self.0.pop_front().map(Frame::data).ok_or("torn")))
        }
    }

    fn scripted(chunks: &[&'static str]) -> (Body, Arc<AtomicUsize>) {
        let polls = Arc::new(AtomicUsize::new(0));
        let chunks = chunks
            .iter()
            .map(|c| Bytes::from_static(c.as_bytes()))
            .collect();
        (Body::new(Scripted(chunks, Arc::clone(&polls))), polls)
    }

    #[tokio::test]
    async fn an_error_comes_once_and_then_the_end_without_polling_the_inner_body() {
        let (mut body, polls) = scripted(&["one"]);
        assert!(matches!(body.frame().await, Some(Ok(_))));
        assert!(
            body.frame()
                .await
                .is_some_and(|f| f.is_err_and(|e| e.is_body()))
        );
        for _ in 0..1_000 {
            assert!(body.frame().await.is_none());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 2);
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_over_its_bound_is_refused_by_declared_and_by_counted_length() {
        assert_eq!(
            Body::full("four".into()).collect_bounded(4).await.unwrap(),
            "four"
        );
        assert!(
            Body::full("fiver".into())
                .collect_bounded(4)
                .await
                .unwrap_err()
                .is_too_large()
        );
        let (body, _) = scripted(&["ab", "cd", "e"]);
        assert!(body.collect_bounded(4).await.unwrap_err().is_too_large());
        assert_eq!(Body::empty().collect_bounded(0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn chunks_are_joined_in_order() {
        let chunks: Vec<_> = ["a", "", "bc", "d"]
            .map(|c| Ok::<_, BoxError>(Bytes::from(c)))
            .into();
        let stream = VecDeque::from(chunks);
        struct Frames(VecDeque<Result<Bytes, BoxError>>);
        impl HttpBody for Frames {
            type Data = Bytes;
            type Error = BoxError;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                Poll::Ready(self.0.pop_front().map(|c| c.map(Frame::data)))
            }
        }
        assert_eq!(
            Body::new(Frames(stream)).collect_bounded(4).await.unwrap(),
            "abcd"
        );
    }

    #[test]
    fn debug_output_has_no_content() {
        let text = format!("{:?}", Body::full("the content".into()));
        assert!(!text.contains("content"), "{text}");
        assert!(text.contains("11"), "{text}");
    }
}
