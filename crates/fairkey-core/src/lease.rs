//! One call's hold on one key: [`Lease`].

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::local;
use crate::pool::Snapshot;
use crate::sync::Ordering;
use crate::tickets::Tickets;
use crate::{ApiKey, Ask, Candidate, Cost, Outcome, Report, Slot, Timestamp};

/// One call's hold on one key.
///
/// While it lives, the key counts one more call in flight. It has no lifetime and is `Send`, so
/// that it can ride in the body of a streamed answer until the stream ends. Dropping it gives
/// everything back, exactly once, on every path, panics included; what was last
/// [`record`](Lease::record)ed is what the gates are told, and without a record the call counts
/// as given up, which says nothing about the key.
///
/// It is one pointer wide. What it points at is kept, up to 64 of it, for the next calls of the
/// thread on which it ends: a thread that ends the calls it begins selects without allocating once
/// it has had its greatest number of them.
#[must_use = "dropping a lease at once frees the key and reports a call that was given up"]
pub struct Lease(Option<Box<Hold>>);

/// What a lease holds. While it lies in wait for the next call, it holds nothing.
pub(crate) struct Hold {
    snapshot: Option<Arc<Snapshot>>,
    slot: Slot,
    /// What will be reported. In the form in which it is told, since copying what was just written
    /// costs more than the rest of a settlement.
    report: Report,
    pub(crate) tickets: Tickets,
}

impl Hold {
    /// Returns an empty hold.
    #[cold]
    pub(crate) fn allocate() -> Box<Self> {
        Box::new(Self {
            snapshot: None,
            slot: Slot(u32::MAX),
            report: Report {
                outcome: Outcome::Neutral,
                begun: Timestamp::ZERO,
                first_content: None,
                ended: Timestamp::ZERO,
                reserved: Cost::default(),
                actual: None,
            },
            tickets: Tickets::new(),
        })
    }

    /// Makes a lease on the key in `slot`, whose gates have been entered with these tickets.
    #[inline]
    pub(crate) fn into_lease(
        mut self: Box<Self>,
        snapshot: Arc<Snapshot>,
        slot: Slot,
        begun: Timestamp,
        ask: &Ask<'_>,
    ) -> Lease {
        // Relaxed: the count publishes nothing. From here to the end of this function nothing
        // can panic, so every count has its lease.
        snapshot.keys.count(slot).fetch_add(1, Ordering::Relaxed);
        self.snapshot = Some(snapshot);
        self.slot = slot;
        self.report.outcome = Outcome::Neutral;
        self.report.begun = begun;
        self.report.first_content = None;
        self.report.reserved = ask.cost;
        self.report.actual = None;
        Lease(Some(self))
    }
}

impl Lease {
    #[inline]
    fn hold(&self) -> &Hold {
        self.0
            .as_deref()
            .expect("a lease has its hold until it is dropped")
    }

    #[inline]
    fn hold_mut(&mut self) -> &mut Hold {
        self.0
            .as_deref_mut()
            .expect("a lease has its hold until it is dropped")
    }

    #[inline]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        self.hold()
            .snapshot
            .as_deref()
            .expect("a lease has its set until it is dropped")
    }

    /// Returns the key: label, account, weight, load.
    #[must_use]
    #[inline]
    pub fn key(&self) -> Candidate<'_> {
        Candidate::new(&self.snapshot().keys, self.hold().slot)
    }

    /// Returns the secret. Only what sets the `Authorization` header calls this.
    #[must_use]
    pub fn expose_key(&self) -> &ApiKey {
        self.snapshot().keys.entry(self.hold().slot).key.secret()
    }

    /// Returns when the call was given its key.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.hold().report.begun
    }

    /// Returns what is reserved for the call.
    #[must_use]
    pub fn reserved(&self) -> Cost {
        self.hold().report.reserved
    }

    /// Notes that the first content came now, and tells the gates that the call has entered:
    /// content is evidence that a probe need not end to give. Later notes change nothing.
    pub fn note_first_content(&mut self) {
        if self.hold().report.first_content.is_none() {
            let now = self.snapshot().core.clock.now();
            self.hold_mut().report.first_content = Some(now);
            let Snapshot { keys, core, .. } = self.snapshot();
            self.hold().tickets.first_content(&core.gates, keys, now);
        }
    }

    /// Notes what the call used.
    #[inline]
    pub fn note_actual(&mut self, cost: Cost) {
        self.hold_mut().report.actual = Some(cost);
    }

    /// Notes how the call ended. The last record before the lease is dropped counts.
    #[inline]
    pub fn record(&mut self, outcome: Outcome) {
        self.hold_mut().report.outcome = outcome;
    }

    /// Ends the call with `outcome`.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        self.record(outcome);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut hold) = self.0.take() else {
            return;
        };
        let Some(snapshot) = hold.snapshot.take() else {
            return;
        };
        let Snapshot { keys, core, .. } = &*snapshot;
        hold.report.ended = hold.report.begun;
        let slot = hold.slot;
        let key = Candidate::new(keys, slot);
        // Clocks, gates and strategies of strangers run here, perhaps while a panic unwinds: a
        // second panic would abort the process. A gate's ticket is taken before the gate is told,
        // so each round makes progress, and a gate that panics does not keep the others from
        // hearing.
        let Hold {
            report, tickets, ..
        } = &mut *hold;
        let (mut timed, mut settled) = (false, false);
        while !settled {
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if !timed {
                    timed = true;
                    report.ended = core.clock.now();
                }
                tickets.leave_all(&core.gates, keys, report);
                settled = true;
                core.strategy.settle(key, report);
            }));
        }
        // Release, with the Acquire of a reader that waits for a count of zero: what the gates
        // were told happened before the key was free.
        keys.count(slot).fetch_sub(1, Ordering::Release);
        for observer in &core.observers {
            let _ = catch_unwind(AssertUnwindSafe(|| observer.settled(key, report)));
        }
        local::keep(hold);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", self.key().id())
            .field("begun", &self.hold().report.begun)
            .field("reserved", &self.hold().report.reserved)
            .field("outcome", &self.hold().report.outcome)
            .finish_non_exhaustive()
    }
}

/// A lease rides in bodies that move between threads.
const _: fn() = || {
    fn is_send_sync_static<T: Send + Sync + 'static>() {}
    is_send_sync_static::<Lease>();
};
