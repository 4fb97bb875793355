//! Every endpoint once, and what it makes of nonsense.

use fairkey_mock::{MockOpenRouter, Model};
use serde_json::{Value, json};

use crate::support::{MODEL, chat, get, open, post, request, send, with};

#[tokio::test]
async fn a_chat_answer_has_every_part() {
    let mock = open().await;
    let answer = post(
        &mock,
        "k",
        &with(chat("Say something"), json!({"max_tokens": 8})),
    )
    .await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let id = json["id"].as_str().unwrap();
    assert!(id.starts_with("gen-1790856"), "{id}");
    assert_eq!(answer.header("x-generation-id"), Some(id));
    assert_eq!(answer.header("server"), Some("cloudflare"));
    assert!(
        answer
            .header("date")
            .unwrap()
            .starts_with("Thu, 01 Oct 2026 12:")
    );
    assert_eq!(
        answer.header("x-ratelimit-limit"),
        None,
        "only a 429 has these"
    );
    assert_eq!(json["object"], "chat.completion");
    assert_eq!(json["model"], MODEL);
    assert_eq!(json["provider"], "OpenAI");
    let choice = &json["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    assert_eq!(choice["native_finish_reason"], "length");
    assert_eq!(choice["message"]["role"], "assistant");
    // 13 bytes of prompt; $0.15 and $0.60 per million tokens.
    let usage = &json["usage"];
    assert_eq!(usage["prompt_tokens"], 4);
    assert_eq!(usage["completion_tokens"], 8);
    assert_eq!(usage["total_tokens"], 12);
    assert_eq!(usage["cost"], 5.4e-6);
    assert_eq!(usage["is_byok"], false);
}

#[tokio::test]
async fn legacy_completions_answer_with_text() {
    let mock = open().await;
    for stream in [false, true] {
        let body = json!({"model": MODEL, "prompt": "Once upon", "stream": stream});
        let request = request(&mock, "POST", "/completions", Some("k"), body.to_string());
        let answer = send(&mock, request).await.unwrap();
        let first = if stream {
            answer.chunks()[1].clone()
        } else {
            answer.json()
        };
        assert_eq!(first["object"], "text_completion");
        assert!(
            !first["choices"][0]["text"].as_str().unwrap().is_empty(),
            "{first}"
        );
        assert_eq!(first["choices"][0]["message"], Value::Null);
    }
}

#[tokio::test]
async fn embeddings_are_unit_vectors_and_follow_from_their_text() {
    let mock = open().await;
    let body = json!({"model": "openai/text-embedding-3-small", "input": ["one", "two", "one"]});
    let request = request(&mock, "POST", "/embeddings", Some("k"), body.to_string());
    let json = send(&mock, request).await.unwrap().json();
    let data = json["data"].as_array().unwrap();
    let vector = |at: usize| -> Vec<f64> {
        let numbers = data[at]["embedding"].as_array().unwrap();
        numbers.iter().map(|x| x.as_f64().unwrap()).collect()
    };
    assert_eq!(vector(0), vector(2));
    assert_ne!(vector(0), vector(1));
    let length: f64 = vector(1).iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-9);
    assert_eq!(json["usage"]["prompt_tokens"], 3);
    assert_eq!(mock.counters().total.completion_tokens, 0);
}

#[tokio::test]
async fn a_generation_can_be_looked_up_by_its_account_only() {
    let mock = MockOpenRouter::builder()
        .account(fairkey_mock::Account::new("one"))
        .account(fairkey_mock::Account::new("two"))
        .key(fairkey_mock::Key::new("a").account("one"))
        .key(fairkey_mock::Key::new("b").account("one"))
        .key(fairkey_mock::Key::new("c").account("two"))
        .start()
        .await
        .unwrap();
    let answer = post(&mock, "a", &chat("x")).await.json();
    let path = format!("/generation?id={}", answer["id"].as_str().unwrap());
    let found = get(&mock, &path, "b").await.json();
    assert_eq!(found["data"]["total_cost"], answer["usage"]["cost"]);
    assert_eq!(
        found["data"]["tokens_completion"],
        answer["usage"]["completion_tokens"]
    );
    assert_eq!(found["data"]["provider_name"], "OpenAI");
    assert_eq!(found["data"]["streamed"], false);
    assert_eq!(get(&mock, &path, "c").await.status, 404);
    assert_eq!(get(&mock, "/generation?id=gen-none", "a").await.status, 404);
    assert_eq!(get(&mock, "/generation", "a").await.status, 400);
}

#[tokio::test]
async fn of_more_generations_than_are_kept_the_oldest_is_forgotten() {
    let mock = MockOpenRouter::open().generations(2).start().await.unwrap();
    let mut paths = Vec::new();
    for _ in 0..3 {
        let answer = post(&mock, "k", &chat("x")).await.json();
        paths.push(format!("/generation?id={}", answer["id"].as_str().unwrap()));
    }
    for (path, status) in paths.iter().zip([404, 200, 200]) {
        assert_eq!(get(&mock, path, "k").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn models_are_listed_with_prices_per_token_as_text() {
    let model = Model::new("acme/large")
        .prompt_price(0.25)
        .completion_price(2.0)
        .provider("X");
    let mock = MockOpenRouter::open().model(model).start().await.unwrap();
    let json = get(&mock, "/models", "k").await.json();
    assert_eq!(json["total_count"], 1);
    assert_eq!(json["data"][0]["id"], "acme/large");
    assert_eq!(json["data"][0]["pricing"]["prompt"], "0.00000025");
    assert_eq!(json["data"][0]["pricing"]["completion"], "0.000002");
    assert_eq!(
        get(&mock, "/models/count", "k").await.json()["data"]["count"],
        1
    );
    // A catalog of one's own is all there is.
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.json()["error"]["availability"]["code"],
        "model_not_found"
    );
}

#[tokio::test]
async fn the_first_model_that_can_answers_and_is_named() {
    let mock = MockOpenRouter::open()
        .model(Model::new("acme/first").provider("Down"))
        .model(
            Model::new("acme/second")
                .provider("Up")
                .completion_price(7.0),
        )
        .provider_faults("Down", fairkey_mock::FaultKind::ProviderError, 1.0)
        .start()
        .await
        .unwrap();
    let ask = with(
        chat("x"),
        json!({"model": "acme/first", "models": ["acme/second"]}),
    );
    let json = post(&mock, "k", &ask).await.json();
    assert_eq!(json["model"], "acme/second");
    let tokens = json["usage"]["completion_tokens"].as_f64().unwrap();
    let billed = json["usage"]["cost"].as_f64().unwrap();
    assert!(
        (billed - (1.0 + tokens * 7.0) / 1e6).abs() < 1e-12,
        "by the model that answered"
    );
    let alone = post(&mock, "k", &with(chat("x"), json!({"model": "acme/first"}))).await;
    assert_eq!(alone.status, 502);
    let four = json!({"models": ["a/1", "a/2", "a/3", "a/4"]});
    let answer = post(&mock, "k", &with(chat("x"), four)).await;
    assert_eq!(
        answer.message(),
        "'models' array must have 3 items or fewer."
    );
}

#[tokio::test]
async fn routing_preferences_choose_the_provider() {
    let mock = open().await;
    let ask = |provider: Value| with(chat("x"), json!({ "provider": provider }));
    let served = |json: Value| json["provider"].as_str().map(str::to_owned);
    let answer = post(&mock, "k", &ask(json!({"order": ["azure"]}))).await;
    assert_eq!(served(answer.json()).as_deref(), Some("Azure"));
    let answer = post(&mock, "k", &ask(json!({"ignore": ["openai"]}))).await;
    assert_eq!(served(answer.json()).as_deref(), Some("Azure"));
    let answer = post(&mock, "k", &ask(json!({"only": ["groq"]}))).await;
    assert_eq!(answer.status, 404);
    let metadata = &answer.json()["error"]["metadata"];
    assert_eq!(
        metadata["failed_routing_step"],
        "Filter by Allowed Providers"
    );
    assert_eq!(metadata["available_providers"], json!(["openai", "azure"]));
    assert_eq!(metadata["requested_providers"], json!(["groq"]));
}

#[tokio::test]
async fn router_metadata_comes_when_asked_for() {
    let mock = open().await;
    for stream in [false, true] {
        let body = with(chat("x"), json!({ "stream": stream })).to_string();
        let mut asked = request(&mock, "POST", "/chat/completions", Some("k"), body);
        asked
            .headers_mut()
            .insert("x-openrouter-metadata", "enabled".parse().unwrap());
        let answer = send(&mock, asked).await.unwrap();
        let holder = if stream {
            answer.chunks().last().unwrap().clone()
        } else {
            answer.json()
        };
        let metadata = &holder["openrouter_metadata"];
        assert_eq!(metadata["strategy"], "direct");
        assert_eq!(metadata["endpoints"]["available"][0]["selected"], true);
    }
    assert_eq!(
        post(&mock, "k", &chat("x")).await.json()["openrouter_metadata"],
        Value::Null
    );
}

#[tokio::test]
async fn forced_tools_and_json_are_answered_in_kind() {
    let mock = open().await;
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!({
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
        "tool_choice": "required",
    });
    let choice = post(&mock, "k", &with(chat("x"), tools.clone()))
        .await
        .json()["choices"][0]
        .clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    let arguments: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["city"].is_string());

    let streamed = with(with(chat("x"), tools), json!({"stream": true}));
    let chunks = post(&mock, "k", &streamed).await.chunks();
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
        .filter(|call| call.is_object())
        .collect();
    assert_eq!(deltas[0]["function"]["name"], "weather");
    let text: String = deltas
        .iter()
        .filter_map(|call| call["function"]["arguments"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), arguments);

    let json = with(
        chat("x"),
        json!({"response_format": {"type": "json_object"}}),
    );
    let content = post(&mock, "k", &json).await.content();
    assert!(serde_json::from_str::<Value>(&content).unwrap().is_object());
}

#[tokio::test]
async fn nonsense_is_refused_in_the_envelope() {
    let mock = MockOpenRouter::open()
        .max_body_bytes(1000)
        .start()
        .await
        .unwrap();
    let post = |path: &str, body: &str| {
        let request = request(&mock, "POST", path, Some("k"), body.to_owned());
        let mock = &mock;
        async move { send(mock, request).await.unwrap() }
    };
    let answer = post("/chat/completions", "{").await;
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_u64()),
        (400, Some(400))
    );
    let answer = post("/chat/completions", "{}").await;
    assert_eq!(answer.status, 400);
    let long = with(chat("x"), json!({"max_tokens": 200_000})).to_string();
    let answer = post("/chat/completions", &long).await;
    assert_eq!(
        answer.json()["error"]["metadata"]["error_type"],
        "context_length_exceeded"
    );
    let answer = post("/chat/completions", &chat(&"x".repeat(1000)).to_string()).await;
    assert_eq!(answer.status, 413);
    assert_eq!(post("/nothing/here", "{}").await.status, 404);
    assert_eq!(get(&mock, "/chat/completions", "k").await.status, 404);
    let bare = http::Request::get("/")
        .body(http_body_util::Full::default())
        .unwrap();
    assert_eq!(
        send(&mock, bare).await.unwrap().json()["error"]["code"],
        404
    );
    assert_eq!(mock.counters().total.in_flight, 0);
}

#[tokio::test]
async fn a_key_reads_every_field_of_itself() {
    let mock = open().await;
    let json = get(&mock, "/key", "sk-or-v1-0123456789abcdef").await.json();
    let data = json["data"].as_object().unwrap();
    for field in [
        "label",
        "limit",
        "limit_remaining",
        "limit_reset",
        "include_byok_in_limit",
        "usage",
        "usage_daily",
        "usage_weekly",
        "usage_monthly",
        "byok_usage",
        "byok_usage_daily",
        "byok_usage_weekly",
        "byok_usage_monthly",
        "is_free_tier",
        "is_management_key",
        "is_provisioning_key",
        "creator_user_id",
        "expires_at",
        "organization_id",
        "workspace_id",
        "allowed_data_regions",
        "free_model_daily_requests",
        "budgets",
        "effective_budget",
        "rate_limit",
    ] {
        assert!(data.contains_key(field), "{field}");
    }
    assert_eq!(data["label"], "sk-or-v1-012...def");
    assert_eq!(data["rate_limit"]["requests"], -1);
    assert_eq!(
        get(&mock, "/auth/key", "sk-or-v1-0123456789abcdef")
            .await
            .json(),
        json
    );
}
