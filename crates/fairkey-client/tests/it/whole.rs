//! The whole client over real sockets, against the mock.

use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{BudgetConfig, Call, CallErrorKind, Client, ClientBuilder, RetryConfig};
use fairkey_core::{Key, Scope};
use fairkey_mock::{Account, Break, Event, EventKind, Fault, FaultKind, MockOpenRouter, On, Step};
use fairkey_openrouter::ChatRequest;
use fairkey_strategy::{BreakerConfig, Cooldown, CooldownConfig, SlidingWindowBreaker};
use fairkey_transport::Deadlines;
use http::Request;
use http_body_util::BodyExt;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs with a generous bound: a test that waits for ever is a failure with a name.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("done within a minute")
}

fn builder(mock: &MockOpenRouter) -> ClientBuilder {
    Client::builder()
        .base_url(mock.base_url())
        .retry(quick())
        .seed(3)
}

/// Retries as usual, sooner.
fn quick() -> RetryConfig {
    RetryConfig {
        base: Duration::from_millis(5),
        cap: Duration::from_millis(50),
        hint_cap: Duration::from_millis(50),
        ..RetryConfig::default()
    }
}

fn prompt(text: &str) -> ChatRequest {
    ChatRequest::new("openai/gpt-4o-mini")
        .user(text)
        .max_tokens(64)
}

async fn three_keys() -> (MockOpenRouter, Client) {
    let mut mock = MockOpenRouter::builder().seed(5);
    let mut keys = Vec::new();
    for label in ["a", "b", "c"] {
        let secret = format!("sk-or-v1-{label}");
        let account = Account::new(format!("of-{label}")).balance_usd(10.0);
        mock = mock.account(account).key(
            fairkey_mock::Key::new(&secret)
                .label(label)
                .account(format!("of-{label}")),
        );
        keys.push(Key::new(label, secret).account(format!("of-{label}")));
    }
    let mock = mock.start().await.unwrap();
    let client = builder(&mock).keys(keys).build().unwrap();
    (mock, client)
}

#[tokio::test]
async fn a_plain_call_is_answered_and_its_cost_agrees_with_the_bill() {
    let (mock, client) = three_keys().await;
    let answer = within(client.chat(&prompt("What is the capital of France?")))
        .await
        .unwrap();
    assert!(!answer.value.text().is_empty());
    let billed = mock.counters().total.cost_usd();
    let cost = answer.cost.unwrap();
    assert!(
        (billed * 1e6 - cost.micro_usd as f64).abs() <= 1.0,
        "{billed} {cost:?}"
    );
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_plain_call() {
    let (_mock, client) = three_keys().await;
    let plain = within(client.chat(&prompt("Tell me a story.")))
        .await
        .unwrap();
    let mut stream = within(client.chat_stream(&prompt("Tell me a story.")))
        .await
        .unwrap();
    let mut text = String::new();
    while let Some(chunk) = within(stream.next()).await {
        text += &chunk.unwrap().text();
    }
    assert_eq!(text, plain.value.text());
    assert_eq!(stream.cost(), plain.cost);
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test]
async fn bytes_of_any_endpoint_pass() {
    let (_mock, client) = three_keys().await;
    let request = Request::get("/models").body(Bytes::new()).unwrap();
    let response = within(client.send(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
    let credits = within(client.call(Call::get("/credits")))
        .await
        .unwrap_err();
    assert_eq!(
        credits.kind(),
        CallErrorKind::Fault,
        "not with an inference key: {credits}"
    );
}

#[tokio::test]
async fn every_way_to_break_an_answer_is_survived() {
    let (mock, client) = three_keys().await;
    let breaks = [
        ("reset before the head", Step::reset_before_head()),
        ("close before the head", Step::close_before_head()),
        ("reset in the body", Step::reset_after_chunks(1)),
        ("cut in the body", Step::cut_after_chunks(1)),
        ("truncated body", Step::truncate_after_chunks(1)),
        (
            "error in a 200",
            Step::reply(Fault::provider_error_502("OpenAI").in_200()),
        ),
        (
            "error in a choice",
            Step::reply(Fault::provider_error_502("OpenAI").in_choice()),
        ),
        ("502", Step::reply(Fault::provider_error_502("OpenAI"))),
    ];
    for (name, step) in breaks {
        mock.script(On::any(), [step]);
        let answer = within(client.chat(&prompt(name))).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.attempts.len(), 2, "{name}: {:?}", answer.attempts);
        let fault = answer.attempts[0].fault.unwrap();
        assert!(
            matches!(fault.scope, Scope::Network | Scope::Provider),
            "{name}: {fault:?}"
        );
    }
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test]
async fn a_stream_broken_after_content_is_told_and_not_repeated() {
    for how in [Break::Reset, Break::Truncate] {
        let (mock, client) = three_keys().await;
        let step = match how {
            Break::Reset => Step::reset_after_chunks(2),
            _ => Step::truncate_after_chunks(2),
        };
        mock.script(On::any(), [step]);
        let mut stream = within(client.chat_stream(&prompt("Tell me a story.")))
            .await
            .unwrap();
        let mut last = None;
        while let Some(chunk) = within(stream.next()).await {
            last = Some(chunk);
        }
        let error = last.unwrap().unwrap_err();
        assert_eq!(
            error.give_up(),
            Some(fairkey_client::GiveUp::Committed),
            "{error}"
        );
        assert_eq!(mock.counters().total.requests, 1);
        assert_eq!(client.pool().in_flight(), 0);
    }
}

#[tokio::test]
async fn a_revoked_key_is_out_at_its_first_401_and_every_call_is_answered() {
    let (mock, client) = three_keys().await;
    for n in 0..60 {
        if n == 20 {
            mock.revoke_key("b");
        }
        within(client.chat(&prompt(&n.to_string()))).await.unwrap();
    }
    assert_eq!(mock.counters().key("b").status(401), 1);
    let info = within(client.key_info("b")).await.unwrap_err();
    assert_eq!(info.scope(), Scope::Key);
    assert_eq!(within(client.key_info("a")).await.unwrap().limit, None);
}

#[tokio::test]
async fn when_every_key_is_dead_the_reason_comes_for_each() {
    let (mock, client) = three_keys().await;
    for key in ["a", "b", "c"] {
        mock.revoke_key(key);
    }
    let error = within(client.chat(&prompt("x"))).await.unwrap_err();
    assert!(error.is_every_key_dead(), "{error}");
    let text = error.to_string();
    assert!(
        ["\"a\"", "\"b\"", "\"c\"", "401"]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    assert!(!text.contains("sk-or"), "{text}");
    assert_eq!(mock.counters().total.requests, 3);
}

#[tokio::test]
async fn a_top_up_brings_the_only_account_back() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(0.0))
        .key(
            fairkey_mock::Key::new("sk-or-v1-a")
                .label("a")
                .account("acme"),
        )
        .start()
        .await
        .unwrap();
    let look_again = CooldownConfig {
        exhausted: Duration::from_millis(100),
        ..CooldownConfig::default()
    };
    let client = builder(&mock)
        .keys([Key::new("a", "sk-or-v1-a").account("acme")])
        .default_gates(false)
        .gate(Cooldown::per_account(look_again))
        .build()
        .unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&prompt("x")).await }
    });
    within(mock.log().wait_for(|event| event.status() == Some(402))).await;
    mock.set_balance("acme", 10.0);
    let answer = within(waiting).await.unwrap().unwrap();
    assert!(answer.attempts.len() >= 2);
}

#[tokio::test]
async fn leaving_a_stream_cancels_it_upstream() {
    let (mock, client) = three_keys().await;
    mock.script(On::any(), [Step::stall_after_chunks(1)]);
    let mut stream = within(client.chat_stream(&prompt("Tell me a story.")))
        .await
        .unwrap();
    within(stream.next()).await.unwrap().unwrap();
    drop(stream);
    within(mock.log().wait_for(Event::is_cancelled)).await;
    assert_eq!(client.pool().in_flight(), 0);
    assert!(client.stats().faults.is_empty(), "nobody is blamed");
}

#[tokio::test]
async fn a_stalled_stream_ends_at_its_idle_deadline() {
    let (mock, client) = three_keys().await;
    drop(client);
    mock.script(On::any(), [Step::stall_after_chunks(1)]);
    let deadlines = Deadlines {
        idle: Duration::from_millis(200),
        ..Deadlines::default()
    };
    let client = builder(&mock)
        .key("a", "sk-or-v1-a")
        .deadlines(deadlines)
        .build()
        .unwrap();
    let mut stream = within(client.chat_stream(&prompt("Tell me a story.")))
        .await
        .unwrap();
    let mut last = None;
    while let Some(chunk) = within(stream.next()).await {
        last = Some(chunk);
    }
    assert_eq!(last.unwrap().unwrap_err().scope(), Scope::Provider);
}

#[tokio::test]
async fn a_storm_of_faults_loses_no_call() {
    let mut mock = MockOpenRouter::builder()
        .seed(11)
        .fault_rate(FaultKind::ProviderRateLimited, 0.08)
        .fault_rate(FaultKind::ProviderError, 0.05)
        .fault_rate(FaultKind::ErrorIn200, 0.04)
        .fault_rate(FaultKind::ChoiceError, 0.03)
        .fault_rate(FaultKind::ResetBeforeHead, 0.04)
        .fault_rate(FaultKind::ResetMidBody, 0.04)
        .fault_rate(FaultKind::Truncated, 0.03)
        .fault_rate(FaultKind::EdgePage, 0.03);
    let mut keys = Vec::new();
    for (n, account) in ["x", "x", "y", "z"].into_iter().enumerate() {
        let (label, secret) = (format!("k{n}"), format!("sk-or-v1-k{n}"));
        mock = mock.key(
            fairkey_mock::Key::new(&secret)
                .label(&label)
                .account(account),
        );
        keys.push(Key::new(label, secret).account(account));
    }
    for account in ["x", "y", "z"] {
        let limited = Account::new(account).balance_usd(100.0);
        mock = mock.account(limited.requests_per_window(40, Duration::from_millis(500)));
    }
    let mock = mock.start().await.unwrap();
    let soon = CooldownConfig {
        throttled: Duration::from_millis(250),
        throttled_cap: Duration::from_millis(500),
        ..CooldownConfig::default()
    };
    let budget = BudgetConfig {
        ratio: 1.0,
        ..BudgetConfig::default()
    };
    let client = builder(&mock)
        .keys(keys)
        .retry(RetryConfig {
            attempts: 12,
            failovers: 1_000,
            budget,
            ..quick()
        })
        .default_gates(false)
        .gate(SlidingWindowBreaker::new(BreakerConfig::default()))
        .gate(Cooldown::per_key(soon.clone()))
        .gate(Cooldown::per_account(soon))
        .max_in_flight(32)
        .build()
        .unwrap();
    let mut answers = client.map((0..400).map(|n| prompt(&format!("prompt {n}"))), 64);
    for expected in 0..400 {
        let (index, answer) = within(answers.next()).await.unwrap();
        assert_eq!(index, expected);
        answer.unwrap_or_else(|error| panic!("{index}: {error}"));
    }
    drop(answers);
    let counters = mock.counters();
    assert!(counters.total.max_in_flight <= 32);
    assert!(
        counters.total.faulted + counters.total.broken > 60,
        "there was a storm"
    );
    assert!(counters.total.status(429) > 0);
    assert_eq!(client.pool().in_flight(), 0);
    assert_eq!(client.stats().answered, 400);
    assert!(matches!(mock.log().events()[0].kind, EventKind::Connected));
}
