use std::collections::BTreeSet;
use std::time::Duration;

use fairkey_client::AttemptFault;
use fairkey_core::Scope;
use fairkey_openrouter::{Cause, Fault};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BrokenStream, Failure, Format, Origin, Reason};

const FORMATS: [Format; 3] = [Format::Chat, Format::Messages, Format::Responses];

fn read(failure: &Failure, format: Format) -> Value {
    serde_json::from_slice(failure.to_response(format, "req-1").body()).unwrap()
}

fn refusal(status: u16, body: &str) -> AttemptFault {
    let status = StatusCode::from_u16(status).unwrap();
    (&Fault::from_response(status, &HeaderMap::new(), body.as_bytes())).into()
}

#[test]
fn each_reason_has_a_word_of_its_own() {
    let words: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}

#[test]
fn a_chat_caller_reads_openrouters_envelope_with_openais_type() {
    let failure = Failure::new(Reason::OverRate, "60 requests per minute are used up")
        .with_retry_after(Duration::from_millis(1_001));
    let expected = json!({"error": {
        "code": 429, "message": "60 requests per minute are used up",
        "type": "rate_limit_exceeded", "param": null,
        "metadata": {"error_type": "rate_limit_exceeded", "reason": "over_rate",
            "origin": "gateway", "retry_after": 2, "request_id": "req-1"},
    }});
    assert_eq!(read(&failure, Format::Chat), expected);
}

#[test]
fn a_messages_caller_reads_anthropics_envelope() {
    let failure = Failure::new(Reason::Unauthorized, "unknown client token");
    let expected = json!({"type": "error", "error": {
        "type": "authentication_error", "message": "unknown client token",
        "error_type": "authentication", "reason": "unauthorized", "origin": "gateway",
    }, "request_id": "req-1"});
    assert_eq!(read(&failure, Format::Messages), expected);
    let response = failure.to_response(Format::Messages, "");
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["request_id"], Value::Null);
}

#[test]
fn a_responses_caller_reads_openais_words() {
    let failure = Failure::new(Reason::NoKey, "no key is free");
    let body = read(&failure, Format::Responses);
    assert_eq!(body["error"]["code"], "server_error");
    assert_eq!(body["error_type"], "provider_overloaded");
    assert_eq!(body["metadata"]["reason"], "no_key");
    let waits = failure.with_retry_after(Duration::from_secs(3));
    let body = read(&waits, Format::Responses);
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert_eq!(body["error_type"], "rate_limit_exceeded");
}

#[test]
fn no_key_is_429_where_waiting_cures_it_and_503_where_it_does_not() {
    let failure = Failure::new(Reason::NoKey, "no key is free");
    assert_eq!(failure.status(), 503);
    assert!(!failure.should_retry());
    assert!(
        !failure
            .to_response(Format::Chat, "")
            .headers()
            .contains_key("retry-after")
    );
    let failure = failure.with_retry_after(Duration::from_millis(250));
    assert_eq!(failure.status(), 429);
    assert!(failure.should_retry());
    let response = failure.to_response(Format::Chat, "");
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["retry-after-ms"], "250");
}

#[test]
fn an_sdk_is_told_off_where_its_own_retry_would_come_too_early_or_in_vain() {
    let hours = Failure::new(Reason::OverBudget, "$5 a day are used up")
        .with_retry_after(Duration::from_secs(3_600));
    assert!(!hours.should_retry(), "SDKs ignore hints of over a minute");
    assert!(!Failure::new(Reason::BadJson, "no").should_retry());
    assert!(
        !Failure::new(Reason::UpstreamFailed, "broke")
            .after_attempts()
            .should_retry()
    );
    assert!(Failure::new(Reason::ShuttingDown, "bye").should_retry());
    assert!(Failure::new(Reason::QueueFull, "full").should_retry());
    assert!(
        !Failure::new(Reason::QueueFull, "full")
            .after_attempts()
            .should_retry()
    );
}

#[test]
fn refusals_that_blame_the_operators_keys_are_not_handed_on() {
    let cases = [
        (
            401,
            r#"{"error":{"message":"User not found.","code":401}}"#,
            Reason::NoKey,
        ),
        (
            402,
            r#"{"error":{"message":"Insufficient credits","code":402,
                "metadata":{"limit_source":"openrouter_credits"}}}"#,
            Reason::NoKey,
        ),
        (
            403,
            r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#,
            Reason::NoKey,
        ),
        (
            402,
            r#"{"error":{"message":"too big","code":402,"metadata":{
                "reason":"weight_exceeds_budget","limit_source":"openrouter_credits"}}}"#,
            Reason::TooExpensive,
        ),
        (
            401,
            r#"{"error":{"message":"Provider returned error","code":401,
                "metadata":{"provider_name":"Acme"}}}"#,
            Reason::UpstreamFailed,
        ),
    ];
    for (status, body, reason) in cases {
        let failure = Failure::instead_of(&refusal(status, body)).expect(body);
        assert_eq!(failure.reason(), reason, "{body}");
        assert!(![401, 402].contains(&failure.status().as_u16()), "{body}");
        assert!(!failure.should_retry(), "attempts were made: {body}");
    }
}

#[test]
fn what_concerns_the_request_or_the_model_is_handed_on() {
    for (status, body) in [
        (400, r#"{"error":{"code":400,"message":"bad parameter"}}"#),
        (
            403,
            r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["x"]}}}"#,
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"No endpoints found"}}"#,
        ),
        (
            429,
            r#"{"error":{"code":429,"message":"Provider returned error",
                "metadata":{"provider_name":"Acme","raw":"slow down"}}}"#,
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"Internal Server Error"}}"#,
        ),
    ] {
        assert_eq!(Failure::instead_of(&refusal(status, body)), None, "{body}");
    }
}

#[test]
fn a_page_of_the_edge_becomes_an_error_that_programs_read() {
    let fault = refusal(502, "<html>cloudflare</html>");
    let failure = Failure::instead_of(&fault).expect("a page is no JSON");
    assert_eq!(failure.status(), 502);
}

#[test]
fn each_format_ends_a_broken_stream_with_its_own_error_event() {
    let fault = Fault::truncated();
    let failure = Failure::of_fault(&fault);
    assert_eq!(failure.origin(), Origin::Upstream(Scope::Provider));
    let stream = BrokenStream {
        id: Some("gen-1"),
        model: Some("a/b"),
        created: Some(7),
        sequence_number: Some(12),
        is_within_event: false,
    };
    let chat = failure.to_event(Format::Chat, &stream);
    let chat = std::str::from_utf8(&chat).unwrap();
    let data: Value =
        serde_json::from_str(chat.strip_prefix("data: ").unwrap().trim_end()).unwrap();
    assert_eq!(data["choices"][0]["finish_reason"], "error");
    assert_eq!(data["error"]["code"], 502);
    assert_eq!(
        (&data["id"], &data["created"]),
        (&json!("gen-1"), &json!(7))
    );

    let messages = failure.to_event(Format::Messages, &stream);
    let messages = std::str::from_utf8(&messages).unwrap();
    let data = messages.strip_prefix("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(
        (&data["type"], &data["error"]["type"]),
        (&json!("error"), &json!("api_error"))
    );

    let responses = failure.to_event(Format::Responses, &stream);
    let responses = std::str::from_utf8(&responses).unwrap();
    let data = responses.strip_prefix("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(
        (&data["type"], &data["sequence_number"]),
        (&json!("error"), &json!(12))
    );
    assert_eq!(data["error"]["message"], data["message"]);
}

#[test]
fn the_long_words_of_an_error_are_cut_between_characters() {
    let failure = Failure::new(Reason::Internal, "ü".repeat(3_000));
    assert!(failure.message().len() <= 2_004);
}

fn any_cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(Cause::all().collect::<Vec<_>>())
}

proptest! {
    /// Whatever the message holds, an event is one event, and never an invented end.
    #[test]
    fn an_event_is_one_event_whatever_the_message(
        message in "\\PC*|[\\r\\n\\x00-\\x1f\"\\\\]*",
        within in any::<bool>(),
        at in 0..Reason::ALL.len(),
    ) {
        let failure = Failure::new(Reason::ALL[at], message);
        for format in FORMATS {
            let stream = BrokenStream { is_within_event: within, ..BrokenStream::default() };
            let event = failure.to_event(format, &stream);
            let event = std::str::from_utf8(&event).unwrap();
            let event = event.strip_prefix(if within { "\n\n" } else { "" }).unwrap();
            let lines: Vec<_> = event.strip_suffix("\n\n").unwrap().lines().collect();
            prop_assert_eq!(lines.len(), 1 + usize::from(format != Format::Chat));
            let data = lines.last().unwrap().strip_prefix("data: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            prop_assert!(data["error"]["message"].is_string());
            prop_assert!(!event.contains("[DONE]") || failure.message().contains("[DONE]"));
        }
    }

    /// A caller never hears 401 or 402 for what an attempt met, and no answer without a wait
    /// promises that waiting helps.
    #[test]
    fn no_fault_is_told_as_the_callers_own_401_or_402(
        cause in any_cause(),
        status in prop::option::of(400u16..600),
    ) {
        let mut fault = Fault::new(cause, "words");
        if let Some(status) = status {
            fault = fault.with_status(status);
        }
        let told = Failure::of_fault(&fault);
        let instead = Failure::instead_of(&(&fault).into());
        for failure in instead.iter().chain([&told]) {
            prop_assert!(!matches!(failure.status().as_u16(), 401 | 402));
            prop_assert!(!failure.should_retry());
        }
        if matches!(status, Some(401 | 402)) {
            prop_assert!(instead.is_some());
        }
    }
}
