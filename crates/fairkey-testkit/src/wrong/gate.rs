//! Gates with a flaw to choose.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{
    At, Candidate, Denied, Gate, KeySet, Outcome, Report, Scope, Scopes, SlotBits, Ticket,
    Timestamp, Turn,
};

/// For how long the gates here close, where nobody says for how long.
const CLOSED_FOR: Duration = Duration::from_secs(10);

/// What is wrong with a [`Cap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapFlaw {
    /// Gives a permit back only when the call succeeded or failed, not when it was given up.
    LeaksOnNeutral,
    /// Counts at `check` already.
    ChecksReserve,
    /// Leaves the decision to `check`, and enters whoever comes.
    EntersUnchecked,
    /// Looks, and takes the permit a moment later: two threads can take the last one.
    LooksThenTakes,
}

/// At most so many calls at a time with each key, with a flaw to choose.
#[derive(Debug)]
pub struct Cap {
    cap: u32,
    flaw: Option<CapFlaw>,
    counts: Mutex<Vec<u32>>,
    /// How many have looked and not left yet, with the flaw of looking first.
    looked: AtomicU32,
}

impl Cap {
    /// Admits `cap` calls at a time.
    #[must_use]
    pub fn new(cap: u32, flaw: Option<CapFlaw>) -> Self {
        Self {
            cap,
            flaw,
            counts: Mutex::default(),
            looked: AtomicU32::new(0),
        }
    }
}

impl Gate for Cap {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let mut counts = lock(&self.counts);
        let count = &mut counts[at.key.slot().index()];
        if *count >= self.cap {
            return Err(Denied::for_good(Scope::Local));
        }
        if self.flaw == Some(CapFlaw::ChecksReserve) {
            *count += 1;
        }
        Ok(())
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if self.flaw == Some(CapFlaw::LooksThenTakes) {
            self.check(at)?;
            // Whoever has looked waits a while for so many more that the cap cannot hold: what
            // happens by chance elsewhere shall happen here.
            self.looked.fetch_add(1, Ordering::SeqCst);
            for _ in 0..200 {
                if self.looked.load(Ordering::SeqCst) > self.cap {
                    break;
                }
                std::thread::yield_now();
            }
        }
        let mut counts = lock(&self.counts);
        let count = &mut counts[at.key.slot().index()];
        let full = *count >= self.cap;
        match self.flaw {
            Some(CapFlaw::EntersUnchecked | CapFlaw::LooksThenTakes) => {}
            _ if full => return Err(Denied::for_good(Scope::Local)),
            _ => {}
        }
        *count += 1;
        Ok(Ticket::default())
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, report: &Report) {
        if self.flaw == Some(CapFlaw::LooksThenTakes) {
            self.looked.fetch_sub(1, Ordering::SeqCst);
        }
        if self.flaw != Some(CapFlaw::LeaksOnNeutral) || report.outcome != Outcome::Neutral {
            let mut counts = lock(&self.counts);
            let count = &mut counts[key.slot().index()];
            *count = count.saturating_sub(1);
        }
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn rekey(&self, keys: &KeySet) {
        let mut counts = lock(&self.counts);
        counts.resize(keys.slots(), 0);
        for slot in keys.fresh() {
            counts[slot.index()] = 0;
        }
    }
}

/// What is wrong with a [`Rest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFlaw {
    /// Takes the latest time named, not the furthest: a short rest cuts a long one off.
    Shrinks,
    /// Says a later time than the one at which it opens.
    OpensEarly,
    /// Says an earlier time than the one at which it opens.
    OpensLate,
    /// Takes nobody out of the turn, and leaves it all to `enter`.
    NarrowsNothing,
    /// Takes every key out of the turn when one is closed.
    NarrowsTooMuch,
    /// Shows an empty set as what it has closed, so that it is never asked to narrow.
    SaysNothingIsClosed,
    /// Closes for faults of anybody.
    HearsEverything,
    /// Closes all keys for the fault of one.
    ClosesAll,
    /// Forgets everything at a reload.
    ForgetsOnReload,
    /// Leaves to a new key what its slot's last owner did.
    Inherits,
}

/// Closes a key after a fault of its own for 10 seconds or as long as the fault says, with a flaw
/// to choose.
#[derive(Debug)]
pub struct Rest {
    flaw: Option<RestFlaw>,
    until: Mutex<Vec<Timestamp>>,
}

impl Rest {
    /// Starts with every key open.
    #[must_use]
    pub fn new(flaw: Option<RestFlaw>) -> Self {
        Self {
            flaw,
            until: Mutex::default(),
        }
    }

    fn has(&self, flaw: RestFlaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Gate for Rest {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let until = lock(&self.until)[at.key.slot().index()];
        let second = Duration::from_secs(1);
        let (opens, says) = match self.flaw {
            Some(RestFlaw::OpensEarly) => (until - second, until),
            Some(RestFlaw::OpensLate) => (until, until - second),
            _ => (until, until),
        };
        if at.now < opens {
            Err(Denied::until(Scope::Key, says))
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        let closed = |at: &At<'_>| self.check(at).is_err();
        match self.flaw {
            Some(RestFlaw::NarrowsNothing) => {}
            Some(RestFlaw::NarrowsTooMuch) => {
                if turn.iter().any(|key| closed(&turn.at(key))) {
                    turn.retain(|_| false);
                }
            }
            _ => turn.retain(|at| !closed(at)),
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        self.has(RestFlaw::SaysNothingIsClosed).then(Arc::default)
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, report: &Report) {
        let Outcome::Fault { retry, .. } = report.outcome else {
            return;
        };
        let end = retry.at(report.ended).unwrap_or(report.ended + CLOSED_FOR);
        let mut all = lock(&self.until);
        let slot = key.slot().index();
        let shrinks = self.has(RestFlaw::Shrinks);
        let later = |until: Timestamp| if shrinks { end } else { until.max(end) };
        if self.has(RestFlaw::ClosesAll) {
            all.iter_mut().for_each(|until| *until = later(*until));
        } else {
            all[slot] = later(all[slot]);
        }
    }

    fn hears(&self) -> Scopes {
        if self.has(RestFlaw::HearsEverything) {
            Scopes::ALL
        } else {
            Scopes::of(Scope::Key)
        }
    }

    fn rekey(&self, keys: &KeySet) {
        let mut until = lock(&self.until);
        if self.has(RestFlaw::ForgetsOnReload) {
            until.clear();
        }
        until.resize(keys.slots(), Timestamp::ZERO);
        if !self.has(RestFlaw::Inherits) {
            for slot in keys.fresh() {
                until[slot.index()] = Timestamp::ZERO;
            }
        }
    }
}

/// What is wrong with a [`Prober`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProberFlaw {
    /// Lets everybody in when the time is over.
    ProbesWithMany,
    /// Waits for ever for a probe that was given up.
    LosesTheProbe,
    /// Closes on any success, whenever its call began.
    StragglersClose,
    /// Opens anew on any failure, whenever its call began.
    StragglersTrip,
}

/// Opens after a fault of the key for 10 seconds, then closes again when one probe succeeds; with
/// a flaw to choose.
#[derive(Debug)]
pub struct Prober {
    flaw: Option<ProberFlaw>,
    states: Mutex<Vec<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    generation: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open(Timestamp),
    Probing,
}

impl State {
    fn admits(&self, now: Timestamp) -> Result<(), Denied> {
        match self.phase {
            Phase::Open(until) if now < until => Err(Denied::until(Scope::Key, until)),
            Phase::Probing => Err(Denied::for_good(Scope::Key)),
            _ => Ok(()),
        }
    }
}

impl Prober {
    /// Starts with every key closed, which for a breaker is the healthy state.
    #[must_use]
    pub fn new(flaw: Option<ProberFlaw>) -> Self {
        Self {
            flaw,
            states: Mutex::default(),
        }
    }

    fn has(&self, flaw: ProberFlaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Gate for Prober {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        lock(&self.states)[at.key.slot().index()].admits(at.now)
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let state = &mut lock(&self.states)[at.key.slot().index()];
        state.admits(at.now)?;
        if matches!(state.phase, Phase::Open(_)) && !self.has(ProberFlaw::ProbesWithMany) {
            state.phase = Phase::Probing;
            state.generation += 1;
        }
        Ok(Ticket(state.generation))
    }

    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let state = &mut lock(&self.states)[key.slot().index()];
        let late = ticket.0 != state.generation;
        let phase = match report.outcome {
            Outcome::Success if late && !self.has(ProberFlaw::StragglersClose) => return,
            Outcome::Fault { .. } if late && !self.has(ProberFlaw::StragglersTrip) => return,
            Outcome::Success if state.phase == Phase::Closed => return,
            Outcome::Success => Phase::Closed,
            Outcome::Fault { .. } => Phase::Open(report.ended + CLOSED_FOR),
            _ if late || state.phase != Phase::Probing => return,
            _ if self.has(ProberFlaw::LosesTheProbe) => return,
            _ => Phase::Open(report.ended),
        };
        *state = State {
            generation: state.generation + 1,
            phase,
        };
    }

    fn rekey(&self, keys: &KeySet) {
        let mut states = lock(&self.states);
        states.resize(keys.slots(), State::default());
        for slot in keys.fresh() {
            states[slot.index()] = State::default();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
