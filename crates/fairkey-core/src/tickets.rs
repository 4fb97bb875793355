//! The gates that a call has entered: [`Tickets`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::registry::GateId;
use crate::{Candidate, Gate, KeySet, Outcome, Report, Slot, Ticket, Timestamp};

/// As many gates as a call enters without allocating: the bits of [`Tickets::entered`].
const INLINE: usize = 8;

/// The gates that a turn has entered and, after it, those that its lease must leave.
///
/// Of one key, nearly always, and of few gates: those lie in place, by the number of the gate.
/// What goes beyond, such as the tickets of a second key for a strategy that asks twice, lies in
/// a vector.
#[derive(Debug)]
pub(crate) struct Tickets {
    slot: Slot,
    /// A bit for each gate whose ticket is in `tickets`.
    entered: u8,
    tickets: [Ticket; INLINE],
    more: Vec<(GateId, Slot, Ticket)>,
}

impl Tickets {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            slot: Slot(u32::MAX),
            entered: 0,
            tickets: [Ticket(0); INLINE],
            more: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entered == 0 && self.more.is_empty()
    }

    #[inline]
    pub(crate) fn push(&mut self, gate: GateId, slot: Slot, ticket: Ticket) {
        if self.entered == 0 {
            self.slot = slot;
        }
        match self.tickets.get_mut(usize::from(gate.0)) {
            Some(place) if self.slot == slot => {
                *place = ticket;
                self.entered |= 1 << gate.0;
            }
            _ => self.more.push((gate, slot, ticket)),
        }
    }

    pub(crate) fn has(&self, gate: GateId, slot: Slot) -> bool {
        let here = usize::from(gate.0) < INLINE && self.entered >> gate.0 & 1 == 1;
        (here && self.slot == slot)
            || self
                .more
                .iter()
                .any(|more| more.0 == gate && more.1 == slot)
    }

    /// Returns whether any ticket is of `slot`.
    #[cold]
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        (self.entered != 0 && self.slot == slot) || self.more.iter().any(|more| more.1 == slot)
    }

    /// Returns whether every ticket is of `slot`.
    #[inline]
    pub(crate) fn only_of(&self, slot: Slot) -> bool {
        (self.entered == 0 || self.slot == slot)
            && (self.more.is_empty() || self.more.iter().all(|more| more.1 == slot))
    }

    /// Takes a ticket out.
    fn pop(&mut self) -> Option<(GateId, Slot, Ticket)> {
        if !self.more.is_empty() {
            return self.more.pop();
        }
        let gate = self.entered.checked_ilog2()?;
        self.entered &= !(1 << gate);
        Some((
            GateId(gate as u16),
            self.slot,
            self.tickets[gate as usize % INLINE],
        ))
    }

    /// Leaves the gates entered for the slots that `which` selects, and keeps the others. Never
    /// panics: it runs while the panic of a strategy or a gate unwinds, too, and a gate that
    /// panics here must not keep the others from hearing.
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
                let leave = || leave_one(gates, keys, entered, report);
                let _ = catch_unwind(AssertUnwindSafe(leave));
            } else {
                kept.push(entered);
            }
        }
        for (gate, slot, ticket) in kept.into_iter().rev() {
            self.push(gate, slot, ticket);
        }
    }

    /// Tells every gate that the first content has come. The tickets stay.
    pub(crate) fn first_content(&self, gates: &[Arc<dyn Gate>], keys: &KeySet, now: Timestamp) {
        let here = (0..INLINE).filter(|gate| self.entered >> gate & 1 == 1);
        let here = here.map(|gate| (gate, self.slot, self.tickets[gate]));
        let more = self.more.iter();
        let more = more.map(|&(gate, slot, ticket)| (usize::from(gate.0), slot, ticket));
        for (gate, slot, ticket) in here.chain(more) {
            if let Some(gate) = gates.get(gate) {
                gate.first_content(Candidate::new(keys, slot), ticket, now);
            }
        }
    }

    /// Leaves every gate. Each ticket is out before its gate is told, so that
    /// a gate that panics is not told twice.
    #[inline]
    pub(crate) fn leave_all(&mut self, gates: &[Arc<dyn Gate>], keys: &KeySet, report: &Report) {
        while !self.more.is_empty() {
            self.leave_more(gates, keys, report);
        }
        while self.entered != 0 {
            let gate = self.entered.trailing_zeros();
            self.entered &= self.entered - 1;
            let ticket = self.tickets[gate as usize % INLINE];
            leave_one(
                gates,
                keys,
                (GateId(gate as u16), self.slot, ticket),
                report,
            );
        }
    }

    #[cold]
    fn leave_more(&mut self, gates: &[Arc<dyn Gate>], keys: &KeySet, report: &Report) {
        if let Some(entered) = self.more.pop() {
            leave_one(gates, keys, entered, report);
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
