//! How often, and when, a call is tried again: [`RetryConfig`].

use std::time::Duration;

/// How often, and when, a call is tried again.
///
/// Two kinds of further attempts are told apart. A *failover* follows a refusal that came before
/// anything was billed and that only concerns a key or an account: it goes to another one at
/// once. A *retry* follows a fault that no key cures (a full provider, a 503, a broken
/// connection): it waits first, and the fleet's budget must allow it.
///
/// | field | default |
/// | --- | --- |
/// | `attempts` | 4 |
/// | `failovers` | 16 |
/// | `budget` | 20 % of the calls, and at least 1 per second |
/// | `base`, `cap` | 250 ms, 30 s |
/// | `hint_cap` | 300 s |
/// | `resend_unknown` | true |
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// The most attempts of one call, failovers aside: the first and its retries. Zero counts
    /// as 1, which means no retry. Default 4.
    pub attempts: u32,
    /// The most failovers of one call: attempts that follow a refusal of a key or an account.
    /// They cost nothing upstream, so they do not use up [`attempts`](Self::attempts): a pool
    /// in which many keys are dead still answers. Default 16.
    pub failovers: u32,
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
            failovers: 16,
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
            ..Self::default()
        }
    }

    /// Returns the most attempts that one call can make: its ledger.
    #[must_use]
    pub fn ledger(&self) -> u32 {
        self.attempts.max(1).saturating_add(self.failovers)
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
