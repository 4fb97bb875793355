//! What a key may read of itself and its account.

use serde_json::{Value, json};

use crate::clock::{Reset, Timestamp};
use crate::fault::Fault;
use crate::money::Money;
use crate::world::World;

impl World {
    /// Whether the account of a key wants zero data retention, and its region.
    pub(crate) fn policy(&self, key: usize) -> (bool, Option<String>) {
        let account = &self.accounts[self.keys[key].account];
        (account.zdr, account.region.clone())
    }

    /// The body of `GET /key`.
    pub(crate) fn key_info(&self, index: usize) -> Value {
        let now = self.clock.now();
        let key = &self.keys[index];
        let account = &self.accounts[key.account];
        let spent = |reset| key.spend.since(reset, now).usd();
        let remaining = key.limit_remaining(now);
        let (used, allowed) = account.free_day(now);
        let budgets = self.budget_layers(index, now);
        let effective = budgets.iter().min_by_key(|(remaining, _)| *remaining);
        let effective = effective.map(|(_, layer)| layer.clone());
        let layers: Vec<Value> = budgets.into_iter().map(|(_, layer)| layer).collect();
        let bought = account.credits().0;
        json!({"data": {
            "label": key.masked,
            "limit": key.limit.map(Money::usd),
            "limit_remaining": remaining.map(Money::usd),
            "limit_reset": key.limit_reset.map(Reset::as_str),
            "include_byok_in_limit": key.include_byok,
            "usage": spent(None),
            "usage_daily": spent(Some(Reset::Daily)),
            "usage_weekly": spent(Some(Reset::Weekly)),
            "usage_monthly": spent(Some(Reset::Monthly)),
            "byok_usage": 0,
            "byok_usage_daily": 0,
            "byok_usage_weekly": 0,
            "byok_usage_monthly": 0,
            "is_free_tier": bought <= Money::ZERO,
            "is_management_key": key.management,
            "is_provisioning_key": key.management,
            "creator_user_id": key.member,
            "expires_at": key.expires_at.map(|at| self.clock.told(at).to_string()),
            "organization_id": account.organization,
            "workspace_id": key.workspace,
            "allowed_data_regions": account.data_regions,
            "free_model_daily_requests": {
                "used": used,
                "limit": allowed,
                "remaining": allowed.saturating_sub(used),
            },
            "budgets": layers,
            "effective_budget": effective,
            "rate_limit": {
                "requests": -1,
                "interval": "10s",
                "note": "This field is deprecated and safe to ignore.",
            },
        }})
    }

    /// Every spending layer over a key, in the order of the checks, with what it has left.
    fn budget_layers(&self, index: usize, now: Timestamp) -> Vec<(Money, Value)> {
        let layer =
            |scope, limit: Money, spent: Money, reset: Option<Reset>, id: Option<String>| {
                let remaining = limit - spent;
                let guardrail =
                    (scope != "workspace" && scope != "key_limit").then_some(id.clone());
                let json = json!({
                    "scope": scope,
                    "limit_usd": limit.usd(),
                    "spend_usd": spent.usd(),
                    "remaining_usd": remaining.usd(),
                    "reset_interval": reset.map(Reset::as_str),
                    "resets_at": reset.map(|reset| self.clock.told(reset.next(now)).to_string()),
                    "guardrail_id": guardrail.flatten(),
                    "budget_id": if scope == "workspace" { id } else { None },
                    "include_byok": false,
                });
                (remaining, json)
            };
        let mut layers = Vec::new();
        for state in self.budgets_of(index) {
            let spent = state.spent(&self.keys[index], now);
            let number = self
                .budgets
                .iter()
                .position(|other| std::ptr::eq(other, state));
            let id = number.map(|number| format!("budget-{}", number + 1));
            let (scope, limit) = (state.budget.of.scope(), state.budget.limit);
            layers.push(layer(scope, limit, spent, state.budget.reset, id));
        }
        let key = &self.keys[index];
        if let Some(limit) = key.limit {
            let spent = key.spend.since(key.limit_reset, now);
            layers.push(layer("key_limit", limit, spent, key.limit_reset, None));
        }
        layers
    }

    /// The body of `GET /credits`, for management keys.
    pub(crate) fn credits(&self, index: usize) -> Result<Value, Fault> {
        let key = &self.keys[index];
        if !key.management {
            return Err(Fault::management_only());
        }
        let (bought, used) = self.accounts[key.account].credits();
        Ok(json!({"data": {"total_credits": bought.usd(), "total_usage": used.usd()}}))
    }

    /// The body of `GET /generation?id=`, for keys of the account that made it.
    pub(crate) fn generation(&self, index: usize, id: &str) -> Result<Value, Fault> {
        let account = self.keys[index].account;
        let found = self
            .generations
            .find(id)
            .filter(|found| found.account == account);
        let Some(found) = found else {
            return Err(Fault::not_found(format!("Generation {id} not found")));
        };
        let millis = found.ended.since(found.created).as_millis() as u64;
        Ok(json!({"data": {
            "id": &*found.id,
            "upstream_id": null,
            "total_cost": found.cost.usd(),
            "usage": found.cost.usd(),
            "upstream_inference_cost": 0,
            "cache_discount": null,
            "created_at": found.created.to_string(),
            "model": &*found.model,
            "provider_name": &*found.provider,
            "provider_responses": [{
                "provider_name": &*found.provider,
                "status": 200,
                "latency": millis,
                "is_byok": false,
            }],
            "app_id": null,
            "api_type": "completions",
            "streamed": found.streamed,
            "cancelled": found.cancelled,
            "is_byok": false,
            "latency": millis,
            "generation_time": millis,
            "moderation_latency": null,
            "finish_reason": found.finish_reason,
            "native_finish_reason": found.finish_reason,
            "tokens_prompt": found.prompt_tokens,
            "tokens_completion": found.completion_tokens,
            "native_tokens_prompt": found.prompt_tokens,
            "native_tokens_completion": found.completion_tokens,
            "native_tokens_reasoning": 0,
            "native_tokens_cached": 0,
            "num_media_prompt": 0,
            "num_media_completion": 0,
            "num_search_results": null,
            "origin": "",
            "http_referer": null,
            "request_id": null,
            "session_id": null,
            "router": null,
            "service_tier": null,
            "response_cache_source_id": null,
            "data_region": "global",
            "workspace_id": self.keys[index].workspace,
        }}))
    }
}
