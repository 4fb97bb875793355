//! How fast keys may go, and how far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairkey_batch::Forecast;
use fairkey_client::{Client, KeyStanding};
use fairkey_strategy::{Dimension, LimitOwner, LimitUse};

/// A reason why a run takes so long at least.
pub(super) struct Bound {
    pub(super) why: String,
    pub(super) time: Duration,
}

/// Returns what the caps and budgets of all keys leave in US dollars, and how many free requests are
/// left of the day; `None` where one of them has no limit, or nobody knows.
pub(super) fn left(keys: &[KeyStanding]) -> (Option<f64>, Option<u64>) {
    // What several keys share counts once.
    let mut money = Some(0.0);
    let mut shared: BTreeSet<String> = BTreeSet::new();
    let mut free: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for key in keys {
        let facts = key.facts.as_ref();
        let tightest = facts.and_then(|facts| {
            let layers = facts
                .layers
                .iter()
                .filter(|layer| layer.remaining_usd.is_some());
            layers.min_by(|a, b| {
                a.remaining_usd
                    .unwrap_or(0.0)
                    .total_cmp(&b.remaining_usd.unwrap_or(0.0))
            })
        });
        match tightest {
            Some(layer) => {
                let is_new = (layer.shared.clone()).is_none_or(|name| shared.insert(name));
                if let (true, Some(sum)) = (is_new, &mut money) {
                    *sum += layer.remaining_usd.unwrap_or(0.0).max(0.0);
                }
            }
            None => money = None,
        }
        let account = match (&key.account, &key.key) {
            (Some(account), _) => account.to_string(),
            (None, key) => format!("\0{}", key.as_ref().map_or("", |key| key.as_str())),
        };
        let left = facts.and_then(|facts| facts.free_remaining);
        let known = free.entry(account).or_insert(left);
        *known = known.and_then(|known| left.map(|left| known.min(left)));
    }
    let free: Option<u64> = free.values().copied().sum();
    (
        money.filter(|_| !keys.is_empty()),
        free.filter(|_| !keys.is_empty()),
    )
}

/// Returns why a run takes how long at least, the longest first.
pub(super) fn bounds(
    client: &Client,
    forecast: &Forecast,
    in_flight: usize,
    work: Option<Duration>,
) -> Vec<Bound> {
    let limits = client.limit_uses();
    // Every account, and the keys of each.
    let accounts: BTreeMap<String, Vec<String>> = client.pool().with_keys(|keys| {
        let mut accounts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in keys.iter() {
            let owner = LimitOwner::of(key, fairkey_strategy::LimitGroup::Account).to_string();
            let own = LimitOwner::of(key, fairkey_strategy::LimitGroup::Key).to_string();
            accounts.entry(owner).or_default().push(own);
        }
        accounts
    });
    let total = forecast.total();
    let tokens = total.prompt_tokens.saturating_add(total.output_tokens[1]);
    let per_second = |dimension: Dimension| capacity(&limits, &accounts, dimension);
    let mut bounds = Vec::new();
    for (dimension, amount, what) in [
        (Dimension::Requests, forecast.rows, "requests"),
        (Dimension::Tokens, tokens, "tokens"),
    ] {
        if let Some(speed) = per_second(dimension).filter(|speed| *speed > 0.0)
            && let Ok(time) = Duration::try_from_secs_f64(amount as f64 / speed)
        {
            let why = format!("limits of {what}: {:.1} a minute", speed * 60.0);
            bounds.push(Bound { why, time });
        }
    }
    if let Some(work) = work {
        let own = per_second(Dimension::InFlight).map(|most| most as usize);
        let most = own.unwrap_or(in_flight).min(in_flight).max(1);
        let why = match own {
            Some(limit) if limit < in_flight => format!("limits of calls at a time: {limit}"),
            _ => format!("{most} rows in flight, at the speed of the last half hour"),
        };
        let time = work / u32::try_from(most).unwrap_or(u32::MAX);
        bounds.push(Bound { why, time });
    }
    bounds.sort_by_key(|bound| std::cmp::Reverse(bound.time));
    bounds
}

/// Returns what all accounts together may use in a second, or at a time; `None` where one of them
/// has no such limit.
fn capacity(
    limits: &[LimitUse],
    accounts: &BTreeMap<String, Vec<String>>,
    dimension: Dimension,
) -> Option<f64> {
    let of = |owner: &String| {
        let mut own = limits.iter();
        let own = own.find(|own| own.dimension == dimension && own.owner.to_string() == *owner)?;
        let amount = own.limit.amount as f64;
        Some(match dimension {
            Dimension::InFlight => amount,
            _ => amount / own.limit.per.as_secs_f64().max(1e-9),
        })
    };
    let mut sum = 0.0;
    for (account, keys) in accounts {
        let of_keys: Option<f64> = keys.iter().map(of).sum();
        sum += match (of(account), of_keys) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
    }
    (!accounts.is_empty()).then_some(sum)
}
