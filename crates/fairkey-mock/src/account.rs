//! What an account is allowed, as the test writes it down.

use std::time::Duration;

use crate::money::Money;

/// An account: it owns keys, and what it has is shared by all of them.
///
/// Without further calls it has credit without end, no window limits, no in-flight budget, and the
/// free quota of an account that has bought credits ([`FreeTier::FUNDED`]).
#[derive(Clone, Debug)]
pub struct Account {
    pub(crate) id: String,
    pub(crate) balance: Option<Money>,
    pub(crate) requests: Option<Window>,
    pub(crate) tokens: Option<Window>,
    pub(crate) in_flight_budget: Option<Money>,
    pub(crate) free_tier: FreeTier,
    pub(crate) organization: Option<String>,
}

impl Account {
    /// An account named `id`. The name shows in the log and the counters, never on the wire.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            balance: None,
            requests: None,
            tokens: None,
            in_flight_budget: None,
            free_tier: FreeTier::FUNDED,
            organization: None,
        }
    }

    /// Prepaid credit in US dollars. It falls with every paid call; at zero or below the answer is
    /// 402 (below zero for free models too). Default: credit without end.
    #[must_use]
    pub fn balance_usd(mut self, usd: f64) -> Self {
        self.balance = Some(Money::from_usd(usd));
        self
    }

    /// At most `limit` calls in any window of `per`; what is above gets a platform 429 with
    /// `X-RateLimit-*` whose reset stamp says when a call will be let in again. Refused calls do
    /// not count. Default: none.
    ///
    /// OpenRouter itself has **no** request cap for paid models. This stands in for throttles of
    /// every kind, so that a client can be tried against a limit that bites.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    #[must_use]
    pub fn requests_per_window(mut self, limit: u32, per: Duration) -> Self {
        self.requests = Some(Window::new(u64::from(limit), per));
        self
    }

    /// At most about `limit` tokens in any window of `per`, answered like
    /// [`requests_per_window`](Self::requests_per_window). A call is let in while its prompt still
    /// fits beside what was used; its completion counts when it ends, so the limit may be overshot
    /// by the completions that run at once. Default: none.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    #[must_use]
    pub fn tokens_per_window(mut self, limit: u64, per: Duration) -> Self {
        self.tokens = Some(Window::new(limit, per));
        self
    }

    /// The in-flight spending budget in US dollars: the estimated cost of all running calls, and
    /// for a short settlement the real cost of those just ended, may not exceed it. Above it the
    /// answer is 402 `openrouter_in_flight_budget` with `Retry-After`; a single call that is larger
    /// than the whole budget gets 402 `weight_exceeds_budget`. Default: none. Free models are not
    /// held.
    #[must_use]
    pub fn in_flight_budget_usd(mut self, usd: f64) -> Self {
        self.in_flight_budget = Some(Money::from_usd(usd));
        self
    }

    /// What the account may ask of models with a price of zero. Default: [`FreeTier::FUNDED`].
    #[must_use]
    pub fn free_tier(mut self, free_tier: FreeTier) -> Self {
        self.free_tier = free_tier;
        self
    }

    /// The organization that owns the account, as `GET /key` reports it. Default: none (an
    /// individual).
    #[must_use]
    pub fn organization(mut self, id: impl Into<String>) -> Self {
        self.organization = Some(id.into());
        self
    }
}

/// A limit in a rolling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) limit: u64,
    pub(crate) per: Duration,
}

impl Window {
    fn new(limit: u64, per: Duration) -> Self {
        assert!(!per.is_zero(), "a window of zero length holds nothing");
        Self { limit, per }
    }
}

/// Free-model quota of an account: calls per minute and per UTC day. Refused calls count too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeTier {
    /// Calls in any 60 seconds.
    pub per_minute: u32,
    /// Calls per UTC day.
    pub per_day: u32,
}

impl FreeTier {
    /// 20 a minute and 50 a day: fewer than 10 credits ever bought.
    pub const UNFUNDED: Self = Self {
        per_minute: 20,
        per_day: 50,
    };
    /// 20 a minute and 1000 a day: 10 credits or more were bought once.
    pub const FUNDED: Self = Self {
        per_minute: 20,
        per_day: 1000,
    };
    /// No limit worth the name.
    pub const UNLIMITED: Self = Self {
        per_minute: u32::MAX,
        per_day: u32::MAX,
    };

    /// A quota of one's own.
    pub const fn new(per_minute: u32, per_day: u32) -> Self {
        Self {
            per_minute,
            per_day,
        }
    }
}
