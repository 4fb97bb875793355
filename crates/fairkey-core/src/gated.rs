//! Any strategy behind any gates: [`Gated`].

use std::sync::Arc;

use crate::registry::GateId;
use crate::{Ask, Candidate, Gate, KeySet, Registry, Report, SlotBits, Strategy, Turn};

/// A strategy with gates before it. It is a strategy itself, so it nests.
///
/// Masking, entering and rolling back are written here and in [`Turn`], once, for every gate and
/// every strategy.
#[derive(Debug)]
pub struct Gated<S> {
    gates: Vec<Guard>,
    inner: S,
}

/// A gate at its place before a strategy.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) id: GateId,
    pub(crate) gate: Arc<dyn Gate>,
    /// What the gate says it has closed; a look at it saves a call of `narrow`.
    closed: Option<Arc<SlotBits>>,
}

impl<S: Strategy> Gated<S> {
    /// Puts no gate before `inner` yet.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            gates: Vec::new(),
            inner,
        }
    }

    /// Puts `gate` behind the gates there are. Gates are asked in this order.
    #[must_use]
    pub fn gate(self, gate: impl Gate + 'static) -> Self {
        self.shared_gate(Arc::new(gate))
    }

    /// Puts a gate of which the caller keeps a handle behind the gates there are. Wherever the
    /// same gate stands in a pool, a call enters it once.
    #[must_use]
    pub fn shared_gate(mut self, gate: Arc<dyn Gate>) -> Self {
        let closed = gate.closed();
        self.gates.push(Guard {
            id: GateId::NONE,
            gate,
            closed,
        });
        self
    }

    /// Returns the strategy behind the gates.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy> Strategy for Gated<S> {
    #[inline]
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        for guard in &self.gates {
            if guard.closed.as_deref().is_some_and(SlotBits::is_empty) {
                continue;
            }
            let offered = turn.len();
            guard.gate.narrow(turn);
            if turn.is_empty() {
                turn.narrowed_away(offered);
                return None;
            }
        }
        loop {
            let key = self.inner.pick(turn)?;
            if !turn.may_end_with(key) {
                // The pool refuses it. To ask again might never end.
                return Some(key);
            }
            if turn.enter_all(&self.gates, key) {
                return Some(key);
            }
        }
    }

    fn attach(&mut self, registry: &mut Registry) {
        // The same gate twice is one gate: the second would be entered for nothing, and its ticket
        // would take the place of the first one's.
        let mut known = Vec::new();
        self.gates.retain_mut(|guard| {
            guard.id = registry.add(&guard.gate);
            let is_new = !known.contains(&guard.id);
            known.push(guard.id);
            is_new
        });
        self.inner.attach(registry);
    }

    fn rekey(&self, keys: &KeySet) {
        // The pool rekeys the gates itself, from the registry.
        self.inner.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.inner.settle(key, report);
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        self.inner.score(key, ask)
    }
}
