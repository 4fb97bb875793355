//! A mock, a gateway before it, and a caller.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{Client, ClientBuilder, RetryConfig};
use fairkey_core::Key;
use fairkey_gateway::{Bookkeeper, Ended, Gateway, GatewayBuilder, Serving, Settings};
use fairkey_mock::{Account, Builder, MockOpenRouter};
use fairkey_strategy::RoundRobin;
use fairkey_transport::{Body, HttpTransport, ProxyOptions, Transport};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Fails a test that hangs; far longer than any test takes.
pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    let done = tokio::time::timeout(limit, test).await;
    done.expect("the test does not hang")
}

/// Waits until something that other tasks bring about is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), wait).await;
    done.expect(what);
}

/// Two accounts with a key each: `a` and `b`.
pub(crate) fn mock() -> Builder {
    MockOpenRouter::builder()
        .account(Account::new("one").balance_usd(100.0))
        .account(Account::new("two").balance_usd(100.0))
        .key(
            fairkey_mock::Key::new("sk-or-v1-a")
                .label("a")
                .account("one"),
        )
        .key(
            fairkey_mock::Key::new("sk-or-v1-b")
                .label("b")
                .account("two"),
        )
        .any_model(true)
}

pub(crate) struct World {
    pub(crate) mock: MockOpenRouter,
    pub(crate) client: Client,
    pub(crate) serving: Serving,
    pub(crate) ended: mpsc::UnboundedReceiver<Ended>,
    caller: HttpTransport,
    pub(crate) gateway: Gateway,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("{name}: {self:?}"))
            .to_str()
            .unwrap()
    }
}

/// Tells the test of calls that ended.
#[derive(Debug)]
struct Teller(mpsc::UnboundedSender<Ended>);

impl Bookkeeper for Teller {
    fn ended(&self, call: &Ended) {
        let _ = self.0.send(call.clone());
    }
}

pub(crate) async fn start(mock: Builder) -> World {
    World::start(mock, Settings::default(), |client| client).await
}

pub(crate) async fn start_with(mock: Builder, change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = Settings::default();
    change(&mut settings);
    World::start(mock, settings, |client| client).await
}

impl World {
    pub(crate) async fn start(
        mock: Builder,
        settings: Settings,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Self {
        let mock = mock.start().await.unwrap();
        let retry = RetryConfig {
            base: Duration::from_millis(1),
            ..RetryConfig::default()
        };
        let client = Client::builder()
            .keys([
                Key::new("a", "sk-or-v1-a").account("one"),
                Key::new("b", "sk-or-v1-b").account("two"),
            ])
            .retry(retry)
            .strategy(RoundRobin::new())
            .default_gates(true)
            .max_wait(Duration::ZERO)
            .base_url(mock.base_url())
            .seed(7);
        let client = change(client).build().unwrap();
        Self::around(mock, client, settings, |gateway| gateway).await
    }

    /// The same with another gateway in front.
    pub(crate) async fn behind(
        self,
        change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        Self::around(self.mock, self.client, Settings::default(), change).await
    }

    async fn around(
        mock: MockOpenRouter,
        client: Client,
        settings: Settings,
        change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        let (tell, ended) = mpsc::unbounded_channel();
        let gateway = Gateway::builder(client.clone())
            .settings(settings)
            .bookkeeper(Arc::new(Teller(tell)));
        let gateway = change(gateway).build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serving = gateway.serve(listener).unwrap();
        let caller = HttpTransport::builder().proxy(ProxyOptions::none());
        Self {
            mock,
            client,
            gateway,
            serving,
            ended,
            caller: caller.build().unwrap(),
        }
    }

    /// The same mock and client behind a gateway that remembers nothing.
    pub(crate) async fn restarted(self) -> Self {
        self.behind(|gateway| gateway).await
    }

    pub(crate) fn request(&self, line: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let (method, path) = line.split_once(' ').unwrap();
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.serving.addr()))
            .header("content-type", "application/json")
            .header("authorization", "Bearer of-the-caller")
            .body(body.into())
            .unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response<Body> {
        self.caller.send(request).await.unwrap()
    }

    pub(crate) async fn fetch(&self, request: Request<Bytes>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect_bounded(64 << 20).await.unwrap(),
        }
    }

    pub(crate) async fn call(&self, line: &str, body: impl Into<Bytes>) -> Answer {
        self.fetch(self.request(line, body)).await
    }

    /// The labels of the keys by which calls to `path` came in at the mock.
    pub(crate) fn keys_at(&self, path: &str) -> Vec<String> {
        let events = self.mock.log().events();
        let received = events.iter().filter(|event| match &event.kind {
            fairkey_mock::EventKind::Received { path: at, .. } => at.starts_with(path),
            _ => false,
        });
        received
            .map(|event| event.key().unwrap_or("-").to_owned())
            .collect()
    }

    /// Asserts that nothing is under way any more.
    pub(crate) async fn is_idle(&self) {
        until("no call holds a key", || {
            self.client.pool().in_flight() == 0
        })
        .await;
    }
}

pub(crate) const CHAT: &str =
    r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"Hi"}]}"#;
pub(crate) const STREAM: &str =
    r#"{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
/// The paths of the three formats, each with a body that asks for a stream.
pub(crate) const STREAMS: [(&str, &str); 3] = [
    ("/chat/completions", STREAM),
    (
        "/messages",
        r#"{"model":"anthropic/claude-sonnet-4.5","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    (
        "/responses",
        r#"{"model":"openai/gpt-4o-mini","stream":true,"input":"Hi"}"#,
    ),
];
