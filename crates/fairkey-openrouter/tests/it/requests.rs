//! Requests: what holds for every body, and a small schema of our own.

use fairkey_openrouter::{ChatRequest, ProviderPreferences, fuzzing};
use proptest::prelude::*;
use proptest::strategy::Strategy;
use serde_json::{Map, Value, json};

/// Bodies with the members of requests, often of the type that they should have.
fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..300).prop_map(Value::from),
        (-3.0f64..3.0).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    });
    let fits = prop_oneof![
        Just(("model", json!("a/b:nitro"))),
        Just(("models", json!(["a/b", "c/d"]))),
        Just(("messages", json!([{"role": "user", "content": "Hi"}]))),
        Just(("input", json!("Hi"))),
        Just(("query", json!("q"))),
        Just(("documents", json!(["d", {"text": "e"}]))),
        Just((
            "tools",
            json!([{"type": "function", "function": {"name": "f"}}])
        )),
        Just(("stop", json!("END"))),
        Just(("temperature", json!(0.5))),
        Just(("max_tokens", json!(7))),
        Just((
            "provider",
            json!({"order": ["x", "AWS Bedrock"], "sort": "price"})
        )),
        Just(("reasoning", json!({"effort": "low"}))),
    ]
    .prop_map(|(name, value)| (name.to_owned(), value));
    let any = (word(), value);
    prop::collection::vec(prop_oneof![3 => fits, 2 => any], 0..10)
        .prop_map(|members| Value::Object(Map::from_iter(members)))
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "model", "messages", "input", "role", "content", "type", "text", "provider", "only",
            "order", "ignore", "sort", "by", "partition", "max_price", "prompt", "tools", "function",
            "name", "tool_choice", "required", "stop", "plugins", "id", "reasoning", "effort", "low",
            "metadata", "preferred_max_latency", "p50", "service_tier", "flex", "extra", "a/b",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
}

proptest! {
    #[test]
    fn requests_of_every_kind_survive_their_own_bytes(body in body()) {
        fuzzing::request(body.to_string().as_bytes());
    }

    #[test]
    fn what_is_read_is_written_with_the_same_values(body in body()) {
        if let Ok(request) = ChatRequest::from_slice(body.to_string().as_bytes()) {
            let written: Value = serde_json::from_slice(&request.to_bytes()).unwrap();
            let mut expected = normal(&body);
            expected.as_object_mut().unwrap().entry("messages").or_insert_with(|| json!([]));
            prop_assert_eq!(normal(&written), expected);
        }
    }
}

/// Without `null`s, which mean the same as nothing, and with every number as a float.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), normal(value)))
            .collect(),
        other => other.clone(),
    }
}

/// The types of members, in a schema of our own: for each name, what JSON it may be.
#[test]
fn a_request_with_every_scalar_has_the_types_that_are_documented() {
    let request = ChatRequest::new("a/b")
        .user("Hi")
        .stream(true)
        .max_tokens(1)
        .temperature(1.0)
        .seed(-1)
        .stop("END")
        .logprobs(true)
        .user_id("u")
        .session_id("s")
        .models(["c/d"])
        .provider(ProviderPreferences::new().zdr(true));
    let json = serde_json::to_value(&request).unwrap();
    let kinds: Vec<(&str, &str)> = json
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), kind(value)))
        .collect();
    assert_eq!(
        kinds,
        [
            ("logprobs", "boolean"),
            ("max_tokens", "integer"),
            ("messages", "array"),
            ("model", "string"),
            ("models", "array"),
            ("provider", "object"),
            ("seed", "integer"),
            ("session_id", "string"),
            ("stop", "string"),
            ("stream", "boolean"),
            ("temperature", "number"),
            ("user", "string"),
        ]
    );
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
