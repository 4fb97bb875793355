//! Out until a time: [`Cooldown`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{
    At, Candidate, Denied, FaultKind, Gate, KeySet, Outcome, Report, Retry, Scope, Scopes,
    SlotBits, Slots, Ticket, Timestamp, Turn,
};

use crate::Group;

/// For how long a [`Cooldown`] closes. Hints of the upstream come first, capped by class; what
/// stands here without "cap" holds where there is no hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CooldownConfig {
    /// After "slow down" without a hint. Default 60 s.
    pub throttled: Duration,
    /// The most that a hint of "slow down" is believed. Default 300 s.
    pub throttled_cap: Duration,
    /// After "used up" without a reset stamp: how often a top-up is looked for. Default 60 s.
    pub exhausted: Duration,
    /// The most that a reset stamp is believed. Default 31 days: the longest period of a cap.
    pub exhausted_cap: Duration,
    /// After a refusal of the credential. Default `None`: until the key is replaced in a reload
    /// or cleared by hand, since waiting cures nothing.
    pub refused: Option<Duration>,
    /// The most that the hint of an ordinary failure is believed; without a hint a failure does
    /// not close (that is a breaker's work). Default 60 s.
    pub failed_cap: Duration,
}

impl Default for CooldownConfig {
    fn default() -> Self {
        Self {
            throttled: Duration::from_secs(60),
            throttled_cap: Duration::from_secs(300),
            exhausted: Duration::from_secs(60),
            exhausted_cap: Duration::from_secs(31 * 24 * 60 * 60),
            refused: None,
            failed_cap: Duration::from_secs(60),
        }
    }
}

/// Closes a key, or an account, from a fault of its scope until the time that the fault names.
///
/// A cooldown never shrinks: of two reasons the later end counts, and the success of a call that
/// began before says nothing about it. It ends by itself, or by [`Cooldown::clear`].
///
/// What is used up or refused is *deselected* until a stamp; that is no trip of a breaker and
/// needs no second failure.
#[derive(Debug)]
pub struct Cooldown {
    group: Group,
    config: CooldownConfig,
    /// When each opens, in nanoseconds of the pool's clock: 0 for open, `u64::MAX` for good.
    until: Slots<AtomicU64>,
    closed: Arc<SlotBits>,
}

impl Cooldown {
    /// Cools each key by itself: for faults of scope key and budget.
    #[must_use]
    pub fn per_key(config: CooldownConfig) -> Self {
        Self::per(Group::Key, config)
    }

    /// Cools all keys of an account together: for faults of scope account.
    #[must_use]
    pub fn per_account(config: CooldownConfig) -> Self {
        Self::per(Group::Account, config)
    }

    /// Cools each `group`.
    #[must_use]
    pub fn per(group: Group, config: CooldownConfig) -> Self {
        Self {
            group,
            config,
            until: Slots::new(),
            closed: Arc::new(SlotBits::new()),
        }
    }

    /// Opens the group that `key` belongs to at once: an operator knows better.
    pub fn clear(&self, key: Candidate<'_>) {
        self.open(self.group.index(key));
    }

    /// Returns until when the group that `key` belongs to is closed, as last set: `None` where it
    /// was never closed or was cleared, [`Timestamp::MAX`] where it is closed for good.
    #[must_use]
    pub fn until(&self, key: Candidate<'_>) -> Option<Timestamp> {
        let until = self.until_at(self.group.index(key));
        (until > 0).then(|| Timestamp::from_nanos(until))
    }

    fn until_at(&self, index: usize) -> u64 {
        // Relaxed: compared with the time, and publishes nothing.
        self.until
            .get(index)
            .map_or(0, |until| until.load(Ordering::Relaxed))
    }

    fn open(&self, index: usize) {
        if let Some(until) = self.until.get(index) {
            until.store(0, Ordering::Relaxed);
            self.closed
                .remove_unless(index, || self.until_at(index) > 0);
        }
    }

    /// Returns until when a fault closes, as nanoseconds, if it does.
    fn end(&self, kind: FaultKind, retry: Retry, now: Timestamp) -> Option<u64> {
        let (default, cap) = match kind {
            FaultKind::Throttled => (Some(self.config.throttled), self.config.throttled_cap),
            FaultKind::Exhausted => (Some(self.config.exhausted), self.config.exhausted_cap),
            FaultKind::Refused => match self.config.refused {
                None => return Some(u64::MAX),
                Some(wait) => return Some((now + wait).as_nanos()),
            },
            _ => (None, self.config.failed_cap),
        };
        let until = match (retry.at(now), default) {
            (Some(at), _) => at.min(now + cap),
            (None, Some(wait)) => now + wait,
            (None, None) => return None,
        };
        // A stamp in the past says that it is open again.
        (until > now).then(|| until.as_nanos())
    }

    fn denied(&self, until: u64) -> Denied {
        let by = self.group.scope();
        if until == u64::MAX {
            Denied::for_good(by)
        } else {
            Denied::until(by, Timestamp::from_nanos(until))
        }
    }
}

impl Gate for Cooldown {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let until = self.until_at(self.group.index(at.key));
        if until > at.now.as_nanos() {
            Err(self.denied(until))
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.closed.is_empty() {
            return;
        }
        let now = turn.now().as_nanos();
        self.group.narrow(
            turn,
            |word| self.closed.word(word),
            |index| {
                let open = self.until_at(index) <= now;
                if open {
                    self.closed
                        .remove_unless(index, || self.until_at(index) > now);
                }
                open
            },
        );
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if self.closed.is_empty() {
            return Ok(Ticket::default());
        }
        self.check(at).map(|()| Ticket::default())
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, report: &Report) {
        let Outcome::Fault { kind, retry, .. } = report.outcome else {
            return;
        };
        let Some(end) = self.end(kind, retry, report.ended) else {
            return;
        };
        let index = self.group.index(key);
        if let Some(until) = self.until.get(index) {
            // The later end counts. Before the bit, so that whoever sees the bit sees the end.
            until.fetch_max(end, Ordering::Relaxed);
            self.closed.insert(index);
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.closed))
    }

    fn hears(&self) -> Scopes {
        match self.group {
            // A budget is shared by keys that nobody has listed; each finds out for itself.
            Group::Key => Scopes::of(Scope::Key).and(Scope::Budget),
            Group::Account => Scopes::of(Scope::Account),
        }
    }

    fn rekey(&self, keys: &KeySet) {
        let len = self.group.len(keys);
        self.until.grow(len, || AtomicU64::new(0));
        self.closed.grow(len);
        self.group.for_each_fresh(keys, |index| self.open(index));
    }

    fn name(&self) -> &'static str {
        match self.group {
            Group::Key => "Cooldown(key)",
            Group::Account => "Cooldown(account)",
        }
    }
}
