//! Limits of calls, of tokens, and of calls under way, as the test writes them down.

use std::time::Duration;

/// A limit: so many calls or tokens in any window of some length, or so many calls under way at
/// once. It belongs to an [`Account`](crate::Account), a [`Key`](crate::Key), a
/// [`Model`](crate::Model) or a [`Provider`](crate::Provider) at a model, and what is above it is
/// refused with a 429: of account and key, a platform limit (`X-RateLimit-*` and a reset stamp);
/// of a model, `openrouter_shared_capacity`; of a provider, `upstream_provider_shared_pool`.
///
/// OpenRouter itself has **no** request limit for paid models, and none per key. Limits of account
/// and key stand in for throttles of every kind, so that a client can be tried against one that
/// bites. The log says of every refusal which limit it was.
///
/// ```
/// use std::time::Duration;
/// use fairkey_mock::{Account, Key, Limit};
///
/// let account = Account::new("acme")
///     .limit(Limit::requests(60, Duration::from_secs(6)))
///     .limit(Limit::tokens(40_000, Duration::from_secs(6)).each_model())
///     .limit(Limit::in_flight(16));
/// let key = Key::new("sk-or-v1-aaa").limit(Limit::requests(10, Duration::from_secs(1)).hidden());
/// # let _ = (account, key);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(crate) measure: Measure,
    pub(crate) limit: u64,
    pub(crate) of: OfModel,
    pub(crate) counts_refused: bool,
    pub(crate) hidden: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Calls in a window of this length.
    Requests(Duration),
    /// Tokens in a window of this length.
    Tokens(Duration),
    /// Calls under way.
    InFlight,
}

/// Whose calls a limit counts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfModel {
    All,
    Each,
    Only(String),
}

impl Limit {
    /// At most `limit` calls in any window of `per`.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    pub fn requests(limit: u64, per: Duration) -> Self {
        Self::new(Measure::Requests(checked(per)), limit)
    }

    /// At most about `limit` tokens in any window of `per`. A call is let in while its prompt still
    /// fits beside what was used; its completion counts when it ends, so that the limit may be
    /// overshot by the completions that run at once.
    ///
    /// # Panics
    ///
    /// If `per` is zero.
    pub fn tokens(limit: u64, per: Duration) -> Self {
        Self::new(Measure::Tokens(checked(per)), limit)
    }

    /// At most `limit` calls at once, from when they are let in to the last byte of their answers.
    /// Its refusals tell no time: it reopens when a call ends.
    pub fn in_flight(limit: u32) -> Self {
        Self::new(Measure::InFlight, u64::from(limit))
    }

    fn new(measure: Measure, limit: u64) -> Self {
        Self {
            measure,
            limit,
            of: OfModel::All,
            counts_refused: false,
            hidden: false,
        }
    }

    /// Counts calls of this model only, and leaves others alone.
    #[must_use]
    pub fn of_model(mut self, model: impl Into<String>) -> Self {
        self.of = OfModel::Only(model.into());
        self
    }

    /// Counts each model by itself: every model has the whole limit.
    #[must_use]
    pub fn each_model(mut self) -> Self {
        self.of = OfModel::Each;
        self
    }

    /// Counts refused calls like others, so that hammering keeps it closed. Of a limit of calls
    /// under way it means nothing. Default: they do not count.
    #[must_use]
    pub fn counts_refused(mut self) -> Self {
        self.counts_refused = true;
        self
    }

    /// Its refusals tell neither the limit nor when it reopens. Default: they do.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

impl Measure {
    /// The window; none for what is counted while it lasts.
    pub(crate) fn window(self) -> Option<Duration> {
        match self {
            Self::Requests(per) | Self::Tokens(per) => Some(per),
            Self::InFlight => None,
        }
    }
}

fn checked(per: Duration) -> Duration {
    assert!(!per.is_zero(), "a window of zero length holds nothing");
    per
}
