//! What can go wrong: [`Unavailable`] at a selection, [`BuildError`] before any.

use std::error::Error;
use std::fmt;

use crate::{KeyId, Scope, Timestamp};

/// No key can be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The soonest honest time at which asking again makes sense: no key opens before it by the
    /// passing of time. `None` where only a release or a change can help.
    pub retry_at: Option<Timestamp>,
    /// The scope that bars: of the key that opens first, or of the whole ask. A caller waits for
    /// [`Scope::Local`], falls back for [`Scope::Model`], gives up for [`Scope::Key`] without a
    /// time. `None` where nobody bars: every key was tried already, or the strategy declined.
    pub by: Option<Scope>,
    /// Whether there is a key that nothing bars but limits that are used up for now
    /// ([`Denied::by_limit`](crate::Denied::by_limit)): then calls are served, as fast as the limits
    /// allow. Else every key is barred by failures, or nobody bars.
    pub by_limit: bool,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Some(by) => write!(f, "no key is available, barred by {by}")?,
            None => f.write_str("no key is left to try")?,
        }
        match self.retry_at {
            Some(at) => write!(f, ", soonest at {at:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Unavailable {}

/// A set of keys that no pool can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key.
    NoKey,
    /// Two keys have the same label.
    SameId(KeyId),
    /// Two keys are the same secret, so they would count one key's limits twice.
    SameSecret(KeyId, KeyId),
    /// The secret is empty.
    EmptySecret(KeyId),
    /// The label is empty or contains a control character.
    BadId(KeyId),
    /// More than 65,534 gates.
    TooManyGates,
    /// The strategy, or one inside it, is an `Arc` of which there is another handle: its gates
    /// could not be told apart from those of another pool.
    SharedStrategy,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("a pool needs at least one key"),
            Self::SameId(id) => write!(f, "two keys are called \"{id}\": give each its own label"),
            Self::SameSecret(a, b) => {
                write!(
                    f,
                    "keys \"{a}\" and \"{b}\" have the same secret: leave one out"
                )
            }
            Self::EmptySecret(id) => write!(f, "key \"{id}\" has an empty secret"),
            Self::BadId(id) => {
                write!(
                    f,
                    "key label {:?} is empty or has control characters",
                    id.as_str()
                )
            }
            Self::TooManyGates => f.write_str("more than 65,534 gates before one strategy"),
            Self::SharedStrategy => f.write_str(
                "the strategy is shared: hand over the only handle to it, and keep handles to its gates",
            ),
        }
    }
}

impl Error for BuildError {}
