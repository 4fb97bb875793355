//! One connection: bounds in time, and its end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::listener::{CurrentTls, Stream};
use super::{Face, Peer, Place, Server};
use crate::ServerLimits;
use crate::gateway::Shared;
use crate::lifecycle::{LiveBody, Stage};

/// How every connection of HTTP/2 begins. No method of HTTP/1.1 begins so.
const HTTP2: &[u8] = b"PRI";
/// A connection is looked at so many times within its shortest limit; it may end that much late.
const LOOKS: u32 = 4;

/// One connection, before it is served.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) face: Face,
    pub(super) peer: Peer,
    pub(super) limits: ServerLimits,
    pub(super) stage: watch::Receiver<Stage>,
}

impl Connection {
    /// Serves it in a task of its own, until it ends.
    pub(super) fn spawn(self, server: Arc<Server>, stream: Stream, tls: CurrentTls, place: Place) {
        tokio::spawn(async move {
            let _place = place;
            match tls {
                None => self.serve(&server, stream).await,
                #[cfg(feature = "tls")]
                // In a box: most connections need no room for it.
                Some(config) => Box::pin(self.serve_tls(config, &server, stream)).await,
                #[cfg(not(feature = "tls"))]
                Some(never) => match *never {},
            }
        });
    }

    #[cfg(feature = "tls")]
    async fn serve_tls(
        self,
        config: Arc<tokio_rustls::rustls::ServerConfig>,
        server: &Server,
        stream: Stream,
    ) {
        let handshake = tokio_rustls::TlsAcceptor::from(config).accept(stream);
        let mut stage = self.stage.clone();
        let done = tokio::select! {
            done = tokio::time::timeout(self.limits.head_time, handshake) => done,
            _ = stage.wait_for(|stage| *stage == Stage::Closed) => return,
        };
        // How a handshake fails is its peer's business.
        if let Ok(Ok(stream)) = done {
            self.serve(server, stream).await;
        }
    }

    async fn serve<S>(self, server: &Server, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request: Request<Incoming>| {
            let (shared, face, peer) = (Arc::clone(&self.shared), self.face, self.peer);
            // From here on, so that a call counts whose answer has not begun.
            let number = shared.number();
            let live = face.lifecycle(&shared).enter(number, &activity);
            async move {
                let id = shared.request_id(number);
                let response = match face {
                    Face::Calls => crate::dispatch::answer(&shared, request, peer, id).await,
                    Face::Admin => crate::admin::answer(&shared, request, id).await,
                };
                Ok::<_, Infallible>(response.map(|body| LiveBody { body, _live: live }))
            }
        });
        let stream = Watched {
            stream,
            activity: Arc::clone(&activity),
            has_begun: false,
        };
        let connection = pin!(server.serve_connection(TokioIo::new(stream), service));
        attend(connection, &activity, &self.limits, self.stage).await;
    }
}

/// Drives a connection to its end: its own, that of the server, or that of its time.
async fn attend<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limits: &ServerLimits,
    mut stage: watch::Receiver<Stage>,
) {
    // One that is made while the server drains is answered no, and needs no more.
    let mut is_told = *stage.borrow() > Stage::Open;
    let mut looks = interval(limits.head_time.min(limits.idle_time) / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut since) = (activity.look(), Instant::now());
    loop {
        tokio::select! {
            biased;
            // How a connection ends is its peer's business.
            _ = connection.as_mut() => return,
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow() == Stage::Closed {
                    return;
                }
                if !is_told {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            now = looks.tick() => {
                let look = activity.look();
                if look != last {
                    (last, since) = (look, now);
                } else if let Some(limit) = look.limit(limits)
                    && now.duration_since(since) >= limit
                {
                    return;
                }
            }
        }
    }
}

/// What goes on in a connection. Relaxed everywhere: it is looked at from time to time, and
/// publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    in_flight: AtomicU32,
    /// Heads that came whole.
    heads: AtomicU32,
    /// Whether bytes came after the last head that are no body.
    is_reading: AtomicBool,
    is_http2: AtomicBool,
    written: AtomicU64,
    /// Whether the peer takes nothing.
    is_stalled: AtomicBool,
}

/// An activity at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    state: State,
    heads: u32,
    written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is asked for.
    Idle,
    /// A head is on its way, or is still to come at all.
    Head,
    /// There are calls under way.
    Busy,
    /// There are, and the peer takes nothing of their answers.
    Stalled,
}

impl Look {
    /// Returns how long it may stay like this.
    fn limit(self, limits: &ServerLimits) -> Option<Duration> {
        match self.state {
            State::Idle | State::Stalled => Some(limits.idle_time),
            State::Head => Some(limits.head_time),
            State::Busy => None,
        }
    }
}

impl Activity {
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.is_reading.store(false, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn look(&self) -> Look {
        let heads = self.heads.load(Ordering::Relaxed);
        let is_http1 = !self.is_http2.load(Ordering::Relaxed);
        let state = if self.is_stalled.load(Ordering::Relaxed) {
            State::Stalled
        } else if self.in_flight.load(Ordering::Relaxed) > 0 {
            State::Busy
        } else if is_http1 && (heads == 0 || self.is_reading.load(Ordering::Relaxed)) {
            State::Head
        } else {
            State::Idle
        };
        Look {
            state,
            heads,
            written: self.written.load(Ordering::Relaxed),
        }
    }

    fn read(&self, bytes: &[u8], is_first: bool) {
        if is_first
            && !bytes.is_empty()
            && HTTP2.starts_with(&bytes[..bytes.len().min(HTTP2.len())])
        {
            self.is_http2.store(true, Ordering::Relaxed);
        }
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            self.is_reading.store(true, Ordering::Relaxed);
        }
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
                self.is_stalled.store(false, Ordering::Relaxed);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.is_stalled.store(true, Ordering::Relaxed),
        }
    }
}

/// A stream that notes what goes through it.
#[derive(Debug)]
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    has_begun: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() {
            let is_first = !std::mem::replace(&mut this.has_begun, true);
            this.activity.read(bytes, is_first);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.activity.wrote(&polled);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.activity.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(activity: &Activity) -> State {
        activity.look().state
    }

    #[test]
    fn a_connection_is_idle_only_after_its_first_call() {
        let activity = Activity::default();
        assert_eq!(state(&activity), State::Head);
        activity.read(b"GET / HT", true);
        assert_eq!(state(&activity), State::Head);
        activity.begin();
        assert_eq!(state(&activity), State::Busy);
        activity.read(b"a body", false);
        activity.end();
        assert_eq!(state(&activity), State::Idle);
        activity.read(b"G", false);
        assert_eq!(state(&activity), State::Head);
    }

    #[test]
    fn http2_is_known_by_its_first_bytes_and_may_be_idle_from_the_start() {
        for (bytes, is_http2) in [
            (&b"PRI * HTTP/2.0"[..], true),
            (b"P", true),
            (b"POST", false),
        ] {
            let activity = Activity::default();
            activity.read(bytes, true);
            assert_eq!(state(&activity) == State::Idle, is_http2, "{bytes:?}");
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_is_stalled_until_it_takes_something() {
        let activity = Activity::default();
        activity.begin();
        activity.wrote(&Poll::Ready(Ok(7)));
        activity.wrote(&Poll::Pending);
        assert_eq!(state(&activity), State::Stalled);
        assert_eq!(
            activity.look().limit(&ServerLimits::default()),
            Some(ServerLimits::default().idle_time)
        );
        activity.wrote(&Poll::Ready(Ok(1)));
        assert_eq!(state(&activity), State::Busy);
    }
}
