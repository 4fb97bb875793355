//! Keys for other HTTP clients, by a tower layer.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use fairkey_client::{CallErrorKind, Client, KeyLayer, KeyServiceError, Served};
use fairkey_core::{Scope, Tried};
use fairkey_strategy::MaxInFlight;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt};

use crate::scripted::{REVOKED, settle};

/// Some other client: answers by key, and remembers keys and URIs.
#[derive(Clone, Default)]
struct Other {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    ready: bool,
}

impl Service<Request<Full<Bytes>>> for Other {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        let key = request.headers()["authorization"]
            .to_str()
            .unwrap()
            .to_owned();
        let revoked = key == "Bearer sk-a";
        self.seen
            .lock()
            .unwrap()
            .push((key, request.uri().to_string()));
        let body = if revoked { REVOKED } else { r#"{"data":[]}"# };
        let response = Response::builder().status(if revoked { 401 } else { 200 });
        std::future::ready(Ok(response.body(Full::from(body)).unwrap()))
    }
}

fn layer(keys: &[&str]) -> KeyLayer {
    let mut builder = Client::builder().gate(MaxInFlight::per_key(1)).seed(1);
    for key in keys {
        builder = builder.key(*key, format!("sk-{key}"));
    }
    builder.build_layer().unwrap()
}

fn request() -> Request<Full<Bytes>> {
    Request::get("/models")
        .header("authorization", "Bearer x")
        .body(Full::default())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_request_gets_a_key_and_its_body_holds_the_lease() {
    let (other, layer) = (Other::default(), layer(&["b"]));
    let service = layer.layer(other.clone());
    let first = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(
        *other.seen.lock().unwrap(),
        [(
            "Bearer sk-b".to_owned(),
            "https://openrouter.ai/api/v1/models".to_owned()
        )]
    );
    assert_eq!(layer.client().pool().in_flight(), 1);
    // The only key is busy until the body is read.
    let second = tokio::spawn(service.oneshot(request()));
    settle().await;
    assert!(!second.is_finished());
    assert_eq!(
        first.into_body().collect().await.unwrap().to_bytes(),
        r#"{"data":[]}"#
    );
    assert!(second.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_charged_to_the_key_and_passes() {
    let (other, layer) = (Other::default(), layer(&["a"]));
    let response = layer.layer(other).oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 401);
    let served = response.extensions().get::<Served>().unwrap().clone();
    assert_eq!(served.attempts[0].fault.unwrap().scope, Scope::Key);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        REVOKED
    );
    assert_eq!(layer.client().pool().in_flight(), 0);
    let error = layer
        .layer(Other::default())
        .oneshot(request())
        .await
        .unwrap_err();
    let KeyServiceError::Call(error) = error else {
        panic!("{error}")
    };
    assert!(error.is_every_key_dead());
}

#[tokio::test(start_paused = true)]
async fn what_was_tried_elsewhere_is_not_used_again() {
    let (other, layer) = (Other::default(), layer(&["a", "b", "c"]));
    let client = layer.client();
    let mut tried = Tried::new();
    client.pool().with_keys(|keys| {
        for id in ["a", "b"] {
            tried.add_key(keys.find(id).unwrap());
        }
    });
    let mut request = request();
    request.extensions_mut().insert(tried);
    layer.layer(other.clone()).oneshot(request).await.unwrap();
    assert_eq!(other.seen.lock().unwrap()[0].0, "Bearer sk-c");
}

#[tokio::test(start_paused = true)]
async fn no_key_goes_to_another_origin() {
    let (other, layer) = (Other::default(), layer(&["b"]));
    let foreign = Request::get("https://evil.example/")
        .body(Full::default())
        .unwrap();
    let error = layer
        .layer(other.clone())
        .oneshot(foreign)
        .await
        .unwrap_err();
    let KeyServiceError::Call(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind(), CallErrorKind::Request);
    assert!(other.seen.lock().unwrap().is_empty());
    // A client that is only a layer sends nothing itself.
    let error = layer.client().key_info("b").await.unwrap_err();
    assert!(error.to_string().contains("no transport"), "{error}");
}
