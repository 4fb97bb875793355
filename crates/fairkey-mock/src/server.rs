//! The listening server, and the handle that a test holds on it.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::action::Action;
use crate::answer::Length;
use crate::batch::BatchPlan;
use crate::builder::Builder;
use crate::catalog::Catalog;
use crate::chance::{FaultKind, Latency};
use crate::clock::{Clock, Timestamp};
use crate::connection::{Connection, Link, Wire};
use crate::endpoints;
use crate::log::{Counters, Log};
use crate::money::Money;
use crate::screen::Screen;
use crate::script::{On, Step};
use crate::world::{Unknown, World};

/// How long [`MockOpenRouter::shutdown`] lets running calls finish.
const GRACE: Duration = Duration::from_secs(5);

/// What a connection in memory holds on its way, in each direction.
const PIPE_BYTES: usize = 64 * 1024;

/// A running mock. Dropping it closes its port and every connection at once.
pub struct MockOpenRouter {
    shared: Arc<Shared>,
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    pipes: mpsc::UnboundedSender<DuplexStream>,
    task: Option<JoinHandle<()>>,
}

/// What every call needs.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) log: Log,
    pub(crate) catalog: Catalog,
    pub(crate) seed: u64,
    pub(crate) answer_tokens: Length,
    pub(crate) comments: usize,
    pub(crate) max_body: usize,
    pub(crate) max_batch: Option<usize>,
    pub(crate) max_streams: Option<u32>,
    pub(crate) hints_in_headers: bool,
    pub(crate) screen: Screen,
    world: Mutex<World>,
    requests: AtomicU64,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // A panic elsewhere must not make every later call fail in another way.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls are numbered from 1.
    pub(crate) fn next_request(&self) -> u64 {
        // Relaxed: only the number itself matters.
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What [`Builder`] puts together.
pub(crate) struct Parts {
    pub(crate) world: World,
    pub(crate) catalog: Catalog,
    pub(crate) seed: u64,
    pub(crate) answer_tokens: Length,
    pub(crate) comments: usize,
    pub(crate) max_body: usize,
    pub(crate) max_batch: Option<usize>,
    pub(crate) max_streams: Option<u32>,
    pub(crate) hints_in_headers: bool,
    pub(crate) screen: Screen,
}

impl MockOpenRouter {
    /// A builder. Without a key it builds an [open](Self::open) mock.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A builder of an open mock: any bearer key is good, and there are no limits, no latency and
    /// no faults until some are added.
    pub fn open() -> Builder {
        Builder::new()
    }

    /// Serves what comes by the listener, if there is one, and by [`connect`](Self::connect).
    pub(crate) fn serve(listener: Option<TcpListener>, addr: SocketAddr, parts: Parts) -> Self {
        let Parts {
            world,
            catalog,
            seed,
            answer_tokens,
            comments,
            max_body,
            max_batch,
            max_streams,
            hints_in_headers,
            screen,
        } = parts;
        let shared = Arc::new(Shared {
            clock: Arc::clone(&world.clock),
            log: world.log.clone(),
            catalog,
            seed,
            answer_tokens,
            comments,
            max_body,
            max_batch,
            max_streams,
            hints_in_headers,
            screen,
            world: Mutex::new(world),
            requests: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let (pipes, piped) = mpsc::unbounded_channel();
        let task = tokio::spawn(accept(listener, piped, Arc::clone(&shared), stopped));
        Self {
            shared,
            addr,
            stop,
            pipes,
            task: Some(task),
        }
    }

    /// What a client takes as its base URL: `http://ADDR/api/v1`.
    pub fn base_url(&self) -> String {
        format!("{}/api/v1", self.origin())
    }

    /// Opens a connection in memory: this end is the client's.
    ///
    /// It waits for no socket, so that on tokio's paused time a client and the mock run as fast as
    /// they compute, with every latency, window and reset where it belongs. A scripted reset shows
    /// as an early end. After [`shutdown`](Self::shutdown) it is closed at once.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        // Where nobody serves any more, the peer sees the end.
        let _ = self.pipes.send(server);
        client
    }

    /// `http://ADDR`
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The log of events.
    pub fn log(&self) -> Log {
        self.shared.log.clone()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        self.shared.log.counters()
    }

    /// The time by the mock's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Moves the mock's clock forward: windows, resets, expiry and scheduled actions follow at
    /// once. Latency does not: it waits for real time.
    pub fn advance(&self, by: Duration) {
        self.apply(Action::Advance(by));
        self.shared.world().run_due();
    }

    /// Adds a script, behind those that are there.
    pub fn script(&self, on: On, steps: impl IntoIterator<Item = Step>) {
        self.shared.world().scripts.add(on, steps);
    }

    /// Drops all scripts.
    pub fn clear_scripts(&self) {
        self.shared.world().scripts.clear();
    }

    /// How many calls the scripts are still waiting for; `u64::MAX` if one goes on forever.
    pub fn scripted_calls_left(&self) -> u64 {
        self.shared.world().scripts.remaining()
    }

    /// Plans how batches go that are still to come, behind what is planned. See [`BatchPlan`].
    pub fn plan_batches(&self, plans: impl IntoIterator<Item = BatchPlan>) {
        self.shared.world().plan_batches(plans);
    }

    /// Does something now.
    ///
    /// # Panics
    ///
    /// If it names a key or an account that does not exist.
    #[track_caller]
    pub fn apply(&self, action: Action) {
        let applied = self.shared.world().apply(action);
        expect_known(applied);
    }

    /// Deletes a key: 401 from here on.
    ///
    /// # Panics
    ///
    /// If no key has this label or secret.
    #[track_caller]
    pub fn revoke_key(&self, key: &str) {
        self.apply(Action::revoke_key(key));
    }

    /// Takes a revocation back.
    ///
    /// # Panics
    ///
    /// If no key has this label or secret.
    #[track_caller]
    pub fn restore_key(&self, key: &str) {
        self.apply(Action::restore_key(key));
    }

    /// Disables a key: 401 until it is enabled.
    ///
    /// # Panics
    ///
    /// If no key has this label or secret.
    #[track_caller]
    pub fn disable_key(&self, key: &str) {
        self.apply(Action::disable_key(key));
    }

    /// Enables a key.
    ///
    /// # Panics
    ///
    /// If no key has this label or secret.
    #[track_caller]
    pub fn enable_key(&self, key: &str) {
        self.apply(Action::enable_key(key));
    }

    /// Sets what an account has left, in US dollars.
    ///
    /// # Panics
    ///
    /// If no account has this name.
    #[track_caller]
    pub fn set_balance(&self, account: &str, usd: f64) {
        self.apply(Action::set_balance(account, usd));
    }

    /// What an account has left, in US dollars; infinite for credit without end.
    ///
    /// # Panics
    ///
    /// If no account has this name.
    #[track_caller]
    pub fn balance_usd(&self, account: &str) -> f64 {
        let world = self.shared.world();
        let balance = world
            .find_account(account)
            .map(|index| world.balance(index));
        drop(world);
        expect_known(balance).map_or(f64::INFINITY, Money::usd)
    }

    /// Changes how long answers take.
    pub fn set_latency(&self, latency: Latency) {
        self.apply(Action::SetLatency(latency));
    }

    /// Changes how likely a kind of fault is, 0 to 1.
    pub fn set_fault_rate(&self, kind: FaultKind, probability: f64) {
        self.apply(Action::SetFaultRate(kind, probability));
    }

    /// Stops accepting, lets running calls finish for a few seconds, and closes what is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes everything at once.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = &mut self.task {
            // It ends by itself; a panic in it has been reported where it happened.
            let _ = task.await;
        }
    }
}

#[track_caller]
fn expect_known<T>(result: Result<T, Unknown>) -> T {
    match result {
        Ok(value) => value,
        Err(unknown) => panic!("{unknown}"),
    }
}

impl Drop for MockOpenRouter {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            // The connections are its children, and go with it.
            task.abort();
        }
    }
}

impl fmt::Debug for MockOpenRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockOpenRouter")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

async fn accept(
    listener: Option<TcpListener>,
    mut piped: mpsc::UnboundedReceiver<DuplexStream>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let wire = tokio::select! {
            // In this order, and not in one by chance: what happens follows from the seed alone.
            biased;
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            Some(pipe) = piped.recv() => Wire::Memory(pipe),
            accepted = next(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    // Without it small chunks would wait for each other; it does not fail on a
                    // live socket.
                    let _ = stream.set_nodelay(true);
                    Wire::Tcp(stream)
                }
                Err(_) => {
                    // Most likely out of file descriptors: what is open must close first.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let link = Arc::new(Link::default());
        let connection = Connection::new(
            wire,
            Arc::clone(&link),
            shared.log.clone(),
            Arc::clone(&shared.clock),
        );
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .auto_date_header(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .auto_date_header(false);
        if let Some(max_streams) = shared.max_streams {
            builder.http2().max_concurrent_streams(max_streams);
        }
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            endpoints::answer(Arc::clone(&shared), Arc::clone(&link), request)
        });
        let served = builder
            .serve_connection(TokioIo::new(connection), service)
            .into_owned();
        let watched = graceful.watch(served);
        connections.spawn(async move {
            // It ends in an error whenever a script breaks it; the log says so.
            let _ = watched.await;
            Ok::<(), Infallible>(())
        });
    }
    drop((listener, piped));
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    connections.shutdown().await;
}

/// Accepts the next connection; never, without a listener.
async fn next(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}
