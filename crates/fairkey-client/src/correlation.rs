//! Who is at fault when several keys fail alike: [`Correlation`].
//!
//! A refusal that carries no typed scope is read from its status or its words, and those say
//! "this key" of much that is nobody's key: a provider that is full, an edge that turns a whole
//! network away, an account that was closed. Rotating on it burns one healthy key after the other.
//! So such faults are watched across keys, and where they are seen together their scope is raised.
//!
//! # The rule
//!
//! 1. Watched are faults of the scopes key, budget and account whose evidence is a status or a
//!    phrase, and that do not name the reset of a cap. A typed fault is believed, always.
//! 2. Two faults are alike if they have the same [`Cause`]. One key counts once, however often it
//!    fails. A fault counts for [`window`](CorrelationConfig::window) (60 s).
//! 3. *Account*: [`keys`](CorrelationConfig::keys) (2) keys of one account that fail alike, with
//!    no success of that account in between.
//! 4. *Model or service*: [`accounts`](CorrelationConfig::accounts) (3, or all where there are
//!    fewer, but at least 2) accounts that fail alike, with no success of anybody in between. It
//!    is the model if all these calls asked for one model, else the service. Where other accounts
//!    still have success with another model, only the model can be meant.
//! 5. Money is each account's own: what is used up is never raised beyond the account. And a
//!    refused credential is never the model's, and the service's only if the keys have worked
//!    before: several keys that never did are a mistake of the configuration.
//! 6. A success counts as "in between" if its call began after the fault: a stream that began
//!    before it says nothing.
//!
//! A fault that was raised closes nobody but what it was raised to, permanently nothing, and what
//! the first of the alike faults had closed is opened again.

use std::collections::VecDeque;
use std::time::Duration;

use fairkey_core::{FaultKind, Scope, Timestamp};
use fairkey_openrouter::{Cause, Evidence, Fault};

/// When faults of several keys are one fault of something larger: see the rule in the book's
/// chapter on faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrelationConfig {
    /// How long a fault is held against others. Default 60 s; zero turns correlation off.
    pub window: Duration,
    /// How many keys of one account have to fail alike for it to be the account. Default 2, at
    /// least 2.
    pub keys: usize,
    /// How many accounts have to fail alike for it to be the model or the service; all accounts,
    /// where there are fewer. Default 3, at least 2.
    pub accounts: usize,
}

impl Default for CorrelationConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            keys: 2,
            accounts: 3,
        }
    }
}

/// The most faults that are remembered; the oldest is forgotten for a new one.
const MOST: usize = 256;

/// One fault of one key, as far as correlation looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) at: Timestamp,
    /// The slot of the key.
    pub(crate) key: u32,
    /// The slot of its account.
    pub(crate) account: u32,
    /// A hash of the model, where one was named.
    pub(crate) model: Option<u64>,
    pub(crate) cause: Cause,
    /// Whether the key has ever worked.
    pub(crate) worked: bool,
}

/// A success, as far as correlation looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Success {
    pub(crate) begun: Timestamp,
    pub(crate) account: u32,
    pub(crate) model: Option<u64>,
}

/// What a fault is, now that others like it are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raised {
    /// Account, model or service.
    pub(crate) scope: Scope,
    /// The slots of keys that were blamed alone before, and wrongly.
    pub(crate) keys: Vec<u32>,
    /// The slots of accounts that were blamed alone before, and wrongly. Only where the scope is
    /// beyond the account.
    pub(crate) accounts: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    seen: Sighting,
    /// Another account has had success since: the service is well.
    service_is_well: bool,
    /// Another account has had success with the model since: the model is well.
    model_is_well: bool,
}

/// Watches untyped faults across keys.
#[derive(Debug, Default)]
pub(crate) struct Correlation {
    config: CorrelationConfig,
    records: VecDeque<Record>,
}

/// Tells whether a fault may be raised at all.
pub(crate) fn is_watched(fault: &Fault) -> bool {
    matches!(fault.evidence(), Evidence::Status | Evidence::Phrase)
        && matches!(fault.scope(), Scope::Key | Scope::Budget | Scope::Account)
        && fault.resets().is_none()
        && !fault.cause().is_free_quota()
}

impl Correlation {
    pub(crate) fn new(config: CorrelationConfig) -> Self {
        Self {
            config,
            records: VecDeque::new(),
        }
    }

    /// Returns whether nothing is remembered, so that a success has nothing to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Takes note of a fault that is [watched](is_watched), in a pool of `accounts` accounts, and
    /// returns what it is in truth where that is more than one key.
    pub(crate) fn failed(&mut self, seen: Sighting, accounts: usize) -> Option<Raised> {
        if self.config.window.is_zero() {
            return None;
        }
        self.forget(seen.at);
        let same = |record: &Record| {
            let other = record.seen;
            (other.key, other.cause, other.model) == (seen.key, seen.cause, seen.model)
        };
        self.records.retain(|record| !same(record));
        if self.records.len() >= MOST {
            self.records.pop_front();
        }
        self.records.push_back(Record {
            seen,
            service_is_well: false,
            model_is_well: false,
        });
        self.beyond_accounts(&seen, accounts)
            .or_else(|| self.beyond_keys(&seen))
    }

    /// Takes note of a success.
    pub(crate) fn succeeded(&mut self, success: Success) {
        self.records.retain_mut(|record| {
            if record.seen.at > success.begun {
                return true;
            }
            record.service_is_well = true;
            record.model_is_well |= record.seen.model == success.model;
            record.seen.account != success.account
        });
    }

    /// Forgets what is older than the window.
    fn forget(&mut self, now: Timestamp) {
        let window = self.config.window;
        // Not in order of time: threads may report out of turn.
        self.records
            .retain(|record| now.since(record.seen.at) <= window);
    }

    fn alike(&self, seen: &Sighting) -> impl Iterator<Item = &Record> {
        let cause = seen.cause;
        self.records
            .iter()
            .filter(move |record| record.seen.cause == cause)
    }

    fn beyond_accounts(&self, seen: &Sighting, accounts: usize) -> Option<Raised> {
        let credential = seen.cause.kind() == FaultKind::Refused;
        if seen.cause.kind() == FaultKind::Exhausted || (credential && !seen.worked) {
            return None;
        }
        let needed = self.config.accounts.min(accounts).max(2);
        let all: Vec<&Record> = self
            .alike(seen)
            .filter(|record| !credential || record.seen.worked)
            .collect();
        let of_service: Vec<&Record> = (all.iter().copied())
            .filter(|record| !record.service_is_well)
            .collect();
        let one_model = seen.model.is_some()
            && (of_service.iter()).all(|record| record.seen.model == seen.model);
        if (credential || !one_model) && count(&of_service, |seen| seen.account) >= needed {
            return Some(raised(Scope::Service, &of_service, seen));
        }
        let of_model: Vec<&Record> = (all.iter().copied())
            .filter(|record| record.seen.model == seen.model && !record.model_is_well)
            .collect();
        if !credential && seen.model.is_some() && count(&of_model, |seen| seen.account) >= needed {
            return Some(raised(Scope::Model, &of_model, seen));
        }
        None
    }

    fn beyond_keys(&self, seen: &Sighting) -> Option<Raised> {
        let alike: Vec<&Record> = self
            .alike(seen)
            .filter(|record| record.seen.account == seen.account)
            .collect();
        (count(&alike, |seen| seen.key) >= self.config.keys.max(2))
            .then(|| raised(Scope::Account, &alike, seen))
    }
}

/// Counts what the records differ in.
fn count(records: &[&Record], of: impl Fn(&Sighting) -> u32) -> usize {
    distinct(records.iter().map(|record| of(&record.seen))).len()
}

fn distinct(all: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut all: Vec<u32> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn raised(scope: Scope, alike: &[&Record], seen: &Sighting) -> Raised {
    let others = || (alike.iter()).map(|record| record.seen);
    Raised {
        scope,
        keys: distinct(
            others()
                .map(|other| other.key)
                .filter(|key| *key != seen.key),
        ),
        accounts: if scope == Scope::Account {
            Vec::new()
        } else {
            distinct(others().map(|other| other.account))
        },
    }
}

#[cfg(test)]
mod tests;
