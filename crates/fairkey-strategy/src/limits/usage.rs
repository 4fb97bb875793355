//! What is used of which limit, and what bars a call, in words: [`LimitUse`], [`LimitBar`].

use std::fmt;
use std::time::Duration;

use fairkey_core::{AccountId, At, Candidate, Denied, KeyId, KeySet, Timestamp};

use super::config::{Dimension, Limit, LimitGroup};
use super::gate::denied;
use super::{ACCOUNT, FREE, KEY, Limits, MODEL};
use crate::Group;

/// Whose a limit is, by the labels that people know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LimitOwner {
    /// One key.
    Key(KeyId),
    /// An account, with all of its keys.
    Account(LimitAccount),
    /// An account's calls for models that are free of charge.
    FreeModels(LimitAccount),
    /// An account's calls for one model.
    Model(LimitAccount, String),
}

/// An account that has a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitAccount {
    /// It has a label.
    Named(AccountId),
    /// It is that of a key without a label for its account, and has that key alone.
    OfKey(KeyId),
}

impl LimitAccount {
    fn of(key: Candidate<'_>) -> Self {
        match key.account_id() {
            Some(account) => Self::Named(account.clone()),
            None => Self::OfKey(key.id().clone()),
        }
    }
}

impl fmt::Display for LimitAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(account) => write!(f, "account \"{account}\""),
            Self::OfKey(key) => write!(f, "the account of key \"{key}\""),
        }
    }
}

impl LimitOwner {
    /// Returns the owner of a group, seen from one of its keys.
    #[must_use]
    pub fn of(key: Candidate<'_>, group: LimitGroup<'_>) -> Self {
        match group {
            LimitGroup::Key => Self::Key(key.id().clone()),
            LimitGroup::Account => Self::Account(LimitAccount::of(key)),
            LimitGroup::FreeModels => Self::FreeModels(LimitAccount::of(key)),
            LimitGroup::Model(model) => Self::Model(LimitAccount::of(key), model.to_owned()),
        }
    }

    /// Returns the account, for all but a key's own limits.
    #[must_use]
    pub const fn account(&self) -> Option<&LimitAccount> {
        match self {
            Self::Key(_) => None,
            Self::Account(account) | Self::FreeModels(account) | Self::Model(account, _) => {
                Some(account)
            }
        }
    }
}

impl fmt::Display for LimitOwner {
    /// Says `account "acme"`, `key "a"`, `free models of account "acme"`, or
    /// `model "x/y" of account "acme"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key \"{key}\""),
            Self::Account(account) => account.fmt(f),
            Self::FreeModels(account) => write!(f, "free models of {account}"),
            Self::Model(account, model) => write!(f, "model \"{model}\" of {account}"),
        }
    }
}

/// One limit of one group, and what is used of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUse {
    /// Whose it is.
    pub owner: LimitOwner,
    /// What it counts.
    pub dimension: Dimension,
    /// The limit, without the margin.
    pub limit: Limit,
    /// What is used of it: in the window that ends now, at a time, or since the last reset.
    pub used: u64,
}

impl LimitUse {
    /// Returns the limit in words: `600 requests a minute`, `60 requests in 6 s`,
    /// `64 calls at a time`, `5.00 USD under way`.
    #[must_use]
    pub fn words(&self) -> LimitWords {
        LimitWords {
            dimension: self.dimension,
            limit: self.limit,
        }
    }
}

impl fmt::Display for LimitUse {
    /// Says `212 of 600 requests a minute`, or `1.25 of 5.00 USD under way`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = Amount(self.dimension, self.used);
        write!(f, "{amount} of {}", self.words())
    }
}

/// A limit in words: see [`LimitUse::words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitWords {
    dimension: Dimension,
    limit: Limit,
}

impl fmt::Display for LimitWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit { amount, per } = self.limit;
        write!(f, "{} ", Amount(self.dimension, amount))?;
        match self.dimension {
            Dimension::Requests => write!(f, "requests {}", Per(per)),
            Dimension::Tokens => write!(f, "tokens {}", Per(per)),
            Dimension::InFlight => f.write_str("calls at a time"),
            Dimension::InFlightUsd => f.write_str("USD under way"),
            Dimension::Credit if per.is_zero() => f.write_str("USD of credit"),
            Dimension::Credit => write!(f, "USD of credit {}", Per(per)),
            Dimension::Quota if per.is_zero() => f.write_str("requests in all"),
            Dimension::Quota => write!(f, "requests {}", Per(per)),
        }
    }
}

/// An amount of a dimension: money in dollars and cents, anything else as it is.
struct Amount(Dimension, u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Dimension::InFlightUsd | Dimension::Credit => {
                let micros = self.1;
                // Small amounts with all of their digits: a call may cost less than a cent.
                if micros.is_multiple_of(10_000) || micros >= 1_000_000 {
                    write!(f, "{:.2}", micros as f64 / 1e6)
                } else {
                    write!(f, "{:.6}", micros as f64 / 1e6)
                }
            }
            _ => write!(f, "{}", self.1),
        }
    }
}

/// A window: `a minute`, `in 6 s`.
struct Per(Duration);

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (1, 0) => f.write_str("a second"),
            (60, 0) => f.write_str("a minute"),
            (3_600, 0) => f.write_str("an hour"),
            (86_400, 0) => f.write_str("a day"),
            (secs, 0) => write!(f, "in {secs} s"),
            _ => write!(f, "in {:?}", self.0),
        }
    }
}

/// What bars a call from a key: of several limits the one that opens last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitBar {
    /// The limit.
    pub of: LimitUse,
    /// What the gate says: by which scope, and until when.
    pub denied: Denied,
}

impl fmt::Display for LimitBar {
    /// Says `account "acme": 600 requests a minute used up`, or `account "acme": 390000 of
    /// 400000 tokens a minute used, too little is left for this call`. The time is the reader's
    /// to add: only they know the time of day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.of;
        write!(f, "{}: ", of.owner)?;
        if of.limit.amount == 0 {
            write!(f, "{} is nothing", of.words())
        } else if of.used >= of.limit.amount {
            write!(f, "{} used up", of.words())
        } else {
            write!(f, "{of} used, too little is left for this call")
        }
    }
}

impl Limits {
    /// Returns the limit that keeps a call away from a key now, if one does. Without an effect.
    #[must_use]
    pub fn bar_of(&self, at: &At<'_>) -> Option<LimitBar> {
        let (kind, bar) = self.bar(at)?;
        let group = match kind {
            KEY => LimitGroup::Key,
            ACCOUNT => LimitGroup::Account,
            FREE => LimitGroup::FreeModels,
            _ => LimitGroup::Model(at.ask.model.unwrap_or_default()),
        };
        let of = self.use_of(at.key, group, bar.dimension, at.now)?;
        let denied = denied(kind, bar);
        Some(LimitBar { of, denied })
    }

    /// Returns every limit that a group of `keys` has, with what is used of it at `now`: by
    /// accounts and keys in the order of their slots, then by models.
    ///
    /// `keys` are those of the pool that it stands before: call it inside
    /// [`Pool::with_keys`](fairkey_core::Pool::with_keys).
    #[must_use]
    pub fn uses(&self, keys: &KeySet, now: Timestamp) -> Vec<LimitUse> {
        let mut uses = Vec::new();
        if self.is_empty() {
            return uses;
        }
        let mut add = |key: Candidate<'_>, group: LimitGroup<'_>| {
            let of = |dimension| self.use_of(key, group, dimension, now);
            uses.extend(Dimension::ALL.into_iter().filter_map(of));
        };
        let accounts = || {
            let of = |at| Group::Account.representative(keys, at);
            (0..keys.account_slots()).filter_map(of)
        };
        for key in accounts() {
            add(key, LimitGroup::Account);
            add(key, LimitGroup::FreeModels);
        }
        keys.iter().for_each(|key| add(key, LimitGroup::Key));
        self.models.for_each_name(|model| {
            accounts().for_each(|key| add(key, LimitGroup::Model(model)));
        });
        uses
    }

    fn use_of(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        now: Timestamp,
    ) -> Option<LimitUse> {
        let (cell, _) = self.plane(group)?.of(key)?;
        let (limit, used) = cell.usage(dimension, now.as_nanos())?;
        Some(LimitUse {
            owner: LimitOwner::of(key, group),
            dimension,
            limit,
            used,
        })
    }
}

const _: () = assert!(MODEL == 3, "the kinds that a bar can be of are these four");

#[cfg(test)]
mod tests {
    use super::*;

    fn of(dimension: Dimension, limit: Limit, used: u64) -> LimitUse {
        LimitUse {
            owner: LimitOwner::Account(LimitAccount::Named("acme".into())),
            dimension,
            limit,
            used,
        }
    }

    #[test]
    fn a_limit_is_told_in_words() {
        let words = |dimension, limit| of(dimension, limit, 0).words().to_string();
        let six = Duration::from_millis(6_000);
        assert_eq!(
            words(Dimension::Requests, Limit::per_minute(600)),
            "600 requests a minute"
        );
        assert_eq!(
            words(Dimension::Tokens, Limit::per(40, six)),
            "40 tokens in 6 s"
        );
        assert_eq!(
            words(Dimension::InFlight, Limit::at_a_time(64)),
            "64 calls at a time"
        );
        assert_eq!(
            words(Dimension::InFlightUsd, Limit::at_a_time(5_000_000)),
            "5.00 USD under way"
        );
        let day = Duration::from_secs(86_400);
        assert_eq!(
            words(Dimension::Credit, Limit::per(1_250, day)),
            "0.001250 USD of credit a day"
        );
    }

    #[test]
    fn a_bar_says_whose_limit_is_used_up() {
        let bar = |used| LimitBar {
            of: of(Dimension::Tokens, Limit::per_minute(400), used),
            denied: Denied::for_good(fairkey_core::Scope::Account),
        };
        assert_eq!(
            bar(400).to_string(),
            "account \"acme\": 400 tokens a minute used up"
        );
        assert_eq!(
            bar(390).to_string(),
            "account \"acme\": 390 of 400 tokens a minute used, too little is left for this call"
        );
    }
}
