//! HTTP/2 with prior knowledge: many calls on one connection.

use bytes::Bytes;
use fairkey_mock::{Event, MockOpenRouter, On, Step};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{chat, open, read, with, within};

async fn connect(mock: &MockOpenRouter) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(mock.addr()).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn ask(mock: &MockOpenRouter, body: &Value) -> Request<Full<Bytes>> {
    Request::post(format!("{}/chat/completions", mock.base_url()))
        .header("authorization", "Bearer k")
        .body(Full::from(body.to_string()))
        .unwrap()
}

fn streamed() -> Value {
    with(chat("x"), json!({"stream": true}))
}

#[tokio::test]
async fn a_broken_stream_leaves_its_siblings_alone() {
    let mock = open().await;
    let mut client = connect(&mock).await;
    mock.script(
        On::any(),
        [
            Step::stall_after_chunks(1),
            Step::reset_after_chunks(1),
            Step::reset_before_head(),
            Step::truncate_after_chunks(1),
        ],
    );
    let mut first = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap()
        .into_body();
    within(first.frame()).await.unwrap().unwrap();

    let reset = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap();
    assert!(!within(read(reset)).await.complete);
    assert!(
        within(client.send_request(ask(&mock, &streamed())))
            .await
            .is_err()
    );
    let truncated = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap();
    let truncated = within(read(truncated)).await;
    assert!(truncated.complete && !truncated.body.contains("[DONE]"));
    let whole = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap();
    assert!(within(read(whole)).await.body.ends_with("data: [DONE]\n\n"));

    assert_eq!(mock.counters().total.cancelled, 0);
    drop(first);
    within(mock.log().wait_for(Event::is_cancelled)).await;
    let counters = mock.counters();
    assert_eq!((counters.connections, counters.open_connections), (1, 1));
    assert_eq!(counters.total.in_flight, 0);
}

#[tokio::test]
async fn the_stream_limit_is_announced() {
    let mock = MockOpenRouter::open()
        .http2_max_concurrent_streams(1)
        .start()
        .await
        .unwrap();
    let mut client = connect(&mock).await;
    // The settings are known once an answer came.
    let answer = within(client.send_request(ask(&mock, &chat("x"))))
        .await
        .unwrap();
    assert_eq!(within(read(answer)).await.status, 200);
    mock.script(On::any(), [Step::stall_after_chunks(1)]);
    let held = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap();
    let waiting = tokio::spawn(client.send_request(ask(&mock, &chat("x"))));
    within(mock.log().wait_for(Event::is_stalled)).await;
    assert_eq!(
        mock.counters().total.requests,
        2,
        "the third waits for the second"
    );
    drop(held);
    let answer = within(waiting).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(mock.counters().total.requests, 3);
}

#[tokio::test]
async fn dropping_the_mock_ends_its_streams_too() {
    let mock = open().await;
    let log = mock.log();
    let mut client = connect(&mock).await;
    mock.script(
        On::any(),
        [Step::stall_before_head(), Step::stall_after_chunks(1)],
    );
    let waiting = tokio::spawn(client.send_request(ask(&mock, &streamed())));
    within(log.wait_for(Event::is_stalled)).await;
    let held = within(client.send_request(ask(&mock, &streamed())))
        .await
        .unwrap();
    within(log.wait_for_nth(2, Event::is_stalled)).await;
    drop(mock);
    assert!(within(waiting).await.unwrap().is_err());
    assert!(!within(read(held)).await.complete);
    within(log.wait_for_nth(2, Event::is_cancelled)).await;
    assert_eq!(log.counters().total.in_flight, 0);
}
