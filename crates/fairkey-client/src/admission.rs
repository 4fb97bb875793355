//! Who gets a key next: [`Admission`], the queue before the pool.
//!
//! A call that finds nothing free waits. Whose turn it is, [`Queue`] says: by class, tenant and
//! deadline. What is refused to one call of a model and class is refused to those like it; a model
//! that is out holds up nobody who wants another one. Whoever frees something hands it on: when a
//! lease ends or the keys are reloaded, those who wait are asked about, in order, and a lease that
//! is found is given to the waiting call itself. What opens with time, one task waits for. Nobody
//! polls, and nobody races for what was freed.
//!
//! No wake-up is lost: a call stands in the queue *before* the pool is asked for it. What is freed
//! before that, the pool finds; what is freed after that, finds the call.
//!
//! The pool is asked with no lock held, since strategies, gates and observers are foreign code.

mod held;
mod outlook;
mod pump;
mod quickest;
mod steward;
mod waiter;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, Class, Cost, KeySet, Observer, Only, Outcome, Pool, Report, Scope, Timestamp,
    Tried, Unavailable,
};
use fairkey_strategy::queue::{Baton, Entry, Queue, QueueConfig, Refused, Said, Tenant, Ticket};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::held::Held;
pub(crate) use self::outlook::outlook;
use self::pump::RestOf;
use self::quickest::Quickest;
use self::waiter::{News, Waiter};
use crate::backoff::SHORTEST;

/// What calls have in common that are refused together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Line {
    /// The model, and what else gates may make a difference by: the class, and the only providers
    /// and keys that may serve it.
    Of(Option<Arc<str>>, Class, Arc<[String]>, Option<Arc<Only>>),
    /// A call that excludes keys of its own: its refusal says nothing about others.
    Own(u64),
}

/// What a call wants, owned, so that it can stand in line.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) model: Option<Arc<str>>,
    pub(crate) class: Class,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) cost: Cost,
    pub(crate) affinity: Option<u64>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) tried: Tried,
    /// The only providers that may serve it; empty where any may.
    pub(crate) providers: Arc<[String]>,
    /// The only keys that it may have.
    pub(crate) only: Option<Arc<Only>>,
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
            only: self.only.as_deref(),
        }
    }

    /// Returns the line of a call that is the same, of a class.
    fn line_of(&self, class: Class) -> Line {
        let providers = Arc::clone(&self.providers);
        Line::Of(self.model.clone(), class, providers, self.only.clone())
    }

    fn line(&self, ticket: Ticket) -> Line {
        if self.tried.is_empty() {
            self.line_of(self.class)
        } else {
            Line::Own(ticket.number())
        }
    }
}

/// Why a call got no key.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// It may not wait: so many do already, or for so long.
    Overloaded { refused: Refused, now: Timestamp },
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
            Self::Overloaded { refused, now } => Some(*now + refused.wait?),
            Self::Hopeless { unavailable } | Self::PassOver { unavailable } => unavailable.retry_at,
            Self::TimedOut { unavailable } => unavailable.as_ref()?.retry_at,
        }
    }
}

/// The queue before the pool, and the permits for calls in flight.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) pool: Pool,
    state: Mutex<State>,
    baton: Baton,
    /// Rung when the queue's time is to be kept otherwise than before.
    bell: Arc<Notify>,
    quickest: Quickest,
}

#[derive(Debug)]
struct State {
    queue: Queue<Line, Arc<Waiter>>,
    /// Permits that are free; `None` where there is no limit.
    free: Option<usize>,
    /// Whether somebody was not asked about for want of a permit.
    starved: bool,
    rest: Option<RestOf>,
    /// Until when the task that keeps the time sleeps, where there is one.
    steward: Option<Timestamp>,
}

impl State {
    /// Returns when there is something to do by the passing of time.
    fn next_errand(&self) -> Option<Timestamp> {
        let rest = self.rest.as_ref().map(|rest| rest.at);
        let opening = self.queue.next_opening();
        match (rest, opening) {
            (Some(rest), Some(opening)) => Some(rest.min(opening)),
            (rest, opening) => rest.or(opening),
        }
    }
}

impl Admission {
    /// Makes the queue. `waker` must be among the pool's observers.
    pub(crate) fn new(
        pool: Pool,
        max_in_flight: Option<usize>,
        config: QueueConfig,
        waker: &Waker,
    ) -> Arc<Self> {
        let state = State {
            queue: Queue::new(config),
            free: max_in_flight.map(|n| n.max(1)),
            starved: false,
            rest: None,
            steward: None,
        };
        let admission = Arc::new(Self {
            pool,
            state: Mutex::new(state),
            baton: Baton::new(),
            bell: Arc::default(),
            quickest: Quickest::default(),
        });
        let _ = waker.0.set(Arc::downgrade(&admission));
        admission
    }

    /// Gets a key at once or not at all, and never past somebody who waits for the same model.
    pub(crate) fn try_acquire(self: &Arc<Self>, wish: &Wish) -> Result<Held, Option<Unavailable>> {
        let permit = {
            let mut state = self.state();
            if state.queue.is_holding() || state.waits_for(wish) {
                return Err(None);
            }
            self.take_permit(&mut state, wish).ok_or(None)?
        };
        match self.pool.select(&wish.ask()) {
            Ok(lease) => Ok(Held::new(lease, permit)),
            Err(unavailable) => {
                permit.give_back_quietly();
                // Somebody may have looked for it meanwhile.
                self.pump_if_starved();
                Err(Some(unavailable))
            }
        }
    }

    /// Gets a key, waiting for it until `limit`.
    ///
    /// `ticket` is the call's place in the queue, given when it first comes, and kept for when it
    /// comes again: a call that was given a key in vain does not start at the end.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any point, the call leaves the queue, and what it was given goes to the next.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        wish: Wish,
        limit: Instant,
        ticket: &mut Option<Ticket>,
    ) -> Result<Held, Refusal> {
        let (now, until) = (self.pool.now(), self.timestamp_of(limit));
        let ticket = *ticket.get_or_insert_with(|| self.state().queue.ticket(now, until));
        // The first look of the usual call, which waits for nothing.
        if let Ok(held) = self.try_acquire(&wish) {
            return Ok(held);
        }
        let place = match Place::enter(self, wish, ticket, until) {
            Ok(place) => place,
            Err(refused) => return Err(Refusal::Overloaded { refused, now }),
        };
        self.pump_for_newcomer(ticket);
        let mut last = None;
        loop {
            let Ok(said) = tokio::time::timeout_at(limit, place.waiter.event()).await else {
                return Err(Refusal::TimedOut { unavailable: last });
            };
            match said {
                Said::Given(held) => return Ok(held),
                Said::Told(News::Panicked(panic)) => resume_unwind(panic),
                // No answer would come in time. Others can use what it would have got.
                Said::Told(News::TooLate) => return Err(Refusal::TimedOut { unavailable: last }),
                Said::Told(News::Unattended) => self.attend(),
                Said::Told(News::Refused(unavailable)) => {
                    last = Some(unavailable);
                    // Under these news there may have been the others, which do not replace them.
                    self.attend();
                    if let Some(refusal) = self.give_up(&place.waiter, &unavailable, limit) {
                        return Err(refusal);
                    }
                }
            }
        }
    }

    /// Returns why a call that was refused need not wait any longer, where it need not.
    fn give_up(
        self: &Arc<Self>,
        waiter: &Waiter,
        unavailable: &Unavailable,
        limit: Instant,
    ) -> Option<Refusal> {
        let (unavailable, patience) = (*unavailable, waiter.wish.patience);
        if patience.is_some_and(|until| self.is_too_long(&unavailable, until)) {
            return Some(Refusal::PassOver { unavailable });
        }
        let opens = self.instant_of(unavailable.retry_at);
        let ours = unavailable.by == Some(Scope::Local);
        if opens.is_some_and(|at| at < limit) || (ours && unavailable.retry_at.is_none()) {
            return None;
        }
        let outlook = outlook(&self.pool.explain(&waiter.wish.ask()));
        let soonest = self.instant_of(outlook.soonest);
        if !outlook.release && soonest.is_none_or(|at| at >= limit) {
            return Some(Refusal::Hopeless { unavailable });
        }
        if let Some(at) = outlook.soonest {
            self.state().queue.remind(&waiter.line, at);
            self.attend();
        }
        None
    }

    /// Returns how many calls of a class wait now.
    pub(crate) fn waiting_of(&self, class: Class) -> usize {
        self.state().queue.waiting_of(class)
    }

    /// Returns how many calls wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queue.len()
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

    /// Converts a time of the runtime's to one of the pool's clock; `None` for what is years away.
    fn timestamp_of(&self, at: Instant) -> Option<Timestamp> {
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        let left = at.saturating_duration_since(Instant::now());
        (left < FAR).then(|| self.pool.now() + left)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoned or not: no foreign code runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether somebody waits for what a call wants. (Those who exclude keys of their own
    /// do not count: what they wait for says nothing about others.)
    fn waits_for(&self, wish: &Wish) -> bool {
        let is_waited_for = |class| self.queue.has_line(&wish.line_of(class));
        !self.queue.is_empty() && CLASSES.into_iter().any(is_waited_for)
    }
}

const CLASSES: [Class; 3] = [Class::Interactive, Class::Normal, Class::Batch];

/// One call's place in the queue; left on drop.
struct Place {
    admission: Arc<Admission>,
    ticket: Ticket,
    waiter: Arc<Waiter>,
}

impl Place {
    fn enter(
        admission: &Arc<Admission>,
        wish: Wish,
        ticket: Ticket,
        limit: Option<Timestamp>,
    ) -> Result<Self, Refused> {
        let now = admission.pool.now();
        let entry = Entry {
            line: wish.line(ticket),
            class: wish.class,
            tenant: wish.tenant.clone(),
            cost: wish.cost,
            limit,
        };
        let waiter = Arc::new(Waiter::new(entry.line.clone(), wish));
        let mut state = admission.state();
        (state.queue).push(entry, ticket, Arc::clone(&waiter), now)?;
        Ok(Self {
            admission: Arc::clone(admission),
            ticket,
            waiter,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = self.admission.state().queue.remove(self.ticket).is_some();
        // A lease that came between the last look and now is returned here, which pumps.
        drop(self.waiter.close());
        if removed {
            // Whoever stood behind may be content with what this call was not.
            self.admission.pump();
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
            admission.pump_all();
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
