//! Handing what is free to those who wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, Cost, Scope, Timestamp};
use fairkey_strategy::queue::{Next, Pass, Rest, Then, Ticket};

use super::held::{Held, Permit};
use super::waiter::{News, Panic, Waiter};
use super::{Admission, State};

/// A look at those whom a pass did not come to: where it is, and when it goes on.
#[derive(Debug, Default)]
pub(super) struct RestOf {
    pub(super) at: Timestamp,
    rest: Rest,
    begun: bool,
    /// Something may have become free for those whom it has passed.
    again: bool,
}

/// Whoever a pass has not come to is asked about after this long, some tens at a time: so rare and
/// so few that, however many models are waited for, it costs no more than a per cent of a core.
const REST_EVERY: Duration = Duration::from_millis(20);

/// After this long what yields to others is asked about again.
const YIELDED: Duration = Duration::from_millis(50);

/// So many are estimated anew at each look, where they are: some microseconds.
const REVISED: usize = 32;

impl Admission {
    /// Hands what is free to those who wait, in order. Called whenever something may have become
    /// free; cheap where nobody waits.
    pub(crate) fn pump(self: &Arc<Self>) {
        self.hand_out(None);
    }

    /// Looks for something for one who came: what is free, and was not when it first asked.
    pub(super) fn pump_for_newcomer(self: &Arc<Self>, ticket: Ticket) {
        self.hand_out(Some(ticket));
    }

    /// Does the same after something has changed for models that were out.
    pub(crate) fn pump_all(self: &Arc<Self>) {
        self.state().queue.open_all();
        self.pump();
    }

    fn hand_out(self: &Arc<Self>, newcomer: Option<Ticket>) {
        if self.state().queue.is_empty() {
            return self.attend();
        }
        if !self.baton.take() {
            return;
        }
        self.revise_some();
        let mut newcomer = newcomer;
        loop {
            // No foreign panic leaves a pass, so that the baton is always given back.
            self.pass(newcomer);
            if self.baton.give_back() {
                break;
            }
            newcomer = None;
        }
        self.attend();
    }

    /// Estimates some of those anew whose model has turned out to be another one than was thought.
    fn revise_some(&self) {
        let cost = |waiter: &Arc<Waiter>| self.cost_of(&waiter.wanted);
        self.state().queue.revise_some(REVISED, cost);
    }

    /// Does the same where the last pass ended for want of a permit: for who holds one for a
    /// moment, and gives it back without having freed anything.
    pub(super) fn pump_if_starved(self: &Arc<Self>) {
        let starved = std::mem::take(&mut self.state().starved);
        if starved {
            self.pump();
        }
    }

    /// Lets those go whose time is over.
    pub(super) fn let_go(self: &Arc<Self>) {
        let mut any = false;
        loop {
            // Some at a time: others shall get the lock in between.
            let now = self.pool.now();
            let late: Vec<_> = {
                let queue = &mut self.state().queue;
                std::iter::from_fn(|| queue.pop_late(now))
                    .take(64)
                    .collect()
            };
            if late.is_empty() {
                break;
            }
            any = true;
            for waiter in late {
                waiter.tell(News::TooLate);
            }
        }
        if any {
            // Whoever stood behind may be content with what these were not.
            self.pump();
        }
    }

    /// Asks those who wait, in order.
    fn pass(self: &Arc<Self>, newcomer: Option<Ticket>) {
        let now = self.pool.now();
        let mut pass = {
            let queue = &mut self.state().queue;
            match newcomer {
                Some(ticket) => queue.begin_for(ticket, now),
                None => queue.begin(now),
            }
        };
        let is_over = self.ask_all(&mut pass, |state, pass| state.queue.next(pass));
        if is_over && newcomer.is_none() {
            let state = &mut *self.state();
            if pass.is_cut_short() || state.queue.has_rest() {
                let rest = state.rest.get_or_insert_with(|| RestOf {
                    at: now + REST_EVERY,
                    ..RestOf::default()
                });
                rest.again = rest.begun;
            }
        }
    }

    /// Goes on with the look at those whom passes did not come to.
    pub(super) fn go_on_with_rest(self: &Arc<Self>) {
        let now = self.pool.now();
        // First of all: who has the baton passes once more, and notes in what is here that something
        // may have become free for those who were looked at.
        if !self.baton.take() {
            if let Some(rest) = &mut self.state().rest {
                rest.at = now + REST_EVERY;
            }
            return;
        }
        let rest = self.state().rest.take();
        if let Some(mut rest) = rest {
            rest.begun = true;
            let mut pass = self.state().queue.begin(now);
            let mut at = rest.rest;
            self.ask_all(&mut pass, |state, pass| {
                state.queue.next_of_rest(&mut at, pass)
            });
            rest.rest = at;
            let is_over = !pass.is_cut_short();
            let state = &mut *self.state();
            // A pass of somebody else cannot have begun another one: the baton is held.
            if !is_over {
                rest.at = now + REST_EVERY;
                state.rest = Some(rest);
            } else if rest.again {
                state.rest = Some(RestOf {
                    at: now + REST_EVERY,
                    ..RestOf::default()
                });
            }
        }
        while !self.baton.give_back() {
            self.pass(None);
        }
    }

    /// Asks the pool for whoever is next, until there is nobody. `false`: for want of a permit.
    fn ask_all(
        self: &Arc<Self>,
        pass: &mut Pass,
        mut next: impl FnMut(&mut State, &mut Pass) -> Option<Next<Arc<Waiter>>>,
    ) -> bool {
        loop {
            let next = {
                let state = &mut *self.state();
                let next = next(state, pass);
                if matches!(next, Some(Next::Ask(..))) && state.free == Some(0) {
                    state.starved = true;
                    return false;
                }
                next
            };
            match next {
                None => return true,
                Some(Next::Late(waiter)) => waiter.tell(News::TooLate),
                Some(Next::Ask(number, waiter)) => {
                    if !self.offer(pass, number, &waiter) {
                        return false;
                    }
                }
            }
        }
    }

    /// Asks the pool for one who waits; `false`: there is no permit.
    ///
    /// Whoever pumps does it for others: where strategy, gates or observers panic over one who
    /// waits, that call hears of it, as it would had it not waited, and nobody else.
    fn offer(self: &Arc<Self>, pass: &mut Pass, number: u64, waiter: &Arc<Waiter>) -> bool {
        if self.is_too_late(waiter) && self.leave(number, waiter) {
            waiter.tell(News::TooLate);
            return true;
        }
        let (wanted, model) = (&waiter.wanted, waiter.wanted.model());
        let cost = self.cost_of(wanted);
        let (permit, yields) = {
            let mut state = self.state();
            let Some(permit) = self.take_permit(&mut state, model) else {
                state.starved = true;
                return false;
            };
            state.queue.revise(number, cost);
            let is_behind = state.queue.is_behind(number);
            let yields = is_behind && state.recent.has_others(model);
            (permit, yields)
        };
        let ask = Ask {
            cost,
            yields,
            ..wanted.ask()
        };
        match catch_unwind(AssertUnwindSafe(|| self.pool.select(&ask))) {
            Ok(Ok(lease)) => self.grant(pass, number, waiter, Held::new(lease, permit)),
            Ok(Err(unavailable)) => {
                permit.give_back_quietly();
                let closed = matches!(unavailable.by, Some(Scope::Model | Scope::Provider));
                let until = unavailable.retry_at;
                let then = {
                    let queue = &mut self.state().queue;
                    // Where nobody bars, nothing is said of the line.
                    if unavailable.by.is_some() {
                        queue.note_bar(pass, number, unavailable.by_limit);
                    }
                    let then = queue.refused(pass, number, until, closed);
                    if yields {
                        // Nobody tells when there is room enough that it need not yield.
                        queue.remind(&waiter.line(), pass.now() + YIELDED);
                    }
                    then
                };
                waiter.tell(News::Refused(unavailable.into()));
                if then == Then::Look && !yields {
                    self.look(pass, number, waiter, until);
                }
            }
            Err(panic) => {
                // Out of the queue first: nobody is asked about it again.
                self.leave(number, waiter);
                permit.give_back_quietly();
                waiter.tell(News::Panicked(Box::new(Panic(panic))));
            }
        }
        true
    }

    fn grant(&self, pass: &mut Pass, number: u64, waiter: &Arc<Waiter>, mut held: Held) {
        let charge = {
            let state = &mut *self.state();
            let stands = state.stands(number, waiter);
            stands.then(|| state.queue.serve(pass, number)).flatten()
        };
        let Some(charge) = charge else {
            // It has left meanwhile; what is held goes back, and is handed out again.
            return;
        };
        held.charge(charge);
        // Where it has left since, what is held goes back here.
        drop(waiter.grant(Box::new(held)));
    }

    /// Finds out whether it is its size that bars a call, past which others are served.
    fn look(&self, pass: &mut Pass, number: u64, waiter: &Waiter, until: Option<Timestamp>) {
        let mut ask = waiter.wanted.ask();
        let is_small = ask.cost == Cost::ONE;
        ask.cost = Cost::ONE;
        let fits = || {
            let explained = catch_unwind(AssertUnwindSafe(|| self.pool.explain(&ask)));
            let keys = explained.map(|it| it.keys).unwrap_or_default();
            keys.iter().any(|key| !key.tried && key.denied.is_empty())
        };
        let is_too_large = !is_small && fits();
        let mut state = self.state();
        if is_too_large {
            state.queue.hold(pass, number, until);
        } else {
            state.queue.note_other_bar(number);
        }
    }

    /// Returns whether no answer can be hoped for before the call's deadline while somebody else
    /// in its line could use the key.
    fn is_too_late(&self, waiter: &Waiter) -> bool {
        let Some(deadline) = waiter.wanted.deadline() else {
            return false;
        };
        deadline.since(self.pool.now()) < self.quickest.get()
            && self.state().queue.waiting_in(&waiter.line()) > 1
    }

    fn leave(&self, number: u64, waiter: &Arc<Waiter>) -> bool {
        let state = &mut *self.state();
        state.stands(number, waiter) && state.queue.remove_number(number).is_some()
    }

    pub(super) fn take_permit(
        self: &Arc<Self>,
        state: &mut State,
        model: Option<&Arc<str>>,
    ) -> Option<Permit> {
        match &mut state.free {
            Some(0) => return None,
            Some(free) => *free -= 1,
            None => {}
        }
        Some(Permit::new(self, model.cloned()))
    }
}
