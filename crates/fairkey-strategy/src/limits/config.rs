//! What may be used of what: [`LimitsConfig`], [`LimitSet`], [`Limit`], [`Dimension`].

use std::collections::HashMap;
use std::time::Duration;

use fairkey_core::{AccountId, KeyId};

use super::LimitError;
use super::plane::MODELS;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Requests in any window of [`Limit::per`].
    Requests,
    /// Tokens, prompt and completion together, in any window of [`Limit::per`].
    Tokens,
    /// Calls at a time.
    InFlight,
    /// Money reserved by calls that are under way, in millionths of a US dollar.
    InFlightUsd,
    /// Money until the next reset, in millionths of a US dollar: a fixed period of
    /// [`Limit::per`], whose resets [`Limits::told`](super::Limits::told) can place.
    Credit,
    /// Requests until the next reset, as a daily quota counts them: a fixed period of
    /// [`Limit::per`], placed as that of [`Credit`](Self::Credit) is.
    Quota,
}

/// How many dimensions there are.
pub(super) const DIMENSIONS: usize = 6;

impl Dimension {
    /// Every dimension, in the order of the enum.
    pub const ALL: [Self; DIMENSIONS] = [
        Self::Requests,
        Self::Tokens,
        Self::InFlight,
        Self::InFlightUsd,
        Self::Credit,
        Self::Quota,
    ];

    /// Returns the name in lower case, as configurations and tables show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InFlight => "in_flight",
            Self::InFlightUsd => "in_flight_usd",
            Self::Credit => "credit",
            Self::Quota => "quota",
        }
    }
}

/// An amount, and the time in which it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Requests, tokens, calls, or millionths of a US dollar, up to 2^40; 0 admits nothing.
    pub amount: u64,
    /// The window, or the period of [`Dimension::Credit`] and [`Dimension::Quota`]; of no meaning
    /// for what counts calls under way. A window of zero counts as 1 ns; a period of zero does not
    /// reset.
    pub per: Duration,
}

impl Limit {
    /// Returns a limit of `amount` in any window of `per`.
    #[must_use]
    pub const fn per(amount: u64, per: Duration) -> Self {
        Self { amount, per }
    }

    /// Returns a limit of `amount` in any minute.
    #[must_use]
    pub const fn per_minute(amount: u64) -> Self {
        Self::per(amount, Duration::from_secs(60))
    }

    /// Returns whether this admits less than `other` in the long run.
    pub(super) fn is_lower(self, other: Self) -> bool {
        if self.per == other.per {
            return self.amount < other.amount;
        }
        let of = |limit: Self| limit.per.as_nanos().clamp(1, u128::from(u64::MAX));
        u128::from(self.amount) * of(other) < u128::from(other.amount) * of(self)
    }

    /// Returns a limit of `amount` at a time.
    #[must_use]
    pub const fn at_a_time(amount: u64) -> Self {
        Self::per(amount, Duration::ZERO)
    }
}

/// The limits of one group; each dimension may be without.
///
/// A configuration of `requests_per_minute = 600`, `tokens_per_minute = 400_000`, `in_flight = 64`
/// and `in_flight_usd = 5.0` is
///
/// ```
/// use fairkey_strategy::{Limit, LimitSet};
///
/// let limits = LimitSet {
///     requests: Some(Limit::per_minute(600)),
///     tokens: Some(Limit::per_minute(400_000)),
///     in_flight: Some(64),
///     in_flight_micro_usd: Some(5_000_000),
///     ..LimitSet::NONE
/// };
/// ```
///
/// and `requests = { limit = 60, per = "6s" }` is `Limit::per(60, Duration::from_secs(6))`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LimitSet {
    /// Requests in any window.
    pub requests: Option<Limit>,
    /// Tokens in any window.
    pub tokens: Option<Limit>,
    /// Calls at a time.
    pub in_flight: Option<u64>,
    /// Money reserved at a time, in millionths of a US dollar.
    pub in_flight_micro_usd: Option<u64>,
    /// Money in a fixed period, in millionths of a US dollar.
    pub credit: Option<Limit>,
    /// Requests in a fixed period, such as a day.
    pub quota: Option<Limit>,
}

impl LimitSet {
    /// No limit.
    pub const NONE: Self = Self {
        requests: None,
        tokens: None,
        in_flight: None,
        in_flight_micro_usd: None,
        credit: None,
        quota: None,
    };

    /// Returns the limit of one dimension.
    #[must_use]
    pub const fn get(&self, dimension: Dimension) -> Option<Limit> {
        let at_a_time = match dimension {
            Dimension::Requests => return self.requests,
            Dimension::Tokens => return self.tokens,
            Dimension::Credit => return self.credit,
            Dimension::Quota => return self.quota,
            Dimension::InFlight => self.in_flight,
            Dimension::InFlightUsd => self.in_flight_micro_usd,
        };
        match at_a_time {
            Some(amount) => Some(Limit::at_a_time(amount)),
            None => None,
        }
    }

    /// Returns these limits, and those of `general` where there is none.
    fn or(self, general: Self) -> Self {
        Self {
            requests: self.requests.or(general.requests),
            tokens: self.tokens.or(general.tokens),
            in_flight: self.in_flight.or(general.in_flight),
            in_flight_micro_usd: self.in_flight_micro_usd.or(general.in_flight_micro_usd),
            credit: self.credit.or(general.credit),
            quota: self.quota.or(general.quota),
        }
    }
}

/// What a limit belongs to, seen from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitGroup<'a> {
    /// The key.
    Key,
    /// The account that owns it, with all of its keys; a key without one is one by itself.
    Account,
    /// Calls of the account for models that are free of charge
    /// ([`is_free_model`](crate::is_free_model)).
    FreeModels,
    /// Calls of the account for the model of this name, as asks name it.
    Model(&'a str),
}

/// The limits of groups by their labels. What a label of its own does not limit, the general set
/// for its kind does, dimension by dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Of single keys.
    pub keys: HashMap<KeyId, LimitSet>,
    /// Of every key.
    pub every_key: LimitSet,
    /// Of single accounts.
    pub accounts: HashMap<AccountId, LimitSet>,
    /// Of every account, and of every key without one.
    pub every_account: LimitSet,
    /// Of single accounts' free models.
    pub free_models: HashMap<AccountId, LimitSet>,
    /// Of every account's free models.
    pub every_free_models: LimitSet,
    /// Of single accounts' calls for a model of this name.
    pub models: HashMap<AccountId, HashMap<String, LimitSet>>,
    /// Of every account's calls for a model of this name.
    pub every_model: HashMap<String, LimitSet>,
    /// Time that is added to every window. Default 100 ms.
    ///
    /// The other side counts a call when it arrives, not when it was given its key. Two calls
    /// that are a window apart here are that far apart there only if the second takes as long to
    /// arrive as the first. The margin is by how much less: a first call may open a connection,
    /// which takes two round trips more than a call on an open one. It costs its share of the
    /// window: 0.2 % of a minute, 1.7 % of six seconds.
    pub margin: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            every_key: LimitSet::NONE,
            accounts: HashMap::new(),
            every_account: LimitSet::NONE,
            free_models: HashMap::new(),
            every_free_models: LimitSet::NONE,
            models: HashMap::new(),
            every_model: HashMap::new(),
            margin: Duration::from_millis(100),
        }
    }
}

impl LimitsConfig {
    /// Limits one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<KeyId>, limits: LimitSet) -> Self {
        self.keys.insert(key.into(), limits);
        self
    }

    /// Limits one account.
    #[must_use]
    pub fn account(mut self, account: impl Into<AccountId>, limits: LimitSet) -> Self {
        self.accounts.insert(account.into(), limits);
        self
    }

    /// Limits one account's free models.
    #[must_use]
    pub fn free_models(mut self, account: impl Into<AccountId>, limits: LimitSet) -> Self {
        self.free_models.insert(account.into(), limits);
        self
    }

    /// Limits one account's calls for one model.
    #[must_use]
    pub fn model(
        mut self,
        account: impl Into<AccountId>,
        model: impl Into<String>,
        limits: LimitSet,
    ) -> Self {
        let models = self.models.entry(account.into()).or_default();
        models.insert(model.into(), limits);
        self
    }

    /// Returns the limits of a group, seen from a key of that label and account.
    #[must_use]
    pub fn of(&self, key: &KeyId, account: Option<&AccountId>, group: LimitGroup<'_>) -> LimitSet {
        let (own, general) = match group {
            LimitGroup::Key => (self.keys.get(key), self.every_key),
            LimitGroup::Account => (
                account.and_then(|account| self.accounts.get(account)),
                self.every_account,
            ),
            LimitGroup::FreeModels => (
                account.and_then(|account| self.free_models.get(account)),
                self.every_free_models,
            ),
            LimitGroup::Model(model) => (
                (account.and_then(|account| self.models.get(account)))
                    .and_then(|models| models.get(model)),
                self.every_model.get(model).copied().unwrap_or_default(),
            ),
        };
        own.copied().unwrap_or_default().or(general)
    }

    /// Returns whether all of it can hold.
    ///
    /// # Errors
    ///
    /// [`LimitError::TooManyModels`].
    pub fn check(&self) -> Result<(), LimitError> {
        if self.models().len() > MODELS {
            return Err(LimitError::TooManyModels);
        }
        Ok(())
    }

    /// Returns every model that has limits somewhere, each once.
    pub(super) fn models(&self) -> Vec<&str> {
        let own = self.models.values().flat_map(HashMap::keys);
        let mut models: Vec<&str> = own
            .chain(self.every_model.keys())
            .map(String::as_str)
            .collect();
        models.sort_unstable();
        models.dedup();
        models
    }
}
