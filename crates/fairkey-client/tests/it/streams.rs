//! Streamed chat completions: failover before content, never after.

use std::time::Duration;

use fairkey_client::{CallErrorKind, GiveUp};
use fairkey_core::{Ask, Scope};
use fairkey_openrouter::Cause;
use fairkey_transport::{Deadlines, TransportErrorKind};

use crate::scripted::{
    PROVIDER_FULL, Part, REVOKED, Reply, Scripted, builder, client, data, delta, event, finish,
    prompt, role, settle,
};

fn whole(text: &str) -> Reply {
    let start = [data(": OPENROUTER PROCESSING\n\n"), role(), delta(text)];
    Reply::stream(start.into_iter().chain(finish()))
}

#[tokio::test(start_paused = true)]
async fn a_stream_brings_its_chunks_and_then_its_cost() {
    let transport = Scripted::new(|_| whole("Paris"));
    let client = client(1, &transport);
    let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
    assert_eq!(
        (stream.key().as_str(), client.pool().in_flight()),
        ("k0", 1)
    );
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text += &chunk.unwrap().text();
    }
    assert_eq!(text, "Paris");
    assert_eq!(stream.cost().unwrap().tokens, 9);
    assert_eq!(stream.provider(), Some("Acme"));
    assert_eq!(stream.attempts().len(), 1);
    assert!(stream.next().await.is_none(), "the end stays the end");
    assert_eq!(
        client.pool().in_flight(),
        0,
        "although the stream itself still lives"
    );
    assert!(
        transport.seen()[0]
            .body
            .windows(13)
            .any(|w| w == b"\"stream\":true")
    );
}

#[tokio::test(start_paused = true)]
async fn until_the_first_content_a_stream_fails_over_unseen() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(401, REVOKED),
        2 => Reply::status(200, r#"{"error":{"code":502,"message":"x"}}"#),
        3 => Reply::stream([role(), event(r#"{"error":{"code":502,"message":"x"}}"#)]),
        _ => whole("x"),
    });
    let client = client(2, &transport);
    let stream = client.chat_stream(&prompt("x")).await.unwrap();
    let scopes: Vec<_> = stream
        .attempts()
        .iter()
        .map(|a| a.fault.map(|fault| fault.scope))
        .collect();
    assert_eq!(
        scopes,
        [
            Some(Scope::Key),
            Some(Scope::Provider),
            Some(Scope::Provider),
            None
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_cut_before_content_is_tried_again() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::stream([role()]),
        2 => Reply::stream([role(), Part::Break(TransportErrorKind::Reset)]),
        _ => whole("x"),
    });
    let stream = client(1, &transport)
        .chat_stream(&prompt("x"))
        .await
        .unwrap();
    let causes: Vec<_> = stream
        .attempts()
        .iter()
        .map(|a| a.fault.map(|fault| fault.cause))
        .collect();
    assert_eq!(causes, [Some(Cause::Truncated), Some(Cause::Network), None]);
}

#[tokio::test(start_paused = true)]
async fn after_content_no_other_attempt_is_made_and_the_break_is_told() {
    for (end, scope) in [
        (vec![event(PROVIDER_FULL)], Scope::Provider),
        (vec![Part::Break(TransportErrorKind::Reset)], Scope::Network),
        (vec![], Scope::Provider),
    ] {
        let parts: Vec<_> = [delta("half")].into_iter().chain(end).collect();
        let transport = Scripted::new(move |_| Reply::stream(parts.clone()));
        let client = client(3, &transport);
        let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap().text(), "half");
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.scope()), (CallErrorKind::Fault, scope));
        assert_eq!(error.give_up(), Some(GiveUp::Committed));
        assert_eq!(error.attempts().len(), 1);
        assert!(stream.next().await.is_none());
        assert_eq!(transport.seen().len(), 1);
        assert_eq!(client.pool().in_flight(), 0);
        let faults = client.stats().faults;
        assert_eq!((faults.len(), faults[0].scope), (1, scope), "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn comments_do_not_count_as_content() {
    let deadlines = Deadlines {
        first_content: Duration::from_secs(20),
        ..Deadlines::default()
    };
    let transport = Scripted::new(|seen| {
        if seen.nth > 1 {
            return whole("x");
        }
        let drip = [
            data(": OPENROUTER PROCESSING\n\n"),
            Part::Wait(Duration::from_secs(1)),
        ];
        Reply::stream(std::iter::repeat_n(drip, 1_000).flatten())
    });
    let client = builder(1, &transport).deadlines(deadlines).build().unwrap();
    let stream = client.chat_stream(&prompt("x")).await.unwrap();
    let first = &stream.attempts()[0];
    assert_eq!(first.fault.unwrap().cause, Cause::ProviderTimeout);
    assert_eq!(first.elapsed, Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_flood_before_content_is_not_kept_without_bound() {
    let line = format!(": {}\n\n", "x".repeat(64 << 10));
    let transport = Scripted::new(move |_| {
        let flood = std::iter::repeat_n(data(&line), 64);
        let rest = [Part::Wait(Duration::from_secs(9)), delta("x")];
        Reply::stream(flood.chain(rest).chain(finish()))
    });
    let client = client(1, &transport);
    let began = tokio::time::Instant::now();
    let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "so much is not waited through"
    );
    assert_eq!(stream.next().await.unwrap().unwrap().text(), "x");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_stream_early_blames_nobody() {
    let transport = Scripted::new(|_| Reply::stream([delta("half"), Part::Hang]));
    let client = client(1, &transport);
    for _ in 0..50 {
        let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        drop(stream);
    }
    assert_eq!(client.pool().in_flight(), 0);
    assert!(client.stats().faults.is_empty());
    assert!(client.pool().explain(&Ask::new()).keys[0].is_admitted());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_keeps_the_connection_open_after_the_end_holds_no_key_for_long() {
    let transport = Scripted::new(|_| {
        Reply::stream([delta("x")].into_iter().chain(finish()).chain([Part::Hang]))
    });
    let client = client(1, &transport);
    let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
    let began = tokio::time::Instant::now();
    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
    }
    assert_eq!(began.elapsed(), Duration::from_millis(500));
    assert_eq!(client.pool().in_flight(), 0);
    assert!(client.stats().faults.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_counts_as_in_flight_to_its_end() {
    let transport = Scripted::new(|_| {
        Reply::stream([delta("a"), Part::Wait(Duration::from_secs(30)), delta("b")])
    });
    let client = builder(1, &transport).max_in_flight(1).build().unwrap();
    let first = client.chat_stream(&prompt("x")).await.unwrap();
    let second = tokio::spawn({
        let client = client.clone();
        async move { client.chat_stream(&prompt("y")).await }
    });
    settle().await;
    assert!(!second.is_finished());
    assert_eq!(client.stats().waiting, 1);
    drop(first);
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_behind_the_end_does_not_keep_the_key() {
    let transport = Scripted::new(|_| {
        let start = [role(), delta("Paris")].into_iter().chain(finish());
        let more = (0..1_000).map(|_| data(": and another\n\n"));
        Reply::stream(start.chain(more).chain([Part::Trap]))
    });
    let client = client(1, &transport);
    let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text += &chunk.unwrap().text();
    }
    assert_eq!((text.as_str(), client.pool().in_flight()), ("Paris", 0));
}
