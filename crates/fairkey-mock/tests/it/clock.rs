//! The mock's own time.

use std::time::Duration;

use fairkey_mock::{Account, Action, Key, MockOpenRouter, Timestamp};

use crate::support::{chat, get, post, within};

#[tokio::test]
async fn the_clock_starts_where_it_is_told_and_jumps() {
    let start: Timestamp = "2030-02-28T23:00:00Z".parse().unwrap();
    let mock = MockOpenRouter::open().now(start).start().await.unwrap();
    let answer = get(&mock, "/key", "k").await;
    assert!(
        answer
            .header("date")
            .unwrap()
            .starts_with("Thu, 28 Feb 2030 23:")
    );
    mock.advance(Duration::from_secs(3600));
    let answer = get(&mock, "/key", "k").await;
    assert!(
        answer
            .header("date")
            .unwrap()
            .starts_with("Fri, 01 Mar 2030 00:")
    );
}

#[tokio::test]
async fn a_fast_clock_brings_resets_and_tells_of_them_in_the_clients_time() {
    // A day of the mock's time in a quarter of a second.
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").requests_per_window(1, Duration::from_secs(86_400)))
        .key(Key::new("k").account("acme"))
        .speed(345_600.0)
        .start()
        .await
        .unwrap();
    let log = mock.log();
    assert_eq!(post(&mock, "k", &chat("x")).await.status, 200);
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!(answer.status, 429);
    let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    let start = Timestamp::DEFAULT_START.unix_millis();
    // A day away by the mock's clock, and a quarter of a second by the client's.
    let told = reset - start;
    assert!((250..60_000).contains(&told), "{told} ms after the start");
    let served = async { while post(&mock, "k", &chat("x")).await.status != 200 {} };
    within(served).await;
    let events = log.events();
    let times: Vec<_> = events
        .iter()
        .filter(|e| e.is_finished())
        .map(|e| e.at)
        .collect();
    assert!(
        times[1].since(times[0]) >= Duration::from_secs(80_000),
        "{times:?}"
    );
    let error = MockOpenRouter::open().speed(0.0).start().await.unwrap_err();
    assert!(error.to_string().contains("speed"), "{error}");
}

#[tokio::test]
async fn the_world_changes_after_calls_and_at_times() {
    let mock = MockOpenRouter::builder()
        .key(Key::new("secret-a").label("a"))
        .key(Key::new("secret-b").label("b"))
        .after_calls(2, Action::revoke_key("a"))
        .at(Duration::from_secs(3600), Action::disable_key("secret-b"))
        .start()
        .await
        .unwrap();
    let a = async || post(&mock, "secret-a", &chat("x")).await.status;
    let b = async || post(&mock, "secret-b", &chat("x")).await.status;
    assert_eq!([a().await, a().await, a().await], [200, 200, 401]);
    assert_eq!(b().await, 200);
    mock.advance(Duration::from_secs(3600));
    assert_eq!(b().await, 401);
    let changes: Vec<String> = mock
        .log()
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            fairkey_mock::EventKind::Changed { what } => Some(what),
            _ => None,
        })
        .collect();
    assert_eq!(changes[0], "key a revoked");
    assert_eq!(changes.last().unwrap(), "key b disabled");
}
