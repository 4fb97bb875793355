//! When a model is closed, and for how long: [`ModelBreakerConfig`].

use std::fmt;
use std::time::Duration;

use fairkey_core::{FaultKind, Retry, Timestamp};

use super::ticket::MOST_ENTRIES;
use crate::{BreakerConfig, BreakerConfigError};

/// When a [`ModelBreaker`](crate::ModelBreaker) closes a model or a provider at it, and for how
/// long.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelBreakerConfig {
    /// When failures without a hint trip, for how long, and how what is closed comes back. A
    /// "slow down" without a hint counts for ratio and count, not for the run.
    pub rules: BreakerConfig,
    /// The most that a hint of "slow down" is believed. Default 300 s.
    pub throttled_cap: Duration,
    /// The most that a hint of "used up" is believed: a model's shared capacity of the day. Default
    /// 24 h.
    pub exhausted_cap: Duration,
    /// The most that the hint of an ordinary failure is believed. Default 60 s.
    pub failed_cap: Duration,
    /// Closes the model when so many of its providers have failed, without any success of the
    /// model in between, or when calls keep meeting one that is closed. Default 3; 0 switches both
    /// off.
    pub failing_providers: u32,
    /// How many models and providers at models are known at most: one each. Default 256, at least
    /// 2, at most 2,047.
    pub entries: usize,
}

impl Default for ModelBreakerConfig {
    fn default() -> Self {
        Self {
            rules: BreakerConfig::default(),
            throttled_cap: Duration::from_secs(300),
            exhausted_cap: Duration::from_secs(24 * 60 * 60),
            failed_cap: Duration::from_secs(60),
            failing_providers: 3,
            entries: 256,
        }
    }
}

/// A setting of [`ModelBreakerConfig`] that makes no sense; says which, and what does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelBreakerConfigError {
    /// One of the rules.
    Rules(BreakerConfigError),
    /// The number of entries.
    Entries,
}

impl fmt::Display for ModelBreakerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(error) => write!(f, "of a model's rules, {error}"),
            Self::Entries => {
                write!(
                    f,
                    "model breaker entries is not between 2 and {MOST_ENTRIES}"
                )
            }
        }
    }
}

impl std::error::Error for ModelBreakerConfigError {}

/// What a fault comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Until(Timestamp),
    /// One is enough.
    Trip,
    Count,
    Nothing,
}

impl ModelBreakerConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Names the first setting that is out of its range, and the range.
    pub fn check(&self) -> Result<(), ModelBreakerConfigError> {
        self.rules.check().map_err(ModelBreakerConfigError::Rules)?;
        if !(2..=MOST_ENTRIES).contains(&self.entries) {
            return Err(ModelBreakerConfigError::Entries);
        }
        Ok(())
    }

    pub(super) fn verdict(&self, kind: FaultKind, retry: Retry, now: Timestamp) -> Verdict {
        let cap = match kind {
            FaultKind::Throttled => self.throttled_cap,
            FaultKind::Exhausted => self.exhausted_cap,
            _ => self.failed_cap,
        };
        match (kind, retry, retry.at(now)) {
            // A stamp in the past says that it is open again.
            (FaultKind::Throttled | FaultKind::Exhausted, _, Some(at)) if at <= now => {
                Verdict::Nothing
            }
            (_, _, Some(at)) if at > now => Verdict::Until(at.min(now + cap)),
            (FaultKind::Throttled | FaultKind::Exhausted, Retry::Never, None) => {
                Verdict::Until(now + cap)
            }
            (FaultKind::Exhausted | FaultKind::Refused, ..) => Verdict::Trip,
            _ => Verdict::Count,
        }
    }
}
