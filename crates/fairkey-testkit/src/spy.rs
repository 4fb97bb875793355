//! Strategies and gates that watch: [`Spy`], [`SpyGate`], and [`Twice`], which asks twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairkey_core::{
    Ask, At, Candidate, Denied, Gate, KeyId, KeySet, Outcome, Registry, Report, Scope, Scopes,
    Strategy, Ticket, Turn,
};

/// A strategy that picks by chance and notes every call of its methods. Clones share the notes.
#[derive(Clone, Debug, Default)]
pub struct Spy {
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    attached: AtomicU64,
    rekeyed: AtomicU64,
    scored: AtomicU64,
    settled: Mutex<Vec<SpyReport>>,
}

/// What a spy was told at the end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpyReport {
    /// The key.
    pub key: KeyId,
    /// How the call ended, as the spy was told.
    pub outcome: Outcome,
}

impl Spy {
    /// Makes a spy that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how often `attach` was called.
    #[must_use]
    pub fn attached(&self) -> u64 {
        self.seen.attached.load(Ordering::SeqCst)
    }

    /// Returns how often `rekey` was called.
    #[must_use]
    pub fn rekeyed(&self) -> u64 {
        self.seen.rekeyed.load(Ordering::SeqCst)
    }

    /// Returns how often `score` was called.
    #[must_use]
    pub fn scored(&self) -> u64 {
        self.seen.scored.load(Ordering::SeqCst)
    }

    /// Returns what `settle` was told, in order.
    #[must_use]
    pub fn settled(&self) -> Vec<SpyReport> {
        lock(&self.seen.settled).clone()
    }
}

impl Strategy for Spy {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.random()
    }

    fn attach(&mut self, _: &mut Registry) {
        self.seen.attached.fetch_add(1, Ordering::SeqCst);
    }

    fn rekey(&self, _: &KeySet) {
        self.seen.rekeyed.fetch_add(1, Ordering::SeqCst);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        lock(&self.seen.settled).push(SpyReport {
            key: key.id().clone(),
            outcome: report.outcome,
        });
    }

    fn score(&self, _: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        self.seen.scored.fetch_add(1, Ordering::SeqCst);
        None
    }
}

/// A gate that notes who enters and who leaves, and refuses whom it is told to.
///
/// `check` admits everybody unless [`SpyGate::bar`] closed the key: a key that is to be refused
/// only at the door is [`SpyGate::refuse`]d.
#[derive(Debug)]
pub struct SpyGate {
    hears: Scopes,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    barred: Vec<(KeyId, Denied)>,
    refused: Vec<KeyId>,
    inside: Vec<(KeyId, Ticket)>,
    entered: u64,
    strangers: u64,
    left: Vec<SpyReport>,
    rekeyed: u64,
}

impl Default for SpyGate {
    fn default() -> Self {
        Self::hearing(Scopes::ALL)
    }
}

impl SpyGate {
    /// Makes a gate that hears everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a gate that hears `scopes`.
    #[must_use]
    pub fn hearing(scopes: Scopes) -> Self {
        Self {
            hears: scopes,
            notes: Mutex::default(),
        }
    }

    /// Denies a key from now on, in `check`, `narrow` and `enter`.
    pub fn bar(&self, key: &str, denied: Denied) {
        let mut notes = self.notes();
        notes.barred.retain(|(barred, _)| barred.as_str() != key);
        notes.barred.push((key.into(), denied));
    }

    /// Refuses a key from now on in `enter` only, as if somebody else had been faster.
    pub fn refuse(&self, key: &str) {
        self.notes().refused.push(key.into());
    }

    /// Bars and refuses nobody any more.
    pub fn admit_all(&self) {
        let mut notes = self.notes();
        notes.barred.clear();
        notes.refused.clear();
    }

    /// Returns how often somebody entered.
    #[must_use]
    pub fn entered(&self) -> u64 {
        self.notes().entered
    }

    /// Returns how many are inside: entered, and not left.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.notes().inside.len()
    }

    /// Returns how often somebody left who was not inside: with a ticket that was never given
    /// out, for another key, or for the second time.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.notes().strangers
    }

    /// Returns what `leave` was told, in order.
    #[must_use]
    pub fn left(&self) -> Vec<SpyReport> {
        self.notes().left.clone()
    }

    /// Returns how often `rekey` was called.
    #[must_use]
    pub fn rekeyed(&self) -> u64 {
        self.notes().rekeyed
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }
}

impl Gate for SpyGate {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let notes = self.notes();
        let barred = notes.barred.iter().find(|(key, _)| key == at.key.id());
        match barred {
            Some((_, denied)) if denied.until.is_none_or(|until| at.now < until) => Err(*denied),
            _ => Ok(()),
        }
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        let mut notes = self.notes();
        if notes.refused.contains(at.key.id()) {
            return Err(Denied::for_good(Scope::Local));
        }
        notes.entered += 1;
        let ticket = Ticket(notes.entered);
        notes.inside.push((at.key.id().clone(), ticket));
        Ok(ticket)
    }

    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let mut notes = self.notes();
        let inside =
            (notes.inside.iter()).position(|(id, given)| id == key.id() && *given == ticket);
        match inside {
            Some(at) => drop(notes.inside.swap_remove(at)),
            None => notes.strangers += 1,
        }
        notes.left.push(SpyReport {
            key: key.id().clone(),
            outcome: report.outcome,
        });
    }

    fn hears(&self) -> Scopes {
        self.hears
    }

    fn rekey(&self, _: &KeySet) {
        self.notes().rekeyed += 1;
    }
}

/// A wrapper that asks what is inside twice, and takes the first or the second answer by chance:
/// what a strategy that compares two proposals does. Whatever gates the other proposal entered
/// must be left again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Twice<S>(pub S);

impl<S: Strategy> Strategy for Twice<S> {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let first = self.0.pick(turn)?;
        let Some(second) = self.0.pick(turn) else {
            return Some(first);
        };
        if turn.chance().below(2) == 0 {
            Some(first)
        } else {
            Some(second)
        }
    }

    fn attach(&mut self, registry: &mut Registry) {
        self.0.attach(registry);
    }

    fn rekey(&self, keys: &KeySet) {
        self.0.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.0.settle(key, report);
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        self.0.score(key, ask)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
