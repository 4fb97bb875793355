//! What one call says, and about whom: [`Scope`], [`Outcome`], [`Report`].
//!
//! A failure is charged to exactly one scope. Gates hear only of the scopes they stand for; to all
//! other gates the call is neutral. That one rule is why a full provider never costs a healthy
//! key, and why a dead key never cools its account.

use std::fmt;
use std::time::Duration;

use crate::{Cost, Timestamp};

/// Who caused a failure: the smallest group that the failure is evidence against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// The request itself: bad parameters, a refused content, a model that does not exist.
    Request,
    /// This key: revoked, expired, its own spending cap used up.
    Key,
    /// A budget that several keys share: a workspace, a member, a guardrail.
    Budget,
    /// The account that owns the key: balance, in-flight budget, free quota, platform throttle.
    Account,
    /// The model: every provider of it is full, or it is out.
    Model,
    /// One provider behind a model.
    Provider,
    /// OpenRouter as a whole, its edge included.
    Service,
    /// The way to it: name resolution, connect, TLS, reset.
    Network,
    /// The caller: it left, or its own deadline passed.
    Caller,
    /// This process: a local cap, a full queue, a bound of our own.
    Local,
}

impl Scope {
    /// Every scope, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::Request,
        Self::Key,
        Self::Budget,
        Self::Account,
        Self::Model,
        Self::Provider,
        Self::Service,
        Self::Network,
        Self::Caller,
        Self::Local,
    ];

    /// Returns the scope's name in lower case, as logs, tables and metrics show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Key => "key",
            Self::Budget => "budget",
            Self::Account => "account",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Service => "service",
            Self::Network => "network",
            Self::Caller => "caller",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes: what a [`Gate`](crate::Gate) hears of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// No scope: the gate hears only that calls ended.
    pub const NONE: Self = Self(0);
    /// Every scope.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Returns the set of one scope.
    #[must_use]
    pub const fn of(scope: Scope) -> Self {
        Self(1 << scope as u16)
    }

    /// Returns this set with `scope` added.
    #[must_use]
    pub const fn and(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u16)
    }

    /// Returns whether `scope` is in the set.
    #[must_use]
    #[inline]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u16) != 0
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Scope::ALL.iter().filter(|scope| self.contains(**scope)))
            .finish()
    }
}

/// What kind of failure it was: decides how long its scope stays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// Asked to slow down; the same call succeeds later. (429, an in-flight budget.)
    Throttled,
    /// Something is used up until a reset or a top-up. (A balance, a cap, a free quota.)
    Exhausted,
    /// A credential or a permission was refused, with typed proof. Waiting does not cure it.
    Refused,
    /// It did not work: an error, a broken stream, a deadline.
    Failed,
}

/// When trying the same thing again can make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Retry {
    /// Nothing is known; the gate's own schedule decides.
    #[default]
    Unknown,
    /// After this long, counted from the report.
    After(Duration),
    /// At this time of the pool's clock, such as the reset of a cap.
    At(Timestamp),
    /// Not until somebody changes something.
    Never,
}

impl Retry {
    /// Returns the time this hint names, if it names one, for a report made at `now`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::After(wait) => Some(now + wait),
            Self::At(at) => Some(at),
            Self::Unknown | Self::Never => None,
        }
    }
}

/// How one call ended, as far as the pool is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer came whole.
    Success,
    /// It failed, and this is who caused it.
    Fault {
        /// Who caused it.
        scope: Scope,
        /// What kind of failure it was.
        kind: FaultKind,
        /// When trying again can make sense.
        retry: Retry,
    },
    /// Says nothing about anybody: the call was given up before its outcome was known, or a fault
    /// lies outside the scopes of the gate that reads this. Neither success nor failure, and not
    /// a call for any statistic. What a dropped lease reports.
    #[default]
    Neutral,
}

impl Outcome {
    /// Returns a fault without a hint on when to try again.
    #[must_use]
    pub const fn fault(scope: Scope, kind: FaultKind) -> Self {
        Self::Fault {
            scope,
            kind,
            retry: Retry::Unknown,
        }
    }

    /// Returns this outcome with `retry` as its hint; only a fault has one.
    #[must_use]
    pub const fn with_retry(self, retry: Retry) -> Self {
        match self {
            Self::Fault { scope, kind, .. } => Self::Fault { scope, kind, retry },
            other => other,
        }
    }

    /// Returns the scope that is at fault, if anybody is.
    #[must_use]
    #[inline]
    pub const fn scope(&self) -> Option<Scope> {
        match self {
            Self::Fault { scope, .. } => Some(*scope),
            _ => None,
        }
    }

    /// Returns what somebody who hears only `scopes` is told: the outcome itself, or
    /// [`Outcome::Neutral`] where the fault is nobody's in `scopes`.
    #[must_use]
    #[inline]
    pub const fn heard_by(self, scopes: Scopes) -> Self {
        match self {
            Self::Fault { scope, .. } if !scopes.contains(scope) => Self::Neutral,
            other => other,
        }
    }
}

/// What the end of one call tells gates, strategy and observers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended. A [`Gate`](crate::Gate) sees it filtered to the scopes it hears.
    pub outcome: Outcome,
    /// When the call was given its key. A report of a call that began before a transition must
    /// not undo the transition.
    pub begun: Timestamp,
    /// When the first content came, if any did.
    pub first_content: Option<Timestamp>,
    /// When the call ended: now.
    pub ended: Timestamp,
    /// What was reserved for it.
    pub reserved: Cost,
    /// What it used, where that is known.
    pub actual: Option<Cost>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_outside_the_scopes_heard_is_neutral() {
        let fault = Outcome::fault(Scope::Provider, FaultKind::Throttled);
        assert_eq!(fault.heard_by(Scopes::of(Scope::Key)), Outcome::Neutral);
        assert_eq!(
            fault.heard_by(Scopes::of(Scope::Key).and(Scope::Provider)),
            fault
        );
        assert_eq!(Outcome::Success.heard_by(Scopes::NONE), Outcome::Success);
    }

    #[test]
    fn the_set_of_all_scopes_has_each() {
        for scope in Scope::ALL {
            assert!(Scopes::ALL.contains(scope), "{scope}");
            assert!(!Scopes::NONE.contains(scope), "{scope}");
        }
        assert_eq!(format!("{:?}", Scopes::of(Scope::Key)), "{Key}");
    }
}
