//! Limits as a configuration says them, and as they are shown: [`Table`].

use std::collections::HashMap;

use fairkey_strategy::{Limit, LimitSet};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value, json};
use std::time::Duration;
use toml::Spanned;

use super::bounds::Time;
use super::{Wrong, duration};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The most of anything that a limit can count.
const MOST: i64 = 1 << 40;

/// The most money that a limit can hold, in dollars.
const MOST_USD: f64 = 1e6;

/// What a table of limits may say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    requests_per_minute: Option<Amount>,
    tokens_per_minute: Option<Amount>,
    requests_per_day: Option<Amount>,
    in_flight: Option<Amount>,
    in_flight_usd: Option<Usd>,
    requests: Option<Spanned<Window>>,
    tokens: Option<Spanned<Window>>,
}

/// An amount in a window of its own length.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    pub(super) limit: Amount,
    pub(super) per: Time,
}

impl From<Window> for Limit {
    fn from(from: Window) -> Self {
        Self::per(from.limit.0, from.per.0)
    }
}

/// One model of an account, with limits of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    id: Spanned<String>,
    limits: Spanned<Table>,
}

/// How limits are kept.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keeping {
    pub(super) margin: Option<super::bounds::TimeOrNone>,
}

/// A number above zero.
#[derive(Clone, Copy)]
pub(super) struct Amount(pub(super) u64);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match i64::deserialize(from)? {
            0 => Err(D::Error::custom(
                "a limit of 0 would let nothing through: give 1 or more, or leave the key out",
            )),
            amount if (1..=MOST).contains(&amount) => Ok(Self(amount.unsigned_abs())),
            _ => Err(D::Error::custom(format_args!(
                "a limit is between 1 and {MOST}: leave it out where there is none"
            ))),
        }
    }
}

/// Dollars above zero, as millionths.
#[derive(Clone, Copy)]
pub(super) struct Usd(pub(super) u64);

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(from)?;
        // NaN is within nothing.
        if (1e-6..=MOST_USD).contains(&usd) {
            return Ok(Self((usd * 1e6).round() as u64));
        }
        Err(D::Error::custom(format_args!(
            "money here is in US dollars, between 0.000001 and {MOST_USD}: leave it out where \
             there is no limit"
        )))
    }
}

/// Reads a table of limits; none where the file has none.
pub(super) fn read(table: Option<Spanned<Table>>) -> Result<LimitSet, Wrong> {
    let Some(table) = table else {
        return Ok(LimitSet::NONE);
    };
    let at = table.span().start;
    let table = table.into_inner();
    let windowed = |of: &str, minute: Option<Amount>, window: Option<Spanned<Window>>| match (
        minute, window,
    ) {
        (Some(_), Some(twice)) => Err(Wrong {
            at: twice.span().start,
            message: format!(
                "{of} are limited twice: give either {of}_per_minute, or {of} with a window \
                     of its own"
            ),
        }),
        (Some(minute), None) => Ok(Some(Limit::per(minute.0, MINUTE))),
        (None, window) => Ok(window.map(|window| window.into_inner().into())),
    };
    let set = LimitSet {
        requests: windowed("requests", table.requests_per_minute, table.requests)?,
        tokens: windowed("tokens", table.tokens_per_minute, table.tokens)?,
        in_flight: table.in_flight.map(|amount| amount.0),
        in_flight_micro_usd: table.in_flight_usd.map(|usd| usd.0),
        quota: (table.requests_per_day).map(|amount| Limit::per(amount.0, DAY)),
        ..LimitSet::NONE
    };
    if set == LimitSet::NONE {
        return Err(Wrong {
            at,
            message: "these limits say nothing: give one, such as requests_per_minute, or leave \
                      them out"
                .to_owned(),
        });
    }
    Ok(set)
}

/// Reads the models of an account. `all` counts the models of all accounts.
pub(super) fn models(
    models: Vec<Model>,
    all: &mut std::collections::HashSet<String>,
) -> Result<HashMap<String, LimitSet>, Wrong> {
    let mut sets = HashMap::new();
    for Model { id, limits } in models {
        let at = id.span().start;
        let wrong = |message: String| Err(Wrong { at, message });
        let id = super::label(id, "a model's id")?.into_inner();
        let limits = read(Some(limits))?;
        all.insert(id.clone());
        if all.len() > MODELS {
            return wrong(format!(
                "{MODELS} models have limits of their own before this one: leave out those that \
                 are not used"
            ));
        }
        if sets.contains_key(&id) {
            return wrong(format!(
                "model \"{id}\" is limited twice: put all of its limits into one entry"
            ));
        }
        sets.insert(id, limits);
    }
    Ok(sets)
}

/// The most models that can have limits of their own.
const MODELS: usize = 1_024;

/// Returns limits as a file says them.
pub(super) fn shown(set: &LimitSet) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    for (name, limit) in [("requests", set.requests), ("tokens", set.tokens)] {
        match limit {
            Some(Limit { amount, per }) if per == MINUTE => {
                add(&format!("{name}_per_minute"), amount.into());
            }
            Some(Limit { amount, per }) => {
                add(name, json!({ "limit": amount, "per": duration::text(per) }));
            }
            None => {}
        }
    }
    if let Some(quota) = set.quota {
        add("requests_per_day", quota.amount.into());
    }
    if let Some(calls) = set.in_flight {
        add("in_flight", calls.into());
    }
    if let Some(micros) = set.in_flight_micro_usd {
        add("in_flight_usd", json!(micros as f64 / 1e6));
    }
    Value::Object(fields)
}
