//! What the mock knows: accounts, keys, budgets, scripts, and the changes that are due.
//!
//! One lock guards all of it. It is taken twice per call, for well under a microsecond of
//! arithmetic, and never across an await. Who holds it may take the log's lock, never the other way
//! round.

mod account;
mod admission;
mod batches;
mod cache;
mod capacity;
mod generations;
mod info;
mod keyring;
mod media;
mod meter;
mod spend;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::action::{Action, Schedule};
use crate::chance::{Latency, Rates};
use crate::clock::{Clock, Timestamp};
use crate::fault::Fault;
use crate::key::{Budget, BudgetOf, Key, masked};
use crate::log::{Entry, EventKind, Log, Who};
use crate::money::Money;
use crate::random::Rng;
use crate::script::{CallFacts, ScriptBook, Spoil};

pub(crate) use account::AccountState;
pub(crate) use admission::Admission;
use batches::Batches;
use cache::Cache;
pub(crate) use cache::CacheKey;
pub(crate) use capacity::Capacity;
pub(crate) use generations::{Generation, Generations};
use media::Media;
pub(crate) use media::StoredFile;
use meter::Limits;
use spend::Spend;

/// Keys that open mode remembers one by one; later strangers share one more.
const MAX_STRANGERS: usize = 4096;
/// In open mode a key that begins like this is a management key.
pub(crate) const MANAGEMENT_PREFIX: &str = "sk-or-v1-mgmt-";
/// Bodies whose repetitions are counted; when there are more, counting starts over.
const MAX_BODIES: usize = 1 << 20;

/// Settings that are the same for all accounts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long the real cost of an ended call stays in the in-flight budget.
    pub(crate) settlement: Duration,
    /// The most completion tokens that a call is held at in the in-flight budget.
    pub(crate) hold_tokens: u64,
    /// The `Retry-After` of a refusal by the in-flight budget.
    pub(crate) hold_retry_after: Duration,
    /// The hint of a refusal by admission control.
    pub(crate) admission_retry_after: Duration,
    /// The hint of a refusal because all providers of a model are full.
    pub(crate) capacity_retry_after: Duration,
    /// How long a batch or a video takes.
    pub(crate) job_duration: Duration,
}

pub(crate) struct World {
    pub(crate) clock: Arc<Clock>,
    pub(crate) log: Log,
    pub(crate) rules: Rules,
    pub(crate) scripts: ScriptBook,
    pub(crate) schedule: Schedule,
    pub(crate) latency: Latency,
    pub(crate) rates: Arc<Rates>,
    pub(crate) generations: Generations,
    /// Where secrets of new keys come from.
    pub(crate) mint: Rng,
    pub(crate) capacity: Capacity,
    batches: Batches,
    media: Media,
    cache: Cache,
    accounts: Vec<AccountState>,
    keys: Vec<KeyState>,
    by_secret: HashMap<String, usize>,
    by_label: HashMap<String, usize>,
    budgets: Vec<BudgetState>,
    /// Any bearer key is welcome.
    open: bool,
    /// Inference calls received.
    calls: u64,
    occurrences: HashMap<u64, u64>,
}

struct KeyState {
    who: Who,
    account: usize,
    /// What administration calls it; its label until it gets another.
    name: String,
    hash: String,
    masked: String,
    limit: Option<Money>,
    limit_reset: Option<crate::Reset>,
    include_byok: bool,
    created_at: Timestamp,
    updated_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    disabled: bool,
    revoked: bool,
    management: bool,
    member: String,
    workspace: Option<String>,
    limits: Limits,
    spend: Spend,
}

impl KeyState {
    /// What is left of the key's own cap; negative when it was overdrawn.
    fn limit_remaining(&self, now: Timestamp) -> Option<Money> {
        let spent = self.spend.since(self.limit_reset, now);
        self.limit.map(|limit| limit - spent)
    }
}

struct BudgetState {
    budget: Budget,
    /// The keys that draw on it.
    keys: Vec<usize>,
    /// What all of them spent together.
    spend: Spend,
    /// What each member or key spent, of a budget that each has for itself.
    each: HashMap<String, Spend>,
}

impl BudgetState {
    /// The spending that counts for a key.
    fn spend_of(&self, key: &KeyState) -> Option<&Spend> {
        match &self.budget.of {
            BudgetOf::EachMember(_) => self.each.get(&key.member),
            BudgetOf::EachKey(_) => self.each.get(&key.hash),
            BudgetOf::Member(_) | BudgetOf::Key(_) | BudgetOf::Workspace(_) => Some(&self.spend),
        }
    }

    fn spent(&self, key: &KeyState, now: Timestamp) -> Money {
        let spend = self.spend_of(key);
        spend.map_or(Money::ZERO, |spend| spend.since(self.budget.reset, now))
    }

    fn add(&mut self, key: &KeyState, cost: Money, now: Timestamp) {
        let own = match &self.budget.of {
            BudgetOf::EachMember(_) => &key.member,
            BudgetOf::EachKey(_) => &key.hash,
            BudgetOf::Member(_) | BudgetOf::Key(_) | BudgetOf::Workspace(_) => {
                return self.spend.add(cost, now);
            }
        };
        self.each.entry(own.clone()).or_default().add(cost, now);
    }
}

/// Who sent a call, as far as the header tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credential<'a> {
    Missing,
    Malformed,
    Bearer(&'a str),
}

/// The start of a call: who it is and what its script says.
pub(crate) struct Begun {
    /// The key, where it is known, good or not.
    pub(crate) key: Option<usize>,
    pub(crate) who: Option<Who>,
    pub(crate) spoil: Option<Spoil>,
}

/// A name that nothing has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// The name may be a secret, so that it is not shown.
    #[error("no key has this label or secret")]
    Key,
    #[error("no account is named {0:?}")]
    Account(String),
}

impl World {
    pub(crate) fn new(
        clock: Arc<Clock>,
        log: Log,
        rules: Rules,
        accounts: Vec<AccountState>,
        open: bool,
    ) -> Self {
        Self {
            clock,
            log,
            rules,
            scripts: ScriptBook::default(),
            schedule: Schedule::default(),
            latency: Latency::default(),
            rates: Arc::new(Rates::default()),
            generations: Generations::new(0),
            mint: Rng::new(&[]),
            capacity: Capacity::default(),
            batches: Batches::default(),
            media: Media::default(),
            cache: Cache::default(),
            accounts,
            keys: Vec::new(),
            by_secret: HashMap::new(),
            by_label: HashMap::new(),
            budgets: Vec::new(),
            open,
            calls: 0,
            occurrences: HashMap::new(),
        }
    }

    /// Adds a key of an account that exists.
    pub(crate) fn add_key(&mut self, key: Key, account: usize) {
        let index = self.keys.len();
        let label = key.label.unwrap_or_else(|| format!("key-{}", index + 1));
        let owner = &self.accounts[account];
        let member = key.member.unwrap_or_else(|| owner.user_id.to_string());
        for state in &mut self.budgets {
            if state.budget.is_over(&member, key.workspace.as_deref()) {
                state.keys.push(index);
            }
        }
        self.by_secret.insert(key.secret.clone(), index);
        self.by_label.insert(label.clone(), index);
        self.keys.push(KeyState {
            who: Who {
                key: label.as_str().into(),
                account: Arc::clone(&owner.id),
            },
            account,
            name: label.clone(),
            hash: keyring::key_hash(&key.secret),
            masked: masked(&key.secret),
            limit: key.limit,
            limit_reset: key.limit_reset,
            include_byok: false,
            created_at: self.clock.now(),
            updated_at: None,
            expires_at: key.expires_at,
            disabled: key.disabled,
            revoked: false,
            management: key.management,
            member,
            limits: Limits::new(&format!("key {label}"), key.limits),
            workspace: key.workspace,
            spend: Spend::default(),
        });
    }

    /// Adds a budget over keys that exist.
    pub(crate) fn add_budget(&mut self, budget: Budget) -> Result<(), Unknown> {
        let keys = match &budget.of {
            BudgetOf::Key(name) => vec![self.find_key(name)?],
            BudgetOf::Member(_)
            | BudgetOf::Workspace(_)
            | BudgetOf::EachMember(_)
            | BudgetOf::EachKey(_) => {
                self.keys_where(|key| budget.is_over(&key.member, key.workspace.as_deref()))
            }
        };
        self.budgets.push(BudgetState {
            budget,
            keys,
            spend: Spend::default(),
            each: HashMap::new(),
        });
        Ok(())
    }

    fn keys_where(&self, wanted: impl Fn(&KeyState) -> bool) -> Vec<usize> {
        (0..self.keys.len())
            .filter(|index| wanted(&self.keys[*index]))
            .collect()
    }

    /// Takes in a call: runs the changes that are due, finds its key, and uses up its script step.
    pub(crate) fn begin(
        &mut self,
        credential: Credential<'_>,
        model: Option<&str>,
        path: &str,
        inference: bool,
    ) -> Begun {
        self.run_due();
        if inference {
            self.calls += 1;
        }
        let secret = match credential {
            Credential::Bearer(secret) => Some(secret),
            Credential::Missing | Credential::Malformed => None,
        };
        let key = secret.and_then(|secret| self.lookup(secret));
        let label = key.map(|key| &*self.keys[key].who.key);
        let facts = CallFacts {
            secret,
            label,
            model,
            path,
            inference,
        };
        let spoil = self.scripts.take(&facts);
        Begun {
            key,
            who: key.map(|key| self.keys[key].who.clone()),
            spoil,
        }
    }

    fn lookup(&mut self, secret: &str) -> Option<usize> {
        if let Some(index) = self.by_secret.get(secret) {
            return Some(*index);
        }
        if !self.open || secret.is_empty() {
            return None;
        }
        if self.keys.len() > MAX_STRANGERS {
            return Some(self.keys.len() - 1);
        }
        let mut key = Key::new(secret);
        key.management = secret.starts_with(MANAGEMENT_PREFIX);
        self.add_key(key, 0);
        Some(self.keys.len() - 1)
    }

    /// Refuses a key that is not good for anything.
    pub(crate) fn authenticate(
        &self,
        credential: Credential<'_>,
        key: Option<usize>,
    ) -> Result<usize, Fault> {
        let index = match (credential, key) {
            (Credential::Missing, _) => return Err(Fault::missing_auth()),
            (Credential::Malformed, _) => return Err(Fault::no_auth_credentials()),
            (Credential::Bearer(_), None) => return Err(Fault::key_revoked()),
            (Credential::Bearer(_), Some(index)) => index,
        };
        let key = &self.keys[index];
        let expired = key.expires_at.is_some_and(|at| self.clock.now() >= at);
        if key.revoked || key.disabled || expired {
            return Err(Fault::key_revoked());
        }
        Ok(index)
    }

    /// Refuses a key that must not infer.
    pub(crate) fn may_infer(&self, key: usize) -> Result<(), Fault> {
        if self.keys[key].management {
            return Err(Fault::management_key_for_inference());
        }
        Ok(())
    }

    pub(crate) fn account_of(&self, key: usize) -> usize {
        self.keys[key].account
    }

    /// The `user_id` beside the errors of this key's account.
    pub(crate) fn user_id(&self, key: usize) -> Arc<str> {
        Arc::clone(&self.accounts[self.keys[key].account].user_id)
    }

    /// How often a body with this hash was dispatched before.
    pub(crate) fn occurrence(&mut self, body: u64) -> u64 {
        if self.occurrences.len() >= MAX_BODIES && !self.occurrences.contains_key(&body) {
            self.occurrences.clear();
        }
        let count = self.occurrences.entry(body).or_default();
        *count += 1;
        *count - 1
    }

    /// Runs what is due by the number of calls or by the clock.
    pub(crate) fn run_due(&mut self) {
        while let Some(action) = self.schedule.due(self.calls, self.clock.elapsed()) {
            // Names were checked when the action was scheduled.
            let _ = self.apply(action);
        }
        self.end_batches();
    }

    /// Changes the world.
    pub(crate) fn apply(&mut self, action: Action) -> Result<(), Unknown> {
        let what = match action {
            Action::RevokeKey(name) => {
                self.change_key(&name, "revoked", |key| key.revoked = true)?
            }
            Action::RestoreKey(name) => {
                self.change_key(&name, "restored", |key| key.revoked = false)?
            }
            Action::DisableKey(name) => {
                self.change_key(&name, "disabled", |key| key.disabled = true)?
            }
            Action::EnableKey(name) => {
                self.change_key(&name, "enabled", |key| key.disabled = false)?
            }
            Action::SetKeyLimit { key, limit_usd } => self.change_key(&key, "capped", |key| {
                key.limit = limit_usd.map(Money::from_usd);
            })?,
            Action::SetBalance { account, usd } => {
                let index = self.find_account(&account)?;
                self.accounts[index].set_balance(Money::from_usd(usd));
                format!("account {account}: balance set to ${usd}")
            }
            Action::AddCredits { account, usd } => {
                let index = self.find_account(&account)?;
                self.accounts[index].add_credits(Money::from_usd(usd));
                format!("account {account}: ${usd} of credits added")
            }
            Action::SetLatency(latency) => {
                self.latency = latency;
                "latency set".to_owned()
            }
            Action::SetFaultRate(kind, probability) => {
                Arc::make_mut(&mut self.rates).set(kind, probability);
                format!("{kind:?}: rate set to {probability}")
            }
            Action::SetProviderFull {
                provider,
                model,
                full,
            } => {
                let what = if full { "full" } else { "no longer full" };
                let what = match &model {
                    Some(model) => format!("provider {provider} at {model}: {what}"),
                    None => format!("provider {provider}: {what}"),
                };
                self.capacity.set_full(provider, model, full);
                what
            }
            Action::Advance(by) => {
                self.clock.advance(by);
                format!("clock advanced by {by:?}")
            }
        };
        self.log.push(Entry::of_the_world(
            self.clock.now(),
            EventKind::Changed { what },
        ));
        Ok(())
    }

    /// Checks the names in an action, so that it cannot miss later.
    pub(crate) fn check(&mut self, action: &Action) -> Result<(), Unknown> {
        match action {
            Action::RevokeKey(key)
            | Action::RestoreKey(key)
            | Action::DisableKey(key)
            | Action::EnableKey(key)
            | Action::SetKeyLimit { key, .. } => self.find_key(key).map(drop),
            Action::SetBalance { account, .. } | Action::AddCredits { account, .. } => {
                self.find_account(account).map(drop)
            }
            Action::SetLatency(_)
            | Action::SetFaultRate(..)
            | Action::SetProviderFull { .. }
            | Action::Advance(_) => Ok(()),
        }
    }

    fn change_key(
        &mut self,
        name: &str,
        verb: &str,
        change: impl FnOnce(&mut KeyState),
    ) -> Result<String, Unknown> {
        let index = self.find_key(name)?;
        change(&mut self.keys[index]);
        Ok(format!("key {} {verb}", self.keys[index].who.key))
    }

    /// A key by label or secret. Open mode knows every secret.
    fn find_key(&mut self, name: &str) -> Result<usize, Unknown> {
        match self.by_label.get(name) {
            Some(index) => Ok(*index),
            None => self.lookup(name).ok_or(Unknown::Key),
        }
    }

    pub(crate) fn find_account(&self, id: &str) -> Result<usize, Unknown> {
        let position = self.accounts.iter().position(|account| &*account.id == id);
        position.ok_or_else(|| Unknown::Account(id.to_owned()))
    }

    /// What the account has left; `None` for credit without end.
    pub(crate) fn balance(&self, account: usize) -> Option<Money> {
        self.accounts[account].balance()
    }
}
