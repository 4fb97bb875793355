//! Keys for another HTTP client: here hyper's, as a tower service. The layer picks a key, puts it on
//! the request, and learns from the answer; the rest of the stack is as it was.

use bytes::Bytes;
use fairkey::client::Served;
use fairkey::{ChatRequest, Client, KeyLayer};
use fairkey_mock::MockOpenRouter;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::builder()
        .key(fairkey_mock::Key::new("sk-or-v1-aaa"))
        .key(fairkey_mock::Key::new("sk-or-v1-bbb"))
        .start()
        .await?;
    let keys = Client::builder()
        .key("a", "sk-or-v1-aaa")
        .key("b", "sk-or-v1-bbb")
        .base_url(mock.base_url())
        .build()?;

    let hyper = legacy::Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let service = KeyLayer::new(&keys).layer(hyper);

    for n in 1..=4 {
        let body = ChatRequest::new("openai/gpt-4o-mini")
            .user(format!("Question {n}"))
            .to_bytes();
        let request = Request::post("/chat/completions")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = service.clone().oneshot(request).await?;
        let served = answer
            .extensions()
            .get::<Served>()
            .map(|served| served.key.to_string());
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        println!("{status}, {} bytes, by {served:?}", bytes.len());
    }
    println!("{} answered", keys.stats().answered);
    Ok(())
}
