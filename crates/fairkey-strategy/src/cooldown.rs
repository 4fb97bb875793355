//! Out until a time: [`Cooldown`].

mod config;
mod evidence;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use fairkey_core::{
    Ask, At, Candidate, Denied, Detail, FaultKind, Gate, KeySet, Outcome, Report, Retry, Scope,
    Scopes, Seeds, SlotBits, Slots, Ticket, Timestamp, Turn,
};

use self::config::Rest;
use crate::recovery::{Course, Heard, Inner, Step, Track, Word, jittered};
use crate::{Group, Status};

pub use self::config::CooldownConfig;
pub use self::evidence::{Due, Why};

/// Closes a key, an account, or all keys from a fault of their scope until the time that the fault
/// names, and opens on evidence.
///
/// - **The time**: that of the fault, capped by its kind ([`CooldownConfig`]). Where it names none,
///   a schedule of our own, which doubles with each closing that follows another without a success
///   in between. A cooldown never shrinks without evidence: of two reasons the later end counts,
///   and the success of a call that began before says nothing.
/// - **When it is over**, one call is let through as a probe, and when that has succeeded load
///   comes back in steps, as behind a [`SlidingWindowBreaker`](crate::SlidingWindowBreaker): a
///   stamp is a promise, not yet a fact, and all who waited for it would come at once. A probe that
///   says nothing, being given up or failing by somebody else's fault, hands its permit on.
/// - **Evidence** that costs no tokens may come from a checker, at any time: see
///   [`due`](Self::due), [`confirm`](Self::confirm), [`close_until`](Self::close_until). Nothing
///   depends on there being one.
///
/// What is used up or refused is *deselected* until a stamp; that is no trip of a breaker and
/// needs no second failure.
#[derive(Debug)]
pub struct Cooldown {
    group: Group,
    /// Whether it stands before calls of free models only.
    free_only: bool,
    config: CooldownConfig,
    course: Course,
    tracks: Slots<Track<Closing>>,
    /// Who is not open: each of them needs a look.
    closed: Arc<SlotBits>,
    seeds: Seeds,
}

/// What a cooldown knows of one group beside where it stands.
#[derive(Clone, Copy, Debug, Default)]
struct Closing {
    /// When its time is over; a checker may be waited for after it.
    end: Timestamp,
    /// When that was said last.
    told: Timestamp,
    kind: Option<FaultKind>,
    /// Whether the end is somebody's word, and not our schedule.
    is_stamp: bool,
    /// Closings in a row without a success in between.
    in_a_row: u32,
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
            free_only: false,
            course: config.course(),
            config,
            tracks: Slots::new(),
            closed: Arc::new(SlotBits::new()),
            seeds: Seeds::new(RandomState::new().hash_one(())),
        }
    }

    /// Cools the free models of each account, and nothing else of it: their quota is their own.
    ///
    /// A report does not say which quota was meant, so it hears none: whoever reads the refusal
    /// says [`fault`](Self::fault), and makes the call neutral to all other gates. It stands only
    /// before asks whose model [is free by its name](is_free_model).
    #[must_use]
    pub fn of_free_models(config: CooldownConfig) -> Self {
        Self {
            free_only: true,
            ..Self::per(Group::Account, config)
        }
    }

    /// Seeds the jitter; by default the seed is the process's own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seeds = Seeds::new(seed);
        self
    }

    /// Closes the group that `key` belongs to for a fault that no report tells it of. `begun` is
    /// when the call began that met it.
    pub fn fault(
        &self,
        key: Candidate<'_>,
        kind: FaultKind,
        retry: Retry,
        begun: Timestamp,
        now: Timestamp,
    ) {
        let index = self.group.index(key);
        self.meet(index, kind, retry, now, |inner| begun < inner.more.told);
    }

    /// Returns whether it stands before such an ask at all.
    fn concerns(&self, ask: &Ask<'_>) -> bool {
        !self.free_only || ask.model.is_some_and(is_free_model)
    }

    fn look(&self, index: usize, now: Timestamp) -> Result<(), Denied> {
        match self.tracks.get(index) {
            Some(track) => track.look(self.group.scope(), now),
            None => Ok(()),
        }
    }

    /// Closes for a fault, if it is one that closes; says whether it is. A straggler's fault counts
    /// as any other, since it is from now, but it is no sign that the last rest was too short.
    fn meet(
        &self,
        index: usize,
        kind: FaultKind,
        retry: Retry,
        now: Timestamp,
        is_straggler: impl Fn(&Inner<Closing>) -> bool,
    ) -> bool {
        let Some(rest) = self.config.closes_for(kind, retry, now) else {
            return false;
        };
        let Some(track) = self.tracks.get(index) else {
            return false;
        };
        let mut inner = track.lock();
        let is_out = inner.recovery.out_until().is_some_and(|until| now < until);
        let is_again = !is_out && (inner.recovery.is_well() || !is_straggler(&inner));
        inner.more.in_a_row = inner.more.in_a_row.saturating_add(u32::from(is_again));
        let (end, is_stamp) = match rest {
            Rest::Until(end) => (end, true),
            Rest::UntilEvidence(end) => (end, false),
            Rest::ForGood => (Timestamp::MAX, false),
            Rest::Schedule { first, longest } => {
                let doublings = inner.more.in_a_row.saturating_sub(1).min(31);
                let full = first.saturating_mul(1 << doublings).min(longest.max(first));
                let part = self.seeds.draw().unit();
                (
                    now + jittered(full, self.config.jitter.clamp(0.0, 1.0), part),
                    false,
                )
            }
        };
        self.close(index, track, &mut inner, (end, is_stamp, kind), now);
        true
    }

    /// Closes until a time; of two times the later one counts.
    fn close(
        &self,
        index: usize,
        track: &Track<Closing>,
        inner: &mut Inner<Closing>,
        (end, is_stamp, kind): (Timestamp, bool, FaultKind),
        now: Timestamp,
    ) {
        inner.more.told = now;
        let until = end + self.config.check_wait;
        let is_out = inner.recovery.out_until().is_some_and(|until| now < until);
        if is_out && end <= inner.more.end {
            return;
        }
        inner.more = Closing {
            end,
            is_stamp,
            kind: Some(kind),
            ..inner.more
        };
        if is_out {
            inner.recovery.set_until(until);
        } else {
            inner.recovery.take_out(until, now);
        }
        track.publish(inner);
        // After it, so that whoever sees the bit sees the end.
        self.closed.insert(index);
    }

    fn open(&self, index: usize, track: &Track<Closing>, inner: &mut Inner<Closing>) {
        inner.more = Closing::default();
        track.publish(inner);
        self.closed.remove_unless(index, || !track.word().is_well());
    }

    #[cold]
    fn enter_with_some_closed(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if !self.concerns(at.ask) {
            return Ok(Ticket::default());
        }
        match self.tracks.get(self.group.index(at.key)) {
            Some(track) => track.enter(self.group.scope(), at.now, self.course),
            None => Ok(Ticket::default()),
        }
    }

    /// Learns from the end of a call that failed, or that passed while its group was not open.
    #[cold]
    fn learn(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let (index, ticket) = (self.group.index(key), Word(ticket.0));
        if let Outcome::Fault { kind, retry, .. } = report.outcome {
            let is_straggler = |inner: &Inner<Closing>| {
                ticket.is_well() || ticket.generation() != inner.recovery.generation()
            };
            if self.meet(index, kind, retry, report.ended, is_straggler) {
                return;
            }
        }
        if ticket.is_well() {
            return;
        }
        if let Some(track) = self.tracks.get(index) {
            // What closes nothing is a breaker's work, and tells nothing of what is waited for.
            let heard = match report.outcome {
                Outcome::Success => Heard::Success,
                _ => Heard::Neutral,
            };
            let had_content = report.first_content.is_some();
            let mut inner = track.lock();
            let step = inner
                .recovery
                .leave(ticket, heard, had_content, self.course);
            self.carry_out(step, index, track, &mut inner);
        }
    }

    /// Acts on what came of a call that passed while it was not open.
    fn carry_out(
        &self,
        step: Step,
        index: usize,
        track: &Track<Closing>,
        inner: &mut Inner<Closing>,
    ) {
        match step {
            Step::Well => self.open(index, track, inner),
            Step::Proven => {
                inner.more.in_a_row = 0;
                track.publish(inner);
            }
            Step::Same | Step::Failed => track.publish(inner),
        }
    }
}

/// Tells whether a model's name says that it is free of charge: `vendor/name:free`, with or
/// without a preset, and the router over all of these, `openrouter/free`.
#[must_use]
pub fn is_free_model(model: &str) -> bool {
    // Selections ask this: to make a searcher for text takes as long as half of one, so it is made
    // for the few names only that may have a preset.
    let name = if model.as_bytes().contains(&b'@') {
        model.split("@preset/").next().unwrap_or(model)
    } else {
        model
    };
    name.ends_with(":free") || name == "openrouter/free"
}

impl Gate for Cooldown {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.concerns(at.ask) {
            self.look(self.group.index(at.key), at.now)
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.closed.is_empty() || !self.concerns(turn.ask()) {
            return;
        }
        let now = turn.now();
        self.group.narrow(
            turn,
            |word| self.closed.word(word),
            |index| self.look(index, now),
        );
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if self.closed.is_empty() {
            Ok(Ticket::default())
        } else {
            self.enter_with_some_closed(at)
        }
    }

    fn first_content(&self, key: Candidate<'_>, ticket: Ticket, _: Timestamp) {
        let (index, ticket) = (self.group.index(key), Word(ticket.0));
        if let (false, Some(track)) = (ticket.is_well(), self.tracks.get(index)) {
            let mut inner = track.lock();
            let step = inner.recovery.first_content(ticket, self.course);
            self.carry_out(step, index, track, &mut inner);
        }
    }

    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        // Of a success that began while all was well there is nothing to learn, and nothing was
        // reserved for it.
        if !Word(ticket.0).is_well() || matches!(report.outcome, Outcome::Fault { .. }) {
            self.learn(key, ticket, report);
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.closed))
    }

    fn hears(&self) -> Scopes {
        match self.group {
            _ if self.free_only => Scopes::NONE,
            // A budget is shared by keys that nobody has listed; each finds out for itself.
            Group::Key => Scopes::of(Scope::Key).and(Scope::Budget),
            other => Scopes::of(other.scope()),
        }
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        self.status(at.key, at.now).detail()
    }

    fn rekey(&self, keys: &KeySet) {
        let len = self.group.len(keys);
        self.tracks.grow(len, || Track::new(Closing::default()));
        self.closed.grow(len);
        self.group.for_each_fresh(keys, |index| self.open_at(index));
    }

    fn name(&self) -> &'static str {
        match self.group {
            _ if self.free_only => "Cooldown(free models)",
            Group::Key => "Cooldown(key)",
            Group::Account => "Cooldown(account)",
            Group::Service => "Cooldown(service)",
            Group::Network => "Cooldown(network)",
        }
    }
}

/// What a cooldown says of those that are closed.
impl Cooldown {
    /// Returns how the group that `key` belongs to is.
    #[must_use]
    pub fn status(&self, key: Candidate<'_>, now: Timestamp) -> Status {
        match self.tracks.get(self.group.index(key)) {
            Some(track) => self.status_of(&track.lock(), now),
            None => Status::WELL,
        }
    }

    /// Returns until when the group that `key` belongs to is closed, as last set, even if that is
    /// over: `None` where it is open without any condition, [`Timestamp::MAX`] where it is closed
    /// for good.
    #[must_use]
    pub fn until(&self, key: Candidate<'_>) -> Option<Timestamp> {
        let inner = self.tracks.get(self.group.index(key))?.lock();
        (!inner.recovery.is_well()).then_some(inner.more.end)
    }
}
