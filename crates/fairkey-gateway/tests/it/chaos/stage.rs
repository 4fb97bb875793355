//! A mock that fails by chance, a gateway before it, and what changes meanwhile: [`Stage`].

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{Client, HedgeConfig, RetryConfig};
use fairkey_core::{Class, Key, SystemWallClock};
use fairkey_gateway::{
    AccessLog, AdminConfig, Bookkeeper, Departure, Drained, Ended, Gateway, Rate, Serving,
    Settings, SpendConfig, SpendStore, TenantConfig, Tenants, TokenHash,
};
use fairkey_mock::{Account, FaultKind, Latency, MockOpenRouter, On, Reply, Step};
use fairkey_strategy::{BreakerConfig, CooldownConfig, Dimension, Limit, LimitSet, LimitsConfig};
use fairkey_transport::{Deadlines, HttpTransport, ProxyOptions, Transport};
use http::Request;
use serde_json::Value;
use tokio::net::TcpListener;

use super::Dice;
use crate::world::until;

/// What every secret has in it.
pub(super) const CANARY: &str = "canary";
/// The tokens of the tenants.
pub(super) const TOKENS: [&str; 3] = ["tok-canary-one", "tok-canary-two", "tok-canary-three"];
const TENANTS: [&str; 3] = ["team-1", "team-2", "team-3"];
const OPERATOR: &str = "tok-canary-of-operators";
const ACCOUNTS: [&str; 3] = ["one", "two", "three"];
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Everything that takes part.
pub(super) struct Stage {
    mock: MockOpenRouter,
    client: Client,
    gateway: Gateway,
    serving: Option<Serving>,
    admin: Option<Serving>,
    pub(super) addr: SocketAddr,
    operators: SocketAddr,
    /// Of the callers: HTTP/1.1 and HTTP/2.
    pub(super) transports: Vec<Arc<HttpTransport>>,
    log: Written,
    books: Arc<Books>,
    dice: Dice,
    texts: Vec<String>,
}

/// What is left when all is over.
pub(super) struct Left {
    /// The lines of the access log.
    pub(super) log: Vec<Value>,
    /// The requests that were booked.
    pub(super) ended: Vec<String>,
    /// How many requests the metrics have counted.
    pub(super) counted: u64,
    /// How many models have a label of their own.
    pub(super) models: usize,
    pub(super) texts: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner)).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Books(Mutex<Vec<String>>);

impl Bookkeeper for Books {
    fn ended(&self, call: &Ended) {
        self.0.lock().unwrap().push(call.request_id.to_string());
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secret(key: &str, is_next: bool) -> String {
    let next = if is_next { "-next" } else { "" };
    format!("sk-or-v1-canary-{key}{next}")
}

fn account(key: usize) -> &'static str {
    ACCOUNTS[key / 2]
}

/// A mock that fails in every way it can.
async fn mock(seed: u64) -> MockOpenRouter {
    let malformed = Reply::sse([
        "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"id\":\"gen-1\",\"cho\n\n",
        "data: {\"id\":\"gen-1\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
    ]);
    let mut mock = MockOpenRouter::builder()
        .seed(seed)
        .any_model(true)
        .latency(Latency::new(millis(2), millis(1)))
        .answer_tokens(5..=40)
        .settlement(Duration::ZERO)
        .script(
            On::model("chaos/malformed"),
            [Step::reply(malformed).forever()],
        )
        .script(On::model("chaos/slow"), [Step::delay(millis(40)).forever()])
        .script(
            On::model("chaos/drip"),
            [Step::drip(7, millis(1)).forever()],
        )
        .script(
            On::model("chaos/refused"),
            [
                Step::reply(fairkey_mock::Fault::credits_exhausted()),
                Step::pass(),
            ],
        );
    for kind in FaultKind::ALL {
        mock = mock.fault_rate(kind, 0.01);
    }
    for name in ACCOUNTS {
        let account = Account::new(name)
            .balance_usd(1e6)
            .admission_control_above(12);
        mock = mock.account(account.requests_per_window(400, millis(500)));
    }
    for (at, key) in KEYS.iter().enumerate() {
        for is_next in [false, true] {
            let known = fairkey_mock::Key::new(secret(key, is_next)).account(account(at));
            mock = mock.key(known);
        }
    }
    mock.start().await.unwrap()
}

fn client(mock: &MockOpenRouter, seed: u64) -> Client {
    let cooldown = CooldownConfig {
        throttled: millis(20),
        throttled_longest: millis(100),
        throttled_cap: millis(100),
        exhausted: millis(20),
        exhausted_longest: millis(100),
        exhausted_cap: millis(100),
        refused: Some(millis(50)),
        failed_cap: millis(100),
        probe_timeout: millis(200),
        ..CooldownConfig::DEFAULT
    };
    let breaker = BreakerConfig {
        window: millis(1_000),
        open_for: millis(20),
        open_cap: millis(100),
        probe_timeout: millis(200),
        ..BreakerConfig::default()
    };
    let deadlines = Deadlines {
        head: millis(200),
        first_content: millis(200),
        idle: millis(200),
        total: millis(2_000),
        ..Deadlines::default()
    };
    let retry = RetryConfig {
        base: millis(1),
        cap: millis(10),
        hint_cap: millis(50),
        ..RetryConfig::default()
    };
    let hedge = HedgeConfig {
        at_least: millis(5),
        min_streams: 5,
        max_share: 0.2,
        max_micro_usd: u64::MAX,
        any_provider: true,
        ..HedgeConfig::default()
    };
    let keys = KEYS.iter().enumerate();
    Client::builder()
        .keys(keys.map(|(at, key)| Key::new(*key, secret(key, false)).account(account(at))))
        .default_gates(true)
        .cooldown(cooldown)
        .breaker(breaker)
        .deadlines(deadlines)
        .retry(retry)
        .hedge(hedge)
        .limits(limits(8))
        .max_in_flight(40)
        .max_wait(millis(300))
        .base_url(mock.base_url())
        .seed(seed)
        .build()
        .unwrap()
}

fn limits(in_flight: u64) -> LimitsConfig {
    let every_account = LimitSet {
        requests: Some(Limit::per(300, millis(500))),
        in_flight: Some(in_flight),
        in_flight_micro_usd: Some(1_000_000),
        ..LimitSet::NONE
    };
    LimitsConfig {
        every_account,
        ..LimitsConfig::default()
    }
}

/// The tenants, each of which may have so many calls under way.
fn tenants(in_flight: [u32; 3]) -> Vec<TenantConfig> {
    let all = TENANTS.iter().zip(TOKENS).zip(in_flight);
    all.map(|((id, token), in_flight)| {
        let mut tenant = TenantConfig::new(*id);
        tenant.tokens = vec![TokenHash::of(token)];
        tenant.limits.in_flight = Some(in_flight);
        tenant.limits.tokens = Some(Rate {
            limit: 1_000_000,
            per: millis(1_000),
        });
        tenant
    })
    .collect()
}

fn settings(comment_after: Duration, departure: Departure) -> Settings {
    let mut settings = Settings::default();
    settings.comment_after = comment_after;
    settings.departure = departure;
    settings.metrics = true;
    settings.limits.head_time = millis(300);
    settings.limits.body_time = millis(300);
    settings.limits.idle_time = millis(2_000);
    settings
}

impl Stage {
    pub(super) async fn start(seed: u64) -> Self {
        let mock = mock(seed).await;
        let client = client(&mock, seed);
        let (log, books) = (Written::default(), Arc::new(Books::default()));
        let wall = Arc::new(SystemWallClock);
        let access_log = AccessLog::new(log.clone(), wall.clone()).unwrap();
        let (spend, _) = SpendStore::open(None, SpendConfig::default(), wall);
        let gateway = Gateway::builder(client.clone())
            .settings(settings(millis(20), Departure::Cancel))
            .tenants(Tenants::new(tenants([8, 16, 32])).unwrap())
            .spend(Arc::new(spend))
            .access_log(access_log)
            .bookkeeper(Arc::clone(&books) as _)
            .seed(seed)
            .build();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let serving = gateway.serve(bind().await.unwrap()).unwrap();
        let admin = AdminConfig::new().token(TokenHash::of(OPERATOR));
        let listener = bind().await.unwrap().try_into().unwrap();
        let admin = gateway.serve_admin(listener, admin).unwrap();
        let transport = |is_http2| {
            let transport = HttpTransport::builder()
                .proxy(ProxyOptions::none())
                .http2_prior_knowledge(is_http2);
            Arc::new(transport.build().unwrap())
        };
        Self {
            addr: serving.addr(),
            operators: admin.addr(),
            mock,
            client,
            gateway,
            serving: Some(serving),
            admin: Some(admin),
            transports: vec![transport(false), transport(true)],
            log,
            books,
            dice: Dice::new(seed, 0),
            texts: Vec::new(),
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
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.operators))
            .header("authorization", format!("Bearer {OPERATOR}"))
            .body(Bytes::new())
            .unwrap();
        let (head, body) = self.transports[0].send(request).await.unwrap().into_parts();
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
        until("no call is under way", || gateway.in_flight() == 0).await;
        until("no call holds a key", || client.pool().in_flight() == 0).await;
        client.pool().with_keys(|keys| {
            for key in keys.iter() {
                assert_eq!(key.in_flight(), 0, "{}", key.id());
            }
        });
        for tenant in gateway.tenants().all() {
            until("no tenant has a call", || tenant.in_flight() == 0).await;
        }
        for class in [Class::Interactive, Class::Normal, Class::Batch] {
            assert_eq!(client.waiting(class), 0);
        }
        for limit in client.limit_uses() {
            if matches!(
                limit.dimension,
                Dimension::InFlight | Dimension::InFlightUsd
            ) {
                assert_eq!(limit.used, 0, "{limit}");
            }
        }
        let mock = &self.mock;
        until("nothing runs on upstream", || {
            mock.counters().total.in_flight == 0
        })
        .await;
        let stats = client.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0));
        assert!(stats.estimates.len() <= 512);
    }

    /// Ends everything, and sees to it that no task is left.
    pub(super) async fn end(self) -> Left {
        let Self {
            mock,
            client,
            gateway,
            admin,
            transports,
            log,
            books,
            mut texts,
            ..
        } = self;
        assert!(admin.unwrap().abort().await.is_whole());
        // What calls that were left have used is asked for a moment later.
        until("everything is accounted for", || gateway.in_question() == 0).await;
        let metrics = gateway.metrics_text();
        drop((client, gateway, transports));
        mock.shutdown().await;
        let tasks = tokio::runtime::Handle::current().metrics();
        until("no task is left", || tasks.num_alive_tasks() == 0).await;
        // Whoever was the last to let the log go has waited for its thread.
        let log = log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = String::from_utf8(log.clone()).unwrap();
        let models: BTreeSet<&str> = (metrics.split("gen_ai_request_model=\"").skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let left = Left {
            log: (log.lines().map(|line| serde_json::from_str(line).unwrap())).collect(),
            ended: std::mem::take(&mut *books.0.lock().unwrap()),
            counted: sum(&metrics, "fairkey_requests_total{"),
            models: models.len(),
            texts: Vec::new(),
        };
        texts.extend([log, metrics]);
        Left { texts, ..left }
    }
}

/// Adds up the values of a metric.
fn sum(text: &str, name: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}
