//! What an account has run out of.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CREDITS_URL, Fault};
use crate::clock::{Timestamp, retry_seconds};

impl Fault {
    /// 402 `openrouter_credits`: the balance is spent, or nothing was ever bought.
    pub fn credits_exhausted() -> Self {
        Self::named(
            "credits_exhausted",
            402,
            format!("Insufficient credits. Add more using {CREDITS_URL}"),
        )
        .metadata("limit_source", "openrouter_credits")
        .metadata("remedy_hint", "Add credits to this account.")
    }

    /// 402 `openrouter_credits`: the balance is too small for this request.
    pub fn request_too_big_for_balance(requested: u64, affordable: u64) -> Self {
        Self::named(
            "request_too_big_for_balance",
            402,
            format!(
                "This request requires more credits, or fewer max_tokens. You requested up to \
                 {requested} tokens, but can only afford {affordable}. To increase, visit \
                 {CREDITS_URL} and upgrade to a paid account"
            ),
        )
        .metadata("limit_source", "openrouter_credits")
        .metadata(
            "remedy_hint",
            "Lower max_tokens, or add credits to this account.",
        )
        .metadata("provider_name", Value::Null)
    }

    /// 402 `openrouter_in_flight_budget`: running calls fill the account's in-flight budget.
    pub fn in_flight_budget(retry_after: Duration) -> Self {
        Self::named(
            "in_flight_budget",
            402,
            "Too much spending is in flight on this account. Wait for running requests to finish.",
        )
        .metadata("reason", "in_flight_budget_exhausted")
        .metadata("limit_source", "openrouter_in_flight_budget")
        .metadata("remedy_hint", "Retry after running requests have finished.")
        .metadata(
            "headers",
            json!({ "Retry-After": retry_seconds(retry_after).to_string() }),
        )
        .retry_after(retry_after)
    }

    /// 402 `weight_exceeds_budget`: this one request is larger than the whole in-flight budget.
    pub fn weight_exceeds_budget() -> Self {
        Self::named(
            "weight_exceeds_budget",
            402,
            "This request costs more than this account may have in flight.",
        )
        .metadata("reason", "weight_exceeds_budget")
        .metadata("limit_source", "openrouter_credits")
        .metadata(
            "remedy_hint",
            "Lower max_tokens, shorten the prompt, or add credits.",
        )
    }

    /// 429 `openrouter_free_tier_daily`: the free calls of the UTC day are used up.
    pub fn free_tier_daily(reset: Timestamp) -> Self {
        Self::free_tier("free_tier_daily", "free-models-per-day", 50, reset)
    }

    /// 429 `openrouter_free_tier_per_minute`: the free calls of the minute are used up.
    pub fn free_tier_per_minute(reset: Timestamp) -> Self {
        Self::free_tier("free_tier_per_minute", "free-models-per-min", 20, reset)
    }

    pub(crate) fn free_tier(
        name: &'static str,
        limit_name: &str,
        limit: u32,
        reset: Timestamp,
    ) -> Self {
        Self::platform_limit(
            name,
            format!("Rate limit exceeded: {limit_name}. "),
            u64::from(limit),
            reset,
        )
        .metadata("limit_source", format!("openrouter_{name}"))
        .metadata("remedy_hint", "Wait for the reset, or use a paid model.")
    }

    /// 429 of the platform: a request limit of the account is used up until `reset`.
    pub fn account_rate_limit(limit: u64, reset: Timestamp) -> Self {
        Self::platform_limit(
            "account_rate_limit",
            "Rate limit exceeded".to_owned(),
            limit,
            reset,
        )
        .metadata("error_type", "rate_limit_exceeded")
        .metadata("remedy_hint", "Slow down this account.")
    }

    /// 429 of the platform that tells neither which limit it was nor when it reopens.
    pub fn silent_rate_limit() -> Self {
        Self::named("silent_rate_limit", 429, "Rate limit exceeded")
            .metadata("error_type", "rate_limit_exceeded")
            .metadata("provider_name", Value::Null)
    }

    fn platform_limit(name: &'static str, message: String, limit: u64, reset: Timestamp) -> Self {
        let reset = reset.unix_millis().to_string();
        Self::named(name, 429, message)
            .metadata(
                "headers",
                json!({
                    "X-RateLimit-Limit": limit.to_string(),
                    "X-RateLimit-Remaining": "0",
                    "X-RateLimit-Reset": reset,
                }),
            )
            .metadata("provider_name", Value::Null)
            .header("x-ratelimit-limit", limit.to_string())
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", reset)
    }

    /// 429 `openrouter_admission_control`: the credit check did not finish in time.
    pub fn admission_control(retry_after: Duration) -> Self {
        Self::named(
            "admission_control",
            429,
            "The credit check for this account did not finish in time. Slow down this account.",
        )
        .metadata("limit_source", "openrouter_admission_control")
        .metadata(
            "headers",
            json!({ "Retry-After": retry_seconds(retry_after).to_string() }),
        )
    }
}
