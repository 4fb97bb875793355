//! Whatever comes in, an answer goes out: nothing makes the mock panic.

use fairkey_mock::{Account, Key, Limit, MockOpenRouter};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::{request, send};

const POSTS: [&str; 12] = [
    "/chat/completions",
    "/completions",
    "/messages",
    "/responses",
    "/embeddings",
    "/rerank",
    "/keys",
    "/images",
    "/audio/speech",
    "/audio/transcriptions",
    "/videos",
    "/nothing",
];

/// Any JSON, made of the words that the mock looks for.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "openai/gpt-4o-mini",
            "google/gemini-2.5-flash:nitro",
            "openai/text-embedding-3-small",
            "cohere/rerank-v3.5",
            "required",
            "json_object",
            "price",
            "2026-10-01T00:00:00Z",
            "daily",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = prop::sample::select(vec![
            "model",
            "models",
            "messages",
            "role",
            "content",
            "text",
            "type",
            "stream",
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "tools",
            "tool_choice",
            "function",
            "name",
            "parameters",
            "properties",
            "items",
            "enum",
            "response_format",
            "json_schema",
            "schema",
            "provider",
            "order",
            "only",
            "ignore",
            "allow_fallbacks",
            "max_price",
            "prompt",
            "completion",
            "sort",
            "by",
            "quantizations",
            "require_parameters",
            "input",
            "instructions",
            "system",
            "query",
            "documents",
            "top_n",
            "fallbacks",
            "limit",
            "limit_reset",
            "expires_at",
            "disabled",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..8).prop_map(|members| {
                let members = members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value));
                Value::Object(members.collect())
            }),
        ]
    })
}

/// A body that is right but for one member.
fn nearly_right() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "model",
        "messages",
        "input",
        "prompt",
        "query",
        "documents",
        "max_tokens",
        "tools",
        "tool_choice",
        "response_format",
        "provider",
        "stream",
        "top_n",
        "name",
        "limit",
    ]);
    (name, json()).prop_map(|(name, value)| {
        let mut body = json!({
            "model": "openai/gpt-4o-mini",
            "messages": [{"role": "user", "content": "hello"}],
            "input": "hello",
            "prompt": "hello",
            "query": "hello",
            "documents": ["hello"],
            "name": "hello",
        });
        body[name] = value;
        body
    })
}

fn bodies() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => nearly_right().prop_map(|body| body.to_string()),
        2 => json().prop_map(|body| body.to_string()),
        1 => "\\PC{0,80}",
    ]
}

async fn world() -> MockOpenRouter {
    let second = std::time::Duration::from_secs(1);
    MockOpenRouter::builder()
        .account(
            Account::new("acme")
                .balance_usd(1e6)
                .in_flight_budget_usd(1e5)
                .limit(Limit::tokens(u64::MAX, second).each_model()),
        )
        .key(Key::new("k").account("acme").limit_usd(1e6))
        .key(Key::management("m").account("acme"))
        .any_model(true)
        .log_capacity(16)
        .start()
        .await
        .unwrap()
}

#[test]
fn garbage_in_a_body_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mock = runtime.block_on(world());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let cases = (prop::sample::select(POSTS.to_vec()), bodies());
    runner
        .run(&cases, |(path, body)| {
            let key = if path == "/keys" { "m" } else { "k" };
            let call = send(&mock, request(&mock, "POST", path, Some(key), body));
            let answer = runtime.block_on(call);
            let answer = answer.map_err(|error| TestCaseError::fail(format!("{path}: {error}")))?;
            prop_assert!(answer.complete, "{path}");
            prop_assert!(answer.status < 500, "{path}: {answer:?}");
            Ok(())
        })
        .unwrap();
    assert_eq!(mock.counters().total.in_flight, 0);
}

#[test]
fn garbage_in_a_path_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mock = runtime.block_on(world());
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    let start = prop::sample::select(vec![
        "/videos/",
        "/files/",
        "/models?",
        "/models/",
        "/model/",
        "/keys/",
        "/keys?",
        "/generation?id=",
        "/",
        "/models/a/b/endpoints?",
        "/models/count?",
    ]);
    let rest = "[a-z0-9/?&=%+.:~-]{0,40}";
    let method = prop::sample::select(vec!["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"]);
    runner
        .run(&(start, rest, method), |(start, rest, method)| {
            let path = format!("{start}{rest}");
            let call = send(&mock, request(&mock, method, &path, Some("m"), "{}"));
            let answer = runtime.block_on(call);
            let answer = answer.map_err(|error| TestCaseError::fail(format!("{path}: {error}")))?;
            prop_assert!(answer.status < 500, "{method} {path}: {answer:?}");
            Ok(())
        })
        .unwrap();
}
