//! Sums in memory: [`Book`], [`SpendRow`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tenant::{Per, Spent};

/// What stands for models, where there are too many to tell apart.
const OTHER: &str = "(other)";
/// What stands for a key or a model that is not known.
const NONE: &str = "(none)";
/// The longest name of a model that is kept, in bytes.
const MAX_NAME: usize = 128;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// What one tenant has spent with one key on one model in one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendRow {
    /// When the stretch began, in seconds since 1970: an hour of the last day or so, a day of the
    /// last two months, else a month; 0 for what is older than about two years.
    pub since: u64,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The label of the key; `(none)` where no key was asked.
    pub key: Arc<str>,
    /// The model that was asked for; `(none)` where none was named, `(other)` for those beyond
    /// the bound.
    pub model: Arc<str>,
    /// Calls.
    pub calls: u64,
    /// Those among them of which the upstream did not say what they used, and that count as was
    /// expected.
    pub guesses: u64,
    /// Tokens, prompts and completions together.
    pub tokens: u64,
    /// Money, in millionths of a US dollar.
    pub micro_usd: u64,
}

type Place = (u64, Arc<str>, Arc<str>, Arc<str>);

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    calls: u64,
    guesses: u64,
    tokens: u64,
    micro_usd: u64,
}

/// Sums, a bounded number of them.
#[derive(Debug)]
pub(super) struct Book {
    rows: BTreeMap<Place, Sum>,
    max_rows: usize,
}

impl SpendRow {
    pub(super) fn of(spent: &Spent) -> Self {
        let name = |name: Option<&str>| Arc::from(cut(name.unwrap_or(NONE)));
        let used = spent.used;
        Self {
            since: spent.at.as_secs() / HOUR * HOUR,
            tenant: Arc::clone(&spent.tenant),
            key: name(spent.key.as_ref().map(fairkey_core::KeyId::as_str)),
            model: name(spent.model.as_deref()),
            calls: 1,
            guesses: spent.is_guess.into(),
            tokens: used.tokens,
            micro_usd: used.micro_usd,
        }
    }
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

impl Book {
    pub(super) fn new(max_rows: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            max_rows: max_rows.max(1),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Adds a sum to the stretch of time that it belongs to, seen from `now`.
    pub(super) fn add_row(&mut self, row: SpendRow, now: Duration) {
        let sum = Sum {
            calls: row.calls,
            guesses: row.guesses,
            tokens: row.tokens,
            micro_usd: row.micro_usd,
        };
        let since = stretch(row.since, now.as_secs());
        self.add((since, row.tenant, row.key, row.model), sum);
    }

    fn add(&mut self, mut place: Place, sum: Sum) {
        if self.rows.len() >= self.max_rows && !self.rows.contains_key(&place) {
            place.3 = OTHER.into();
            if !self.rows.contains_key(&place) {
                // Tenants and keys come from the configuration, and are few.
                place.2 = OTHER.into();
            }
        }
        let all = self.rows.entry(place).or_default();
        all.calls = all.calls.saturating_add(sum.calls);
        all.guesses = all.guesses.saturating_add(sum.guesses);
        all.tokens = all.tokens.saturating_add(sum.tokens);
        all.micro_usd = all.micro_usd.saturating_add(sum.micro_usd);
    }

    /// Sums up what has become old.
    pub(super) fn fold(&mut self, now: Duration) {
        for ((since, tenant, key, model), sum) in std::mem::take(&mut self.rows) {
            let since = stretch(since, now.as_secs());
            self.add((since, tenant, key, model), sum);
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = SpendRow> {
        self.rows
            .iter()
            .map(|((since, tenant, key, model), sum)| SpendRow {
                since: *since,
                tenant: Arc::clone(tenant),
                key: Arc::clone(key),
                model: Arc::clone(model),
                calls: sum.calls,
                guesses: sum.guesses,
                tokens: sum.tokens,
                micro_usd: sum.micro_usd,
            })
    }
}

/// Returns when the stretch began that a time belongs to. It begins in the same hour, day, week and
/// month as the time itself, as long as any of these may still be the present one.
fn stretch(at: u64, now: u64) -> u64 {
    match now.saturating_sub(at) {
        age if age <= DAY => at / HOUR * HOUR,
        age if age <= 62 * DAY => at / DAY * DAY,
        age if age <= 800 * DAY => Per::Month.began(Duration::from_secs(at)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is summed up, no present window of a tenant's budget loses or gains anything.
        #[test]
        fn summing_up_changes_no_present_window(
            now in 1_600_000_000..1_900_000_000u64,
            age in 0..100_000_000u64,
            later in 0..10_000_000u64,
        ) {
            let at = now - age;
            let folded = stretch(stretch(at, now), now + later);
            let end = Duration::from_secs(now + later);
            for per in Per::ALL {
                let number = |at| per.number(Duration::from_secs(at));
                let is_now = number(at) == per.number(end);
                prop_assert_eq!(number(folded) == per.number(end), is_now, "{}", per);
            }
            prop_assert!(folded <= at);
        }
    }
}
