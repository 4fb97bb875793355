//! A client that shows everything: what came, and how it ended.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use fairkey_mock::MockOpenRouter;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) const MODEL: &str = "openai/gpt-4o-mini";

/// No test waits longer than this for anything.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future)
        .await
        .expect("it ends within a minute")
}

/// An answer, or what there was of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
    /// Whether the body came to its proper end.
    pub(crate) complete: bool,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn content(&self) -> String {
        let json = self.json();
        json["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// `error.metadata.limit_source`
    pub(crate) fn limit_source(&self) -> Option<String> {
        let json = self.json();
        json["error"]["metadata"]["limit_source"]
            .as_str()
            .map(str::to_owned)
    }

    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The `data:` of each event.
    pub(crate) fn events(&self) -> Vec<String> {
        let lines = self.body.lines().map(|line| line.trim_end_matches('\r'));
        lines
            .filter_map(|line| line.strip_prefix("data: "))
            .map(str::to_owned)
            .collect()
    }

    /// The events that are JSON.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        self.events()
            .iter()
            .filter_map(|event| serde_json::from_str(event).ok())
            .collect()
    }

    /// The content of all deltas.
    pub(crate) fn streamed_content(&self) -> String {
        let chunks = self.chunks();
        let deltas = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"]["content"]);
        deltas.filter_map(Value::as_str).collect()
    }
}

pub(crate) fn chat(prompt: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}]})
}

/// `body` with these members.
pub(crate) fn with(mut body: Value, members: Value) -> Value {
    let Value::Object(members) = members else {
        panic!("members are an object")
    };
    body.as_object_mut().unwrap().extend(members);
    body
}

pub(crate) fn request(
    mock: &MockOpenRouter,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("host", mock.addr().to_string())
        .header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Sends a request on a connection of its own and reads all there is. An error stands for an answer
/// that had no head.
pub(crate) async fn send(
    mock: &MockOpenRouter,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    within(async {
        let mut client = connect(mock).await;
        let response = client.send_request(request).await?;
        Ok(read(response).await)
    })
    .await
}

pub(crate) async fn connect(mock: &MockOpenRouter) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(mock.addr()).await.unwrap();
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn read(response: http::Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut complete) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
        bytes,
        complete,
    }
}

pub(crate) async fn get(mock: &MockOpenRouter, path: &str, key: &str) -> Answer {
    send(mock, request(mock, "GET", path, Some(key), ""))
        .await
        .unwrap()
}

/// A call of any method with a JSON body.
pub(crate) async fn call(
    mock: &MockOpenRouter,
    method: &str,
    path: &str,
    key: &str,
    body: &Value,
) -> Answer {
    let request = request(mock, method, path, Some(key), body.to_string());
    send(mock, request).await.unwrap()
}

/// A call of a path from the root.
pub(crate) async fn call_at_root(
    mock: &MockOpenRouter,
    method: &str,
    path: &str,
    key: &str,
    body: &str,
) -> Answer {
    let mut request = request(mock, method, "/", Some(key), body.to_owned());
    *request.uri_mut() = path.parse().unwrap();
    send(mock, request).await.unwrap()
}

pub(crate) async fn try_post(
    mock: &MockOpenRouter,
    key: &str,
    body: &Value,
) -> Result<Answer, hyper::Error> {
    let request = request(
        mock,
        "POST",
        "/chat/completions",
        Some(key),
        body.to_string(),
    );
    send(mock, request).await
}

pub(crate) async fn post(mock: &MockOpenRouter, key: &str, body: &Value) -> Answer {
    try_post(mock, key, body).await.unwrap()
}

pub(crate) async fn open() -> MockOpenRouter {
    MockOpenRouter::open().seed(7).start().await.unwrap()
}
