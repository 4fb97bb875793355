//! From a builder to what runs, with every name checked.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Builder, StartError};
use crate::account::{Account, FreeTier};
use crate::action::Schedule;
use crate::catalog::Catalog;
use crate::clock::{Clock, Timestamp};
use crate::key::{Budget, Key};
use crate::log::Log;
use crate::model::default_catalog;
use crate::random::Rng;
use crate::screen::Screen;
use crate::script::ScriptBook;
use crate::server::Parts;
use crate::world::{AccountState, Capacity, Generations, Rules, World};

/// The account of keys that name none.
const DEFAULT_ACCOUNT: &str = "default";
/// Sets the secrets of new keys apart from all other chance.
const MINT: u64 = 0x6d69_6e74;

impl Builder {
    pub(super) fn parts(self) -> Result<Parts, StartError> {
        if !(self.speed.is_finite() && self.speed > 0.0) {
            let message = format!("a speed of {}: it must be above 0", self.speed);
            return Err(StartError::Config(message));
        }
        let open = self.keys.is_empty();
        let any_model = self.any_model.unwrap_or(open && self.models.is_empty());
        let models = if self.models.is_empty() {
            default_catalog()
        } else {
            self.models
        };
        unique("model", models.iter().map(|model| model.id.as_str()))?;
        let created = self.now.unix_seconds().saturating_sub(30 * 86_400);
        let world = WorldParts {
            accounts: self.accounts,
            keys: self.keys,
            budgets: self.budgets,
            now: self.now,
            speed: self.speed,
            log_capacity: self.log_capacity,
            rules: self.rules,
        };
        let mut world = world.build(open)?;
        for (on, steps) in self.scripts {
            world.scripts.add(on, steps);
        }
        let mut schedule = Schedule::default();
        for (calls, action) in self.after_calls {
            world
                .check(&action)
                .map_err(|unknown| StartError::Config(unknown.to_string()))?;
            schedule.after_calls(calls, action);
        }
        for (elapsed, action) in self.at {
            world
                .check(&action)
                .map_err(|unknown| StartError::Config(unknown.to_string()))?;
            schedule.at(elapsed, action);
        }
        world.schedule = schedule;
        world.plan_batches(self.batches);
        world.mint = Rng::new(&[self.seed, MINT]);
        world.generations = Generations::new(self.generations);
        world.capacity = Capacity::new(&models);
        world.latency = self.latency;
        world.rates = Arc::new(self.rates);
        Ok(Parts {
            world,
            catalog: Catalog::new(models, any_model, created),
            seed: self.seed,
            answer_tokens: self.answer_tokens,
            comments: self.comments,
            max_body: self.max_body,
            max_batch: self.max_batch,
            max_streams: self.max_streams,
            hints_in_headers: self.hints_in_headers,
            screen: Screen::new(&self.flagged, &self.guardrails),
        })
    }
}

struct WorldParts {
    accounts: Vec<Account>,
    keys: Vec<Key>,
    budgets: Vec<Budget>,
    now: Timestamp,
    speed: f64,
    log_capacity: usize,
    rules: Rules,
}

impl WorldParts {
    fn build(mut self, open: bool) -> Result<World, StartError> {
        unique(
            "account",
            self.accounts.iter().map(|account| account.id.as_str()),
        )?;
        unique(
            "key",
            self.keys.iter().filter_map(|key| key.label.as_deref()),
        )?;
        let secrets: HashSet<&str> = self.keys.iter().map(|key| key.secret.as_str()).collect();
        if secrets.len() < self.keys.len() {
            // Which one is not said: it is a secret.
            return Err(StartError::Config(
                "two keys have the same secret".to_owned(),
            ));
        }
        let mut accounts: Vec<AccountState> = Vec::new();
        if open {
            let strangers = Account::new(DEFAULT_ACCOUNT).free_tier(FreeTier::UNLIMITED);
            accounts.push(AccountState::new(strangers));
        } else if self.keys.iter().any(|key| key.account.is_none())
            && !self
                .accounts
                .iter()
                .any(|account| account.id == DEFAULT_ACCOUNT)
        {
            self.accounts.push(Account::new(DEFAULT_ACCOUNT));
        }
        accounts.extend(self.accounts.into_iter().map(AccountState::new));
        let clock = Arc::new(Clock::starting_at(self.now, self.speed));
        let log = Log::with_capacity(self.log_capacity);
        let mut world = World::new(clock, log, self.rules, accounts, open);
        for (number, key) in self.keys.into_iter().enumerate() {
            let account = key.account.as_deref().unwrap_or(DEFAULT_ACCOUNT);
            let index = world.find_account(account).map_err(|unknown| {
                let key = key
                    .label
                    .clone()
                    .unwrap_or_else(|| format!("key-{}", number + 1));
                StartError::Config(format!("key {key:?}: {unknown}; declare it"))
            })?;
            world.add_key(key, index);
        }
        for budget in self.budgets {
            world
                .add_budget(budget)
                .map_err(|unknown| StartError::Config(format!("a budget: {unknown}")))?;
        }
        world.scripts = ScriptBook::default();
        Ok(world)
    }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), StartError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(StartError::Config(format!(
                "{what} {name:?} is declared twice"
            )));
        }
    }
    Ok(())
}
