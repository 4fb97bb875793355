//! A model, or one provider at a model, taken out for all keys: [`ModelBreaker`].

mod config;
mod evidence;
mod table;
mod ticket;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use fairkey_core::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, lock};
use fairkey_core::{
    Ask, At, Candidate, Denied, Detail, FaultKind, Gate, KeySet, Outcome, Report, Retry, Scope,
    Scopes, Seeds, SlotBits, Ticket, Timestamp, Turn,
};

use self::config::Verdict;
use self::table::Table;
use self::ticket::{Half, Halves};
use crate::Status;
use crate::recovery::{Course, Heard, Step};
use crate::window::Slice;

pub use self::config::{ModelBreakerConfig, ModelBreakerConfigError};
pub use self::evidence::ModelStatus;

/// Closes a model, or one provider at a model, after their faults: for every key, since changing
/// keys cures nothing.
///
/// A report does not say which model it is of, so this gate hears none: whoever reads the faults
/// says [`fault`](Self::fault), with the model and, where the fault names one, the provider.
/// Successes it learns by itself, from the calls that passed it; which provider served one it does
/// not know unless it is told ([`success`](Self::success)) or the ask was pinned to one.
///
/// - **A hint** closes until its time, capped by kind. Other failures count in a sliding window, by
///   the rules of a [`SlidingWindowBreaker`](crate::SlidingWindowBreaker). What is closed comes
///   back as behind one: one probe for all keys, then a ramp.
/// - **An ask for a model** is refused while the model is closed. While only providers are, it is
///   not: the upstream routes around them, and [`closed_providers`](Self::closed_providers) says
///   what to leave out. An ask that is pinned to providers
///   ([`Ask::with_providers`](fairkey_core::Ask::with_providers)) is refused while all of them are
///   closed.
/// - **Escalation**: when several providers of a model fail, one after the other and without any
///   success of the model in between, the model is closed, until the first of them comes back. So
///   it is when a call that began while a provider was closed meets that provider again: the
///   upstream has no way around it.
///
/// It refuses by closing the turn ([`Turn::close`]), with [`Scope::Model`] or [`Scope::Provider`]:
/// a matter for another model or for waiting, never for another key.
///
/// What it knows is bounded: so many models and providers, of which the one that was of no use for
/// longest makes room. While nothing is known of any model, a call costs it one load.
#[derive(Debug)]
pub struct ModelBreaker {
    config: ModelBreakerConfig,
    slice: Slice,
    course: Course,
    table: Mutex<Table>,
    /// How many entries the table has.
    known: AtomicUsize,
    /// Which entries are not well.
    special: Arc<SlotBits>,
    hasher: RandomState,
    seeds: Seeds,
}

impl ModelBreaker {
    /// Makes a breaker that knows of no model.
    ///
    /// # Panics
    ///
    /// Where [`ModelBreakerConfig::check`] has an objection; call it first where settings come
    /// from outside.
    #[must_use]
    pub fn new(config: ModelBreakerConfig) -> Self {
        if let Err(error) = config.check() {
            panic!("{error}");
        }
        let special = SlotBits::new();
        special.grow(config.entries);
        Self {
            slice: Slice::of(config.rules.window),
            course: config.rules.course(),
            table: Mutex::new(Table::new(config.entries)),
            known: AtomicUsize::new(0),
            special: Arc::new(special),
            hasher: RandomState::new(),
            seeds: Seeds::new(RandomState::new().hash_one(())),
            config,
        }
    }

    /// Seeds the jitter; by default the seed is the process's own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::new(seed);
        self
    }

    /// Hears that a call of `model`, which began at `begun`, failed at `now` by the fault of the
    /// model, or of `provider` at it. To be told before the call's lease ends.
    ///
    /// Names longer than 256 bytes are not remembered.
    pub fn fault(
        &self,
        model: &str,
        provider: Option<&str>,
        kind: FaultKind,
        retry: Retry,
        begun: Timestamp,
        now: Timestamp,
    ) {
        let mut table = self.table();
        let Some((of_model, is_new)) = self.intern(&mut table, model, None, None, now) else {
            return;
        };
        // Of calls that began before the model was known, only failures are heard: no part of them
        // can be told.
        let counts = is_new || begun >= table[of_model].known_since;
        let Some(provider) = provider else {
            self.meet(&mut table, of_model, kind, retry, (begun, counts), now);
            return;
        };
        if let Some((of_provider, _)) =
            self.intern(&mut table, model, Some(provider), Some(of_model), now)
        {
            let entry = &table[of_provider];
            let met_again = entry.is_out(now) && begun >= entry.told;
            // Which of its calls succeeded is mostly unknown: a run of failures counts.
            self.meet(&mut table, of_provider, kind, retry, (begun, true), now);
            if counts {
                let of = (of_model, of_provider);
                self.escalate(&mut table, of, met_again, kind, begun, now);
            }
        }
    }

    /// Hears that a call of `model`, which began at `begun`, was served by `provider`. Optional:
    /// without it a provider comes back by the successes of calls that are pinned to it, and by
    /// time.
    pub fn success(&self, model: &str, provider: &str, begun: Timestamp, now: Timestamp) {
        if !self.is_told_of_any() {
            return;
        }
        let mut table = self.table();
        if let Some(index) = self.find(&table, model, None) {
            let entry = &mut table[index];
            if begun >= entry.told {
                entry.failing.clear();
                let step = entry.recovery.proven(self.course);
                self.carry_out(&mut table, index, step, now);
            }
        }
        if let Some(index) = self.find(&table, model, Some(provider)) {
            let entry = &mut table[index];
            if entry.recovery.is_well() {
                entry.count(self.slice, false, now);
            } else if begun >= entry.told {
                let step = entry.recovery.proven(self.course);
                self.carry_out(&mut table, index, step, now);
            }
        }
    }

    /// Returns whether it has been told of any model: until then, what succeeds need not be told.
    pub fn is_told_of_any(&self) -> bool {
        // Relaxed: who has just told of a fault is heard by the next call.
        self.known.load(Ordering::Relaxed) > 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    fn hash(&self, model: &str, provider: Option<&str>) -> u64 {
        self.hasher.hash_one((model, provider))
    }

    fn find(&self, table: &Table, model: &str, provider: Option<&str>) -> Option<usize> {
        table.find(self.hash(model, provider), model, provider)
    }

    /// Finds or makes an entry, which takes no place that is to be `kept`; says which it was.
    /// `None` where the name is too long.
    fn intern(
        &self,
        table: &mut Table,
        model: &str,
        provider: Option<&str>,
        kept: Option<usize>,
        now: Timestamp,
    ) -> Option<(usize, bool)> {
        let hash = self.hash(model, provider);
        if let Some(index) = table.find(hash, model, provider) {
            table[index].useful = now;
            return Some((index, false));
        }
        let index = table.insert(hash, (model, provider), kept, now)?;
        // What was here is gone, and what is here now is well.
        self.special.remove(index);
        self.known.store(table.len(), Ordering::Relaxed);
        Some((index, true))
    }

    /// Counts a fault of an entry, or acts on its hint.
    fn meet(
        &self,
        table: &mut Table,
        index: usize,
        kind: FaultKind,
        retry: Retry,
        (begun, counts): (Timestamp, bool),
        now: Timestamp,
    ) {
        let entry = &mut table[index];
        let is_stale = begun < entry.told;
        match self.config.verdict(kind, retry, now) {
            // A hint is from now, whenever the call began.
            Verdict::Until(until) => {
                let is_again = !is_stale && !entry.is_out(now);
                entry.trips = entry.trips.saturating_add(u32::from(is_again));
                self.close(table, index, until, kind, now);
            }
            Verdict::Trip if !is_stale && !entry.is_out(now) => self.trip(table, index, kind, now),
            Verdict::Count if entry.recovery.is_well() && counts => {
                let lengthens = kind != FaultKind::Throttled;
                let (run, counts) = entry.count_failure(self.slice, lengthens, now);
                if self.config.rules.trips(run, counts) {
                    self.trip(table, index, kind, now);
                }
            }
            // It was on trial, by this call or by one that the upstream has routed there anyway.
            Verdict::Count if !is_stale && !entry.recovery.is_well() && !entry.is_out(now) => {
                self.trip(table, index, kind, now);
            }
            Verdict::Trip | Verdict::Count | Verdict::Nothing => {}
        }
    }

    /// Closes a model whose providers fail one after the other.
    fn escalate(
        &self,
        table: &mut Table,
        (of_model, of_provider): (usize, usize),
        met_again: bool,
        kind: FaultKind,
        begun: Timestamp,
        now: Timestamp,
    ) {
        let hash = table[of_provider].hash;
        let entry = &mut table[of_model];
        if !entry.recovery.is_well() {
            // On trial: the probe of a model that has been closed met another provider's fault.
            if begun >= entry.told && !entry.is_out(now) {
                self.trip(table, of_model, kind, now);
            }
            return;
        }
        let is_known = entry.failing.contains(&hash);
        if !is_known {
            entry.failing.push(hash);
        }
        let most = self.config.failing_providers as usize;
        // A call that began when the provider was out met it again, and no call succeeded since:
        // the upstream has nobody else for the model.
        let no_way_round = met_again && is_known;
        if most == 0 || (entry.failing.len() < most && !no_way_round) {
            return;
        }
        let failing = std::mem::take(&mut entry.failing);
        let back = (table.iter())
            .filter(|entry| failing.contains(&entry.hash) && entry.is_out(now))
            .filter_map(|entry| entry.recovery.out_until())
            .min();
        match back {
            Some(until) => {
                table[of_model].trips += 1;
                self.close(table, of_model, until, kind, now);
            }
            None => self.trip(table, of_model, kind, now),
        }
    }

    fn trip(&self, table: &mut Table, index: usize, kind: FaultKind, now: Timestamp) {
        let entry = &mut table[index];
        entry.trips = entry.trips.saturating_add(1);
        let wait = (self.config.rules).open_for(entry.trips, self.seeds.draw().unit());
        self.close(table, index, now + wait, kind, now);
    }

    /// Closes until a time; of two times the later one counts.
    fn close(
        &self,
        table: &mut Table,
        index: usize,
        until: Timestamp,
        kind: FaultKind,
        now: Timestamp,
    ) {
        let entry = &mut table[index];
        if until <= now {
            return;
        }
        (entry.told, entry.useful) = (now, now);
        if entry.is_out(now) {
            if entry.recovery.out_until().is_some_and(|end| until > end) {
                entry.recovery.set_until(until);
                entry.kind = Some(kind);
            }
            return;
        }
        entry.recovery.take_out(until, now);
        entry.kind = Some(kind);
        entry.run = 0;
        entry.failing.clear();
        self.special.insert(index);
    }

    fn settle_well(&self, table: &mut Table, index: usize) {
        let entry = &mut table[index];
        (entry.trips, entry.run, entry.kind) = (0, 0, None);
        entry.failing.clear();
        self.special.remove(index);
    }

    fn carry_out(&self, table: &mut Table, index: usize, step: Step, now: Timestamp) {
        let entry = &mut table[index];
        entry.useful = now;
        match step {
            Step::Well => self.settle_well(table, index),
            Step::Proven => entry.failing.clear(),
            Step::Same => {}
            Step::Failed => {
                let kind = entry.kind.unwrap_or(FaultKind::Failed);
                self.trip(table, index, kind, now);
            }
        }
    }

    /// Tells whether an ask may pass, and which entries its ticket is to name.
    fn look(&self, table: &Table, ask: &Ask<'_>, now: Timestamp) -> Result<Found, Denied> {
        let Some(model) = ask.model else {
            return Ok(Found::default());
        };
        let of_model = self.find(table, model, None);
        if let Some(index) = of_model {
            table[index].recovery.admit(Scope::Model, now)?;
        }
        let found = |of_provider| Found {
            of_model,
            of_provider,
        };
        let (mut on_trial, mut refusal) = (None, None);
        for provider in ask.providers {
            // Of whom nothing is known, nothing is held against.
            let Some(index) = self.find(table, model, Some(provider)) else {
                return Ok(found(None));
            };
            let recovery = &table[index].recovery;
            match recovery.admit(Scope::Provider, now) {
                // It can serve the call; whether it does is known where no other may.
                Ok(()) if recovery.is_well() => {
                    return Ok(found((ask.providers.len() == 1).then_some(index)));
                }
                Ok(()) => on_trial = on_trial.or(Some(index)),
                Err(denied) => {
                    refusal = Some(refusal.map_or(denied, |known| sooner(known, denied)));
                }
            }
        }
        match (on_trial, refusal) {
            (None, Some(denied)) => Err(denied),
            (of_provider, _) => Ok(found(of_provider)),
        }
    }

    /// Acts on one half of a ticket.
    fn settle(
        &self,
        table: &mut Table,
        half: Half,
        heard: Heard,
        had_content: bool,
        now: Timestamp,
    ) {
        let Some(index) = half.index() else {
            return;
        };
        let Some(entry) = table.get_mut(index) else {
            return;
        };
        let Some(word) = half.word(entry.recovery.generation()) else {
            return;
        };
        if word.is_well() {
            if heard == Heard::Success {
                entry.count(self.slice, false, now);
                entry.failing.clear();
            }
            return;
        }
        let step = entry.recovery.leave(word, heard, had_content, self.course);
        self.carry_out(table, index, step, now);
    }
}

/// The entries that an ask is about.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    of_model: Option<usize>,
    of_provider: Option<usize>,
}

/// Of two refusals, of which the end of either is enough, makes the one to wait for.
fn sooner(one: Denied, other: Denied) -> Denied {
    let mut first = match (one.until, other.until) {
        (Some(a), Some(b)) if b < a => other,
        (None, Some(_)) => other,
        _ => one,
    };
    first.may_open_sooner = one.may_open_sooner || other.may_open_sooner;
    first
}

impl Gate for ModelBreaker {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.special.is_empty() {
            return Ok(());
        }
        self.look(&self.table(), at.ask, at.now).map(drop)
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.special.is_empty() || turn.is_empty() {
            return;
        }
        let looked = self.look(&self.table(), turn.ask(), turn.now());
        if let Err(denied) = looked {
            turn.close(denied);
        }
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        // Relaxed: who has just told of a fault is heard by the next call.
        if self.known.load(Ordering::Relaxed) == 0 {
            return Ok(Ticket::default());
        }
        let mut table = self.table();
        let found = self.look(&table, at.ask, at.now)?;
        let mut enter = |index: Option<usize>| match index {
            None => Half::NONE,
            Some(index) => {
                let entry = &mut table[index];
                entry.useful = at.now;
                Half::new(index, entry.recovery.enter(at.now, self.course))
            }
        };
        let halves = Halves {
            of_model: enter(found.of_model),
            of_provider: enter(found.of_provider),
        };
        // A look at one more entry keeps what nobody asks for from staying for ever.
        let kept = self.config.rules.window;
        if table.forget_one(at.now, kept) {
            self.known.store(table.len(), Ordering::Relaxed);
        }
        Ok(halves.into())
    }

    fn first_content(&self, _: Candidate<'_>, ticket: Ticket, at: Timestamp) {
        let halves = Halves::from(ticket);
        if halves.is_usual() {
            return;
        }
        let mut table = self.table();
        for half in halves.both() {
            let index = half.index();
            let entry = index.and_then(|index| table.get_mut(index));
            if let (Some(index), Some(entry)) = (index, entry)
                && let Some(word) = half.word(entry.recovery.generation())
            {
                let step = entry.recovery.first_content(word, self.course);
                self.carry_out(&mut table, index, step, at);
            }
        }
    }

    fn leave(&self, _: Candidate<'_>, ticket: Ticket, report: &Report) {
        if ticket == Ticket::default() {
            return;
        }
        // Its faults were told before, with the model's name.
        let heard = match report.outcome {
            Outcome::Success => Heard::Success,
            _ => Heard::Neutral,
        };
        let had_content = report.first_content.is_some();
        let mut table = self.table();
        for half in Halves::from(ticket).both() {
            self.settle(&mut table, half, heard, had_content, report.ended);
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.special))
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        let table = self.table();
        let Some(model) = at.ask.model else {
            return Detail::default();
        };
        let names = std::iter::once(None).chain(at.ask.providers.iter().map(Some));
        let status = names
            .filter_map(|provider| self.find(&table, model, provider.map(String::as_str)))
            .map(|index| table[index].status(at.now))
            .find(|status| !status.is_well());
        status.unwrap_or(Status::WELL).detail()
    }

    fn rekey(&self, _: &KeySet) {}
}
