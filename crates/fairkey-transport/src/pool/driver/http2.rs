//! HTTP/2: one task that moves the bytes, and sees the peer's SETTINGS when they come.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep_until};

use super::super::Limits;
use super::super::lease::Http2Sender;
use super::super::origin::{Open, OriginPool};
use super::super::state::Shared;
use super::gathering::{Gatherer, Gathering, gathering};
use super::pings::Pings;
use crate::connect::{CountedIo, Protocol};
use crate::deadlines::after;
use crate::{TransportError, TransportErrorKind};

/// What h2 reports as the peer's stream limit until its SETTINGS are here. No peer asks for
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

/// How many bytes of one stream the peer may send that nobody has taken: the bound on what a caller
/// that does not read makes us hold.
pub(in crate::pool) const STREAM_WINDOW: u32 = 512 * 1024;

/// The largest window that there is (RFC 9113 6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// The largest frame that the peer may send.
const FRAME: u32 = 16 * 1024;

/// What of a streamed request may wait for the connection.
const SEND_BUFFER: usize = 1024 * 1024;

/// What h2 counts for each frame that waits to be taken and is smaller than 256 bytes: what is
/// missing there, of a budget beyond which it closes the connection with all of its streams. So
/// much for each byte of window pays for frames of 64 bytes, smaller than any event of a stream.
const FRAMES_BUDGET: usize = 3;

pub(super) type Connection = client::Connection<Gathering<CountedIo>, Bytes>;

pub(in crate::pool) struct Http2Ready {
    sender: Http2Sender,
    connection: Connection,
    gatherer: Gatherer<CountedIo>,
    pings: Option<Pings>,
}

impl Http2Ready {
    pub(super) async fn handshake(io: CountedIo, limits: &Limits) -> Result<Self, TransportError> {
        let heard = io.heard();
        // What all streams together may have: were it less, a few callers that do not read would
        // take the room of all others.
        let streams = u32::try_from(limits.streams_per_connection).unwrap_or(u32::MAX);
        let window = STREAM_WINDOW.saturating_mul(streams).min(LARGEST_WINDOW);
        let (io, gatherer) = gathering(io);
        let (sender, connection) = client::Builder::new()
            .initial_max_send_streams(UNKNOWN_LIMIT)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .data_frame_budget(FRAMES_BUDGET.saturating_mul(window as usize))
            .max_frame_size(FRAME)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(broken)?;
        // A ping that nobody answers tells that a peer is gone, long before a deadline does.
        let pings = (limits.ping_interval).map(|interval| Pings::new(interval, heard));
        Ok(Self {
            sender,
            connection,
            gatherer,
            pings,
        })
    }

    pub(super) fn register(self, open: Open) {
        let Self {
            sender,
            connection,
            gatherer,
            pings,
        } = self;
        let pool = Arc::clone(&open.pool);
        let id = pool.id();
        let changed = Arc::new(Notify::new());
        let driver = Driver {
            connection,
            gatherer,
            probe: Some(sender.clone()),
            known_limit: UNKNOWN_LIMIT,
            pool: Arc::clone(&pool),
            id,
        };
        let shared = Shared {
            id,
            sender,
            in_use: 0,
            proven: false,
            limit: None,
            taken: usize::MAX,
            served: 0,
            idle_since: Some(Instant::now()),
            changed: Arc::clone(&changed),
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
        tokio::spawn(last_in_turn(drive(driver, pings, changed, open)));
    }
}

fn broken(error: h2::Error) -> TransportError {
    let message = "the connection broke during the HTTP handshake";
    TransportError::new(TransportErrorKind::Connect, message).with_source(error)
}

/// Lets every task that is ready go first, each time that something wakes `future`.
///
/// A runtime runs next whom the present task wakes. A connection that is woken by the request of one
/// caller would write that alone, and be woken by the next caller: a record and a system call for
/// each. Behind all who are ready it writes what they have queued at once. Where nobody else is ready
/// it is its turn again at once.
async fn last_in_turn<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut is_last = false;
    poll_fn(|cx| {
        is_last = !is_last;
        if is_last {
            // Woken while it runs, a task goes to the end of its runtime's queue.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// Drives one HTTP/2 connection to its end.
async fn drive(mut driver: Driver, mut pings: Option<Pings>, changed: Arc<Notify>, open: Open) {
    let idle_timeout = open.pool.limits.idle_timeout;
    let mut settings_until = Some(after(Instant::now(), SETTINGS_WAIT));
    // One for all that has a time: each turn of the connection looks at it.
    let mut look = pin!(sleep_until(Instant::now()));
    loop {
        let close_at = match open.pool.look(driver.id) {
            Seen::Retired => {
                // The connection closes when its last stream has ended.
                driver.probe = None;
                None
            }
            Seen::Idle(since) => Some(after(since, idle_timeout)),
            Seen::Busy => None,
        };
        let ping_at = pings.as_ref().map(Pings::look_at);
        let next = [settings_until, close_at, ping_at]
            .into_iter()
            .flatten()
            .min();
        if let Some(next) = next {
            look.as_mut().reset(next);
        }
        tokio::select! {
            biased;
            () = poll_fn(|cx| driver.poll(cx)) => return,
            // A stream began or ended on an idle connection, or it is to close: look again.
            () = changed.notified() => {}
            () = look.as_mut(), if next.is_some() => {
                let now = Instant::now();
                if settings_until.is_some_and(|until| until <= now) {
                    settings_until = None;
                    if driver.known_limit == UNKNOWN_LIMIT {
                        open.pool.learned(driver.id, 1);
                    }
                }
                if close_at.is_some_and(|at| at <= now) {
                    open.pool.expire_shared(driver.id, idle_timeout);
                }
                let is_idle = matches!(open.pool.look(driver.id), Seen::Idle(_));
                if let Some(pings) = &mut pings
                    && pings.look(&mut driver.connection, now, is_idle).is_err()
                {
                    // The streams hear that their connection is lost.
                    return;
                }
            }
        }
    }
}

/// What the pool knows of a connection.
#[derive(Clone, Copy)]
enum Seen {
    /// It has streams.
    Busy,
    /// It has had none since then.
    Idle(Instant),
    /// It begins no further streams.
    Retired,
}

struct Driver {
    /// Reads and writes frames; its end is the connection's.
    connection: Connection,
    /// Writes what it has to say in one turn.
    gatherer: Gatherer<CountedIo>,
    /// Tells when the connection takes no more streams; gone from then on.
    probe: Option<Http2Sender>,
    known_limit: usize,
    pool: Arc<OriginPool>,
    id: u64,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gatherer.gather();
        let ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        let written = self.gatherer.let_go(cx);
        // How a connection ends is no matter: its streams hear it.
        if ended || matches!(written, Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        let Some(probe) = &mut self.probe else {
            return Poll::Pending;
        };
        if let Poll::Ready(Err(_)) = probe.poll_ready(cx) {
            // A GOAWAY: streams under way go on.
            self.probe = None;
            self.pool.retire(self.id);
            return Poll::Pending;
        }
        let limit = probe.current_max_send_streams();
        if limit != self.known_limit {
            self.known_limit = limit;
            self.pool.learned(self.id, limit);
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// However it ends, with its runtime too: nobody is to be given this connection any more.
    fn drop(&mut self) {
        self.pool.retire(self.id);
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

    /// Takes the connection out of use, if it is not; its streams go on.
    pub(in crate::pool) fn retire(self: &Arc<Self>, id: u64) {
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
                    shared.changed.notify_one();
                }
            }
        });
    }

    /// Returns what the pool knows of the connection.
    fn look(&self, id: u64) -> Seen {
        let state = self.state();
        match state.shared.iter().find(|shared| shared.id == id) {
            None => Seen::Retired,
            Some(shared) => shared.idle_since.map_or(Seen::Busy, Seen::Idle),
        }
    }

    /// Closes the connection if it has been idle for so long.
    fn expire_shared(self: &Arc<Self>, id: u64, idle_timeout: Duration) {
        let now = Instant::now();
        if let Seen::Idle(since) = self.look(id)
            && now.saturating_duration_since(since) >= idle_timeout
        {
            self.retire(id);
        }
    }
}
