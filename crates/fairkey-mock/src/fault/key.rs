//! What is wrong with a key, or spent of the budgets around it.

use serde_json::Value;

use super::{Fault, KEYS_URL};
use crate::clock::{Reset, Timestamp};

impl Fault {
    /// 401: no `Authorization` header.
    pub fn missing_auth() -> Self {
        Self::named("missing_auth", 401, "Missing Authentication header")
    }

    /// 401: an `Authorization` header without a bearer key.
    pub fn no_auth_credentials() -> Self {
        Self::named("no_auth_credentials", 401, "No auth credentials found")
    }

    /// 401 `User not found.`: the key is invalid, revoked, disabled or expired.
    pub fn key_revoked() -> Self {
        Self::named("key_revoked", 401, "User not found.")
    }

    /// 403 `Key limit exceeded (… limit)`: the key's own cap is spent. Takes a [`Reset`], or `None`
    /// for a cap over all time.
    pub fn key_limit_spent(interval: impl Into<Option<Reset>>) -> Self {
        let interval = interval_word(interval.into());
        Self::named(
            "key_limit_spent",
            403,
            format!("Key limit exceeded ({interval} limit). Manage it using {KEYS_URL}"),
        )
        .metadata("limit_source", "openrouter_key_limit")
    }

    /// 402 `openrouter_key_limit`: what the key's cap has left is too little for this request.
    pub fn key_limit_too_small(
        interval: impl Into<Option<Reset>>,
        requested: u64,
        affordable: u64,
    ) -> Self {
        let interval = interval_word(interval.into());
        Self::named(
            "key_limit_too_small",
            402,
            format!(
                "This request requires more credits, or fewer max_tokens. You requested up to \
                 {requested} tokens, but can only afford {affordable}. To increase, visit \
                 {KEYS_URL} and create a key with a higher {interval} limit"
            ),
        )
        .metadata("limit_source", "openrouter_key_limit")
        .metadata(
            "remedy_hint",
            "Lower max_tokens, or raise the limit of this key.",
        )
        .metadata("provider_name", Value::Null)
    }

    /// 403: a guardrail budget of a member is spent.
    pub fn guardrail_budget(limit_usd: f64, spend_usd: f64, resets_at: Option<Timestamp>) -> Self {
        Self::budget(
            "guardrail_budget",
            "guardrail",
            "member",
            limit_usd,
            spend_usd,
            resets_at,
            None,
        )
    }

    /// 403: a budget of a workspace is spent.
    pub fn workspace_budget(
        interval: impl Into<Option<Reset>>,
        limit_usd: f64,
        spend_usd: f64,
        resets_at: Option<Timestamp>,
    ) -> Self {
        Self::budget(
            "workspace_budget",
            "workspace",
            "workspace",
            limit_usd,
            spend_usd,
            resets_at,
            interval.into(),
        )
    }

    pub(crate) fn budget(
        name: &'static str,
        kind: &str,
        scope: &str,
        limit_usd: f64,
        spend_usd: f64,
        resets_at: Option<Timestamp>,
        interval: Option<Reset>,
    ) -> Self {
        let title = if kind == "workspace" {
            "Workspace"
        } else {
            "Guardrail"
        };
        let interval = interval.map_or("lifetime", Reset::as_str);
        Self::named(
            name,
            403,
            format!("{title} {interval} budget of ${limit_usd} exceeded. Contact your org admin."),
        )
        .metadata("limit_source", format!("openrouter_{kind}_budget"))
        .metadata("scope", scope)
        .metadata("limit_usd", limit_usd)
        .metadata("spend_usd", spend_usd)
        .metadata("resets_at", resets_at.map(|at| at.to_string()))
    }

    /// 403: a management key was used for inference.
    pub fn management_key_for_inference() -> Self {
        Self::named(
            "management_key_for_inference",
            403,
            "Management keys cannot be used for this operation",
        )
    }

    /// 403: an ordinary key was used for administration.
    pub fn management_only() -> Self {
        Self::named(
            "management_only",
            403,
            "Only management keys can perform this operation",
        )
    }
}

fn interval_word(interval: Option<Reset>) -> &'static str {
    interval.map_or("total", Reset::as_str)
}
