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
//! The pool is asked with no lock held, since strategies, gates and observers are foreign code. A call
//! may leave meanwhile, and even come back to its place: so what it is told when it leaves is the last
//! that it is told, and who is served must be who was asked about.

mod held;
mod outlook;
mod pump;
mod quickest;
mod recent;
mod steward;
mod waiter;

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, Class, Cost, KeySet, Observer, Only, Outcome, Pool, Report, Scope, Timestamp,
    Tried, Unavailable,
};
use fairkey_strategy::queue::{Baton, Entry, Queue, QueueConfig, Refused, Said, Ticket};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::held::Held;
use self::held::Permit;
pub(crate) use self::outlook::outlook;
use self::pump::RestOf;
use self::quickest::Quickest;
use self::recent::Recent;
use self::waiter::{News, Waiter, Wanted};
use crate::backoff::SHORTEST;
use crate::estimate::Estimates;
use crate::job::Job;

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
    /// What does not change: its class, its tenant, the only keys and providers it may have.
    pub(crate) job: Arc<Job>,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) cost: Cost,
    pub(crate) deadline: Option<Timestamp>,
    /// What it has tried, where it has.
    pub(crate) tried: Option<Box<Tried>>,
    /// Where the call has another model to go on with: until when it waits for this one.
    pub(crate) patience: Option<Box<Instant>>,
}

impl Wish {
    pub(crate) fn ask(&self) -> Ask<'_> {
        let (model, tried) = (self.model.as_deref(), self.tried.as_deref());
        ask_of(&self.job, model, self.cost, self.deadline, tried)
    }

    fn line(&self, ticket: Ticket) -> Line {
        let has_tried = self.tried.is_some();
        line_of(&self.job, self.model.as_ref(), has_tried, ticket)
    }
}

/// Returns what the pool is asked for a call.
fn ask_of<'a>(
    job: &'a Job,
    model: Option<&'a str>,
    cost: Cost,
    deadline: Option<Timestamp>,
    tried: Option<&'a Tried>,
) -> Ask<'a> {
    Ask {
        model,
        cost,
        affinity: job.affinity(),
        deadline,
        class: job.class,
        tried,
        providers: job.providers(),
        only: job.only.as_deref(),
        yields: false,
    }
}

/// Returns the line of a call that names a model.
fn line_of(job: &Job, model: Option<&Arc<str>>, has_tried: bool, ticket: Ticket) -> Line {
    if has_tried {
        return Line::Own(ticket.number());
    }
    class_line_of(job, model, job.class)
}

/// Returns the line of a call that is the same, of a class.
fn class_line_of(job: &Job, model: Option<&Arc<str>>, class: Class) -> Line {
    let providers = job.shared_providers();
    Line::Of(model.cloned(), class, providers, job.only.clone())
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
    /// Waited as long as allowed. When there may be a key, by what was last said to the call.
    TimedOut { opens: Option<Timestamp> },
}

impl Refusal {
    /// Returns the soonest time at which there may be a key, as far as it is known.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Overloaded { refused, now } => Some(*now + refused.wait?),
            Self::Hopeless { unavailable } | Self::PassOver { unavailable } => unavailable.retry_at,
            Self::TimedOut { opens } => *opens,
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
    /// By which those who wait are estimated anew.
    estimates: OnceLock<Arc<Estimates>>,
}

#[derive(Debug)]
struct State {
    queue: Queue<Line, Arc<Waiter>>,
    /// Permits that are free; `None` where there is no limit.
    free: Option<usize>,
    /// Whether somebody was not asked about for want of a permit.
    starved: bool,
    rest: Option<RestOf>,
    recent: Recent,
    /// Until when the task that keeps the time sleeps, where there is one.
    steward: Option<Timestamp>,
}

impl State {
    /// Returns when there is something to do by the passing of time.
    fn next_errand(&self) -> Option<Timestamp> {
        let rest = self.rest.as_ref().map(|rest| rest.at);
        let errands = [rest, self.queue.next_opening(), self.queue.next_limit()];
        errands.into_iter().flatten().min()
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
            recent: Recent::default(),
            steward: None,
        };
        let admission = Arc::new(Self {
            pool,
            state: Mutex::new(state),
            baton: Baton::new(),
            bell: Arc::default(),
            quickest: Quickest::default(),
            estimates: OnceLock::new(),
        });
        let _ = waker.0.set(Arc::downgrade(&admission));
        admission
    }

    /// Has those who wait estimated anew by `estimates`, where more is known than when they came.
    pub(crate) fn estimate_by(&self, estimates: &Arc<Estimates>) {
        let _ = self.estimates.set(Arc::clone(estimates));
    }

    /// Hears that calls of a model are estimated otherwise by now: so are those who wait, some at a
    /// time.
    pub(crate) fn reconsider(&self, model: &str) {
        let of_model = |line: &Line| matches!(line, Line::Of(Some(of), ..) if **of == *model);
        self.state().queue.reconsider(of_model);
    }

    /// Returns what a call is expected to cost, as far as is known now.
    fn cost_of(&self, wanted: &Wanted) -> Cost {
        let (mut cost, job) = (wanted.cost, &wanted.job);
        if let (Some(demand), None, Some(estimates)) =
            (&job.demand, job.cost(), self.estimates.get())
        {
            cost.tokens = estimates.tokens(demand, wanted.model().map(|name| &**name));
        }
        cost
    }

    /// Gets a key at once or not at all, and never past somebody who waits for the same model.
    pub(crate) fn try_acquire(self: &Arc<Self>, wish: &Wish) -> Result<Held, Option<Unavailable>> {
        let permit = self
            .permit_past_nobody(&mut self.state(), wish)
            .ok_or(None)?;
        self.select(wish, permit)
    }

    fn permit_past_nobody(self: &Arc<Self>, state: &mut State, wish: &Wish) -> Option<Permit> {
        if state.queue.is_holding() || state.waits_for(wish) {
            return None;
        }
        state.recent.note(wish.model.as_ref());
        self.take_permit(state, wish.model.as_ref())
    }

    fn select(self: &Arc<Self>, wish: &Wish, permit: Permit) -> Result<Held, Option<Unavailable>> {
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

    /// The first look of a call, which waits for nothing. It is given its `ticket`, where it has
    /// none.
    pub(crate) fn look_first(
        self: &Arc<Self>,
        wish: &Wish,
        limit: Instant,
        ticket: &mut Option<Ticket>,
    ) -> Option<Held> {
        let permit = {
            let now_and_until = ticket.is_none().then(|| self.now_and_until(limit));
            let mut state = self.state();
            if let Some((now, until)) = now_and_until {
                *ticket = Some(state.queue.ticket(now, until));
            }
            self.permit_past_nobody(&mut state, wish)?
        };
        self.select(wish, permit).ok()
    }

    /// Takes a call's place in the queue, to wait until `limit` at most.
    pub(crate) fn enter(
        self: &Arc<Self>,
        wish: Wish,
        limit: Instant,
        ticket: Option<Ticket>,
    ) -> Result<Place, Refusal> {
        let (now, until) = self.now_and_until(limit);
        let ticket = ticket.unwrap_or_else(|| self.state().queue.ticket(now, until));
        let place = match Place::enter(self, wish, ticket, until) {
            Ok(place) => place,
            Err(refused) => return Err(Refusal::Overloaded { refused, now }),
        };
        self.pump_for_newcomer(ticket);
        if until.is_some_and(|until| until <= now) {
            // Its time was over when it came, and it was asked about once.
            self.let_go();
        }
        Ok(place)
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
        if let Some(held) = self.look_first(&wish, limit, ticket) {
            return Ok(held);
        }
        let place = self.enter(wish, limit, *ticket)?;
        let held = poll_fn(|cx| place.poll(cx, || limit)).await?;
        Ok(*held)
    }

    /// Returns why a call that was refused need not wait any longer, where it need not.
    fn give_up(
        self: &Arc<Self>,
        waiter: &Waiter,
        unavailable: Unavailable,
        limit: Instant,
    ) -> Option<Refusal> {
        let patience = waiter.wanted.patience();
        if patience.is_some_and(|until| self.is_too_long(&unavailable, until)) {
            return Some(Refusal::PassOver { unavailable });
        }
        let opens = self.instant_of(unavailable.retry_at);
        let ours = unavailable.by == Some(Scope::Local);
        if opens.is_some_and(|at| at < limit) || (ours && unavailable.retry_at.is_none()) {
            return None;
        }
        let outlook = outlook(&self.pool.explain(&waiter.wanted.ask()));
        let soonest = self.instant_of(outlook.soonest);
        if !outlook.release && soonest.is_none_or(|at| at >= limit) {
            return Some(Refusal::Hopeless { unavailable });
        }
        if let Some(at) = outlook.soonest {
            self.state().queue.remind(&waiter.line(), at);
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

    /// Returns the time, and a time of the runtime's on the pool's clock; `None` for what is years
    /// away.
    fn now_and_until(&self, at: Instant) -> (Timestamp, Option<Timestamp>) {
        const FAR: Duration = Duration::from_secs(86_400 * 365);
        let left = at.saturating_duration_since(Instant::now());
        let now = self.pool.now();
        (now, (left < FAR).then(|| now + left))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoned or not: no foreign code runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether one who waits still does: the pool is asked with no lock held, and meanwhile
    /// the call may have left the queue, and have come back to its place as somebody else.
    fn stands(&self, number: u64, waiter: &Arc<Waiter>) -> bool {
        let there = self.queue.get(number);
        there.is_some_and(|there| Arc::ptr_eq(there, waiter))
    }

    /// Returns whether somebody waits for what a call wants. (Those who exclude keys of their own
    /// do not count: what they wait for says nothing about others.)
    fn waits_for(&self, wish: &Wish) -> bool {
        let line_of = |class| class_line_of(&wish.job, wish.model.as_ref(), class);
        let is_waited_for = |class| self.queue.has_line(&line_of(class));
        !self.queue.is_empty() && CLASSES.into_iter().any(is_waited_for)
    }
}

const CLASSES: [Class; 3] = [Class::Interactive, Class::Normal, Class::Batch];

/// One call's place in the queue; left on drop.
pub(crate) struct Place(Arc<Waiter>);

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
            class: wish.job.class,
            tenant: wish.job.tenant.clone(),
            cost: wish.cost,
            limit,
        };
        let waiter = Arc::new(Waiter::new(admission, ticket, wish));
        let mut state = admission.state();
        (state.queue).push(entry, ticket, Arc::clone(&waiter), now)?;
        Ok(Self(waiter))
    }

    /// Returns where it stands, for when the call comes again.
    pub(crate) fn ticket(&self) -> Ticket {
        self.0.ticket
    }

    /// Returns the key that the call was given, or why it gets none: not before `limit`, unless
    /// there is no hope.
    ///
    /// Who keeps the queue's time sees to the limit: a timer for each call that waits would take
    /// more memory than the call.
    pub(crate) fn poll(
        &self,
        cx: &Context<'_>,
        limit: impl Fn() -> Instant,
    ) -> Poll<Result<Box<Held>, Refusal>> {
        let (waiter, admission) = (&*self.0, &self.0.admission);
        loop {
            match ready!(waiter.poll(cx)) {
                Said::Given(held) => return Poll::Ready(Ok(held)),
                Said::Told(News::Panicked(panic)) => resume_unwind(panic.0),
                // No answer would come in time, or time is over.
                Said::Told(News::TooLate) => {
                    return Poll::Ready(Err(Refusal::TimedOut {
                        opens: waiter.opens(),
                    }));
                }
                Said::Told(News::Unattended) => admission.attend(),
                Said::Told(News::Refused(refused)) => {
                    let unavailable = Unavailable::from(refused);
                    waiter.note_told(unavailable.retry_at);
                    // Under these news there may have been the others, which do not replace them.
                    admission.attend();
                    if let Some(refusal) = admission.give_up(waiter, unavailable, limit()) {
                        return Poll::Ready(Err(refusal));
                    }
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (waiter, admission) = (&*self.0, &self.0.admission);
        let removed = admission.state().queue.remove(waiter.ticket).is_some();
        // A lease that came between the last look and now is returned here, which pumps.
        drop(waiter.close());
        if removed {
            // Whoever stood behind may be content with what this call was not.
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
            admission.pump_all();
        }
    }
}

/// Returns when `wait` from now is over; what no clock reaches becomes far enough.
pub(crate) fn after(wait: Duration) -> Instant {
    after_from(Instant::now(), wait)
}

/// Does the same for a wait that began then.
pub(crate) fn after_from(began: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
    began + wait.min(FAR)
}

#[cfg(test)]
mod tests;
