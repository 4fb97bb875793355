//! Changes of the world: by the test's hand, after a number of calls, or at a time.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::chance::{FaultKind, Latency};

/// A change of the world. Keys are named by secret or label.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// The key is deleted: 401 from here on.
    RevokeKey(String),
    /// A revoked key is back.
    RestoreKey(String),
    /// The key is disabled: 401 until it is enabled.
    DisableKey(String),
    /// A disabled key is enabled.
    EnableKey(String),
    /// The key's own spending cap.
    SetKeyLimit {
        /// The key.
        key: String,
        /// In US dollars; `None` for no cap.
        limit_usd: Option<f64>,
    },
    /// The account's balance is now this much.
    SetBalance {
        /// The account.
        account: String,
        /// In US dollars.
        usd: f64,
    },
    /// Credits are bought.
    AddCredits {
        /// The account.
        account: String,
        /// In US dollars.
        usd: f64,
    },
    /// How long answers take.
    SetLatency(Latency),
    /// How likely a kind of fault is, 0 to 1.
    SetFaultRate(FaultKind, f64),
    /// A provider is full, or no longer.
    SetProviderFull {
        /// Its display name.
        provider: String,
        /// At this model; `None` for everywhere.
        model: Option<String>,
        /// Whether it is.
        full: bool,
    },
    /// The mock's clock jumps forward.
    Advance(Duration),
}

impl Action {
    /// [`Action::RevokeKey`].
    pub fn revoke_key(key: impl Into<String>) -> Self {
        Self::RevokeKey(key.into())
    }

    /// [`Action::RestoreKey`].
    pub fn restore_key(key: impl Into<String>) -> Self {
        Self::RestoreKey(key.into())
    }

    /// [`Action::DisableKey`].
    pub fn disable_key(key: impl Into<String>) -> Self {
        Self::DisableKey(key.into())
    }

    /// [`Action::EnableKey`].
    pub fn enable_key(key: impl Into<String>) -> Self {
        Self::EnableKey(key.into())
    }

    /// [`Action::SetBalance`].
    pub fn set_balance(account: impl Into<String>, usd: f64) -> Self {
        Self::SetBalance {
            account: account.into(),
            usd,
        }
    }

    /// [`Action::AddCredits`].
    pub fn add_credits(account: impl Into<String>, usd: f64) -> Self {
        Self::AddCredits {
            account: account.into(),
            usd,
        }
    }

    /// [`Action::SetProviderFull`] at every model.
    pub fn set_provider_full(provider: impl Into<String>, full: bool) -> Self {
        Self::SetProviderFull {
            provider: provider.into(),
            model: None,
            full,
        }
    }

    /// [`Action::SetProviderFull`] at one model.
    pub fn set_provider_full_at(
        provider: impl Into<String>,
        model: impl Into<String>,
        full: bool,
    ) -> Self {
        Self::SetProviderFull {
            provider: provider.into(),
            model: Some(model.into()),
            full,
        }
    }

    /// [`Action::SetKeyLimit`].
    pub fn set_key_limit(key: impl Into<String>, limit_usd: impl Into<Option<f64>>) -> Self {
        Self::SetKeyLimit {
            key: key.into(),
            limit_usd: limit_usd.into(),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys may be named by their secret, so their names are left out.
        match self {
            Self::RevokeKey(_) => f.write_str("RevokeKey(..)"),
            Self::RestoreKey(_) => f.write_str("RestoreKey(..)"),
            Self::DisableKey(_) => f.write_str("DisableKey(..)"),
            Self::EnableKey(_) => f.write_str("EnableKey(..)"),
            Self::SetKeyLimit { limit_usd, .. } => f
                .debug_struct("SetKeyLimit")
                .field("limit_usd", limit_usd)
                .finish_non_exhaustive(),
            Self::SetBalance { account, usd } => f
                .debug_tuple("SetBalance")
                .field(account)
                .field(usd)
                .finish(),
            Self::AddCredits { account, usd } => f
                .debug_tuple("AddCredits")
                .field(account)
                .field(usd)
                .finish(),
            Self::SetLatency(latency) => f.debug_tuple("SetLatency").field(latency).finish(),
            Self::SetFaultRate(kind, rate) => f
                .debug_tuple("SetFaultRate")
                .field(kind)
                .field(rate)
                .finish(),
            Self::SetProviderFull {
                provider,
                model,
                full,
            } => f
                .debug_tuple("SetProviderFull")
                .field(provider)
                .field(model)
                .field(full)
                .finish(),
            Self::Advance(by) => f.debug_tuple("Advance").field(by).finish(),
        }
    }
}

/// Actions to come, in order.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    by_calls: VecDeque<(u64, Action)>,
    by_time: VecDeque<(Duration, Action)>,
}

impl Schedule {
    pub(crate) fn after_calls(&mut self, calls: u64, action: Action) {
        let at = self.by_calls.partition_point(|(due, _)| *due <= calls);
        self.by_calls.insert(at, (calls, action));
    }

    pub(crate) fn at(&mut self, elapsed: Duration, action: Action) {
        let at = self.by_time.partition_point(|(due, _)| *due <= elapsed);
        self.by_time.insert(at, (elapsed, action));
    }

    /// The next action that is due after `calls` calls and `elapsed` time.
    pub(crate) fn due(&mut self, calls: u64, elapsed: Duration) -> Option<Action> {
        if self.by_calls.front().is_some_and(|(due, _)| *due <= calls) {
            return self.by_calls.pop_front().map(|(_, action)| action);
        }
        if self.by_time.front().is_some_and(|(due, _)| *due <= elapsed) {
            return self.by_time.pop_front().map(|(_, action)| action);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_come_due_in_order_and_not_before() {
        let mut schedule = Schedule::default();
        schedule.after_calls(3, Action::revoke_key("b"));
        schedule.after_calls(1, Action::revoke_key("a"));
        schedule.at(Duration::from_secs(5), Action::Advance(Duration::ZERO));
        assert_eq!(schedule.due(0, Duration::ZERO), None);
        assert_eq!(
            schedule.due(1, Duration::ZERO),
            Some(Action::revoke_key("a"))
        );
        assert_eq!(schedule.due(2, Duration::from_millis(4_999)), None);
        assert_eq!(
            schedule.due(9, Duration::ZERO),
            Some(Action::revoke_key("b"))
        );
        let last = schedule.due(9, Duration::from_secs(5));
        assert_eq!(last, Some(Action::Advance(Duration::ZERO)));
    }

    #[test]
    fn debug_names_no_key() {
        let shown = format!("{:?}", Action::revoke_key("sk-or-v1-secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
