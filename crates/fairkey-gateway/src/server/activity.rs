//! What goes on in a connection: [`Activity`].

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::patience::Patience;
use super::streams::{Stream, Streams};
use crate::ServerLimits;
use crate::lifecycle::Answer;

/// What goes on in a connection. Relaxed everywhere: it is looked at from time to time, and
/// publishes nothing.
#[derive(Debug)]
pub(crate) struct Activity {
    in_flight: AtomicU32,
    /// Heads that came whole.
    heads: AtomicU32,
    /// Whether bytes came after the last head that are no body.
    is_reading: AtomicBool,
    is_http2: bool,
    written: AtomicU64,
    /// Bytes that came while no call was under way.
    read_idle: AtomicU64,
    /// Whether the peer takes nothing.
    is_stalled: AtomicBool,
    /// When the call under way is over, in milliseconds since the connection began; 0: nobody has
    /// said. Of HTTP/1.1.
    due: AtomicU64,
    /// Whether that has passed.
    is_overdue: AtomicBool,
    since: Instant,
    patience: Patience,
    /// Whether the patience is at its end, and whom to tell.
    is_exhausted: AtomicBool,
    exhausted: Notify,
    /// Of HTTP/2.
    streams: Streams,
}

/// An activity at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    state: State,
    heads: u32,
    /// Bytes that were written; those that only answer what came while nothing was asked for aside.
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
    /// Whether something has happened since a look before.
    pub(super) fn is_news(self, before: Self) -> bool {
        (self.state, self.heads) != (before.state, before.heads) || self.written > before.written
    }

    /// Returns how long it may stay like this.
    pub(super) fn limit(self, limits: &ServerLimits) -> Option<Duration> {
        match self.state {
            State::Idle | State::Stalled => Some(limits.idle_time),
            State::Head => Some(limits.head_time),
            State::Busy => None,
        }
    }
}

impl Activity {
    /// Of a connection of whose calls so many may be left soon after they began, where it speaks
    /// HTTP/2.
    pub(crate) fn new(is_http2: bool, cancels: u32) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            heads: AtomicU32::new(0),
            is_reading: AtomicBool::new(false),
            is_http2,
            written: AtomicU64::new(0),
            read_idle: AtomicU64::new(0),
            is_stalled: AtomicBool::new(false),
            due: AtomicU64::new(0),
            is_overdue: AtomicBool::new(false),
            since: Instant::now(),
            patience: Patience::new(cancels),
            is_exhausted: AtomicBool::new(false),
            exhausted: Notify::new(),
            streams: Streams::default(),
        }
    }

    /// Notes an answer that is sent by HTTP/2; to be [removed](Self::remove) in the end.
    pub(crate) fn add(&self, number: u64, answer: Answer) -> Stream {
        self.streams.add(number, answer)
    }

    pub(crate) fn remove(&self, number: u64) {
        self.streams.remove(number);
    }

    /// Drops answers of HTTP/2 of which their callers have taken nothing for too long.
    pub(super) fn leave_stalled(&self, now: Instant, limits: &ServerLimits) {
        if self.is_http2 {
            self.streams.leave_stalled(now, limits.idle_time);
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Notes a call; returns when it began, where others may follow in its connection before it ends.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.is_reading.store(false, Ordering::Relaxed);
        self.is_http2.then(Instant::now)
    }

    /// Notes that a call was left before its end that had begun at `began`.
    pub(crate) fn left(&self, began: Instant) {
        if !self.patience.bears(began, Instant::now()) {
            self.is_exhausted.store(true, Ordering::Relaxed);
            self.exhausted.notify_one();
        }
    }

    /// Waits until too many calls were left. Can be dropped at any point.
    pub(super) async fn exhausted(&self) {
        self.exhausted.notified().await;
    }

    /// Whether calls are under way.
    pub(super) fn has_calls(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Whether too many calls were left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted.load(Ordering::Relaxed)
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.due.store(0, Ordering::Relaxed);
        self.is_overdue.store(false, Ordering::Relaxed);
    }

    /// Whether it is known when the call under way is over.
    pub(crate) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) > 0
    }

    /// Says when the call under way is over.
    pub(crate) fn set_due(&self, at: Instant) {
        let millis = at.saturating_duration_since(self.since).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.due.store(millis.max(1), Ordering::Relaxed);
    }

    /// Whether the time of the call under way was over when it was last looked.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    /// Looks whether the time of the call under way is over. Returns whether it has been so for a
    /// look, and its answer was not asked for more: it could not be told.
    pub(super) fn expire(&self, now: Instant) -> bool {
        let due = self.due.load(Ordering::Relaxed);
        let is_over = due > 0 && now >= self.since + Duration::from_millis(due);
        is_over && self.is_overdue.swap(true, Ordering::Relaxed)
    }

    pub(super) fn look(&self) -> Look {
        let heads = self.heads.load(Ordering::Relaxed);
        let state = if self.is_stalled.load(Ordering::Relaxed) {
            State::Stalled
        } else if self.in_flight.load(Ordering::Relaxed) > 0 {
            State::Busy
        } else if !self.is_http2 && (heads == 0 || self.is_reading.load(Ordering::Relaxed)) {
            State::Head
        } else {
            State::Idle
        };
        let mut written = self.written.load(Ordering::Relaxed);
        if state == State::Idle {
            // A peer of HTTP/2 that sends nothing but pings has each of them answered by as many
            // bytes. What is left of an answer is more than what is said about it.
            written = written.saturating_sub(self.read_idle.load(Ordering::Relaxed));
        }
        Look {
            state,
            heads,
            written,
        }
    }

    /// Notes that so many bytes came.
    pub(super) fn read(&self, bytes: usize) {
        if self.in_flight.load(Ordering::Relaxed) == 0 {
            self.is_reading.store(true, Ordering::Relaxed);
            if self.is_http2 {
                self.read_idle.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn wrote(&self, polled: &Poll<io::Result<usize>>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state(activity: &Activity) -> State {
        activity.look().state
    }

    #[test]
    fn a_connection_is_idle_only_after_its_first_call() {
        let activity = Activity::new(false, 9);
        assert_eq!(state(&activity), State::Head);
        activity.read(1);
        assert_eq!(state(&activity), State::Head);
        assert_eq!(activity.begin(), None, "none can be left alone");
        assert_eq!(state(&activity), State::Busy);
        activity.read(1);
        activity.end();
        assert_eq!(state(&activity), State::Idle);
        activity.read(1);
        assert_eq!(state(&activity), State::Head);
    }

    #[test]
    fn pings_and_their_answers_are_no_news_of_an_idle_connection_and_a_call_is() {
        let activity = Activity::new(true, 9);
        let said = |bytes| activity.wrote(&Poll::Ready(Ok(bytes)));
        activity.read(24 + 9);
        said(9 + 9);
        let before = activity.look();
        for _ in 0..3 {
            activity.read(17);
            assert!(!activity.look().is_news(before));
            said(17);
            assert!(!activity.look().is_news(before));
        }
        activity.begin();
        assert!(activity.look().is_news(before));
        activity.read(100);
        activity.end();
        let before = activity.look();
        // The rest of its answer goes out, and its peer makes room for it.
        activity.read(13);
        said(1_000);
        assert!(activity.look().is_news(before));
    }

    #[tokio::test]
    async fn one_of_http2_may_be_idle_from_the_start_and_its_calls_may_be_left() {
        let activity = Activity::new(true, 9);
        assert_eq!(state(&activity), State::Idle);
        activity.read(1);
        assert_eq!(state(&activity), State::Idle);
        assert!(activity.begin().is_some());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_stalled_until_it_takes_something() {
        let activity = Activity::new(false, 9);
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
