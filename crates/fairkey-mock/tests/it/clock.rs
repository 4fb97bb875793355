//! The mock's own time.

use std::time::Duration;

use fairkey_mock::{Action, Key, MockOpenRouter, Timestamp};

use crate::support::{chat, get, post};

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
