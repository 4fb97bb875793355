//! The words that OpenRouter uses in error bodies, all of them open-ended.

use crate::fault::Cause;
use crate::open_enum::open_enum;

open_enum! {
    /// Which limit refused a call: `limit_source` in an error's metadata.
    pub enum LimitSource {
        /// The account's balance.
        Credits = "openrouter_credits",
        /// The key's own cap.
        KeyLimit = "openrouter_key_limit",
        /// The money held for calls in flight.
        InFlightBudget = "openrouter_in_flight_budget",
        /// The budget of a guardrail.
        GuardrailBudget = "openrouter_guardrail_budget",
        /// The budget of a workspace.
        WorkspaceBudget = "openrouter_workspace_budget",
        /// The account's free requests per day.
        FreeTierDaily = "openrouter_free_tier_daily",
        /// The account's free requests per minute.
        FreeTierPerMinute = "openrouter_free_tier_per_minute",
        /// The guard on a busy model.
        SharedCapacity = "openrouter_shared_capacity",
        /// The credit check before a call.
        AdmissionControl = "openrouter_admission_control",
        /// The capacity at a provider that all customers share.
        ProviderPool = "upstream_provider_shared_pool",
    }
}

open_enum! {
    /// What kind of error it is: `error_type`, the discriminator that means the same in all
    /// formats of the API.
    pub enum ErrorType {
        /// 400: the prompt exceeds the model's context.
        ContextLengthExceeded = "context_length_exceeded",
        /// 400: the allowed completion exceeds what the model can write.
        MaxTokensExceeded = "max_tokens_exceeded",
        /// 400: both together exceed a limit.
        TokenLimitExceeded = "token_limit_exceeded",
        /// 400: a text is too long.
        StringTooLong = "string_too_long",
        /// 400: the request is bad in another way.
        InvalidRequest = "invalid_request",
        /// 400: the prompt is bad.
        InvalidPrompt = "invalid_prompt",
        /// 400: the content breaks a policy.
        ContentPolicyViolation = "content_policy_violation",
        /// 400: the model refused.
        Refusal = "refusal",
        /// 400: an image cannot be read.
        InvalidImage = "invalid_image",
        /// 400: an image is too large.
        ImageTooLarge = "image_too_large",
        /// 400: an image is too small.
        ImageTooSmall = "image_too_small",
        /// 400: an image has an unsupported format.
        UnsupportedImageFormat = "unsupported_image_format",
        /// 400: an image could not be fetched.
        ImageDownloadFailed = "image_download_failed",
        /// 401: a credential was refused.
        Authentication = "authentication",
        /// 402: money is missing.
        PaymentRequired = "payment_required",
        /// 403: a permission is missing.
        PermissionDenied = "permission_denied",
        /// 404: there is no such thing, or no endpoint for it.
        NotFound = "not_found",
        /// 404: there is no such image.
        ImageNotFound = "image_not_found",
        /// 412: a precondition does not hold.
        PreconditionFailed = "precondition_failed",
        /// 413: the body is too large.
        PayloadTooLarge = "payload_too_large",
        /// 422: the request makes no sense.
        Unprocessable = "unprocessable",
        /// 429: too much.
        RateLimitExceeded = "rate_limit_exceeded",
        /// 500: OpenRouter failed.
        Server = "server",
        /// 500: something failed that has no name.
        Unmapped = "unmapped",
        /// 502: a provider failed.
        ProviderUnavailable = "provider_unavailable",
        /// 503 or 529: a provider is overloaded.
        ProviderOverloaded = "provider_overloaded",
        /// 504: a provider took too long.
        Timeout = "timeout",
    }
}

impl ErrorType {
    /// Reads the lossy codes of the other formats: the `error.type` of Messages, and the texts in
    /// `error.code` of Responses and of streams. They rank below the status.
    pub(crate) fn from_native(code: &str) -> Option<Self> {
        Some(match code {
            "invalid_request_error" | "invalid_prompt" => Self::InvalidRequest,
            "authentication_error" | "invalid_api_key" | "unauthorized" => Self::Authentication,
            "permission_error" | "forbidden" => Self::PermissionDenied,
            "not_found_error" | "model_not_found" => Self::NotFound,
            "rate_limit_error" | "rate_limited" | "too_many_requests" => Self::RateLimitExceeded,
            "insufficient_quota" | "billing_error" => Self::PaymentRequired,
            "overloaded_error" | "overloaded" => Self::ProviderOverloaded,
            "timeout_error" => Self::Timeout,
            "image_content_policy_violation" | "content_filter" => Self::ContentPolicyViolation,
            "api_error" | "server_error" | "internal_error" => Self::Server,
            known => Some(Self::from(known)).filter(Self::is_known)?,
        })
    }

    /// Returns the status that goes with it; `None` for what this version does not know.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Some(match self {
            Self::Authentication => 401,
            Self::PaymentRequired => 402,
            Self::PermissionDenied => 403,
            Self::NotFound | Self::ImageNotFound => 404,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::Unprocessable => 422,
            Self::RateLimitExceeded => 429,
            Self::Server | Self::Unmapped => 500,
            Self::ProviderUnavailable => 502,
            Self::ProviderOverloaded => 503,
            Self::Timeout => 504,
            Self::Other(_) => return None,
            _ => 400,
        })
    }
}

open_enum! {
    /// Why no endpoint is available: `availability.code`.
    pub enum AvailabilityCode {
        /// There is no such model.
        ModelNotFound = "model_not_found",
        /// The model is served under another route.
        WrongEndpoint = "wrong_endpoint",
        /// There is no endpoint for the model.
        NoEndpoints = "no_endpoints",
        /// The model is deprecated.
        ModelDeprecated = "model_deprecated",
        /// The model is out at its providers.
        ModelUnavailableUpstream = "model_unavailable_upstream",
        /// The data policy leaves no endpoint.
        PrivacyRestricted = "privacy_restricted",
        /// The request's constraints leave no endpoint.
        ConstraintFiltered = "constraint_filtered",
        /// The free variant has ended.
        FreeVariantEnded = "free_variant_ended",
        /// The model is not offered in the caller's region.
        RegionRestricted = "region_restricted",
        /// Every provider is full.
        CapacityExhausted = "capacity_exhausted",
        /// No provider meets the routing now.
        TemporarilyUnavailable = "temporarily_unavailable",
    }
}

impl AvailabilityCode {
    /// Returns the cause that it names; `None` for what this version does not know.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Some(match self {
            Self::ModelNotFound => Cause::ModelNotFound,
            Self::WrongEndpoint => Cause::BadRequest,
            Self::NoEndpoints | Self::ConstraintFiltered => Cause::RoutingFailed,
            Self::ModelDeprecated | Self::FreeVariantEnded => Cause::ModelGone,
            Self::ModelUnavailableUpstream | Self::TemporarilyUnavailable => {
                Cause::ModelUnavailable
            }
            Self::PrivacyRestricted => Cause::PolicyRestricted,
            Self::RegionRestricted => Cause::RegionRestricted,
            Self::CapacityExhausted => Cause::CapacityExhausted,
            Self::Other(_) => return None,
        })
    }
}
