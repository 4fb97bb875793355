//! One connection: bounds in time, and its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::alarm::Alarm;
use super::listener::{CurrentTls, Stream};
use super::opening::Opening;
use super::watched::Watched;
use super::{Activity, Face, Peer, Place, Server};
use crate::ServerLimits;
use crate::gateway::Shared;
use crate::lifecycle::{Live, LiveBody, Stage};

/// A connection is looked at so many times within its shortest limit; it may end that much late.
const LOOKS: u32 = 4;
/// How long a connection is read that ends since too much was asked of it: where something is unread
/// when it closes, the peer may lose why.
const LINGER: Duration = Duration::from_millis(250);

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
        &self,
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

    async fn serve<S>(&self, server: &Server, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // It may have been accepted at the very moment of the end, which is no news then.
        if *self.stage.borrow() == Stage::Closed {
            return;
        }
        let began = Instant::now();
        let Some((stream, activity)) = self.open(stream).await else {
            return;
        };
        let service = service_fn(|request: Request<Incoming>| {
            let (shared, face, peer) = (Arc::clone(&self.shared), self.face, self.peer);
            // From here on, so that a call counts whose answer has not begun.
            let number = shared.number();
            let live = face.lifecycle(&shared).enter(number, &activity);
            let id = shared.request_id(number);
            let answering = match face {
                Face::Calls => crate::dispatch::answer(shared, request, peer, &id),
                Face::Admin => Box::pin(crate::admin::answer(shared, request, id)),
            };
            Answering {
                answering,
                live: Some(live),
            }
        });
        let (io, stage) = (TokioIo::new(stream), self.stage.clone());
        if activity.is_http2() {
            // In a box: most connections need no room for it.
            let serve = async {
                let connection = pin!(server.http2.serve_connection(io, service));
                attend(connection, &activity, &self.limits, stage, began).await;
            };
            Box::pin(serve).await;
        } else {
            let connection = pin!(server.http1.serve_connection(io, service));
            attend(connection, &activity, &self.limits, stage, began).await;
        }
    }

    /// Reads until it is known whether HTTP/2 is spoken. `None`: the connection is over.
    async fn open<S: AsyncRead + Unpin>(
        &self,
        mut stream: S,
    ) -> Option<(Watched<S>, Arc<Activity>)> {
        let mut stage = self.stage.clone();
        // One that is made while the server drains is answered no.
        let at_first = *stage.borrow();
        let mut opening = Opening::default();
        let is_http2 = tokio::select! {
            biased;
            is_http2 = opening.read(&mut stream) => is_http2.ok()?,
            _ = stage.wait_for(|stage| *stage > at_first.min(Stage::Draining)) => return None,
            () = sleep(self.limits.head_time) => return None,
        };
        let activity = Arc::new(Activity::new(is_http2, self.limits.cancels));
        let stream = Watched::new(stream, Arc::clone(&activity), opening);
        Some((stream, activity))
    }
}

/// A request, until its answer has a head. The connection keeps the room for it as long as it lives,
/// and a stream may be open for long: so what is large is in a box, which goes with the head.
struct Answering {
    answering: crate::dispatch::Answering,
    live: Option<Live>,
}

impl Future for Answering {
    type Output = Result<Response<LiveBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.answering.as_mut().poll(cx));
        // Polled again after its end, it has nothing to say.
        let Some(live) = self.live.take() else {
            return Poll::Pending;
        };
        Poll::Ready(Ok(response.map(|body| LiveBody::new(body, live))))
    }
}

/// Drives a connection to its end: its own, that of the server, or that of its time.
async fn attend<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limits: &ServerLimits,
    mut stage: watch::Receiver<Stage>,
    began: Instant,
) {
    // One that is made while the server drains is answered no, and needs no more.
    let mut is_told = *stage.borrow() > Stage::Open;
    let mut looks = interval(limits.head_time.min(limits.idle_time) / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut since) = (activity.look(), began);
    let mut end = None;
    let mut alarm = Alarm::new();
    loop {
        let news = {
            let mut news = pin!(async {
                tokio::select! {
                    biased;
                    // With HTTP/1.1 no call is left but with its connection.
                    () = activity.exhausted(), if activity.is_http2() && end.is_none() => {
                        News::Exhausted
                    }
                    () = sleep_until(end.unwrap_or(since)), if end.is_some() => News::Over,
                    changed = stage.changed() => match changed {
                        Ok(()) => News::Stage,
                        Err(_) => News::Over,
                    },
                    now = looks.tick() => News::Look(now),
                }
            });
            alarm.renew();
            tokio::select! {
                biased;
                // How a connection ends is its peer's business.
                _ = connection.as_mut() => return,
                news = poll_fn(|cx| alarm.poll(cx, |cx| news.as_mut().poll(cx))) => news,
            }
        };
        match news {
            News::Over => return,
            News::Exhausted => {
                end = Some(Instant::now() + LINGER);
                // What it says of the end is followed by why: see `Watched`.
                connection.as_mut().graceful_shutdown();
            }
            News::Stage => {
                if *stage.borrow() == Stage::Closed {
                    return;
                }
                if !is_told {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            News::Look(now) => {
                activity.leave_stalled(now, limits);
                if activity.expire(now) {
                    return;
                }
                let look = activity.look();
                if look.is_news(last) {
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

/// What a connection hears of beside its bytes.
enum News {
    /// Too much was asked of it.
    Exhausted,
    /// The server goes another stage towards its end.
    Stage,
    /// It is time to look whether something happens.
    Look(Instant),
    /// It is to end now.
    Over,
}
