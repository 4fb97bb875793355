//! The body of a request, which tells whether anybody has begun to send it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Whole bytes, in one frame.
pub(crate) struct RequestBody {
    bytes: Bytes,
    begun: Arc<AtomicBool>,
}

/// Whether a request's body went to its connection; outlives the body.
#[cfg(feature = "http2")]
#[derive(Clone)]
pub(crate) struct Begun(Arc<AtomicBool>);

impl RequestBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        // A request without a body is whole as soon as its head is written.
        let begun = Arc::new(AtomicBool::new(bytes.is_empty()));
        Self { bytes, begun }
    }

    /// Returns what tells whether the body went out.
    #[cfg(feature = "http2")]
    pub(crate) fn begun(&self) -> Begun {
        Begun(Arc::clone(&self.begun))
    }
}

#[cfg(feature = "http2")]
impl Begun {
    /// Returns false when the request has a body of which surely not one byte was sent: whatever
    /// the server has seen is no whole request.
    pub(crate) fn is_true(&self) -> bool {
        // Acquire: pairs with the Release below; whoever hears of the failure of an exchange hears
        // of what went before it.
        self.0.load(Ordering::Acquire)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Release: pairs with the Acquire above.
        self.begun.store(true, Ordering::Release);
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
