//! What an account is allowed, as the test writes it down.

use std::time::Duration;

use crate::limit::Limit;
use crate::money::Money;

/// An account: it owns keys, and what it has is shared by all of them.
///
/// Without further calls it has credit without end, no window limits, no in-flight budget, and the
/// free quota of an account that has bought credits ([`FreeTier::FUNDED`]).
#[derive(Clone, Debug)]
pub struct Account {
    pub(crate) id: String,
    pub(crate) balance: Option<Money>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) admission_control: Option<u32>,
    pub(crate) in_flight_budget: Option<Money>,
    pub(crate) free_tier: FreeTier,
    pub(crate) organization: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) data_regions: Vec<String>,
    pub(crate) zdr: bool,
}

impl Account {
    /// An account named `id`. The name shows in the log and the counters, never on the wire.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            balance: None,
            limits: Vec::new(),
            admission_control: None,
            in_flight_budget: None,
            free_tier: FreeTier::FUNDED,
            organization: None,
            region: None,
            data_regions: vec!["global".to_owned()],
            zdr: false,
        }
    }

    /// Prepaid credit in US dollars. It falls with every paid call; at zero or below the answer is
    /// 402 (below zero for free models too). Default: credit without end.
    #[must_use]
    pub fn balance_usd(mut self, usd: f64) -> Self {
        self.balance = Some(Money::from_usd(usd));
        self
    }

    /// Adds a limit that all keys of the account share. Default: none. See [`Limit`].
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Adds [`Limit::requests`]: at most `limit` calls in any window of `per`.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    #[must_use]
    pub fn requests_per_window(self, limit: u32, per: Duration) -> Self {
        self.limit(Limit::requests(u64::from(limit), per))
    }

    /// Adds [`Limit::tokens`]: at most about `limit` tokens in any window of `per`.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    #[must_use]
    pub fn tokens_per_window(self, limit: u64, per: Duration) -> Self {
        self.limit(Limit::tokens(limit, per))
    }

    /// With more than `calls` calls under way, credit checks no longer finish in time: the answer
    /// is 429 `openrouter_admission_control` with a hint of [`Builder::admission_retry_after`].
    /// Default: they always do.
    ///
    /// [`Builder::admission_retry_after`]: crate::Builder::admission_retry_after
    #[must_use]
    pub fn admission_control_above(mut self, calls: u32) -> Self {
        self.admission_control = Some(calls);
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

    /// Where its calls come from, for models that are [closed](crate::Model::closed_to) to some
    /// regions. Default: nowhere in particular.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The data regions it may use, as `GET /key` reports them. Default: `global`.
    #[must_use]
    pub fn data_regions<S: Into<String>>(mut self, regions: impl IntoIterator<Item = S>) -> Self {
        self.data_regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// Whether its policy allows only providers that keep no data: without one the answer is 404
    /// `privacy_restricted`. Default: no.
    #[must_use]
    pub fn zero_data_retention(mut self, zdr: bool) -> Self {
        self.zdr = zdr;
        self
    }
}

/// Free-model quota of an account: calls per minute and per UTC day. Refused calls count for the
/// day, as they were seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeTier {
    /// Calls in any 60 seconds.
    pub per_minute: u32,
    /// Calls per UTC day.
    pub per_day: u32,
    /// Whether refused calls count in the 60 seconds, too, so that hammering never ends.
    pub refused_count_in_minute: bool,
}

impl FreeTier {
    /// 20 a minute and 50 a day: fewer than 10 credits ever bought.
    pub const UNFUNDED: Self = Self {
        per_minute: 20,
        per_day: 50,
        refused_count_in_minute: false,
    };
    /// 20 a minute and 1000 a day: 10 credits or more were bought once.
    pub const FUNDED: Self = Self {
        per_minute: 20,
        per_day: 1000,
        refused_count_in_minute: false,
    };
    /// No limit worth the name.
    pub const UNLIMITED: Self = Self {
        per_minute: u32::MAX,
        per_day: u32::MAX,
        refused_count_in_minute: false,
    };

    /// A quota of one's own.
    pub const fn new(per_minute: u32, per_day: u32) -> Self {
        Self {
            per_minute,
            per_day,
            refused_count_in_minute: false,
        }
    }

    /// Counts refused calls in the 60 seconds, too.
    #[must_use]
    pub const fn counting_refused(mut self) -> Self {
        self.refused_count_in_minute = true;
        self
    }
}
