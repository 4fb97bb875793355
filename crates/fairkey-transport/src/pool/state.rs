//! What is known about one origin: its connections, who waits, and how many more connections
//! that calls for. Plain data under a lock: no I/O, no tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Limits;
#[cfg(feature = "http2")]
use super::lease::Http2Sender;
use super::lease::{Http1, Lease};
use crate::TransportError;
use crate::connect::Protocol;

pub(super) struct State {
    /// What the last connection spoke; `None` until there was one.
    pub(super) protocol: Option<Protocol>,
    /// Connections that are open or being opened. The bound is on this.
    pub(super) connections: usize,
    /// Those of them that are being opened.
    pub(super) connecting: usize,
    /// Those of them that speak HTTP/1.1, in use or not.
    pub(super) exclusive: usize,
    /// Those of the latter that calls in line wait for: they will be idle in a moment.
    pub(super) returning: usize,
    /// HTTP/1.1 connections that nobody uses, the one used last at the end.
    pub(super) idle: Vec<Idle>,
    /// HTTP/2 connections that take streams, the oldest first.
    #[cfg(feature = "http2")]
    pub(super) shared: Vec<Shared>,
    /// The stream limit that the peer told last; a guess at what its next connection allows.
    #[cfg(feature = "http2")]
    pub(super) learned: Option<usize>,
    /// Calls in line, by arrival.
    pub(super) waiters: BTreeMap<u64, Waiter>,
    /// Until then no connection is opened beside those that work: the last attempt failed.
    pub(super) pause_until: Option<Instant>,
    pub(super) closed: bool,
}

pub(super) struct Idle {
    pub(super) connection: Box<Http1>,
    pub(super) since: Instant,
}

/// An HTTP/2 connection that takes streams.
#[cfg(feature = "http2")]
pub(super) struct Shared {
    pub(super) id: u64,
    pub(super) sender: Http2Sender,
    pub(super) in_use: usize,
    /// Whether a stream of it has had an answer.
    pub(super) proven: bool,
    /// What the peer allows; `None` until its SETTINGS are here.
    pub(super) limit: Option<usize>,
    /// What the peer was seen to take, where that is less: it refused the stream after this many.
    pub(super) taken: usize,
    /// Streams that ended well since `taken` was last changed.
    pub(super) served: usize,
    /// When the last stream ended, while there is none.
    pub(super) idle_since: Option<Instant>,
    /// Tells the driver that `idle_since` was set, or that this is gone.
    pub(super) changed: std::sync::Arc<tokio::sync::Notify>,
}

#[cfg(feature = "http2")]
impl Drop for Shared {
    /// Tells the driver that no further stream begins.
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

#[cfg(feature = "http2")]
impl Shared {
    /// Returns how many streams the connection may have now. Before the peer's SETTINGS are here
    /// one stream may go ahead; a lone call then loses no round trip, and fifty do no harm.
    fn room(&self) -> usize {
        self.limit
            .unwrap_or(1)
            .min(self.taken)
            .saturating_sub(self.in_use)
    }

    /// Notes that one of the streams in use was refused: the peer takes one less.
    pub(super) fn refused(&mut self) {
        self.taken = self.in_use.saturating_sub(1).max(1);
        self.served = 0;
    }

    /// Notes that a stream ended well. As many of them as the peer takes at once make it worth
    /// asking for one more: a refusal costs little, but not nothing.
    pub(super) fn served(&mut self) {
        self.served = self.served.saturating_add(1);
        if self.served >= self.taken {
            self.taken = self.taken.saturating_add(1);
            self.served = 0;
        }
    }
}

pub(super) struct Waiter {
    pub(super) grant: oneshot::Sender<Result<Lease, TransportError>>,
    pub(super) connect: Duration,
    /// The runtime that a connection for this call is driven by.
    pub(super) runtime: Handle,
}

/// What is free for a call.
pub(super) enum Free {
    Http1(Box<Http1>),
    #[cfg(feature = "http2")]
    Http2 {
        id: u64,
        sender: Http2Sender,
        proven: bool,
    },
}

impl State {
    pub(super) fn new(protocol: Option<Protocol>) -> Self {
        Self {
            protocol,
            connections: 0,
            connecting: 0,
            exclusive: 0,
            returning: 0,
            idle: Vec::new(),
            #[cfg(feature = "http2")]
            shared: Vec::new(),
            #[cfg(feature = "http2")]
            learned: None,
            waiters: BTreeMap::new(),
            pause_until: None,
            closed: false,
        }
    }

    /// Takes a stream or a connection that is free. What turns out to be dead or too old goes to
    /// `dead`, to be dropped when the lock is released.
    #[expect(clippy::vec_box, reason = "they are in boxes already")]
    pub(super) fn take(
        &mut self,
        now: Instant,
        idle_timeout: Duration,
        dead: &mut Vec<Box<Http1>>,
    ) -> Option<Free> {
        #[cfg(feature = "http2")]
        {
            // The oldest first: under less load the younger ones fall idle and close.
            if let Some(shared) = self.shared.iter_mut().find(|shared| shared.room() > 0) {
                shared.in_use += 1;
                shared.idle_since = None;
                return Some(Free::Http2 {
                    id: shared.id,
                    sender: shared.sender.clone(),
                    proven: shared.proven,
                });
            }
        }
        // The one used last first: it is the least likely to have been closed by the peer.
        while let Some(Idle { connection, since }) = self.idle.pop() {
            if connection.is_usable() && now.saturating_duration_since(since) < idle_timeout {
                return Some(Free::Http1(connection));
            }
            dead.push(connection);
        }
        None
    }

    /// Returns how many connections to begin opening now, and counts them as begun.
    pub(super) fn plan(&mut self, now: Instant, limits: &Limits) -> usize {
        if self.closed || self.pause_until.is_some_and(|until| now < until) {
            return 0;
        }
        let wanted = match self.protocol {
            // The first connection says what the others are like; until then one is enough.
            None => usize::from(self.connections == 0 && !self.waiters.is_empty()),
            Some(Protocol::Http1) => self
                .waiters
                .len()
                .saturating_sub(self.connecting + self.returning),
            #[cfg(feature = "http2")]
            Some(Protocol::Http2) => self.wanted_http2(),
        };
        let begun = wanted.min(
            limits
                .connections_per_origin
                .saturating_sub(self.connections),
        );
        self.connections += begun;
        self.connecting += begun;
        begun
    }

    #[cfg(feature = "http2")]
    fn wanted_http2(&self) -> usize {
        // Connections whose SETTINGS are not here yet will have room, too.
        let fresh = self.shared.iter().filter(|shared| shared.limit.is_none());
        let Some(each) = self.learned.map(|limit| limit.max(1)) else {
            let on_its_way = self.connecting > 0 || fresh.count() > 0;
            return usize::from(!on_its_way && !self.waiters.is_empty());
        };
        let coming = self.connecting.saturating_mul(each)
            + fresh
                .map(|shared| each.saturating_sub(shared.in_use))
                .sum::<usize>();
        self.waiters.len().saturating_sub(coming).div_ceil(each)
    }

    /// Returns true when there are connections that will serve another call sooner or later.
    pub(super) fn can_serve(&self) -> bool {
        #[cfg(feature = "http2")]
        if !self.shared.is_empty() {
            return true;
        }
        self.exclusive > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections_per_origin: 8,
            #[cfg(feature = "http2")]
            streams_per_connection: 100,
            waiting_per_origin: 1_000,
            origins: 4,
            head_bytes: 65_536,
            idle_timeout: Duration::from_secs(1),
            #[cfg(feature = "http2")]
            ping_interval: None,
        }
    }

    fn with_waiters(protocol: Option<Protocol>, waiters: u64) -> State {
        let mut state = State::new(protocol);
        for ticket in 0..waiters {
            let (grant, _) = oneshot::channel();
            let waiter = Waiter {
                grant,
                connect: Duration::MAX,
                runtime: Handle::current(),
            };
            state.waiters.insert(ticket, waiter);
        }
        state
    }

    #[tokio::test]
    async fn one_connection_finds_out_what_the_others_will_be_like() {
        let mut state = with_waiters(None, 50);
        assert_eq!(state.plan(Instant::now(), &limits()), 1);
        assert_eq!(state.plan(Instant::now(), &limits()), 0);
    }

    #[tokio::test]
    async fn http1_opens_one_connection_per_waiting_call_up_to_the_bound() {
        let mut state = with_waiters(Some(Protocol::Http1), 3);
        assert_eq!(state.plan(Instant::now(), &limits()), 3);
        assert_eq!(state.plan(Instant::now(), &limits()), 0);
        let mut state = with_waiters(Some(Protocol::Http1), 50);
        assert_eq!(state.plan(Instant::now(), &limits()), 8);
        assert_eq!(state.plan(Instant::now(), &limits()), 0);
    }

    #[cfg(feature = "http2")]
    #[tokio::test]
    async fn http2_opens_as_many_as_the_learned_limit_calls_for() {
        let mut state = with_waiters(Some(Protocol::Http2), 40);
        // Nothing is learned yet: one, and no second beside it.
        assert_eq!(state.plan(Instant::now(), &limits()), 1);
        assert_eq!(state.plan(Instant::now(), &limits()), 0);
        // One is on its way and will take 10 of the 40.
        state.learned = Some(10);
        assert_eq!(state.plan(Instant::now(), &limits()), 3);
        assert_eq!(state.plan(Instant::now(), &limits()), 0);
        // A peer that allows none for now does not divide by zero.
        let mut state = with_waiters(Some(Protocol::Http2), 3);
        state.learned = Some(0);
        assert_eq!(state.plan(Instant::now(), &limits()), 3);
    }

    #[tokio::test]
    async fn after_a_failed_attempt_others_wait_a_moment() {
        let mut state = with_waiters(Some(Protocol::Http1), 3);
        let now = Instant::now();
        state.pause_until = Some(now + Duration::from_secs(1));
        assert_eq!(state.plan(now, &limits()), 0);
        assert_eq!(state.plan(now + Duration::from_secs(1), &limits()), 3);
    }
}
