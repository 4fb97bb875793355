//! Batches.

use std::time::Duration;

use fairkey_mock::{Account, BatchPlan, Event, EventKind, Fault, Key, MockOpenRouter, On, Step};
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

fn lines(count: usize) -> Value {
    let lines = (1..=count).map(|n| line(&format!("r-{n}"), &format!("prompt {n}")));
    Value::Array(lines.collect())
}

#[tokio::test]
async fn a_batch_ends_as_it_is_planned() {
    let mock = world().await;
    let hour = Duration::from_secs(3600);
    mock.plan_batches([
        BatchPlan::fails("no room").after(hour),
        BatchPlan::is_cancelled().after(hour * 3),
        BatchPlan::expires().billed(1),
    ]);
    let body = batch("/v1/chat/completions", MODEL, &lines(2));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let made = create(&mock, &body).await.json();
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let before = mock.balance_usd("acme");
    let mut seen = [vec![], vec![], vec![]];
    for _ in 0..26 {
        for (id, seen) in ids.iter().zip(&mut seen) {
            let json = look(&mock, id, "k").await.json();
            assert_eq!(json["results"], Value::Null);
            seen.push(json["status"].as_str().unwrap().to_owned());
            seen.dedup();
        }
        mock.advance(hour);
    }
    let joined = seen.map(|statuses| statuses.join(" "));
    assert_eq!(joined[0], "validating failed");
    assert_eq!(joined[1], "validating in_progress cancelling cancelled");
    assert_eq!(joined[2], "validating in_progress expired");
    let failed = look(&mock, &ids[0], "k").await.json();
    assert_eq!(failed["error"]["message"], "no room");
    let expired = look(&mock, &ids[2], "k").await.json();
    assert_eq!(
        expired["request_counts"],
        json!({"total": 2, "completed": 1, "failed": 0})
    );
    let cost = expired["usage"]["cost"].as_f64().unwrap();
    let spent = before - mock.balance_usd("acme");
    assert!(cost > 0.0 && (spent - cost).abs() < 1e-9, "{spent} {cost}");
    mock.advance(hour * 24 * 30);
    assert_eq!(look(&mock, &ids[0], "k").await.status, 404, "deleted");
}

#[tokio::test]
async fn planned_requests_fail_and_results_come_in_an_order_of_their_own() {
    let mock = world().await;
    let hour = Duration::from_secs(3600);
    mock.plan_batches([BatchPlan::completes()
        .after(hour)
        .failing(["r-2"])
        .failing_every(5)
        .shuffled()]);
    let body = batch("/v1/chat/completions", MODEL, &lines(12));
    let made = create(&mock, &body).await.json();
    mock.advance(hour);
    let json = look(&mock, made["id"].as_str().unwrap(), "k").await.json();
    assert_eq!(
        json["request_counts"],
        json!({"total": 12, "completed": 9, "failed": 3})
    );
    let results = json["results"].as_array().unwrap();
    let ids: Vec<&str> = (results.iter())
        .map(|result| result["custom_id"].as_str().unwrap())
        .collect();
    let asked: Vec<String> = (1..=12).map(|n| format!("r-{n}")).collect();
    assert_ne!(ids, asked);
    let mut sorted = ids.clone();
    sorted.sort_by_key(|id| id[2..].parse::<u32>().unwrap());
    assert_eq!(sorted, asked);
    for result in results {
        let id = result["custom_id"].as_str().unwrap();
        let fails = ["r-2", "r-5", "r-10"].contains(&id);
        assert_eq!(result["response"].is_null(), fails, "{id}");
        assert_eq!(!result["error"].is_null(), fails, "{id}");
    }
}

#[tokio::test]
async fn batches_can_be_too_large_and_their_calls_scripted() {
    let mock = MockOpenRouter::builder()
        .key(Key::new("k"))
        .max_batch_requests(2)
        .start()
        .await
        .unwrap();
    let body = |count| batch("/v1/chat/completions", MODEL, &lines(count));
    assert_eq!(create(&mock, &body(3)).await.status, 413);
    mock.script(On::path(PATH), [Step::reply(Fault::overloaded_529())]);
    assert_eq!(create(&mock, &body(2)).await.status, 529);
    let made = create(&mock, &body(2)).await;
    assert_eq!(made.status, 202);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let looks = On::path(format!("{PATH}/*"));
    mock.script(looks, [Step::reply(Fault::internal_500()).times(2)]);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(look(&mock, &id, "k").await.status);
    }
    assert_eq!(statuses, [500, 500, 200]);
    let of_batches = |event: &&Event| matches!(&event.kind, EventKind::Received { path, .. } if path.starts_with(PATH));
    assert_eq!(mock.log().events().iter().filter(of_batches).count(), 6);
}
