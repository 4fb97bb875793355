//! One call's hold on one key: [`Lease`].

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::pool::Snapshot;
use crate::sync::Ordering;
use crate::tickets::Tickets;
use crate::{ApiKey, Candidate, Cost, Outcome, Report, Slot, Timestamp};

/// One call's hold on one key.
///
/// While it lives, the key counts one more call in flight. It has no lifetime and is `Send`, so
/// that it can ride in the body of a streamed answer until the stream ends. Dropping it gives
/// everything back, exactly once, on every path, panics included; what was last
/// [`record`](Lease::record)ed is what the gates are told, and without a record the call counts
/// as given up, which says nothing about the key.
#[must_use = "dropping a lease at once frees the key and reports a call that was given up"]
pub struct Lease {
    snapshot: Arc<Snapshot>,
    slot: Slot,
    tickets: Tickets,
    begun: Timestamp,
    first_content: Option<Timestamp>,
    reserved: Cost,
    actual: Option<Cost>,
    outcome: Outcome,
}

impl Lease {
    #[inline]
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        slot: Slot,
        tickets: Tickets,
        begun: Timestamp,
        reserved: Cost,
    ) -> Self {
        // Relaxed: the count publishes nothing. From here to the end of this function nothing
        // can panic, so every count has its lease.
        snapshot.keys.count(slot).fetch_add(1, Ordering::Relaxed);
        Self {
            snapshot,
            slot,
            tickets,
            begun,
            first_content: None,
            reserved,
            actual: None,
            outcome: Outcome::Neutral,
        }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the key: label, account, weight, load.
    #[must_use]
    #[inline]
    pub fn key(&self) -> Candidate<'_> {
        Candidate::new(&self.snapshot.keys, self.slot)
    }

    /// Returns the secret. Only what sets the `Authorization` header calls this.
    #[must_use]
    pub fn expose_key(&self) -> &ApiKey {
        self.snapshot.keys.entry(self.slot).key.secret()
    }

    /// Returns when the call was given its key.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Returns what is reserved for the call.
    #[must_use]
    pub fn reserved(&self) -> Cost {
        self.reserved
    }

    /// Notes that the first content came now. Later notes change nothing.
    pub fn note_first_content(&mut self) {
        if self.first_content.is_none() {
            self.first_content = Some(self.snapshot.core.clock.now());
        }
    }

    /// Notes what the call used.
    #[inline]
    pub fn note_actual(&mut self, cost: Cost) {
        self.actual = Some(cost);
    }

    /// Notes how the call ended. The last record before the lease is dropped counts.
    #[inline]
    pub fn record(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Ends the call with `outcome`.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.record(outcome);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Snapshot { keys, core } = &*self.snapshot;
        let report = Report {
            outcome: self.outcome,
            begun: self.begun,
            first_content: self.first_content,
            ended: core.clock.now(),
            reserved: self.reserved,
            actual: self.actual,
        };
        let key = Candidate::new(keys, self.slot);
        // Gates and strategies of strangers run here, perhaps while a panic unwinds: a second
        // panic would abort the process. A gate's ticket is taken before the gate is told, so each
        // round makes progress, and a gate that panics does not keep the others from hearing.
        let (tickets, mut settled) = (&mut self.tickets, false);
        while !settled {
            let _ = catch_unwind(AssertUnwindSafe(|| {
                tickets.leave_all(&core.gates, keys, &report);
                settled = true;
                core.strategy.settle(key, &report);
            }));
        }
        // Release, with the Acquire of a reader that waits for a count of zero: what the gates
        // were told happened before the key was free.
        keys.count(self.slot).fetch_sub(1, Ordering::Release);
        for observer in &core.observers {
            let _ = catch_unwind(AssertUnwindSafe(|| observer.settled(key, &report)));
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", self.key().id())
            .field("begun", &self.begun)
            .field("reserved", &self.reserved)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// A lease rides in bodies that move between threads.
const _: fn() = || {
    fn is_send_sync_static<T: Send + Sync + 'static>() {}
    is_send_sync_static::<Lease>();
};
