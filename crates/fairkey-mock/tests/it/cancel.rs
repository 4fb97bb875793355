//! Clients that leave.

use std::time::Duration;

use fairkey_mock::{Event, EventKind, Latency, MockOpenRouter, Model, Provider};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{chat, connect, request, with, within};

/// The tokens and the cost that were billed for a stream whose client left after some content.
async fn left_mid_stream(cancels: bool) -> (u64, u64, f64) {
    let slow = Latency::new(Duration::ZERO, Duration::from_millis(2));
    let mock = MockOpenRouter::open()
        .model(
            Model::new("acme/m")
                .prompt_price(0.0)
                .completion_price(1e6)
                .provider(Provider::new("P").cancels(cancels)),
        )
        .answer_tokens(100_000..=100_000)
        .latency(slow)
        .start()
        .await
        .unwrap();
    let ask = with(chat("x"), json!({"model": "acme/m", "stream": true}));
    let mut client = connect(&mock).await;
    let asked = request(
        &mock,
        "POST",
        "/chat/completions",
        Some("k"),
        ask.to_string(),
    );
    let mut body = within(client.send_request(asked))
        .await
        .unwrap()
        .into_body();
    let mut seen = String::new();
    while !seen.contains("\"content\":\"On\"") {
        let frame = within(body.frame()).await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    drop(body);
    drop(client);
    let event = within(mock.log().wait_for(Event::is_cancelled)).await;
    let counters = mock.counters();
    assert_eq!((counters.total.cancelled, counters.total.in_flight), (1, 0));
    match event.kind {
        EventKind::Cancelled {
            chunks,
            completion_tokens,
            cost_usd,
        } => (chunks, completion_tokens, cost_usd),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_its_client_leaves_stops_and_bills_what_was_produced() {
    let (chunks, tokens, cost) = left_mid_stream(true).await;
    assert!((1..1000).contains(&chunks), "{chunks}");
    assert!((1..10_000).contains(&tokens), "{tokens}");
    assert!((cost - tokens as f64).abs() < 1e-9, "a dollar a token");
}

#[tokio::test]
async fn a_provider_that_does_not_cancel_bills_to_the_end() {
    let (chunks, tokens, _) = left_mid_stream(false).await;
    assert!(chunks < 1000);
    assert!(tokens >= 100_000, "{tokens}");
}

#[tokio::test]
async fn a_plain_answer_that_nobody_waits_for_is_billed_whole() {
    let slow = Latency::new(Duration::from_secs(3600), Duration::ZERO);
    let mock = MockOpenRouter::open().latency(slow).start().await.unwrap();
    let mut client = connect(&mock).await;
    let asked = request(
        &mock,
        "POST",
        "/chat/completions",
        Some("k"),
        chat("x").to_string(),
    );
    let log = mock.log();
    tokio::select! {
        answer = client.send_request(asked) => panic!("answered: {answer:?}"),
        _ = within(log.wait_for(Event::is_received)) => {}
    }
    drop(client);
    let event = within(mock.log().wait_for(Event::is_cancelled)).await;
    let EventKind::Cancelled {
        completion_tokens,
        cost_usd,
        ..
    } = event.kind
    else {
        panic!("{event:?}")
    };
    assert!(completion_tokens >= 16 && cost_usd > 0.0, "{event:?}");
}

#[tokio::test]
async fn a_stream_left_before_its_first_token_costs_nothing() {
    let slow = Latency::new(Duration::from_secs(3600), Duration::ZERO);
    let mock = MockOpenRouter::open().latency(slow).start().await.unwrap();
    let ask: Value = with(chat("x"), json!({"stream": true}));
    let mut client = connect(&mock).await;
    let asked = request(
        &mock,
        "POST",
        "/chat/completions",
        Some("k"),
        ask.to_string(),
    );
    let log = mock.log();
    tokio::select! {
        answer = client.send_request(asked) => panic!("answered: {answer:?}"),
        _ = within(log.wait_for(Event::is_received)) => {}
    }
    drop(client);
    within(mock.log().wait_for(Event::is_cancelled)).await;
    assert_eq!(mock.counters().total.cost_usd(), 0.0);
}
