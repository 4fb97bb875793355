//! Whether a call may go to a provider, and the bill afterwards.
//!
//! The order of the checks is OpenRouter's: guardrail budgets, workspace budgets, the key's own
//! cap, the balance, what this request could cost against both, the in-flight budget; free models
//! have quotas of their own instead. Admission control, and the limits of key and account, which
//! are this mock's own, come last.

use std::sync::Arc;

use crate::catalog::Entry;
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::model::Model;
use crate::money::Money;
use crate::world::capacity::Place;
use crate::world::meter::{Load, Refusal};
use crate::world::{BudgetState, World};

/// A call that was let in. It must be given back to [`World::settle`].
#[derive(Debug)]
#[must_use = "the hold stays on the account until it is settled"]
pub(crate) struct Admission {
    pub(crate) key: usize,
    pub(crate) hold: Money,
    /// The model that it was let in for.
    model: Arc<str>,
    /// Whether limits count it: what the cache answers is not counted.
    counted: bool,
    /// What it takes up where it is served.
    pub(crate) place: Option<Place>,
}

impl World {
    /// Refuses a key that has nothing left to spend.
    pub(super) fn check_funds(&self, key: usize) -> Result<(), Fault> {
        let now = self.clock.now();
        self.check_budgets(key, now)?;
        self.check_cap(key, now)?;
        let account = &self.accounts[self.keys[key].account];
        let broke = account
            .balance()
            .is_some_and(|balance| balance <= Money::ZERO);
        if broke {
            let by = format!("account {}: balance", account.id);
            return Err(Fault::credits_exhausted().by(by));
        }
        Ok(())
    }

    /// Lets a call in, and holds its estimate.
    pub(crate) fn admit(
        &mut self,
        key: usize,
        entry: &Entry,
        prompt_tokens: u64,
        max_tokens: Option<u64>,
    ) -> Result<Admission, Fault> {
        let now = self.clock.now();
        let model = &entry.model;
        self.check_budgets(key, now)?;
        self.check_cap(key, now)?;
        let account = self.keys[key].account;
        let free = model.is_free();
        let broke = match self.accounts[account].balance() {
            // Debt bars even what costs nothing.
            Some(balance) if free => balance < Money::ZERO,
            Some(balance) => balance <= Money::ZERO,
            None => false,
        };
        if broke {
            let by = format!("account {}: balance", self.accounts[account].id);
            return Err(Fault::credits_exhausted().by(by));
        }
        let mut hold = Money::ZERO;
        if free {
            self.accounts[account].take_free(&self.clock, now)?;
        } else {
            let requested = max_tokens.unwrap_or(model.max_completion_tokens);
            self.check_affordable(key, model, prompt_tokens, requested, now)?;
            let held_tokens = self.rules.hold_tokens.min(max_tokens.unwrap_or(u64::MAX));
            let estimate = model.cost(prompt_tokens, held_tokens);
            let retry_after = self.clock.told_wait(self.rules.hold_retry_after);
            hold = self.accounts[account].hold(estimate, retry_after, now)?;
        }
        let load = Load {
            model: &entry.id,
            prompt_tokens,
            now,
        };
        if let Err(fault) = self.check_limits(key, load) {
            self.accounts[account].release(hold, Money::ZERO, now);
            return Err(fault);
        }
        self.accounts[account].running += 1;
        Ok(Admission {
            key,
            hold,
            model: Arc::clone(&entry.id),
            counted: true,
            place: None,
        })
    }

    /// Lets a call in that the cache answers: it costs nothing and takes up nothing.
    pub(crate) fn admit_cached(&self, key: usize, entry: &Entry) -> Admission {
        Admission {
            key,
            hold: Money::ZERO,
            model: Arc::clone(&entry.id),
            counted: false,
            place: None,
        }
    }

    /// Counts a call in the limits of its key and account: in all of them, or in none but those
    /// that count refused calls.
    fn check_limits(&mut self, key: usize, load: Load<'_>) -> Result<(), Fault> {
        let account = &mut self.accounts[self.keys[key].account];
        if account
            .admission_control
            .is_some_and(|most| account.running >= most)
        {
            let hint = self.clock.told_wait(self.rules.admission_retry_after);
            let by = format!("account {}: admission control", account.id);
            return Err(Fault::admission_control(hint).by(by));
        }
        let key = &mut self.keys[key];
        let fits = key.limits.check(load);
        match fits.and_then(|()| account.limits.check(load)) {
            Ok(()) => {
                key.limits.take(load);
                account.limits.take(load);
                Ok(())
            }
            Err(refusal) => {
                key.limits.count_refused(load);
                account.limits.count_refused(load);
                let reset = refusal.reset.map(|at| self.clock.told(at));
                Err(rate_limit(refusal, reset))
            }
        }
    }

    fn check_budgets(&self, key: usize, now: Timestamp) -> Result<(), Fault> {
        for state in self.budgets_of(key) {
            let (of, reset) = (&state.budget.of, state.budget.reset);
            let spent = state.spent(&self.keys[key], now);
            if spent < state.budget.limit {
                continue;
            }
            let (name, kind) = if of.is_workspace() {
                ("workspace_budget", "workspace")
            } else {
                ("guardrail_budget", "guardrail")
            };
            let resets_at = reset.map(|reset| self.clock.told(reset.next(now)));
            let (limit, spent) = (state.budget.limit.usd(), spent.usd());
            let scope = of.scope();
            let fault = Fault::budget(name, kind, scope, limit, spent, resets_at, reset);
            return Err(fault.by(format!("budget: {of:?}")));
        }
        Ok(())
    }

    /// The budgets that a key draws on, in the order of the checks.
    pub(super) fn budgets_of(&self, key: usize) -> Vec<&BudgetState> {
        let mut budgets: Vec<_> = self
            .budgets
            .iter()
            .filter(|state| state.keys.contains(&key))
            .collect();
        budgets.sort_by_key(|state| state.budget.of.rank());
        budgets
    }

    fn check_cap(&self, key: usize, now: Timestamp) -> Result<(), Fault> {
        let key = &self.keys[key];
        let Some(limit) = key.limit else {
            return Ok(());
        };
        let spent = key.spend.since(key.limit_reset, now);
        if spent < limit {
            return Ok(());
        }
        let resets_at = key.limit_reset.map(|reset| reset.next(now));
        let resets_at = resets_at.map(|at| self.clock.told(at).to_string());
        Err(Fault::key_limit_spent(key.limit_reset)
            .metadata("scope", "key_limit")
            .metadata("limit_usd", limit.usd())
            .metadata("spend_usd", spent.usd())
            .metadata("resets_at", resets_at)
            .by(format!("key {}: cap", key.who.key)))
    }

    fn check_affordable(
        &self,
        key: usize,
        model: &Model,
        prompt_tokens: u64,
        requested: u64,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let key = &self.keys[key];
        let prompt = model.cost(prompt_tokens, 0);
        let affordable = |total: Money| model.completion_price.affordable(total - prompt);
        if let Some(limit) = key.limit {
            let left = affordable(limit - key.spend.since(key.limit_reset, now));
            if left < requested {
                let fault = Fault::key_limit_too_small(key.limit_reset, requested, left);
                return Err(fault.by(format!("key {}: cap", key.who.key)));
            }
        }
        if let Some(balance) = self.accounts[key.account].balance() {
            let left = affordable(balance);
            if left < requested {
                let fault = Fault::request_too_big_for_balance(requested, left);
                return Err(fault.by(format!("account {}: balance", key.who.account)));
            }
        }
        Ok(())
    }

    /// Ends a call that was let in: gives back its hold and bills what it cost.
    pub(crate) fn settle(&mut self, admission: &Admission, cost: Money, completion_tokens: u64) {
        if !admission.counted {
            return;
        }
        let now = self.clock.now();
        if let Some(place) = &admission.place {
            self.leave_place(place, completion_tokens, now);
        }
        let key = &mut self.keys[admission.key];
        let account = &mut self.accounts[key.account];
        account.release(admission.hold, cost, now.plus(self.rules.settlement));
        account.running = account.running.saturating_sub(1);
        for limits in [&mut key.limits, &mut account.limits] {
            limits.end(&admission.model, completion_tokens, now);
        }
        self.charge(admission.key, cost, now);
    }

    /// Charges a key, its account, and the budgets that it draws on.
    pub(super) fn charge(&mut self, index: usize, cost: Money, now: Timestamp) {
        if cost == Money::ZERO {
            return;
        }
        let key = &mut self.keys[index];
        self.accounts[key.account].spend(cost);
        key.spend.add(cost, now);
        let mine = |state: &&mut BudgetState| state.keys.contains(&index);
        for state in self.budgets.iter_mut().filter(mine) {
            state.add(key, cost, now);
        }
    }
}

/// A refusal by a limit of a key or an account.
fn rate_limit(refusal: Refusal, reset: Option<Timestamp>) -> Fault {
    match reset {
        Some(reset) if !refusal.hidden => Fault::account_rate_limit(refusal.limit, reset),
        _ => Fault::silent_rate_limit(),
    }
    .by(refusal.by)
}
