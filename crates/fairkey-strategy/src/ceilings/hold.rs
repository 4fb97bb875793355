//! Until when an account is left alone: [`Hold`].

use std::sync::Arc;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{SlotBits, Slots, Timestamp};

/// Until when each account is left alone.
#[derive(Debug)]
pub(super) struct Hold {
    until: Slots<AtomicU64>,
    closed: SlotBits,
    /// What the gate shows as closed: a bit for each hold that has something in `closed`.
    shown: Arc<SlotBits>,
    bit: usize,
}

impl Hold {
    pub(super) fn new(shown: &Arc<SlotBits>, bit: usize) -> Self {
        shown.grow(bit + 1);
        Self {
            until: Slots::new(),
            closed: SlotBits::new(),
            shown: Arc::clone(shown),
            bit,
        }
    }

    pub(super) fn grow(&self, len: usize) {
        self.until.grow(len, || AtomicU64::new(0));
        self.closed.grow(len);
    }

    /// Leaves an account alone until a time: of two, the later one.
    pub(super) fn close(&self, index: usize, until: Timestamp) {
        if let Some(known) = self.until.get(index) {
            known.fetch_max(until.as_nanos(), Ordering::Relaxed);
            self.closed.insert(index);
            self.shown.insert(self.bit);
        }
    }

    pub(super) fn open(&self, index: usize) {
        if let Some(known) = self.until.get(index) {
            known.store(0, Ordering::Relaxed);
            self.closed.remove(index);
            self.show_less();
        }
    }

    /// Shows no more that something is closed, where nothing is.
    fn show_less(&self) {
        if self.closed.is_empty() {
            // Another account may have been closed since: its bit comes before that of the hold, so
            // whoever takes the hold's away sees it.
            self.shown
                .remove_unless(self.bit, || !self.closed.is_empty());
        }
    }

    /// Which accounts may be left alone: those whose time is over are taken out when looked at.
    #[inline]
    pub(super) fn closed(&self) -> &SlotBits {
        &self.closed
    }

    /// Returns until when, where that is later than `now`.
    pub(super) fn until(&self, index: usize, now: Timestamp) -> Option<Timestamp> {
        let until = self.until.get(index)?.load(Ordering::Relaxed);
        (until > now.as_nanos()).then(|| Timestamp::from_nanos(until))
    }

    /// The same, and takes it out of the set where its time is over.
    pub(super) fn look(&self, index: usize, now: Timestamp) -> Option<Timestamp> {
        let until = self.until(index, now);
        if until.is_none() {
            let still = || self.until(index, now).is_some();
            self.closed.remove_unless(index, still);
            self.show_less();
        }
        until
    }
}
