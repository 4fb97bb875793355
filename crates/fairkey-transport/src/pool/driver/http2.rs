//! HTTP/2: one task for bytes and requests, so that the peer's SETTINGS are seen when they come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::super::lease::Http2Sender;
use super::super::origin::{Open, OriginPool};
use super::super::state::Shared;
use super::super::{Limits, lock};
use super::{broken, sleep_until_some};
use crate::TransportError;
use crate::connect::{CountedIo, Protocol};
use crate::deadlines::after;
use crate::request_body::RequestBody;

/// What hyper reports as the peer's stream limit until its SETTINGS are here. No peer asks for
/// exactly this; how many streams are opened before the SETTINGS is the pool's business.
const UNKNOWN_LIMIT: usize = 0x7fff_ff9d;

/// How many streams that we reset are remembered, and for how long. Frames for a stream that was
/// forgotten count as errors, and too many of those end the connection with all of its streams:
/// calls that are canceled by the hundred must not do that to the others.
const REMEMBERED_RESETS: usize = 4_096;
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// How long the peer's SETTINGS may take; they are the first thing it sends. After that the calls
/// in line no longer wait to hear the limit, and get a connection each.
const SETTINGS_WAIT: Duration = Duration::from_secs(2);

type Connection = http2::Connection<TokioIo<CountedIo>, RequestBody, Executor>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(in crate::pool) struct Http2Ready {
    sender: Http2Sender,
    requests: Connection,
    bytes: Option<Task>,
}

impl Http2Ready {
    pub(super) async fn handshake(io: CountedIo, limits: &Limits) -> Result<Self, TransportError> {
        let executor = Executor::default();
        let mut builder = http2::Builder::new(executor.clone());
        builder
            .timer(TokioTimer::new())
            .initial_max_send_streams(UNKNOWN_LIMIT)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            // A ping that nobody answers tells that a peer is gone, long before a deadline does.
            .keep_alive_interval(limits.ping_interval);
        let (sender, requests) = builder.handshake(TokioIo::new(io)).await.map_err(broken)?;
        Ok(Self {
            sender,
            requests,
            bytes: executor.take(),
        })
    }

    pub(super) fn register(self, open: Open) {
        let Self {
            sender,
            requests,
            bytes,
        } = self;
        let pool = Arc::clone(&open.pool);
        let id = pool.id();
        let idle = Arc::new(Notify::new());
        let shared = Shared {
            id,
            sender,
            in_use: 0,
            proven: false,
            limit: None,
            taken: usize::MAX,
            served: 0,
            idle_since: Some(Instant::now()),
            idle: Arc::clone(&idle),
        };
        let driver = Driver {
            requests: Some(requests),
            bytes,
            known_limit: UNKNOWN_LIMIT,
            pool: Arc::clone(&pool),
            id,
        };
        pool.serve_after(|state| {
            state.connecting -= 1;
            state.protocol = Some(Protocol::Http2);
            state.pause_until = None;
            if !state.closed {
                state.shared.push(shared);
            }
        });
        // After the connection is known: a driver that ends at once finds it and takes it out.
        tokio::spawn(drive(driver, idle, open));
    }
}

/// Drives one HTTP/2 connection to its end.
async fn drive(mut driver: Driver, idle: Arc<Notify>, open: Open) {
    let idle_timeout = open.pool.limits.idle_timeout;
    let mut settings_until = Some(Instant::now() + SETTINGS_WAIT);
    loop {
        let idle_since = open.pool.idle_since(driver.id);
        let close_at = idle_since.map(|since| after(since, idle_timeout));
        tokio::select! {
            biased;
            () = poll_fn(|cx| driver.poll(cx)) => return,
            // A stream began or ended on an idle connection: look again.
            () = idle.notified() => {}
            () = sleep_until_some(settings_until) => {
                settings_until = None;
                if driver.known_limit == UNKNOWN_LIMIT {
                    open.pool.learned(driver.id, 1);
                }
            }
            () = sleep_until_some(close_at) => {
                open.pool.expire_shared(driver.id, idle_timeout);
            }
        }
    }
}

struct Driver {
    /// Takes requests; gone when the connection takes no more of them.
    requests: Option<Connection>,
    /// Reads and writes frames; its end is the connection's.
    bytes: Option<Task>,
    known_limit: usize,
    pool: Arc<OriginPool>,
    id: u64,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_requests(cx);
        let ended = match &mut self.bytes {
            Some(bytes) => bytes.as_mut().poll(cx).is_ready(),
            None => self.requests.is_none(),
        };
        if ended {
            self.pool.retire(self.id);
            return Poll::Ready(());
        }
        if let Some(requests) = &self.requests {
            let limit = requests.current_max_send_streams();
            if limit != self.known_limit {
                self.known_limit = limit;
                self.pool.learned(self.id, limit);
            }
        }
        Poll::Pending
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) {
        if let Some(requests) = &mut self.requests
            && Pin::new(requests).poll(cx).is_ready()
        {
            // A GOAWAY, or nobody is left who could send: streams under way go on.
            self.requests = None;
            self.pool.retire(self.id);
        }
    }
}

impl OriginPool {
    /// Notes how many streams the peer allows on the connection.
    fn learned(self: &Arc<Self>, id: u64, limit: usize) {
        let limit = limit.min(self.limits.streams_per_connection);
        self.serve_after(|state| {
            state.learned = Some(limit);
            if let Some(shared) = state.shared.iter_mut().find(|shared| shared.id == id) {
                shared.limit = Some(limit);
            }
        });
    }

    /// Takes the connection out of use; its streams go on.
    fn retire(self: &Arc<Self>, id: u64) {
        let mut retired = None;
        self.serve_after(|state| {
            if let Some(at) = state.shared.iter().position(|shared| shared.id == id) {
                retired = Some(state.shared.remove(at));
            }
        });
        drop(retired);
    }

    /// Notes that the connection has had an answer.
    pub(in crate::pool) fn answered(&self, id: u64) {
        if let Some(shared) = self
            .state()
            .shared
            .iter_mut()
            .find(|shared| shared.id == id)
        {
            shared.proven = true;
        }
    }

    /// Notes that the peer refused a stream: it takes no more than were there beside it.
    pub(in crate::pool) fn refused(self: &Arc<Self>, id: u64) {
        let mut alone = false;
        if let Some(shared) = self
            .state()
            .shared
            .iter_mut()
            .find(|shared| shared.id == id)
        {
            alone = shared.in_use <= 1;
            shared.refused();
        }
        if alone {
            // A peer that refuses even the only stream has no use for this connection.
            self.retire(id);
        }
    }

    /// Takes back a stream's place; `finished` when its answer was read to the end.
    pub(in crate::pool) fn release(self: &Arc<Self>, id: u64, finished: bool) {
        self.serve_after(|state| {
            if let Some(shared) = state.shared.iter_mut().find(|shared| shared.id == id) {
                shared.in_use -= 1;
                if finished {
                    shared.served();
                }
                if shared.in_use == 0 {
                    shared.idle_since = Some(Instant::now());
                    shared.idle.notify_one();
                }
            }
        });
    }

    fn idle_since(&self, id: u64) -> Option<Instant> {
        self.state()
            .shared
            .iter()
            .find(|shared| shared.id == id)?
            .idle_since
    }

    /// Closes the connection if it has been idle for so long.
    fn expire_shared(self: &Arc<Self>, id: u64, idle_timeout: Duration) {
        let now = Instant::now();
        let idle = self
            .idle_since(id)
            .is_some_and(|since| now.saturating_duration_since(since) >= idle_timeout);
        if idle {
            self.retire(id);
        }
    }
}

/// Where hyper puts its tasks: the first, which reads and writes the frames, is kept for the
/// connection's own driver; the others (one per request, until its head is here) are spawned.
///
/// Were hyper to begin with another task one day, that one would be driven here and the frames
/// elsewhere: everything would still run.
#[derive(Clone, Default)]
struct Executor {
    first: Arc<Mutex<First>>,
}

#[derive(Default)]
enum First {
    #[default]
    Expected,
    Here(Task),
    Taken,
}

impl Executor {
    fn take(&self) -> Option<Task> {
        match std::mem::replace(&mut *lock(&self.first), First::Taken) {
            First::Here(task) => Some(task),
            First::Expected | First::Taken => None,
        }
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut first = lock(&self.first);
        if matches!(*first, First::Expected) {
            *first = First::Here(Box::pin(task));
            return;
        }
        drop(first);
        tokio::spawn(task);
    }
}
