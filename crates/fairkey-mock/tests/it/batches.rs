//! Batches.

use std::time::Duration;

use fairkey_mock::{Account, Key, MockOpenRouter};
use serde_json::{Value, json};

use crate::support::{Answer, MODEL, call_at_root, chat, get, post};

const PATH: &str = "/api/beta/batches";

async fn world() -> MockOpenRouter {
    MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(10.0))
        .account(Account::new("other"))
        .key(Key::new("k").account("acme"))
        .key(Key::new("sibling").account("acme"))
        .key(Key::new("stranger").account("other"))
        .key(Key::management("manager").account("acme"))
        .job_duration(Duration::from_secs(3000))
        .start()
        .await
        .unwrap()
}

/// In this order, which matters.
fn batch(endpoint: &str, model: &str, requests: &Value) -> String {
    format!(r#"{{"endpoint":"{endpoint}","model":"{model}","requests":{requests}}}"#)
}

fn line(id: &str, prompt: &str) -> Value {
    json!({"custom_id": id, "body": {"messages": [{"role": "user", "content": prompt}]}})
}

async fn create(mock: &MockOpenRouter, body: &str) -> Answer {
    call_at_root(mock, "POST", PATH, "k", body).await
}

async fn look(mock: &MockOpenRouter, id: &str, key: &str) -> Answer {
    call_at_root(mock, "GET", &format!("{PATH}/{id}"), key, "").await
}

#[tokio::test]
async fn a_batch_goes_through_its_states_and_is_billed_at_half_the_price() {
    let mock = world().await;
    let requests = json!([line("a", "one"), line("b", "two"), {"custom_id": "c", "body": {}}]);
    let answer = create(&mock, &batch("/v1/chat/completions", MODEL, &requests)).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let made = answer.json();
    assert_eq!(
        (&made["object"], &made["status"]),
        (&json!("batch"), &json!("validating"))
    );
    assert_eq!(
        made["request_counts"],
        json!({"total": 3, "completed": 0, "failed": 0})
    );
    let id = made["id"].as_str().unwrap();
    for status in ["validating", "in_progress", "finalizing"] {
        let json = look(&mock, id, "k").await.json();
        assert_eq!(
            (&json["status"], &json["results"]),
            (&json!(status), &Value::Null)
        );
        mock.advance(Duration::from_secs(1000));
    }
    let json = look(&mock, id, "sibling").await.json();
    assert_eq!(json["status"], "completed");
    assert_eq!(
        json["request_counts"],
        json!({"total": 3, "completed": 2, "failed": 1})
    );
    let results = json["results"].as_array().unwrap();
    let single = post(&mock, "stranger", &chat("one")).await.json();
    let body = &results[0]["response"]["body"];
    assert_eq!(
        body["choices"], single["choices"],
        "as the endpoint would answer"
    );
    assert!(body["id"].as_str().unwrap().starts_with("gen-batch-"));
    let half = single["usage"]["cost"].as_f64().unwrap() / 2.0;
    assert!((body["usage"]["cost"].as_f64().unwrap() - half).abs() < 1e-12);
    assert_eq!(results[2]["response"], Value::Null);
    assert_eq!(results[2]["error"]["code"], 400);
    let cost = json["usage"]["cost"].as_f64().unwrap();
    assert!((10.0 - mock.balance_usd("acme") - cost).abs() < 1e-9);
    let usage = get(&mock, "/key", "k").await.json()["data"]["usage"]
        .as_f64()
        .unwrap();
    assert!(
        (usage - cost).abs() < 1e-9,
        "charged once, to the key that made it"
    );
    assert_eq!(look(&mock, id, "stranger").await.status, 404);
    assert_eq!(look(&mock, "batch-none", "k").await.status, 404);
}

#[tokio::test]
async fn each_endpoint_answers_in_its_own_shape() {
    let mock = world().await;
    let embedder = "openai/text-embedding-3-small";
    for (endpoint, model, body, member) in [
        ("/v1/responses", MODEL, json!({"input": "x"}), "output"),
        (
            "/v1/messages",
            MODEL,
            line("", "x")["body"].clone(),
            "stop_reason",
        ),
        ("/v1/embeddings", embedder, json!({"input": "x"}), "data"),
    ] {
        let requests = json!([{"custom_id": "a", "body": body}]);
        let made = create(&mock, &batch(endpoint, model, &requests))
            .await
            .json();
        mock.advance(Duration::from_secs(3000));
        let json = look(&mock, made["id"].as_str().unwrap(), "k").await.json();
        let body = &json["results"][0]["response"]["body"];
        assert!(!body[member].is_null(), "{endpoint}: {json}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_batch_is_said_at_once() {
    let mock = world().await;
    let chat = "/v1/chat/completions";
    let two = json!([line("a", "x"), line("a", "y")]);
    let other = json!([{"custom_id": "a", "body": {"model": "openai/gpt-4o", "messages": []}}]);
    let image = json!([{"custom_id": "a", "body": {"messages":
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}}]);
    let formats = json!([
        {"custom_id": "a", "body": {"response_format": {"type": "json_object"}}},
        {"custom_id": "b", "body": {}},
    ]);
    for (body, says) in [
        (batch(chat, MODEL, &two), "not unique"),
        (batch(chat, MODEL, &other), "not that of the batch"),
        (batch(chat, MODEL, &image), "text only"),
        (
            batch(chat, "google/gemini-2.5-flash", &formats),
            "response_format",
        ),
        (batch(chat, MODEL, &json!([])), "must not be empty"),
        (
            batch("/v1/rerank", MODEL, &json!([line("a", "x")])),
            "Invalid endpoint",
        ),
        (
            batch(chat, "nobody/nothing", &json!([line("a", "x")])),
            "not a valid model",
        ),
        (
            format!(r#"{{"requests":[],"endpoint":"{chat}","model":"{MODEL}"}}"#),
            "precede",
        ),
        ("{}".to_owned(), "requests"),
        ("[".to_owned(), "Invalid request body"),
    ] {
        let answer = create(&mock, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(
            answer.message().contains(says),
            "{body}: {}",
            answer.message()
        );
    }
}

#[tokio::test]
async fn who_may_not_spend_may_not_batch() {
    let mock = world().await;
    let body = batch("/v1/chat/completions", MODEL, &json!([line("a", "x")]));
    let answer = call_at_root(&mock, "POST", PATH, "manager", &body).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        call_at_root(&mock, "POST", PATH, "nobody", &body)
            .await
            .status,
        401
    );
    mock.set_balance("acme", 0.0);
    assert_eq!(
        create(&mock, &body).await.limit_source().as_deref(),
        Some("openrouter_credits")
    );
}
