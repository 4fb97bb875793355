//! Calls that name more than one model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairkey_client::{Call, CallErrorKind, CallOptions, GiveUp, RetryConfig, Served};
use fairkey_core::{At, Denied, Gate, Key, Scope, Scopes};
use fairkey_openrouter::Cause;
use fairkey_transport::TransportErrorKind;
use http::Request;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::scripted::{
    BAD, DOWN, NO_CREDIT, PROVIDER_FULL, REVOKED, Reply, Scripted, Seen, builder, client, delta,
    event, prompt,
};

const FULL: &str = r#"{"error":{"code":429,"message":"No capacity left","availability":{"code":"capacity_exhausted","retryable":true}}}"#;
const TOO_LONG: &str = r#"{"error":{"code":400,"message":"too long","metadata":{"error_type":"context_length_exceeded"}}}"#;
const FREE_DAY: &str = r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"limit_source":"openrouter_free_tier_daily"}}}"#;

/// A call for `m/a`, else `m/b`, else `m/c`.
fn call() -> Call {
    Call::chat(&prompt("x")).fallbacks(["m/b", "m/c"])
}

fn model(seen: &Seen) -> String {
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    body["model"].as_str().unwrap_or_default().to_owned()
}

fn models(transport: &Scripted) -> Vec<String> {
    transport.seen().iter().map(model).collect()
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_out_leads_to_the_next_one_at_once_with_the_same_keys() {
    for (status, body) in [(429, FULL), (400, TOO_LONG), (503, DOWN)] {
        let transport = Scripted::new(move |seen| match model(seen).as_str() {
            "m/c" => Reply::good("x"),
            _ => Reply::status(status, body),
        });
        let client = client(1, &transport);
        let began = Instant::now();
        let answer = client.call(call()).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(100), "no wait");
        assert_eq!(models(&transport), ["m/a", "m/b", "m/c"]);
        assert_eq!(answer.model.as_deref(), Some("m/c"));
        let asked: Vec<_> = answer.attempts.iter().map(|it| it.model.clone()).collect();
        assert_eq!(asked, ["m/a", "m/b", "m/c"].map(|it| Some(it.into())));
        let stats = client.stats();
        assert_eq!((stats.fallbacks, stats.failovers, stats.retries), (2, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_model_of_a_body_changes() {
    let body = r#"{"messages" : [],"model":"m/a", "seed":12345678901234567890123 , "model":"m/a"}"#;
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(429, FULL),
        _ => Reply::good("x"),
    });
    let client = client(1, &transport);
    let call = Call::new("/chat/completions", body).fallbacks(["m/\"b"]);
    client.call(call).await.unwrap();
    let seen = transport.seen();
    assert_eq!(seen[0].body, body);
    // Of a name that comes twice the last counts, and the other one goes.
    assert_eq!(
        seen[1].body,
        r#"{"messages" : [], "seed":12345678901234567890123 , "model":"m/\"b"}"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_of_the_callers_own_is_left_to_openrouter() {
    let body = r#"{"model":"m/a","models":["m/a","m/x"],"messages":[]}"#;
    let transport = Scripted::new(|_| Reply::status(400, TOO_LONG));
    let client = client(1, &transport);
    let call = Call::new("/chat/completions", body).fallbacks(["m/b"]);
    client.call(call).await.unwrap_err();
    let bodies: Vec<_> = transport.seen().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [body]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_tried_again_before_the_next_model() {
    let transport = Scripted::new(|seen| match model(seen).as_str() {
        "m/c" => Reply::good("x"),
        _ => Reply::status(429, PROVIDER_FULL),
    });
    let client = client(2, &transport);
    let answer = client.call(call()).await.unwrap();
    assert_eq!(models(&transport), ["m/a", "m/a", "m/b", "m/b", "m/c"]);
    assert_eq!(answer.attempts.len(), 5);
    assert_eq!(client.stats().retries, 2);
}

#[tokio::test(start_paused = true)]
async fn a_hint_beyond_the_patience_leads_to_the_next_model_at_once() {
    for (hint, expected) in [("11", vec!["m/a", "m/b"]), ("10", vec!["m/a", "m/a"])] {
        let transport = Scripted::new(move |seen| match seen.nth {
            1 => Reply::status(429, PROVIDER_FULL).header("retry-after", hint),
            _ => Reply::good("x"),
        });
        let client = client(1, &transport);
        client.call(call()).await.unwrap();
        assert_eq!(models(&transport), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_next_attempt_leads_to_the_next_model_at_once() {
    let transport = Scripted::new(move |seen| match seen.nth {
        1 => Reply::status(429, PROVIDER_FULL).header("retry-after", "5"),
        _ => Reply::good("x"),
    });
    let client = client(1, &transport);
    let call = call().deadline(Duration::from_secs(2));
    client.call(call).await.unwrap();
    assert_eq!(models(&transport), ["m/a", "m/b"]);
}

#[tokio::test(start_paused = true)]
async fn keys_come_before_models_and_one_ledger_counts_all() {
    let transport = Scripted::new(|seen| match (seen.nth, model(seen).as_str()) {
        (1, _) => Reply::status(401, REVOKED),
        (2, _) => Reply::status(402, NO_CREDIT),
        (_, "m/a") => Reply::status(429, FULL),
        (_, "m/b") => Reply::status(429, PROVIDER_FULL),
        _ => Reply::status(400, BAD),
    });
    let client = client(3, &transport);
    let error = client.call(call()).await.unwrap_err();
    assert_eq!(error.fault().unwrap().cause(), Cause::BadRequest);
    let stats = client.stats();
    assert_eq!((stats.failovers, stats.fallbacks, stats.retries), (2, 2, 1));
    assert_eq!(error.attempts().len(), 1 + 2 + 2 + 1);
    assert!(error.to_string().contains("m/c"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_no_model_cures_stays_with_the_model() {
    for (status, body, attempts) in [
        (401, REVOKED, 1),
        (400, BAD, 1),
        (500, r#"{"error":{"code":500,"message":"x"}}"#, 4),
    ] {
        let transport = Scripted::new(move |_| Reply::status(status, body));
        let client = client(1, &transport);
        client.call(call()).await.unwrap_err();
        assert_eq!(models(&transport), vec!["m/a"; attempts], "{status}");
    }
    let transport = Scripted::new(|_| Reply::Error(TransportErrorKind::Reset));
    let client = client(1, &transport);
    client.call(call()).await.unwrap_err();
    assert_eq!(models(&transport), ["m/a"; 4]);
}

#[tokio::test(start_paused = true)]
async fn free_requests_that_are_used_up_lead_to_another_account_and_then_to_another_model() {
    let transport = Scripted::new(|seen| match model(seen).as_str() {
        "m/a:free" => Reply::status(429, FREE_DAY),
        _ => Reply::good("x"),
    });
    let keys = ["a1", "a2", "b1"].map(|id| Key::new(id, format!("sk-{id}")).account(&id[..1]));
    let client = builder(0, &transport).keys(keys).build().unwrap();
    let mut request = prompt("x");
    request.model = Some("m/a:free".to_owned());
    for round in 0..3 {
        let began = Instant::now();
        let call = Call::chat(&request).fallbacks(["m/a"]);
        let answer = client.call(call).await.unwrap();
        assert_eq!(answer.model.as_deref(), Some("m/a"));
        assert_eq!(began.elapsed(), Duration::from_millis(100), "round {round}");
    }
    let asked = models(&transport);
    assert_eq!(
        asked,
        ["m/a:free", "m/a:free", "m/a", "m/a", "m/a"],
        "each account once, and the paid model with keys that refused the free one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_budget_does_not_allow_leads_to_the_next_model() {
    let transport = Scripted::new(|seen| match model(seen).as_str() {
        "m/b" => Reply::good("x"),
        _ => Reply::status(429, PROVIDER_FULL),
    });
    let mut retry = RetryConfig::default();
    (retry.budget.ratio, retry.budget.min_per_second) = (0.0, 0.0);
    let client = builder(1, &transport).retry(retry).build().unwrap();
    client.call(call()).await.unwrap();
    assert_eq!(models(&transport), ["m/a", "m/b"]);
    assert_eq!(client.stats().budget_denied, 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_model_ends_as_a_single_one_would() {
    let transport = Scripted::new(|_| Reply::status(429, FULL));
    let client = client(1, &transport);
    let error = client.call(call()).await.unwrap_err();
    assert_eq!(
        models(&transport),
        ["m/a", "m/b", "m/c", "m/c", "m/c", "m/c"],
        "the last one is waited for"
    );
    assert_eq!(error.give_up(), Some(GiveUp::Attempts));
    assert_eq!(
        error.attempts().len() as u32,
        RetryConfig::default().ledger_with(2) - RetryConfig::default().failovers
    );
}

#[tokio::test(start_paused = true)]
async fn a_passed_answer_says_which_model_was_asked_for() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(429, FULL),
        _ => Reply::status(400, BAD),
    });
    let client = client(1, &transport);
    let mut request = Request::post("/responses")
        .body(r#"{"model":"m/a","input":"x"}"#.into())
        .unwrap();
    request.extensions_mut().insert(CallOptions {
        models: vec!["m/b".into()],
        ..CallOptions::default()
    });
    let response = client.send(request).await.unwrap();
    let served = response.extensions().get::<Served>().unwrap();
    assert_eq!(served.model.as_deref(), Some("m/b"));
    assert_eq!(
        served.attempts[0].model.as_deref(),
        Some("m/a"),
        "read from the body where the options name none"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, BAD);
}

/// Closes the models whose flags are set.
#[derive(Debug, Default)]
struct Closed([AtomicBool; 3]);

impl Closed {
    fn set(&self, models: &str) {
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            self.0[at].store(models.contains(name), Ordering::SeqCst);
        }
    }
}

impl Gate for Closed {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        // Well within the patience.
        let waits = [("m/a", 8), ("m/b", 2), ("m/c", 9)];
        for (flag, (name, secs)) in self.0.iter().zip(waits) {
            let until = fairkey_core::Timestamp::ZERO + Duration::from_secs(secs);
            if at.ask.model == Some(name) && flag.load(Ordering::SeqCst) && at.now < until {
                return Err(Denied::until(Scope::Model, until));
            }
        }
        Ok(())
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_a_gate_has_closed_is_passed_over_without_a_wait() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let gate = Arc::new(Closed::default());
    let client = builder(1, &transport)
        .shared_gate(Arc::<Closed>::clone(&gate))
        .build()
        .unwrap();
    for (closed, expected, secs) in [
        ("", "m/a", 0),
        ("a", "m/b", 0),
        ("ab", "m/c", 0),
        ("b", "m/a", 0),
        // All of them: the one that opens first is waited for.
        ("abc", "m/b", 1),
    ] {
        gate.set(closed);
        let began = client.pool().now();
        let answer = client.call(call()).await.unwrap();
        assert_eq!(answer.model.as_deref(), Some(expected), "{closed}");
        let waited = client.pool().now().since(began).as_secs();
        assert_eq!(waited, secs, "{closed}");
    }
    assert_eq!(client.stats().fallbacks, 0, "no model has failed");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_model_go_on_when_a_gate_closes_it() {
    let transport = Scripted::new(|_| Reply::good("x").after(Duration::from_secs(1)));
    let gate = Arc::new(Closed::default());
    let client = builder(1, &transport)
        .shared_gate(Arc::<Closed>::clone(&gate))
        .gate(fairkey_strategy::MaxInFlight::per_key(1))
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(call()).await.unwrap() })
        })
        .collect();
    crate::scripted::settle().await;
    // One is under way with the first model; the others stand in its line.
    gate.set("a");
    let mut asked = Vec::new();
    for task in tasks {
        asked.push(task.await.unwrap().model.unwrap().to_string());
    }
    asked.sort_unstable();
    assert_eq!(asked, ["m/a", "m/b", "m/b", "m/b", "m/b"]);
    assert!(client.pool().now().as_nanos() < 10_000_000_000);
}

#[tokio::test(start_paused = true)]
async fn with_every_key_dead_no_model_is_left_either() {
    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let client = client(2, &transport);
    client.call(call()).await.unwrap_err();
    let error = client.call(call()).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert!(error.is_every_key_dead());
    assert_eq!(transport.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_to_the_next_model_until_its_first_content() {
    let transport = Scripted::new(|seen| match model(seen).as_str() {
        "m/a" => Reply::stream([event(FULL)]),
        "m/b" => Reply::stream([delta("half"), event(FULL)]),
        _ => Reply::good("x"),
    });
    let client = client(1, &transport);
    let options = CallOptions {
        model: Some("m/a".into()),
        models: vec!["m/b".into(), "m/c".into()],
        ..CallOptions::default()
    };
    let mut stream = client
        .chat_stream_with(&prompt("x"), options)
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().text(), "half");
    assert!(stream.next().await.unwrap().is_err());
    assert_eq!(models(&transport), ["m/a", "m/b"], "nothing after content");
}
