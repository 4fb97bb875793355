//! What is wrong with the request: no key and no provider can cure it.

use serde_json::{Value, json};

use super::{Fault, docs_url};

impl Fault {
    /// 400: the body is not what the endpoint takes.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::named("bad_request", 400, message).metadata("error_type", "invalid_request")
    }

    /// 400: the provider's own complaint about the request, relayed.
    pub fn provider_bad_request_400(provider: &str) -> Self {
        let raw = r#"{"error":{"message":"Unsupported value","type":"invalid_request_error"}}"#;
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
                "This endpoint's maximum context length is {context} tokens. However, you \
                 requested about {requested} tokens. Please reduce the length of either one, or \
                 use the context-compression plugin to compress your prompt automatically."
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
                "No allowed providers are available for the selected model. Providers serving \
                 {model}: {}, but your request's provider preferences permit only: {}.",
                available.join(", "),
                requested.join(", "),
            ),
        )
        .metadata("failed_routing_step", "Filter by Allowed Providers")
        .metadata("available_providers", json!(available))
        .metadata("requested_providers", json!(requested))
    }

    /// 404 `constraint_filtered`: a preference of the request (`max_price`, `quantization`,
    /// `require_parameters`) leaves no provider.
    pub fn constraint_filtered(model: &str, excluded_by: &str, step: &str) -> Self {
        Self::unavailable(
            "constraint_filtered",
            404,
            "not_found",
            format!("No endpoints found for {model} that match the request ({excluded_by})."),
            json!({
                "code": "constraint_filtered",
                "retryable": false,
                "requested_models": [model],
                "excluded_by": [excluded_by],
                "constraint": {"field": excluded_by, "detail": "No endpoint is left."},
                "docs_url": docs_url("constraint_filtered"),
            }),
        )
        .metadata("failed_routing_step", step)
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
