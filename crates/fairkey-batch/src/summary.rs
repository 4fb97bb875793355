//! What came of a run: [`Summary`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use fairkey_core::{AccountId, Cost, KeyId};

use crate::progress::Lane;
use crate::{Attempt, Bottleneck, History, KeyState, Stopped};

/// What came of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// What became of the rows.
    pub rows: Rows,
    /// Why the run ended before its input did; `None` where it did not.
    pub stopped: Option<Stopped>,
    /// How long it took.
    pub elapsed: Duration,
    /// What the attempts per row were.
    pub attempts: AttemptsSummary,
    /// What was spent in all, as far as answers said so.
    pub cost: Cost,
    /// What providers charged an account of the caller's own (BYOK), in millionths of a US dollar.
    pub byok_micro_usd: u64,
    /// Attempts that may have been billed although nothing came back; not in `cost`.
    pub maybe_billed: u64,
    /// One entry for each key, in the pool's order.
    pub keys: Vec<KeySummary>,
    /// What held it back, with the share of the time, the longest first. Several may at a time.
    pub bottlenecks: Vec<(Bottleneck, f64)>,
    /// How it went over time.
    pub history: History,
    /// The most rows that were in flight at one time.
    pub peak_in_flight: u64,
}

impl Summary {
    /// Returns whether every row was answered and written.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let rows = &self.rows;
        self.stopped.is_none() && rows.failed + rows.unwritten + rows.left + rows.lost == 0
    }

    /// Returns the rows done per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.rows.written.saturating_sub(self.rows.kept) as f64 / seconds
        } else {
            0.0
        }
    }

    /// Adds up the keys of each account, in the order of the keys. Keys without an account are
    /// not in it.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountSummary> {
        let mut accounts: Vec<AccountSummary> = Vec::new();
        for key in &self.keys {
            let Some(account) = &key.account else {
                continue;
            };
            let place = match accounts.iter().position(|entry| entry.account == *account) {
                Some(place) => place,
                None => {
                    accounts.push(AccountSummary::new(account.clone()));
                    accounts.len() - 1
                }
            };
            let entry = &mut accounts[place];
            entry.keys += 1;
            entry.calls += key.calls;
            entry.answered += key.answered;
            entry.cost += key.cost;
            for (cause, n) in &key.refusals {
                *entry.refusals.entry(cause.clone()).or_default() += n;
            }
        }
        accounts
    }
}

/// What became of the rows: each is in one of `answered`, `failed`, `unwritten` and `left`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows {
    /// Rows that were read.
    pub read: u64,
    /// Rows with an answer among the results.
    pub answered: u64,
    /// Rows with an error among the results, lines that are no request included.
    pub failed: u64,
    /// Rows that an earlier run has answered, or failed, and that were not sent again. They are
    /// among `answered` and `failed`.
    pub kept: u64,
    /// Result lines that were written: `answered` and `failed` together.
    pub written: u64,
    /// Rows that were done, but whose result line could not be written.
    pub unwritten: u64,
    /// Those of the unwritten that were answered.
    pub unwritten_answers: u64,
    /// Those of the unwritten that no journal has: lost, and paid for where they were answered.
    pub unkept: u64,
    /// Rows without a result because the run ended early.
    pub left: u64,
    /// Rows whose `custom_id` an earlier row has, as far as that was looked at: names that come
    /// after 262,144 different ones are compared with those only.
    pub repeated_names: u64,
    /// Rows that nobody can account for: those read, less all the others. Zero, or there is a bug.
    pub lost: u64,
}

/// The attempts that rows took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptsSummary {
    /// How many rows took how many attempts.
    pub histogram: BTreeMap<u64, u64>,
}

impl AttemptsSummary {
    /// Counts a row.
    pub(crate) fn add(&mut self, attempts: u64) {
        *self.histogram.entry(attempts).or_default() += 1;
    }

    /// Returns the attempts in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.histogram
            .iter()
            .map(|(attempts, rows)| attempts * rows)
            .sum()
    }

    /// Returns the attempts per row; zero where there was no row.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let rows: u64 = self.histogram.values().sum();
        if rows == 0 {
            0.0
        } else {
            self.total() as f64 / rows as f64
        }
    }

    /// Returns the most attempts of a row; zero where there was no row.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.histogram.keys().next_back().copied().unwrap_or(0)
    }
}

impl fmt::Display for AttemptsSummary {
    /// `1.12 on average, 4 at most (1: 450, 2: 45, 4: 5)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} on average, {} at most", self.mean(), self.max())?;
        for (at, (attempts, rows)) in self.histogram.iter().enumerate() {
            f.write_str(if at == 0 { " (" } else { ", " })?;
            write!(f, "{attempts}: {rows}")?;
        }
        f.write_str(if self.histogram.is_empty() { "" } else { ")" })
    }
}

/// What came of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySummary {
    /// The key.
    pub key: KeyId,
    /// Its account, where one is named.
    pub account: Option<AccountId>,
    /// Attempts made with it.
    pub calls: u64,
    /// Those that brought an answer.
    pub answered: u64,
    /// What answers said they used.
    pub cost: Cost,
    /// The other attempts, by cause.
    pub refusals: BTreeMap<String, u64>,
    /// Its state at the end, in words; empty where it is unknown.
    pub state: String,
}

/// What came of the keys of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountSummary {
    /// The account.
    pub account: AccountId,
    /// How many keys it has here.
    pub keys: u64,
    /// Attempts made with them.
    pub calls: u64,
    /// Those that brought an answer.
    pub answered: u64,
    /// What answers said they used.
    pub cost: Cost,
    /// The other attempts, by cause.
    pub refusals: BTreeMap<String, u64>,
}

impl AccountSummary {
    fn new(account: AccountId) -> Self {
        Self {
            account,
            keys: 0,
            calls: 0,
            answered: 0,
            cost: Cost::default(),
            refusals: BTreeMap::new(),
        }
    }
}

/// The keys as a run gets to know them.
#[derive(Debug, Default)]
pub(crate) struct KeyBook {
    keys: Vec<KeySummary>,
    places: HashMap<KeyId, usize>,
}

impl KeyBook {
    /// Counts an attempt.
    pub(crate) fn attempt(&mut self, attempt: &Attempt) {
        let key = self.entry(&attempt.key, attempt.account.as_ref());
        key.calls += 1;
        match &attempt.refusal {
            None => key.answered += 1,
            Some(refusal) => match key.refusals.get_mut(&*refusal.cause) {
                Some(n) => *n += 1,
                None => {
                    key.refusals.insert(refusal.cause.to_string(), 1);
                }
            },
        }
    }

    /// Counts what an answer used.
    pub(crate) fn cost(&mut self, key: &KeyId, cost: Cost) {
        self.entry(key, None).cost += cost;
    }

    /// Returns what came of each account, and of each key that has none, in the order in which they
    /// were used first.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for key in &self.keys {
            let name = key
                .account
                .as_ref()
                .map_or(key.key.as_str(), |it| it.as_str());
            let place = *places.entry(name).or_insert_with(|| {
                lanes.push(Lane {
                    name: name.to_owned(),
                    is_account: key.account.is_some(),
                    ..Lane::default()
                });
                lanes.len() - 1
            });
            let lane = &mut lanes[place];
            lane.answered += key.answered;
            lane.refused += key.calls - key.answered;
            lane.cost += key.cost;
        }
        lanes
    }

    /// Returns the keys in the order of `states`, those that are not in it last.
    pub(crate) fn finish(mut self, states: Vec<KeyState>) -> Vec<KeySummary> {
        let mut places = HashMap::new();
        for (place, state) in states.into_iter().enumerate() {
            self.entry(&state.key, state.account.as_ref()).state = state.state;
            places.insert(state.key, place);
        }
        self.keys
            .sort_by_key(|entry| places.get(&entry.key).copied().unwrap_or(usize::MAX));
        self.keys
    }

    fn entry(&mut self, key: &KeyId, account: Option<&AccountId>) -> &mut KeySummary {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                self.keys.push(KeySummary {
                    key: key.clone(),
                    account: account.cloned(),
                    calls: 0,
                    answered: 0,
                    cost: Cost::default(),
                    refusals: BTreeMap::new(),
                    state: String::new(),
                });
                self.places.insert(key.clone(), self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        &mut self.keys[place]
    }
}
