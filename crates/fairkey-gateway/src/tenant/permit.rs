//! One call's hold on its tenant's limits: [`Permit`].

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{Cost, KeyId, Timestamp};

use super::config::TenantLimits;
use super::money::{Empty, Purse, Windows};
use super::rolling::{Full, Mark, Rolling};
use super::{Per, Rate, Tenant};
use crate::reply::{Failure, Reason};
use crate::spend::SpendStore;

/// What a tenant has counted. It outlives reloads.
#[derive(Debug, Default)]
pub(crate) struct State(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    in_flight: u32,
    requests: Option<Rolling>,
    tokens: Option<Rolling>,
    purse: Purse,
}

/// What a call has used, as far as its answer said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens, prompt and completion together.
    pub tokens: u64,
    /// Money, in millionths of a US dollar.
    pub micro_usd: u64,
}

/// A call that is over, for the books.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spent {
    pub(crate) tenant: Arc<str>,
    /// None where no key was asked.
    pub(crate) key: Option<KeyId>,
    pub(crate) model: Option<Arc<str>>,
    /// When the call began, since 1970.
    pub(crate) at: Duration,
    pub(crate) used: Used,
    /// The upstream did not say: this is what was expected.
    pub(crate) is_guess: bool,
}

/// Takes note of calls that are over. Must not block.
pub(crate) trait Record: fmt::Debug + Send + Sync {
    fn record(&self, spent: Spent);
}

/// One call's hold on its tenant's limits.
///
/// It rides in the answer until its end. Dropped before [`sent`](Self::sent) it gives back all that
/// it took; after that, the call may have cost something, and counts as what was expected until
/// [`settle`](Self::settle) says better. The place in flight goes back in any case, exactly once.
#[must_use = "dropped, it gives back what it took"]
pub struct Permit {
    tenant: Arc<Tenant>,
    estimate: Cost,
    /// What was reserved: the estimate's money, or what stands for an unknown price.
    reserved_usd: u64,
    requests: Option<Mark>,
    tokens: Option<Mark>,
    windows: Windows,
    wall: Duration,
    holds_place: bool,
    sent: bool,
    key: Option<KeyId>,
    model: Option<Arc<str>>,
    used: Option<Used>,
    books: Option<Arc<dyn Record>>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing foreign runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.lock().in_flight
    }

    pub(super) fn money(&self, per: Per, wall: Duration) -> (u64, u64) {
        self.lock().purse.now(per, wall)
    }

    pub(super) fn restore(&self, per: Per, at: Duration, micro_usd: u64) {
        self.lock().purse.restore(per, at, micro_usd);
    }
}

/// Why the limits leave no room.
enum Refused {
    InFlight(u32),
    Rate(&'static str, Rate, Full),
    Money(Empty),
}

impl Counts {
    fn check(
        &mut self,
        limits: &TenantLimits,
        estimate: Cost,
        usd: u64,
        now: Timestamp,
        wall: Duration,
    ) -> Result<(), Refused> {
        if let Some(most) = limits.in_flight
            && self.in_flight >= most
        {
            return Err(Refused::InFlight(most));
        }
        let rates = [
            (
                "requests",
                limits.requests,
                &mut self.requests,
                estimate.requests.into(),
            ),
            ("tokens", limits.tokens, &mut self.tokens, estimate.tokens),
        ];
        for (what, rate, rolling, n) in rates {
            if let Some(rate) = rate {
                let rolling = of_length(rolling, rate.per);
                let fits = rolling.check(now, n, rate.limit);
                fits.map_err(|full| Refused::Rate(what, rate, full))?;
            }
        }
        (self.purse.check(&limits.money, wall, usd)).map_err(Refused::Money)
    }
}

/// Returns the counts for windows of this length: new ones where a reload has changed it.
fn of_length(rolling: &mut Option<Rolling>, per: Duration) -> &mut Rolling {
    if rolling.as_ref().is_some_and(|rolling| !rolling.is_per(per)) {
        *rolling = None;
    }
    rolling.get_or_insert_with(|| Rolling::new(per))
}

impl Permit {
    pub(super) fn take(
        tenant: &Arc<Tenant>,
        estimate: Cost,
        reserved_usd: u64,
        now: Timestamp,
        wall: Duration,
    ) -> Result<Self, Failure> {
        let limits = &tenant.config().limits;
        let mut counts = tenant.state().lock();
        if let Err(refused) = counts.check(limits, estimate, reserved_usd, now, wall) {
            drop(counts);
            return Err(failure(tenant, &refused, estimate, wall));
        }
        counts.in_flight += 1;
        let requests = limits.requests.is_some();
        let requests = (counts.requests.as_mut().filter(|_| requests))
            .map(|it| it.take(now, estimate.requests.into()));
        let tokens = limits.tokens.is_some();
        let tokens =
            (counts.tokens.as_mut().filter(|_| tokens)).map(|it| it.take(now, estimate.tokens));
        let windows = counts.purse.reserve(wall, reserved_usd);
        drop(counts);
        Ok(Self {
            tenant: Arc::clone(tenant),
            estimate,
            reserved_usd,
            requests,
            tokens,
            windows,
            wall,
            holds_place: true,
            sent: false,
            key: None,
            model: None,
            used: None,
            books: None,
        })
    }

    /// Returns the tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Says where the call is to be written down when it is over, if it was sent.
    pub fn recorded_by(self, store: &SpendStore) -> Self {
        self.with_books(store.recorder())
    }

    pub(super) fn with_books(mut self, books: Arc<dyn Record>) -> Self {
        self.books = Some(books);
        self
    }

    /// Says that the call is on its way upstream, where it may cost something.
    pub fn sent(&mut self) {
        self.sent = true;
    }

    /// Says that the upstream refused the call before it cost anything: dropped, it gives back
    /// its tokens and its money. The request counts.
    pub fn refused(&mut self) {
        self.sent = true;
        self.used = Some(Used::default());
    }

    /// Says which key serves the call, with which model.
    pub fn served_by(&mut self, key: KeyId, model: Option<Arc<str>>) {
        (self.key, self.model) = (Some(key), model);
    }

    /// Whether anybody wants to know what the call came to: a limit, or the books.
    pub(crate) fn is_counted(&self) -> bool {
        let limits = &self.tenant.config().limits;
        self.books.is_some() || limits.tokens.is_some() || !limits.money.is_empty()
    }

    /// Gives back the place in flight before the call is settled: its caller has left, and only what
    /// it cost is still asked for.
    pub fn release_place(&mut self) {
        if std::mem::take(&mut self.holds_place) {
            let mut counts = self.tenant.state().lock();
            counts.in_flight = counts.in_flight.saturating_sub(1);
        }
    }

    /// Says what the call has used. The last word counts; it takes effect when this is dropped.
    pub fn settle(&mut self, used: Used) {
        self.sent = true;
        self.used = Some(used);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release_place();
        let (used, is_guess) = match (self.sent, self.used) {
            (false, _) => (None, false),
            (true, Some(used)) => (Some(used), false),
            (true, None) => {
                let guess = Used {
                    tokens: self.estimate.tokens,
                    micro_usd: self.reserved_usd,
                };
                (Some(guess), true)
            }
        };
        let mut counts = self.tenant.state().lock();
        let requests = if self.sent {
            self.estimate.requests.into()
        } else {
            0
        };
        if let (Some(rolling), Some(mark)) = (&mut counts.requests, self.requests) {
            rolling.correct(mark, self.estimate.requests.into(), requests);
        }
        let tokens = used.map_or(0, |used| used.tokens);
        if let (Some(rolling), Some(mark)) = (&mut counts.tokens, self.tokens) {
            rolling.correct(mark, self.estimate.tokens, tokens);
        }
        let micro_usd = used.map_or(0, |used| used.micro_usd);
        counts
            .purse
            .settle(self.windows, self.reserved_usd, micro_usd);
        drop(counts);
        if let (Some(books), Some(used)) = (&self.books, used) {
            books.record(Spent {
                tenant: Arc::clone(self.tenant.shared_id()),
                key: self.key.take(),
                model: self.model.take(),
                at: self.wall,
                used,
                is_guess,
            });
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("tenant", &self.tenant.id())
            .field("estimate", &self.estimate)
            .field("sent", &self.sent)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// Says what is used up, and when there is some again.
#[cold]
fn failure(tenant: &Tenant, refused: &Refused, estimate: Cost, wall: Duration) -> Failure {
    let id = tenant.id();
    match refused {
        Refused::InFlight(most) => Failure::new(
            Reason::TooManyInFlight,
            format!("client \"{id}\" has {most} calls under way, as many as it may"),
        ),
        Refused::Rate(what, rate, full) => {
            let Rate { limit, per } = rate;
            match full {
                Full::For(wait) => Failure::new(
                    Reason::OverRate,
                    format!("client \"{id}\" has used its {limit} {what} in {per:?}"),
                )
                .with_retry_after(*wait),
                Full::ForEver => Failure::new(
                    Reason::OverRate,
                    format!(
                        "the call may use {} tokens, and client \"{id}\" has {limit} {what} in \
                         {per:?}: ask for fewer by max_tokens, or shorten the prompt",
                        estimate.tokens
                    ),
                ),
            }
        }
        Refused::Money(Empty::Spent(budget)) => Failure::new(
            Reason::OverBudget,
            format!(
                "client \"{id}\" has used its {} ({})",
                usd(budget.micro_usd),
                budget.per
            ),
        )
        .with_retry_after_if(budget.per.left(wall)),
        Refused::Money(Empty::Held(budget)) => Failure::new(
            Reason::TooManyInFlight,
            format!(
                "what calls under way may cost leaves no room in the {} ({}) of client \"{id}\"",
                usd(budget.micro_usd),
                budget.per
            ),
        ),
        Refused::Money(Empty::TooMuch(budget)) => Failure::new(
            Reason::OverBudget,
            format!(
                "the call may cost {}, and client \"{id}\" has {} ({}): ask for fewer tokens by \
                 max_tokens, or shorten the prompt",
                usd(estimate.micro_usd),
                usd(budget.micro_usd),
                budget.per
            ),
        ),
    }
}

fn usd(micro: u64) -> String {
    format!("${}.{:06}", micro / 1_000_000, micro % 1_000_000)
}
