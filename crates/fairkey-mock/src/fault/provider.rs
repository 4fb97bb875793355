//! What is wrong with a model, a provider, or OpenRouter as a whole.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Fault, Place, docs_url};
use crate::clock::retry_seconds;

impl Fault {
    /// A provider's failure, relayed with its name and its own words.
    pub(super) fn relayed(
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

    /// 429 `upstream_provider_shared_pool`: the provider's capacity, which all customers share, is
    /// used up. No key can cure it.
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

fn slug(name: &str) -> String {
    name.to_ascii_lowercase().replace(' ', "-")
}
