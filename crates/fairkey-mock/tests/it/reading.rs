//! What the mock says, as `fairkey-openrouter` reads it: one row of the table of causes each.

use std::collections::HashMap;

use fairkey_core::Scope;
use fairkey_mock::{Fault, On, Step};
use fairkey_openrouter::{Cause, Fault as Read};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, MODEL, call, open, with};

/// The name of the mock's fault, and the cause and scope that it must be read as.
#[rustfmt::skip]
const TABLE: &[(&str, Cause, Scope)] = &[
    ("bad_request", Cause::BadRequest, Scope::Request),
    ("provider_bad_request_400", Cause::RejectedByProvider, Scope::Request),
    ("model_not_found", Cause::ModelNotFound, Scope::Request),
    ("context_length_exceeded", Cause::ContextTooLong, Scope::Request),
    ("too_many_models", Cause::BadRequest, Scope::Request),
    ("missing_auth", Cause::KeyInvalid, Scope::Key),
    ("no_auth_credentials", Cause::KeyInvalid, Scope::Key),
    ("key_revoked", Cause::KeyInvalid, Scope::Key),
    ("provider_credential_401", Cause::ProviderAuth, Scope::Provider),
    ("credits_exhausted", Cause::BalanceExhausted, Scope::Account),
    ("request_too_big_for_balance", Cause::RequestTooBigForBalance, Scope::Request),
    ("weight_exceeds_budget", Cause::RequestTooBigForBalance, Scope::Request),
    ("key_limit_too_small", Cause::KeyCapTooSmall, Scope::Key),
    ("in_flight_budget", Cause::InFlightBudget, Scope::Account),
    ("key_limit_spent", Cause::KeyCapSpent, Scope::Key),
    ("guardrail_budget", Cause::GuardrailBudget, Scope::Budget),
    ("workspace_budget", Cause::WorkspaceBudget, Scope::Budget),
    ("guardrail_403", Cause::GuardrailContent, Scope::Request),
    ("moderation_403", Cause::Moderation, Scope::Request),
    ("region_restricted_403", Cause::RegionRestricted, Scope::Request),
    ("free_endpoint_gated_403", Cause::RoutingFailed, Scope::Request),
    ("management_key_for_inference", Cause::ManagementKey, Scope::Key),
    ("management_only", Cause::ManagementKeyRequired, Scope::Request),
    ("unknown_route", Cause::NotFound, Scope::Request),
    ("not_found", Cause::NotFound, Scope::Request),
    ("no_allowed_providers", Cause::RoutingFailed, Scope::Request),
    ("constraint_filtered", Cause::RoutingFailed, Scope::Request),
    ("no_endpoints", Cause::RoutingFailed, Scope::Request),
    ("model_deprecated", Cause::ModelGone, Scope::Model),
    ("privacy_restricted", Cause::PolicyRestricted, Scope::Request),
    ("timeout_408", Cause::RequestTimeout, Scope::Service),
    ("conflict", Cause::Conflict, Scope::Request),
    ("gone", Cause::Gone, Scope::Request),
    ("precondition_failed", Cause::Conflict, Scope::Request),
    ("payload_too_large", Cause::TooLarge, Scope::Request),
    ("unprocessable", Cause::BadRequest, Scope::Request),
    ("free_tier_daily", Cause::FreeDaily, Scope::Account),
    ("free_tier_per_minute", Cause::FreePerMinute, Scope::Account),
    ("account_rate_limit", Cause::AccountRateLimited, Scope::Account),
    ("silent_rate_limit", Cause::AccountRateLimited, Scope::Account),
    ("shared_capacity", Cause::SharedCapacity, Scope::Model),
    ("provider_rate_limited", Cause::ProviderPool, Scope::Provider),
    ("admission_control", Cause::AdmissionControl, Scope::Account),
    ("capacity_exhausted", Cause::CapacityExhausted, Scope::Model),
    ("internal_500", Cause::ServerError, Scope::Service),
    ("provider_error_502", Cause::ProviderError, Scope::Provider),
    ("html_from_edge", Cause::EdgeFailed, Scope::Service),
    ("plain_text", Cause::EdgeFailed, Scope::Service),
    ("no_provider_503", Cause::ModelUnavailable, Scope::Model),
    ("overloaded_503", Cause::Overloaded, Scope::Provider),
    ("timeout_504", Cause::ProviderTimeout, Scope::Provider),
    ("edge_timeout_524", Cause::ProviderTimeout, Scope::Provider),
    ("overloaded_529", Cause::Overloaded, Scope::Provider),
    ("error_in_200", Cause::ProviderError, Scope::Provider),
    ("choice_error_in_200", Cause::ProviderError, Scope::Provider),
    ("native_finish_error", Cause::ErrorIn200, Scope::Provider),
    ("mid_stream_rate_limit", Cause::ProviderRateLimited, Scope::Provider),
    ("mid_stream_server_error", Cause::ProviderError, Scope::Provider),
];

/// The same request in each format.
fn in_each_format(stream: bool) -> [(&'static str, Value); 3] {
    let members = json!({"model": MODEL, "stream": stream, "max_tokens": 40});
    let messages = json!([{"role": "user", "content": "x"}]);
    [
        (
            "/chat/completions",
            with(members.clone(), json!({"messages": messages})),
        ),
        (
            "/messages",
            with(members.clone(), json!({"messages": messages})),
        ),
        ("/responses", with(members, json!({"input": "x"}))),
    ]
}

fn read(answer: &Answer) -> Option<Read> {
    if answer.status >= 400 {
        let status = StatusCode::from_u16(answer.status).unwrap();
        let body = answer.body.as_bytes();
        return Some(Read::from_response(status, &answer.headers, body));
    }
    let is_stream = answer
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/event-stream"));
    if !is_stream {
        return Read::in_body(answer.body.as_bytes());
    }
    let events = answer.events();
    let mut faults = events
        .iter()
        .filter_map(|event| Read::from_frame(event.as_bytes()));
    faults.next()
}

#[tokio::test]
async fn every_row_is_read_as_it_is_meant() {
    let expected: HashMap<_, _> = TABLE
        .iter()
        .map(|(name, cause, scope)| (*name, (*cause, *scope)))
        .collect();
    let mut wrong = Vec::new();
    for fault in Fault::samples() {
        let name = fault.name();
        for stream in [false, true] {
            for (path, body) in in_each_format(stream) {
                let mock = open().await;
                mock.script(On::any(), [Step::reply(fault.clone())]);
                let answer = call(&mock, "POST", path, "k", &body).await;
                let found = read(&answer).map(|fault| (fault.cause(), fault.scope()));
                let expected = match (path, name, stream) {
                    // This event has a code and a message, and the code says no more than "server".
                    ("/responses", "error_in_200", true) => {
                        Some((Cause::ServerError, Scope::Service))
                    }
                    // Only chat knows an end that says nothing of itself.
                    ("/messages" | "/responses", "native_finish_error", _) => {
                        Some((Cause::ProviderError, Scope::Provider))
                    }
                    _ => expected.get(name).copied(),
                };
                if found != expected || found.is_none() {
                    wrong.push(format!("{path} {name} (stream: {stream}): {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_status_of_the_table_can_be_produced() {
    let statuses: Vec<u16> = Fault::samples().iter().map(Fault::status).collect();
    for status in [
        400, 401, 402, 403, 404, 408, 409, 410, 412, 413, 422, 429, 500, 502, 503, 504, 524, 529,
    ] {
        assert!(statuses.contains(&status), "{status}");
    }
}
