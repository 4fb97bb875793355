//! How keys are shown.

use std::fmt;
use std::time::Duration;

use fairkey_client::{KeyStanding, Out};
use fairkey_core::{AccountId, KeyId};
use fairkey_mock::Timestamp;
use fairkey_openrouter::{KeyBudget, KeyInfo, ResetInterval};
use fairkey_strategy::{Learned, LimitAccount, LimitOwner, LimitUse};
use serde_json::{Value, json};

use super::Trouble;
use crate::redaction;
use crate::table::Table;

/// What is known about a key.
pub(crate) struct Report {
    pub(super) key: KeyId,
    pub(super) account: Option<AccountId>,
    pub(super) info: Result<KeyInfo, Trouble>,
    pub(super) balance: Balance,
    /// What this program has against it, or another one that shares its state file.
    pub(super) standing: Option<KeyStanding>,
}

/// A limit, and what was learned of it where nobody configured it.
pub(crate) struct Limited {
    pub(super) of: LimitUse,
    pub(super) learned: Option<Learned>,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt(f)?;
        match &self.learned {
            Some(learned) => {
                let how = if learned.is_told { "told" } else { "learned" };
                write!(f, " ({how} {} ago)", ago(learned.age))
            }
            None => Ok(()),
        }
    }
}

/// A time in its largest unit.
fn ago(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}

/// What is known about the balance of an account.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Balance {
    /// Read with a management key, in US dollars.
    Read(f64),
    /// What a refusal said.
    LastRefusal(String),
    /// Nothing: only a management key may read it.
    Unknown,
}

impl Report {
    /// Returns whether the key can be used, as far as is known.
    pub(super) fn is_usable(&self) -> bool {
        self.state() == "ok"
    }

    fn state(&self) -> String {
        let info = match &self.info {
            Ok(info) => info,
            Err(trouble) => return trouble.text.clone(),
        };
        if info.is_management() {
            return "a management key: refused for inference".to_owned();
        }
        if info.limit_remaining.is_some_and(|left| left <= 0.0) {
            return match &info.limit_reset {
                Some(reset) => format!("cap spent, starts anew {reset}"),
                None => "cap spent, never starts anew".to_owned(),
            };
        }
        let spent = info.budgets.iter().chain(&info.effective_budget);
        let spent = spent.filter(|budget| budget.remaining_usd.is_some_and(|left| left <= 0.0));
        match (spent.map(scope).next(), self.out()) {
            (Some(scope), _) => format!("budget spent ({scope})"),
            (None, Some(_)) => "out".to_owned(),
            (None, None) => "ok".to_owned(),
        }
    }

    /// Returns how the key stands, where it is out.
    fn out(&self) -> Option<&KeyStanding> {
        self.standing.as_ref().filter(|standing| !standing.is_in())
    }

    fn account(&self) -> String {
        match (&self.account, &self.info) {
            (Some(account), _) => account.to_string(),
            // Not named here, but OpenRouter says who owns it.
            (None, Ok(info)) => info
                .owner()
                .map_or("-".to_owned(), |owner| format!("({owner})")),
            (None, Err(_)) => "-".to_owned(),
        }
    }
}

fn scope(budget: &KeyBudget) -> String {
    budget
        .scope
        .as_ref()
        .map_or("?".to_owned(), ToString::to_string)
}

fn usd(amount: f64) -> String {
    format!("${amount:.2}")
}

fn interval(reset: Option<&ResetInterval>) -> String {
    reset.map_or(String::new(), |reset| format!(" {reset}"))
}

fn cap(info: &KeyInfo) -> String {
    let Some(limit) = info.limit else {
        return "none".to_owned();
    };
    let left = info.limit_remaining.map_or("?".to_owned(), usd);
    format!(
        "{left} of {}{}",
        usd(limit),
        interval(info.limit_reset.as_ref())
    )
}

fn budgets(info: &KeyInfo) -> String {
    let each: Vec<String> = info
        .budgets
        .iter()
        .map(|budget| {
            let left = budget.remaining_usd.map_or("?".to_owned(), usd);
            let limit = budget.limit_usd.map_or("?".to_owned(), usd);
            let interval = interval(budget.reset_interval.as_ref());
            format!("{} {left} of {limit}{interval}", scope(budget))
        })
        .collect();
    if each.is_empty() {
        "none".to_owned()
    } else {
        each.join(", ")
    }
}

fn free(info: &KeyInfo) -> String {
    match info.free_model_daily_requests {
        // No quota is that large: it stands for none.
        Some(free) if free.limit >= u64::from(u32::MAX) => "unlimited".to_owned(),
        Some(free) => format!("{} of {}", free.remaining, free.limit),
        None => "?".to_owned(),
    }
}

fn balance(balance: &Balance) -> String {
    match balance {
        Balance::Read(usd) => format!("${usd:.2}"),
        Balance::LastRefusal(_) => "empty, said the last 402".to_owned(),
        Balance::Unknown => "?".to_owned(),
    }
}

/// Returns the keys as text, in a table that is no wider than `width`.
pub(super) fn table(reports: &[Report], limits: &[Limited], width: Option<usize>) -> String {
    let mut rows = Table::new(&[
        "key",
        "account",
        "cap left",
        "budgets left",
        "free today",
        ">spent today",
        ">balance",
        "state",
    ]);
    for report in reports {
        let info = |show: fn(&KeyInfo) -> String| report.info.as_ref().map_or("?".to_owned(), show);
        rows.row(vec![
            report.key.to_string(),
            report.account(),
            info(cap),
            info(budgets),
            info(free),
            info(|info| info.usage_daily.map_or("?".to_owned(), usd)),
            balance(&report.balance),
            report.state(),
        ]);
    }
    let mut text = rows.render(width);
    let mut out = reports
        .iter()
        .filter_map(|report| Some((report, report.out()?)));
    if let Some(first) = out.next() {
        text.push('\n');
        for (report, standing) in std::iter::once(first).chain(out) {
            text.push_str(&format!("key \"{}\" is {standing}\n", report.key));
        }
    }
    text.push_str(&limited(limits));
    let mut text = redaction::clean(&text);
    if reports
        .iter()
        .any(|report| report.balance == Balance::Unknown)
    {
        text.push_str(
            "\nA balance can only be read with a management key: [[accounts]] management_key.\n",
        );
    }
    text
}

/// Says what is used of the limits, one line for each owner.
fn limited(limits: &[Limited]) -> String {
    let mut text = String::new();
    for same in limits.chunk_by(|one, next| one.of.owner == next.of.owner) {
        let each: Vec<String> = same.iter().map(ToString::to_string).collect();
        let owner = &same[0].of.owner;
        text.push_str(&format!("{owner} has used {}\n", each.join(", ")));
    }
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    text
}

/// Returns the limits that a key is under.
fn limits_of(report: &Report, limits: &[Limited]) -> Value {
    let is_its = |limit: &&Limited| match (&limit.of.owner, limit.of.owner.account()) {
        (LimitOwner::Key(key), _) => *key == report.key,
        (_, Some(LimitAccount::Named(account))) => report.account.as_ref() == Some(account),
        (_, Some(LimitAccount::OfKey(key))) => *key == report.key,
        _ => false,
    };
    let each = limits.iter().filter(is_its).map(|limit| {
        let learned = limit.learned.as_ref().map(
            |learned| json!({ "age_seconds": learned.age.as_secs(), "told": learned.is_told }),
        );
        let limit = &limit.of;
        json!({
            "of": limit.owner.to_string(),
            "dimension": limit.dimension.as_str(),
            "used": limit.used,
            "limit": limit.limit.amount,
            "per_seconds": limit.limit.per.as_secs_f64(),
            "learned": learned,
        })
    });
    each.collect()
}

/// Returns the keys as JSON.
pub(super) fn json(reports: &[Report], limits: &[Limited]) -> String {
    let each: Vec<Value> = reports
        .iter()
        .map(|report| {
            let (balance, from) = match &report.balance {
                Balance::Read(usd) => (Some(*usd), Some("management_key")),
                Balance::LastRefusal(_) => (Some(0.0), Some("last_402")),
                Balance::Unknown => (None, None),
            };
            // The label that OpenRouter gives a key is a part of the key: it stays here.
            let info = report.info.as_ref().ok().map(|info| {
                let mut info = json!(info);
                if let Some(fields) = info.as_object_mut() {
                    fields.remove("label");
                }
                info
            });
            json!({
                "key": report.key.as_str(),
                "account": report.account.as_ref().map(|account| account.as_str()),
                "usable": report.is_usable(),
                "state": report.state(),
                "balance_usd": balance,
                "balance_from": from,
                "info": info,
                "standing": report.standing.as_ref().map(standing),
                "limits": limits_of(report, limits),
            })
        })
        .collect();
    redaction::clean(&format!("{:#}\n", Value::Array(each)))
}

fn standing(standing: &KeyStanding) -> Value {
    let checked = standing
        .checked
        .map(|checked| json!({ "at": time(checked.at), "answered": checked.answered }));
    json!({
        "in": standing.is_in(),
        "line": standing.to_string(),
        "out": standing.out.iter().map(out).collect::<Vec<_>>(),
        "free_models": standing.free_models.as_ref().map(out),
        "checked": checked,
    })
}

fn out(out: &Out) -> Value {
    json!({
        "by": out.by.as_str(),
        "gate": out.gate,
        "cause": out.cause.map(|cause| cause.as_str()),
        "proof": out.proof.map(|proof| proof.as_str()),
        "status": out.status,
        "since": out.since.map(time),
        "until": out.until.map(time),
        "waits_for": out.what,
    })
}

/// Returns a time of day, by UTC.
fn time(since_epoch: Duration) -> String {
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_millis(millis).to_string()
}

/// Says which keys belong to one account without being told so: they share its limits.
pub(super) fn shared_owners(reports: &[Report]) -> Vec<String> {
    let owner = |report: &Report| {
        let unnamed = report.account.is_none();
        report
            .info
            .as_ref()
            .ok()
            .filter(|_| unnamed)?
            .owner()
            .map(str::to_owned)
    };
    let mut warnings = Vec::new();
    for (at, report) in reports.iter().enumerate() {
        let Some(shared) = owner(report) else {
            continue;
        };
        let before = &reports[..at];
        if let Some(other) = before
            .iter()
            .find(|other| owner(other).as_ref() == Some(&shared))
        {
            warnings.push(format!(
                "keys \"{}\" and \"{}\" belong to one account and share its limits: name it, with \
                 account = \"…\" at both",
                other.key, report.key
            ));
        }
    }
    warnings
}
