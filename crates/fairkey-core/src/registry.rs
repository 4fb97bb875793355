//! The gates of one pool, by number: [`Registry`].

use std::sync::Arc;

use crate::{Gate, Strategy};

/// The number of a gate in its pool. Tickets carry it instead of a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GateId(pub(crate) u16);

impl GateId {
    /// No gate: what a gate is before [`Strategy::attach`] gave it a number.
    pub(crate) const NONE: Self = Self(u16::MAX);
}

/// Where a strategy registers the gates inside it, once, before it is used.
///
/// The pool walks the registered gates to settle calls, to explain, and to reload.
#[derive(Debug, Default)]
pub struct Registry {
    gates: Vec<Arc<dyn Gate>>,
    /// A shared strategy was met, whose gates could not be told their numbers.
    shared: bool,
}

impl Registry {
    pub(crate) fn add(&mut self, gate: &Arc<dyn Gate>) -> GateId {
        // The same gate in two places is one gate: it is entered once per call.
        let same = |known: &Arc<dyn Gate>| std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(gate));
        let at = self.gates.iter().position(same).unwrap_or_else(|| {
            self.gates.push(Arc::clone(gate));
            self.gates.len() - 1
        });
        GateId(u16::try_from(at).unwrap_or(u16::MAX))
    }

    /// Registers what is inside `strategy`, and returns the gates. What a pool does at the start,
    /// for tests of wrappers.
    pub fn of(strategy: &mut dyn Strategy) -> Vec<Arc<dyn Gate>> {
        Self::filled_by(strategy).gates
    }

    pub(crate) fn filled_by(strategy: &mut dyn Strategy) -> Self {
        let mut registry = Self::default();
        strategy.attach(&mut registry);
        registry
    }

    /// Notes that a strategy is shared, so that gates inside it cannot be told their numbers.
    pub(crate) fn meet_shared(&mut self) {
        self.shared = true;
    }

    pub(crate) fn met_shared(&self) -> bool {
        self.shared
    }

    pub(crate) fn into_gates(self) -> Vec<Arc<dyn Gate>> {
        self.gates
    }
}
