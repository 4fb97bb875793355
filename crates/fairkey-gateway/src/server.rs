//! The listener, its connections, and how they end: [`Serving`].
//!
//! | module | has |
//! | --- | --- |
//! | `address` | where to listen: [`ListenAddr`] |
//! | `listener` | what listens: TCP or a Unix socket, with TLS or without |
//! | `connection` | one connection: bounds in time, and its end |
//! | `opening` | the first bytes of a connection, which tell its protocol |
//! | `activity` | what goes on in a connection |
//! | `streams` | the answers under way in a connection of HTTP/2 |
//! | `patience` | how many calls of a connection may be left |
//! | `watched` | a stream that notes what goes through it |
//! | `refusal` | connections for which there is no room |
//! | `tls` | certificates, and how they are read again |

mod activity;
mod address;
mod alarm;
mod connection;
mod listener;
mod opening;
mod patience;
mod refusal;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod watched;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use self::activity::Activity;
pub use self::address::{ListenAddr, ParseListenAddrError};
use self::connection::Connection;
pub use self::listener::Listener;
use self::refusal::Refusal;
pub(crate) use self::streams::Stream;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
use crate::gateway::{Gateway, Shared};
use crate::lifecycle::{Lifecycle, Stage};
use crate::{ServerLimits, Settings};

/// How long accepting rests after an error that nothing could be done about.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to send what is left in their buffers, when all calls are over.
const FLUSH: Duration = Duration::from_secs(1);
/// How many calls that were cut are told by name.
const MOST_NAMED: usize = 100;

/// A gateway that listens. Dropped, it goes on: only [`shutdown`](Self::shutdown) ends it.
#[must_use = "without it nobody can end the server"]
pub struct Serving {
    local: ListenAddr,
    face: Face,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    task: JoinHandle<()>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "for whoever logs or limits by address")]
pub(crate) struct Peer {
    /// Its address; `None` on a Unix socket.
    pub(crate) remote: Option<SocketAddr>,
}

/// What came of a [`Serving::shutdown`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many calls were cut off.
    pub cut: usize,
    /// Their identifiers, as their callers have them in `x-fairkey-request-id`: 100 at most.
    pub requests: Vec<String>,
}

impl Drained {
    /// Returns whether every call came to its own end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cut == 0
    }
}

/// Who answers on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// The gateway's callers.
    Calls,
    /// Its operators.
    Admin,
}

impl Gateway {
    /// Serves what comes in on `listener`, HTTP/1.1 and HTTP/2, until [`Serving::shutdown`].
    /// Returns at once, when connections are accepted.
    ///
    /// # Errors
    ///
    /// Where the listener has no address, or is reachable from elsewhere while no client token is
    /// asked for.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn serve(&self, listener: TcpListener) -> io::Result<Serving> {
        self.serve_on(listener.try_into()?)
    }

    /// The same on any listener: a Unix socket, or with TLS.
    ///
    /// # Errors
    ///
    /// As [`serve`](Self::serve).
    pub fn serve_on(&self, listener: Listener) -> io::Result<Serving> {
        if let ListenAddr::Tcp(local) = *listener.local() {
            let guard = &self.shared.guard;
            (guard.check_listen(local))
                .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        }
        Ok(Serving::start(&self.shared, listener, Face::Calls))
    }

    /// Begins to end: [`/readyz`](Self::is_ready) says so, calls under way go on, and others are
    /// refused, on every listener. Whoever waits for [`draining`](Self::draining) hears of it.
    /// Returns whether that was news.
    pub fn drain(&self) -> bool {
        self.shared.lifecycle.advance(Stage::Draining)
    }

    /// Waits until somebody begins to end it. Can be dropped at any point.
    pub async fn draining(&self) {
        let mut stage = self.shared.lifecycle.watch();
        // The sender is in `self`.
        let _ = stage.wait_for(|stage| *stage > Stage::Open).await;
    }

    /// Returns whether calls are taken: not while it drains, nor while there are no file
    /// descriptors for connections. Whether the upstream is well is not asked.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let lifecycle = &self.shared.lifecycle;
        lifecycle.is_open() && !lifecycle.is_starved()
    }

    /// Waits until no call is under way. Can be dropped at any point.
    pub async fn idle(&self) {
        self.shared.lifecycle.idle().await;
    }

    /// Returns how many calls are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.lifecycle.count()
    }
}

impl Face {
    /// Returns whose beginning and end it shares.
    pub(crate) fn lifecycle(self, shared: &Shared) -> &Arc<Lifecycle> {
        match self {
            Self::Calls => &shared.lifecycle,
            Self::Admin => &shared.admins,
        }
    }
}

impl Serving {
    pub(crate) fn start(shared: &Arc<Shared>, listener: Listener, face: Face) -> Self {
        let connections = Arc::new(Connections::default());
        let local = listener.local().clone();
        let accepting = Accepting {
            shared: Arc::clone(shared),
            connections: Arc::clone(&connections),
            face,
        };
        Self {
            local,
            face,
            shared: Arc::clone(shared),
            connections,
            task: tokio::spawn(accepting.run(listener)),
        }
    }

    /// Returns what is listened on.
    #[must_use]
    pub fn local(&self) -> &ListenAddr {
        &self.local
    }

    /// Returns the address that is listened on.
    ///
    /// # Panics
    ///
    /// On a Unix socket, which has none: see [`local`](Self::local).
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        match self.local {
            ListenAddr::Tcp(addr) => addr,
            ListenAddr::Unix(_) => panic!("a Unix socket has a path, and no address"),
        }
    }

    /// [Drains](Gateway::drain) the gateway, lets calls under way come to their ends, and returns
    /// when they have. What has not after `within` is cut off, and told of. Connections that are
    /// made meanwhile are still answered: 503, and `/readyz` likewise.
    pub async fn shutdown(self, within: Duration) -> Drained {
        let lifecycle = Arc::clone(self.face.lifecycle(&self.shared));
        lifecycle.advance(Stage::Draining);
        let end = Instant::now() + within;
        let drained = if timeout_at(end, lifecycle.idle()).await.is_ok() {
            Drained::default()
        } else {
            self.cut()
        };
        if drained.is_whole() {
            // The last bytes of the last answer may still be on their way out.
            let _ = timeout(FLUSH, self.connections.none()).await;
        }
        lifecycle.advance(Stage::Closed);
        let _ = self.task.await;
        drained
    }

    /// Ends at once: what is under way is cut off, and told of.
    pub async fn abort(self) -> Drained {
        self.shutdown(Duration::ZERO).await
    }

    fn cut(&self) -> Drained {
        let lifecycle = self.face.lifecycle(&self.shared);
        let requests = lifecycle.numbers(MOST_NAMED).into_iter();
        Drained {
            cut: lifecycle.count(),
            requests: requests
                .map(|n| self.shared.request_id(n).as_ref().to_owned())
                .collect(),
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// How many connections there are.
#[derive(Debug, Default)]
struct Connections {
    count: AtomicUsize,
    none: tokio::sync::Notify,
}

/// One connection's place.
#[derive(Debug)]
struct Place(Arc<Connections>);

impl Connections {
    fn take(self: &Arc<Self>, most: usize) -> Option<Place> {
        let place = |count: usize| (count < most).then_some(count + 1);
        (self.count)
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, place)
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    async fn none(&self) {
        loop {
            let mut none = std::pin::pin!(self.none.notified());
            none.as_mut().enable();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

/// What accepts connections.
struct Accepting {
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    face: Face,
}

impl Accepting {
    async fn run(self, listener: Listener) {
        let lifecycle = Arc::clone(self.face.lifecycle(&self.shared));
        let mut stage = lifecycle.watch();
        let mut protocol = Protocol::new(self.shared.settings());
        let mut refusal = Refusal::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage == Stage::Closed) => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if refusal::is_exhausted(&error) => {
                    self.shared.lifecycle.set_starved(true);
                    if !refusal.serve_one(&listener).await {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
                // The peer has gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.shared.lifecycle.set_starved(false);
            protocol.update(self.shared.settings());
            let most = match self.face {
                Face::Calls => protocol.settings.limits.connections,
                Face::Admin => MOST_ADMINS,
            };
            let Some(place) = self.connections.take(most) else {
                refusal.turn_away(stream, listener.is_plain());
                continue;
            };
            let connection = Connection {
                shared: Arc::clone(&self.shared),
                face: self.face,
                peer,
                limits: protocol.settings.limits.clone(),
                stage: lifecycle.watch(),
            };
            let server = if lifecycle.is_open() {
                &protocol.open
            } else {
                &protocol.draining
            };
            connection.spawn(Arc::clone(server), stream, listener.tls(), place);
        }
    }
}

/// Connections for administration at a time.
const MOST_ADMINS: usize = 64;

/// How each protocol is spoken.
struct Server {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// HTTP as it is spoken under the settings.
struct Protocol {
    settings: Arc<Settings>,
    open: Arc<Server>,
    /// For connections of which only one answer is wanted: no.
    draining: Arc<Server>,
}

impl Protocol {
    fn new(settings: Arc<Settings>) -> Self {
        let limits = &settings.limits;
        Self {
            open: Arc::new(server(limits, true)),
            draining: Arc::new(server(limits, false)),
            settings,
        }
    }

    fn update(&mut self, settings: Arc<Settings>) {
        if !Arc::ptr_eq(&self.settings, &settings) {
            *self = Self::new(settings);
        }
    }
}

/// How many headers hyper reads if nobody says. To be told a number costs it a list of that many, made
/// anew for each head.
const HYPERS_HEADERS: usize = 100;

fn server(limits: &ServerLimits, keep_alive: bool) -> Server {
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        // Its time runs while a connection is idle, too; `connection` has one for each.
        .header_read_timeout(None)
        .keep_alive(keep_alive)
        .max_buf_size(limits.head_bytes.max(8 << 10));
    if limits.headers != HYPERS_HEADERS {
        http1.max_headers(limits.headers);
    }
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets);
    Server { http1, http2 }
}
