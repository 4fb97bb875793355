//! What happened: a bounded log of events, and counters that never forget.
//!
//! Every call that was received ends in exactly one of [`EventKind::Finished`],
//! [`EventKind::Refused`], [`EventKind::Faulted`], [`EventKind::Cancelled`] and
//! [`EventKind::Broken`]; until then it counts as in flight. Keys show by label only.

mod counters;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::money::Money;
use crate::script::Break;

pub use counters::{Counters, Tally};

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the log, from 0.
    pub seq: u64,
    /// When, by the mock's clock.
    pub at: Timestamp,
    /// The call it belongs to, numbered from 1 in order of arrival.
    pub request: Option<u64>,
    /// The label of the key, where the call had a known one.
    pub key: Option<Arc<str>>,
    /// The account of that key.
    pub account: Option<Arc<str>>,
    /// The model that was asked for, or that answered.
    pub model: Option<Arc<str>>,
    /// What.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A connection was accepted.
    Connected,
    /// A connection ended.
    Disconnected,
    /// A call was read whole.
    Received {
        /// `GET`, `POST` …
        method: Cow<'static, str>,
        /// Below the base URL, without the query.
        path: Cow<'static, str>,
        /// Whether an event stream was asked for.
        stream: bool,
    },
    /// The mock's own rules answered with an error before any provider.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The name of the [`Fault`](crate::Fault).
        fault: &'static str,
        /// Its `limit_source`, where it has one.
        limit_source: Option<String>,
        /// Which limit it was, in words: `account acme: 60 requests in 6s`.
        limit: Option<String>,
    },
    /// A script, or chance under the seed, made the call fail, or answered it with something else.
    Faulted {
        /// The HTTP status; 200 for failures inside a 200.
        status: u16,
        /// The name of the [`Fault`](crate::Fault), or `reply` for one in raw bytes.
        fault: &'static str,
    },
    /// The whole answer went out.
    Finished {
        /// The HTTP status.
        status: u16,
        /// Tokens of the prompt.
        prompt_tokens: u64,
        /// Tokens of the answer.
        completion_tokens: u64,
        /// What it cost, in US dollars.
        cost_usd: f64,
    },
    /// The client left before the end.
    Cancelled {
        /// Chunks of content that had gone out.
        chunks: u64,
        /// Tokens that were billed for the answer.
        completion_tokens: u64,
        /// What it cost all the same, in US dollars.
        cost_usd: f64,
    },
    /// A script, or chance, broke the answer off.
    Broken {
        /// How.
        how: Break,
        /// Chunks of content that had gone out.
        chunks: u64,
    },
    /// A script, or chance, holds the answer back from here on.
    Stalled {
        /// Chunks of content that had gone out.
        chunks: u64,
    },
    /// The world changed, by the test's hand or on schedule.
    Changed {
        /// What was done, in words.
        what: String,
    },
}

impl EventKind {
    /// Whether a call ended with it.
    pub fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Faulted { .. }
                | Self::Finished { .. }
                | Self::Cancelled { .. }
                | Self::Broken { .. }
        )
    }
}

impl Event {
    /// The HTTP status that ended the call, if one did.
    pub fn status(&self) -> Option<u16> {
        match &self.kind {
            EventKind::Refused { status, .. }
            | EventKind::Faulted { status, .. }
            | EventKind::Finished { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Which limit refused the call, where one did.
    pub fn limit(&self) -> Option<&str> {
        match &self.kind {
            EventKind::Refused { limit, .. } => limit.as_deref(),
            _ => None,
        }
    }

    /// The label of the key, or nothing.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether the client left.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind, EventKind::Cancelled { .. })
    }

    /// Whether the whole answer went out.
    pub fn is_finished(&self) -> bool {
        matches!(self.kind, EventKind::Finished { .. })
    }

    /// Whether a call came in.
    pub fn is_received(&self) -> bool {
        matches!(self.kind, EventKind::Received { .. })
    }

    /// Whether an answer is being held back.
    pub fn is_stalled(&self) -> bool {
        matches!(self.kind, EventKind::Stalled { .. })
    }
}

/// The log of one mock. Clones are handles to the same log, and outlive the mock.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    changed: Notify,
    capacity: usize,
}

struct State {
    events: VecDeque<Event>,
    next_seq: u64,
    counters: Counters,
}

/// Who made a call.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) key: Arc<str>,
    pub(crate) account: Arc<str>,
}

/// An event before it has its place.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) request: Option<u64>,
    pub(crate) who: Option<&'a Who>,
    pub(crate) model: Option<&'a Arc<str>>,
    pub(crate) kind: EventKind,
    pub(crate) cost: Money,
}

impl<'a> Entry<'a> {
    /// An event of no call.
    pub(crate) fn of_the_world(at: Timestamp, kind: EventKind) -> Self {
        Entry {
            at,
            request: None,
            who: None,
            model: None,
            kind,
            cost: Money::ZERO,
        }
    }
}

impl Log {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        let state = State {
            events: VecDeque::new(),
            next_seq: 0,
            counters: Counters::default(),
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                changed: Notify::new(),
                capacity,
            }),
        }
    }

    /// The events that the log still holds, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.iter().cloned().collect()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        self.state().counters.clone()
    }

    /// Waits for an event that satisfies `wanted`, and returns the first such: one that the log
    /// still holds, or one to come. It waits forever if none comes, or if the log keeps no events:
    /// put a timeout around it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn wait_for(&self, wanted: impl FnMut(&Event) -> bool) -> Event {
        self.wait_for_nth(1, wanted).await
    }

    /// Waits for the `n`-th event, counted from 1, that satisfies `wanted`. See
    /// [`wait_for`](Self::wait_for).
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    pub async fn wait_for_nth(&self, n: usize, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        assert!(n > 0, "events are counted from 1");
        let (mut seen, mut next) = (0, 0);
        loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            // Enlisted before looking: an event pushed after the look wakes this very waiter.
            changed.as_mut().enable();
            for event in self.events_from(next) {
                next = event.seq + 1;
                if wanted(&event) {
                    seen += 1;
                    if seen == n {
                        return event;
                    }
                }
            }
            changed.await;
        }
    }

    /// Forgets the events so far. Counters stay.
    pub fn clear(&self) {
        self.state().events.clear();
    }

    pub(crate) fn push(&self, entry: Entry<'_>) {
        {
            let mut state = self.state();
            state.counters.count(&entry);
            let seq = state.next_seq;
            state.next_seq += 1;
            if self.inner.capacity == 0 {
                return;
            }
            if state.events.len() == self.inner.capacity {
                state.events.pop_front();
            }
            state.events.push_back(Event {
                seq,
                at: entry.at,
                request: entry.request,
                key: entry.who.map(|who| Arc::clone(&who.key)),
                account: entry.who.map(|who| Arc::clone(&who.account)),
                model: entry.model.cloned(),
                kind: entry.kind,
            });
        }
        self.inner.changed.notify_waiters();
    }

    fn events_from(&self, seq: u64) -> Vec<Event> {
        let state = self.state();
        let start = state.events.partition_point(|event| event.seq < seq);
        state.events.range(start..).cloned().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere must not hide what happened before it.
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Log")
            .field("events", &state.events.len())
            .field("counters", &state.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(request: u64, kind: EventKind) -> Entry<'static> {
        let at = Timestamp::DEFAULT_START;
        Entry {
            at,
            request: Some(request),
            who: None,
            model: None,
            kind,
            cost: Money::ZERO,
        }
    }

    fn stalled(chunks: u64) -> EventKind {
        EventKind::Stalled { chunks }
    }

    #[test]
    fn a_full_log_drops_its_oldest_event() {
        let log = Log::with_capacity(2);
        for request in 1..=3 {
            log.push(entry(request, stalled(0)));
        }
        let requests: Vec<_> = log.events().iter().map(|event| event.request).collect();
        assert_eq!(requests, [Some(2), Some(3)]);
        assert_eq!(log.counters().total.stalled, 3);
    }

    #[tokio::test]
    async fn waiting_finds_what_was_and_what_comes() {
        let log = Log::with_capacity(8);
        log.push(entry(1, stalled(1)));
        assert_eq!(log.wait_for(Event::is_stalled).await.request, Some(1));
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { log.wait_for_nth(2, Event::is_stalled).await }
        });
        tokio::task::yield_now().await;
        log.push(entry(2, EventKind::Connected));
        log.push(entry(3, stalled(2)));
        assert_eq!(waiting.await.unwrap().request, Some(3));
    }
}
