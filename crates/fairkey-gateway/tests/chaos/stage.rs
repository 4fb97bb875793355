//! A mock that fails by chance, a gateway before it, and what changes meanwhile: [`Stage`].

mod parts;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::Client;
use fairkey_core::{Class, Key, SystemWallClock};
use fairkey_gateway::{
    AccessLog, AdminConfig, Bookkeeper, Departure, Drained, Ended, Gateway, MetricsConfig, Serving,
    SpendConfig, SpendStore, Tenants, TokenHash,
};
use fairkey_mock::MockOpenRouter;
use fairkey_strategy::Dimension;
use fairkey_transport::{HttpTransport, ProxyOptions, Transport};
use http::Request;
use serde_json::Value;
use tokio::net::TcpListener;

pub(super) use self::parts::TOKENS;
use self::parts::{
    ACCOUNTS, KEYS, account, client, limits, millis, mock, secret, settings, tenants,
};
use super::{Dice, footprint, until};

/// What every secret has in it.
pub(super) const CANARY: &str = "canary";
const OPERATOR: &str = "tok-canary-of-operators";
/// Connections to the mock that may be open while nothing is under way: of calls under way, hedges
/// and questions there are no more at a time.
const MOST_IDLE: u64 = 200;
/// Each listener keeps a descriptor aside, which it may have opened after they were counted.
const SPARE: u64 = 2;
/// Tasks of a gateway, a client, a mock and an operator while nothing is under way, and those of
/// each connection between client and mock, at most.
const TASKS: u64 = 20;
const TASKS_EACH: u64 = 4;

/// Everything that takes part.
pub(super) struct Stage {
    mock: MockOpenRouter,
    client: Client,
    gateway: Gateway,
    serving: Option<Serving>,
    admin: Option<Serving>,
    pub(super) addr: SocketAddr,
    operators: SocketAddr,
    log: Written,
    books: Arc<Books>,
    dice: Dice,
    texts: Vec<String>,
    /// How many requests were counted before this round.
    counted: u64,
    /// File descriptors before anybody called.
    descriptors: u64,
}

/// What is left of a round.
pub(super) struct Left {
    /// The lines of the access log.
    pub(super) log: Vec<Value>,
    /// The requests that were booked.
    pub(super) ended: Vec<String>,
    /// How many requests the metrics have counted, of this round.
    pub(super) counted: u64,
    /// How many models have a label of their own.
    pub(super) models: usize,
    pub(super) texts: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of it away, if somebody makes something of it.
    fn take_if<T>(&self, made: impl FnOnce(&str) -> Option<T>) -> Option<(String, T)> {
        let mut bytes = self.bytes();
        let made = made(std::str::from_utf8(&bytes).unwrap())?;
        let text = String::from_utf8(std::mem::take(&mut *bytes)).unwrap();
        Some((text, made))
    }
}

#[derive(Debug, Default)]
struct Books(Mutex<Vec<String>>);

impl Bookkeeper for Books {
    fn ended(&self, call: &Ended) {
        self.0.lock().unwrap().push(call.request_id.to_string());
    }
}

impl Stage {
    pub(super) async fn start(seed: u64) -> Self {
        let mock = mock(seed).await;
        let client = client(&mock, seed);
        let (log, books) = (Written::default(), Arc::new(Books::default()));
        let wall = Arc::new(SystemWallClock);
        let access_log = AccessLog::new(log.clone(), wall.clone()).unwrap();
        let spending = SpendConfig {
            max_rows: 100,
            ..SpendConfig::default()
        };
        let (spend, _) = SpendStore::open(None, spending, wall).unwrap();
        let gateway = Gateway::builder(client.clone())
            .settings(settings(millis(20), Departure::Cancel))
            .tenants(Tenants::new(tenants([8, 16, 32])).unwrap())
            .spend(Arc::new(spend))
            .access_log(access_log)
            .bookkeeper(Arc::clone(&books) as _)
            .metrics(MetricsConfig {
                max_series: 300,
                ..MetricsConfig::default()
            })
            .seed(seed)
            .build();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let serving = gateway.serve(bind().await.unwrap()).unwrap();
        let admin = AdminConfig::new()
            .token(TokenHash::of(OPERATOR))
            .decisions(50);
        let listener = bind().await.unwrap().try_into().unwrap();
        let admin = gateway.serve_admin(listener, admin).unwrap();
        Self {
            addr: serving.addr(),
            operators: admin.addr(),
            mock,
            client,
            gateway,
            serving: Some(serving),
            admin: Some(admin),
            log,
            books,
            dice: Dice::new(seed, 0),
            texts: Vec::new(),
            counted: 0,
            descriptors: footprint::descriptors(),
        }
    }

    /// Changes something, after a moment.
    pub(super) async fn change(&mut self) {
        // Not waited for anything: how often things change is part of the play.
        tokio::time::sleep(Duration::from_micros(500 + self.dice.below(4_000))).await;
        match self.dice.below(7) {
            0 => self.change_keys(),
            1 => {
                let in_flight = 1 + self.dice.below(12);
                self.client.configure_limits(limits(in_flight)).unwrap();
            }
            2 => {
                let mut all = tenants([1, 2, 3].map(|n| n * (1 + self.dice.below(8) as u32)));
                for tenant in &mut all {
                    tenant.weight = 1 + self.dice.below(9) as u32;
                }
                let reloaded = self.gateway.tenants().reload(all).unwrap();
                self.gateway.set_tenants(reloaded).unwrap();
            }
            3 => {
                let comment_after = self.dice.pick(&[millis(5), millis(50), millis(15_000)]);
                let drain = Departure::drain_within(millis(500), 4_000);
                let departure = self.dice.pick(&[Departure::Cancel, drain]);
                self.gateway
                    .set_settings(settings(comment_after, departure));
            }
            4 => {
                let word = self
                    .dice
                    .pick(&["clear", "pin", "unpin", "disable", "enable"]);
                let (kind, name) = match self.dice.percent(70) {
                    true => ("keys", self.dice.pick(&KEYS)),
                    false => ("accounts", self.dice.pick(&ACCOUNTS)),
                };
                self.operate(&format!("POST /admin/v1/{kind}/{name}/{word}"))
                    .await;
            }
            _ => {
                let page = self.dice.pick(&[
                    "status",
                    "keys",
                    "keys/a",
                    "accounts",
                    "explain?model=chaos/slow&tenant=team-1",
                    "decisions",
                ]);
                self.operate(&format!("GET /admin/v1/{page}")).await;
                self.texts.push(self.gateway.metrics_text());
            }
        }
    }

    /// Reads other keys: some are gone, some have another secret.
    fn change_keys(&mut self) {
        let mut keys = Vec::new();
        for (at, name) in KEYS.iter().enumerate() {
            // Two stay, so that there is always somebody.
            if at > 1 && self.dice.percent(30) {
                continue;
            }
            let secret = secret(name, self.dice.percent(20));
            let weight = 1 + self.dice.below(5) as u32;
            keys.push(Key::new(*name, secret).account(account(at)).weight(weight));
        }
        self.client.pool().reload(keys).unwrap();
        self.client.wake();
    }

    async fn operate(&mut self, line: &str) {
        super::callers::waits(u64::MAX, line);
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.operators))
            .header("authorization", format!("Bearer {OPERATOR}"))
            .body(Bytes::new())
            .unwrap();
        // By a connection of its own: one that is kept may be closed just now.
        let (head, body) = (transport(false).send(request).await).unwrap().into_parts();
        let body = body.collect_bounded(16 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        // A key that was taken away is 404.
        assert!(head.status == 200 || head.status == 404, "{line}: {text}");
        self.texts.push(format!("{head:?}\n{text}"));
    }

    /// Lets everybody in again, and drains.
    pub(super) async fn drain(&mut self) -> Drained {
        for name in ACCOUNTS {
            self.operate(&format!("POST /admin/v1/accounts/{name}/enable"))
                .await;
        }
        let keys = KEYS.iter().enumerate();
        let keys = keys.map(|(at, key)| Key::new(*key, secret(key, false)).account(account(at)));
        self.client.pool().reload(keys).unwrap();
        self.client.wake();
        let serving = self.serving.take().unwrap();
        self.texts
            .push(format!("{serving:?} {:?} {:?}", self.gateway, self.client));
        let drained = serving.shutdown(millis(400)).await;
        self.operate("GET /admin/v1/status").await;
        drained
    }

    /// Asserts that nothing is under way any more, wherever it is counted.
    pub(super) async fn is_idle(&mut self) {
        let (client, gateway) = (&self.client, &self.gateway);
        // All at one moment: a call that nobody waits for any more may try once more, and one may
        // still come of which its caller's connection had brought all before it was closed.
        let is_held = |limit: &fairkey_strategy::LimitUse| {
            let counts = [Dimension::InFlight, Dimension::InFlightUsd];
            counts.contains(&limit.dimension) && limit.used > 0
        };
        until("nothing is held", || {
            let stats = client.stats();
            let classes = [Class::Interactive, Class::Normal, Class::Batch];
            gateway.in_flight() == 0
                && client.pool().in_flight() == 0
                && (stats.in_flight, stats.waiting) == (0, 0)
                && (client.pool()).with_keys(|keys| keys.iter().all(|key| key.in_flight() == 0))
                && gateway
                    .tenants()
                    .all()
                    .iter()
                    .all(|tenant| tenant.in_flight() == 0)
                && classes.iter().all(|class| client.waiting(*class) == 0)
                && !client.limit_uses().iter().any(is_held)
        })
        .await;
        let mock = &self.mock;
        until("nothing runs on upstream", || {
            mock.counters().total.in_flight == 0
        })
        .await;
        assert!(client.stats().estimates.len() <= 512);
    }

    /// Asserts that connections, and the tasks that serve them, are as few as when nobody had
    /// called; connections to the mock are kept for the next calls.
    pub(super) async fn is_small(&self) {
        let counters = self.mock.log();
        until("every caller's connection is closed", || {
            let kept = counters.counters().open_connections;
            assert!(kept <= MOST_IDLE, "{kept} connections to the mock");
            footprint::descriptors() <= self.descriptors + SPARE + 2 * kept
        })
        .await;
        until("only what serves is left of tasks", || {
            let kept = counters.counters().open_connections;
            footprint::tasks() <= TASKS + TASKS_EACH * kept
        })
        .await;
    }

    /// Waits until everything about a round is known, and returns it.
    pub(super) async fn settle(&mut self) -> Left {
        let gateway = &self.gateway;
        // What calls that were left have used is asked for a moment later.
        until("everything is accounted for", || gateway.in_question() == 0).await;
        let (log, books, before) = (&self.log, &self.books, self.counted);
        let mut taken = None;
        // A thread of its own writes it, and a call may be over a moment after its key is free.
        until("each request is counted, booked and written down", || {
            let metrics = gateway.metrics_text();
            let counted = sum(&metrics, COUNTED) - before;
            taken = log.take_if(|log| {
                let mut booked = books.0.lock().unwrap();
                let is_whole = log.lines().count() as u64 == counted
                    && booked.iter().all(|id| log.contains(id));
                is_whole.then(|| std::mem::take(&mut *booked))
            });
            if taken.is_some() {
                self.texts.push(metrics);
            }
            taken.is_some()
        })
        .await;
        let (log, ended) = taken.unwrap();
        let metrics = &self.texts[self.texts.len() - 1];
        let models: BTreeSet<&str> = (metrics.split("gen_ai_request_model=\"").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let left = Left {
            log: (log.lines().map(|line| serde_json::from_str(line).unwrap())).collect(),
            ended,
            counted: sum(metrics, COUNTED) - self.counted,
            models: models.len(),
            texts: Vec::new(),
        };
        self.counted += left.counted;
        let mut texts = std::mem::take(&mut self.texts);
        texts.push(log);
        Left { texts, ..left }
    }

    /// Ends everything, and sees to it that no task is left.
    pub(super) async fn end(mut self) {
        assert!(self.admin.take().unwrap().abort().await.is_whole());
        let Self {
            mock,
            client,
            gateway,
            log,
            ..
        } = self;
        drop((client, gateway));
        mock.shutdown().await;
        until("no task is left", || footprint::tasks() == 0).await;
        // Whoever was the last to let the log go has waited for its thread.
        assert_eq!(*log.bytes(), b"", "lines that are late");
    }
}

/// The metric that counts every request.
const COUNTED: &str = "fairkey_requests_total{";

/// What a caller sends by: HTTP/1.1 or HTTP/2.
pub(super) fn transport(is_http2: bool) -> HttpTransport {
    let transport = HttpTransport::builder()
        .proxy(ProxyOptions::none())
        .http2_prior_knowledge(is_http2);
    transport.build().unwrap()
}

/// Adds up the values of a metric.
fn sum(text: &str, name: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
