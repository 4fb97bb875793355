//! A transport that answers from a closure, without a socket.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_client::{Client, ClientBuilder};
use fairkey_core::ManualClock;
use fairkey_openrouter::ChatRequest;
use fairkey_transport::{Body, Deadlines, Phase, Transport, TransportError, TransportErrorKind};
use http::{HeaderMap, Request, Response, Uri};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// What the transport saw of one request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Counted from 1.
    pub(crate) nth: usize,
    /// The secret in `Authorization`, without `Bearer`; empty where there is none.
    pub(crate) key: String,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) deadlines: Deadlines,
    pub(crate) at: tokio::time::Instant,
}

/// What to answer.
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<Part>,
    },
    Error(TransportErrorKind),
    /// No head ever: the head deadline passes.
    Silence,
    After(Duration, Box<Self>),
}

/// A part of a body.
#[derive(Clone)]
pub(crate) enum Part {
    Data(String),
    Wait(Duration),
    Break(TransportErrorKind),
    Hang,
    /// Nobody may read as far as this.
    Trap,
}

impl Reply {
    pub(crate) fn status(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Answer {
            status,
            headers,
            body: vec![Part::Data(body.to_owned())],
        }
    }

    /// A good answer, after 100 ms.
    pub(crate) fn good(text: &str) -> Self {
        Self::After(
            Duration::from_millis(100),
            Box::new(Self::status(200, &good_body(text))),
        )
    }

    pub(crate) fn stream(parts: impl IntoIterator<Item = Part>) -> Self {
        let headers = vec![("content-type", "text/event-stream".to_owned())];
        Self::Answer {
            status: 200,
            headers,
            body: parts.into_iter().collect(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self::After(wait, Box::new(self))
    }
}

impl Part {
    /// The same, with other words where it holds text.
    pub(crate) fn replace(self, old: &str, new: &str) -> Self {
        match self {
            Self::Data(text) => Self::Data(text.replace(old, new)),
            other => other,
        }
    }
}

pub(crate) fn data(text: &str) -> Part {
    Part::Data(text.to_owned())
}

/// One event of a stream.
pub(crate) fn event(json: &str) -> Part {
    Part::Data(format!("data: {json}\n\n"))
}

pub(crate) fn delta(text: &str) -> Part {
    event(&format!(
        r#"{{"id":"gen-1","provider":"Acme","choices":[{{"delta":{{"content":"{text}"}}}}]}}"#
    ))
}

pub(crate) fn role() -> Part {
    event(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#)
}

pub(crate) fn finish() -> [Part; 3] {
    [
        event(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
        event(r#"{"choices":[],"usage":{"total_tokens":9,"cost":0.001}}"#),
        data("data: [DONE]\n\n"),
    ]
}

pub(crate) fn good_body(text: &str) -> String {
    format!(
        r#"{{"id":"gen-1","provider":"Acme","choices":[{{"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"total_tokens":5,"cost":0.00002}}}}"#
    )
}

pub(crate) const REVOKED: &str = r#"{"error":{"message":"User not found.","code":401}}"#;
pub(crate) const NO_CREDIT: &str = r#"{"error":{"message":"Insufficient credits","code":402,"metadata":{"limit_source":"openrouter_credits"}}}"#;
pub(crate) const PROVIDER_FULL: &str = r#"{"error":{"code":429,"message":"Provider returned error","metadata":{"provider_name":"Acme","raw":"slow down"}}}"#;
pub(crate) const ADMISSION: &str = r#"{"error":{"code":429,"message":"Slow down","metadata":{"limit_source":"openrouter_admission_control","headers":{"Retry-After":"10"}}}}"#;
pub(crate) const DOWN: &str = r#"{"error":{"code":503,"message":"No provider"}}"#;
pub(crate) const BAD: &str = r#"{"error":{"code":400,"message":"bad parameter"}}"#;

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// Answers from a closure and remembers what it saw.
pub(crate) struct Scripted {
    handler: Box<Handler>,
    seen: Mutex<Vec<Seen>>,
}

impl Scripted {
    pub(crate) fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            seen: Mutex::default(),
        })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.key).collect()
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let deadlines = *request
            .extensions()
            .get::<Deadlines>()
            .expect("deadlines are set");
        let key = request.headers().get("authorization");
        let key = key.map_or("Bearer ", |key| key.to_str().unwrap());
        let seen = {
            let mut all = self.seen.lock().unwrap();
            let seen = Seen {
                nth: all.len() + 1,
                key: key.strip_prefix("Bearer ").unwrap().to_owned(),
                uri: request.uri().clone(),
                headers: request.headers().clone(),
                body: request.body().clone(),
                deadlines,
                at: tokio::time::Instant::now(),
            };
            all.push(seen.clone());
            seen
        };
        let mut reply = (self.handler)(&seen);
        loop {
            reply = match reply {
                Reply::After(wait, next) => {
                    sleep(wait).await;
                    *next
                }
                Reply::Error(kind) => return Err(TransportError::new(kind, "as scripted")),
                Reply::Silence => {
                    sleep(deadlines.head.min(deadlines.total)).await;
                    let phase = if deadlines.total < deadlines.head {
                        Phase::Total
                    } else {
                        Phase::Head
                    };
                    let kind = TransportErrorKind::Timeout(phase);
                    return Err(TransportError::new(kind, "as scripted"));
                }
                Reply::Answer {
                    status,
                    headers,
                    body,
                } => {
                    let mut response = Response::builder().status(status);
                    let length = headers.iter().find(|it| it.0 == "content-length");
                    let left = length.map(|(_, length)| length.parse().unwrap());
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    let body = Parts {
                        parts: body.into(),
                        wait: None,
                        left,
                    };
                    return Ok(response.body(Body::new(body)).unwrap());
                }
            }
        }
    }
}

struct Parts {
    parts: VecDeque<Part>,
    wait: Option<Pin<Box<Sleep>>>,
    /// What is still to come, where the head has told.
    left: Option<u64>,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.parts.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Data(text)) => {
                    self.left = self.left.map(|left| left - text.len() as u64);
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))));
                }
                Some(Part::Break(kind)) => {
                    return Poll::Ready(Some(Err(TransportError::new(kind, "as scripted"))));
                }
                Some(Part::Wait(wait)) => self.wait = Some(Box::pin(sleep(wait))),
                Some(Part::Trap) => panic!("the body was read too far"),
                Some(Part::Hang) => {
                    self.parts.push_front(Part::Hang);
                    return Poll::Pending;
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A client with keys `k0`, `k1`, … whose secrets are `sk-0`, `sk-1`, …, each alone in its
/// account.
pub(crate) fn builder(keys: usize, transport: &Arc<Scripted>) -> ClientBuilder {
    let wall = ManualClock::new();
    wall.set_epoch(Duration::from_secs(1_800_000_000));
    let mut builder = Client::builder();
    for n in 0..keys {
        builder = builder.key(format!("k{n}"), format!("sk-{n}"));
    }
    builder
        .transport(Arc::<Scripted>::clone(transport))
        .wall_clock(wall)
        .seed(11)
}

pub(crate) fn client(keys: usize, transport: &Arc<Scripted>) -> Client {
    builder(keys, transport).build().unwrap()
}

pub(crate) fn prompt(text: &str) -> ChatRequest {
    ChatRequest::new("m/a").user(text)
}

/// Lets every task run until all of them wait.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
