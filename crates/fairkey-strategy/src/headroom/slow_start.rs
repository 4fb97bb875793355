//! The share of what is new: [`SlowStart`].

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, AtomicUsize, Ordering};
use fairkey_core::{Candidate, KeySet, SlotBits, Slots, Turn};

/// How long a key counts as new.
const STARTING: Duration = Duration::from_secs(30);

/// A time that is not known yet: a reload is not told the time, so the first look sets it.
const UNKNOWN: u64 = u64::MAX;

/// Which keys are new, and since when.
#[derive(Debug)]
pub(super) struct SlowStart {
    starting: SlotBits,
    /// Until when each is new, in nanoseconds.
    until: Slots<AtomicU64>,
    /// How many keys there were at the last reload: all are new at the start, and none is.
    keys: AtomicUsize,
}

impl SlowStart {
    pub(super) fn new() -> Self {
        Self {
            starting: SlotBits::new(),
            until: Slots::new(),
            keys: AtomicUsize::new(0),
        }
    }

    /// Returns whether no key is new.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.starting.is_empty()
    }

    pub(super) fn rekey(&self, keys: &KeySet) {
        self.starting.grow(keys.slots());
        self.until.grow(keys.slots(), || AtomicU64::new(UNKNOWN));
        let first = self.keys.swap(keys.len(), Ordering::Relaxed) == 0;
        for slot in 0..keys.slots() {
            if self.starting.contains(slot) && keys.at(slot).is_none() {
                self.starting.remove(slot);
            }
        }
        if first {
            return;
        }
        for slot in keys.fresh() {
            self.start(slot.index());
        }
        // A key that was given to a new account is as new as that.
        for account in keys.fresh_accounts() {
            for (word, members) in keys.members(*account) {
                let mut left = *members;
                while left != 0 {
                    self.start(*word as usize * 64 + left.trailing_zeros() as usize);
                    left &= left - 1;
                }
            }
        }
    }

    fn start(&self, slot: usize) {
        if let Some(until) = self.until.get(slot) {
            // Relaxed: compared with the time, and publishes nothing.
            until.store(UNKNOWN, Ordering::Relaxed);
            self.starting.insert(slot);
        }
    }

    /// Looks at a turn: the keys that are new, and the lot of this call.
    #[cold]
    pub(super) fn look(&self, turn: &mut Turn<'_>) -> Start<'_> {
        let now = turn.now().as_nanos();
        let keys = turn.keys().len() as u32;
        Start {
            slow_start: self,
            now,
            lot: turn.chance().next_u64(),
            keys: keys.max(1),
        }
    }

    /// Returns whether a key is new at `now`.
    fn is_starting(&self, slot: usize, now: u64) -> bool {
        if !self.starting.contains(slot) {
            return false;
        }
        let Some(until) = self.until.get(slot) else {
            return false;
        };
        let end = now.saturating_add(STARTING.as_nanos() as u64);
        let known = until.load(Ordering::Relaxed);
        if known == UNKNOWN {
            // Whoever is first counts; the others are at most moments apart.
            let (order, missed) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = until.compare_exchange(UNKNOWN, end, order, missed);
            return true;
        }
        if now < known {
            return true;
        }
        let still = || until.load(Ordering::Relaxed) == UNKNOWN;
        self.starting.remove_unless(slot, still);
        false
    }
}

/// One turn's view of what is new.
pub(super) struct Start<'a> {
    slow_start: &'a SlowStart,
    now: u64,
    lot: u64,
    keys: u32,
}

impl Start<'_> {
    /// Returns whether a key may be picked: an old one always, a new one in one of `n` turns, so
    /// that it gets at most that share.
    pub(super) fn admits(&self, key: Candidate<'_>) -> bool {
        let slot = key.slot().index();
        if !self.slow_start.is_starting(slot, self.now) {
            return true;
        }
        // Each new key draws for itself, and the same whenever this turn asks.
        let drawn = fairkey_core::mix(self.lot ^ slot as u64) >> 32;
        (drawn * u64::from(self.keys)) >> 32 == 0
    }
}
