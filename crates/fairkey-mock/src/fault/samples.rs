//! One of each, with arguments of the usual size.

use std::time::Duration;

use super::Fault;
use crate::clock::{Reset, Timestamp};

impl Fault {
    /// One fault of every constructor, with typical arguments: for tables of tests, and for scripts
    /// that name a fault. Names are unique.
    pub fn samples() -> Vec<Self> {
        const PROVIDER: &str = "OpenAI";
        const MODEL: &str = "openai/gpt-4o-mini";
        const HINT: Duration = Duration::from_secs(2);
        let now = Timestamp::DEFAULT_START;
        let soon = now.plus(Duration::from_secs(30));
        vec![
            Self::bad_request("Invalid request parameters"),
            Self::provider_bad_request_400(PROVIDER),
            Self::model_not_found(MODEL),
            Self::context_length_exceeded(131_072, 200_000),
            Self::too_many_models(),
            Self::missing_auth(),
            Self::no_auth_credentials(),
            Self::key_revoked(),
            Self::provider_credential_401(PROVIDER),
            Self::credits_exhausted(),
            Self::request_too_big_for_balance(16_384, 1_000),
            Self::weight_exceeds_budget(),
            Self::key_limit_too_small(Reset::Daily, 16_384, 1_000),
            Self::in_flight_budget(HINT),
            Self::key_limit_spent(Reset::Daily),
            Self::guardrail_budget(10.0, 10.5, Some(now.next_day())),
            Self::workspace_budget(Reset::Monthly, 50.0, 50.2, Some(Reset::Monthly.next(now))),
            Self::guardrail_403(),
            Self::moderation_403(PROVIDER, MODEL),
            Self::region_restricted_403(MODEL),
            Self::free_endpoint_gated_403(),
            Self::management_key_for_inference(),
            Self::management_only(),
            Self::unknown_route(),
            Self::not_found("Generation gen-0 not found"),
            Self::no_allowed_providers(MODEL, &["openai", "azure"], &["groq"]),
            Self::constraint_filtered(MODEL, "max_price", "Filter by Max Price"),
            Self::no_endpoints(MODEL),
            Self::model_deprecated(MODEL, "openai/gpt-4o"),
            Self::privacy_restricted(MODEL),
            Self::timeout_408(),
            Self::conflict(),
            Self::gone(),
            Self::precondition_failed(),
            Self::payload_too_large(),
            Self::unprocessable(),
            Self::free_tier_daily(now.next_day()),
            Self::free_tier_per_minute(soon),
            Self::account_rate_limit(60, soon),
            Self::silent_rate_limit(),
            Self::shared_capacity(),
            Self::provider_rate_limited(PROVIDER),
            Self::admission_control(Duration::from_secs(10)),
            Self::capacity_exhausted(HINT),
            Self::internal_500(),
            Self::provider_error_502(PROVIDER),
            Self::html_from_edge(),
            Self::plain_text(502, "error code: 502"),
            Self::no_provider_503(HINT),
            Self::overloaded_503(PROVIDER),
            Self::timeout_504(PROVIDER),
            Self::edge_timeout_524(),
            Self::overloaded_529(),
            Self::error_in_200(),
            Self::choice_error_in_200(),
            Self::native_finish_error(),
            Self::mid_stream_rate_limit(2),
            Self::mid_stream_server_error(2),
        ]
    }

    /// The sample of this [`name`](Self::name), where `-` and `_` are the same.
    pub fn sample(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::samples()
            .into_iter()
            .find(|fault| fault.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_sample_has_a_name_of_its_own_and_says_something() {
        let mut names = HashSet::new();
        for fault in Fault::samples() {
            assert!(names.insert(fault.name()), "{}", fault.name());
            assert!(Fault::sample(fault.name()).is_some());
            let error = fault.error();
            let status = error.get("code").or(error.get("http_status"));
            assert!(status.is_some(), "{error}");
        }
    }
}
