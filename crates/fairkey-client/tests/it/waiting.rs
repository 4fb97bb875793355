//! Waiting for keys, through the whole client.

use std::time::Duration;

use fairkey_client::{Call, CallErrorKind, Client};
use fairkey_core::Key;
use fairkey_strategy::MaxInFlight;
use tokio::time::Instant;

use crate::scripted::{ADMISSION, REVOKED, Reply, Scripted, builder, prompt, settle};

fn slow(_: &crate::scripted::Seen) -> Reply {
    Reply::good("x").after(Duration::from_secs(1))
}

async fn all(client: &Client, calls: usize) {
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

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_cap_wait_instead_of_failing() {
    let transport = Scripted::new(slow);
    let client = builder(2, &transport)
        .gate(MaxInFlight::per_key(2))
        .build()
        .unwrap();
    let began = Instant::now();
    all(&client, 20).await;
    assert_eq!(
        began.elapsed(),
        Duration::from_millis(5_500),
        "5 rounds of 4, without a gap"
    );
    assert_eq!(client.stats().waits, 16);
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_concurrency_of_the_client_is_bounded() {
    let transport = Scripted::new(slow);
    let client = builder(3, &transport).max_in_flight(4).build().unwrap();
    let began = Instant::now();
    all(&client, 20).await;
    assert_eq!(began.elapsed(), Duration::from_millis(5_500));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_before_a_retry_is_not_in_flight() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(503, "{}").header("retry-after", "60"),
        _ => Reply::good("x"),
    });
    let client = builder(1, &transport).max_in_flight(1).build().unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&prompt("x")).await.unwrap() }
    });
    settle().await;
    let began = Instant::now();
    // The model is out until then; another one is not.
    let other = fairkey_openrouter::ChatRequest::new("m/b").user("y");
    client.chat(&other).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    assert_eq!(waits.await.unwrap().attempts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_is_bounded_and_says_when_to_come_again() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(429, ADMISSION),
        _ => Reply::good("x"),
    });
    let client = builder(1, &transport)
        .max_wait(Duration::from_secs(5))
        .build()
        .unwrap();
    let began = Instant::now();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "10 s do not pass within 5 s"
    );
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    assert!(!error.is_every_key_dead());
    assert_eq!((error.attempts().len(), error.keys().len()), (1, 1));
    assert!(error.to_string().contains("try again in 10.0 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn with_no_time_to_wait_nobody_waits() {
    let transport = Scripted::new(slow);
    let client = builder(1, &transport)
        .max_in_flight(1)
        .max_wait(Duration::ZERO)
        .build()
        .unwrap();
    let busy = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&prompt("x")).await }
    });
    settle().await;
    let error = client.chat(&prompt("y")).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert!(
        busy.await.unwrap().is_ok(),
        "what is free can be had all the same"
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_waiting_too() {
    let transport = Scripted::new(slow);
    let client = builder(1, &transport).max_in_flight(1).build().unwrap();
    let busy = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&prompt("x")).await }
    });
    settle().await;
    let began = Instant::now();
    let call = Call::chat(&prompt("y")).deadline(Duration::from_millis(300));
    let error = client.call(call).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.attempts().len()),
        (CallErrorKind::Deadline, 0)
    );
    assert_eq!(began.elapsed(), Duration::from_millis(300));
    assert!(busy.await.unwrap().is_ok());
    assert_eq!(
        transport.seen().len(),
        1,
        "a call that gave up is never sent"
    );
}

#[tokio::test(start_paused = true)]
async fn turned_away_where_too_many_wait() {
    let transport = Scripted::new(slow);
    let client = builder(1, &transport)
        .max_in_flight(1)
        .max_waiting(2)
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(&prompt("x")).await })
        })
        .collect();
    let mut kinds = Vec::new();
    for task in tasks {
        kinds.push(
            task.await
                .unwrap()
                .map(|_| ())
                .map_err(|error| error.kind()),
        );
    }
    let overloaded = Err(CallErrorKind::Overloaded);
    assert_eq!(kinds, [Ok(()), Ok(()), Ok(()), overloaded]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_brings_the_waiting_a_key() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-0" => Reply::status(429, ADMISSION),
        _ => Reply::good("x"),
    });
    let client = builder(1, &transport).build().unwrap();
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.chat(&prompt("x")).await.unwrap() }
    });
    settle().await;
    client
        .pool()
        .reload([Key::new("k0", "sk-0"), Key::new("new", "sk-new")])
        .unwrap();
    assert_eq!(waits.await.unwrap().key.as_str(), "new");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_learn_at_once_that_the_last_key_died() {
    let transport = Scripted::new(|_| Reply::status(401, REVOKED).after(Duration::from_secs(1)));
    let client = builder(1, &transport).max_in_flight(1).build().unwrap();
    let began = Instant::now();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(&prompt("x")).await.unwrap_err() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_every_key_dead());
    }
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(transport.seen().len(), 1);
}

#[test]
fn a_client_is_shared_by_threads_without_losing_a_call() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let transport = Scripted::new(|_| Reply::status(200, &crate::scripted::good_body("x")));
    let client = builder(4, &transport)
        .gate(MaxInFlight::per_key(1))
        .max_in_flight(3)
        .build()
        .unwrap();
    runtime.block_on(async {
        let work = async {
            let tasks: Vec<_> = (0..2_000)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.chat(&prompt("x")).await.unwrap() })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), work)
            .await
            .expect("nobody waits for ever");
    });
    assert_eq!(
        (transport.seen().len(), client.pool().in_flight()),
        (2_000, 0)
    );
}
