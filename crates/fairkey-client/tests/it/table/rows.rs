//! What OpenRouter answers, and what is to be done about each.

use fairkey_core::Scope;
use fairkey_openrouter::{Cause, Fault};
use http::{HeaderMap, StatusCode};

const RETURN: &str = "return";
const KEY: &str = "other key";
const ACCOUNT: &str = "other account";
const MODEL: &str = "other model";
const SAME: &str = "same after a wait";

/// One row: what comes, and what is done about it.
pub(crate) struct Row {
    /// The answer, in words.
    pub(crate) says: &'static str,
    pub(crate) status: u16,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The members of `error`, but for its code.
    error: &'static str,
    pub(crate) cause: Cause,
    pub(crate) scope: Scope,
    /// The verdict where the call names one model.
    pub(crate) alone: &'static str,
    /// The verdict where it names another one.
    pub(crate) named: &'static str,
}

/// A row whose answer has no headers to speak of.
const fn row(
    says: &'static str,
    status: u16,
    error: &'static str,
    (cause, scope): (Cause, Scope),
    (alone, named): (&'static str, &'static str),
) -> Row {
    Row {
        says,
        status,
        headers: &[],
        error,
        cause,
        scope,
        alone,
        named,
    }
}

const fn hinted(mut row: Row, headers: &'static [(&'static str, &'static str)]) -> Row {
    row.headers = headers;
    row
}

pub(crate) const ROWS: &[Row] = {
    use Cause as C;
    use Scope::{Account, Budget, Key, Model, Provider, Request, Service};

    &[
        row(
            "400: a parameter is out of range",
            400,
            r#""message":"temperature must be at most 2""#,
            (C::BadRequest, Request),
            (RETURN, RETURN),
        ),
        row(
            "400: there is no such model",
            400,
            r#""message":"m/x is not a valid model ID""#,
            (C::ModelNotFound, Request),
            (RETURN, MODEL),
        ),
        row(
            "400 `context_length_exceeded`",
            400,
            r#""message":"too long","metadata":{"error_type":"context_length_exceeded"}"#,
            (C::ContextTooLong, Request),
            (RETURN, MODEL),
        ),
        row(
            "400: more than three `models`",
            400,
            r#""message":"'models' array must have 3 items or fewer.""#,
            (C::BadRequest, Request),
            (RETURN, RETURN),
        ),
        row(
            "400 with a provider's name",
            400,
            r#""message":"Provider returned error","metadata":{"provider_name":"Acme","raw":"no such tool"}"#,
            (C::RejectedByProvider, Request),
            (RETURN, MODEL),
        ),
        row(
            "401 without a provider's name",
            401,
            r#""message":"User not found.""#,
            (C::KeyInvalid, Key),
            (KEY, KEY),
        ),
        row(
            "401 with a provider's name",
            401,
            r#""message":"Provider returned error","metadata":{"provider_name":"Acme","raw":"bad key"}"#,
            (C::ProviderAuth, Provider),
            (SAME, SAME),
        ),
        row(
            "402 `openrouter_credits`",
            402,
            r#""message":"Insufficient credits","metadata":{"limit_source":"openrouter_credits"}"#,
            (C::BalanceExhausted, Account),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "402 without a source",
            402,
            r#""message":"Payment required""#,
            (C::BalanceExhausted, Account),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "402 `openrouter_credits`, `weight_exceeds_budget`",
            402,
            r#""message":"too large","metadata":{"limit_source":"openrouter_credits","reason":"weight_exceeds_budget"}"#,
            (C::RequestTooBigForBalance, Request),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "402 `openrouter_credits`: \"can only afford\"",
            402,
            r#""message":"You requested up to 9000 tokens, but can only afford 12","metadata":{"limit_source":"openrouter_credits"}"#,
            (C::RequestTooBigForBalance, Request),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "402 `openrouter_key_limit`",
            402,
            r#""message":"You requested up to 9000 tokens, but can only afford 12","metadata":{"limit_source":"openrouter_key_limit"}"#,
            (C::KeyCapTooSmall, Key),
            (KEY, KEY),
        ),
        hinted(
            row(
                "402 `openrouter_in_flight_budget`",
                402,
                r#""message":"too much in flight","metadata":{"limit_source":"openrouter_in_flight_budget","reason":"in_flight_budget_exhausted"}"#,
                (C::InFlightBudget, Account),
                (ACCOUNT, ACCOUNT),
            ),
            &[("retry-after", "120")],
        ),
        row(
            "403 `openrouter_key_limit`",
            403,
            r#""message":"Key limit exceeded (monthly limit)","metadata":{"limit_source":"openrouter_key_limit"}"#,
            (C::KeyCapSpent, Key),
            (KEY, KEY),
        ),
        row(
            "403: \"Key limit exceeded\"",
            403,
            r#""message":"Key limit exceeded (daily limit). See the settings.""#,
            (C::KeyCapSpent, Key),
            (KEY, KEY),
        ),
        row(
            "403 `openrouter_guardrail_budget`",
            403,
            r#""message":"spent","metadata":{"limit_source":"openrouter_guardrail_budget","scope":"member"}"#,
            (C::GuardrailBudget, Budget),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "403 `openrouter_guardrail_budget` of one key",
            403,
            r#""message":"spent","metadata":{"limit_source":"openrouter_guardrail_budget","scope":"api_key"}"#,
            (C::GuardrailBudget, Key),
            (KEY, KEY),
        ),
        row(
            "403 `openrouter_workspace_budget`",
            403,
            r#""message":"spent","metadata":{"limit_source":"openrouter_workspace_budget","resets_at":"2027-02-01T00:00:00Z"}"#,
            (C::WorkspaceBudget, Budget),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "403 with `reasons`: moderation",
            403,
            r#""message":"flagged","metadata":{"reasons":["violence"],"provider_name":"Acme"}"#,
            (C::Moderation, Request),
            (RETURN, RETURN),
        ),
        row(
            "403 with `patterns`: a guardrail's rule",
            403,
            r#""message":"blocked","metadata":{"patterns":["number"]}"#,
            (C::GuardrailContent, Request),
            (RETURN, RETURN),
        ),
        row(
            "403 `region_restricted`",
            403,
            r#""message":"not here","availability":{"code":"region_restricted","retryable":false}"#,
            (C::RegionRestricted, Request),
            (RETURN, MODEL),
        ),
        row(
            "403 with a `failed_routing_step`",
            403,
            r#""message":"no endpoint","metadata":{"failed_routing_step":"Gate Free Endpoints by Client"}"#,
            (C::RoutingFailed, Request),
            (RETURN, MODEL),
        ),
        row(
            "403 `permission_denied`",
            403,
            r#""message":"not with this key","metadata":{"error_type":"permission_denied"}"#,
            (C::KeyForbidden, Key),
            (KEY, KEY),
        ),
        row(
            "403: a management key, used for inference",
            403,
            r#""message":"A management key cannot be used here""#,
            (C::ManagementKey, Key),
            (KEY, KEY),
        ),
        row(
            "403 that says nothing more",
            403,
            r#""message":"Forbidden""#,
            (C::KeyForbidden, Key),
            (KEY, KEY),
        ),
        row(
            "404 `no_endpoints`, or another `failed_routing_step`",
            404,
            r#""message":"No endpoints","availability":{"code":"no_endpoints","retryable":false}"#,
            (C::RoutingFailed, Request),
            (RETURN, MODEL),
        ),
        row(
            "404 `privacy_restricted`: the account's policy",
            404,
            r#""message":"policy","availability":{"code":"privacy_restricted","retryable":false}"#,
            (C::PolicyRestricted, Request),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "404 `model_deprecated`, `free_variant_ended`",
            404,
            r#""message":"gone","availability":{"code":"free_variant_ended","retryable":false}"#,
            (C::ModelGone, Model),
            (RETURN, MODEL),
        ),
        row(
            "404 `model_unavailable_upstream`",
            404,
            r#""message":"out","availability":{"code":"model_unavailable_upstream","retryable":false}"#,
            (C::ModelUnavailable, Model),
            (RETURN, MODEL),
        ),
        row(
            "404: there is no such route",
            404,
            r#""message":"Not Found""#,
            (C::NotFound, Request),
            (RETURN, RETURN),
        ),
        row(
            "408",
            408,
            r#""message":"timed out""#,
            (C::RequestTimeout, Service),
            (SAME, SAME),
        ),
        row(
            "409, 412",
            409,
            r#""message":"conflict""#,
            (C::Conflict, Request),
            (RETURN, RETURN),
        ),
        row(
            "410",
            410,
            r#""message":"gone""#,
            (C::Gone, Request),
            (RETURN, RETURN),
        ),
        row(
            "413",
            413,
            r#""message":"too large""#,
            (C::TooLarge, Request),
            (RETURN, RETURN),
        ),
        row(
            "422",
            422,
            r#""message":"makes no sense""#,
            (C::BadRequest, Request),
            (RETURN, RETURN),
        ),
        row(
            "429 `openrouter_free_tier_daily`",
            429,
            r#""message":"free-models-per-day","metadata":{"limit_source":"openrouter_free_tier_daily"}"#,
            (C::FreeDaily, Account),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "429 `openrouter_free_tier_per_minute`",
            429,
            r#""message":"free-models-per-min","metadata":{"limit_source":"openrouter_free_tier_per_minute"}"#,
            (C::FreePerMinute, Account),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "429 `openrouter_shared_capacity`",
            429,
            r#""message":"limit_rpm/m/a/1","metadata":{"limit_source":"openrouter_shared_capacity"}"#,
            (C::SharedCapacity, Model),
            (SAME, MODEL),
        ),
        row(
            "429 `openrouter_shared_capacity`, of a day",
            429,
            r#""message":"limit_rpd/m/a/1","metadata":{"limit_source":"openrouter_shared_capacity"}"#,
            (C::SharedCapacity, Model),
            (RETURN, MODEL),
        ),
        row(
            "429 `upstream_provider_shared_pool`",
            429,
            r#""message":"full","metadata":{"limit_source":"upstream_provider_shared_pool"}"#,
            (C::ProviderPool, Provider),
            (SAME, SAME),
        ),
        row(
            "429 with a provider's name",
            429,
            r#""message":"Provider returned error","metadata":{"provider_name":"Acme","raw":"slow down"}"#,
            (C::ProviderRateLimited, Provider),
            (SAME, SAME),
        ),
        hinted(
            row(
                "429 with a provider's name, to come back in a minute",
                429,
                r#""message":"Provider returned error","metadata":{"provider_name":"Acme","raw":"slow down"}"#,
                (C::ProviderRateLimited, Provider),
                (SAME, MODEL),
            ),
            &[("retry-after", "60")],
        ),
        row(
            "429 `openrouter_admission_control`",
            429,
            r#""message":"slow down","metadata":{"limit_source":"openrouter_admission_control","headers":{"Retry-After":"10"}}"#,
            (C::AdmissionControl, Account),
            (ACCOUNT, ACCOUNT),
        ),
        hinted(
            row(
                "429 with `X-RateLimit-*` and no source",
                429,
                r#""message":"Rate limit exceeded""#,
                (C::AccountRateLimited, Account),
                (ACCOUNT, ACCOUNT),
            ),
            &[
                ("x-ratelimit-limit", "20"),
                ("x-ratelimit-reset", "1800000030000"),
            ],
        ),
        row(
            "429 `capacity_exhausted`",
            429,
            r#""message":"full","availability":{"code":"capacity_exhausted","retryable":true,"retry_after":5}"#,
            (C::CapacityExhausted, Model),
            (SAME, MODEL),
        ),
        row(
            "429 that says nothing more",
            429,
            r#""message":"Too many requests""#,
            (C::AccountRateLimited, Account),
            (ACCOUNT, ACCOUNT),
        ),
        row(
            "500",
            500,
            r#""message":"Internal Server Error""#,
            (C::ServerError, Service),
            (SAME, SAME),
        ),
        row(
            "502",
            502,
            r#""message":"Provider returned error","metadata":{"provider_name":"Acme"}"#,
            (C::ProviderError, Provider),
            (SAME, SAME),
        ),
        row(
            "503 without a provider's name",
            503,
            r#""message":"no provider meets the routing""#,
            (C::ModelUnavailable, Model),
            (SAME, MODEL),
        ),
        row(
            "503 `temporarily_unavailable`",
            503,
            r#""message":"later","availability":{"code":"temporarily_unavailable","retryable":true}"#,
            (C::ModelUnavailable, Model),
            (SAME, MODEL),
        ),
        row(
            "503 `provider_overloaded`",
            503,
            r#""message":"busy","metadata":{"error_type":"provider_overloaded","provider_name":"Acme"}"#,
            (C::Overloaded, Provider),
            (SAME, SAME),
        ),
        row(
            "504, 524",
            504,
            r#""message":"timed out","metadata":{"provider_name":"Acme"}"#,
            (C::ProviderTimeout, Provider),
            (SAME, SAME),
        ),
        row(
            "529",
            529,
            r#""message":"overloaded""#,
            (C::Overloaded, Provider),
            (SAME, SAME),
        ),
        row(
            "a status that nobody knows, 400 to 499",
            444,
            r#""message":"?""#,
            (C::BadRequest, Request),
            (RETURN, RETURN),
        ),
        row(
            "a status that nobody knows, 500 and above",
            599,
            r#""message":"?""#,
            (C::ServerError, Service),
            (SAME, SAME),
        ),
    ]
};

impl Row {
    pub(crate) fn body(&self, status: u16) -> String {
        format!(r#"{{"error":{{"code":{status},{}}}}}"#, self.error)
    }

    pub(crate) fn fault(&self, status: u16) -> Fault {
        let body = self.body(status);
        serde_json::from_str::<serde_json::Value>(&body).expect(self.says);
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.insert(*name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Fault::from_response(status, &headers, body.as_bytes())
    }
}
