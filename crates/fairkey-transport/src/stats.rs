//! Counts that tests and metrics read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a transport has done and is doing, at one moment.
///
/// The numbers are read one after the other: beside calls that come and go they need not fit each
/// other exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that were opened, ever.
    pub connections_opened: u64,
    /// Attempts to open a connection that failed, ever.
    pub connections_failed: u64,
    /// Connections that are open now, idle ones among them.
    pub connections_open: usize,
    /// Exchanges under way now: a connection (HTTP/1.1) or a stream (HTTP/2) is held by a call
    /// whose body has not ended.
    pub streams_in_use: usize,
    /// Calls that wait for a connection or a stream now.
    pub waiting: usize,
    /// Requests that were sent again unseen, because the first try surely did nothing.
    pub resends: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    failed: AtomicU64,
    open: AtomicUsize,
    in_use: AtomicUsize,
    waiting: AtomicUsize,
    resends: AtomicU64,
}

// Relaxed, everywhere below: only the counts themselves are read; they publish no other memory.
impl Counters {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn began(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn waited(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn resent(&self) {
        self.resends.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            connections_opened: self.opened.load(Ordering::Relaxed),
            connections_failed: self.failed.load(Ordering::Relaxed),
            connections_open: self.open.load(Ordering::Relaxed),
            streams_in_use: self.in_use.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            resends: self.resends.load(Ordering::Relaxed),
        }
    }
}
