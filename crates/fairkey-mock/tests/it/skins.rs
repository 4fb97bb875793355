//! `/messages`, `/responses` and `/rerank`, each in its own words.

use fairkey_mock::{Account, Fault, Key, MockOpenRouter, On, Step};
use serde_json::{Value, json};

use crate::support::{Answer, MODEL, call, chat, open, post, with};

fn message(prompt: &str) -> Value {
    json!({"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": prompt}]})
}

fn response(prompt: &str) -> Value {
    json!({"model": MODEL, "input": prompt, "max_output_tokens": 20})
}

async fn messages(mock: &MockOpenRouter, body: &Value) -> Answer {
    call(mock, "POST", "/messages", "k", body).await
}

async fn responses(mock: &MockOpenRouter, body: &Value) -> Answer {
    call(mock, "POST", "/responses", "k", body).await
}

/// The names before the data, and the data.
fn named(answer: &Answer) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let mut name = String::new();
    for line in answer.body.lines() {
        if let Some(found) = line.strip_prefix("event: ") {
            name = found.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((
                std::mem::take(&mut name),
                serde_json::from_str(data).unwrap(),
            ));
        }
    }
    events
}

fn types(chunks: &[Value]) -> Vec<&str> {
    chunks
        .iter()
        .map(|chunk| chunk["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_says_the_same_whole_and_streamed() {
    let mock = open().await;
    let whole = messages(&mock, &message("Say something")).await.json();
    assert_eq!(whole["type"], "message");
    assert_eq!(whole["role"], "assistant");
    assert_eq!(whole["stop_reason"], "max_tokens");
    assert_eq!(whole["usage"]["input_tokens"], 4);
    assert_eq!(whole["usage"]["output_tokens"], 20);
    let text = whole["content"][0]["text"].as_str().unwrap();
    let chat_text = post(
        &mock,
        "k",
        &with(chat("Say something"), json!({"max_tokens": 20})),
    )
    .await;
    assert_eq!(
        chat_text.content(),
        text,
        "the prompt decides, not the format"
    );

    let streamed = with(message("Say something"), json!({"stream": true}));
    let answer = messages(&mock, &streamed).await;
    assert!(answer.header("x-generation-id").is_some());
    let events = named(&answer);
    for (name, data) in &events {
        assert_eq!(data["type"], **name);
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    let tail = &names[names.len() - 3..];
    assert_eq!(
        tail,
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let said: String = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["text"].as_str())
        .collect();
    assert_eq!(said, text);
    let usage = &events[events.len() - 2].1["usage"];
    assert_eq!(usage["cost"], whole["usage"]["cost"]);
    assert!(!answer.body.contains("[DONE]"));
}

#[tokio::test]
async fn a_response_says_the_same_whole_and_streamed() {
    let mock = open().await;
    let whole = responses(&mock, &response("Say something")).await.json();
    assert_eq!(whole["object"], "response");
    assert_eq!(whole["status"], "incomplete");
    assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(whole["usage"]["total_tokens"], 24);
    let text = whole["output"][0]["content"][0]["text"].as_str().unwrap();

    let streamed = with(response("Say something"), json!({"stream": true}));
    let answer = responses(&mock, &streamed).await;
    let chunks = answer.chunks();
    let kinds = types(&chunks);
    assert_eq!(
        kinds[..4],
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added"
        ]
    );
    assert_eq!(
        kinds[kinds.len() - 4..],
        [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete"
        ]
    );
    for (number, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["sequence_number"], number);
    }
    let said: String = chunks
        .iter()
        .filter_map(|chunk| chunk["delta"].as_str())
        .collect();
    assert_eq!(said, text);
    let last = &chunks[chunks.len() - 1]["response"];
    assert_eq!(last["usage"], whole["usage"]);
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let short = with(
        response("Say something"),
        json!({"max_output_tokens": 1000, "stream": true}),
    );
    let chunks = responses(&mock, &short).await.chunks();
    assert_eq!(chunks.last().unwrap()["type"], "response.completed");
}

#[tokio::test]
async fn forced_tools_are_called_in_each_format() {
    let mock = open().await;
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!({
        "tools": [{"name": "weather", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "max_tokens": 1000,
    });
    let ask = with(message("x"), tools);
    let whole = messages(&mock, &ask).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(whole["content"][0]["type"], "tool_use");
    assert!(whole["content"][0]["input"]["city"].is_string());
    let events = named(&messages(&mock, &with(ask, json!({"stream": true}))).await);
    let json: String = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["partial_json"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        whole["content"][0]["input"]
    );

    let tools = json!({
        "tools": [{"type": "function", "name": "weather", "parameters": schema}],
        "tool_choice": "required",
        "max_output_tokens": 1000,
    });
    let ask = with(response("x"), tools);
    let item = responses(&mock, &ask).await.json()["output"][0].clone();
    assert_eq!(
        (&item["type"], &item["name"]),
        (&json!("function_call"), &json!("weather"))
    );
    let chunks = responses(&mock, &with(ask, json!({"stream": true})))
        .await
        .chunks();
    assert!(types(&chunks).contains(&"response.function_call_arguments.done"));
    let json: String = chunks
        .iter()
        .filter_map(|chunk| chunk["delta"].as_str())
        .collect();
    assert_eq!(item["arguments"], json);
}

#[tokio::test]
async fn refusals_come_in_the_format_of_the_call() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(0.0))
        .key(Key::new("k").account("acme"))
        .start()
        .await
        .unwrap();
    let answer = messages(&mock, &message("x")).await;
    let json = answer.json();
    assert_eq!((answer.status, &json["type"]), (402, &json!("error")));
    assert_eq!(json["error"]["type"], "billing_error");
    assert_eq!(json["metadata"]["limit_source"], "openrouter_credits");
    assert_eq!(json["request_id"], Value::Null);
    let answer = responses(&mock, &response("x")).await;
    assert_eq!(answer.json()["error"]["code"], 402);
    assert_eq!(answer.limit_source().as_deref(), Some("openrouter_credits"));
    for (body, status) in [(json!({}), 400), (json!([1]), 400), (json!("x"), 400)] {
        let answer = messages(&mock, &body).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["type"]),
            (status, &json!("invalid_request_error"))
        );
        assert_eq!(responses(&mock, &body).await.status, status);
    }
    let stateful = with(response("x"), json!({"store": true}));
    assert_eq!(responses(&mock, &stateful).await.status, 400);
    let unknown = call(&mock, "POST", "/messages", "nobody", &message("x")).await;
    assert_eq!(unknown.json()["error"]["type"], "authentication_error");
    let four: Vec<Value> = (0..4).map(|n| json!({"model": format!("a/{n}")})).collect();
    let answer = messages(&mock, &with(message("x"), json!({"fallbacks": four}))).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn failures_inside_a_200_come_in_the_format_of_the_call() {
    for chunks in [0, 2] {
        let mock = open().await;
        let fault = Fault::overloaded_503("OpenAI").after_chunks(chunks);
        mock.script(On::any(), [Step::reply(fault).forever()]);
        let whole = messages(&mock, &message("x")).await;
        assert_eq!(
            (whole.status, &whole.json()["type"]),
            (200, &json!("error"))
        );
        let events = named(&messages(&mock, &with(message("x"), json!({"stream": true}))).await);
        assert_eq!(
            events.len(),
            3 + chunks + 1,
            "the role, the chunks, the error, and no stop"
        );
        let (name, data) = events.last().unwrap();
        assert_eq!(name, "error");
        assert_eq!(data["error"]["type"], "overloaded_error");
        assert_eq!(data["error"]["error_type"], "provider_overloaded");

        let whole = responses(&mock, &response("x")).await;
        assert_eq!(
            (whole.status, &whole.json()["status"]),
            (200, &json!("failed"))
        );
        let chunks_seen = responses(&mock, &with(response("x"), json!({"stream": true}))).await;
        let seen = chunks_seen.chunks();
        assert_eq!(seen.len(), 4 + chunks + 1);
        let last = seen.last().unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["error"]["code"], "server_error");
        assert_eq!(last["response"]["error_type"], "provider_overloaded");
        assert_eq!(mock.counters().total.cost_usd(), 0.0);
    }
    let mock = open().await;
    mock.script(On::any(), [Step::reply(Fault::error_in_200()).forever()]);
    let bare = responses(&mock, &with(response("x"), json!({"stream": true})))
        .await
        .chunks();
    assert_eq!((bare.len(), &bare[0]["type"]), (1, &json!("error")));
}

#[tokio::test]
async fn a_truncated_stream_has_no_end_in_any_format() {
    let mock = open().await;
    mock.script(On::any(), [Step::truncate_after_chunks(2).forever()]);
    let events = named(&messages(&mock, &with(message("x"), json!({"stream": true}))).await);
    assert_eq!(events.len(), 3 + 2);
    let answer = responses(&mock, &with(response("x"), json!({"stream": true}))).await;
    assert_eq!(types(&answer.chunks()).len(), 4 + 2);
    assert!(!answer.body.contains("[DONE]"));
}

#[tokio::test]
async fn rerank_orders_documents_by_relevance() {
    let mock = open().await;
    let body = json!({
        "model": "cohere/rerank-v3.5",
        "query": "capital of France",
        "documents": ["Berlin is in Germany", {"text": "Paris is the capital of France"}, "x"],
        "top_n": 2,
    });
    let json = call(&mock, "POST", "/rerank", "k", &body).await.json();
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["index"], 1);
    assert_eq!(
        results[0]["document"]["text"],
        "Paris is the capital of France"
    );
    let score = |at: usize| results[at]["relevance_score"].as_f64().unwrap();
    assert!(score(0) > score(1) && score(0) <= 1.0);
    assert_eq!(json["usage"]["search_units"], 1);
    assert!(json["usage"]["cost"].as_f64().unwrap() > 0.0);
    for body in [
        json!({"query": "x"}),
        json!({"documents": ["x"]}),
        json!({"query": "x", "documents": []}),
    ] {
        let body = with(body, json!({"model": "cohere/rerank-v3.5"}));
        assert_eq!(call(&mock, "POST", "/rerank", "k", &body).await.status, 400);
    }
    let chat_model = with(body, json!({"model": MODEL}));
    assert_eq!(
        call(&mock, "POST", "/rerank", "k", &chat_model)
            .await
            .status,
        400
    );
}
