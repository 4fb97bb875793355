//! The listener, its connections, and how they end: [`Serving`].

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::gateway::{Gateway, Shared};

/// How long accepting rests after an error: usually there are no file descriptors left, and trying
/// again at once would only burn the time in which some are freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A gateway that listens. Dropped, it goes on: only [`shutdown`](Self::shutdown) ends it.
#[must_use = "without it nobody can end the server"]
pub struct Serving {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<GracefulShutdown>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "guards and tenants will ask")]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) remote: SocketAddr,
    /// Ours, on which it came.
    pub(crate) local: SocketAddr,
}

impl Gateway {
    /// Serves what comes in on `listener`, HTTP/1.1 and HTTP/2 without TLS, until
    /// [`Serving::shutdown`]. Returns at once, when connections are accepted.
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
        let local = listener.local_addr()?;
        let guard = &self.shared.guard;
        (guard.check_listen(local))
            .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(Arc::clone(&self.shared), listener, stopped));
        Ok(Serving { local, stop, task })
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
) -> GracefulShutdown {
    let graceful = GracefulShutdown::new();
    let server = Arc::new(server(shared.settings.head_timeout));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return graceful,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, remote)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A chunk that waits for the next one to share a packet comes 40 ms late.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else {
            continue;
        };
        connection(&shared, &server, &graceful, stream, Peer { remote, local });
    }
}

fn server(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout);
    server.http2().timer(TokioTimer::new());
    server
}

/// Serves one connection, of whatever kind, in a task of its own.
fn connection<S>(
    shared: &Arc<Shared>,
    server: &Arc<auto::Builder<TokioExecutor>>,
    graceful: &GracefulShutdown,
    stream: S,
    peer: Peer,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (shared, server) = (Arc::clone(shared), Arc::clone(server));
    let watcher = graceful.watcher();
    tokio::spawn(async move {
        let service = service_fn(move |request: http::Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(crate::dispatch::answer(&shared, request, peer).await) }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service);
        // How a connection ends is its peer's business.
        let _ = watcher.watch(connection.into_owned()).await;
    });
}

impl Serving {
    /// Returns the address that is listened on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting, lets calls under way come to their ends, and returns when they have, or
    /// after `within`. Returns whether all did. What goes on after that goes on unattended, and ends
    /// with the runtime.
    pub async fn shutdown(self, within: Duration) -> bool {
        self.stop.send_replace(true);
        let Ok(graceful) = self.task.await else {
            return false;
        };
        tokio::time::timeout(within, graceful.shutdown())
            .await
            .is_ok()
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("addr", &self.local)
            .finish_non_exhaustive()
    }
}
