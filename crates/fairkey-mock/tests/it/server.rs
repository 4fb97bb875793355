//! Starting, stopping, and keeping connections.

use std::time::Duration;

use fairkey_mock::{
    Account, Action, Budget, Event, Key, MockOpenRouter, Model, On, StartError, Step,
};
use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{chat, connect, open, post, read, request, with, within};

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let mock = open().await;
    let mut client = connect(&mock).await;
    for _ in 0..10 {
        let asked = request(
            &mock,
            "POST",
            "/chat/completions",
            Some("k"),
            chat("x").to_string(),
        );
        client.ready().await.unwrap();
        let response = within(client.send_request(asked)).await.unwrap();
        assert_eq!(within(read(response)).await.status, 200);
    }
    let counters = mock.counters();
    assert_eq!((counters.connections, counters.open_connections), (1, 1));
    assert_eq!(counters.total.requests, 10);
    drop(client);
    within(
        mock.log()
            .wait_for(|event| event.kind == fairkey_mock::EventKind::Disconnected),
    )
    .await;
    assert_eq!(mock.counters().open_connections, 0);
}

#[tokio::test]
async fn in_flight_counts_what_is_not_yet_answered() {
    let mock = std::sync::Arc::new(open().await);
    mock.script(On::any(), [Step::stall_after_chunks(1).times(3)]);
    let ask = with(chat("x"), json!({"stream": true}));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (mock, ask) = (mock.clone(), ask.clone());
            tokio::spawn(async move { post(&mock, "k", &ask).await })
        })
        .collect();
    within(mock.log().wait_for_nth(3, Event::is_stalled)).await;
    let counters = mock.counters();
    assert_eq!(
        (counters.total.in_flight, counters.key("key-1").in_flight),
        (3, 3)
    );
    for task in tasks {
        task.abort();
    }
    within(mock.log().wait_for_nth(3, Event::is_cancelled)).await;
    let total = mock.counters().total;
    assert_eq!((total.in_flight, total.max_in_flight), (0, 3));
}

#[tokio::test]
async fn shutdown_lets_a_running_call_finish_and_closes_the_port() {
    let mock = open().await;
    let addr = mock.addr();
    mock.script(On::any(), [Step::delay(Duration::from_millis(50))]);
    let mut client = connect(&mock).await;
    let asked = request(
        &mock,
        "POST",
        "/chat/completions",
        Some("k"),
        chat("x").to_string(),
    );
    let log = mock.log();
    let running = tokio::spawn(client.send_request(asked));
    within(log.wait_for(Event::is_received)).await;
    within(mock.shutdown()).await;
    assert_eq!(within(running).await.unwrap().unwrap().status(), 200);
    assert!(TcpStream::connect(addr).await.is_err());
    assert_eq!(log.counters().open_connections, 0);
}

#[tokio::test]
async fn dropping_it_ends_everything_at_once() {
    let mock = open().await;
    let (addr, log) = (mock.addr(), mock.log());
    // It would be answered, were the mock to wait for it as `shutdown` does.
    mock.script(On::any(), [Step::delay(Duration::from_secs(2))]);
    let mut client = connect(&mock).await;
    let asked = request(
        &mock,
        "POST",
        "/chat/completions",
        Some("k"),
        chat("x").to_string(),
    );
    let running = tokio::spawn(client.send_request(asked));
    within(log.wait_for(Event::is_received)).await;
    drop(mock);
    assert!(within(running).await.unwrap().is_err());
    within(log.wait_for(Event::is_cancelled)).await;
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn names_that_nothing_has_are_found_before_it_starts() {
    let message = |result: Result<MockOpenRouter, StartError>| result.unwrap_err().to_string();
    let start = async |builder: fairkey_mock::Builder| message(builder.start().await);
    let key = || MockOpenRouter::builder().key(Key::new("sk-secret").label("a"));
    let wrong = key().key(Key::new("x").account("none"));
    assert_eq!(
        start(wrong).await,
        "key \"key-2\": no account is named \"none\"; declare it"
    );
    assert_eq!(
        start(key().key(Key::new("sk-secret"))).await,
        "two keys have the same secret"
    );
    let twice = key().key(Key::new("other").label("a"));
    assert_eq!(start(twice).await, "key \"a\" is declared twice");
    let twice = key().account(Account::new("a")).account(Account::new("a"));
    assert_eq!(start(twice).await, "account \"a\" is declared twice");
    let twice = key().model(Model::new("a/b")).model(Model::new("a/b"));
    assert_eq!(start(twice).await, "model \"a/b\" is declared twice");
    let wrong = key().after_calls(1, Action::revoke_key("sk-typo"));
    assert_eq!(start(wrong).await, "no key has this label or secret");
    let wrong = key().budget(Budget::key("sk-typo", 1.0));
    assert_eq!(
        start(wrong).await,
        "a budget: no key has this label or secret"
    );
    let taken = open().await;
    let error = MockOpenRouter::open()
        .listen(taken.addr())
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn nothing_that_can_be_printed_shows_a_secret() {
    const SECRET: &str = "sk-or-v1-5ecre75ecre75ecre7";
    let builder = MockOpenRouter::builder()
        .key(Key::new(SECRET).label("a"))
        .script(On::key(SECRET), [Step::pass()])
        .after_calls(1, Action::disable_key(SECRET))
        .budget(Budget::key(SECRET, 1.0));
    let mut shown = format!("{builder:?}");
    let mock = builder.start().await.unwrap();
    post(&mock, SECRET, &chat("x")).await;
    post(&mock, SECRET, &chat("x")).await;
    shown += &format!(
        "{mock:?} {:?} {:?} {:?}",
        mock.log(),
        mock.log().events(),
        mock.counters()
    );
    shown += &crate::support::get(&mock, "/key", SECRET).await.body;
    assert!(shown.contains("key a disabled"));
    assert!(!shown.contains("5ecre75"), "{shown}");
}

#[tokio::test]
async fn a_log_of_no_size_still_counts() {
    let mock = MockOpenRouter::open()
        .log_capacity(0)
        .start()
        .await
        .unwrap();
    post(&mock, "k", &chat("x")).await;
    assert!(mock.log().events().is_empty());
    assert_eq!(mock.counters().total.finished, 1);
}
