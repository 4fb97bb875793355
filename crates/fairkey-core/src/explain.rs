//! Why a key would or would not be picked: [`Explanation`].

use std::fmt;

use crate::{AccountId, Denied, KeyId, Timestamp};

/// What every key of a pool would say to an ask, as [`Pool::explain`](crate::Pool::explain) found
/// it at one moment. Nothing was reserved for it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// When it was asked.
    pub now: Timestamp,
    /// One entry for each key, in the order of their slots.
    pub keys: Vec<KeyExplanation>,
}

/// What one key would say to an ask.
#[derive(Clone, Debug)]
pub struct KeyExplanation {
    /// The key.
    pub id: KeyId,
    /// The account that owns it, where one was named.
    pub account: Option<AccountId>,
    /// Its weight.
    pub weight: u32,
    /// Its live leases.
    pub in_flight: u32,
    /// Whether the ask has used it up: an earlier attempt of the same call.
    pub tried: bool,
    /// The gates that deny it, by name.
    pub denied: Vec<(&'static str, Denied)>,
    /// The strategy's rank: smaller is picked sooner. `None` where the strategy does not rank.
    pub score: Option<f64>,
}

impl KeyExplanation {
    /// Returns whether the key could be picked.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        !self.tried && self.denied.is_empty()
    }
}

impl fmt::Display for Explanation {
    /// One line for each key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            write!(f, "{}", key.id)?;
            if let Some(account) = &key.account {
                write!(f, " ({account})")?;
            }
            write!(f, ": {} in flight, ", key.in_flight)?;
            if key.is_admitted() {
                f.write_str("admitted")?;
            } else if key.tried {
                f.write_str("tried by this call")?;
            }
            for (at, (gate, denied)) in key.denied.iter().enumerate() {
                let and = if at > 0 || key.tried { ", " } else { "" };
                write!(f, "{and}denied by {gate} ({}", denied.by)?;
                match denied.until {
                    Some(until) => write!(f, ", for {:?})", until.since(self.now))?,
                    None => f.write_str(", until something changes)")?,
                }
            }
            if let Some(score) = key.score {
                write!(f, ", score {score:.3}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
