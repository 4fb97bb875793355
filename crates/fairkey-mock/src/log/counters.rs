//! Sums over everything that happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, EventKind};
use crate::money::Money;

/// Sums over all calls, and per key and account. A snapshot: it does not change.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// All calls.
    pub total: Tally,
    /// By label of the key, for calls with a known key.
    pub keys: BTreeMap<Arc<str>, Tally>,
    /// By account, for calls with a known key.
    pub accounts: BTreeMap<Arc<str>, Tally>,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
}

/// Sums over some calls.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Calls received, of any endpoint.
    pub requests: u64,
    /// Calls whose answer went out whole.
    pub finished: u64,
    /// Calls refused by the mock's rules.
    pub refused: u64,
    /// Calls that a script or chance made fail.
    pub faulted: u64,
    /// Calls that the client gave up.
    pub cancelled: u64,
    /// Calls that a script or chance broke off.
    pub broken: u64,
    /// Calls held back at some point.
    pub stalled: u64,
    /// Calls not yet ended.
    pub in_flight: u64,
    /// The most calls that were not yet ended at one time.
    pub max_in_flight: u64,
    /// Tokens of prompts that were answered.
    pub prompt_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
    /// Answers by HTTP status. Calls that got none, or left it, are missing here.
    pub by_status: BTreeMap<u16, u64>,
    cost: Money,
}

impl Tally {
    /// What was billed, in US dollars.
    pub fn cost_usd(&self) -> f64 {
        self.cost.usd()
    }

    /// Answers with this HTTP status.
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    fn count(&mut self, entry: &Entry<'_>) {
        self.cost += entry.cost;
        match &entry.kind {
            EventKind::Received { .. } => {
                self.requests += 1;
                self.in_flight += 1;
                self.max_in_flight = self.max_in_flight.max(self.in_flight);
            }
            EventKind::Refused { status, .. } => {
                self.refused += 1;
                *self.by_status.entry(*status).or_default() += 1;
            }
            EventKind::Faulted { status, .. } => {
                self.faulted += 1;
                *self.by_status.entry(*status).or_default() += 1;
            }
            EventKind::Finished {
                status,
                prompt_tokens,
                completion_tokens,
                ..
            } => {
                self.finished += 1;
                self.prompt_tokens += prompt_tokens;
                self.completion_tokens += completion_tokens;
                *self.by_status.entry(*status).or_default() += 1;
            }
            EventKind::Cancelled {
                completion_tokens, ..
            } => {
                self.cancelled += 1;
                self.completion_tokens += completion_tokens;
            }
            EventKind::Broken { .. } => self.broken += 1,
            EventKind::Stalled { .. } => self.stalled += 1,
            EventKind::Connected | EventKind::Disconnected | EventKind::Changed { .. } => {}
        }
        if entry.kind.is_end() {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }
}

impl Counters {
    /// The sums of one key, by label; zeros for a key that made no call.
    pub fn key(&self, label: &str) -> Tally {
        self.keys.get(label).cloned().unwrap_or_default()
    }

    /// The sums of one account; zeros for one that made no call.
    pub fn account(&self, id: &str) -> Tally {
        self.accounts.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn count(&mut self, entry: &Entry<'_>) {
        match entry.kind {
            EventKind::Connected => {
                self.connections += 1;
                self.open_connections += 1;
            }
            EventKind::Disconnected => {
                self.open_connections = self.open_connections.saturating_sub(1);
            }
            _ => {}
        }
        self.total.count(entry);
        if let Some(who) = entry.who {
            tally(&mut self.keys, &who.key).count(entry);
            tally(&mut self.accounts, &who.account).count(entry);
        }
    }
}

fn tally<'a>(tallies: &'a mut BTreeMap<Arc<str>, Tally>, name: &Arc<str>) -> &'a mut Tally {
    // Looked up by `str` first: the name is cloned once per key, not once per call.
    if !tallies.contains_key(&**name) {
        tallies.insert(Arc::clone(name), Tally::default());
    }
    tallies
        .get_mut(&**name)
        .expect("inserted above if it was missing")
}
