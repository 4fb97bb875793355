//! Why a key would or would not be picked: [`Explanation`].

use std::fmt;

use crate::{AccountId, Denied, Detail, KeyId, Timestamp};

/// What every key of a pool would say to an ask, as [`Pool::explain`](crate::Pool::explain) found
/// it at one moment. Nothing was reserved for it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// When it was asked.
    pub now: Timestamp,
    /// One entry for each key, in the order of their slots.
    pub keys: Vec<KeyExplanation>,
}

/// One gate's word against a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The gate's name.
    pub gate: &'static str,
    /// Who bars, and until when.
    pub denied: Denied,
    /// Since when, and what is waited for.
    pub detail: Detail,
}

impl Denial {
    /// Writes it as words, with times counted from `now`.
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Timestamp) -> fmt::Result {
        write!(f, "denied by {} ({}", self.gate, self.denied.by)?;
        if let Some(since) = self.detail.since {
            write!(f, ", since {:?} ago", now.since(since))?;
        }
        match self.denied.until {
            Some(until) => {
                let most = if self.denied.may_open_sooner {
                    "at most "
                } else {
                    ""
                };
                write!(f, ", for {most}{:?}", until.since(now))?;
            }
            None => f.write_str(", until something changes")?,
        }
        if let Some(what) = self.detail.what {
            write!(f, ": {what}")?;
        }
        f.write_str(")")
    }
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
    /// The gates that deny it.
    pub denied: Vec<Denial>,
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
            for (at, denial) in key.denied.iter().enumerate() {
                if at > 0 || key.tried {
                    f.write_str(", ")?;
                }
                denial.write(f, self.now)?;
            }
            if let Some(score) = key.score {
                write!(f, ", score {score:.3}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
