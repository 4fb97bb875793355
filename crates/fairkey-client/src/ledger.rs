//! The account book of one call: [`Ledger`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{AccountTenure, Candidate, Cost, KeyId, Random, Tenure, Timestamp, Tried};
use fairkey_openrouter::Fault;
use fairkey_openrouter::splice::SpliceError;
use fairkey_strategy::queue::Ticket;
use tokio::time::Instant;

use crate::admission::Held;
use crate::answer::{Attempt, AttemptFault, Bill};
use crate::attempts::Failed;
use crate::core::Core;
use crate::exchange::Asked;
use crate::job::Job;
use crate::models::Models;
use crate::verdict::Spent;

/// Everything that one call has done so far. Each attempt passes through it, whichever layer
/// makes it, so that layers cannot multiply attempts.
///
/// A call that waits for its first key has done nothing: its book is made when it gets one, or
/// where it names several models.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) job: Arc<Job>,
    pub(crate) started: Instant,
    book: Option<Box<Book>>,
    /// For the waits between its attempts.
    chance: Random,
    /// Whether it may be hedged.
    pub(crate) may_hedge: bool,
}

#[derive(Debug, Default)]
struct Book {
    /// The models that the call may ask for; `None`: the one of the job.
    models: Option<Box<Models>>,
    attempts: Vec<Attempt>,
    failovers: u32,
    retries: u32,
    /// The retries with the present model.
    retries_on_model: u32,
    fallbacks: u32,
    hedges: u32,
    open: Option<Attempt>,
    /// A second attempt beside the one that is open.
    hedge: Option<Attempt>,
    tried: Vec<Excluded>,
    /// The key of the next attempt.
    held: Option<Held>,
    /// The call's place in line, once it has stood there.
    ticket: Option<Ticket>,
    /// How long the call has waited for keys.
    waited: Duration,
    /// The fault of the last attempt that failed.
    fault: Option<Fault>,
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
    /// Makes the ledger of a call that has not begun.
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self {
            started: Instant::now(),
            book: job.models().map(|models| {
                Box::new(Book {
                    models: Some(models),
                    ..Book::default()
                })
            }),
            job,
            chance: Random::new(0),
            may_hedge: false,
        }
    }

    /// Notes that the call begins.
    pub(crate) fn begin_now(&mut self, chance: Random) {
        self.started = Instant::now();
        self.chance = chance;
    }

    /// Keeps a key for the next attempt.
    pub(crate) fn hold(&mut self, held: Held) {
        self.book().held = Some(held);
    }

    /// Returns the key for the next attempt.
    pub(crate) fn take_held(&mut self) -> Option<Held> {
        self.book.as_mut()?.held.take()
    }

    fn book(&mut self) -> &mut Book {
        self.book.get_or_insert_default()
    }

    fn models(&self) -> Option<&Models> {
        self.book.as_ref()?.models.as_deref()
    }

    fn models_mut(&mut self) -> Option<&mut Models> {
        self.book.as_mut()?.models.as_deref_mut()
    }

    /// Returns when the caller stops waiting. What no clock reaches is no deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.job.deadline()?)
    }

    /// Returns a number from 0 to 1, another one each time.
    pub(crate) fn chance(&mut self) -> f64 {
        self.chance.unit()
    }

    /// Returns whether nothing was done for it yet, and it names no models to choose from.
    pub(crate) fn is_new(&self) -> bool {
        self.book.is_none()
    }

    /// Returns whether it asks for one model, and has tried nothing yet.
    pub(crate) fn is_plain(&self) -> bool {
        self.models().is_none() && self.book.as_ref().is_none_or(|book| book.tried.is_empty())
    }

    /// Returns the present model's name, where it has one; of several, that of the first.
    pub(crate) fn model(&self) -> Option<&Arc<str>> {
        match self.models() {
            Some(models) => models.name(),
            None => self.job.model.as_ref(),
        }
    }

    /// Returns the present model's place in the chain.
    pub(crate) fn model_at(&self) -> usize {
        self.models().map_or(0, |models| models.now())
    }

    /// Returns the places of the models that can be asked for, in the order of preference.
    pub(crate) fn candidates(&self) -> Vec<usize> {
        (self.models()).map_or_else(|| vec![0], |models| models.candidates())
    }

    /// Returns how many other models the call has not failed with.
    pub(crate) fn other_models(&self) -> u32 {
        self.models().map_or(0, |models| models.others())
    }

    /// Returns the body that asks for the present model.
    pub(crate) fn body(&self) -> Result<Bytes, SpliceError> {
        let body = self.job.body.bytes();
        match self.models() {
            Some(models) => models.body(body),
            None => Ok(body.clone()),
        }
    }

    /// Returns the call's place in line, once it has stood there.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.book.as_ref()?.ticket
    }

    /// Keeps the call's place in line for when it comes again.
    pub(crate) fn keep_ticket(&mut self, ticket: Option<Ticket>) {
        self.book().ticket = ticket;
    }

    /// Notes that the call has waited for a key.
    pub(crate) fn note_waited(&mut self, waited: Duration) {
        self.book().waited += waited;
    }

    /// Returns how long the call has waited for keys.
    pub(crate) fn waited(&self) -> Duration {
        (self.book.as_ref()).map_or(Duration::ZERO, |book| book.waited)
    }

    /// Notes the fault of an attempt.
    pub(crate) fn note_fault(&mut self, fault: Fault) {
        self.book().fault = Some(fault);
    }

    /// Returns whether an attempt has failed by a fault.
    pub(crate) fn has_fault(&self) -> bool {
        (self.book.as_ref()).is_some_and(|book| book.fault.is_some())
    }

    /// Returns the fault of the last attempt that failed.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.book.as_mut()?.fault.take()
    }

    /// Returns what is to be reserved for an attempt with the present model: what the caller says,
    /// or else an estimate.
    pub(crate) fn cost(&self, core: &Core) -> Cost {
        if let Some(said) = self.job.cost() {
            return said;
        }
        let Some(demand) = &self.job.demand else {
            return Cost::ONE;
        };
        let prices = core.catalog.kept_models();
        let of = |name: Option<&str>| core.estimates.of(Some(demand), name, prices.as_ref());
        let mut cost = of(self.model().map(|name| &**name)).cost();
        let all = self
            .models()
            .into_iter()
            .flat_map(|models| models.at_once());
        for name in all.skip(1) {
            // Whoever serves it in the end: it may be the dearest.
            cost.micro_usd = cost.micro_usd.max(of(Some(name)).cost().micro_usd);
        }
        cost
    }

    /// Returns what an attempt with the present model asks for.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            model: self.model().cloned(),
            demand: self.job.demand.clone(),
            is_estimated: self.job.cost().is_none(),
        }
    }

    /// Tells whether money is estimated as nothing since no price is known.
    pub(crate) fn is_unpriced(&self, core: &Core) -> bool {
        let (Some(demand), None) = (&self.job.demand, self.job.cost()) else {
            return false;
        };
        let Some(prices) = core.catalog.kept_models() else {
            return true;
        };
        let name = self.model().map(|name| &**name);
        let estimate = core.estimates.of(Some(demand), name, Some(&prices));
        estimate.micro_usd.is_none()
    }

    /// Books that an attempt begins.
    pub(crate) fn begin(&mut self, key: Candidate<'_>, now: Timestamp) {
        if let Some(models) = self.models_mut() {
            models.begin();
        }
        let entry = self.entry(key, now);
        let book = self.book();
        book.kept = None;
        book.open = Some(entry);
    }

    /// Books that a second attempt begins beside the first.
    pub(crate) fn hedge(&mut self, key: Candidate<'_>, now: Timestamp) {
        let entry = self.entry(key, now);
        let book = self.book();
        book.hedges += 1;
        book.hedge = Some(entry);
    }

    fn entry(&self, key: Candidate<'_>, now: Timestamp) -> Attempt {
        Attempt {
            key: key.id().clone(),
            account: key.account_id().cloned(),
            model: self.model().cloned(),
            fault: None,
            bill: Bill::default(),
            began: now,
            elapsed: Duration::ZERO,
        }
    }

    /// Books how one of two attempts ended: that with the key.
    pub(crate) fn settle(&mut self, key: &KeyId, fault: AttemptFault, bill: Bill, now: Timestamp) {
        let of_key = |attempt: &mut Attempt| attempt.key == *key;
        let book = self.book();
        let ended = (book.open.take_if(of_key)).or_else(|| book.hedge.take_if(of_key));
        book.close(ended, Some(fault), bill, now);
    }

    /// Books how what is under way ended.
    pub(crate) fn end(&mut self, fault: Option<AttemptFault>, bill: Bill, now: Timestamp) {
        let Some(book) = &mut self.book else { return };
        let (open, hedge) = (book.open.take(), book.hedge.take());
        book.close(open, fault, bill, now);
        book.close(hedge, fault, bill, now);
    }

    /// Keeps what came of an attempt, for when no other one can be made after all. It holds no
    /// key meanwhile: an answer that was not read to its end is let go.
    pub(crate) fn keep(&mut self, mut failed: Box<Failed>) {
        failed.release();
        self.book().kept = Some(failed);
    }

    /// Returns what came of the last attempt, unless one is under way.
    pub(crate) fn take_kept(&mut self) -> Option<Box<Failed>> {
        self.book.as_mut()?.kept.take()
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
        let book = self.book();
        book.retries += 1;
        book.retries_on_model += 1;
    }

    /// Books that the call asks for another model, without a fault of the present one.
    pub(crate) fn ask_for(&mut self, model: usize) {
        if let Some(models) = self.models_mut().filter(|models| models.now() != model) {
            models.choose(model);
            self.book().retries_on_model = 0;
        }
    }

    /// Books that the next attempt goes to another model, since this one failed.
    pub(crate) fn fall_back(&mut self) {
        if let Some(models) = self.models_mut() {
            models.fail();
        }
        let book = self.book();
        book.fallbacks += 1;
        book.retries_on_model = 0;
    }

    /// Takes over what earlier attempts, made elsewhere, have used.
    #[cfg(feature = "tower")]
    pub(crate) fn exclude_all(&mut self, tried: &Tried) {
        let keys = tried.keys().iter().map(|key| What::Key(*key));
        let accounts = tried
            .accounts()
            .iter()
            .map(|account| What::Account(*account));
        self.book()
            .tried
            .extend(keys.chain(accounts).map(|what| Excluded {
                what,
                until: None,
                model: None,
            }));
    }

    fn exclude(&mut self, what: What, until: Option<Timestamp>, bound: bool) {
        let model = bound.then(|| self.model_at());
        let book = self.book();
        book.failovers += 1;
        (book.tried).retain(|excluded| (excluded.what, excluded.model) != (what, model));
        book.tried.push(Excluded { what, until, model });
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
        let now = self.model_at();
        let tried = self.book.iter().flat_map(|book| &book.tried);
        tried.filter(move |excluded| excluded.model.is_none_or(|model| model == now))
    }

    /// Returns what the verdict depends on.
    pub(crate) fn spent(&self) -> Spent {
        let left = self.models().map_or(0, |models| models.left());
        let mut spent = Spent::first(left);
        if let Some(book) = &self.book {
            spent.attempts += book.retries + book.hedges;
            spent.attempts_on_model += book.retries_on_model;
            spent.failovers = book.failovers;
            spent.fallbacks = book.fallbacks;
        }
        spent.left = self.left();
        spent
    }

    /// Returns the time until the deadline.
    pub(crate) fn left(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the attempts so far; the ledger is closed.
    pub(crate) fn take_attempts(&mut self) -> Vec<Attempt> {
        (self.book.as_mut()).map_or_else(Vec::new, |book| std::mem::take(&mut book.attempts))
    }

    /// Returns when the attempt began that ended last.
    pub(crate) fn last_began(&self) -> Option<Timestamp> {
        Some(self.book.as_ref()?.attempts.last()?.began)
    }

    pub(crate) fn sent(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.attempts.len())
    }
}

impl Book {
    fn close(
        &mut self,
        ended: Option<Attempt>,
        fault: Option<AttemptFault>,
        bill: Bill,
        now: Timestamp,
    ) {
        if let Some(attempt) = ended {
            let elapsed = now.since(attempt.began);
            if self.attempts.is_empty() {
                // Most often it stays the only one.
                self.attempts.reserve_exact(1);
            }
            self.attempts.push(Attempt {
                fault,
                bill,
                elapsed,
                ..attempt
            });
        }
    }
}
