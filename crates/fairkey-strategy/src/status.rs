//! How something that a gate watches is: [`Status`].

use std::fmt;

use fairkey_core::{Detail, FaultKind, Timestamp};

/// How something that a gate watches is: a key, an account, a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Calls pass.
    Well,
    /// Nothing passes, until a time or for good.
    Out,
    /// Its time is over, and the word of a checker is waited for; not longer than until a time.
    AwaitingCheck,
    /// Its time is over: the next call is the probe.
    HalfOpen,
    /// A probe is under way.
    Probing,
    /// The probe has succeeded, and load comes back in steps.
    Ramping,
}

impl Health {
    /// Returns it in a few words, as explanations show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Out => "out",
            Self::AwaitingCheck => "awaiting a check",
            Self::HalfOpen => "half-open: the next call is the probe",
            Self::Probing => "a probe is under way",
            Self::Ramping => "ramping up",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a gate knows of something it watches, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How it is.
    pub health: Health,
    /// Since when it is not well; `None` where it is.
    pub since: Option<Timestamp>,
    /// While it is out: until when, or `None` for good. While it awaits a check: how long at
    /// most. During a probe: when the next call may be one, too. Otherwise `None`.
    pub until: Option<Timestamp>,
    /// What kind of fault closed it last, where the gate knows.
    pub cause: Option<FaultKind>,
}

impl Status {
    /// What is well, and was never anything else that matters.
    pub const WELL: Self = Self {
        health: Health::Well,
        since: None,
        until: None,
        cause: None,
    };

    /// Returns whether calls pass without any condition.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.health == Health::Well
    }

    /// Returns what an explanation shows of it.
    pub(crate) fn detail(&self) -> Detail {
        Detail {
            since: self.since,
            what: match self.health {
                Health::Well | Health::Out => None,
                other => Some(other.as_str()),
            },
        }
    }
}
