//! The gates that a call has entered: [`Tickets`].

use std::sync::Arc;

use crate::registry::GateId;
use crate::{Candidate, Gate, KeySet, Outcome, Report, Slot, Ticket};

/// As many gates as a call enters without allocating.
const INLINE: usize = 4;

/// The gates that a turn has entered and, after it, those that its lease must leave.
///
/// Of one key, nearly always, and of few gates: those lie in place. What goes beyond, such as the
/// tickets of a second key for a strategy that asks twice, lies in a vector.
#[derive(Debug)]
pub(crate) struct Tickets {
    len: usize,
    slot: Slot,
    gates: [GateId; INLINE],
    tickets: [Ticket; INLINE],
    more: Vec<(GateId, Slot, Ticket)>,
}

impl Tickets {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            len: 0,
            slot: Slot(u32::MAX),
            gates: [GateId::NONE; INLINE],
            tickets: [Ticket(0); INLINE],
            more: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0 && self.more.is_empty()
    }

    #[inline]
    pub(crate) fn push(&mut self, gate: GateId, slot: Slot, ticket: Ticket) {
        if self.len == 0 {
            self.slot = slot;
        }
        if self.len < INLINE && self.slot == slot {
            self.gates[self.len] = gate;
            self.tickets[self.len] = ticket;
            self.len += 1;
        } else {
            self.more.push((gate, slot, ticket));
        }
    }

    pub(crate) fn has(&self, gate: GateId, slot: Slot) -> bool {
        (self.slot == slot && self.gates[..self.len].contains(&gate))
            || self
                .more
                .iter()
                .any(|more| more.0 == gate && more.1 == slot)
    }

    /// Returns whether every ticket is of `slot`.
    #[inline]
    pub(crate) fn only_of(&self, slot: Slot) -> bool {
        (self.len == 0 || self.slot == slot)
            && (self.more.is_empty() || self.more.iter().all(|more| more.1 == slot))
    }

    /// Takes the last ticket out.
    #[inline]
    fn pop(&mut self) -> Option<(GateId, Slot, Ticket)> {
        if !self.more.is_empty() {
            return self.more.pop();
        }
        let last = self.len.checked_sub(1)?;
        self.len = last;
        Some((*self.gates.get(last)?, self.slot, *self.tickets.get(last)?))
    }

    /// Leaves the gates entered for the slots that `which` selects, and keeps the others.
    #[cold]
    pub(crate) fn leave(
        &mut self,
        gates: &[Arc<dyn Gate>],
        keys: &KeySet,
        report: &Report,
        which: impl Fn(Slot) -> bool,
    ) {
        let mut kept = Vec::new();
        while let Some(entered) = self.pop() {
            if which(entered.1) {
                leave_one(gates, keys, entered, report);
            } else {
                kept.push(entered);
            }
        }
        for (gate, slot, ticket) in kept.into_iter().rev() {
            self.push(gate, slot, ticket);
        }
    }

    /// Leaves every gate, last in first out. Each ticket is out before its gate is told, so that
    /// a gate that panics is not told twice.
    #[inline]
    pub(crate) fn leave_all(&mut self, gates: &[Arc<dyn Gate>], keys: &KeySet, report: &Report) {
        while let Some(entered) = self.more.pop() {
            leave_one(gates, keys, entered, report);
        }
        while self.len > 0 {
            self.len -= 1;
            let at = self.len % INLINE;
            leave_one(
                gates,
                keys,
                (self.gates[at], self.slot, self.tickets[at]),
                report,
            );
        }
    }
}

/// Tells one gate the end of a call, filtered to what it hears.
#[inline]
fn leave_one(
    gates: &[Arc<dyn Gate>],
    keys: &KeySet,
    (gate, slot, ticket): (GateId, Slot, Ticket),
    report: &Report,
) {
    let Some(gate) = gates.get(usize::from(gate.0)) else {
        return;
    };
    let key = Candidate::new(keys, slot);
    match report.outcome.scope() {
        Some(scope) if !gate.hears().contains(scope) => {
            gate.leave(
                key,
                ticket,
                &Report {
                    outcome: Outcome::Neutral,
                    ..*report
                },
            );
        }
        _ => gate.leave(key, ticket, report),
    }
}
