//! Every row of the error table, as a client sees it.

use std::time::Duration;

use fairkey_mock::{Fault, On, Reset, Step, Timestamp};
use serde_json::{Value, json};

use crate::support::{Answer, chat, open, post, with};

async fn met(fault: Fault, stream: bool) -> Answer {
    let mock = open().await;
    mock.script(On::any(), [Step::reply(fault)]);
    let answer = post(&mock, "k", &with(chat("x"), json!({ "stream": stream }))).await;
    let counters = mock.counters().total;
    assert_eq!((counters.faulted, counters.in_flight), (1, 0));
    assert_eq!(counters.cost_usd(), 0.0, "a failure is not billed");
    answer
}

#[tokio::test]
async fn every_fault_arrives_with_its_status_in_its_envelope() {
    for fault in Fault::samples() {
        let name = fault.name();
        let in_200 =
            name.ends_with("in_200") || name.starts_with("mid_") || name == "native_finish_error";
        let page = name == "html_from_edge" || name == "plain_text";
        for stream in [false, true] {
            let answer = met(fault.clone(), stream).await;
            let expected = if in_200 { 200 } else { fault.status() };
            assert_eq!(answer.status, expected, "{name}");
            if in_200 || page {
                continue;
            }
            let error = &answer.json()["error"];
            let code = error
                .get("code")
                .or(error.get("http_status"))
                .and_then(Value::as_u64);
            assert_eq!(code, Some(u64::from(fault.status())), "{name}");
            assert!(error["message"].is_string(), "{name}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
}

/// Table of facts: the fault, and where in `error` its scope can be read.
#[tokio::test]
async fn who_is_to_blame_can_be_read_from_typed_fields() {
    let reset = Timestamp::DEFAULT_START.next_day();
    let wait = Duration::from_millis(1500);
    let table: [(Fault, &str, Value); 17] = [
        (
            Fault::credits_exhausted(),
            "/metadata/limit_source",
            json!("openrouter_credits"),
        ),
        (
            Fault::weight_exceeds_budget(),
            "/metadata/reason",
            json!("weight_exceeds_budget"),
        ),
        (
            Fault::key_limit_spent(None),
            "/metadata/limit_source",
            json!("openrouter_key_limit"),
        ),
        (
            Fault::key_limit_too_small(Reset::Weekly, 9, 1),
            "/metadata/limit_source",
            json!("openrouter_key_limit"),
        ),
        (
            Fault::in_flight_budget(wait),
            "/metadata/limit_source",
            json!("openrouter_in_flight_budget"),
        ),
        (
            Fault::guardrail_budget(1.0, 2.0, None),
            "/metadata/limit_source",
            json!("openrouter_guardrail_budget"),
        ),
        (
            Fault::workspace_budget(Reset::Monthly, 1.0, 2.0, Some(reset)),
            "/metadata/resets_at",
            json!("2026-10-02T00:00:00Z"),
        ),
        (
            Fault::guardrail_403(),
            "/metadata/patterns/0",
            json!("ignore all previous instructions"),
        ),
        (
            Fault::free_tier_daily(reset),
            "/metadata/limit_source",
            json!("openrouter_free_tier_daily"),
        ),
        (
            Fault::free_tier_per_minute(reset),
            "/metadata/headers/X-RateLimit-Reset",
            json!(reset.unix_millis().to_string()),
        ),
        (
            Fault::shared_capacity(),
            "/metadata/limit_source",
            json!("openrouter_shared_capacity"),
        ),
        (
            Fault::provider_rate_limited("Groq"),
            "/metadata/limit_source",
            json!("upstream_provider_shared_pool"),
        ),
        (
            Fault::admission_control(wait),
            "/metadata/headers/Retry-After",
            json!("2"),
        ),
        (
            Fault::capacity_exhausted(wait),
            "/availability/retry_after",
            json!(2),
        ),
        (
            Fault::provider_credential_401("Groq"),
            "/metadata/provider_name",
            json!("Groq"),
        ),
        (
            Fault::provider_error_502("Groq"),
            "/metadata/error_type",
            json!("provider_unavailable"),
        ),
        (
            Fault::no_provider_503(None),
            "/availability/code",
            json!("temporarily_unavailable"),
        ),
    ];
    for (fault, pointer, expected) in table {
        let name = fault.name();
        let answer = met(fault, false).await;
        assert_eq!(
            answer.json()["error"].pointer(pointer),
            Some(&expected),
            "{name}"
        );
    }
}

#[tokio::test]
async fn hints_stand_in_headers_too_unless_they_are_dropped() {
    let wait = Duration::from_millis(1500);
    let reset = Timestamp::DEFAULT_START.next_day();
    let answer = met(Fault::in_flight_budget(wait), false).await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    let answer = met(Fault::account_rate_limit(60, reset), false).await;
    let millis = reset.unix_millis().to_string();
    assert_eq!(answer.header("x-ratelimit-reset"), Some(millis.as_str()));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
    let answer = met(
        Fault::account_rate_limit(60, reset).without_headers(),
        false,
    )
    .await;
    assert_eq!(answer.header("x-ratelimit-reset"), None);
    assert_eq!(
        answer.json()["error"]["metadata"]["headers"]["X-RateLimit-Limit"],
        "60"
    );
    let answer = met(Fault::key_limit_spent(Reset::Daily), false).await;
    assert_eq!(
        answer.header("retry-after"),
        None,
        "waits of hours are not hinted at"
    );
    assert!(
        answer
            .message()
            .starts_with("Key limit exceeded (daily limit)")
    );
}

#[tokio::test]
async fn the_edge_answers_in_html() {
    let answer = met(Fault::html_from_edge(), true).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=UTF-8")
    );
    assert!(answer.body.starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_bare_error_is_all_there_is_of_its_200() {
    let plain = met(Fault::error_in_200(), false).await;
    assert_eq!(plain.json()["error"]["code"], 502);
    assert_eq!(plain.json()["choices"], Value::Null);
    let stream = met(Fault::error_in_200(), true).await;
    let chunks = stream.chunks();
    assert_eq!(chunks.len(), 1);
    assert_eq!(
        chunks[0]["error"]["metadata"]["error_type"],
        "provider_unavailable"
    );
    assert_eq!(chunks[0]["choices"], Value::Null);
    assert!(stream.body.starts_with(": OPENROUTER"));
}

#[tokio::test]
async fn a_choice_error_has_partial_content_and_the_error_beside_it() {
    let plain = met(Fault::choice_error_in_200(), false).await;
    let choice = &plain.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "error");
    assert_eq!(choice["error"]["code"], 502);
    assert!(!choice["message"]["content"].as_str().unwrap().is_empty());
    let stream = met(Fault::choice_error_in_200(), true).await;
    let chunks = stream.chunks();
    let last = chunks.last().unwrap();
    assert_eq!(last["error"]["message"], "Provider disconnected mid-stream");
    assert_eq!(last["choices"][0]["finish_reason"], "error");
    assert_eq!(last["choices"][0]["delta"]["content"], "");
    assert_eq!(chunks.len(), 1 + 3 + 1);
}

#[tokio::test]
async fn a_native_finish_says_no_more_than_that() {
    let plain = met(Fault::native_finish_error(), false).await;
    let choice = &plain.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "error");
    assert_eq!(choice["native_finish_reason"], "MALFORMED_FUNCTION_CALL");
    assert_eq!(choice["error"], Value::Null);
    assert_eq!(plain.json()["error"], Value::Null);
    let stream = met(Fault::native_finish_error(), true).await;
    let chunks = stream.chunks();
    let finish = &chunks[chunks.len() - 2]["choices"][0];
    assert_eq!(finish["native_finish_reason"], "MALFORMED_FUNCTION_CALL");
    assert!(chunks.iter().all(|chunk| chunk["error"].is_null()));
}

#[tokio::test]
async fn mid_stream_errors_come_after_their_chunks_and_may_have_a_code_in_words() {
    for chunks in [0, 1, 4] {
        let answer = met(Fault::mid_stream_server_error(chunks), true).await;
        let all = answer.chunks();
        assert_eq!(all.len(), 1 + chunks + 1);
        assert_eq!(all.last().unwrap()["error"]["code"], "server_error");
    }
}
