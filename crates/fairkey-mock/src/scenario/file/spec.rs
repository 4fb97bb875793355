//! What a file may say, table by table.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use super::batch::BatchSpec;
use super::limit::{LimitSpec, Placed};
use super::model::ModelSpec;
use super::step::StepSpec;
use super::value::{Probability, ResetName, Time, Usd, Wait};
use crate::account::{Account, FreeTier};
use crate::key::{Budget, Key};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) seed: Option<u64>,
    pub(super) now: Option<Time>,
    pub(super) speed: Option<Spanned<f64>>,
    pub(super) answer_tokens: Option<Spanned<[u64; 2]>>,
    pub(super) comments: Option<usize>,
    pub(super) any_model: Option<bool>,
    pub(super) settlement: Option<Wait>,
    pub(super) in_flight_token_cap: Option<u64>,
    pub(super) in_flight_retry_after: Option<Wait>,
    pub(super) admission_retry_after: Option<Wait>,
    pub(super) capacity_retry_after: Option<Wait>,
    pub(super) job_duration: Option<Wait>,
    pub(super) max_batch_requests: Option<usize>,
    #[serde(default)]
    pub(super) flag_words: Vec<String>,
    #[serde(default)]
    pub(super) guardrail_patterns: Vec<String>,
    pub(super) latency: Option<LatencySpec>,
    #[serde(default)]
    pub(super) accounts: Vec<AccountSpec>,
    #[serde(default)]
    pub(super) keys: Vec<KeySpec>,
    #[serde(default)]
    pub(super) budgets: Vec<Spanned<BudgetSpec>>,
    #[serde(default)]
    pub(super) models: Vec<ModelSpec>,
    #[serde(default)]
    pub(super) faults: BTreeMap<Spanned<String>, Probability>,
    #[serde(default)]
    pub(super) provider_faults: BTreeMap<String, BTreeMap<Spanned<String>, Probability>>,
    #[serde(default)]
    pub(super) scripts: Vec<ScriptSpec>,
    #[serde(default)]
    pub(super) changes: Vec<Spanned<ChangeSpec>>,
    #[serde(default)]
    pub(super) batches: Vec<Spanned<BatchSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LatencySpec {
    pub(super) first_token: Option<Wait>,
    pub(super) per_token: Option<Wait>,
    pub(super) jitter: Option<Probability>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountSpec {
    pub(super) id: Spanned<String>,
    pub(super) balance_usd: Option<Usd>,
    pub(super) requests: Option<WindowSpec>,
    pub(super) tokens: Option<WindowSpec>,
    #[serde(default)]
    pub(super) limits: Vec<Spanned<LimitSpec>>,
    pub(super) admission_control_above: Option<u32>,
    pub(super) in_flight_budget_usd: Option<Usd>,
    pub(super) free_tier: Option<FreeTierSpec>,
    pub(super) organization: Option<String>,
    pub(super) region: Option<String>,
    pub(super) data_regions: Option<Vec<String>>,
    #[serde(default)]
    pub(super) zero_data_retention: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowSpec {
    pub(super) limit: Spanned<u64>,
    pub(super) per: Spanned<Wait>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FreeTierSpec {
    pub(super) per_minute: u32,
    pub(super) per_day: u32,
    #[serde(default)]
    pub(super) refused_count_in_minute: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySpec {
    pub(super) secret: Spanned<String>,
    pub(super) label: Option<Spanned<String>>,
    pub(super) account: Option<Spanned<String>>,
    pub(super) limit_usd: Option<Usd>,
    pub(super) limit_reset: Option<ResetName>,
    pub(super) expires_at: Option<Time>,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) management: bool,
    pub(super) member: Option<String>,
    pub(super) workspace: Option<String>,
    #[serde(default)]
    pub(super) limits: Vec<Spanned<LimitSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetSpec {
    pub(super) member: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) each_member: Option<String>,
    pub(super) each_key: Option<String>,
    pub(super) limit_usd: Usd,
    pub(super) reset: Option<ResetName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptSpec {
    pub(super) key: Option<Spanned<String>>,
    pub(super) model: Option<String>,
    pub(super) path: Option<String>,
    pub(super) steps: Vec<Spanned<StepSpec>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeSpec {
    pub(super) after_calls: Option<u64>,
    pub(super) at: Option<Wait>,
    pub(super) revoke_key: Option<Spanned<String>>,
    pub(super) restore_key: Option<Spanned<String>>,
    pub(super) disable_key: Option<Spanned<String>>,
    pub(super) enable_key: Option<Spanned<String>>,
    pub(super) set_balance: Option<MoneySpec>,
    pub(super) add_credits: Option<MoneySpec>,
    pub(super) set_provider_full: Option<FullSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FullSpec {
    pub(super) provider: String,
    pub(super) model: Option<String>,
    pub(super) full: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MoneySpec {
    pub(super) account: Spanned<String>,
    pub(super) usd: f64,
}

impl AccountSpec {
    pub(super) fn account(self) -> Result<Account, Wrong> {
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
        for limit in self.limits {
            account = account.limit(limit.limit()?);
        }
        if let Some(calls) = self.admission_control_above {
            account = account.admission_control_above(calls);
        }
        if let Some(Usd(usd)) = self.in_flight_budget_usd {
            account = account.in_flight_budget_usd(usd);
        }
        if let Some(free) = self.free_tier {
            let mut tier = FreeTier::new(free.per_minute, free.per_day);
            tier.refused_count_in_minute = free.refused_count_in_minute;
            account = account.free_tier(tier);
        }
        if let Some(organization) = self.organization {
            account = account.organization(organization);
        }
        if let Some(region) = self.region {
            account = account.region(region);
        }
        if let Some(regions) = self.data_regions {
            account = account.data_regions(regions);
        }
        Ok(account.zero_data_retention(self.zero_data_retention))
    }
}

impl WindowSpec {
    pub(super) fn check(&self) -> Result<(), Wrong> {
        if self.per.get_ref().0.is_zero() {
            return Err(Wrong::at(&self.per, "a window must have a length"));
        }
        Ok(())
    }
}

impl KeySpec {
    pub(super) fn key(self, label: String) -> Result<Key, Wrong> {
        let mut key = Key::new(self.secret.into_inner())
            .label(label)
            .disabled(self.disabled);
        key.management = self.management;
        key.account = self.account.map(Spanned::into_inner);
        key.limit_reset = self.limit_reset.map(|reset| reset.0);
        key.expires_at = self.expires_at.map(|time| time.0);
        key.member = self.member;
        key.workspace = self.workspace;
        for limit in self.limits {
            key = key.limit(limit.limit()?);
        }
        Ok(match self.limit_usd {
            Some(Usd(usd)) => key.limit_usd(usd),
            None => key,
        })
    }
}

pub(super) fn budget_of(spec: Spanned<BudgetSpec>) -> Result<Budget, Wrong> {
    let at = spec.span().start;
    let spec = spec.into_inner();
    let limit = spec.limit_usd.0;
    let key = spec.key.map(Spanned::into_inner);
    let budgets = [
        spec.member.map(|id| Budget::member(id, limit)),
        spec.workspace.map(|id| Budget::workspace(id, limit)),
        key.map(|name| Budget::key(name, limit)),
        spec.each_member.map(|id| Budget::each_member(id, limit)),
        spec.each_key.map(|id| Budget::each_key(id, limit)),
    ];
    let mut budgets = budgets.into_iter().flatten();
    let (Some(budget), None) = (budgets.next(), budgets.next()) else {
        let message = "a budget needs exactly one of member, workspace, key, each_member and \
                       each_key";
        let message = message.to_owned();
        return Err(Wrong { at, message });
    };
    Ok(match spec.reset {
        Some(reset) => budget.resets(reset.0),
        None => budget,
    })
}

impl ChangeSpec {
    pub(super) fn keys(&self) -> impl Iterator<Item = &Spanned<String>> {
        [
            &self.revoke_key,
            &self.restore_key,
            &self.disable_key,
            &self.enable_key,
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &Spanned<String>> {
        [&self.set_balance, &self.add_credits]
            .into_iter()
            .flatten()
            .map(|money| &money.account)
    }
}
