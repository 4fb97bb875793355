//! Whether calls are taken, and which are under way: [`Lifecycle`].

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use fairkey_transport::BoxError;
use foldhash::fast::RandomState;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::relay::Outbound;
use crate::server::{Activity, Stream};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Calls are taken.
    Open,
    /// Those under way go on, and others are refused.
    Draining,
    /// Everything is dropped.
    Closed,
}

/// Calls are spread over so many sets, so that connections seldom wait for each other.
const SHARDS: usize = 16;

type Numbers = HashSet<u64, RandomState>;

/// What all listeners of one gateway share about its beginning and end.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    stage: watch::Sender<Stage>,
    live: [Mutex<Numbers>; SHARDS],
    count: AtomicUsize,
    idle: Notify,
    is_starved: AtomicBool,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            stage: watch::Sender::new(Stage::Open),
            live: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            idle: Notify::new(),
            is_starved: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.stage.borrow() == Stage::Open
    }

    /// Goes on to a stage; never back. Returns whether that was news.
    pub(crate) fn advance(&self, to: Stage) -> bool {
        self.stage.send_if_modified(|stage| {
            let is_news = *stage < to;
            *stage = (*stage).max(to);
            is_news
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Notes whether a connection had to be turned away for want of a file descriptor.
    pub(crate) fn set_starved(&self, is_starved: bool) {
        // Relaxed: a hint for whoever asks how things are.
        if self.is_starved.load(Ordering::Relaxed) != is_starved {
            self.is_starved.store(is_starved, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_starved(&self) -> bool {
        self.is_starved.load(Ordering::Relaxed)
    }

    /// Notes a call, until the answer's body is dropped.
    pub(crate) fn enter(self: &Arc<Self>, number: u64, activity: &Arc<Activity>) -> Live {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.shard(number).insert(number);
        Live {
            lifecycle: Arc::clone(self),
            began: activity.begin(),
            activity: Arc::clone(activity),
            number,
        }
    }

    /// Returns how many calls are under way.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Returns up to `most` of the calls under way, by number.
    pub(crate) fn numbers(&self, most: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for shard in &self.live {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.extend(shard.iter().take(most - numbers.len()));
        }
        numbers
    }

    /// Waits until no call is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            // Before the look, so that nothing happens in between unheard.
            idle.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            idle.await;
        }
    }

    fn shard(&self, number: u64) -> MutexGuard<'_, Numbers> {
        let shard = &self.live[(number % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call under way.
#[derive(Debug)]
pub(crate) struct Live {
    lifecycle: Arc<Lifecycle>,
    activity: Arc<Activity>,
    /// When it began, where it counts if its caller leaves; `None` when it came to its end.
    began: Option<Instant>,
    number: u64,
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(began) = self.began {
            self.activity.left(began);
        }
        self.activity.end();
        self.lifecycle.shard(self.number).remove(&self.number);
        if self.lifecycle.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.lifecycle.idle.notify_waiters();
        }
    }
}

/// An answer, which is a call under way until it is dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Outbound,
    live: Live,
}

impl Answer {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// As [`Outbound::deadline`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.body.deadline()
    }

    /// As [`Outbound::expire`].
    pub(crate) fn expire(&mut self) {
        self.body.expire();
    }

    /// Polls one of HTTP/1.1, of which its connection is to know when it is over.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.live.activity.is_overdue() {
            self.expire();
        }
        let polled = self.poll_frame(cx);
        if !self.live.activity.is_due()
            && let Some(deadline) = self.deadline()
        {
            self.live.activity.set_due(deadline);
        }
        polled
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.body.is_over() {
            self.live.began = None;
        }
    }
}

/// An answer as it is sent.
#[derive(Debug)]
pub(crate) enum LiveBody {
    /// By HTTP/1.1.
    Own(Answer),
    /// By HTTP/2, where it may be taken away from whoever sends it.
    Stream {
        stream: Stream,
        activity: Arc<Activity>,
        number: u64,
    },
}

impl LiveBody {
    pub(crate) fn new(body: Outbound, live: Live) -> Self {
        let (activity, number) = (Arc::clone(&live.activity), live.number);
        let answer = Answer { body, live };
        if !activity.is_http2() {
            return Self::Own(answer);
        }
        Self::Stream {
            stream: activity.add(number, answer),
            activity,
            number,
        }
    }
}

impl Drop for LiveBody {
    fn drop(&mut self) {
        if let Self::Stream {
            activity, number, ..
        } = self
        {
            activity.remove(*number);
        }
    }
}

impl HttpBody for LiveBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Own(answer) => answer.poll_own(cx),
            Self::Stream { stream, .. } => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(answer) => answer.is_end_stream(),
            Self::Stream { stream, .. } => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(answer) => answer.size_hint(),
            Self::Stream { stream, .. } => stream.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_the_last_call_hears_of_its_end() {
        let lifecycle = Arc::new(Lifecycle::new());
        let activity = Arc::new(Activity::new(false, 9));
        lifecycle.idle().await;
        let calls: Vec<Live> = (0..20).map(|n| lifecycle.enter(n, &activity)).collect();
        assert_eq!(lifecycle.numbers(100).len(), 20);
        assert_eq!(lifecycle.numbers(3).len(), 3);
        let waiting = tokio::spawn({
            let lifecycle = Arc::clone(&lifecycle);
            async move { lifecycle.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(calls);
        waiting.await.unwrap();
        assert_eq!((lifecycle.count(), lifecycle.numbers(9).len()), (0, 0));
    }

    #[test]
    fn a_stage_is_never_taken_back() {
        let lifecycle = Lifecycle::new();
        assert!(lifecycle.is_open());
        assert!(lifecycle.advance(Stage::Closed));
        assert!(!lifecycle.advance(Stage::Draining));
        assert!(!lifecycle.is_open());
    }
}
