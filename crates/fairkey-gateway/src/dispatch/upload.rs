//! A caller's body that passes while it comes, within its bounds: [`Upload`].

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::BoxError;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::too_large;
use crate::{Failure, Reason};

/// A body on its way to the upstream.
///
/// It fails where more comes than allowed, and where nothing comes for too long while the upstream
/// waits for it: a caller that stalls would hold a key.
pub(super) struct Upload<B> {
    body: B,
    limit: u64,
    left: u64,
    idle: Duration,
    /// Runs while nothing comes.
    timer: Option<Pin<Box<Sleep>>>,
    fate: Fate,
}

/// Why a body did not pass, for whoever answers its caller. A clone tells of the same body.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate(Arc<OnceLock<Failure>>);

impl Fate {
    /// Returns the failure, if there was one: it is the caller's, whatever became of the call.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.0.get().cloned()
    }
}

/// What the upstream's connection is told: why is told to the caller.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the request did not come whole")
    }
}

impl std::error::Error for Stopped {}

impl<B> Upload<B> {
    /// Bounds a body: so many bytes at most, and no silence longer than `idle`.
    pub(super) fn new(body: B, limit: u64, idle: Duration) -> Self {
        Self {
            body,
            limit,
            left: limit,
            idle,
            timer: None,
            fate: Fate::default(),
        }
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.clone()
    }

    fn stop(&mut self, why: Failure) -> BoxError {
        // It is polled no more: this is the first.
        let _ = self.fate.0.set(why);
        Box::new(Stopped)
    }
}

impl<B> HttpBody for Upload<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let next = loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                // Trailers stay here, as do headers that must not travel: nobody has looked at them.
                Poll::Ready(Some(Ok(frame))) if !frame.is_data() => {}
                next => break next,
            }
        };
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                this.timer = None;
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(bytes) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(Some(Err(this.stop(too_large(this.limit))))),
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let _ = error.into();
                let message = "the body of the request broke off";
                let why = Failure::new(Reason::BadRequest, message);
                Poll::Ready(Some(Err(this.stop(why))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let idle = this.idle;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(idle)));
                std::task::ready!(timer.as_mut().poll(cx));
                let message = format!("nothing more of the body came within {idle:?}");
                let why = Failure::new(Reason::TooSlow, message);
                Poll::Ready(Some(Err(this.stop(why))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderName, HeaderValue};
    use http_body_util::{BodyExt as _, Full};
    use tokio::sync::mpsc;

    use super::*;

    /// A body that is sent piece by piece.
    struct Pieces(mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = std::task::ready!(self.0.poll_recv(cx));
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_piece_gives_new_time() {
        let second = Duration::from_secs(1);
        let (send, body) = mpsc::unbounded_channel();
        let mut upload = Upload::new(Pieces(body), 100, second * 10);
        let fate = upload.fate();
        for _ in 0..3 {
            // Somebody waits for it meanwhile.
            let early = tokio::time::timeout(second * 9, upload.frame()).await;
            assert!(early.is_err());
            send.send(Bytes::from_static(b"piece")).unwrap();
            assert!(upload.frame().await.unwrap().is_ok());
        }
        assert!(fate.failure().is_none());
        assert!(upload.frame().await.unwrap().is_err());
        assert_eq!(fate.failure().unwrap().reason(), Reason::TooSlow);
    }

    #[tokio::test]
    async fn what_is_too_large_is_said_so() {
        for (bytes, fits) in [(10, true), (11, false)] {
            let mut upload = Upload::new(Full::new(Bytes::from(vec![0; bytes])), 10, Duration::MAX);
            let fate = upload.fate();
            assert_eq!(upload.frame().await.unwrap().is_ok(), fits);
            let reason = fate.failure().map(|failure| failure.reason());
            assert_eq!(reason, (!fits).then_some(Reason::BodyTooLarge));
        }
    }

    #[tokio::test]
    async fn trailers_do_not_travel() {
        let trailers = async {
            let (name, value) = ("x-api-key", HeaderValue::from_static("of-the-caller"));
            Some(Ok(HeaderMap::from_iter([(
                HeaderName::from_static(name),
                value,
            )])))
        };
        let body = Full::new(Bytes::from_static(b"form")).with_trailers(trailers);
        let mut upload = Upload::new(Box::pin(body), 10, Duration::MAX);
        let frame = upload.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "form");
        assert!(upload.frame().await.is_none());
        assert!(upload.fate().failure().is_none());
    }
}
