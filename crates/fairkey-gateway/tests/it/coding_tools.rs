//! What coding tools send: as those that speak Messages and those that speak Responses do.

use bytes::Bytes;
use fairkey_gateway::Settings;
use fairkey_strategy::{Sticky, WeightedLeastInFlight};
use http::Request;

use crate::world::*;

/// As tools that speak Messages ask: parts with marks for the cache, tools, thinking, a user.
const MESSAGES: &str = r#"{"model":"anthropic/claude-sonnet-4.5","max_tokens":32000,"stream":true,
"system":[{"type":"text","text":"You are a coding tool."},
{"type":"text","text":"Rules.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
"messages":[{"role":"user","content":[{"type":"text","text":"<context>"},
{"type":"text","text":"List the files.","cache_control":{"type":"ephemeral"}}]},
{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},
{"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command":"ls"}}]},
{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1",
"content":[{"type":"text","text":"a.rs"}],"is_error":false}]}],
"tools":[{"name":"Bash","description":"Runs a command","input_schema":{"type":"object",
"properties":{"command":{"type":"string"}}},"cache_control":{"type":"ephemeral"}}],
"thinking":{"type":"enabled","budget_tokens":31999},"metadata":{"user_id":"user_1_session_2"}}"#;

/// As tools that speak Responses ask: nothing is stored, reasoning comes back encrypted.
const RESPONSES: &str = r#"{"model":"openai/gpt-4o-mini","stream":true,"store":false,
"instructions":"You are a coding tool.","include":["reasoning.encrypted_content"],
"prompt_cache_key":"session-1","parallel_tool_calls":false,"tool_choice":"auto",
"reasoning":{"effort":"medium","summary":"auto"},
"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"List."}]},
{"type":"function_call","call_id":"call_1","name":"shell","arguments":"{\"command\":[\"ls\"]}"},
{"type":"function_call_output","call_id":"call_1","output":"a.rs"}],
"tools":[{"type":"function","name":"shell","description":"Runs a command","strict":false,
"parameters":{"type":"object","properties":{"command":{"type":"array",
"items":{"type":"string"}}},"required":["command"]}}]}"#;

fn anthropic(world: &World, line: &str, body: &'static str) -> Request<Bytes> {
    let mut request = world.request(line, body);
    let headers = request.headers_mut();
    headers.remove("authorization");
    for (name, value) in [
        ("x-api-key", "of-the-caller"),
        ("anthropic-version", "2023-06-01"),
        (
            "anthropic-beta",
            "claude-code-20250219,interleaved-thinking-2025-05-14",
        ),
        ("x-app", "cli"),
        ("x-stainless-retry-count", "0"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn tools_that_speak_messages_are_served() {
    within(async {
        let world = start(mock()).await;
        for path in ["/v1/messages?beta=true", "/api/v1/messages"] {
            let request = anthropic(&world, &format!("POST {path}"), MESSAGES);
            let answer = world.fetch(request).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = answer.text();
            assert!(text.contains("event: message_start\n"), "{text}");
            let last = text.trim_end().rsplit("\n\n").next().unwrap();
            assert!(last.starts_with("event: message_stop"), "{text}");
        }
        // Whoever lists models gets OpenRouter's list, by whatever client it asks.
        let request = anthropic(&world, "GET /v1/models?limit=1000", "");
        let listed = world.fetch(request).await;
        assert!(listed.json()["data"][0]["id"].is_string(), "{listed:?}");
        world.is_idle().await;
    })
    .await;
}

#[tokio::test]
async fn tools_that_speak_responses_are_served_and_a_session_keeps_its_key() {
    within(async {
        let world = World::start(mock(), Settings::default(), |client| {
            client.strategy(Sticky::new(WeightedLeastInFlight::new()))
        });
        let world = world.await;
        let mut keys = Vec::new();
        for _ in 0..4 {
            let mut request = world.request("POST /v1/responses", RESPONSES);
            let headers = request.headers_mut();
            headers.insert("originator", "a_tool".parse().unwrap());
            headers.insert("session_id", "session-1".parse().unwrap());
            let answer = world.fetch(request).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = answer.text();
            assert!(text.contains(r#""type":"response.created""#), "{text}");
            assert!(text.contains(r#""type":"response.completed""#), "{text}");
            keys.push(answer.header("x-fairkey-key").to_owned());
        }
        keys.dedup();
        assert_eq!(keys.len(), 1, "one session, one key: {keys:?}");
    })
    .await;
}

#[tokio::test]
async fn what_openrouter_lacks_is_a_404_in_the_format_of_whose_client_asks() {
    within(async {
        let world = start(mock()).await;
        let request = anthropic(&world, "POST /v1/messages/count_tokens?beta=true", "{}");
        let answer = world.fetch(request).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.json()["type"], "error");
        assert_eq!(answer.json()["error"]["type"], "not_found_error");
        let answer = world.call("GET /v1/responses/resp-1", "").await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        let answer = world.call("POST /v1/fine_tuning/jobs", "{}").await;
        assert_eq!(answer.json()["error"]["code"], 404, "{answer:?}");
        assert!(
            world.keys_at("/").is_empty(),
            "nobody upstream is asked about them"
        );
    })
    .await;
}
