//! Providers that come back by the answers that they serve.

use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{CallOptions, Client, RetryConfig};
use fairkey_core::Ask;
use http::Request;
use http_body_util::BodyExt;

use crate::scripted::{
    PROVIDER_FULL, Reply, Scripted, builder, delta, finish, good_body, prompt, role,
};

/// How an answer is taken.
#[derive(Clone, Copy, Debug)]
enum Form {
    Whole,
    Stream,
    Passed,
    PassedStream,
}

async fn call(client: &Client, form: Form) {
    match form {
        Form::Whole => drop(client.chat(&prompt("x")).await.unwrap()),
        Form::Stream => {
            let mut stream = client.chat_stream(&prompt("x")).await.unwrap();
            while let Some(chunk) = stream.next().await {
                chunk.unwrap();
            }
        }
        Form::Passed | Form::PassedStream => {
            let body = Bytes::from_static(br#"{"model":"m/a","messages":[]}"#);
            let mut request = Request::post("/chat/completions").body(body).unwrap();
            request.extensions_mut().insert(CallOptions {
                model: Some("m/a".into()),
                ..CallOptions::default()
            });
            let response = client.send(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    }
}

/// Returns whether a call that insists on the provider is let through, after it was full and then
/// an answer named `served`.
async fn is_back(form: Form, served: &'static str) -> bool {
    let transport = Scripted::new(move |seen| match (seen.nth, form) {
        (1, _) => Reply::status(429, PROVIDER_FULL).header("retry-after", "200"),
        (_, Form::Whole | Form::Passed) => {
            Reply::status(200, &good_body("hi").replace("Acme", served))
        }
        (_, Form::Stream | Form::PassedStream) => {
            let parts = [role(), delta("hi")].into_iter().chain(finish());
            Reply::stream(parts.map(|part| part.replace("Acme", served)))
        }
    });
    let client = builder(2, &transport).retry(RetryConfig::never());
    let client = client.build().unwrap();
    client.chat(&prompt("x")).await.unwrap_err();
    let providers = ["acme".to_owned()];
    let ask = Ask::new().with_model("m/a").with_providers(&providers);
    assert!(client.pool().select(&ask).is_err(), "it is full");
    tokio::time::advance(Duration::from_secs(1)).await;
    call(&client, form).await;
    client.pool().select(&ask).is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_serves_again_is_back_before_its_time() {
    for form in [Form::Whole, Form::Stream, Form::Passed, Form::PassedStream] {
        assert!(is_back(form, "Acme").await, "{form:?}");
        assert!(
            !is_back(form, "Other").await,
            "{form:?}: another one served"
        );
    }
}
