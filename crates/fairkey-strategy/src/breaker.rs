//! Out after failures, back after a probe: [`SlidingWindowBreaker`].

mod config;
mod state;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use fairkey_core::{
    At, Candidate, Denied, Detail, FaultKind, Gate, KeySet, Outcome, Report, Scopes, Seeds,
    SlotBits, Slots, Ticket, Timestamp, Turn,
};

use self::state::State;
use crate::recovery::{Course, Heard, Inner, Step, Word};
use crate::window::Slice;
use crate::{Group, Status};

pub use self::config::{BreakerConfig, BreakerConfigError};

/// Takes a key, an account, or all keys out after failures of their scope; lets exactly one probe through
/// when the time is over; and lets load back in steps after it.
///
/// - **Closed**: calls pass without a lock; their ends are counted in a sliding window. A trip is
///   decided when a failure arrives, never by a success.
/// - **Open** until a time: everything is denied. Each further trip doubles the time, up to a cap,
///   less some jitter.
/// - **Probe**: the first call after that time is the probe, and the only one. Its first content
///   is success enough, so that a long stream keeps nobody waiting. If it succeeds the ramp begins;
///   if it fails the breaker is open again; if it is given up, or fails by somebody else's fault,
///   its permit goes back and the next call is the probe. A probe of which nothing is heard for
///   [`BreakerConfig::probe_timeout`] bars no longer: one more call may pass, and whichever is
///   heard of first decides.
/// - **Ramp**: two calls at a time, four, eight, of those that wait for their first content; then
///   closed. A failure opens it again.
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
    course: Course,
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
            course: config.course(),
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
            let mut inner = state.track.lock();
            inner.recovery.make_well();
            self.settle_well(index, state, &mut inner);
        }
    }

    /// Returns how the group that `key` belongs to is.
    #[must_use]
    pub fn status(&self, key: Candidate<'_>, now: Timestamp) -> Status {
        self.states
            .get(self.group.index(key))
            .map_or(Status::WELL, |state| {
                state.track.lock().recovery.status(now)
            })
    }

    /// Returns whether the breaker of the group that `key` belongs to is closed: neither open,
    /// nor probing, nor ramping up.
    #[must_use]
    pub fn is_closed(&self, key: Candidate<'_>) -> bool {
        self.states
            .get(self.group.index(key))
            .is_none_or(|state| state.track.word().is_well())
    }

    fn look(&self, index: usize, now: Timestamp) -> Result<(), Denied> {
        match self.states.get(index) {
            Some(state) => state.track.look(self.group.scope(), now),
            None => Ok(()),
        }
    }

    fn trip(&self, index: usize, state: &State, inner: &mut Inner<u32>, now: Timestamp) {
        inner.more = inner.more.saturating_add(1);
        let wait = self.config.open_for(inner.more, self.seeds.draw().unit());
        // The end of time is for what is out for good, which a breaker never is.
        let until = (now + wait).min(Timestamp::from_nanos(u64::MAX - 1));
        inner.recovery.take_out(until, now);
        state.track.publish(inner);
        self.special.insert(index);
    }

    /// Makes public that the breaker is closed.
    fn settle_well(&self, index: usize, state: &State, inner: &mut Inner<u32>) {
        inner.more = 0;
        state.track.publish(inner);
        self.special
            .remove_unless(index, || !state.track.word().is_well());
    }

    /// Acts on what came of a call that passed while it was not closed.
    fn carry_out(
        &self,
        step: Step,
        index: usize,
        state: &State,
        inner: &mut Inner<u32>,
        now: Timestamp,
    ) {
        match step {
            Step::Same | Step::Proven => state.track.publish(inner),
            Step::Well => self.settle_well(index, state, inner),
            Step::Failed => self.trip(index, state, inner, now),
        }
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
        if self.config.trips(run, counts) {
            let mut inner = state.track.lock();
            // Somebody else may have tripped it since.
            if inner.recovery.word() == word {
                self.trip(index, state, &mut inner, now);
            }
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
            |index| self.look(index, now),
        );
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let by = self.group.scope();
        let state = self.states.get(self.group.index(at.key));
        let state = state.ok_or(Denied::for_good(by))?;
        state.track.enter(by, at.now, self.course)
    }

    fn first_content(&self, key: Candidate<'_>, ticket: Ticket, at: Timestamp) {
        let (index, ticket) = (self.group.index(key), Word(ticket.0));
        if let (false, Some(state)) = (ticket.is_well(), self.states.get(index)) {
            let mut inner = state.track.lock();
            let step = inner.recovery.first_content(ticket, self.course);
            self.carry_out(step, index, state, &mut inner, at);
        }
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
        if !ticket.is_well() {
            let had_content = report.first_content.is_some();
            let mut inner = state.track.lock();
            let step = inner
                .recovery
                .leave(ticket, heard, had_content, self.course);
            self.carry_out(step, index, state, &mut inner, report.ended);
        } else if heard != Heard::Neutral && state.track.word() == ticket {
            self.count(index, state, ticket, kind, report.ended);
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.special))
    }

    fn hears(&self) -> Scopes {
        self.hears
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        self.status(at.key, at.now).detail()
    }

    fn name(&self) -> &'static str {
        match self.group {
            Group::Key => "SlidingWindowBreaker(key)",
            Group::Account => "SlidingWindowBreaker(account)",
            Group::Service => "SlidingWindowBreaker(service)",
            Group::Network => "SlidingWindowBreaker(network)",
        }
    }

    fn rekey(&self, keys: &KeySet) {
        let len = self.group.len(keys);
        self.states.grow(len, State::new);
        self.special.grow(len);
        self.group.for_each_fresh(keys, |index| {
            if let Some(state) = self.states.get(index) {
                let mut inner = state.track.lock();
                inner.recovery.make_well();
                self.settle_well(index, state, &mut inner);
            }
        });
    }
}
