//! What was admitted in the last window, and when: [`Log`].

use std::collections::VecDeque;

/// As many entries as a log has at most. A limit of no more calls than this is remembered call by
/// call; above, and for tokens, calls within a 126th of the window share an entry.
pub(super) const ENTRIES: u64 = 126;

/// What was admitted at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// When the last of it was admitted: all of it counts for a window from here.
    at: u64,
    amount: u64,
}

/// A sliding log: amounts with their times, oldest first, and their sum.
///
/// Calls that are less than `quantum` apart share an entry and count from the last of them, so an
/// amount may count for up to `quantum` longer than the window, and never shorter: the bound on
/// every window holds, whatever the quantum. Nothing is allocated after it was made.
#[derive(Clone, Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    capacity: usize,
    quantum: u64,
    /// When the newest entry was begun.
    opened: u64,
    /// The time of the newest entry that left the window.
    forgotten: Option<u64>,
    used: u64,
}

impl Log {
    /// Makes a log for a limit of `amount` in `window` nanoseconds, that counts calls or, where
    /// not, amounts of any size.
    pub(super) fn new(amount: u64, window: u64, calls: bool) -> Self {
        let mut log = Self {
            entries: VecDeque::new(),
            capacity: 0,
            quantum: 0,
            opened: 0,
            forgotten: None,
            used: 0,
        };
        log.fit(amount, window, calls);
        log
    }

    /// Makes it fit for another limit. What it remembers stays.
    pub(super) fn fit(&mut self, amount: u64, window: u64, calls: bool) {
        let exact = calls && amount <= ENTRIES;
        self.quantum = if exact { 0 } else { window.div_ceil(ENTRIES) };
        // Two more: the entry that a window begins in, and what is left of calls undone.
        let wanted = if exact { amount } else { ENTRIES } as usize + 2;
        self.capacity = wanted.max(self.entries.len());
        self.entries
            .reserve_exact(self.capacity - self.entries.len());
    }

    /// Returns the sum of what is remembered.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Forgets what is older than `window` at `now`.
    #[inline]
    pub(super) fn forget(&mut self, now: u64, window: u64) {
        while let Some(oldest) = self.entries.front()
            && oldest.at.saturating_add(window) <= now
        {
            self.used -= oldest.amount;
            self.forgotten = Some(oldest.at);
            self.entries.pop_front();
        }
    }

    /// Returns when the oldest entry leaves the window: `u64::MAX` where there is none.
    #[inline]
    pub(super) fn next_change(&self, window: u64) -> u64 {
        let oldest = self.entries.front();
        oldest.map_or(u64::MAX, |oldest| oldest.at.saturating_add(window))
    }

    /// Returns what `forget` at `now` would leave.
    pub(super) fn used_at(&self, now: u64, window: u64) -> u64 {
        let gone = |entry: &&Entry| entry.at.saturating_add(window) <= now;
        let gone: u64 = (self.entries.iter().take_while(gone))
            .map(|entry| entry.amount)
            .sum();
        self.used - gone
    }

    /// Returns when no more than `most` is left, after `now`, if nothing comes.
    pub(super) fn at_most(&self, most: u64, now: u64, window: u64) -> u64 {
        let (mut left, mut until) = (self.used, now);
        for entry in &self.entries {
            if left <= most {
                break;
            }
            left -= entry.amount;
            if entry.amount > 0 {
                until = until.max(entry.at.saturating_add(window));
            }
        }
        until
    }

    /// Adds `amount` at `now`, or at the newest entry's time where that is later.
    #[inline]
    pub(super) fn add(&mut self, now: u64, amount: u64) {
        if amount == 0 {
            return;
        }
        self.used += amount;
        if self.entries.len() >= self.capacity {
            self.make_room();
        }
        let is_full = self.entries.len() >= self.capacity;
        if let Some(newest) = self.entries.back_mut() {
            let now = now.max(newest.at);
            if newest.amount == 0 {
                // All of it was taken back.
                self.opened = now;
            }
            let near = now == newest.at || now.saturating_sub(self.opened) <= self.quantum;
            if near || newest.amount == 0 || is_full {
                newest.at = now;
                newest.amount += amount;
                return;
            }
            self.opened = now;
            self.entries.push_back(Entry { at: now, amount });
        } else {
            self.opened = now;
            self.entries.push_back(Entry { at: now, amount });
        }
    }

    #[cold]
    fn make_room(&mut self) {
        self.entries.retain(|entry| entry.amount > 0);
        self.opened = self.entries.back().map_or(0, |newest| newest.at);
    }

    /// Takes back `amount` of what was added at `begun`, as far as it is still remembered.
    ///
    /// It may have been added to a later entry than the first that fits: then what is left of it
    /// leaves the window later than it must, and not sooner.
    pub(super) fn take_back(&mut self, begun: u64, mut amount: u64) {
        if self.forgotten.is_some_and(|forgotten| begun <= forgotten) {
            return;
        }
        let from = match self.entries.back() {
            Some(newest) if newest.at == begun => self.entries.len() - 1,
            Some(newest) if newest.at > begun => {
                self.entries.partition_point(|entry| entry.at < begun)
            }
            _ => return,
        };
        for entry in self.entries.range_mut(from..) {
            let here = amount.min(entry.amount);
            entry.amount -= here;
            self.used -= here;
            amount -= here;
            if amount == 0 {
                return;
            }
        }
    }
}
