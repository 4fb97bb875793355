//! Every way a call can fail in the gateway: [`Reason`].

use http::StatusCode;

/// Why a call failed, as a word that programs branch on.
///
/// It is in the body of every error (`metadata.reason`, in Messages `error.reason`) and in the
/// header `x-fairkey-error`. A name that was published keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// 400: the request is not HTTP as it should be, or says two things at once.
    BadRequest,
    /// 400: the body is not JSON, or not of the form the endpoint reads.
    BadJson,
    /// 400: the request is larger than what any account can pay for; fewer `max_tokens` may help.
    TooExpensive,
    /// 401: no client token, or an unknown one.
    Unauthorized,
    /// 403: the token may not use this model.
    ModelNotAllowed,
    /// 403: the token may not use this path.
    RouteNotAllowed,
    /// 403: an administrative path, and administration is not configured.
    AdministrationRefused,
    /// 403: the request came from a web page, or under a name that is not this machine's.
    ForeignOrigin,
    /// 404: there is no such path.
    BadPath,
    /// 405: the path takes other methods.
    BadMethod,
    /// 408: the head or the body did not come in time.
    TooSlow,
    /// 413: the body is larger than configured.
    BodyTooLarge,
    /// 429: the tenant's money of this window is used up.
    OverBudget,
    /// 429: the tenant's requests or tokens of this window are used up.
    OverRate,
    /// 429: the tenant has as many calls under way as it may have.
    TooManyInFlight,
    /// 431: the head is larger than configured.
    HeadTooLarge,
    /// 429 or 503: so many calls wait for a key already that this one was turned away.
    QueueFull,
    /// 429 where waiting cures it, or 503: no key can serve the call now.
    NoKey,
    /// 500: a defect of the gateway.
    Internal,
    /// 502: the upstream could not be reached, or its answer broke.
    UpstreamUnreachable,
    /// 502: the upstream answered something that cannot be handed on, or failed inside an answer.
    UpstreamFailed,
    /// 503: the gateway has no room: connections, memory or file descriptors.
    Overloaded,
    /// 503: the gateway is shutting down.
    ShuttingDown,
    /// 504: the upstream did not answer in time.
    UpstreamTimeout,
    /// 504: the deadline that the caller set for the call passed.
    Deadline,
}

/// A reason's status and names: `reason`, OpenRouter's `error_type`, OpenAI's `type`, Anthropic's
/// `type`.
type Row = (u16, &'static str, &'static str, &'static str, &'static str);

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 25] = [
        Self::BadRequest,
        Self::BadJson,
        Self::TooExpensive,
        Self::Unauthorized,
        Self::ModelNotAllowed,
        Self::RouteNotAllowed,
        Self::AdministrationRefused,
        Self::ForeignOrigin,
        Self::BadPath,
        Self::BadMethod,
        Self::TooSlow,
        Self::BodyTooLarge,
        Self::OverBudget,
        Self::OverRate,
        Self::TooManyInFlight,
        Self::HeadTooLarge,
        Self::QueueFull,
        Self::NoKey,
        Self::Internal,
        Self::UpstreamUnreachable,
        Self::UpstreamFailed,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::UpstreamTimeout,
        Self::Deadline,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        match self {
            Self::BadRequest => (400, "bad_request", "invalid_request", "invalid_request_error", "invalid_request_error"),
            Self::BadJson => (400, "bad_json", "invalid_request", "invalid_request_error", "invalid_request_error"),
            Self::TooExpensive => (400, "too_expensive", "max_tokens_exceeded", "invalid_request_error", "invalid_request_error"),
            Self::Unauthorized => (401, "unauthorized", "authentication", "authentication_error", "authentication_error"),
            Self::ModelNotAllowed => (403, "model_not_allowed", "permission_denied", "permission_error", "permission_error"),
            Self::RouteNotAllowed => (403, "route_not_allowed", "permission_denied", "permission_error", "permission_error"),
            Self::AdministrationRefused => (403, "administration_refused", "permission_denied", "permission_error", "permission_error"),
            Self::ForeignOrigin => (403, "foreign_origin", "permission_denied", "permission_error", "permission_error"),
            Self::BadPath => (404, "bad_path", "not_found", "invalid_request_error", "not_found_error"),
            Self::BadMethod => (405, "bad_method", "invalid_request", "invalid_request_error", "invalid_request_error"),
            Self::TooSlow => (408, "too_slow", "timeout", "invalid_request_error", "timeout_error"),
            Self::BodyTooLarge => (413, "body_too_large", "payload_too_large", "invalid_request_error", "request_too_large"),
            // OpenAI's word for a spent budget, which its clients do not retry.
            Self::OverBudget => (429, "over_budget", "rate_limit_exceeded", "insufficient_quota", "rate_limit_error"),
            Self::OverRate => (429, "over_rate", "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error"),
            Self::TooManyInFlight => (429, "too_many_in_flight", "rate_limit_exceeded", "rate_limit_exceeded", "rate_limit_error"),
            Self::HeadTooLarge => (431, "head_too_large", "payload_too_large", "invalid_request_error", "request_too_large"),
            Self::QueueFull => (503, "queue_full", "provider_overloaded", "server_error", "overloaded_error"),
            Self::NoKey => (503, "no_key", "provider_overloaded", "server_error", "overloaded_error"),
            Self::Internal => (500, "internal", "server", "server_error", "api_error"),
            Self::UpstreamUnreachable => (502, "upstream_unreachable", "provider_unavailable", "server_error", "api_error"),
            Self::UpstreamFailed => (502, "upstream_failed", "provider_unavailable", "server_error", "api_error"),
            Self::Overloaded => (503, "overloaded", "provider_overloaded", "server_error", "overloaded_error"),
            Self::ShuttingDown => (503, "shutting_down", "provider_overloaded", "server_error", "overloaded_error"),
            Self::UpstreamTimeout => (504, "upstream_timeout", "timeout", "server_error", "timeout_error"),
            Self::Deadline => (504, "deadline", "timeout", "server_error", "timeout_error"),
        }
    }

    /// Returns the word: `over_budget`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns the usual status; [`NoKey`](Self::NoKey) and [`QueueFull`](Self::QueueFull) are 429
    /// where the wait is known.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether the caller can cure it by asking later, and nobody else has to do anything.
    pub(super) const fn is_cured_by_waiting(self) -> bool {
        matches!(
            self,
            Self::OverBudget
                | Self::OverRate
                | Self::TooManyInFlight
                | Self::QueueFull
                | Self::NoKey
                | Self::Overloaded
                | Self::ShuttingDown
        )
    }
}

/// What a status means, for errors that have one of their own.
pub(super) struct Words {
    pub(super) error_type: &'static str,
    pub(super) openai: &'static str,
    pub(super) anthropic: &'static str,
}

impl Words {
    /// The names of `reason`, where the answer has `status`.
    pub(super) const fn of(reason: Reason, status: u16) -> Self {
        let row = reason.row();
        match status {
            429 if row.0 != 429 => Self {
                error_type: "rate_limit_exceeded",
                openai: "rate_limit_exceeded",
                anthropic: "rate_limit_error",
            },
            _ => Self {
                error_type: row.2,
                openai: row.3,
                anthropic: row.4,
            },
        }
    }
}
