//! The body of a request, which tells whether anybody has begun to send it.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{Body, TransportError, TransportErrorKind};

/// The body of a request that is sent while it comes: what
/// [`Transport::send_streamed`](crate::Transport::send_streamed) takes.
///
/// It can be sent once. A clone is a handle to the same body: whoever keeps one learns by
/// [`is_begun`](Self::is_begun) whether another attempt is still possible.
///
/// ```
/// use fairkey_transport::{Body, StreamedBody};
///
/// let body = StreamedBody::new(Body::full("a form".into()));
/// assert!(!body.is_begun());
/// ```
#[derive(Clone)]
pub struct StreamedBody {
    shared: Arc<Shared>,
}

struct Shared {
    body: Mutex<Option<Body>>,
    begun: Arc<AtomicBool>,
    hint: SizeHint,
    is_empty: bool,
    /// Whether all of it is in memory: nobody waits for any of it.
    is_whole: bool,
}

impl StreamedBody {
    /// Wraps a body. Its length, where it is known by now, is told to the server.
    #[must_use]
    pub fn new(body: Body) -> Self {
        let (hint, is_empty) = (body.size_hint(), body.is_end_stream());
        let is_whole = is_empty || body.is_full();
        let shared = Shared {
            body: Mutex::new(Some(body)),
            begun: Arc::default(),
            hint,
            is_empty,
            is_whole,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns whether a piece of the body was asked for: from then on it cannot be sent again.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        // Acquire: pairs with the Release of whoever asks for the first piece.
        self.shared.begun.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<Body> {
        let body = self.shared.body.lock();
        body.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedBody")
            .field("is_begun", &self.is_begun())
            .field("at_most_bytes", &self.shared.hint.upper())
            .finish()
    }
}

/// What a request brings along: can be looked at as often as need be.
#[derive(Clone)]
pub(crate) enum Payload {
    /// Whole bytes.
    Whole(Bytes),
    /// A body that comes while it is sent.
    Streamed(StreamedBody),
}

impl Payload {
    /// Returns whether it can be sent once more.
    pub(crate) fn is_there(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Streamed(body) => !body.is_begun(),
        }
    }

    /// Returns whether some of it is still to come.
    pub(crate) fn is_coming(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Streamed(body) => !body.shared.is_whole,
        }
    }

    /// Returns whether it has not one byte, as far as that is known.
    #[cfg(feature = "http2")]
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(body) => body.shared.is_empty,
        }
    }

    /// Returns how many bytes it has, where that is known beforehand.
    #[cfg(feature = "http2")]
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Streamed(body) => body.shared.hint.exact(),
        }
    }

    /// Returns the body of one exchange.
    pub(crate) fn body(&self) -> RequestBody {
        match self {
            Self::Whole(bytes) => RequestBody::new(bytes.clone()),
            Self::Streamed(body) => RequestBody {
                begun: Arc::clone(&body.shared.begun),
                kind: Kind::Waiting(body.clone()),
            },
        }
    }
}

/// The body of one exchange.
pub(crate) struct RequestBody {
    kind: Kind,
    begun: Arc<AtomicBool>,
}

enum Kind {
    /// Whole bytes, in one frame.
    Whole(Bytes),
    /// Nobody has asked for a piece of it.
    Waiting(StreamedBody),
    Flowing(Body),
}

impl RequestBody {
    pub(crate) fn new(bytes: Bytes) -> Self {
        // A request without a body is whole as soon as its head is written.
        let begun = Arc::new(AtomicBool::new(bytes.is_empty()));
        Self {
            kind: Kind::Whole(bytes),
            begun,
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        // Release: pairs with the Acquire above.
        self.begun.store(true, Ordering::Release);
        if let Kind::Waiting(body) = &self.kind {
            let Some(body) = body.take() else {
                return Poll::Ready(Some(Err(gone())));
            };
            self.kind = Kind::Flowing(body);
        }
        match &mut self.kind {
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Kind::Flowing(body) => Pin::new(body).poll_frame(cx),
            Kind::Waiting(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Waiting(body) => body.shared.is_empty,
            Kind::Flowing(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Waiting(body) => body.shared.hint,
            Kind::Flowing(body) => body.size_hint(),
        }
    }
}

/// Makes the error for a body that is asked for twice.
pub(crate) fn gone() -> TransportError {
    TransportError::new(
        TransportErrorKind::Request,
        "the body of the request was sent before, and cannot be sent again",
    )
}

const _: fn() = || {
    fn is<T: Send + Sync + 'static>() {}
    is::<StreamedBody>();
};
