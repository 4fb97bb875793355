//! A cap on calls at a time: [`MaxInFlight`].

use std::sync::Arc;

use fairkey_core::sync::{AtomicU32, Ordering};
use fairkey_core::{
    At, Candidate, Denied, Gate, KeySet, Report, Scope, Scopes, SlotBits, Slots, Ticket, Turn,
};

use crate::Group;

/// Admits at most so many calls at a time for each key, for each account, or in all.
///
/// The cap is hard: two threads cannot pass it together. It is ours and nobody's fault, so a
/// refusal names [`Scope::Local`] and no time; the end of any call opens it.
#[derive(Debug)]
pub struct MaxInFlight {
    group: Group,
    cap: u32,
    counts: Slots<AtomicU32>,
    full: Arc<SlotBits>,
}

impl MaxInFlight {
    /// Admits at most `cap` calls at a time for each key. Zero counts as 1.
    #[must_use]
    pub fn per_key(cap: u32) -> Self {
        Self::per(Group::Key, cap)
    }

    /// Admits at most `cap` calls at a time for each account. Zero counts as 1.
    #[must_use]
    pub fn per_account(cap: u32) -> Self {
        Self::per(Group::Account, cap)
    }

    /// Admits at most `cap` calls at a time for each `group`. Zero counts as 1.
    #[must_use]
    pub fn per(group: Group, cap: u32) -> Self {
        Self {
            group,
            cap: cap.max(1),
            counts: Slots::new(),
            full: Arc::new(SlotBits::new()),
        }
    }

    fn is_full(&self, index: usize) -> bool {
        // Relaxed: compared with the cap, and publishes nothing.
        self.counts
            .get(index)
            .is_none_or(|count| count.load(Ordering::Relaxed) >= self.cap)
    }
}

impl Gate for MaxInFlight {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.is_full(self.group.index(at.key)) {
            Err(Denied::for_good(Scope::Local))
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.full.is_empty() {
            return;
        }
        self.group.narrow(
            turn,
            |word| self.full.word(word),
            |index| {
                let full = self.is_full(index);
                if !full {
                    self.full.remove_unless(index, || self.is_full(index));
                }
                if full {
                    Err(Denied::for_good(Scope::Local))
                } else {
                    Ok(())
                }
            },
        );
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let index = self.group.index(at.key);
        let denied = Denied::for_good(Scope::Local);
        let count = self.counts.get(index).ok_or(denied)?;
        let add = |n: u32| (n < self.cap).then_some(n + 1);
        let before = count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| denied)?;
        if before + 1 == self.cap {
            self.full.insert(index);
        }
        Ok(Ticket::default())
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, _: &Report) {
        let index = self.group.index(key);
        if let Some(count) = self.counts.get(index)
            && count.fetch_sub(1, Ordering::Relaxed) == self.cap
        {
            self.full.remove_unless(index, || self.is_full(index));
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.full))
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn rekey(&self, keys: &KeySet) {
        let len = self.group.len(keys);
        self.counts.grow(len, || AtomicU32::new(0));
        self.full.grow(len);
        self.group.for_each_fresh(keys, |index| {
            // Nothing of the last owner lives, so its count is zero already.
            self.full.remove(index);
        });
    }
}
