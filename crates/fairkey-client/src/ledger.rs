//! The account book of one call: [`Ledger`].

use std::time::Duration;

use fairkey_core::{AccountTenure, Candidate, Cost, KeyId, Tenure, Timestamp, Tried};
use fairkey_openrouter::Fault;
use fairkey_strategy::queue::Ticket;
use tokio::time::Instant;

use crate::answer::{Attempt, AttemptFault, Bill};
use crate::attempts::Failed;
use crate::call::CallOptions;
use crate::core::Core;
use crate::estimate::Content;
use crate::exchange::Asked;
use crate::models::Models;
use crate::verdict::Spent;

/// Everything that one call has done so far. Each attempt passes through it, whichever layer
/// makes it, so that layers cannot multiply attempts.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    attempts: Vec<Attempt>,
    failovers: u32,
    retries: u32,
    /// The retries with the present model.
    retries_on_model: u32,
    fallbacks: u32,
    hedges: u32,
    /// The models that the call may ask for.
    pub(crate) models: Models,
    /// What its body asks for.
    pub(crate) content: Content,
    open: Option<Attempt>,
    /// A second attempt beside the one that is open.
    hedge: Option<Attempt>,
    tried: Vec<Excluded>,
    /// The call's place in line, once it has stood there.
    pub(crate) ticket: Option<Ticket>,
    /// How long the call has waited for keys.
    pub(crate) waited: Duration,
    /// The fault of the last attempt that failed.
    pub(crate) fault: Option<Fault>,
    /// What came of the last attempt, where it failed and another one was to follow.
    kept: Option<Box<Failed>>,
}

/// What this call shall not use again, until a time; `None`: never.
#[derive(Debug)]
struct Excluded {
    what: What,
    until: Option<Timestamp>,
    /// The place of the one model for which it is excluded; `None`: for all.
    model: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Key(Tenure),
    Account(AccountTenure),
}

impl Ledger {
    pub(crate) fn open(deadline: Option<Duration>, models: Models, content: Content) -> Self {
        let started = Instant::now();
        Self {
            started,
            // What no clock reaches is no deadline.
            deadline: deadline.and_then(|within| started.checked_add(within)),
            attempts: Vec::new(),
            failovers: 0,
            retries: 0,
            retries_on_model: 0,
            fallbacks: 0,
            hedges: 0,
            models,
            content,
            open: None,
            hedge: None,
            tried: Vec::new(),
            ticket: None,
            waited: Duration::ZERO,
            fault: None,
            kept: None,
        }
    }

    /// Returns what is to be reserved for an attempt with the present model: what the caller says,
    /// or else an estimate.
    pub(crate) fn cost(&self, core: &Core, said: Option<Cost>) -> Cost {
        let Some(demand) = &self.content.demand else {
            return said.unwrap_or(Cost::ONE);
        };
        if let Some(said) = said {
            return said;
        }
        let prices = core.catalog.kept_models();
        let of = |name: Option<&str>| core.estimates.of(Some(demand), name, prices.as_ref());
        let mut cost = of(self.models.name().map(|name| &**name)).cost();
        for name in self.models.at_once().skip(1) {
            // Whoever serves it in the end: it may be the dearest.
            cost.micro_usd = cost.micro_usd.max(of(Some(name)).cost().micro_usd);
        }
        cost
    }

    /// Returns what an attempt with the present model asks for.
    pub(crate) fn asked(&self, options: &CallOptions) -> Asked {
        Asked {
            model: self.models.name().cloned(),
            demand: self.content.demand,
            is_estimated: options.cost.is_none(),
        }
    }

    /// Tells whether money is estimated as nothing since no price is known.
    pub(crate) fn is_unpriced(&self, core: &Core, options: &CallOptions) -> bool {
        let (Some(demand), None) = (&self.content.demand, options.cost) else {
            return false;
        };
        let prices = core.catalog.kept_models();
        let name = self.models.name().map(|name| &**name);
        let estimate = core.estimates.of(Some(demand), name, prices.as_ref());
        estimate.micro_usd.is_none()
    }

    /// Books that an attempt begins.
    pub(crate) fn begin(&mut self, key: Candidate<'_>, now: Timestamp) {
        self.kept = None;
        self.models.begin();
        self.open = Some(self.entry(key, now));
    }

    /// Books that a second attempt begins beside the first.
    pub(crate) fn hedge(&mut self, key: Candidate<'_>, now: Timestamp) {
        self.hedges += 1;
        self.hedge = Some(self.entry(key, now));
    }

    fn entry(&self, key: Candidate<'_>, now: Timestamp) -> Attempt {
        Attempt {
            key: key.id().clone(),
            account: key.account_id().cloned(),
            model: self.models.name().cloned(),
            fault: None,
            bill: Bill::default(),
            began: now,
            elapsed: Duration::ZERO,
        }
    }

    /// Books how one of two attempts ended: that with the key.
    pub(crate) fn settle(&mut self, key: &KeyId, fault: AttemptFault, bill: Bill, now: Timestamp) {
        let of_key = |attempt: &mut Attempt| attempt.key == *key;
        let ended = (self.open.take_if(of_key)).or_else(|| self.hedge.take_if(of_key));
        self.close(ended, Some(fault), bill, now);
    }

    /// Books how what is under way ended.
    pub(crate) fn end(&mut self, fault: Option<AttemptFault>, bill: Bill, now: Timestamp) {
        let (open, hedge) = (self.open.take(), self.hedge.take());
        self.close(open, fault, bill, now);
        self.close(hedge, fault, bill, now);
    }

    fn close(
        &mut self,
        ended: Option<Attempt>,
        fault: Option<AttemptFault>,
        bill: Bill,
        now: Timestamp,
    ) {
        if let Some(attempt) = ended {
            let elapsed = now.since(attempt.began);
            self.attempts.push(Attempt {
                fault,
                bill,
                elapsed,
                ..attempt
            });
        }
    }

    /// Keeps what came of an attempt, for when no other one can be made after all. It holds no
    /// key meanwhile: an answer that was not read to its end is let go.
    pub(crate) fn keep(&mut self, mut failed: Box<Failed>) {
        failed.release();
        self.kept = Some(failed);
    }

    /// Returns what came of the last attempt, unless one is under way.
    pub(crate) fn take_kept(&mut self) -> Option<Box<Failed>> {
        self.kept.take()
    }

    /// Books that the next attempt goes to another key, since this one refused. `bound`: it may
    /// grant the same for another model.
    pub(crate) fn exclude_key(&mut self, key: Tenure, until: Option<Timestamp>, bound: bool) {
        self.exclude(What::Key(key), until, bound);
    }

    /// Books that the next attempt goes to another account.
    pub(crate) fn exclude_account(
        &mut self,
        account: AccountTenure,
        until: Option<Timestamp>,
        bound: bool,
    ) {
        self.exclude(What::Account(account), until, bound);
    }

    /// Books that the next attempt is the same again.
    pub(crate) fn retry(&mut self) {
        self.retries += 1;
        self.retries_on_model += 1;
    }

    /// Books that the call asks for another model, without a fault of the present one.
    pub(crate) fn ask_for(&mut self, model: usize) {
        if model != self.models.now() {
            self.retries_on_model = 0;
            self.models.choose(model);
        }
    }

    /// Books that the next attempt goes to another model, since this one failed.
    pub(crate) fn fall_back(&mut self) {
        self.fallbacks += 1;
        self.retries_on_model = 0;
        self.models.fail();
    }

    /// Takes over what earlier attempts, made elsewhere, have used.
    #[cfg(feature = "tower")]
    pub(crate) fn exclude_all(&mut self, tried: &Tried) {
        let keys = tried.keys().iter().map(|key| What::Key(*key));
        let accounts = tried
            .accounts()
            .iter()
            .map(|account| What::Account(*account));
        self.tried.extend(keys.chain(accounts).map(|what| Excluded {
            what,
            until: None,
            model: None,
        }));
    }

    fn exclude(&mut self, what: What, until: Option<Timestamp>, bound: bool) {
        self.failovers += 1;
        let model = bound.then(|| self.models.now());
        self.tried
            .retain(|excluded| (excluded.what, excluded.model) != (what, model));
        self.tried.push(Excluded { what, until, model });
    }

    /// Returns what the call has tried; at `now`, where one is given, without what may be tried
    /// again by then.
    pub(crate) fn tried(&self, now: Option<Timestamp>) -> Tried {
        let mut tried = Tried::new();
        for excluded in self.excluded() {
            if now.is_some_and(|now| excluded.until.is_some_and(|until| until <= now)) {
                continue;
            }
            match excluded.what {
                What::Key(key) => tried.add_key(key),
                What::Account(account) => tried.add_account(account),
            }
        }
        tried
    }

    /// Returns when the next thing that was tried may be tried again.
    pub(crate) fn next_return(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.excluded().filter_map(|excluded| excluded.until);
        times.filter(|until| *until > now).min()
    }

    /// Returns what is excluded for the present model.
    fn excluded(&self) -> impl Iterator<Item = &Excluded> {
        let now = self.models.now();
        (self.tried.iter()).filter(move |excluded| excluded.model.is_none_or(|model| model == now))
    }

    /// Returns what the verdict depends on.
    pub(crate) fn spent(&self) -> Spent {
        let mut spent = Spent::first(self.models.left());
        spent.attempts += self.retries + self.hedges;
        spent.attempts_on_model += self.retries_on_model;
        spent.failovers = self.failovers;
        spent.fallbacks = self.fallbacks;
        spent.left = self.left();
        spent
    }

    /// Returns the time until the deadline.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Returns the attempts so far; the ledger is closed.
    pub(crate) fn take_attempts(&mut self) -> Vec<Attempt> {
        std::mem::take(&mut self.attempts)
    }

    pub(crate) fn sent(&self) -> usize {
        self.attempts.len()
    }
}
