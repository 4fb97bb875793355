//! What a call holds while it is under way: [`Held`].

use std::sync::Arc;

use fairkey_core::{Cost, Lease};
use fairkey_strategy::queue::Charge;

use super::{Admission, CLASSES, Line};

/// A lease, and the permit to be in flight.
#[derive(Debug)]
pub(crate) struct Held {
    // The order counts: the lease ends before the permit is free, so that there are never more
    // leases than permits.
    pub(crate) lease: Lease,
    permit: Permit,
}

impl Held {
    pub(super) fn new(lease: Lease, permit: Permit) -> Self {
        Self { lease, permit }
    }

    /// Notes what its tenant was charged.
    pub(super) fn charge(&mut self, charge: Charge) {
        self.permit.charge = Some(charge);
    }

    /// Notes what the call used.
    pub(crate) fn note_actual(&mut self, cost: Cost) {
        self.lease.note_actual(cost);
        self.permit.actual = Some(cost);
    }
}

/// One call more may be in flight, of this model.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Option<Arc<Admission>>,
    model: Option<Arc<str>>,
    charge: Option<Charge>,
    actual: Option<Cost>,
}

impl Permit {
    pub(super) fn new(admission: &Arc<Admission>, model: Option<Arc<str>>) -> Self {
        Self {
            admission: Some(Arc::clone(admission)),
            model,
            charge: None,
            actual: None,
        }
    }

    /// Gives the permit back without waking anybody: nothing became free by it.
    pub(super) fn give_back_quietly(mut self) {
        if let Some(admission) = self.admission.take() {
            let mut state = admission.state();
            if let Some(free) = &mut state.free {
                *free += 1;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(admission) = self.admission.take() else {
            return;
        };
        let worth_a_look = {
            let mut state = admission.state();
            if let Some(free) = &mut state.free {
                *free += 1;
            }
            if let Some(charge) = self.charge.take() {
                state.queue.settle(charge, self.actual);
            }
            let mut opened = false;
            // What only calls of this model wait for may be free now.
            if state.queue.has_rest() {
                for class in CLASSES {
                    let line = Line::Of(self.model.clone(), class, Arc::default(), None);
                    opened |= state.queue.open(&line);
                }
            }
            std::mem::take(&mut state.starved) | opened
        };
        // What the end of the lease has freed was handed out when it ended.
        if worth_a_look {
            admission.pump();
        }
    }
}
