//! What calls are expected to need, what is told of what they used, and which gates hear of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{Call, CallErrorKind, CallOptions, Client, ClientBuilder, Served};
use fairkey_core::{
    Ask, At, Candidate, Cost, Denied, Gate, Observer, Report, Scope, Scopes, Timestamp,
};
use fairkey_openrouter::endpoint;
use fairkey_strategy::{Limit, LimitSet, LimitsConfig};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use crate::scripted::{PROVIDER_FULL, Reply, Scripted, builder, event, prompt};

/// The model, the providers and the cost of an ask.
type Asked = (Option<String>, Vec<String>, Cost);

/// Every ask and every report.
#[derive(Debug, Default)]
struct Book {
    asks: Mutex<Vec<Asked>>,
    reports: Mutex<Vec<Report>>,
}

impl Observer for Book {
    fn selected(&self, _: Candidate<'_>, ask: &Ask<'_>) {
        let model = ask.model.map(str::to_owned);
        let entry = (model, ask.providers.to_vec(), ask.cost);
        self.asks.lock().unwrap().push(entry);
    }

    fn settled(&self, _: Candidate<'_>, report: &Report) {
        self.reports.lock().unwrap().push(*report);
    }
}

impl Book {
    fn last(&self) -> (Cost, Option<Cost>) {
        let reports = self.reports.lock().unwrap();
        let report = reports.last().unwrap();
        (report.reserved, report.actual)
    }

    fn models(&self) -> Vec<Option<String>> {
        let asks = self.asks.lock().unwrap();
        asks.iter().map(|(model, ..)| model.clone()).collect()
    }
}

fn watched(transport: &Arc<Scripted>) -> (ClientBuilder, Arc<Book>) {
    let book = Arc::<Book>::default();
    let builder = builder(1, transport).observer(Arc::<Book>::clone(&book));
    (builder, book)
}

fn post(path: &str, body: &serde_json::Value) -> Request<Bytes> {
    Request::post(path).body(body.to_string().into()).unwrap()
}

async fn send(client: &Client, path: &str, body: &serde_json::Value) -> Option<Served> {
    let response = client.send(post(path, body)).await.unwrap();
    let served = response.extensions().get::<Served>().cloned();
    response.into_body().collect().await.unwrap();
    served
}

/// Closes some models for good.
#[derive(Debug)]
struct Closed(&'static [&'static str]);

impl Gate for Closed {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if at.ask.model.is_some_and(|model| self.0.contains(&model)) {
            let later = Timestamp::ZERO + Duration::from_secs(3_600);
            return Err(Denied::until(Scope::Model, later));
        }
        Ok(())
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_hears_of_the_model_that_only_the_body_names() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = builder(1, &transport)
        .gate(Closed(&["m/out"]))
        .build()
        .unwrap();
    let out = json!({"model": "m/out", "messages": []});
    for path in [
        endpoint::CHAT_COMPLETIONS,
        endpoint::EMBEDDINGS,
        endpoint::MESSAGES,
    ] {
        let error = client.send(post(path, &out)).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::NoKey, "{path}");
        let error = client.call(Call::new(path, out.to_string())).await;
        assert_eq!(error.unwrap_err().kind(), CallErrorKind::NoKey, "{path}");
    }
    assert_eq!(transport.seen().len(), 0);
    let well = json!({"model": "m/well", "messages": []});
    let served = send(&client, endpoint::CHAT_COMPLETIONS, &well).await;
    assert_eq!(served.unwrap().model.as_deref(), Some("m/well"));
    // What the caller says of it goes first.
    let mut named = post(endpoint::CHAT_COMPLETIONS, &out);
    named.extensions_mut().insert(CallOptions {
        model: Some("m/other".into()),
        ..CallOptions::default()
    });
    assert!(client.send(named).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_with_a_list_of_its_own_waits_for_none_of_them_alone_and_is_sent_once() {
    const FULL: &str = r#"{"error":{"code":429,"message":"No capacity left","availability":{"code":"capacity_exhausted","retryable":true}}}"#;
    let transport = Scripted::new(|_| Reply::status(429, FULL));
    let (builder, book) = watched(&transport);
    let client = builder.gate(Closed(&["m/out"])).build().unwrap();
    let body = json!({"model": "m/out", "models": ["m/out", "m/b"], "messages": []});
    let call = Call::new(endpoint::CHAT_COMPLETIONS, body.to_string()).at_most(1, 0);
    client.call(call).await.unwrap_err();
    assert_eq!(book.models(), [Some("m/b".to_owned())]);
    assert_eq!(
        transport.seen().len(),
        1,
        "whoever got it has tried them all"
    );
    assert_eq!(transport.seen()[0].body, body.to_string());
    assert_eq!(client.stats().fallbacks, 0);

    let fallbacks = json!({"model": "m/out", "fallbacks": [{"model": "m/b"}], "messages": []});
    let call = Call::new(endpoint::MESSAGES, fallbacks.to_string()).at_most(1, 0);
    client.call(call).await.unwrap_err();
    assert_eq!(transport.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_full_bars_those_who_insist_on_it_by_its_slug() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(429, &PROVIDER_FULL.replace("Acme", "Amazon Bedrock"))
            .header("retry-after", "300"),
        _ => Reply::good("x"),
    });
    let (builder, book) = watched(&transport);
    let client = builder.build().unwrap();
    let body = |provider| json!({"model": "m/a", "messages": [], "provider": provider});
    let once = |body: serde_json::Value| {
        Call::new(endpoint::CHAT_COMPLETIONS, body.to_string()).at_most(1, 0)
    };
    client.call(once(body(json!({})))).await.unwrap_err();
    let only = body(json!({"only": ["amazon-bedrock"]}));
    let error = client.call(once(only)).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(transport.seen().len(), 1);
    for free in [
        json!({"order": ["amazon-bedrock"]}),
        json!({"only": ["amazon-bedrock", "azure"]}),
        json!({}),
    ] {
        client.call(once(body(free))).await.unwrap();
    }
    let pinned = json!({"order": ["azure/eu"], "allow_fallbacks": false});
    client.call(once(body(pinned))).await.unwrap();
    assert_eq!(book.asks.lock().unwrap().last().unwrap().1, ["azure"]);
}

const CHAT_USAGE: &str =
    r#""usage":{"prompt_tokens":40,"completion_tokens":2,"total_tokens":42,"cost":0.0005}"#;
const OTHER_USAGE: &str = r#""usage":{"input_tokens":40,"output_tokens":2,"cost":0.0005}"#;

/// Answers every endpoint, streamed or not, with the same usage.
fn everything() -> Arc<Scripted> {
    Scripted::new(|seen| {
        let body = serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap_or_default();
        let is_stream = body["stream"] == true;
        let path = seen.uri.path().strip_prefix("/api/v1").unwrap();
        match (path, is_stream) {
            (endpoint::CHAT_COMPLETIONS, false) => Reply::status(
                200,
                &format!(
                    r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":"stop"}}],{CHAT_USAGE}}}"#
                ),
            ),
            (endpoint::CHAT_COMPLETIONS, true) => Reply::stream([
                event(r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#),
                event(&format!(r#"{{"choices":[],{CHAT_USAGE}}}"#)),
                crate::scripted::data("data: [DONE]\n\n"),
            ]),
            (endpoint::COMPLETIONS, _) => Reply::status(
                200,
                &format!(r#"{{"choices":[{{"text":"x","finish_reason":"stop"}}],{CHAT_USAGE}}}"#),
            ),
            (endpoint::MESSAGES, false) => Reply::status(
                200,
                &format!(
                    r#"{{"type":"message","content":[{{"type":"text","text":"x"}}],"stop_reason":"end_turn",{OTHER_USAGE}}}"#
                ),
            ),
            (endpoint::MESSAGES, true) => Reply::stream([
                event(r#"{"type":"message_start","message":{"usage":{"input_tokens":40}}}"#),
                event(r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#),
                event(
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2,"cost":0.0005}}"#,
                ),
                event(r#"{"type":"message_stop"}"#),
            ]),
            (endpoint::RESPONSES, false) => Reply::status(
                200,
                &format!(
                    r#"{{"status":"completed","output":[{{"type":"message","content":[{{"type":"output_text","text":"x"}}]}}],{OTHER_USAGE}}}"#
                ),
            ),
            (endpoint::RESPONSES, true) => Reply::stream([
                event(r#"{"type":"response.output_text.delta","delta":"x"}"#),
                event(&format!(
                    r#"{{"type":"response.completed","response":{{"status":"completed","output":[],{OTHER_USAGE}}}}}"#
                )),
            ]),
            (endpoint::EMBEDDINGS, _) => Reply::status(
                200,
                r#"{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":42,"total_tokens":42,"cost":0.0005}}"#,
            ),
            (endpoint::RERANK, _) => Reply::status(
                200,
                r#"{"results":[{"index":0,"relevance_score":0.5}],"usage":{"total_tokens":42,"search_units":1,"cost":0.0005}}"#,
            ),
            _ => Reply::status(404, "{}"),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_call_is_estimated_and_tells_what_it_used() {
    let transport = everything();
    let (builder, book) = watched(&transport);
    let client = builder.build().unwrap();
    let used = Some(Cost {
        requests: 1,
        tokens: 42,
        micro_usd: 500,
    });
    let messages = json!([{"role": "user", "content": "x".repeat(36)}]);
    let bodies = [
        (
            endpoint::CHAT_COMPLETIONS,
            json!({"messages": messages, "max_completion_tokens": 9}),
            true,
            27,
        ),
        (
            endpoint::COMPLETIONS,
            json!({"prompt": "x".repeat(36), "max_tokens": 9}),
            false,
            27,
        ),
        (
            endpoint::MESSAGES,
            json!({"messages": messages, "max_tokens": 9}),
            true,
            27,
        ),
        (
            endpoint::RESPONSES,
            json!({"input": "x".repeat(36), "max_output_tokens": 9}),
            true,
            27,
        ),
        (
            endpoint::EMBEDDINGS,
            json!({"input": "x".repeat(36)}),
            false,
            11,
        ),
        (
            endpoint::RERANK,
            json!({"query": "x".repeat(18), "documents": ["x".repeat(18)]}),
            false,
            11,
        ),
    ];
    for (path, mut body, streams, expected) in bodies {
        // A model of its own for each call: nothing is learned yet.
        for (n, form) in ["whole", "passed", "streamed"].into_iter().enumerate() {
            body["model"] = format!("m{path}/{n}").into();
            if form == "streamed" {
                if !streams {
                    continue;
                }
                body["stream"] = true.into();
            }
            let estimate = client.estimate(path, body.to_string().as_bytes());
            if form == "whole" {
                let answer = client
                    .call(Call::new(path, body.to_string()))
                    .await
                    .unwrap();
                assert_eq!(answer.cost, used, "{path}");
            } else {
                send(&client, path, &body).await;
            }
            let (reserved, actual) = book.last();
            assert_eq!(reserved.tokens, expected, "{path}, {form}");
            assert_eq!(reserved, estimate.cost(), "{path}, {form}");
            assert_eq!(actual, used, "{path}, {form}");
        }
    }
    // And the typed ones.
    let request = prompt(&"x".repeat(36)).max_tokens(9);
    client.chat(&request).await.unwrap();
    assert_eq!(book.last().1, used);
    let mut stream = client.chat_stream(&request).await.unwrap();
    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
    }
    assert_eq!(book.last().1, used);
    let stats = client.stats();
    let all = stats.estimates.len() as u64;
    assert_eq!(
        stats.estimates.iter().map(|one| one.answers).sum::<u64>(),
        stats.attempts
    );
    assert_eq!((all, stats.unpriced), (stats.attempts - 1, stats.attempts));
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_says_is_reserved_and_learned_from_all_the_same() {
    let transport = everything();
    let (builder, book) = watched(&transport);
    let client = builder.build().unwrap();
    let said = Cost {
        requests: 2,
        tokens: 7,
        micro_usd: 3,
    };
    client
        .call(Call::chat(&prompt("x")).cost(said))
        .await
        .unwrap();
    assert_eq!(book.last().0, said);
    let stats = client.stats();
    assert_eq!((stats.estimates[0].answers, stats.unpriced), (1, 0));
    assert_eq!(stats.estimates[0].mean_ratio, None);
    // What has no body is one request.
    let _ = client.call(Call::get("/models/count")).await;
    assert_eq!(book.last().0, Cost::ONE);
}

#[tokio::test(start_paused = true)]
async fn estimates_become_better_with_every_answer() {
    let transport = everything();
    let (builder, book) = watched(&transport);
    let client = builder.build().unwrap();
    let request = prompt(&"x".repeat(360));
    client.chat(&request).await.unwrap();
    let first = book.last().0.tokens;
    for _ in 0..60 {
        client.chat(&request).await.unwrap();
    }
    let last = book.last().0.tokens;
    assert!(first > 1_100 && (42..46).contains(&last), "{first} {last}");
    let known = client.stats().estimates.remove(0);
    assert_eq!(
        (&*known.model, known.answers, known.output_p90),
        ("m/a", 61, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn prices_come_from_the_catalogue_once_somebody_has_asked_for_it() {
    let transport = Scripted::new(|seen| match seen.uri.path() {
        "/api/v1/models" => Reply::status(
            200,
            r#"{"data":[{"id":"m/a","pricing":{"prompt":"0.00001","completion":"0.0001"}},
                {"id":"m/b","pricing":{"prompt":"0.001","completion":"0.001"}}]}"#,
        ),
        _ => Reply::good("x"),
    });
    let (builder, book) = watched(&transport);
    let client = builder.build().unwrap();
    let request = prompt(&"x".repeat(36)).max_tokens(20);
    client.chat(&request).await.unwrap();
    assert_eq!((book.last().0.micro_usd, client.stats().unpriced), (0, 1));
    assert_eq!(transport.seen().len(), 1, "no call fetches a price");
    client.catalog().models().await.unwrap();
    client.chat(&request).await.unwrap();
    assert_eq!(
        (book.last().0.micro_usd, client.stats().unpriced),
        (180 + 2_000, 1)
    );
    // OpenRouter may go on to the dearer one by itself.
    let body = json!({"model": "m/a", "models": ["m/b"], "max_tokens": 20,
        "messages": [{"role": "user", "content": "x".repeat(36)}]});
    send(&client, endpoint::CHAT_COMPLETIONS, &body).await;
    assert_eq!(book.last().0.micro_usd, 18_000 + 20_000);
    let estimate = client.estimate(endpoint::CHAT_COMPLETIONS, body.to_string().as_bytes());
    assert_eq!(estimate.micro_usd, Some(38_000));
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_survives_a_restart() {
    let name = format!("fairkey-estimates-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fairkey.state");
    let open = |transport: &Arc<Scripted>| builder(1, transport).state_file(&file).build().unwrap();
    let transport = everything();
    let before = open(&transport);
    for _ in 0..30 {
        before.chat(&prompt(&"x".repeat(360))).await.unwrap();
    }
    let learned = before.stats().estimates;
    drop(before);
    let after = open(&transport);
    let known = after.stats().estimates;
    assert_eq!(after.standing().warnings, [""; 0]);
    drop(after);
    std::fs::remove_dir_all(&folder).unwrap();
    let [learned, known] = [learned, known].map(|mut all| all.remove(0));
    assert_eq!((known.output_p90, known.answers), (learned.output_p90, 30));
    assert!((known.tokens_per_byte / learned.tokens_per_byte - 1.0).abs() < 1e-6);
}

/// Nothing is known of the model when they come: 1,024 tokens are believed of each answer, and two
/// calls go at a time. The answers are short, and from the ninth on that is known.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_estimated_anew_when_more_is_known() {
    let used = r#""prompt_tokens":4,"completion_tokens":2,"total_tokens":6"#;
    let transport = Scripted::new(move |_| {
        let body = crate::scripted::good_body("x").replace("\"total_tokens\":5", used);
        Reply::status(200, &body).after(Duration::from_secs(1))
    });
    let limits = LimitSet {
        tokens: Some(Limit::per_minute(2_500)),
        ..LimitSet::NONE
    };
    let key = fairkey_core::Key::new("k0", "sk-0").account("acme");
    let limits = LimitsConfig::default().account("acme", limits);
    let client = builder(0, &transport).keys([key]).limits(limits).build();
    let client = client.unwrap();
    let began = tokio::time::Instant::now();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(&prompt(&format!("{n}"))).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}, two at a time");
}
