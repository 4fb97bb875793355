//! The one trait that the rest of a program needs to know.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Body, Deadlines, StreamedBody, TransportError, TransportErrorKind};

/// Sends one request and returns its answer.
///
/// The request's body is whole bytes, so that a caller can send it again;
/// [`send_streamed`](Self::send_streamed) is for those that are too large to be held. The answer's
/// body streams.
///
/// # Contract
///
/// - A status of any kind is a response, never an error; redirects are not followed.
/// - Whatever the request asks for is sent to the request's own origin and to nobody else.
/// - `send` may be called from many tasks at once.
/// - Dropping the future, or the body before its end, abandons that one exchange: nothing goes on
///   reading it in the background.
/// - [`TransportError::before_sent`] is true only when sending again is certainly harmless.
///
/// # Examples
///
/// A transport that answers by itself, as tests use it:
///
/// ```
/// use bytes::Bytes;
/// use fairkey_transport::{Body, Transport, TransportError};
///
/// #[derive(Debug)]
/// struct Canned(&'static str);
///
/// #[async_trait::async_trait]
/// impl Transport for Canned {
///     async fn send(
///         &self,
///         _request: http::Request<Bytes>,
///     ) -> Result<http::Response<Body>, TransportError> {
///         Ok(http::Response::new(Body::full(self.0.into())))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let request = http::Request::get("https://api.example/").body(Bytes::new())?;
/// let answer = Canned("hello").send(request).await?;
/// assert_eq!(answer.into_body().collect_bounded(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transport",
    note = "implement `fairkey_transport::Transport` with `#[async_trait::async_trait]`"
)]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `request` and returns the head of the answer with a body that streams.
    ///
    /// # Errors
    ///
    /// When no head came; see [`TransportErrorKind`](crate::TransportErrorKind).
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError>;

    /// Sends `request` while its body comes: for uploads that are not to be held in memory.
    ///
    /// The body is asked for once. It may be sent again for as long as nobody has asked for a piece
    /// of it, and not after that: [`StreamedBody::is_begun`] tells, to a caller that keeps a
    /// handle. The deadline for the head does not run where some of the body is still to come, since
    /// the head waits for the upload; that for the whole call does.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); an error of the body itself is one of kind
    /// [`Request`](TransportErrorKind::Request). By default every request is refused that way: the
    /// transport takes whole bodies only.
    async fn send_streamed(
        &self,
        request: http::Request<StreamedBody>,
    ) -> Result<http::Response<Body>, TransportError> {
        drop(request);
        Err(TransportError::new(
            TransportErrorKind::Request,
            "this transport takes whole bodies only",
        ))
    }

    /// Returns the deadlines of requests that name none; `None`, the default: that is not known.
    /// It spares whoever wants the same to name them with each request.
    fn deadlines(&self) -> Option<Deadlines> {
        None
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        (**self).send(request).await
    }

    async fn send_streamed(
        &self,
        request: http::Request<StreamedBody>,
    ) -> Result<http::Response<Body>, TransportError> {
        (**self).send_streamed(request).await
    }

    fn deadlines(&self) -> Option<Deadlines> {
        (**self).deadlines()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Transport + ?Sized> Transport for Box<T> {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError> {
        (**self).send(request).await
    }

    async fn send_streamed(
        &self,
        request: http::Request<StreamedBody>,
    ) -> Result<http::Response<Body>, TransportError> {
        (**self).send_streamed(request).await
    }

    fn deadlines(&self) -> Option<Deadlines> {
        (**self).deadlines()
    }
}

/// Stops compiling when the trait is no longer object safe.
const _: fn(&dyn Transport) = |_| {};
