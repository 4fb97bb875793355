//! How urgent a caller says that its calls are.

use std::time::Duration;

use bytes::Bytes;
use fairkey_core::Class;
use fairkey_gateway::Settings;
use fairkey_mock::{EventKind, On, Step};
use http::Request;

use crate::world::*;

/// A chat of a model, which the log of the mock names.
fn chat(world: &World, model: &str, class: Option<&'static str>) -> Request<Bytes> {
    let body = format!(r#"{{"model":"a/{model}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let mut request = world.request("POST /v1/chat/completions", body);
    if let Some(class) = class {
        let headers = request.headers_mut();
        headers.insert("x-fairkey-class", class.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn a_call_that_says_it_is_a_batch_stands_behind_others() {
    within(async {
        let world = World::start(mock(), Settings::default(), |client| {
            client.max_in_flight(1).max_wait(Duration::from_secs(30))
        })
        .await;
        world.mock.script(On::any(), [Step::stall_after_chunks(1)]);
        // It holds the only place until its caller leaves.
        let first = world.request("POST /v1/chat/completions", STREAM);
        let first = world.send(first).await;
        let batch = world.fetch(chat(&world, "batch", Some("batch")));
        let other = async {
            let waits = || world.client.waiting(Class::Batch) == 1;
            until("the batch waits as one", waits).await;
            world.fetch(chat(&world, "other", None)).await
        };
        let leave = async {
            let waits = || world.client.waiting(Class::Normal) == 1;
            until("the other waits", waits).await;
            drop(first);
        };
        let (batch, other, ()) = tokio::join!(batch, other, leave);
        assert_eq!((batch.status.as_u16(), other.status.as_u16()), (200, 200));
        let events = world.mock.log().events();
        let received = |event: &&fairkey_mock::Event| {
            matches!(&event.kind, EventKind::Received { path, .. } if path == "/chat/completions")
        };
        let models: Vec<_> = (events.iter().filter(received))
            .filter_map(|event| event.model.as_deref())
            .collect();
        assert_eq!(models, ["openai/gpt-4o-mini", "a/other", "a/batch"]);
    })
    .await;
}

#[tokio::test]
async fn a_class_that_is_none_is_refused_before_anything_is_sent() {
    within(async {
        let world = start(mock()).await;
        let answer = world.fetch(chat(&world, "x", Some("bulk"))).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("interactive, normal or batch"));
        assert!(world.keys_at("/").is_empty());
    })
    .await;
}
