//! Limits through the whole client: calls wait for room, and none is lost on any path.

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Call, CallErrorKind, CallOptions, Client, ClientBuilder};
use fairkey_core::{Ask, Cost, Key, Scope};
use fairkey_mock::{Account, MockOpenRouter};
use fairkey_openrouter::ChatRequest;
use fairkey_strategy::{
    Dimension, Limit, LimitError, LimitGroup, LimitSet, LimitsConfig, RoundRobin,
};
use fairkey_transport::{HttpTransport, TransportErrorKind};
use http::Request;
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::in_memory::{InMemory, MocksTime};
use crate::scripted::{
    DOWN, PROVIDER_FULL, Part, Reply, Scripted, Seen, builder, delta, finish, prompt, settle,
};

const WINDOW: Duration = Duration::from_secs(10);

fn requests(limit: u64) -> LimitSet {
    LimitSet {
        requests: Some(Limit::per(limit, WINDOW)),
        ..LimitSet::NONE
    }
}

/// Keys `k0`, `k1`, … of the account `acme`, which may make so many requests in ten seconds.
fn acme(keys: usize, limit: u64, transport: &Arc<Scripted>) -> ClientBuilder {
    let more = (1..keys).map(|n| Key::new(format!("k{n}"), format!("sk-{n}")).account("acme"));
    builder(0, transport)
        .keys([Key::new("k0", "sk-0").account("acme")])
        .keys(more)
        .limits(LimitsConfig::default().account("acme", requests(limit)))
}

fn good(_: &Seen) -> Reply {
    Reply::good("x")
}

async fn many(client: &Client, calls: usize) {
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(&prompt("x")).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn sent(transport: &Scripted, began: Instant) -> Vec<u128> {
    let seen = transport.seen();
    let at = seen.iter().map(|seen| seen.at.duration_since(began));
    at.map(|at| at.as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_above_a_limit_are_sent_the_moment_the_window_has_room() {
    let transport = Scripted::new(good);
    let client = acme(2, 2, &transport).build().unwrap();
    let began = Instant::now();
    many(&client, 5).await;
    // The window, and the margin of 100 ms.
    let sent = sent(&transport, began);
    for (at, expected) in sent.iter().zip([0, 0, 10_100, 10_100, 20_200]) {
        // A timer's grain is a millisecond.
        assert!((expected..=expected + 2).contains(at), "{sent:?}");
    }
    assert_eq!(sent.len(), 5, "nobody polled the upstream");
    assert_eq!(client.stats().waits, 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_not_wait_is_told_which_limit_bars_it() {
    let transport = Scripted::new(good);
    let client = acme(2, 2, &transport)
        .max_wait(Duration::from_secs(3))
        .build()
        .unwrap();
    many(&client, 2).await;
    let began = Instant::now();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO, "it is known in advance");
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(error.scope(), Scope::Account);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(10_000)));
    let limit = error.keys()[0].limit.as_deref().unwrap();
    assert_eq!(
        limit,
        "account \"acme\": 2 requests in 10 s used up until 08:00:10 UTC"
    );
    assert!(error.to_string().contains(limit), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_pin_does_not_overrule_a_limit() {
    let transport = Scripted::new(good);
    let client = acme(1, 2, &transport).build().unwrap();
    client.pin("k0");
    let began = Instant::now();
    many(&client, 3).await;
    assert!(sent(&transport, began)[2] >= 10_100);
}

#[tokio::test(start_paused = true)]
async fn limits_stand_before_a_strategy_of_ones_own() {
    let transport = Scripted::new(good);
    let client = acme(2, 2, &transport)
        .strategy(RoundRobin::new())
        .build()
        .unwrap();
    let began = Instant::now();
    many(&client, 3).await;
    assert!(sent(&transport, began)[2] >= 10_100);
    assert_eq!(transport.keys()[..2], ["sk-0", "sk-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_key_with_most_room_serves() {
    let transport = Scripted::new(good);
    let limits = LimitsConfig::default()
        .key("k0", requests(10))
        .key("k1", requests(30));
    let client = builder(2, &transport).limits(limits).build().unwrap();
    assert_eq!(client.headroom("nobody", &Ask::new()), None);
    for _ in 0..20 {
        client.chat(&prompt("x")).await.unwrap();
    }
    let of = |secret| transport.keys().iter().filter(|key| *key == secret).count();
    assert_eq!((of("sk-0"), of("sk-1")), (5, 15), "as much of each limit");
    // One more call leaves 4 of 10.
    let headroom = client.headroom("k0", &Ask::new()).unwrap();
    assert!((headroom - 0.4).abs() < 0.01, "{headroom}");
}

#[tokio::test(start_paused = true)]
async fn limits_are_set_lifted_and_shown_while_calls_wait() {
    let transport = Scripted::new(good);
    let client = builder(1, &transport).build().unwrap();
    assert!(client.limit_uses().is_empty());
    let set = |limit| client.set_limit("k0", LimitGroup::Account, Dimension::Requests, limit);
    set(Some(Limit::per(1, WINDOW))).unwrap();
    let began = Instant::now();
    let calls = tokio::spawn({
        let client = client.clone();
        async move { many(&client, 3).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let uses = client.limit_uses();
    assert_eq!(
        uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["1 of 1 requests in 10 s"]
    );
    assert_eq!(uses[0].owner.to_string(), "the account of key \"k0\"");
    set(Some(Limit::per(2, WINDOW))).unwrap();
    settle().await;
    set(None).unwrap();
    calls.await.unwrap();
    assert_eq!(sent(&transport, began), [0, 1_000, 1_000]);
    assert!(client.limit_uses().is_empty());
    let nobody = client.set_limit("x", LimitGroup::Key, Dimension::Requests, None);
    assert_eq!(nobody, Err(LimitError::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_counted_and_a_new_configuration_what_it_does_not_change() {
    let transport = Scripted::new(good);
    let client = acme(1, 2, &transport).build().unwrap();
    many(&client, 2).await;
    let keys = ["k0", "new"].map(|id| Key::new(id, format!("sk-{id}")).account("acme"));
    client.pool().reload(keys).unwrap();
    let used = || client.limit_uses()[0].used;
    assert_eq!(used(), 2, "the account is the same");
    let mut limits = LimitsConfig::default().account("acme", requests(2));
    limits = limits.key("new", requests(7));
    client.configure_limits(limits).unwrap();
    let uses = client.limit_uses();
    assert_eq!((uses.len(), used()), (2, 2));
    assert_eq!(uses[1].to_string(), "0 of 7 requests in 10 s");
    let began = Instant::now();
    client.configure_limits(LimitsConfig::default()).unwrap();
    many(&client, 5).await;
    assert!(began.elapsed() < WINDOW, "no limit is left");
}

#[test]
fn limits_for_more_models_than_there_is_place_for_are_refused() {
    let transport = Scripted::new(good);
    let mut limits = LimitsConfig::default();
    for n in 0..1_025 {
        limits = limits.model("acme", format!("m/{n}"), requests(1));
    }
    let error = builder(1, &transport).limits(limits).build().unwrap_err();
    assert!(error.to_string().contains("1024 models"), "{error}");
}

/// A mock with two accounts of two keys, and a client that knows their limits, or not.
fn world(known: bool) -> (Arc<MockOpenRouter>, Client) {
    let (calls, window) = (30, Duration::from_secs(6));
    let account = |id: &str| Account::new(id).requests_per_window(calls, window);
    let key = |id: &str, account: &str| {
        fairkey_mock::Key::new(format!("sk-or-v1-{id}"))
            .label(id)
            .account(account)
    };
    let mock = MockOpenRouter::builder()
        .account(account("one"))
        .account(account("two"))
        .key(key("a", "one"))
        .key(key("b", "one"))
        .key(key("c", "two"))
        .key(key("d", "two"))
        .start_in_memory()
        .unwrap();
    let mock = Arc::new(mock);
    let transport = HttpTransport::builder()
        .dialer(Arc::new(InMemory(Arc::clone(&mock))))
        .build()
        .unwrap();
    let set = LimitSet {
        requests: Some(Limit::per(u64::from(calls), window)),
        ..LimitSet::NONE
    };
    let limits = LimitsConfig::default()
        .account("one", set)
        .account("two", set);
    let keys = [("a", "one"), ("b", "one"), ("c", "two"), ("d", "two")];
    let keys = keys.map(|(id, account)| Key::new(id, format!("sk-or-v1-{id}")).account(account));
    let client = Client::builder()
        .keys(keys)
        .limits(if known {
            limits
        } else {
            LimitsConfig::default()
        })
        .wall_clock(MocksTime(Arc::clone(&mock)))
        .base_url(mock.base_url())
        .transport(Arc::new(transport))
        .max_wait(Duration::from_secs(30))
        .seed(3)
        .build()
        .unwrap();
    (mock, client)
}

/// Offers 15 calls a second for a minute, where 10 can be answered. Returns how many were
/// answered, and how many were refused by the mock.
async fn overload(known: bool) -> (u64, u64) {
    let (mock, client) = world(known);
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..900 {
        let client = client.clone();
        calls.spawn(async move {
            let request = ChatRequest::new("openai/gpt-4o-mini").user(format!("{n}"));
            client.chat(&request).await.is_ok()
        });
        tokio::time::sleep(Duration::from_millis(1_000 / 15)).await;
    }
    while calls.join_next().await.is_some() {}
    let total = mock.counters().total;
    assert_eq!(client.pool().in_flight(), 0);
    (total.status(200), total.status(429))
}

#[tokio::test(start_paused = true)]
async fn where_limits_are_known_an_overload_meets_next_to_no_refusal() {
    let (answered, refused) = overload(true).await;
    assert!(answered >= 600, "of ten a second: {answered}");
    assert_eq!(refused, 0, "to {answered} answers");
}

#[tokio::test(start_paused = true)]
async fn where_limits_are_not_known_it_does() {
    let (_, refused) = overload(false).await;
    assert!(refused > 0, "or the test above proves nothing");
}

/// One way for a call to end, early or late.
#[derive(Clone, Copy, Debug)]
enum Way {
    Answer,
    Stream,
    /// A stream that is dropped after its first content.
    Leave,
    Break,
    Refused,
    Down,
    Reset,
    /// Dropped while it waits for its head.
    Cancel,
    Deadline,
}

fn reply(seen: &Seen) -> Reply {
    let is = |word: &str| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        body.contains(word)
    };
    let slow = Part::Wait(Duration::from_millis(300));
    if is("Stream") || is("Leave") {
        Reply::stream([delta("a"), slow, delta("b")].into_iter().chain(finish()))
    } else if is("Break") {
        Reply::stream([delta("a"), slow, Part::Break(TransportErrorKind::Reset)])
    } else if is("Refused") {
        Reply::status(429, PROVIDER_FULL)
    } else if is("Down") {
        Reply::status(503, DOWN)
    } else if is("Reset") {
        Reply::Error(TransportErrorKind::Reset)
    } else if is("Cancel") || is("Deadline") {
        Reply::Silence
    } else {
        Reply::good("x")
    }
}

async fn go(client: Client, way: Way) {
    let body = format!("{{\"model\":\"m/{way:?}\",\"stream\":true}}");
    let cost = Cost {
        requests: 1,
        tokens: 50,
        micro_usd: 900,
    };
    let mut options = CallOptions {
        model: Some(format!("m/{way:?}").into()),
        cost: Some(cost),
        ..CallOptions::default()
    };
    match way {
        Way::Stream | Way::Leave | Way::Break => {
            let mut request = Request::post("/chat/completions")
                .body(body.into())
                .unwrap();
            request.extensions_mut().insert(options);
            let Ok(response) = client.send(request).await else {
                return;
            };
            let mut body = response.into_body();
            if matches!(way, Way::Leave) {
                let _ = body.frame().await;
            } else {
                let _ = body.collect().await;
            }
        }
        _ => {
            if matches!(way, Way::Deadline) {
                options.deadline = Some(Duration::from_millis(700));
            }
            let call = Call::new("/chat/completions", body).options(options);
            let made = client.call(call);
            if matches!(way, Way::Cancel) {
                let _ = tokio::time::timeout(Duration::from_millis(400), made).await;
            } else {
                let _ = made.await;
            }
        }
    }
}

fn ways() -> impl Strategy<Value = Vec<(Way, u64)>> {
    let way = prop::sample::select(vec![
        Way::Answer,
        Way::Stream,
        Way::Leave,
        Way::Break,
        Way::Refused,
        Way::Down,
        Way::Reset,
        Way::Cancel,
        Way::Deadline,
    ]);
    vec((way, 0..400_u64), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However calls end, what they held at a time is free again, and no more requests were sent in
    /// any window than the limit.
    #[test]
    fn whatever_becomes_of_calls_their_reservations_go_back(ways in ways()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let transport = Scripted::new(reply);
            let set = LimitSet {
                requests: Some(Limit::per(9, WINDOW)),
                tokens: Some(Limit::per(600, WINDOW)),
                in_flight: Some(4),
                in_flight_micro_usd: Some(3_000),
                ..LimitSet::NONE
            };
            let limits = LimitsConfig::default().account("acme", set);
            let client = acme(2, 9, &transport).limits(limits).build().unwrap();
            let mut calls = tokio::task::JoinSet::new();
            for (way, pause) in ways {
                calls.spawn(go(client.clone(), way));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            while let Some(call) = calls.join_next().await {
                call.unwrap();
            }
            let held = |dimension| {
                let uses = client.limit_uses();
                uses.iter().find(|it| it.dimension == dimension).unwrap().used
            };
            assert_eq!((held(Dimension::InFlight), held(Dimension::InFlightUsd)), (0, 0));
            let sent: Vec<Instant> = transport.seen().iter().map(|seen| seen.at).collect();
            for (at, first) in sent.iter().enumerate() {
                let window = sent[at..].iter().take_while(|it| **it < *first + WINDOW);
                assert!(window.count() <= 9);
            }
            tokio::time::sleep(WINDOW * 2).await;
            assert_eq!((held(Dimension::Requests), held(Dimension::Tokens)), (0, 0));
        });
    }
}

/// A client of accounts with three keys each, over a mock whose limits it is not told.
fn hidden(mock: &Arc<fairkey_mock::MockOpenRouter>, accounts: usize) -> Client {
    let transport = HttpTransport::builder()
        .dialer(Arc::new(InMemory(Arc::clone(mock))))
        .build()
        .unwrap();
    let key = |n: usize| {
        let account = format!("a{}", n / 3);
        Key::new(format!("k{n}"), format!("sk-or-v1-k{n}")).account(account)
    };
    Client::builder()
        .keys((0..3 * accounts).map(key))
        .wall_clock(MocksTime(Arc::clone(mock)))
        .base_url(mock.base_url())
        .transport(Arc::new(transport))
        .max_wait(Duration::from_secs(3_600))
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_nobody_told_of_is_learned_and_kept() {
    let mut builder = MockOpenRouter::builder().latency(fairkey_mock::Latency::new(
        Duration::from_secs(1),
        Duration::ZERO,
    ));
    let minute = Duration::from_secs(60);
    for account in 0..2 {
        let limit = fairkey_mock::Limit::requests(60, minute).hidden();
        builder = builder.account(Account::new(format!("a{account}")).limit(limit));
        for key in 3 * account..3 * account + 3 {
            let key = fairkey_mock::Key::new(format!("sk-or-v1-k{key}"));
            builder = builder.key(key.account(format!("a{account}")));
        }
    }
    let mock = Arc::new(builder.start_in_memory().unwrap());
    let client = hidden(&mock, 2);
    let began = Instant::now();
    let calls: Vec<_> = (0..1_200)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                // 1.5 times what the accounts let through.
                tokio::time::sleep(Duration::from_millis(333 * n)).await;
                let request = ChatRequest::new("openai/gpt-4o-mini").user(format!("{n}"));
                client
                    .chat(&request)
                    .await
                    .map(|answer| answer.attempts.len())
            })
        })
        .collect();
    let mut attempts = 0;
    for call in calls {
        attempts += call.await.unwrap().unwrap();
    }
    let (took, refused) = (began.elapsed(), attempts - 1_200);
    assert!(
        took < 11 * minute,
        "ten minutes' worth of calls took {took:?}"
    );
    assert!(refused < 60, "{refused} of 1200 were refused");
    let learned = client.learned("k4");
    assert!(
        (learned.iter()).any(|it| it.dimension == Dimension::Requests && it.amount >= 55),
        "{learned:?}"
    );
}
