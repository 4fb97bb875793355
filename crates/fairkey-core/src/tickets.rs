//! The gates that a call has entered: [`Tickets`].

use crate::registry::GateId;
use crate::{Candidate, Gate, KeySet, Report, Slot, Ticket};
use std::sync::Arc;

/// One entered gate.
#[derive(Clone, Copy, Debug)]
struct Entered {
    gate: GateId,
    slot: Slot,
    ticket: Ticket,
}

const NONE: Entered = Entered {
    gate: GateId::NONE,
    slot: Slot(u32::MAX),
    ticket: Ticket(0),
};

/// As many gates as a call enters without allocating.
const INLINE: usize = 6;

/// The gates that a turn has entered and, after it, those that its lease must leave.
///
/// Of several keys during a turn, since a strategy may ask twice; of one key in a lease.
#[derive(Debug)]
pub(crate) struct Tickets {
    len: usize,
    inline: [Entered; INLINE],
    more: Vec<Entered>,
}

impl Tickets {
    pub(crate) const fn new() -> Self {
        Self {
            len: 0,
            inline: [NONE; INLINE],
            more: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, gate: GateId, slot: Slot, ticket: Ticket) {
        let entered = Entered { gate, slot, ticket };
        match self.inline.get_mut(self.len) {
            Some(free) => *free = entered,
            None => self.more.push(entered),
        }
        self.len += 1;
    }

    pub(crate) fn has(&self, gate: GateId, slot: Slot) -> bool {
        self.iter()
            .any(|entered| entered.gate == gate && entered.slot == slot)
    }

    fn iter(&self) -> impl Iterator<Item = &Entered> {
        self.inline.iter().take(self.len).chain(&self.more)
    }

    /// Leaves the gates entered for keys that `which` selects, last in first out, and keeps the
    /// others. `report` is filtered to what each gate hears.
    pub(crate) fn leave(
        &mut self,
        gates: &[Arc<dyn Gate>],
        keys: &KeySet,
        report: &Report,
        which: impl Fn(Slot) -> bool,
    ) {
        if self.len == 0 {
            return;
        }
        let mut kept = Self::new();
        while let Some(Entered { gate, slot, ticket }) = self.pop() {
            if !which(slot) {
                kept.push(gate, slot, ticket);
            } else if let Some(gate) = gates.get(usize::from(gate.0)) {
                let outcome = report.outcome.heard_by(gate.hears());
                gate.leave(
                    Candidate::new(keys, slot),
                    ticket,
                    &Report { outcome, ..*report },
                );
            }
        }
        // In the order they were entered.
        while let Some(Entered { gate, slot, ticket }) = kept.pop() {
            self.push(gate, slot, ticket);
        }
    }

    /// Leaves every gate, last in first out.
    pub(crate) fn leave_all(&mut self, gates: &[Arc<dyn Gate>], keys: &KeySet, report: &Report) {
        while let Some(Entered { gate, slot, ticket }) = self.pop() {
            if let Some(gate) = gates.get(usize::from(gate.0)) {
                let outcome = report.outcome.heard_by(gate.hears());
                gate.leave(
                    Candidate::new(keys, slot),
                    ticket,
                    &Report { outcome, ..*report },
                );
            }
        }
    }

    /// Returns whether every ticket is of `slot`.
    pub(crate) fn only_of(&self, slot: Slot) -> bool {
        self.iter().all(|entered| entered.slot == slot)
    }

    fn pop(&mut self) -> Option<Entered> {
        self.len = self.len.checked_sub(1)?;
        Some(
            self.more
                .pop()
                .unwrap_or(self.inline[self.len.min(INLINE - 1)]),
        )
    }
}
