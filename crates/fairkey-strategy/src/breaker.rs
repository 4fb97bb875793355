//! Out after failures, back after a probe: [`SlidingWindowBreaker`].

mod config;
mod state;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::sync::{Ordering, lock};
use fairkey_core::{
    At, Candidate, Denied, FaultKind, Gate, KeySet, Outcome, Report, Scopes, Seeds, SlotBits,
    Slots, Ticket, Timestamp, Turn,
};

use self::state::{Heard, Inner, Phase, State, Word};
use crate::Group;
use crate::window::Slice;

pub use self::config::{BreakerConfig, BreakerConfigError};

/// Takes a key, or an account, out after failures of its scope; lets exactly one probe through
/// when the time is over; and lets load back in steps after it.
///
/// - **Closed**: calls pass without a lock; their ends are counted in a sliding window. A trip is
///   decided when a failure arrives, never by a success.
/// - **Open** until a time: everything is denied. Each further trip doubles the time, up to a cap,
///   less some jitter.
/// - **Probe**: the first call after that time is the probe, and the only one. If it succeeds the
///   ramp begins; if it fails the breaker is open again; if it is given up, or fails by somebody
///   else's fault, its permit goes back and the next call is the probe.
/// - **Ramp**: two calls at a time, four, eight; then closed. A failure opens it again.
///
/// Every ticket carries the generation of the state that gave it. An answer to a call that began
/// before the last transition changes nothing: it can neither close nor trip what came after.
///
/// Only faults of the group's scope count ([`Gate::hears`]), and of those not the kind
/// [`FaultKind::Exhausted`]: what is used up until a stamp is a matter for
/// [`Cooldown`](crate::Cooldown). [`SlidingWindowBreaker::hearing`] changes the scopes.
///
/// ```
/// use fairkey_core::{Gate, Key, Pool};
/// use fairkey_strategy::{BreakerConfig, RoundRobin, SlidingWindowBreaker};
///
/// // "Three errors in a minute, then a minute off", before any strategy.
/// let classic = BreakerConfig {
///     count: Some(3),
///     ratio: None,
///     consecutive: None,
///     open_for: std::time::Duration::from_secs(60),
///     ..BreakerConfig::default()
/// };
/// let strategy = SlidingWindowBreaker::new(classic).guarding(RoundRobin::new());
/// let pool = Pool::builder().strategy(strategy).key(Key::new("a", "sk-or-v1-aaa")).build()?;
/// # Ok::<(), fairkey_core::BuildError>(())
/// ```
#[derive(Debug)]
pub struct SlidingWindowBreaker {
    config: BreakerConfig,
    slice: Slice,
    group: Group,
    hears: Scopes,
    states: Slots<State>,
    /// Who is not closed: each of them needs a look.
    special: Arc<SlotBits>,
    seeds: Seeds,
}

impl SlidingWindowBreaker {
    /// Makes a breaker for each key.
    ///
    /// # Panics
    ///
    /// Where [`BreakerConfig::check`] has an objection; call it first where settings come from
    /// outside.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self::per(Group::Key, config)
    }

    /// Makes a breaker for each account.
    ///
    /// # Panics
    ///
    /// As [`SlidingWindowBreaker::new`].
    #[must_use]
    pub fn per_account(config: BreakerConfig) -> Self {
        Self::per(Group::Account, config)
    }

    /// Makes a breaker for each `group`.
    ///
    /// # Panics
    ///
    /// As [`SlidingWindowBreaker::new`].
    #[must_use]
    pub fn per(group: Group, config: BreakerConfig) -> Self {
        if let Err(error) = config.check() {
            panic!("{error}");
        }
        Self {
            slice: Slice::of(config.window),
            config,
            group,
            hears: Scopes::of(group.scope()),
            states: Slots::new(),
            special: Arc::new(SlotBits::new()),
            seeds: Seeds::new(RandomState::new().hash_one(())),
        }
    }

    /// Counts faults of `scopes` instead of those of the group.
    ///
    /// `Scopes::ALL` makes the breaker of old, which blames the key for everything: for
    /// comparison, and for upstreams that are not OpenRouter.
    #[must_use]
    pub fn hearing(mut self, scopes: Scopes) -> Self {
        self.hears = scopes;
        self
    }

    /// Seeds the jitter; by default the seed is the process's own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::new(seed);
        self
    }

    /// Closes the breaker of the group that `key` belongs to at once: an operator knows better.
    /// Calls in flight no longer count.
    pub fn clear(&self, key: Candidate<'_>) {
        let index = self.group.index(key);
        if let Some(state) = self.states.get(index) {
            let mut inner = lock(&state.inner);
            inner.trips = 0;
            self.close(index, state, &mut inner);
        }
    }

    /// Returns whether the breaker of the group that `key` belongs to is closed: neither open,
    /// nor probing, nor ramping up.
    #[must_use]
    pub fn is_closed(&self, key: Candidate<'_>) -> bool {
        self.states
            .get(self.group.index(key))
            .is_none_or(|state| state.word().is_closed())
    }

    /// Tells whether a call may pass one that is not closed. Under its lock.
    fn admit(&self, inner: &Inner, now: Timestamp) -> Result<(), Denied> {
        let by = self.group.scope();
        match inner.phase {
            Phase::Closed => Ok(()),
            Phase::Open { until } if now < until => Err(Denied::until(by, until)),
            Phase::Open { .. } => Ok(()),
            // The end of the probe decides, not a time.
            Phase::Probe => Err(Denied::for_good(by)),
            Phase::Ramp {
                limit, in_flight, ..
            } if in_flight >= limit => Err(Denied::for_good(by)),
            Phase::Ramp { .. } => Ok(()),
        }
    }

    /// Tells the same without a lock where the state is closed or open for long.
    fn look(&self, index: usize, now: Timestamp) -> Result<(), Denied> {
        let Some(state) = self.states.get(index) else {
            return Ok(());
        };
        if state.word().is_closed() {
            return Ok(());
        }
        // Relaxed: a hint. It is zero, or a time before which this generation stays open.
        let until = Timestamp::from_nanos(state.until.load(Ordering::Relaxed));
        if now < until {
            return Err(Denied::until(self.group.scope(), until));
        }
        self.admit(&lock(&state.inner), now)
    }

    fn trip(&self, index: usize, state: &State, inner: &mut Inner, now: Timestamp) {
        inner.trips = inner.trips.saturating_add(1);
        let doublings = (inner.trips - 1).min(31);
        // At most what a clock can tell: the product of the longest duration and a part of it may
        // not fit a duration.
        let full = self
            .config
            .open_for
            .saturating_mul(1 << doublings)
            .min(self.config.open_cap)
            .min(Duration::from_nanos(u64::MAX));
        let part = 1.0 - self.config.jitter * self.seeds.draw().unit();
        let until = now + full.mul_f64(part).max(Duration::from_nanos(1));
        inner.phase = Phase::Open { until };
        state.advance(inner);
        state.until.store(until.as_nanos(), Ordering::Relaxed);
        self.special.insert(index);
    }

    fn close(&self, index: usize, state: &State, inner: &mut Inner) {
        inner.phase = Phase::Closed;
        state.until.store(0, Ordering::Relaxed);
        state.advance(inner);
        self.special
            .remove_unless(index, || !state.word().is_closed());
    }

    /// Counts the end of a call that a closed breaker let through.
    fn count(
        &self,
        index: usize,
        state: &State,
        word: Word,
        kind: Option<FaultKind>,
        now: Timestamp,
    ) {
        state
            .window
            .record(self.slice, word.generation(), now, kind.is_some());
        let Some(kind) = kind else {
            state.run.end(word.generation());
            return;
        };
        let run = if kind == FaultKind::Throttled {
            0
        } else {
            state.run.lengthen(word.generation())
        };
        let counts = state.window.counts(self.slice, word.generation(), now);
        let config = &self.config;
        let by_run = config.consecutive.is_some_and(|most| run >= most);
        let by_count = config.count.is_some_and(|most| counts.failures >= most);
        let by_ratio = config.ratio.is_some_and(|ratio| {
            counts.calls >= config.min_calls
                && f64::from(counts.failures) >= ratio * f64::from(counts.calls)
        });
        if by_run || by_count || by_ratio {
            let mut inner = lock(&state.inner);
            // Somebody else may have tripped it since.
            if inner.generation == word.generation() && matches!(inner.phase, Phase::Closed) {
                self.trip(index, state, &mut inner, now);
            }
        }
    }

    /// Takes back a permit that a breaker gave out while it was not closed.
    fn give_back(&self, index: usize, state: &State, ticket: Word, kind: Heard, now: Timestamp) {
        let mut inner = lock(&state.inner);
        if inner.generation != ticket.generation() {
            // A straggler: its permit was of a state that is gone.
            return;
        }
        match (inner.phase, kind) {
            (Phase::Probe, Heard::Success) if self.config.ramp <= 1 => {
                inner.trips = 0;
                self.close(index, state, &mut inner);
            }
            (Phase::Probe, Heard::Success) => {
                inner.phase = Phase::Ramp {
                    limit: 2,
                    in_flight: 0,
                    succeeded: 0,
                };
                state.advance(&mut inner);
            }
            (Phase::Probe, Heard::Neutral) => {
                // The permit goes back. The generation stays: nothing was learned.
                inner.phase = Phase::Open {
                    until: Timestamp::ZERO,
                };
            }
            (
                Phase::Ramp {
                    limit,
                    in_flight,
                    succeeded,
                },
                Heard::Success,
            ) => {
                let (in_flight, succeeded) = (in_flight.saturating_sub(1), succeeded + 1);
                if succeeded < limit {
                    inner.phase = Phase::Ramp {
                        limit,
                        in_flight,
                        succeeded,
                    };
                } else if limit.saturating_mul(2) > self.config.ramp {
                    inner.trips = 0;
                    self.close(index, state, &mut inner);
                } else {
                    inner.phase = Phase::Ramp {
                        limit: limit * 2,
                        in_flight,
                        succeeded: 0,
                    };
                }
            }
            (
                Phase::Ramp {
                    limit,
                    in_flight,
                    succeeded,
                },
                Heard::Neutral,
            ) => {
                let in_flight = in_flight.saturating_sub(1);
                inner.phase = Phase::Ramp {
                    limit,
                    in_flight,
                    succeeded,
                };
            }
            (Phase::Probe | Phase::Ramp { .. }, Heard::Failure) => {
                self.trip(index, state, &mut inner, now);
            }
            (Phase::Closed | Phase::Open { .. }, _) => {}
        }
    }
}

impl Gate for SlidingWindowBreaker {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        self.look(self.group.index(at.key), at.now)
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.special.is_empty() {
            return;
        }
        let now = turn.now();
        self.group.narrow(
            turn,
            |word| self.special.word(word),
            |index| self.look(index, now).is_ok(),
        );
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let index = self.group.index(at.key);
        let by = self.group.scope();
        let state = self.states.get(index).ok_or(Denied::for_good(by))?;
        let word = state.word();
        if word.is_closed() {
            return Ok(Ticket(word.0));
        }
        let mut inner = lock(&state.inner);
        self.admit(&inner, at.now)?;
        match &mut inner.phase {
            Phase::Open { .. } => {
                inner.phase = Phase::Probe;
                state.until.store(0, Ordering::Relaxed);
                state.advance(&mut inner);
            }
            Phase::Ramp { in_flight, .. } => *in_flight += 1,
            Phase::Closed | Phase::Probe => {}
        }
        Ok(Ticket(state.word().0))
    }

    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let index = self.group.index(key);
        let Some(state) = self.states.get(index) else {
            return;
        };
        let ticket = Word(ticket.0);
        let (heard, kind) = match report.outcome {
            Outcome::Success => (Heard::Success, None),
            Outcome::Fault {
                kind: FaultKind::Exhausted,
                ..
            } => (Heard::Neutral, None),
            Outcome::Fault { kind, .. } => (Heard::Failure, Some(kind)),
            _ => (Heard::Neutral, None),
        };
        if !ticket.is_closed() {
            self.give_back(index, state, ticket, heard, report.ended);
        } else if !matches!(heard, Heard::Neutral) && state.word() == ticket {
            self.count(index, state, ticket, kind, report.ended);
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.special))
    }

    fn hears(&self) -> Scopes {
        self.hears
    }

    fn rekey(&self, keys: &KeySet) {
        let len = self.group.len(keys);
        self.states.grow(len, State::new);
        self.special.grow(len);
        self.group.for_each_fresh(keys, |index| {
            if let Some(state) = self.states.get(index) {
                let mut inner = lock(&state.inner);
                inner.trips = 0;
                self.close(index, state, &mut inner);
            }
        });
    }
}
