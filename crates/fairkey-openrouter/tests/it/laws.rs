//! What holds for every input.

use std::time::Duration;

use fairkey_core::Timestamp;
use fairkey_openrouter::{ChatChunk, ChatRequest, ChatResponse, Fault, KeyInfo, fuzzing};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON, with the member names and words of error bodies among its texts.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..700).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "error", "code", "message", "metadata", "type", "status", "availability", "headers",
            "Retry-After", "X-RateLimit-Reset", "limit_source", "error_type", "provider_name",
            "raw", "previous_errors", "reason", "scope", "resets_at", "patterns", "choices",
            "finish_reason", "delta", "content", "usage", "openrouter_credits", "retryable",
            "rate_limit_exceeded", "failed", "429", "2026-10-13T14:00:00Z", "1791900000000",
            "Key limit exceeded (daily limit)", "can only afford 12", "retry after 5 seconds",
            "models", "model", "provider", "max_price", "sort", "messages", "role", "user",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "retry-after",
        "x-ratelimit-reset",
        "x-ratelimit-limit",
        "content-type",
        "x-generation-id",
    ]);
    let value = prop_oneof![word().prop_map(String::into_bytes), any::<Vec<u8>>()];
    prop::collection::vec((name, value), 0..4).prop_map(|list| {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

proptest! {
    #[test]
    fn every_refusal_has_one_scope(
        status in 100u16..1000, headers in headers(), body in json(), wall in any::<u64>(),
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let fault = Fault::from_response(status, &headers, body.to_string().as_bytes());
        let outcome = fault.outcome(Timestamp::ZERO, Duration::from_secs(wall));
        prop_assert_eq!(outcome.scope(), Some(fault.scope()));
        prop_assert!(fault.message().chars().count() <= 500);
    }

    #[test]
    fn reading_faults_is_total(status in 100u16..1000, body in any::<Vec<u8>>()) {
        let status = status.to_be_bytes();
        fuzzing::error_body(&[&status, body.as_slice()].concat());
    }

    #[test]
    fn reading_faults_in_json_is_total(body in json()) {
        fuzzing::error_body(&[b"\x01\x91", body.to_string().as_bytes()].concat());
        let wrapped = serde_json::json!({"error": body, "choices": [{"error": body}]});
        fuzzing::error_body(&[b"\x00\x00", wrapped.to_string().as_bytes()].concat());
    }

    #[test]
    fn hints_are_bounded_whatever_the_header(value in any::<Vec<u8>>()) {
        fuzzing::retry_after(&value);
    }

    #[test]
    fn an_unknown_member_changes_nothing(
        known in prop::sample::select(vec![
            r#"{"error":{"code":429,"message":"m","metadata":{"provider_name":"Acme"}}}"#,
            concat!(
    r#"{"error":{"code":402,"message":"m","#,
    r#""metadata":{"limit_source":"openrouter_credits"}}}"#,
),
            r#"{"error":{"code":401,"message":"User not found."}}"#,
        ]),
        name in "later_[a-z]{1,8}",
        value in json(),
    ) {
        let plain: Value = serde_json::from_str(known).unwrap();
        let mut more = plain.clone();
        for at in ["", "/error", "/error/metadata"] {
            if let Some(Value::Object(members)) = more.pointer_mut(at) {
                members.insert(name.clone(), value.clone());
            }
        }
        let read = |json: &Value| {
            let body = json.to_string();
            Fault::from_response(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes())
        };
        prop_assert_eq!(read(&plain), read(&more));
    }

    #[test]
    fn an_unknown_word_is_as_good_as_none(
        word in "later_[a-z]{1,8}",
        status in prop::sample::select(vec![400u16, 401, 402, 403, 404, 429, 500, 502, 503]),
    ) {
        let read = |metadata: Value| {
            let body = serde_json::json!({"error": {"message": "m", "metadata": metadata}});
            let status = StatusCode::from_u16(status).unwrap();
            Fault::from_response(status, &HeaderMap::new(), body.to_string().as_bytes()).cause()
        };
        let unknown = serde_json::json!({"error_type": word, "limit_source": word, "reason": word});
        prop_assert_eq!(read(unknown), read(Value::Null));
    }

    #[test]
    fn events_do_not_depend_on_where_the_bytes_are_cut(stream in sse_stream()) {
        fuzzing::sse(&stream);
    }

    #[test]
    fn streams_do_not_depend_on_where_the_bytes_are_cut(stream in chat_stream()) {
        fuzzing::chat_stream(stream.as_bytes());
    }

    #[test]
    fn event_streams_do_not_depend_on_where_the_bytes_are_cut(
        format in prop::sample::select(vec!["m", "r", "o"]), stream in event_stream(),
    ) {
        fuzzing::event_stream(format!("{format}{stream}").as_bytes());
    }

    #[test]
    fn reading_whole_answers_is_total(
        status in 100u16..1000, header in "[a-z-]{1,12}: .{0,20}", body in json(),
    ) {
        let answer = format!("{status}\n{header}\nretry-after: 7\n\n{body}");
        fuzzing::answer(answer.as_bytes());
    }

    #[test]
    fn a_request_keeps_every_unknown_member(members in json()) {
        let Value::Object(members) = members else { return Ok(()) };
        let mut json = serde_json::json!({"model": "a/b", "messages": [{"role": "user"}]});
        for (name, value) in members {
            json[format!("later_{name}")] = value.clone();
            json["messages"][0][format!("later_{name}")] = value;
        }
        let request = ChatRequest::from_slice(json.to_string().as_bytes()).unwrap();
        // Not `to_value`: numbers go through text, as they do on the wire.
        let json: Value = serde_json::from_str(&json.to_string()).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&request.to_bytes()).unwrap(), json);
    }

    #[test]
    fn lenient_types_never_panic(body in json()) {
        let body = body.to_string();
        let _ = ChatResponse::from_slice(body.as_bytes());
        let _ = KeyInfo::from_slice(body.as_bytes());
        let _ = serde_json::from_str::<ChatChunk>(&body);
    }
}

/// Pieces of event streams in any order: lines whole and broken, ends of every kind.
fn sse_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "data: a", "data:", "data", "event: e", "id: 1", ": c", ":", "retry: 1", "\u{feff}",
            "é", "data: é🦀", "x", "data: {\"a\":1}", "data: 0123456789012345678901234567890123456",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        6 => prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

/// Events of the Messages and the Responses formats in any order, whole and broken.
fn event_stream() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ": OPENROUTER PROCESSING\n\n",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"é\"}}\r\n\r\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n",
        "data: {\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n",
        "event: error\ndata: x\n\n",
        "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\"}}\n\n",
        "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\"}}\n\n",
        "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
        "data: {\"type\":\"message_st",
        "data: x\n\n",
        "\n",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn chat_stream() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ": OPENROUTER PROCESSING\n\n",
        "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"error\":{\"code\":429,\"message\":\"m\"}}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
        "data: [DONE]\n\n",
        "data: [DONE]",
        "data: {\"cho",
        "data: x\n\n",
        "\n",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
