//! Whether a call may go to a provider, and the bill afterwards.
//!
//! The order of the checks is OpenRouter's: guardrail budgets, workspace budgets, the key's own
//! cap, the balance, what this request could cost against both, the in-flight budget; free models
//! have quotas of their own instead. The account's window limits, which are this mock's own, come
//! last.

use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::key::BudgetOf;
use crate::model::Model;
use crate::money::Money;
use crate::world::World;

/// A call that was let in. It must be given back to [`World::settle`].
#[derive(Debug)]
#[must_use = "the hold stays on the account until it is settled"]
pub(crate) struct Admission {
    pub(crate) key: usize,
    pub(crate) hold: Money,
}

impl World {
    /// Lets a call in, and holds its estimate.
    pub(crate) fn admit(
        &mut self,
        key: usize,
        model: &Model,
        prompt_tokens: u64,
        max_tokens: Option<u64>,
    ) -> Result<Admission, Fault> {
        let now = self.clock.now();
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
            return Err(Fault::credits_exhausted());
        }
        let mut hold = Money::ZERO;
        if free {
            self.accounts[account].take_free(now)?;
        } else {
            let requested = max_tokens.unwrap_or(model.max_completion_tokens);
            self.check_affordable(key, model, prompt_tokens, requested, now)?;
            let held_tokens = self.rules.hold_tokens.min(max_tokens.unwrap_or(u64::MAX));
            let estimate = model.cost(prompt_tokens, held_tokens);
            let retry_after = self.rules.hold_retry_after;
            hold = self.accounts[account].hold(estimate, retry_after, now)?;
        }
        if let Err(fault) = self.accounts[account].take_windows(prompt_tokens, now) {
            self.accounts[account].release(hold, Money::ZERO, now);
            return Err(fault);
        }
        Ok(Admission { key, hold })
    }

    fn check_budgets(&self, key: usize, now: Timestamp) -> Result<(), Fault> {
        for workspaces in [false, true] {
            for state in &self.budgets {
                let is_workspace = matches!(state.budget.of, BudgetOf::Workspace(_));
                if is_workspace != workspaces || !state.keys.contains(&key) {
                    continue;
                }
                let reset = state.budget.reset;
                let spent = state.spend.since(reset, now);
                if spent < state.budget.limit {
                    continue;
                }
                let (name, kind, scope) = match state.budget.of {
                    BudgetOf::Workspace(_) => ("workspace_budget", "workspace", "workspace"),
                    BudgetOf::Member(_) => ("guardrail_budget", "guardrail", "member"),
                    BudgetOf::Key(_) => ("guardrail_budget", "guardrail", "api_key"),
                };
                let resets_at = reset.map(|reset| reset.next(now));
                let limit = state.budget.limit.usd();
                return Err(Fault::budget(
                    name,
                    kind,
                    scope,
                    limit,
                    spent.usd(),
                    resets_at,
                    reset,
                ));
            }
        }
        Ok(())
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
        let resets_at = key.limit_reset.map(|reset| reset.next(now).to_string());
        Err(Fault::key_limit_spent(key.limit_reset)
            .metadata("scope", "key_limit")
            .metadata("limit_usd", limit.usd())
            .metadata("spend_usd", spent.usd())
            .metadata("resets_at", resets_at))
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
                return Err(Fault::key_limit_too_small(key.limit_reset, requested, left));
            }
        }
        if let Some(balance) = self.accounts[key.account].balance() {
            let left = affordable(balance);
            if left < requested {
                return Err(Fault::request_too_big_for_balance(requested, left));
            }
        }
        Ok(())
    }

    /// Ends a call that was let in: gives back its hold and bills what it cost.
    pub(crate) fn settle(&mut self, admission: &Admission, cost: Money, completion_tokens: u64) {
        let now = self.clock.now();
        let key = &mut self.keys[admission.key];
        let account = &mut self.accounts[key.account];
        account.release(admission.hold, cost, now.plus(self.rules.settlement));
        account.add_tokens(completion_tokens, now);
        if cost == Money::ZERO {
            return;
        }
        account.spend(cost);
        key.spend.add(cost, now);
        for state in self
            .budgets
            .iter_mut()
            .filter(|state| state.keys.contains(&admission.key))
        {
            state.spend.add(cost, now);
        }
    }
}
