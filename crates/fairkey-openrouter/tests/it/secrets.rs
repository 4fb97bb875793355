//! No key and no known piece of a prompt is shown by any fault.

use fairkey_openrouter::Fault;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

const KEY: &str = "sk-or-v1-d3f1a9b2c4e5d3f1a9b2c4e5d3f1a9b2c4e5d3f1a9b2c4e5";
const PROMPT: &str = "the quick brown fox eats the dragon";

/// Everything that a fault says to anybody.
fn shown(fault: &Fault) -> String {
    format!(
        "{fault} {fault:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        fault.message(),
        fault.provider_message(),
        fault.provider(),
        fault.availability(),
        fault.budget(),
        fault.previous_errors(),
        fault.generation_id(),
        fault.provider_code(),
        fault.remedy_hint(),
        fault.unknown_words(),
    )
}

/// An error with `text` in every place that holds text.
fn everywhere(text: &str) -> Value {
    json!({"error": {
        "message": text, "code": text, "type": text, "error_type": text,
        "availability": {
            "code": text, "requested_models": [text], "fallback_models": [text],
            "affected_providers": [text], "excluded_by": [text],
        },
        "metadata": {
            "provider_name": text, "raw": text, "limit_source": text, "reason": text,
            "scope": text, "failed_routing_step": text, "error_type": text,
            "provider_code": text, "provider_error_code": text, "remedy_hint": text,
            "generation_id": text, "headers": {"Retry-After": text},
            "previous_errors": [{"provider": text, "code": text}],
        },
    }, "provider": text, "request_id": text, "id": text, "error_type": text})
}

#[test]
fn a_key_is_shown_nowhere() {
    let mut headers = HeaderMap::new();
    headers.insert("x-generation-id", KEY.parse().unwrap());
    headers.insert("content-type", KEY.parse().unwrap());
    for text in [
        KEY.to_owned(),
        format!("bad key {KEY}!"),
        format!("Bearer {KEY}"),
    ] {
        let json = everywhere(&text);
        let broken = format!("{{\"error\": \"{text}");
        for body in [
            json.to_string(),
            text.clone(),
            broken,
            format!("<p>{text}</p>"),
        ] {
            for status in [400, 401, 402, 403, 404, 418, 429, 500, 503] {
                let status = StatusCode::from_u16(status).unwrap();
                let fault = Fault::from_response(status, &headers, body.as_bytes());
                assert!(
                    !shown(&fault).contains(&KEY[9..20]),
                    "{status}: {}",
                    shown(&fault)
                );
            }
            for fault in [
                Fault::in_body(body.as_bytes()),
                Fault::from_frame(body.as_bytes()),
            ] {
                let shown = fault.as_ref().map(shown).unwrap_or_default();
                assert!(!shown.contains(&KEY[9..20]), "{shown}");
            }
        }
        for fault in [
            Fault::network(&text),
            Fault::local(&text),
            Fault::malformed(&text),
        ] {
            assert!(!shown(&fault).contains(&KEY[9..20]), "{}", shown(&fault));
        }
    }
}

#[test]
fn what_moderation_flagged_is_shown_nowhere() {
    let body = json!({"error": {"code": 403, "message": format!("flagged: {PROMPT}"), "metadata": {
        "reasons": ["x"], "flagged_input": PROMPT, "patterns": [PROMPT],
        "raw": format!("I will not say: {PROMPT}"),
    }}});
    let fault = Fault::from_response(
        StatusCode::FORBIDDEN,
        &HeaderMap::new(),
        body.to_string().as_bytes(),
    );
    assert!(!shown(&fault).contains("brown fox"), "{}", shown(&fault));
    assert!(shown(&fault).contains("[prompt]"), "{}", shown(&fault));
}

#[test]
fn what_a_provider_says_is_for_the_caller_only() {
    let body = json!({"error": {"code": 400, "message": "Provider returned error", "metadata": {
        "provider_name": "Acme", "raw": {"error": {"message": format!("cannot parse {PROMPT}")}},
    }}});
    let body = body.to_string();
    let fault = Fault::from_response(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    assert!(!format!("{fault} {fault:?}").contains("brown fox"));
    assert_eq!(
        fault.provider_message(),
        Some(format!("cannot parse {PROMPT}").as_str())
    );
}

#[test]
fn what_an_error_quotes_is_shown_nowhere() {
    for message in [
        format!("invalid value '{PROMPT}' at messages[0]"),
        format!("invalid value \"{PROMPT}"),
        format!("cannot parse {{\"role\":\"user\",\"content\":\"{PROMPT}\"}}"),
        format!("‘{PROMPT}’ is too long"),
    ] {
        let error = json!({"error": {"code": 400, "message": message}});
        let body = error.to_string();
        for fault in [
            Fault::from_response(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes()),
            Fault::in_body(body.as_bytes()).unwrap(),
            Fault::from_event(Some("error"), body.as_bytes()).unwrap(),
        ] {
            assert!(!shown(&fault).contains("brown fox"), "{}", shown(&fault));
        }
    }
}

#[test]
fn a_prompt_in_the_place_of_a_word_is_shown_nowhere() {
    let mut error = everywhere("x");
    for place in [
        "/error/error_type",
        "/error/code",
        "/error/type",
        "/error/availability/code",
        "/error/metadata/limit_source",
        "/error/metadata/reason",
        "/error/metadata/scope",
        "/error/metadata/error_type",
        "/error/metadata/provider_code",
        "/request_id",
        "/id",
    ] {
        *error.pointer_mut(place).unwrap() = json!(PROMPT);
    }
    let body = error.to_string();
    for status in [400, 403, 429, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let fault = Fault::from_response(status, &HeaderMap::new(), body.as_bytes());
        assert!(!shown(&fault).contains("brown fox"), "{}", shown(&fault));
    }
}

#[test]
fn broken_json_is_not_quoted() {
    let cut = format!("{{\"error\": {{\"message\": \"{PROMPT}");
    for status in [400, 429, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let fault = Fault::from_response(status, &HeaderMap::new(), cut.as_bytes());
        assert!(!shown(&fault).contains("brown fox"), "{}", shown(&fault));
    }
    for body in [
        format!("{{\"choices\": \"{PROMPT}\""),
        format!("[\"{PROMPT}\"]"),
    ] {
        let fault = Fault::in_body(body.as_bytes()).unwrap();
        assert!(!shown(&fault).contains("brown fox"), "{}", shown(&fault));
    }
}

#[test]
fn messages_are_bounded_and_hold_no_control_characters() {
    let long = format!("\u{1b}[2J{}", "long\u{7}\n ".repeat(10_000));
    let body = everywhere(&long).to_string();
    let fault = Fault::from_response(StatusCode::BAD_GATEWAY, &HeaderMap::new(), body.as_bytes());
    assert!(fault.message().chars().count() <= 500);
    assert!(fault.provider().unwrap().chars().count() <= 80);
    assert!(shown(&fault).len() < 10_000);
    assert!(!shown(&fault).contains(|c: char| c.is_control()));
}
