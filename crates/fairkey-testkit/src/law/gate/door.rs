//! One gate before one stage: what all laws of gates work on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairkey_core::{
    Ask, At, Candidate, Denied, FaultKind, Gate, Gated, KeySet, Outcome, Registry, Report, Retry,
    Scope, Scopes, Strategy, Timestamp, Turn,
};
use proptest::prelude::{Just, prop_oneof};
use proptest::strategy::{BoxedStrategy, Strategy as Generator};

use crate::generate::{AskSpec, KeySpec, Mix, faults, others};
use crate::law::ensure;
use crate::{Stage, Wanted};

/// What makes a gate.
pub(super) type Make<'a> = &'a dyn Fn() -> Arc<dyn Gate>;

/// As many calls at a time as a law tries before it calls a gate unlimited.
pub(super) const MANY: u32 = 40;

/// A stage whose calls all pass one gate.
pub(super) struct Door {
    pub(super) stage: Stage,
    pub(super) gate: Arc<dyn Gate>,
    look: Arc<Mutex<Look>>,
}

/// What a gate says about a key: now, and at times to come.
pub(super) type Profile = Vec<(String, Vec<Result<(), Denied>>)>;

impl Door {
    pub(super) fn new(specs: &[KeySpec], make: Make<'_>) -> Self {
        Self::with(specs, make, |inner| inner)
    }

    /// Puts `more` gates behind the one under test.
    pub(super) fn with(
        specs: &[KeySpec],
        make: Make<'_>,
        more: impl FnOnce(Gated<Wanted>) -> Gated<Wanted>,
    ) -> Self {
        let (gate, look) = (make(), Arc::default());
        let looker = Looker {
            inner: more(Gated::new(Wanted).shared_gate(Arc::clone(&gate))),
            gate: Arc::clone(&gate),
            look: Arc::clone(&look),
        };
        Self {
            stage: Stage::new(specs, looker, &[]),
            gate,
            look,
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.stage.pool().len()
    }

    pub(super) fn check(&self, n: usize) -> Result<(), Denied> {
        self.check_at(n, self.stage.now())
    }

    pub(super) fn check_at(&self, n: usize, now: Timestamp) -> Result<(), Denied> {
        self.stage.check(&*self.gate, n, now)
    }

    /// Asks the gate about every key, now and at times to come.
    pub(super) fn profile(&self) -> Profile {
        let now = self.stage.now();
        let later = [
            0,
            1_000_000_000,
            10_000_000_000,
            60_000_000_000,
            300_000_000_000,
        ]
        .into_iter()
        .chain([3_600, 86_400, 31 * 86_400].map(|seconds| seconds * 1_000_000_000))
        .map(|nanos| now + Duration::from_nanos(nanos));
        let labels: Vec<String> = self
            .stage
            .pool()
            .with_keys(|keys| keys.iter().map(|key| key.id().to_string()).collect());
        (labels.into_iter().enumerate())
            .map(|(n, label)| {
                (
                    label,
                    later.clone().map(|at| self.check_at(n, at)).collect(),
                )
            })
            .collect()
    }

    /// Compares what `narrow` leaves of an offer with what `check` says of each key on it.
    pub(super) fn look(&mut self, ask: &AskSpec) -> Result<(), String> {
        *lock(&self.look) = Look::Armed;
        let selected = self.stage.select(ask)?;
        let look = std::mem::take(&mut *lock(&self.look));
        match look {
            Look::Saw(result) => result,
            // Nothing was offered, so nobody looked.
            Look::Armed | Look::Off => ensure(selected.is_err(), || {
                "a call passed without the strategy having been asked".to_owned()
            }),
        }
    }

    /// Makes calls with the `n`th key fail until it is closed. Returns until when.
    pub(super) fn trip(&mut self, n: usize) -> Result<Timestamp, String> {
        let fault = fault_of(self.gate.hears())?;
        for _ in 0..1_000 {
            match self.check(n) {
                Ok(()) => {
                    let call = self.stage.call(n, fault);
                    call.map_err(|refused| format!("{refused}, and `check` admits it"))?;
                }
                Err(Denied { until, .. }) => {
                    return until.ok_or_else(|| {
                        "it is closed after a fault that waiting cures, without a time".to_owned()
                    });
                }
            }
        }
        Err("a thousand failures do not close it".to_owned())
    }

    /// Returns how many calls at a time each key admits.
    pub(super) fn capacities(&mut self) -> Vec<u32> {
        (0..self.keys())
            .map(|n| self.stage.capacity(n, MANY))
            .collect()
    }

    /// Returns the same for a gate that has seen nothing, of the same keys and at the same time.
    pub(super) fn fresh_capacities(&self, specs: &[KeySpec], make: Make<'_>) -> Vec<u32> {
        let mut fresh = Self::new(specs, make);
        fresh.stage.clock().advance_to(self.stage.now());
        fresh.capacities()
    }
}

/// Returns a failure that a gate which hears `scopes` must count, and that waiting cures.
pub(super) fn fault_of(scopes: Scopes) -> Result<Outcome, String> {
    let mut heard = Scope::ALL
        .into_iter()
        .filter(|scope| scopes.contains(*scope));
    let scope = heard
        .next()
        .ok_or("it hears no scope, so nothing can close it")?;
    Ok(Outcome::fault(scope, FaultKind::Failed).with_retry(Retry::After(Duration::from_secs(5))))
}

/// Everything that calls of a gate that hears `scopes` can end with.
pub(super) fn outcomes(scopes: Scopes) -> BoxedStrategy<Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        1 => Just(Outcome::Neutral),
        4 => faults(scopes),
        1 => faults(others(scopes)),
    ]
    .boxed()
}

/// Everything that callers do, and calls that end with [`outcomes`].
pub(super) fn mix(scopes: Scopes) -> Mix {
    Mix {
        reloads: true,
        ..Mix::of(outcomes(scopes))
    }
}

#[derive(Debug, Default)]
enum Look {
    #[default]
    Off,
    Armed,
    Saw(Result<(), String>),
}

/// Stands before the gate, and on demand compares instead of picking.
#[derive(Debug)]
struct Looker {
    inner: Gated<Wanted>,
    gate: Arc<dyn Gate>,
    look: Arc<Mutex<Look>>,
}

impl Strategy for Looker {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        if matches!(*lock(&self.look), Look::Off) {
            return self.inner.pick(turn);
        }
        let seen = compare(&*self.gate, turn);
        *lock(&self.look) = Look::Saw(seen);
        None
    }

    fn attach(&mut self, registry: &mut Registry) {
        self.inner.attach(registry);
    }

    fn rekey(&self, keys: &KeySet) {
        self.inner.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.inner.settle(key, report);
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        self.inner.score(key, ask)
    }
}

fn compare<'a>(gate: &dyn Gate, turn: &mut Turn<'a>) -> Result<(), String> {
    let (ask, now) = (turn.ask(), turn.now());
    let offered: Vec<Candidate<'a>> = turn.iter().collect();
    let checked: Vec<_> = (offered.into_iter())
        .map(|key| (key, gate.check(&At { key, ask, now })))
        .collect();
    gate.narrow(turn);
    for (key, checked) in checked {
        ensure(turn.offers(key.slot()) == checked.is_ok(), || {
            let left = if turn.offers(key.slot()) {
                "leaves"
            } else {
                "takes out"
            };
            format!(
                "`narrow` {left} {:?}, of which `check` says {checked:?}",
                key.id()
            )
        })?;
    }
    let left = turn.iter().count();
    ensure(left == turn.len(), || {
        format!("the turn counts {} keys and offers {left}", turn.len())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
