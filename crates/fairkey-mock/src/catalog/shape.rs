//! Models, endpoints and providers as the catalog shows them.

use serde_json::{Value, json};

use super::Entry;
use crate::model::{Model, PARAMETERS, Provider, Task};

/// A model of a list, created at this second.
pub(super) fn model(model: &Model, created: u64) -> Value {
    let mut shown = head(model, created);
    let more = json!({
        "canonical_slug": model.id.split(':').next(),
        "context_length": model.context_length,
        "pricing": {
            "prompt": model.prompt_price.decimal(),
            "completion": model.completion_price.decimal(),
            "request": "0",
            "image": "0",
        },
        "top_provider": {
            "context_length": model.context_length,
            "max_completion_tokens": model.max_completion_tokens,
            "is_moderated": model.moderated,
        },
        "per_request_limits": null,
        "supported_parameters": parameters(model),
        "default_parameters": {},
        "supported_voices": null,
        "knowledge_cutoff": null,
        "expiration_date": null,
        "links": {"details": format!("/api/v1/models/{}/endpoints", model.id)},
    });
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

/// A model with all its endpoints; only who has a key sees how fast they are.
pub(super) fn with_endpoints(entry: &Entry, created: u64, has_key: bool) -> Value {
    let mut shown = head(&entry.model, created);
    let providers = &entry.model.providers;
    let endpoints = providers
        .iter()
        .map(|at| endpoint(&entry.model, at, has_key));
    shown["endpoints"] = endpoints.collect();
    shown
}

/// One provider's offer of a model.
pub(super) fn endpoint(model: &Model, provider: &Provider, has_key: bool) -> Value {
    let (prompt, completion) = model.prices_at(provider);
    let name = model.name.as_deref().unwrap_or(&model.id);
    let parameters = provider.parameters.clone();
    let picks = provider.supports("tool_choice");
    let statistics = |p50: f64, factors: [f64; 3]| {
        let [p75, p90, p99] = factors.map(|factor| rounded(p50 * factor));
        has_key.then(|| json!({"p50": rounded(p50), "p75": p75, "p90": p90, "p99": p99}))
    };
    json!({
        "name": format!("{} | {}", provider.name, model.id),
        "model_id": model.id,
        "model_name": name,
        "context_length": model.context_length,
        "pricing": {
            "prompt": prompt.decimal(),
            "completion": completion.decimal(),
            "request": "0",
            "image": "0",
            "discount": 0,
        },
        "provider_name": provider.name,
        "tag": provider.slug,
        "quantization": provider.quantization,
        "max_prompt_tokens": null,
        "max_completion_tokens": model.max_completion_tokens,
        "supported_parameters": parameters.unwrap_or_else(|| PARAMETERS.map(str::to_owned).into()),
        "status": provider.status,
        "uptime_last_5m": provider.uptime,
        "uptime_last_30m": provider.uptime,
        "uptime_last_1d": provider.uptime,
        "latency_last_30m": statistics(provider.latency_ms, [1.3, 1.8, 3.0]),
        "throughput_last_30m": statistics(provider.throughput, [0.85, 0.6, 0.35]),
        "supports_implicit_caching": false,
        "supports_tool_choice": {
            "auto": picks,
            "function": picks,
            "none": picks,
            "required": picks,
        },
    })
}

/// A provider without its models.
pub(super) fn provider(provider: &Provider) -> Value {
    json!({
        "name": provider.name,
        "slug": provider.base_slug(),
        "privacy_policy_url": null,
        "terms_of_service_url": null,
        "status_page_url": null,
        "headquarters": null,
        "datacenters": null,
    })
}

/// What a model takes in and gives out.
pub(super) fn outputs(model: &Model) -> &'static str {
    match model.task {
        Task::Chat => "text",
        Task::Embed => "embeddings",
        Task::Rerank => "rerank",
    }
}

/// The parameters that one of its providers supports.
pub(super) fn parameters(model: &Model) -> Vec<&'static str> {
    let supported = |name: &&str| {
        let mut providers = model.providers.iter();
        providers.any(|provider| provider.supports(name))
    };
    PARAMETERS.into_iter().filter(supported).collect()
}

fn head(model: &Model, created: u64) -> Value {
    let outputs = outputs(model);
    json!({
        "id": model.id,
        "name": model.name.as_deref().unwrap_or(&model.id),
        "created": created,
        "description": "A model of the mock.",
        "architecture": {
            "modality": format!("{}->{outputs}", model.inputs.join("+")),
            "input_modalities": model.inputs,
            "output_modalities": [outputs],
            "tokenizer": "Other",
            "instruct_type": null,
        },
    })
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
