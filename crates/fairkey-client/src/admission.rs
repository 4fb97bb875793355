//! Who gets a key next: [`Admission`], the queue before the pool.
//!
//! A call that finds nothing free waits in line. Lines are by model and class: a model that is
//! out holds up nobody who wants another one, and within a line the first in is the first out,
//! even where a later call would have been content with less. Whoever frees something hands it
//! on: when a lease ends or the keys are reloaded, the heads of the lines are tried, and a lease
//! that is found is given to the waiting call itself. Nobody polls, and nobody races for what was
//! freed.
//!
//! No wake-up is lost: a call stands in its line *before* the pool is asked for it. What is freed
//! before that, the pool finds; what is freed after that, finds the call.
//!
//! The pool is asked with no lock held, since strategies, gates and observers are foreign code.

mod lines;
mod outlook;
mod quickest;
mod waiter;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, Class, Cost, KeySet, Lease, Observer, Outcome, Pool, Report, Scope, Timestamp,
    Tried, Unavailable,
};
use tokio::time::Instant;

use self::lines::{Line, Lines};
pub(crate) use self::outlook::outlook;
use self::quickest::Quickest;
use self::waiter::{Event, Waiter};
use crate::backoff::SHORTEST;

/// What a call wants, owned, so that it can stand in line.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) model: Option<Arc<str>>,
    pub(crate) class: Class,
    pub(crate) cost: Cost,
    pub(crate) affinity: Option<u64>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) tried: Tried,
    /// The only providers that may serve it; empty where any may.
    pub(crate) providers: Arc<[String]>,
    /// Where the call has another model to go on with: until when it waits for this one.
    pub(crate) patience: Option<Instant>,
}

impl Wish {
    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            model: self.model.as_deref(),
            cost: self.cost,
            affinity: self.affinity,
            deadline: self.deadline,
            class: self.class,
            tried: (!self.tried.is_empty()).then_some(&self.tried),
            providers: &self.providers,
        }
    }

    fn line(&self) -> Line {
        (self.model.clone(), self.class)
    }
}

/// Why a call got no key.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// So many calls wait already that another one may not.
    Overloaded,
    /// Waiting brings nothing, or nothing in time.
    Hopeless { unavailable: Unavailable },
    /// Waiting may bring something, but later than the call would go on to another model.
    PassOver { unavailable: Unavailable },
    /// Waited as long as allowed. What was last said to the call, if anything.
    TimedOut { unavailable: Option<Unavailable> },
}

impl Refusal {
    /// Returns the soonest time at which there may be a key, as far as it is known.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Overloaded => None,
            Self::Hopeless { unavailable } | Self::PassOver { unavailable } => unavailable.retry_at,
            Self::TimedOut { unavailable } => unavailable.as_ref()?.retry_at,
        }
    }
}

/// The queue before the pool, and the permits for calls in flight.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) pool: Pool,
    max_waiting: usize,
    state: Mutex<State>,
    quickest: Quickest,
}

#[derive(Debug)]
struct State {
    lines: Lines,
    /// Permits that are free; `None` where there is no limit.
    free: Option<usize>,
    /// Whether some thread is handing out, and whether it shall look again when done.
    pumping: bool,
    again: bool,
    /// Whether somebody in line was not asked about for want of a permit.
    starved: bool,
}

impl Admission {
    /// Makes the queue. `waker` must be among the pool's observers.
    pub(crate) fn new(
        pool: Pool,
        max_in_flight: Option<usize>,
        max_waiting: usize,
        waker: &Waker,
    ) -> Arc<Self> {
        let free = max_in_flight.map(|n| n.max(1));
        let state = State {
            lines: Lines::default(),
            free,
            pumping: false,
            again: false,
            starved: false,
        };
        let admission = Arc::new(Self {
            pool,
            max_waiting,
            state: Mutex::new(state),
            quickest: Quickest::default(),
        });
        let _ = waker.0.set(Arc::downgrade(&admission));
        admission
    }

    /// Gets a key at once or not at all, and never past somebody who waits in the same line.
    pub(crate) fn try_acquire(self: &Arc<Self>, wish: &Wish) -> Result<Held, Option<Unavailable>> {
        let permit = {
            let mut state = self.state();
            if !state.lines.is_empty_line(&wish.line()) {
                return Err(None);
            }
            self.take_permit(&mut state).ok_or(None)?
        };
        self.select(&wish.ask(), permit).map_err(Some)
    }

    /// Gets a key, waiting in line until `limit` for it.
    ///
    /// `ticket` is the call's place in line, given when it first comes, and kept for when it comes
    /// again: a call that was given a key in vain does not start at the end of the line.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, the call leaves its line, and what it was given goes to the next.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        wish: Wish,
        limit: Instant,
        ticket: &mut Option<u64>,
    ) -> Result<Held, Refusal> {
        let ticket = *ticket.get_or_insert_with(|| self.state().lines.ticket());
        // The first look of the usual call, which waits for nothing.
        if let Ok(held) = self.try_acquire(&wish) {
            return Ok(held);
        }
        let Some(place) = Place::enter(self, wish, ticket) else {
            // Somebody may have looked for the permit that the first look held.
            self.pump_if_starved();
            return Err(Refusal::Overloaded);
        };
        self.pump();
        let (mut last, mut wake_at) = (None, limit);
        loop {
            match tokio::time::timeout_at(wake_at.min(limit), place.waiter.event()).await {
                Ok(Event::Granted(held)) => return Ok(held),
                Ok(Event::Panicked(panic)) => resume_unwind(panic),
                // No answer would come in time. Others can use what it would have got.
                Ok(Event::TooLate) => return Err(Refusal::TimedOut { unavailable: last }),
                Ok(Event::Refused(unavailable)) => {
                    last = Some(unavailable);
                    let patience = place.waiter.wish.patience;
                    if patience.is_some_and(|until| self.is_too_long(&unavailable, until)) {
                        return Err(Refusal::PassOver { unavailable });
                    }
                    wake_at = self.instant_of(unavailable.retry_at).unwrap_or(limit);
                    let timed = unavailable.retry_at.is_some() && wake_at < limit;
                    let ours = unavailable.by == Some(Scope::Local);
                    if timed || (ours && unavailable.retry_at.is_none()) {
                        continue;
                    }
                    let outlook = outlook(&self.pool.explain(&place.waiter.wish.ask()));
                    let soonest = self.instant_of(outlook.soonest);
                    if outlook.release || soonest.is_some_and(|at| at < limit) {
                        wake_at = soonest.unwrap_or(limit);
                        continue;
                    }
                    return Err(Refusal::Hopeless { unavailable });
                }
                Err(_) if Instant::now() >= limit => {
                    return Err(Refusal::TimedOut { unavailable: last });
                }
                Err(_) => {
                    // Our time has come: those before us first.
                    wake_at = limit;
                    self.pump();
                    if !place.waiter.wish.tried.is_empty() {
                        // The pump looks at a few of those that have tried keys before.
                        self.offer(&place.waiter);
                    }
                }
            }
        }
    }

    /// Returns how many calls wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.state().lines.len()
    }

    /// Hands what is free to those who wait, in order. Called whenever something may have become
    /// free; cheap where nobody waits.
    pub(crate) fn pump(self: &Arc<Self>) {
        {
            let mut state = self.state();
            if state.lines.len() == 0 {
                return;
            }
            if state.pumping {
                state.again = true;
                return;
            }
            state.pumping = true;
        }
        loop {
            // No foreign panic leaves a pass, so that the flag is always reset.
            self.pass();
            let mut state = self.state();
            if !std::mem::take(&mut state.again) {
                state.pumping = false;
                return;
            }
        }
    }

    /// Does the same where the last pass ended for want of a permit: for who holds one for a
    /// moment, and gives it back without having freed anything.
    fn pump_if_starved(self: &Arc<Self>) {
        let starved = std::mem::take(&mut self.state().starved);
        if starved {
            self.pump();
        }
    }

    /// Goes through the lines once.
    fn pass(self: &Arc<Self>) {
        let mut pass = lines::Pass::default();
        loop {
            let next = {
                let mut state = self.state();
                let next = state.lines.next(&mut pass);
                if next.is_some() && state.free == Some(0) {
                    state.starved = true;
                    return;
                }
                next
            };
            let Some(waiter) = next else { return };
            match self.offer(&waiter) {
                Offer::Done => pass.served(&self.state().lines, &waiter),
                Offer::NoPermit => {
                    self.state().starved = true;
                    return;
                }
                Offer::Refused => pass.refused(&self.state().lines, &waiter),
            }
        }
    }

    /// Asks the pool for one who waits.
    ///
    /// Whoever pumps does it for others: where strategy, gates or observers panic over one who
    /// waits, that call hears of it, as it would had it not waited, and nobody else.
    fn offer(self: &Arc<Self>, waiter: &Arc<Waiter>) -> Offer {
        if self.is_too_late(waiter) && self.leave_line(waiter) {
            waiter.turn_away();
            return Offer::Done;
        }
        let Some(permit) = self.take_permit(&mut self.state()) else {
            return Offer::NoPermit;
        };
        let asked = catch_unwind(AssertUnwindSafe(|| self.pool.select(&waiter.wish.ask())));
        match asked {
            Ok(Ok(lease)) => {
                self.leave_line(waiter);
                // Where it was granted already, or has left, what is held goes back here.
                drop(waiter.grant(Held {
                    lease,
                    _permit: permit,
                }));
                Offer::Done
            }
            Ok(Err(unavailable)) => {
                permit.give_back_quietly();
                waiter.refuse(unavailable);
                Offer::Refused
            }
            Err(panic) => {
                // Out of line first: nobody is asked about it again.
                self.leave_line(waiter);
                permit.give_back_quietly();
                waiter.fail(panic);
                Offer::Done
            }
        }
    }

    /// Returns whether no answer can be hoped for before the call's deadline while somebody else
    /// in its line could use the key.
    fn is_too_late(&self, waiter: &Waiter) -> bool {
        let Some(deadline) = waiter.wish.deadline else {
            return false;
        };
        deadline.since(self.pool.now()) < self.quickest.get()
            && self.state().lines.has_others(&waiter.line)
    }

    fn leave_line(&self, waiter: &Waiter) -> bool {
        self.state().lines.remove(&waiter.line, waiter.ticket)
    }

    fn select(&self, ask: &Ask<'_>, permit: Permit) -> Result<Held, Unavailable> {
        match self.pool.select(ask) {
            Ok(lease) => Ok(Held {
                lease,
                _permit: permit,
            }),
            Err(unavailable) => {
                permit.give_back_quietly();
                Err(unavailable)
            }
        }
    }

    fn take_permit(self: &Arc<Self>, state: &mut State) -> Option<Permit> {
        match &mut state.free {
            None => Some(Permit(None)),
            Some(0) => None,
            Some(free) => {
                *free -= 1;
                Some(Permit(Some(Arc::clone(self))))
            }
        }
    }

    /// Returns whether a call that has another model to go on with does so: the model is what is
    /// closed, or every provider of it that the call allows, or nothing opens by `patience`.
    pub(crate) fn is_too_long(&self, unavailable: &Unavailable, patience: Instant) -> bool {
        matches!(unavailable.by, Some(Scope::Model | Scope::Provider))
            || (self.instant_of(unavailable.retry_at)).is_some_and(|at| at > patience)
    }

    /// Converts a time of the pool's clock, no sooner than the shortest sleep from now.
    fn instant_of(&self, at: Option<Timestamp>) -> Option<Instant> {
        let wait = at?.since(self.pool.now()).max(SHORTEST);
        Instant::now().checked_add(wait)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoned or not: no foreign code runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Offer {
    /// It waits no more.
    Done,
    Refused,
    NoPermit,
}

/// One call's place in line; left on drop.
struct Place {
    admission: Arc<Admission>,
    waiter: Arc<Waiter>,
}

impl Place {
    fn enter(admission: &Arc<Admission>, wish: Wish, ticket: u64) -> Option<Self> {
        let mut state = admission.state();
        if state.lines.len() >= admission.max_waiting {
            return None;
        }
        let line = wish.line();
        let waiter = state.lines.push(Waiter::new(ticket, line, wish));
        Some(Self {
            admission: Arc::clone(admission),
            waiter,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = self.admission.leave_line(&self.waiter);
        // A lease that came between the last look and now is returned here, which pumps.
        drop(self.waiter.close());
        if removed {
            // Whoever stood behind may be content with what this call was not.
            self.admission.pump();
        }
    }
}

/// A lease, and the permit to be in flight.
#[derive(Debug)]
pub(crate) struct Held {
    // The order counts: the lease ends before the permit is free, so that there are never more
    // leases than permits.
    pub(crate) lease: Lease,
    _permit: Permit,
}

#[derive(Debug)]
struct Permit(Option<Arc<Admission>>);

impl Permit {
    /// Gives the permit back without waking anybody: nothing became free by it.
    fn give_back_quietly(mut self) {
        if let Some(admission) = self.0.take() {
            give_back(&admission);
        }
    }
}

fn give_back(admission: &Admission) {
    if let Some(free) = &mut admission.state().free {
        *free += 1;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            give_back(&admission);
            admission.pump();
        }
    }
}

/// Tells the queue that something may be free: an observer of the pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<OnceLock<Weak<Admission>>>);

impl Waker {
    /// Gone where the client is: nobody waits.
    fn admission(&self) -> Option<Arc<Admission>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl Observer for Waker {
    fn settled(&self, _: Candidate<'_>, report: &Report) {
        if let Some(admission) = self.admission() {
            if report.outcome == Outcome::Success {
                admission.quickest.note(report.ended.since(report.begun));
            }
            admission.pump();
        }
    }

    fn reloaded(&self, _: &KeySet) {
        if let Some(admission) = self.admission() {
            admission.pump();
        }
    }
}

/// Returns when `wait` from now is over; what no clock reaches becomes far enough.
pub(crate) fn after(wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    Instant::now() + wait.min(FAR)
}

#[cfg(test)]
mod tests;
