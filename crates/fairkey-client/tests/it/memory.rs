//! What a call that waits holds.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_client::{Call, Client, QueueConfig};
use fairkey_transport::{Body, Transport, TransportError};

/// Never answers.
#[derive(Debug)]
struct Silence;

#[async_trait]
impl Transport for Silence {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        std::future::pending().await
    }
}

fn client(waiting: usize) -> Client {
    Client::builder()
        .key("a", "sk-or-v1-no-real-secret")
        .transport(Arc::new(Silence))
        .max_in_flight(1)
        .queue(QueueConfig {
            length: waiting,
            ..QueueConfig::default()
        })
        .build()
        .unwrap()
}

const BODY: &[u8] = br#"{"model":"a/b","messages":[{"role":"user","content":"ping"}]}"#;

#[test]
fn a_call_that_waits_holds_less_than_900_bytes() {
    const CALLS: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let client = client(CALLS);
    let held = allocation_counter::measure(|| {
        runtime.block_on(async {
            let body = Bytes::from_static(BODY);
            for _ in 0..=CALLS {
                // What a caller's task has in it, too.
                let (client, body) = (client.clone(), body.clone());
                tokio::spawn(async move {
                    let call = Call::new("/chat/completions", body);
                    let _ = client.call(call.model("a/b")).await;
                });
                tokio::task::yield_now().await;
            }
            assert_eq!(client.stats().waiting, CALLS);
        });
    });
    // Its task, its place in the queue, what it wants; all but the bytes of the body. A task takes
    // a multiple of 128 bytes: one byte too many in a future, and it is 128 more.
    let each = held.bytes_current / CALLS as i64;
    assert!(each < 900, "{each} bytes for each call that waits");
}

#[tokio::test]
async fn the_future_of_a_call_is_small() {
    let client = client(1);
    let call = client.call(Call::new("/chat/completions", Bytes::from_static(BODY)));
    let size = size_of_val(&call);
    assert!(size <= 104, "{size} bytes");
    let request = http::Request::post("/chat/completions").body(Bytes::from_static(BODY));
    let sent = client.send(request.unwrap());
    let size = size_of_val(&sent);
    assert!(size <= 104, "{size} bytes");
}
