//! Reading scenarios from TOML.

mod step;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::Scenario;
use crate::account::{Account, FreeTier};
use crate::action::Action;
use crate::builder::Builder;
use crate::chance::{FaultKind, Latency};
use crate::key::{Budget, Key};
use crate::model::Model;
use crate::script::On;
use step::StepSpec;
use value::{Probability, ResetName, Time, Usd, Wait};

/// Why a scenario file was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It does not say what a scenario can say.
    #[error("line {line}, column {column}: {message}")]
    Content {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

impl Scenario {
    /// Reads a scenario from a TOML file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or its content is wrong: with line and column. No secret is shown.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ScenarioError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::from_toml(&text)
    }

    /// Reads a scenario from TOML.
    ///
    /// # Errors
    ///
    /// If something in it is wrong: with line and column. No secret is shown.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            content(text, at, error.message().to_owned())
        })?;
        file.scenario()
            .map_err(|Wrong { at, message }| content(text, at, message))
    }
}

fn content(text: &str, at: usize, message: String) -> ScenarioError {
    let before = &text[..text.floor_char_boundary(at.min(text.len()))];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    ScenarioError::Content {
        line,
        column,
        message,
    }
}

/// What is wrong, and at which byte.
struct Wrong {
    at: usize,
    message: String,
}

impl Wrong {
    fn at<T>(what: &Spanned<T>, message: impl Into<String>) -> Self {
        Self {
            at: what.span().start,
            message: message.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seed: Option<u64>,
    now: Option<Time>,
    answer_tokens: Option<Spanned<[u64; 2]>>,
    comments: Option<usize>,
    any_model: Option<bool>,
    settlement: Option<Wait>,
    in_flight_token_cap: Option<u64>,
    in_flight_retry_after: Option<Wait>,
    latency: Option<LatencySpec>,
    #[serde(default)]
    accounts: Vec<AccountSpec>,
    #[serde(default)]
    keys: Vec<KeySpec>,
    #[serde(default)]
    budgets: Vec<Spanned<BudgetSpec>>,
    #[serde(default)]
    models: Vec<ModelSpec>,
    #[serde(default)]
    faults: BTreeMap<Spanned<String>, Probability>,
    #[serde(default)]
    provider_faults: BTreeMap<String, BTreeMap<Spanned<String>, Probability>>,
    #[serde(default)]
    scripts: Vec<ScriptSpec>,
    #[serde(default)]
    changes: Vec<Spanned<ChangeSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencySpec {
    first_token: Option<Wait>,
    per_token: Option<Wait>,
    jitter: Option<Probability>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountSpec {
    id: Spanned<String>,
    balance_usd: Option<Usd>,
    requests: Option<WindowSpec>,
    tokens: Option<WindowSpec>,
    in_flight_budget_usd: Option<Usd>,
    free_tier: Option<FreeTierSpec>,
    organization: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowSpec {
    limit: Spanned<u64>,
    per: Spanned<Wait>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreeTierSpec {
    per_minute: u32,
    per_day: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    secret: Spanned<String>,
    label: Option<Spanned<String>>,
    account: Option<Spanned<String>>,
    limit_usd: Option<Usd>,
    limit_reset: Option<ResetName>,
    expires_at: Option<Time>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    management: bool,
    member: Option<String>,
    workspace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetSpec {
    member: Option<String>,
    workspace: Option<String>,
    key: Option<Spanned<String>>,
    limit_usd: Usd,
    reset: Option<ResetName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelSpec {
    id: Spanned<String>,
    name: Option<String>,
    prompt_price: Option<Usd>,
    completion_price: Option<Usd>,
    context_length: Option<u64>,
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    providers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptSpec {
    key: Option<Spanned<String>>,
    model: Option<String>,
    path: Option<String>,
    steps: Vec<Spanned<StepSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeSpec {
    after_calls: Option<u64>,
    at: Option<Wait>,
    revoke_key: Option<Spanned<String>>,
    restore_key: Option<Spanned<String>>,
    disable_key: Option<Spanned<String>>,
    enable_key: Option<Spanned<String>>,
    set_balance: Option<MoneySpec>,
    add_credits: Option<MoneySpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoneySpec {
    account: Spanned<String>,
    usd: f64,
}

impl File {
    fn scenario(self) -> Result<Scenario, Wrong> {
        self.check_names()?;
        let mut builder = Builder::new();
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        if let Some(Time(now)) = self.now {
            builder = builder.now(now);
        }
        if let Some(range) = self.answer_tokens {
            let [low, high] = *range.get_ref();
            if low > high || high > 1_000_000 {
                return Err(Wrong::at(
                    &range,
                    "two numbers up to 1000000, the smaller first",
                ));
            }
            builder = builder.answer_tokens(low..=high);
        }
        if let Some(comments) = self.comments {
            builder = builder.comments(comments);
        }
        if let Some(any) = self.any_model {
            builder = builder.any_model(any);
        }
        if let Some(Wait(settlement)) = self.settlement {
            builder = builder.settlement(settlement);
        }
        if let Some(tokens) = self.in_flight_token_cap {
            builder = builder.in_flight_token_cap(tokens);
        }
        if let Some(Wait(after)) = self.in_flight_retry_after {
            builder = builder.in_flight_retry_after(after);
        }
        if let Some(latency) = self.latency {
            let wait = |wait: Option<Wait>| wait.unwrap_or_default().0;
            builder = builder.latency(
                Latency::new(wait(latency.first_token), wait(latency.per_token))
                    .jitter(latency.jitter.map_or(0.0, |jitter| jitter.0)),
            );
        }
        for (name, rate) in self.faults {
            builder = builder.fault_rate(fault_kind(&name)?, rate.0);
        }
        for (provider, faults) in self.provider_faults {
            for (name, rate) in faults {
                builder = builder.provider_faults(&provider, fault_kind(&name)?, rate.0);
            }
        }
        for account in self.accounts {
            builder = builder.account(account.account()?);
        }
        for budget in self.budgets {
            builder = builder.budget(budget_of(budget)?);
        }
        for model in self.models {
            builder = builder.model(model.model());
        }
        for script in self.scripts {
            let mut on = match script.path {
                Some(path) => On::path(path),
                None => On::any(),
            };
            if let Some(key) = script.key {
                on = on.and_key(key.into_inner());
            }
            if let Some(model) = script.model {
                on = on.and_model(model);
            }
            let steps: Result<Vec<_>, _> = script.steps.into_iter().map(step::step).collect();
            builder = builder.script(on, steps?);
        }
        for change in self.changes {
            builder = scheduled(builder, change)?;
        }
        let mut keys = Vec::new();
        for (number, key) in self.keys.into_iter().enumerate() {
            let label = key.label.as_ref().map(|label| label.get_ref().clone());
            let label = label.unwrap_or_else(|| format!("key-{}", number + 1));
            if !key.management {
                let account = key
                    .account
                    .as_ref()
                    .map_or("default", |a| a.get_ref().as_str());
                keys.push((
                    label.clone(),
                    account.to_owned(),
                    key.secret.get_ref().clone(),
                ));
            }
            builder = builder.key(key.key(label));
        }
        Ok(Scenario { builder, keys })
    }

    /// Names that are used must be declared, and declared once.
    fn check_names(&self) -> Result<(), Wrong> {
        let accounts: Vec<_> = self.accounts.iter().map(|account| &account.id).collect();
        let labels: Vec<_> = self
            .keys
            .iter()
            .filter_map(|key| key.label.as_ref())
            .collect();
        let secrets: Vec<_> = self.keys.iter().map(|key| &key.secret).collect();
        let models: Vec<_> = self.models.iter().map(|model| &model.id).collect();
        unique("this account", &accounts)?;
        unique("a key with this label", &labels)?;
        unique("a key with this secret", &secrets)?;
        unique("this model", &models)?;
        let has = |names: &[&Spanned<String>], name: &Spanned<String>| {
            names.iter().any(|known| known.get_ref() == name.get_ref())
        };
        let changes = || self.changes.iter().map(Spanned::get_ref);
        let used_accounts = self.keys.iter().filter_map(|key| key.account.as_ref());
        let used_accounts = used_accounts.chain(changes().flat_map(ChangeSpec::accounts));
        for name in used_accounts {
            if !has(&accounts, name) {
                let message = format!("no account has the id {:?}", name.get_ref());
                return Err(Wrong::at(name, message));
            }
        }
        let used_keys = self.scripts.iter().filter_map(|script| script.key.as_ref());
        let used_keys = used_keys.chain(changes().flat_map(ChangeSpec::keys));
        let budgets = self
            .budgets
            .iter()
            .filter_map(|budget| budget.get_ref().key.as_ref());
        for name in used_keys.chain(budgets) {
            // Without keys the mock is open, and every secret is a key.
            if !self.keys.is_empty() && !has(&labels, name) && !has(&secrets, name) {
                return Err(Wrong::at(name, "no key has this label or secret"));
            }
        }
        Ok(())
    }
}

fn unique(what: &str, names: &[&Spanned<String>]) -> Result<(), Wrong> {
    for (at, name) in names.iter().enumerate() {
        if name.get_ref().is_empty() {
            return Err(Wrong::at(name, "must not be empty"));
        }
        if names[..at]
            .iter()
            .any(|earlier| earlier.get_ref() == name.get_ref())
        {
            return Err(Wrong::at(name, format!("{what} is declared twice")));
        }
    }
    Ok(())
}

fn fault_kind(name: &Spanned<String>) -> Result<FaultKind, Wrong> {
    FaultKind::from_name(name.get_ref()).ok_or_else(|| {
        let known: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let message = format!(
            "no fault is named {:?}; there are {}",
            name.get_ref(),
            known.join(", ")
        );
        Wrong::at(name, message)
    })
}

impl AccountSpec {
    fn account(self) -> Result<Account, Wrong> {
        let mut account = Account::new(self.id.into_inner());
        if let Some(Usd(usd)) = self.balance_usd {
            account = account.balance_usd(usd);
        }
        if let Some(window) = self.requests {
            window.check()?;
            let limit = u32::try_from(*window.limit.get_ref())
                .map_err(|_| Wrong::at(&window.limit, "more requests than can be counted"))?;
            account = account.requests_per_window(limit, window.per.get_ref().0);
        }
        if let Some(window) = self.tokens {
            window.check()?;
            account = account.tokens_per_window(*window.limit.get_ref(), window.per.get_ref().0);
        }
        if let Some(Usd(usd)) = self.in_flight_budget_usd {
            account = account.in_flight_budget_usd(usd);
        }
        if let Some(free) = self.free_tier {
            account = account.free_tier(FreeTier::new(free.per_minute, free.per_day));
        }
        if let Some(organization) = self.organization {
            account = account.organization(organization);
        }
        Ok(account)
    }
}

impl WindowSpec {
    fn check(&self) -> Result<(), Wrong> {
        if self.per.get_ref().0.is_zero() {
            return Err(Wrong::at(&self.per, "a window must have a length"));
        }
        Ok(())
    }
}

impl KeySpec {
    fn key(self, label: String) -> Key {
        let mut key = Key::new(self.secret.into_inner())
            .label(label)
            .disabled(self.disabled);
        key.management = self.management;
        key.account = self.account.map(Spanned::into_inner);
        key.limit_reset = self.limit_reset.map(|reset| reset.0);
        key.expires_at = self.expires_at.map(|time| time.0);
        key.member = self.member;
        key.workspace = self.workspace;
        match self.limit_usd {
            Some(Usd(usd)) => key.limit_usd(usd),
            None => key,
        }
    }
}

fn budget_of(spec: Spanned<BudgetSpec>) -> Result<Budget, Wrong> {
    let at = spec.span().start;
    let spec = spec.into_inner();
    let limit = spec.limit_usd.0;
    let budget = match (spec.member, spec.workspace, spec.key) {
        (Some(member), None, None) => Budget::member(member, limit),
        (None, Some(workspace), None) => Budget::workspace(workspace, limit),
        (None, None, Some(key)) => Budget::key(key.into_inner(), limit),
        _ => {
            let message = "a budget needs exactly one of member, workspace and key".to_owned();
            return Err(Wrong { at, message });
        }
    };
    Ok(match spec.reset {
        Some(reset) => budget.resets(reset.0),
        None => budget,
    })
}

impl ModelSpec {
    fn model(self) -> Model {
        let mut model = Model::new(self.id.into_inner());
        if let Some(name) = self.name {
            model = model.name(name);
        }
        if let Some(Usd(usd)) = self.prompt_price {
            model = model.prompt_price(usd);
        }
        if let Some(Usd(usd)) = self.completion_price {
            model = model.completion_price(usd);
        }
        if let Some(tokens) = self.context_length {
            model = model.context_length(tokens);
        }
        if let Some(tokens) = self.max_completion_tokens {
            model = model.max_completion_tokens(tokens);
        }
        self.providers.into_iter().fold(model, Model::provider)
    }
}

impl ChangeSpec {
    fn keys(&self) -> impl Iterator<Item = &Spanned<String>> {
        [
            &self.revoke_key,
            &self.restore_key,
            &self.disable_key,
            &self.enable_key,
        ]
        .into_iter()
        .flatten()
    }

    fn accounts(&self) -> impl Iterator<Item = &Spanned<String>> {
        [&self.set_balance, &self.add_credits]
            .into_iter()
            .flatten()
            .map(|money| &money.account)
    }
}

fn scheduled(builder: Builder, change: Spanned<ChangeSpec>) -> Result<Builder, Wrong> {
    let at = change.span().start;
    let change = change.into_inner();
    let name = Spanned::into_inner;
    let money = |spec: MoneySpec| (spec.account.into_inner(), spec.usd);
    let actions = [
        change.revoke_key.map(name).map(Action::RevokeKey),
        change.restore_key.map(name).map(Action::RestoreKey),
        change.disable_key.map(name).map(Action::DisableKey),
        change.enable_key.map(name).map(Action::EnableKey),
        change
            .set_balance
            .map(money)
            .map(|(id, usd)| Action::set_balance(id, usd)),
        change
            .add_credits
            .map(money)
            .map(|(id, usd)| Action::add_credits(id, usd)),
    ];
    let mut actions = actions.into_iter().flatten();
    let wrong = |message: &str| Wrong {
        at,
        message: message.to_owned(),
    };
    let action = actions
        .next()
        .ok_or_else(|| wrong("a change needs something to happen"))?;
    if actions.next().is_some() {
        return Err(wrong(
            "a change does one thing; write another for the other",
        ));
    }
    match (change.after_calls, change.at) {
        (Some(calls), None) => Ok(builder.after_calls(calls, action)),
        (None, Some(Wait(elapsed))) => Ok(builder.at(elapsed, action)),
        _ => Err(wrong("a change needs either after_calls or at")),
    }
}
