//! Reading scenarios from TOML.

mod batch;
mod limit;
mod model;
mod spec;
mod step;
mod value;

use std::path::Path;

use toml::Spanned;

use super::Scenario;
use crate::action::Action;
use crate::builder::Builder;
use crate::chance::{FaultKind, Latency};
use crate::script::On;
use spec::{ChangeSpec, File, MoneySpec, budget_of};
use value::{Time, Wait};

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
        if let Some(speed) = self.speed {
            if !(speed.get_ref().is_finite() && *speed.get_ref() > 0.0) {
                return Err(Wrong::at(&speed, "a number above 0"));
            }
            builder = builder.speed(speed.into_inner());
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
        if let Some(Wait(after)) = self.admission_retry_after {
            builder = builder.admission_retry_after(after);
        }
        if let Some(Wait(duration)) = self.job_duration {
            builder = builder.job_duration(duration);
        }
        if let Some(Wait(after)) = self.capacity_retry_after {
            builder = builder.capacity_retry_after(after);
        }
        builder = self
            .flag_words
            .into_iter()
            .fold(builder, Builder::flag_word);
        let patterns = self.guardrail_patterns.into_iter();
        builder = patterns.fold(builder, Builder::guardrail_pattern);
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
            builder = builder.model(model.model()?);
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
        if let Some(most) = self.max_batch_requests {
            builder = builder.max_batch_requests(most);
        }
        for plan in self.batches {
            builder = builder.batches([batch::plan(plan)?]);
        }
        for change in self.changes {
            builder = scheduled(builder, change)?;
        }
        let (mut keys, mut management) = (Vec::new(), Vec::new());
        for (number, key) in self.keys.into_iter().enumerate() {
            let label = key.label.as_ref().map(|label| label.get_ref().clone());
            let label = label.unwrap_or_else(|| format!("key-{}", number + 1));
            let account = key
                .account
                .as_ref()
                .map_or("default", |a| a.get_ref().as_str());
            let (account, secret) = (account.to_owned(), key.secret.get_ref().clone());
            if key.management {
                management.push((account, secret));
            } else {
                keys.push((label.clone(), account, secret));
            }
            builder = builder.key(key.key(label)?);
        }
        Ok(Scenario {
            builder,
            keys,
            management,
        })
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
        change
            .set_provider_full
            .map(|spec| Action::SetProviderFull {
                provider: spec.provider,
                model: spec.model,
                full: spec.full,
            }),
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
