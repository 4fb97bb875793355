//! The connections of one origin, and the line of calls that wait for them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::lease::{Http1, Lease};
use super::state::{Free, Idle, State, Waiter};
use super::{Limits, driver, lock};
use crate::connect::{Connector, Protocol};
use crate::deadlines::after;
use crate::stats::Counters;
use crate::target::Origin;
use crate::{Phase, TransportError, TransportErrorKind};

/// How long no further connection is tried after one failed beside others that work. Each call
/// that finds nothing free would otherwise knock at a peer that has just said no.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a driver looks whether its connection is idle: until then, nobody may notice that an
/// idle connection was closed but the call that is given it, which then takes another one.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct OriginPool {
    origin: Arc<Origin>,
    pub(super) label: Arc<str>,
    /// What the header `Host` says.
    pub(super) host: Option<HeaderValue>,
    /// What HTTP/2 calls it.
    #[cfg(feature = "http2")]
    pub(super) authority: Option<http::uri::Authority>,
    connector: Arc<Connector>,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    state: Mutex<State>,
    next_id: AtomicU64,
}

type Grant = oneshot::Receiver<Result<Lease, TransportError>>;

impl OriginPool {
    pub(super) fn new(
        origin: Arc<Origin>,
        connector: Arc<Connector>,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> Self {
        let protocol = connector.known_protocol(&origin);
        Self {
            label: origin.label(),
            host: origin.host_header(),
            #[cfg(feature = "http2")]
            authority: origin.http2_authority(),
            origin,
            connector,
            limits,
            counters,
            state: Mutex::new(State::new(protocol)),
            next_id: AtomicU64::new(0),
        }
    }

    pub(super) async fn acquire(
        self: &Arc<Self>,
        connect: Duration,
    ) -> Result<Lease, TransportError> {
        let now = Instant::now();
        let (_place, mut grant) = match self.enter(now, connect)? {
            Entry::Free(lease) => return Ok(lease),
            Entry::Wait(place, grant) => (place, grant),
        };
        tokio::select! {
            biased;
            granted = &mut grant => return granted.unwrap_or_else(|_| Err(self.closed())),
            () = sleep_until(after(now, connect)) => {}
        }
        // Where connections work and all are busy there is nothing to connect to; the call waits
        // in line as long as its total deadline lets it.
        if lock(&self.state).can_serve() {
            return grant.await.unwrap_or_else(|_| Err(self.closed()));
        }
        Err(self.connect_timeout())
    }

    /// Returns what is free `now`, where nobody waits for it.
    pub(super) fn free(self: &Arc<Self>, now: Instant) -> Option<Lease> {
        let mut dead = Vec::new();
        let free = self.take(&mut lock(&self.state), now, &mut dead)?;
        Some(self.lease(free))
    }

    /// Takes what is free, where nobody waits: whoever comes later does not overtake those in line.
    #[expect(clippy::vec_box, reason = "they are in boxes already")]
    fn take(&self, state: &mut State, now: Instant, dead: &mut Vec<Box<Http1>>) -> Option<Free> {
        let is_next = state.waiters.is_empty();
        let idle_timeout = self.limits.idle_timeout;
        is_next.then(|| state.take(now, idle_timeout, dead))?
    }

    /// Takes what is free, or a place in the line.
    fn enter(self: &Arc<Self>, now: Instant, connect: Duration) -> Result<Entry, TransportError> {
        let mut dead = Vec::new();
        let mut state = lock(&self.state);
        if let Some(free) = self.take(&mut state, now, &mut dead) {
            drop(state);
            return Ok(Entry::Free(self.lease(free)));
        }
        if state.waiters.len() >= self.limits.waiting_per_origin {
            let message = "too many calls wait for a connection; send fewer at once";
            return Err(
                TransportError::new(TransportErrorKind::Overloaded, message).at(&self.label)
            );
        }
        let ticket = self.id();
        let (grant, granted) = oneshot::channel();
        let waiter = Waiter {
            grant,
            connect,
            runtime: Handle::current(),
        };
        state.waiters.insert(ticket, waiter);
        self.counters.waits();
        let place = Place {
            pool: Arc::clone(self),
            ticket,
        };
        self.serve(state);
        Ok(Entry::Wait(place, granted))
    }

    /// Gives what is free to those in line, and opens what is missing. Every change to the state
    /// that can free something ends here.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.waiters.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut dead = Vec::new();
        let mut granted = Vec::new();
        while !state.waiters.is_empty()
            && let Some(free) = state.take(now, self.limits.idle_timeout, &mut dead)
            && let Some((_, waiter)) = state.waiters.pop_first()
        {
            granted.push((waiter.grant, free));
        }
        let begun = state.plan(now, &self.limits);
        let opener = state
            .waiters
            .values()
            .next()
            .map(|w| (w.runtime.clone(), w.connect));
        drop(state);
        // No lock is held from here on: wakers run, and leases that nobody takes come back.
        for (grant, free) in granted {
            drop(grant.send(Ok(self.lease(free))));
        }
        for _ in 0..begun {
            let attempt = Attempt {
                pool: Some(Arc::clone(self)),
            };
            if let Some((runtime, connect)) = &opener {
                runtime.spawn(open(attempt, *connect));
            }
        }
    }

    fn lease(self: &Arc<Self>, free: Free) -> Lease {
        match free {
            Free::Http1(connection) => Lease::http1(Arc::clone(self), connection),
            #[cfg(feature = "http2")]
            Free::Http2 { id, sender, proven } => {
                Lease::http2(Arc::clone(self), id, sender, proven)
            }
        }
    }

    /// Takes a connection that is free.
    pub(super) fn put_idle(self: &Arc<Self>, connection: Box<Http1>) {
        let since = Instant::now();
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            drop(connection);
            return;
        }
        state.idle.push(Idle { connection, since });
        if !state.waiters.is_empty() {
            self.serve(state);
        }
    }

    /// Takes a connection that was announced, and has become free.
    pub(super) fn put_returned(self: &Arc<Self>, Returning { connection, count }: Returning) {
        let since = Instant::now();
        let mut state = lock(&self.state);
        if state.closed {
            drop(state);
            drop(connection);
            return;
        }
        // At once with the end of its return, so that nobody opens another one meanwhile.
        state.idle.push(Idle { connection, since });
        if let Some(count) = count {
            state.returning -= 1;
            count.counted();
        }
        self.serve(state);
    }

    /// Announces a connection that will be free in a moment.
    pub(super) fn returning(self: &Arc<Self>, connection: Box<Http1>) -> Returning {
        lock(&self.state).returning += 1;
        Returning {
            connection,
            count: Some(ReturnCount {
                pool: Some(Arc::clone(self)),
            }),
        }
    }

    /// Closes the connection if it has been idle too long. Returns when its driver has to look
    /// again: for one that is in use, some time later, and then it watches what has become idle.
    pub(super) fn expire(&self, id: u64) -> Instant {
        let now = Instant::now();
        let idle_timeout = self.limits.idle_timeout;
        let mut state = lock(&self.state);
        let found = state.idle.iter().position(|idle| idle.connection.id == id);
        let ends = found.map(|at| after(state.idle[at].since, idle_timeout));
        let expired = match (found, ends) {
            (Some(at), Some(ends)) if ends <= now => Some(state.idle.remove(at)),
            _ => None,
        };
        drop(state);
        drop(expired);
        ends.filter(|ends| *ends > now)
            .unwrap_or_else(|| after(now, idle_timeout.min(LOOK)))
    }

    /// Counts a connection as closed.
    fn closed_one(self: &Arc<Self>, protocol: Protocol) {
        self.counters.closed();
        self.serve_after(|state| {
            state.connections -= 1;
            if protocol == Protocol::Http1 {
                state.exclusive -= 1;
            }
        });
    }

    /// Whether calls wait for which nothing is on its way, and no further connection may be opened.
    pub(super) fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.waiters.len() > state.connecting + state.returning
            && state.connections >= self.limits.connections_per_origin
    }

    fn failed(self: &Arc<Self>, error: TransportError) {
        let error = error.at(&self.label);
        let mut state = lock(&self.state);
        state.connecting -= 1;
        state.connections -= 1;
        self.counters.failed();
        if !state.can_serve() && state.connecting == 0 {
            // All of them at once: one after the other they would wait for one more failed
            // attempt each.
            let waiters = std::mem::take(&mut state.waiters);
            drop(state);
            for waiter in waiters.into_values() {
                drop(waiter.grant.send(Err(error.clone())));
            }
        } else {
            let until = after(Instant::now(), PAUSE);
            state.pause_until = Some(until);
            drop(state);
            // The calls in line may have nothing else that would make anybody look again.
            if let Ok(runtime) = Handle::try_current() {
                let pool = Arc::clone(self);
                runtime.spawn(async move {
                    sleep_until(until).await;
                    pool.serve_after(|_| {});
                });
            }
        }
    }

    /// Closes all connections that nobody uses.
    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut lock(&self.state).idle);
        drop(idle);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn serve_after(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.serve(state);
    }

    /// Closes what is idle, and lets go of the rest.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let idle = std::mem::take(&mut state.idle);
        let waiters = std::mem::take(&mut state.waiters);
        #[cfg(feature = "http2")]
        let shared = std::mem::take(&mut state.shared);
        drop(state);
        drop((idle, waiters));
        #[cfg(feature = "http2")]
        drop(shared);
    }

    pub(super) fn is_unused(&self) -> bool {
        let state = lock(&self.state);
        state.connections == 0 && state.waiters.is_empty()
    }

    pub(super) fn id(&self) -> u64 {
        // Relaxed: the numbers only have to differ.
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn connect_timeout(&self) -> TransportError {
        let message = "no connection within the connect deadline";
        TransportError::new(TransportErrorKind::Timeout(Phase::Connect), message).at(&self.label)
    }

    fn closed(&self) -> TransportError {
        let message = "the transport was dropped, or its runtime is gone";
        TransportError::new(TransportErrorKind::Canceled, message)
            .with_before_sent(true)
            .at(&self.label)
    }
}

enum Entry {
    Free(Lease),
    Wait(Place, Grant),
}

/// A place in the line; whoever drops it leaves.
struct Place {
    pool: Arc<OriginPool>,
    ticket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiter = lock(&self.pool.state).waiters.remove(&self.ticket);
        drop(waiter);
        self.pool.counters.waited();
    }
}

/// A connection that is being opened. Dropped without an end (its runtime is gone), it counts as
/// failed.
struct Attempt {
    pool: Option<Arc<OriginPool>>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            let error = pool.closed();
            pool.failed(error);
        }
    }
}

/// Opens one connection and registers it.
async fn open(mut attempt: Attempt, connect: Duration) {
    let Some(pool) = attempt.pool.clone() else {
        return;
    };
    let deadline = after(Instant::now(), connect);
    let opened = timeout_at(deadline, async {
        let connected = pool.connector.connect(&pool.origin).await?;
        driver::Ready::handshake(connected, &pool.limits).await
    });
    let opened = opened.await.unwrap_or_else(|_| Err(pool.connect_timeout()));
    attempt.pool = None;
    match opened {
        Ok(ready) => {
            pool.counters.opened();
            let open = Open {
                protocol: ready.protocol(),
                pool,
            };
            ready.register(open);
        }
        Err(error) => pool.failed(error),
    }
}

/// An HTTP/1.1 connection on its way back to the pool: its driver waits until hyper says that it
/// takes another request.
pub(super) struct Returning {
    pub(super) connection: Box<Http1>,
    /// `None` when it has taken too long to be waited for.
    count: Option<ReturnCount>,
}

impl Returning {
    /// Lets no call in line wait for it any longer: another is opened in its place.
    pub(super) fn give_up(&mut self) {
        self.count = None;
    }
}

/// Counts a connection as returning. One that never arrives is counted out when it is dropped.
struct ReturnCount {
    pool: Option<Arc<OriginPool>>,
}

impl ReturnCount {
    /// The pool has counted it out.
    fn counted(mut self) {
        self.pool = None;
    }
}

impl Drop for ReturnCount {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.serve_after(|state| state.returning -= 1);
        }
    }
}

/// An open connection, for as long as its driver lives.
pub(super) struct Open {
    pub(super) pool: Arc<OriginPool>,
    protocol: Protocol,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.closed_one(self.protocol);
    }
}

impl fmt::Debug for OriginPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginPool")
            .field("origin", &self.label)
            .finish_non_exhaustive()
    }
}
