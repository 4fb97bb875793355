//! How often, and when, a call is tried again: [`RetryConfig`].

use std::time::Duration;

use crate::backoff;

/// How often, and when, a call is tried again.
///
/// Three kinds of further attempts are told apart. A *failover* follows a refusal that came before
/// anything was billed and that only concerns a key or an account: it goes to another one at
/// once. A *retry* follows a fault that no key cures (a full provider, a 503, a broken
/// connection): it waits first, and the fleet's budget must allow it. A *fallback* goes to the next
/// model that the call names ([`CallOptions::models`](crate::CallOptions::models)), at once: where
/// the model as a whole is out, and where one of its providers failed again and again. Which of
/// them follows a fault is decided by [`verdict`](crate::verdict()).
///
/// | field | default |
/// | --- | --- |
/// | `attempts` | 4 |
/// | `attempts_per_model` | 2 |
/// | `failovers` | 16 |
/// | `fallbacks` | as many as the call names |
/// | `patience` | 10 s |
/// | `budget` | 20 % of the calls, and at least 1 per second |
/// | `base`, `cap` | 250 ms, 30 s |
/// | `hint_cap` | 300 s |
/// | `resend_unknown` | true |
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// The most attempts of one call, failovers and fallbacks aside: the first and the retries,
    /// of all models. Zero counts as 1, which means no retry. Default 4.
    pub attempts: u32,
    /// How many of them may go to one model while the call names another one: then that is
    /// tried. Zero counts as 1. Of no meaning for a call that names one model. Default 2.
    pub attempts_per_model: u32,
    /// The most failovers of one call: attempts that follow a refusal of a key or an account.
    /// They cost nothing upstream, so they do not use up [`attempts`](Self::attempts): a pool
    /// in which many keys are dead still answers. Default 16.
    pub failovers: u32,
    /// The most fallbacks of one call: attempts that follow a fault by going to another model.
    /// Never more than the models that the call names beyond the first. They do not use up
    /// [`attempts`](Self::attempts) or the budget. Default: no other bound.
    pub fallbacks: u32,
    /// The longest that a call waits for a model while it names another one: the upstream's hint,
    /// or the time until a key opens. Beyond that, the next model is tried at once. Of no meaning
    /// for a call that names one model, or for the last of them. Default 10 s.
    pub patience: Duration,
    /// What all calls of the client together may add by retries.
    pub budget: BudgetConfig,
    /// The backoff before the first retry lies between 0 and this; before each further one the
    /// range doubles (full jitter). Default 250 ms.
    pub base: Duration,
    /// Where the range of the backoff stops doubling. Default 30 s.
    pub cap: Duration,
    /// The most that a hint of the upstream (`Retry-After`) is believed. A retry comes no sooner
    /// than the hint, and up to a fifth of it, or 1 s where that is more, later: those who were
    /// told the same time shall not come back together. Default 300 s.
    pub hint_cap: Duration,
    /// Whether a call is tried again when it is unknown if the first attempt still runs (a
    /// connection that broke after the request was sent, a timeout). OpenRouter knows no
    /// idempotency key, so such a call can be billed twice. Default true.
    pub resend_unknown: bool,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 4,
            attempts_per_model: 2,
            failovers: 16,
            fallbacks: u32::MAX,
            patience: Duration::from_secs(10),
            budget: BudgetConfig::default(),
            base: Duration::from_millis(250),
            cap: Duration::from_secs(30),
            hint_cap: Duration::from_secs(300),
            resend_unknown: true,
        }
    }
}

impl RetryConfig {
    /// Returns the configuration of a client that sends every call once.
    #[must_use]
    pub fn never() -> Self {
        Self {
            attempts: 1,
            failovers: 0,
            fallbacks: 0,
            ..Self::default()
        }
    }

    /// Returns the wait before retry number `retry` of a call, of which 0 is the first: full
    /// jitter over a range that doubles; where the upstream gave a hint, that, and some more.
    /// `chance` is a number from 0 to 1 that chance gives; 1 gives the longest wait.
    ///
    /// ```
    /// use fairkey_client::RetryConfig;
    /// use std::time::Duration;
    ///
    /// let config = RetryConfig::default();
    /// assert_eq!(config.wait(2, None, 0.5), Duration::from_millis(500));
    /// assert_eq!(config.wait(0, Some(Duration::from_secs(9)), 0.0), Duration::from_secs(9));
    /// ```
    #[must_use]
    pub fn wait(&self, retry: u32, hint: Option<Duration>, chance: f64) -> Duration {
        backoff::wait(self, retry, hint, chance)
    }

    /// Returns the most attempts that a call of one model can make: its ledger.
    #[must_use]
    pub fn ledger(&self) -> u32 {
        self.ledger_with(0)
    }

    /// Returns the most attempts that a call can make that names so many models beyond the first:
    /// its ledger.
    #[must_use]
    pub fn ledger_with(&self, models: u32) -> u32 {
        self.attempts
            .max(1)
            .saturating_add(self.failovers)
            .saturating_add(self.fallbacks.min(models))
    }
}

/// What all calls together may add by retries: see [`RetryBudget`](crate::RetryBudget).
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetConfig {
    /// Retries per call. Default 0.2: at most 20 % more load. Below 0 counts as 0.
    pub ratio: f64,
    /// Retries per second that are allowed whatever the number of calls, so that a client with
    /// few calls can retry at all. Default 1. Below 0 counts as 0.
    pub min_per_second: f64,
    /// The window over which calls and retries are counted. Unused allowance older than this is
    /// gone. Default 10 s, at least 10 ms.
    pub ttl: Duration,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            min_per_second: 1.0,
            ttl: Duration::from_secs(10),
        }
    }
}
