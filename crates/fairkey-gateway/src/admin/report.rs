//! Keys, accounts and explanations as JSON. Times are seconds since 1970, durations seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use fairkey_client::{Client, KeyStanding, Out};
use fairkey_core::{Ask, Class, Cost, Denial, Explanation, Only, Timestamp};
use serde_json::{Value, json};

use super::path::Query;
use crate::gateway::Shared;
use crate::{Failure, Reason};

pub(super) fn status(shared: &Shared) -> Value {
    let lifecycle = &shared.lifecycle;
    let stats = shared.client.stats();
    let faults = stats.faults.iter().map(|fault| {
        json!({ "scope": fault.scope.as_str(), "cause": fault.cause.as_str(), "count": fault.count })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": lifecycle.is_open() && !lifecycle.is_starved(),
        "draining": !lifecycle.is_open(),
        "requests_under_way": lifecycle.count(),
        "keys": shared.client.pool().len(),
        "in_flight": stats.in_flight,
        "waiting": stats.waiting,
        "calls": stats.calls,
        "answered": stats.answered,
        "attempts": stats.attempts,
        "failovers": stats.failovers,
        "fallbacks": stats.fallbacks,
        "retries": stats.retries,
        "budget_denied": stats.budget_denied,
        "hedges": stats.hedges,
        "hedges_won": stats.hedges_won,
        "waits": stats.waits,
        "waited_seconds": stats.waited.as_secs_f64(),
        "used_tokens": stats.used.tokens,
        "used_usd": stats.used.micro_usd as f64 / 1e6,
        "unpriced_attempts": stats.unpriced,
        "faults": faults.collect::<Vec<_>>(),
    })
}

/// Returns every key, and what an operator should know; with `model`, how they stand to it.
pub(super) fn keys(client: &Client, model: Option<&str>) -> Value {
    let standing = match model {
        Some(model) => client.standing_for(model),
        None => client.standing(),
    };
    let more = More::of(client);
    let keys = standing.keys.iter().map(|key| more.key(key));
    json!({
        "now": standing.now.as_secs_f64(),
        "keys": keys.collect::<Vec<_>>(),
        "warnings": standing.warnings,
    })
}

pub(super) fn key(client: &Client, id: &str) -> Option<Value> {
    let standing = client.standing();
    let mut keys = standing.keys.iter();
    let key = keys.find(|key| key.key.as_ref().is_some_and(|key| key.as_str() == id))?;
    Some(More::of(client).key(key))
}

/// Returns every account that has a name, with its keys.
pub(super) fn accounts(client: &Client) -> Value {
    let standing = client.standing();
    let more = More::of(client);
    let disabled = client.switch().map(|switch| switch.disabled_accounts());
    let disabled = disabled.unwrap_or_default();
    let mut accounts: BTreeMap<&str, Vec<&KeyStanding>> = BTreeMap::new();
    for key in &standing.keys {
        if let Some(account) = &key.account {
            accounts.entry(account.as_str()).or_default().push(key);
        }
    }
    let accounts = accounts.into_iter().map(|(account, keys)| {
        let names = keys.iter().filter_map(|key| key.key.as_ref());
        let out = keys.iter().flat_map(|key| &key.out);
        let own = out.filter(|out| out.by == fairkey_core::Scope::Account);
        let own = own.map(out_json).next();
        json!({
            "account": account,
            "keys": names.map(fairkey_core::KeyId::as_str).collect::<Vec<_>>(),
            "in": keys.iter().any(|key| key.is_in()),
            "out": own,
            "disabled": disabled.iter().any(|id| id.as_str() == account),
            "in_flight": keys.iter().map(|key| more.in_flight(key)).sum::<u32>(),
            "limits": more.limits(&format!("account \"{account}\"")),
        })
    });
    json!({ "now": standing.now.as_secs_f64(), "accounts": accounts.collect::<Vec<_>>() })
}

/// What is not in a standing.
struct More {
    in_flight: BTreeMap<String, u32>,
    disabled: Vec<String>,
    pinned: Vec<String>,
    limits: Vec<(String, Value)>,
}

impl More {
    fn of(client: &Client) -> Self {
        let in_flight = client.pool().with_keys(|keys| {
            let each = keys
                .iter()
                .map(|key| (key.id().to_string(), key.in_flight()));
            each.collect()
        });
        let limits = client.limit_uses().into_iter().map(|limit| {
            let owner = limit.owner.to_string();
            let value = json!({
                "of": owner,
                "words": limit.to_string(),
                "dimension": limit.dimension.as_str(),
                "used": limit.used,
                "limit": limit.limit.amount,
                "per_seconds": limit.limit.per.as_secs_f64(),
            });
            (owner, value)
        });
        let switch = client.switch();
        let names = |ids: Option<Vec<fairkey_core::KeyId>>| -> Vec<String> {
            ids.into_iter().flatten().map(|id| id.to_string()).collect()
        };
        Self {
            in_flight,
            disabled: names(switch.as_ref().map(|switch| switch.disabled_keys())),
            pinned: names(switch.as_ref().map(|switch| switch.pinned_keys())),
            limits: limits.collect(),
        }
    }

    fn in_flight(&self, key: &KeyStanding) -> u32 {
        let id = key.key.as_ref().map(fairkey_core::KeyId::as_str);
        id.and_then(|id| self.in_flight.get(id))
            .copied()
            .unwrap_or(0)
    }

    /// Returns the limits of a key, an account, or what belongs to it.
    fn limits(&self, owner: &str) -> Vec<&Value> {
        let is_its = |of: &str| {
            let rest = of.strip_prefix(owner);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                || of.contains(&format!("of {owner}"))
        };
        let limits = self.limits.iter().filter(|(of, _)| is_its(of));
        limits.map(|(_, value)| value).collect()
    }

    fn key(&self, key: &KeyStanding) -> Value {
        let id = key.key.as_ref().map_or("", |key| key.as_str());
        let checked = key.checked.map(|checked| {
            json!({
                "at": checked.at.as_secs_f64(),
                "answered": checked.answered,
                "next": checked.next.map(|at| at.as_secs_f64()),
            })
        });
        let facts = key.facts.as_ref();
        json!({
            "key": id,
            "account": key.account.as_ref().map(fairkey_core::AccountId::as_str),
            "in": key.is_in(),
            "line": key.to_string(),
            "out": key.out.iter().map(out_json).collect::<Vec<_>>(),
            "free_models_out": key.free_models.as_ref().map(out_json),
            "disabled": self.disabled.iter().any(|other| other == id),
            "pinned": self.pinned.iter().any(|other| other == id),
            "in_flight": self.in_flight(key),
            "remaining_usd": facts.and_then(fairkey_client::KeyFacts::remaining_usd),
            "expires": facts.and_then(|facts| facts.expires_at).map(|at| at.as_secs_f64()),
            "checked": checked,
            "limits": self.limits(&format!("key \"{id}\"")),
        })
    }
}

fn out_json(out: &Out) -> Value {
    json!({
        "by": out.by.as_str(),
        "gate": out.gate,
        "cause": out.cause.map(|cause| cause.as_str()),
        "evidence": out.proof.map(|proof| proof.as_str()),
        "status": out.status,
        "since": out.since.map(|at| at.as_secs_f64()),
        "next_try": out.until.map(|at| at.as_secs_f64()),
        "waits_for": out.what,
    })
}

/// Says what each key would say to the ask of `query`.
pub(super) fn explain(
    client: &Client,
    query: &Query,
    only: Option<&Only>,
) -> Result<Value, Failure> {
    let micro = |usd: f64| Duration::try_from_secs_f64(usd).map_or(u64::MAX, micros);
    let class = match query.get("class") {
        None | Some("normal") => Class::Normal,
        Some("interactive") => Class::Interactive,
        Some("batch") => Class::Batch,
        Some(_) => {
            let message = "class is interactive, normal or batch";
            return Err(Failure::new(Reason::BadRequest, message));
        }
    };
    let ask = Ask {
        model: query.get("model"),
        cost: Cost {
            tokens: query.number("tokens")?.unwrap_or(0),
            micro_usd: query.number("usd")?.map_or(0, micro),
            ..Cost::ONE
        },
        class,
        only,
        ..Ask::new()
    };
    let explanation = client.pool().explain(&ask);
    let admitted = explanation.keys.iter().filter(|key| key.is_admitted());
    let admitted = admitted.count();
    let waiting = client.stats().waiting;
    Ok(json!({
        "model": ask.model,
        "class": class.to_string(),
        "admitted": admitted,
        "waiting": waiting,
        "keys": explanation.keys.iter().map(|key| json!({
            "key": key.id.as_str(),
            "account": key.account.as_ref().map(fairkey_core::AccountId::as_str),
            "weight": key.weight,
            "in_flight": key.in_flight,
            "admitted": key.is_admitted(),
            "score": key.score,
            "headroom": client.headroom(key.id.as_str(), &ask),
            "denied": key.denied.iter().map(|it| denial(it, explanation.now)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    }))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn denial(denial: &Denial, now: Timestamp) -> Value {
    json!({
        "gate": denial.gate,
        "by": denial.denied.by.as_str(),
        "for_seconds": denial.denied.until.map(|until| until.since(now).as_secs_f64()),
        "may_open_sooner": denial.denied.may_open_sooner,
        "since_seconds": denial.detail.since.map(|since| now.since(since).as_secs_f64()),
        "words": words(denial, now),
    })
}

/// Says a denial in words: `the account is closed by Cooldown(account) for 4.2s: rate limit`.
pub(super) fn words(denial: &Denial, now: Timestamp) -> String {
    let how_long = match denial.denied.until {
        Some(until) if denial.denied.may_open_sooner => {
            format!("for at most {:.1?}", until.since(now))
        }
        Some(until) => format!("for {:.1?}", until.since(now)),
        None => "until something changes".to_owned(),
    };
    let what = denial.detail.what.map(|what| format!(": {what}"));
    format!(
        "closed by {} ({}) {how_long}{}",
        denial.gate,
        denial.denied.by,
        what.unwrap_or_default()
    )
}

/// Says in short why keys would not be taken: each reason once, with how many keys it bars and
/// some of them.
pub(super) fn others(explanation: &Explanation, taken: Option<&str>) -> Value {
    const MOST_REASONS: usize = 16;
    const MOST_KEYS: usize = 8;
    let mut reasons: BTreeMap<String, (usize, Vec<&str>)> = BTreeMap::new();
    for key in &explanation.keys {
        let id = key.id.as_str();
        if taken == Some(id) {
            continue;
        }
        let reason = match key.denied.first() {
            Some(first) => words(first, explanation.now),
            None => "admitted, and ranked behind".to_owned(),
        };
        let reason = if reasons.len() < MOST_REASONS || reasons.contains_key(&reason) {
            reason
        } else {
            "other reasons".to_owned()
        };
        let (count, keys) = reasons.entry(reason).or_default();
        *count += 1;
        if keys.len() < MOST_KEYS {
            keys.push(id);
        }
    }
    let each = reasons
        .into_iter()
        .map(|(why, (count, keys))| json!({ "why": why, "count": count, "keys": keys }));
    Value::Array(each.collect())
}
