//! Dropped at any await point, a call leaves nothing behind.

use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::Client;
use fairkey_core::Ask;
use fairkey_strategy::MaxInFlight;
use fairkey_transport::TransportErrorKind;
use http::Request;
use http_body_util::BodyExt;

use crate::scripted::{
    ADMISSION, DOWN, Part, REVOKED, Reply, Scripted, builder, data, delta, finish, good_body,
    prompt, role, settle,
};

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Goes through refusals, waits, a slow head and a body in pieces.
fn rough(seen: &crate::scripted::Seen) -> Reply {
    let pause = Part::Wait(Duration::from_millis(50));
    match seen.nth % 6 {
        1 => Reply::status(401, REVOKED),
        2 => Reply::status(503, DOWN).after(Duration::from_millis(50)),
        3 => Reply::Error(TransportErrorKind::Reset),
        4 => Reply::status(429, ADMISSION),
        _ if seen.body.windows(13).any(|w| w == b"\"stream\":true") => {
            let parts = [
                role(),
                pause.clone(),
                delta("a"),
                pause.clone(),
                delta("b"),
                pause,
            ];
            Reply::stream(parts.into_iter().chain(finish()))
        }
        _ => Reply::Answer {
            status: 200,
            headers: Vec::new(),
            body: good_body("x")
                .split_inclusive(',')
                .flat_map(|t| [data(t), pause.clone()])
                .collect(),
        },
    }
}

/// Polls the work `k` times, letting time pass between polls, and drops it. Tells whether it was
/// done before.
async fn poll_then_drop(mut work: Work, k: usize) -> bool {
    for _ in 0..k {
        let mut cx = Context::from_waker(Waker::noop());
        if work.as_mut().poll(&mut cx).is_ready() {
            return true;
        }
        // Enough for every timer of a call, the longest being the hint of 10 s.
        tokio::time::advance(Duration::from_millis(400)).await;
        settle().await;
    }
    false
}

async fn drop_everywhere(make: impl Fn(Client) -> Work) {
    let mut finished = false;
    for k in 0..200 {
        let transport = Scripted::new(rough);
        let client = builder(4, &transport)
            .gate(MaxInFlight::per_key(1))
            .max_in_flight(1)
            .build()
            .unwrap();
        let done = poll_then_drop(make(client.clone()), k).await;
        assert_eq!(client.pool().in_flight(), 0, "after {k} polls");
        assert_eq!(client.stats().waiting, 0, "after {k} polls");
        // The only permit and the keys' caps are free again.
        let blocked: Vec<_> = client
            .pool()
            .explain(&Ask::new())
            .keys
            .into_iter()
            .flat_map(|key| key.denied)
            .filter(|denial| denial.gate == "MaxInFlight")
            .collect();
        assert!(blocked.is_empty(), "after {k} polls: {blocked:?}");
        if done {
            finished = true;
            break;
        }
    }
    assert!(finished, "the whole way was walked");
}

#[tokio::test(start_paused = true)]
async fn a_chat_dropped_at_any_point_frees_its_key() {
    drop_everywhere(|client| {
        Box::pin(async move {
            client.chat(&prompt("x")).await.unwrap();
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_at_any_point_frees_its_key() {
    drop_everywhere(|client| {
        Box::pin(async move {
            let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
            while let Some(chunk) = stream.next().await {
                chunk.unwrap();
            }
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_dropped_at_any_point_frees_its_key() {
    drop_everywhere(|client| {
        Box::pin(async move {
            let body = Bytes::from_static(br#"{"stream":true}"#);
            let request = Request::post("/chat/completions").body(body).unwrap();
            let response = client.send(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_map_dropped_at_any_point_frees_its_keys() {
    drop_everywhere(|client| {
        Box::pin(async move {
            let mut answers = client.map((0..3).map(|n| prompt(&n.to_string())), 2);
            while let Some((_, answer)) = answers.next().await {
                answer.unwrap();
            }
        })
    })
    .await;
}
