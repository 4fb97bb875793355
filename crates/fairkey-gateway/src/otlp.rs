//! Spans and metrics for a collector of OpenTelemetry: [`Otlp`].
//!
//! | module | has |
//! | --- | --- |
//! | `spans` | one request as a span, and each of its attempts below it |
//! | `points` | what is counted, as metrics of OpenTelemetry |
//! | `exporter` | what is sent, again where it makes sense |
//!
//! The messages are those of `opentelemetry-proto`. Its SDK is not needed: a request is told of when
//! it is over, whole, and what is counted is counted by [`Metrics`](crate::Metrics) already.

mod exporter;
mod points;
mod spans;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{WallClock, mix};
use fairkey_transport::Transport;
use http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::exporter::Exporter;
use crate::record::{CallRecord, Observer};
use crate::{Gateway, metrics};

/// How many spans go in one message.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(5);

/// Where telemetry goes, and how much of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct OtlpConfig {
    /// The collector: `/v1/traces` and `/v1/metrics` are below it.
    pub endpoint: Uri,
    /// Headers of each message, as a token; nothing prints them.
    pub headers: HeaderMap,
    /// What the gateway is called there (`service.name`). Default `fairkey`.
    pub service: String,
    /// Whether spans are sent. Default true.
    pub traces: bool,
    /// Whether metrics are sent. Default true.
    pub metrics: bool,
    /// Of how many requests that begin a trace of their own spans are sent, from 0 to 1. Default 1.
    /// A request that is part of a trace goes by what its caller says.
    pub sample: f64,
    /// How often metrics are sent. Default 60 s.
    pub interval: Duration,
    /// The most spans that wait to be sent: more are lost, and counted. Default 8,192, of about
    /// 1 kB each.
    pub max_waiting: usize,
    /// Seeds the identifiers of spans; two processes need two. Default 0.
    pub seed: u64,
}

impl OtlpConfig {
    /// Sends everything to the collector at `endpoint`.
    #[must_use]
    pub fn new(endpoint: Uri) -> Self {
        Self {
            endpoint,
            headers: HeaderMap::new(),
            service: "fairkey".to_owned(),
            traces: true,
            metrics: true,
            sample: 1.0,
            interval: Duration::from_secs(60),
            max_waiting: 8_192,
            seed: 0,
        }
    }
}

impl fmt::Debug for OtlpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpConfig")
            .field("endpoint", &self.endpoint)
            .field("service", &self.service)
            .field("traces", &self.traces)
            .field("metrics", &self.metrics)
            .field("sample", &self.sample)
            .field("interval", &self.interval)
            .field("max_waiting", &self.max_waiting)
            .finish_non_exhaustive()
    }
}

/// Hears of requests as an [`Observer`], and tells a collector of them and of what is counted, by
/// OTLP over HTTP.
///
/// A request costs some small allocations and a lock that is held for a moment; nothing waits for the
/// collector. What the collector does not take is tried again for a while, then lost and counted.
/// No secret is in what is sent, and nothing of what was asked or answered.
pub struct Otlp {
    config: OtlpConfig,
    traces: Exporter,
    metrics: Exporter,
    wall: Arc<dyn WallClock>,
    /// When this was made, since 1970: all counts began then.
    began: Duration,
    waiting: Mutex<Vec<Span>>,
    /// Enough spans wait.
    full: Notify,
    ids: AtomicU64,
    lost: AtomicU64,
}

impl Otlp {
    /// Makes one that sends through `transport`. `log` hears when the collector stops taking what is
    /// sent, and when it takes it again.
    #[must_use]
    pub fn new(
        config: OtlpConfig,
        transport: &Arc<dyn Transport>,
        wall: Arc<dyn WallClock>,
        log: impl Fn(&str) + Clone + Send + Sync + 'static,
    ) -> Self {
        let exporter = |signal| {
            let log = log.clone();
            Exporter::new(&config, signal, Arc::clone(transport), Box::new(log))
        };
        Self {
            traces: exporter("traces"),
            metrics: exporter("metrics"),
            began: wall.since_epoch(),
            wall,
            waiting: Mutex::default(),
            full: Notify::new(),
            ids: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            config,
        }
    }

    /// Sends what there is to be sent, until it is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may lose the spans that are under way.
    pub async fn run(&self, gateway: &Gateway) {
        tokio::join!(self.send_spans(), self.send_metrics(gateway));
    }

    /// Sends once what waits, and the metrics as they are, and gives up after `patience`: for the end.
    pub async fn flush(&self, gateway: &Gateway, patience: Duration) {
        let all = async {
            while let Some(message) = self.take_spans() {
                if !self.traces.send(message).await {
                    break;
                }
            }
            if self.config.metrics {
                self.metrics.send(self.take_metrics(gateway)).await;
            }
        };
        let _ = timeout(patience, all).await;
    }

    /// Returns how many spans were lost, since too many waited or the collector did not take them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    async fn send_spans(&self) {
        loop {
            // Whichever comes first: enough of them, or time enough.
            let _ = timeout(GATHER, self.full.notified()).await;
            while let Some(message) = self.take_spans() {
                let spans = message.spans;
                if !self.traces.deliver(message).await {
                    self.lost.fetch_add(spans, Ordering::Relaxed);
                }
            }
        }
    }

    async fn send_metrics(&self, gateway: &Gateway) {
        let mut tick = interval(self.config.interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is at once, when nothing was counted.
        tick.tick().await;
        if !self.config.metrics {
            return;
        }
        loop {
            tick.tick().await;
            let message = self.take_metrics(gateway);
            self.metrics.deliver(message).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the oldest spans that wait as a message.
    fn take_spans(&self) -> Option<Outgoing> {
        let spans: Vec<Span> = {
            let mut waiting = self.waiting();
            let count = waiting.len().min(BATCH);
            waiting.drain(..count).collect()
        };
        if spans.is_empty() {
            return None;
        }
        let count = spans.len() as u64;
        let scope_spans = vec![ScopeSpans {
            scope: Some(scope()),
            spans,
            schema_url: String::new(),
        }];
        let resource_spans = vec![ResourceSpans {
            resource: Some(self.resource()),
            scope_spans,
            schema_url: String::new(),
        }];
        Some(Outgoing {
            bytes: ExportTraceServiceRequest { resource_spans }
                .encode_to_vec()
                .into(),
            spans: count,
        })
    }

    fn take_metrics(&self, gateway: &Gateway) -> Outgoing {
        let mut points = points::Points::new(self.began, self.wall.since_epoch());
        gateway.tell(&mut points);
        points.count("fairkey_otlp_lost_spans_total", self.lost() as f64);
        let scope_metrics = vec![ScopeMetrics {
            scope: Some(scope()),
            metrics: points.finish(),
            schema_url: String::new(),
        }];
        let resource_metrics = vec![ResourceMetrics {
            resource: Some(self.resource()),
            scope_metrics,
            schema_url: String::new(),
        }];
        Outgoing {
            bytes: ExportMetricsServiceRequest { resource_metrics }
                .encode_to_vec()
                .into(),
            spans: 0,
        }
    }

    fn resource(&self) -> Resource {
        Resource {
            attributes: vec![
                text("service.name", &self.config.service),
                text("service.version", env!("CARGO_PKG_VERSION")),
            ],
            ..Resource::default()
        }
    }

    /// Returns bytes that no other span has.
    fn id(&self) -> [u8; 8] {
        // Relaxed: only that none comes twice.
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        // Zero is no identifier.
        mix(self.config.seed.wrapping_add(number))
            .max(1)
            .to_be_bytes()
    }
}

impl Observer for Otlp {
    fn over(&self, call: &CallRecord<'_>) {
        if !self.config.traces {
            return;
        }
        let trace_id = || {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.id());
            id[8..].copy_from_slice(&self.id());
            id
        };
        let trace_id = match call.trace {
            Some(parent) if !parent.is_sampled => return,
            Some(parent) => parent.trace_id,
            None => {
                let id = trace_id();
                let [a, b, c, d, ..] = id;
                // Of all identifiers, the share below; those of 1 are all.
                let place = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
                if place > self.config.sample || self.config.sample <= 0.0 {
                    return;
                }
                id
            }
        };
        let began = self.wall.since_epoch().saturating_sub(call.age);
        let mut spans = spans::of(call, trace_id, began, || self.id());
        let mut waiting = self.waiting();
        if waiting.len() + spans.len() > self.config.max_waiting {
            drop(waiting);
            self.lost.fetch_add(spans.len() as u64, Ordering::Relaxed);
            return;
        }
        waiting.append(&mut spans);
        let is_full = waiting.len() >= BATCH;
        drop(waiting);
        if is_full {
            self.full.notify_one();
        }
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("config", &self.config)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl Gateway {
    fn tell(&self, sink: &mut dyn metrics::Sink) {
        metrics::write_now(&self.shared, sink);
    }
}

/// A message, encoded.
struct Outgoing {
    bytes: bytes::Bytes,
    /// How many spans are in it.
    spans: u64,
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "fairkey-gateway".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

/// Nanoseconds since 1970, as messages have times.
fn nanos(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
