//! One constructor per row of OpenRouter's error table.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Fault, Place};
use crate::clock::{Reset, Timestamp, retry_seconds};

const CREDITS_URL: &str = "https://openrouter.ai/settings/credits";
const KEYS_URL: &str = "https://openrouter.ai/settings/keys";

fn docs_url(code: &str) -> String {
    format!("https://openrouter.ai/docs/errors#{code}")
}

fn slug(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}

/// The caller's request.
impl Fault {
    /// 400: the body is not what the endpoint takes.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::named("bad_request", 400, message).metadata("error_type", "invalid_request")
    }

    /// 400: the provider's own complaint about the request, relayed.
    pub fn provider_bad_request_400(provider: &str) -> Self {
        let raw = r#"{"error":{"message":"Unsupported value: 'temperature'","type":"invalid_request_error"}}"#;
        Self::relayed(
            "provider_bad_request_400",
            400,
            provider,
            "invalid_request",
            raw,
        )
    }

    /// 400 `model_not_found`: no such model.
    pub fn model_not_found(model: &str) -> Self {
        Self::unavailable(
            "model_not_found",
            400,
            "invalid_request",
            format!("{model} is not a valid model ID"),
            json!({
                "code": "model_not_found",
                "retryable": false,
                "requested_models": [model],
                "docs_url": docs_url("model_not_found"),
            }),
        )
    }

    /// 400: prompt and completion together are longer than the model's context.
    pub fn context_length_exceeded(context: u64, requested: u64) -> Self {
        Self::named(
            "context_length_exceeded",
            400,
            format!(
                "This endpoint's maximum context length is {context} tokens. However, you requested \
                 about {requested} tokens. Please reduce the length of either one, or use the \
                 context-compression plugin to compress your prompt automatically."
            ),
        )
        .metadata("error_type", "context_length_exceeded")
        .metadata("provider_name", Value::Null)
    }

    /// 400: more than three fallback models.
    pub fn too_many_models() -> Self {
        Self::named(
            "too_many_models",
            400,
            "'models' array must have 3 items or fewer.",
        )
    }

    /// 403: a guardrail found patterns in the prompt.
    pub fn guardrail_403() -> Self {
        Self::named(
            "guardrail_403",
            403,
            "Request blocked: prompt injection patterns detected",
        )
        .metadata("patterns", json!(["ignore all previous instructions"]))
    }

    /// 403: moderation flagged the prompt.
    pub fn moderation_403(provider: &str, model: &str) -> Self {
        Self::named(
            "moderation_403",
            403,
            "The request was flagged by the moderation of the provider",
        )
        .metadata("reasons", json!(["violence"]))
        .metadata("flagged_input", "How does one … in the end?")
        .metadata("provider_name", provider)
        .metadata("model_slug", model)
    }

    /// 403 `region_restricted`: the model is not offered where the caller is.
    pub fn region_restricted_403(model: &str) -> Self {
        Self::unavailable(
            "region_restricted_403",
            403,
            "permission_denied",
            format!("{model} is not available in your region."),
            json!({
                "code": "region_restricted",
                "retryable": false,
                "requested_models": [model],
                "excluded_by": ["geo"],
                "docs_url": docs_url("region_restricted"),
            }),
        )
    }

    /// 403: a free endpoint that is closed to ordinary clients.
    pub fn free_endpoint_gated_403() -> Self {
        Self::named(
            "free_endpoint_gated_403",
            403,
            "This free endpoint is not available to your application.",
        )
        .metadata("failed_routing_step", "Gate Free Endpoints by Application")
    }

    /// 404: no such route.
    pub fn unknown_route() -> Self {
        Self::named("unknown_route", 404, "Resource not found")
    }

    /// 404: what the path names is not there (a generation, for one).
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::named("not_found", 404, message)
    }

    /// 404: the routing preferences leave no provider.
    pub fn no_allowed_providers(model: &str, available: &[&str], requested: &[&str]) -> Self {
        Self::named(
            "no_allowed_providers",
            404,
            format!(
                "No allowed providers are available for the selected model. Providers serving {model}: \
                 {}, but your request's provider preferences permit only: {}.",
                available.join(", "),
                requested.join(", "),
            ),
        )
        .metadata("failed_routing_step", "Filter by Allowed Providers")
        .metadata("available_providers", json!(available))
        .metadata("requested_providers", json!(requested))
    }

    /// 404 `no_endpoints`: the model exists, and nobody serves it.
    pub fn no_endpoints(model: &str) -> Self {
        Self::unavailable(
            "no_endpoints",
            404,
            "not_found",
            format!("No endpoints found for {model}."),
            json!({
                "code": "no_endpoints",
                "retryable": false,
                "requested_models": [model],
                "docs_url": docs_url("no_endpoints"),
            }),
        )
    }

    /// 404 `model_deprecated`, with a model to use instead.
    pub fn model_deprecated(model: &str, instead: &str) -> Self {
        Self::unavailable(
            "model_deprecated",
            404,
            "not_found",
            format!("{model} was retired. Use {instead} instead."),
            json!({
                "code": "model_deprecated",
                "retryable": false,
                "requested_models": [model],
                "fallback_models": [instead],
                "docs_url": docs_url("model_deprecated"),
            }),
        )
    }

    /// 404 `privacy_restricted`: the account's data policy excludes every provider.
    pub fn privacy_restricted(model: &str) -> Self {
        Self::unavailable(
            "privacy_restricted",
            404,
            "not_found",
            format!("No endpoints for {model} match your data policy (zero data retention)."),
            json!({
                "code": "privacy_restricted",
                "retryable": false,
                "requested_models": [model],
                "excluded_by": ["data_policy:zdr"],
                "docs_url": docs_url("privacy_restricted"),
            }),
        )
    }

    /// 409: a conflict in a management call.
    pub fn conflict() -> Self {
        Self::named(
            "conflict",
            409,
            "Resource conflict. Please try again later.",
        )
    }

    /// 410: an endpoint that was retired.
    pub fn gone() -> Self {
        Self::named("gone", 410, "This endpoint is no longer available.")
    }

    /// 412: a precondition does not hold.
    pub fn precondition_failed() -> Self {
        Self::named("precondition_failed", 412, "Precondition failed")
            .metadata("error_type", "precondition_failed")
    }

    /// 413: the body is larger than is taken.
    pub fn payload_too_large() -> Self {
        Self::named("payload_too_large", 413, "Request payload is too large")
            .metadata("error_type", "payload_too_large")
    }

    /// 422: well-formed, and still not meaningful.
    pub fn unprocessable() -> Self {
        Self::named("unprocessable", 422, "The request could not be processed")
            .metadata("error_type", "unprocessable")
    }
}

/// The key, and budgets around it.
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

    /// 403 `Key limit exceeded (… limit)`: the key's own cap is spent. Takes a [`Reset`], or `None` for
    /// a cap over all time.
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
                 {requested} tokens, but can only afford {affordable}. To increase, visit {KEYS_URL} \
                 and create a key with a higher {interval} limit"
            ),
        )
        .metadata("limit_source", "openrouter_key_limit")
        .metadata("remedy_hint", "Lower max_tokens, or raise the limit of this key.")
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

/// The account.
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

/// A model, a provider, or OpenRouter as a whole.
impl Fault {
    /// A provider's failure, relayed with its name and its own words.
    fn relayed(
        name: &'static str,
        status: u16,
        provider: &str,
        error_type: &str,
        raw: impl Into<String>,
    ) -> Self {
        Self::named(name, status, "Provider returned error")
            .metadata("error_type", error_type)
            .metadata("provider_name", provider)
            .metadata("raw", raw.into())
            .metadata("is_byok", false)
    }

    /// 401 with `provider_name`: the provider rejects OpenRouter's credential. No key is at fault.
    pub fn provider_credential_401(provider: &str) -> Self {
        let raw = r#"{"error":{"message":"Incorrect API key provided"}}"#;
        Self::relayed(
            "provider_credential_401",
            401,
            provider,
            "authentication",
            raw,
        )
    }

    /// 408: the request took too long.
    pub fn timeout_408() -> Self {
        Self::named(
            "timeout_408",
            408,
            "Operation timed out. Please try again later.",
        )
    }

    /// 429 `openrouter_shared_capacity`: the guard of a busy (mostly free) model.
    pub fn shared_capacity() -> Self {
        Self::named(
            "shared_capacity",
            429,
            "Rate limit exceeded: limit_rpm/mock/busy-model/00000000-0000-4000-8000-000000000000. \
             High demand for this model.",
        )
        .metadata("limit_source", "openrouter_shared_capacity")
        .metadata("remedy_hint", "Try another model, or wait.")
        .metadata("provider_name", Value::Null)
    }

    /// 429 `upstream_provider_shared_pool`: the provider's capacity, which all customers share, is used
    /// up. No key can cure it.
    pub fn provider_rate_limited(provider: &str) -> Self {
        let raw = format!(
            "{} is temporarily rate-limited upstream. Please retry shortly.",
            slug(provider)
        );
        Self::relayed(
            "provider_rate_limited",
            429,
            provider,
            "rate_limit_exceeded",
            raw,
        )
        .metadata("limit_source", "upstream_provider_shared_pool")
        .metadata("remedy_hint", "Retry shortly, or allow other providers.")
    }

    /// 429 `capacity_exhausted`: every provider of the model is full.
    pub fn capacity_exhausted(retry_after: Duration) -> Self {
        let seconds = retry_seconds(retry_after);
        Self::unavailable(
            "capacity_exhausted",
            429,
            "rate_limit_exceeded",
            format!("All providers for this model are at capacity. Retry after {seconds} seconds."),
            json!({
                "code": "capacity_exhausted",
                "retryable": true,
                "retry_after": seconds,
                "requested_models": [],
                "docs_url": docs_url("capacity_exhausted"),
            }),
        )
        .retry_after(retry_after)
    }

    /// 500: OpenRouter's own failure; it says nothing more.
    pub fn internal_500() -> Self {
        Self::named("internal_500", 500, "Internal Server Error").metadata("error_type", "server")
    }

    /// 502: the provider failed, or answered garbage.
    pub fn provider_error_502(provider: &str) -> Self {
        Self::relayed(
            "provider_error_502",
            502,
            provider,
            "provider_unavailable",
            "upstream error",
        )
    }

    /// 503: no provider meets the routing now; with `Retry-After` where a time is given.
    pub fn no_provider_503(retry_after: impl Into<Option<Duration>>) -> Self {
        let retry_after = retry_after.into();
        let mut availability = json!({
            "code": "temporarily_unavailable",
            "retryable": true,
            "requested_models": [],
            "docs_url": docs_url("temporarily_unavailable"),
        });
        if let Some(after) = retry_after {
            availability["retry_after"] = retry_seconds(after).into();
        }
        let fault = Self::unavailable(
            "no_provider_503",
            503,
            "provider_unavailable",
            "Service temporarily unavailable",
            availability,
        );
        match retry_after {
            Some(after) => fault.retry_after(after),
            None => fault,
        }
    }

    /// 503 `provider_overloaded`.
    pub fn overloaded_503(provider: &str) -> Self {
        Self::relayed(
            "overloaded_503",
            503,
            provider,
            "provider_overloaded",
            "overloaded",
        )
    }

    /// 529: the provider is overloaded, as the specification numbers it.
    pub fn overloaded_529() -> Self {
        Self::relayed(
            "overloaded_529",
            529,
            "OpenAI",
            "provider_overloaded",
            "overloaded",
        )
    }

    /// 504: the provider did not answer in time.
    pub fn timeout_504(provider: &str) -> Self {
        Self::relayed("timeout_504", 504, provider, "timeout", "timed out")
    }

    /// 524: the edge network gave up on the answer.
    pub fn edge_timeout_524() -> Self {
        Self::named(
            "edge_timeout_524",
            524,
            "Request timed out. Please try again later.",
        )
    }

    /// A web page with status 502 instead of JSON, from the edge in front of OpenRouter.
    pub fn html_from_edge() -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>\n\
                    <body><center><h1>Bad gateway</h1></center><hr>\
                    <center>cloudflare</center></body></html>\n";
        let mut fault = Self::named("html_from_edge", 502, "");
        fault.0.place = Place::Page {
            content_type: "text/html; charset=UTF-8",
            body: body.to_owned(),
        };
        fault
    }

    /// Plain text instead of JSON.
    pub fn plain_text(status: u16, text: impl Into<String>) -> Self {
        let mut fault = Self::named("plain_text", status, "");
        fault.0.place = Place::Page {
            content_type: "text/plain",
            body: text.into(),
        };
        fault
    }
}

/// Failures inside a 200.
impl Fault {
    /// A 200 whose body is nothing but an error object (on a stream: one bare error chunk).
    pub fn error_in_200() -> Self {
        Self::named("error_in_200", 502, "JSON error injected into SSE stream")
            .metadata("error_type", "provider_unavailable")
            .in_200()
    }

    /// A 200 with partial content whose choice ends in `finish_reason: "error"` and an `error`.
    pub fn choice_error_in_200() -> Self {
        Self::named(
            "choice_error_in_200",
            502,
            "Provider disconnected mid-stream",
        )
        .metadata("error_type", "provider_unavailable")
        .in_choice()
    }

    /// A 200 whose choice ends in `finish_reason: "error"` with nothing but a
    /// `native_finish_reason`.
    pub fn native_finish_error() -> Self {
        let mut fault = Self::named("native_finish_error", 502, "");
        fault.0.place = Place::NativeFinish {
            native: "MALFORMED_FUNCTION_CALL".to_owned(),
            after: 2,
        };
        fault
    }

    /// An error chunk after `chunks` chunks of content, with a typed 429.
    pub fn mid_stream_rate_limit(chunks: usize) -> Self {
        Self::named("mid_stream_rate_limit", 429, "Rate limit exceeded")
            .metadata("error_type", "rate_limit_exceeded")
            .after_chunks(chunks)
    }

    /// An error chunk after `chunks` chunks of content, whose code is a string.
    pub fn mid_stream_server_error(chunks: usize) -> Self {
        Self::named(
            "mid_stream_server_error",
            502,
            "Provider disconnected unexpectedly",
        )
        .string_code("server_error")
        .after_chunks(chunks)
    }
}

fn interval_word(interval: Option<Reset>) -> &'static str {
    interval.map_or("total", Reset::as_str)
}
