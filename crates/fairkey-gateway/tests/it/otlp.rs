//! What a collector of OpenTelemetry gets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_client::Client;
use fairkey_core::{Key, WallClock};
use fairkey_gateway::{CallRecord, Gateway, Observer, Otlp, OtlpConfig, TraceParent};
use fairkey_mock::{Fault, On, Step};
use fairkey_transport::{Body, Transport, TransportError, TransportErrorKind};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::time::{Instant, sleep};

use crate::world::{mock, start, until};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CHAT: &str =
    r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"canary"}]}"#;
const MINUTE: Duration = Duration::from_secs(60);

/// Takes messages, or answers as it was told to.
#[derive(Debug, Default)]
struct Collector {
    got: Mutex<Vec<(Instant, Request<Bytes>)>>,
    /// The statuses to come; 0: no answer at all. 200 when there are no more.
    script: Mutex<Vec<(u16, Option<&'static str>)>>,
}

#[async_trait]
impl Transport for Collector {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let step = {
            let mut script = self.script.lock().unwrap();
            if script.is_empty() {
                (200, None)
            } else {
                script.remove(0)
            }
        };
        self.got.lock().unwrap().push((Instant::now(), request));
        match step {
            (0, _) => std::future::pending().await,
            (1, _) => Err(TransportError::new(
                TransportErrorKind::Connect,
                "nobody there",
            )),
            (status, after) => {
                let mut response = Response::builder().status(status);
                if let Some(after) = after {
                    response = response.header("retry-after", after);
                }
                Ok(response.body(Body::empty()).unwrap())
            }
        }
    }
}

impl Collector {
    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let traces = got
            .iter()
            .filter(|(_, request)| request.uri().path() == "/otel/v1/traces");
        traces
            .flat_map(|(_, request)| {
                let message = ExportTraceServiceRequest::decode(request.body().clone()).unwrap();
                message
                    .resource_spans
                    .into_iter()
                    .flat_map(|all| all.scope_spans)
            })
            .flat_map(|scope| scope.spans)
            .collect()
    }

    fn times(&self, path: &str) -> Vec<Instant> {
        let got = self.got.lock().unwrap();
        let all = got
            .iter()
            .filter(|(_, request)| request.uri().path() == path);
        all.map(|(at, _)| *at).collect()
    }
}

/// Counts what it hands on.
#[derive(Debug)]
struct Heard(Arc<Otlp>, AtomicUsize);

impl Observer for Heard {
    fn over(&self, call: &CallRecord<'_>) {
        self.0.over(call);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Noon;

impl WallClock for Noon {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_735_732_800)
    }
}

fn config() -> OtlpConfig {
    OtlpConfig::new(Uri::from_static("http://collector:4318/otel/"))
}

/// An exporter to a collector, and what it says.
fn otlp(config: OtlpConfig, collector: &Arc<Collector>) -> (Arc<Otlp>, Arc<Mutex<Vec<String>>>) {
    let said = Arc::<Mutex<Vec<String>>>::default();
    let hears = Arc::clone(&said);
    let log = move |text: &str| hears.lock().unwrap().push(text.to_owned());
    let transport: Arc<dyn Transport> = Arc::<Collector>::clone(collector);
    (
        Arc::new(Otlp::new(config, &transport, Arc::new(Noon), log)),
        said,
    )
}

/// A gateway that nobody calls.
fn idle() -> Gateway {
    let client = Client::builder()
        .keys([Key::new("a", "sk-or-v1-a").account("one")])
        .transport(Arc::<Collector>::default())
        .build()
        .unwrap();
    Gateway::builder(client).build()
}

fn attributes(all: &[KeyValue]) -> BTreeMap<&str, String> {
    let words = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(n) => n.to_string(),
        Value::DoubleValue(n) => n.to_string(),
        Value::BoolValue(is) => is.to_string(),
        other => panic!("{other:?}"),
    };
    let value = |it: &KeyValue| words(it.value.as_ref().unwrap().value.as_ref().unwrap());
    all.iter().map(|it| (&*it.key, value(it))).collect()
}

#[tokio::test]
async fn a_request_is_a_span_with_its_attempts_below_and_belongs_to_its_callers_trace() {
    let collector = Arc::<Collector>::default();
    let mut config = config();
    config.headers = HeaderMap::from_iter([(
        "x-token".parse().unwrap(),
        HeaderValue::from_static("canary-of-the-collector"),
    )]);
    let (otlp, said) = otlp(config, &collector);
    let heard = Arc::new(Heard(Arc::clone(&otlp), AtomicUsize::new(0)));
    let observer: Arc<dyn Observer> = Arc::<Heard>::clone(&heard);
    let mock = mock().script(On::any(), [Step::reply(Fault::key_revoked())]);
    let world = start(mock)
        .await
        .behind(|gateway| gateway.observer(observer))
        .await;
    let mut request = world.request("POST /api/v1/chat/completions", CHAT);
    request
        .headers_mut()
        .insert("traceparent", HeaderValue::from_static(PARENT));
    let answer = world.fetch(request).await;
    assert_eq!(answer.status, 200);
    let refused = world.call("POST /api/v1/chat/completions", "{").await;
    assert_eq!(refused.status, 400);
    until("both are over", || heard.1.load(Ordering::SeqCst) == 2).await;
    let gateway = &world.gateway;
    otlp.flush(gateway, MINUTE).await;
    assert_eq!(*said.lock().unwrap(), Vec::<String>::new());

    let spans = collector.spans();
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(
        names,
        ["chat openai/gpt-4o-mini", "attempt", "attempt", "chat"]
    );
    let parent = TraceParent::parse(PARENT).unwrap();
    let [call, first, second, bad] = &spans[..] else {
        unreachable!()
    };
    assert_eq!(call.parent_span_id, parent.span_id);
    for span in [call, first, second] {
        assert_eq!(span.trace_id, parent.trace_id);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano >= call.start_time_unix_nano);
    }
    assert_eq!(
        [&first.parent_span_id, &second.parent_span_id],
        [&call.span_id; 2]
    );
    // One after the other, within the call.
    assert!(first.end_time_unix_nano <= second.start_time_unix_nano);
    assert!(second.end_time_unix_nano <= call.end_time_unix_nano);
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), 4);
    let of = attributes(&call.attributes);
    for (key, value) in [
        ("http.response.status_code", "200"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "openai/gpt-4o-mini"),
        ("fairkey.attempts", "2"),
        ("fairkey.key", "b"),
        ("fairkey.account", "two"),
        ("fairkey.end", "whole"),
        ("fairkey.stream", "false"),
    ] {
        assert_eq!(of[key], value, "{key}");
    }
    assert!(of.contains_key("fairkey.tokens") && of.contains_key("gen_ai.response.id"));
    assert!(!of.contains_key("error.type"), "{of:?}");
    let of = attributes(&first.attributes);
    assert_eq!(
        [&*of["fairkey.key"], &of["fairkey.fault.scope"]],
        ["a", "key"]
    );
    assert_eq!(
        [&*of["error.type"], &of["http.response.status_code"]],
        ["key_invalid", "401"]
    );
    assert_eq!(first.status.as_ref().unwrap().code, 2);
    assert_eq!(second.status.as_ref().unwrap().code, 0);
    // It has a trace of its own.
    assert!(bad.parent_span_id.is_empty() && bad.trace_id != call.trace_id);
    assert_eq!(bad.status.as_ref().unwrap().code, 2);

    // The metrics are those that Prometheus reads.
    let got = collector.got.lock().unwrap();
    let (_, message) = got
        .iter()
        .find(|(_, it)| it.uri().path() == "/otel/v1/metrics")
        .unwrap();
    assert_eq!(message.headers()["content-type"], "application/x-protobuf");
    assert_eq!(message.headers()["x-token"], "canary-of-the-collector");
    let message = ExportMetricsServiceRequest::decode(message.body().clone()).unwrap();
    let resource = &message.resource_metrics[0];
    let service = attributes(&resource.resource.as_ref().unwrap().attributes);
    assert_eq!(service["service.name"], "fairkey");
    let metrics = &resource.scope_metrics[0].metrics;
    let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    let Some(Data::Sum(requests)) = &find("fairkey.requests").data else {
        panic!()
    };
    assert!(requests.is_monotonic && requests.aggregation_temporality == 2);
    assert_eq!(requests.data_points.len(), 2, "{requests:?}");
    let labels = attributes(&requests.data_points[0].attributes);
    assert_eq!(labels["fairkey.operation"], "chat");
    let duration = find("gen_ai.server.request.duration");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else {
        panic!()
    };
    for point in &histogram.data_points {
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    }
    let labels = attributes(&histogram.data_points[0].attributes);
    assert_eq!(labels["gen_ai.provider.name"], "openrouter");
    let Some(Data::Gauge(_)) = &find("fairkey.key_up").data else {
        panic!()
    };
    // Every family of the text is there, by its name.
    let text = gateway.metrics_text();
    let families = text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .count();
    assert_eq!(metrics.len(), families + 1, "and the spans that were lost");

    // Nothing of what was asked or answered, no key, and no token.
    for (_, message) in got.iter() {
        let text = String::from_utf8_lossy(message.body());
        for secret in ["canary", "sk-or-v1", "of-the-caller"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    assert!(!format!("{otlp:?}").contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn spans_are_sent_together_and_again_where_the_collector_asks_for_it() {
    let collector = Arc::<Collector>::default();
    *collector.script.lock().unwrap() = vec![(503, None), (1, None), (429, Some("7"))];
    let mut config = config();
    config.metrics = false;
    let (otlp, said) = otlp(config, &collector);
    let gateway = idle();
    let began = Instant::now();
    for _ in 0..3 {
        otlp.over(&CallRecord::default());
    }
    let run = tokio::spawn({
        let otlp = Arc::clone(&otlp);
        async move { otlp.run(&gateway).await }
    });
    sleep(MINUTE).await;
    let times = collector.times("/otel/v1/traces");
    let seconds: Vec<u64> = times.iter().map(|at| (*at - began).as_secs()).collect();
    // Five seconds for others to come; then one, two, and as long as it asked for.
    assert_eq!(seconds, [5, 6, 8, 15]);
    assert_eq!((collector.spans().len(), otlp.lost()), (4 * 3, 0));
    assert!(said.lock().unwrap().is_empty());
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_collector_does_not_take_is_lost_counted_and_told_once() {
    let collector = Arc::<Collector>::default();
    *collector.script.lock().unwrap() = vec![(404, None), (400, None)];
    let mut config = config();
    config.metrics = false;
    let (otlp, said) = otlp(config, &collector);
    let gateway = idle();
    let run = tokio::spawn({
        let otlp = Arc::clone(&otlp);
        async move { otlp.run(&gateway).await }
    });
    for round in 1..=3 {
        otlp.over(&CallRecord::default());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(collector.times("/otel/v1/traces").len(), round);
    }
    assert_eq!(otlp.lost(), 2);
    let url = "http://collector:4318/otel/v1/traces";
    let said = said.lock().unwrap().clone();
    assert_eq!(
        said,
        [
            format!("telemetry is lost: {url}: 404 Not Found"),
            format!("{url} takes telemetry again")
        ]
    );
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn metrics_are_sent_at_their_interval_and_nothing_waits_without_bound() {
    let collector = Arc::<Collector>::default();
    let mut config = config();
    config.max_waiting = 10;
    config.interval = Duration::from_secs(20);
    let (otlp, _) = otlp(config, &collector);
    for _ in 0..25 {
        otlp.over(&CallRecord::default());
    }
    assert_eq!(otlp.lost(), 15);
    let gateway = idle();
    tokio::select! {
        () = otlp.run(&gateway) => {}
        () = sleep(Duration::from_secs(61)) => {}
    }
    assert_eq!(collector.times("/otel/v1/metrics").len(), 3);
    assert_eq!(collector.spans().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_holds_up_nobody() {
    let collector = Arc::<Collector>::default();
    *collector.script.lock().unwrap() = vec![(0, None); 9];
    let (otlp, said) = otlp(config(), &collector);
    otlp.over(&CallRecord::default());
    let (gateway, began) = (idle(), Instant::now());
    otlp.flush(&gateway, Duration::from_secs(3)).await;
    assert_eq!(began.elapsed().as_secs(), 3);
    // With more patience, it is told.
    otlp.over(&CallRecord::default());
    otlp.flush(&gateway, MINUTE).await;
    let said = said.lock().unwrap().join("\n");
    assert!(said.contains("no answer in 10 s"), "{said}");
}

#[test]
fn a_share_of_requests_is_sampled_and_callers_decide_for_theirs() {
    let collector = Arc::<Collector>::default();
    let parent = TraceParent::parse(PARENT);
    let with = |sample: f64, trace: Option<TraceParent>| {
        let mut config = config();
        config.sample = sample;
        // What is not sampled is not lost.
        config.max_waiting = 0;
        let (otlp, _) = otlp(config, &collector);
        for _ in 0..1_000 {
            otlp.over(&CallRecord {
                trace,
                ..CallRecord::default()
            });
        }
        otlp.lost()
    };
    assert_eq!([with(1.0, None), with(0.0, None)], [1_000, 0]);
    let half = with(0.5, None);
    assert!((400..600).contains(&half), "{half}");
    assert_eq!(with(0.0, parent), 1_000);
    let unsampled = TraceParent::parse(&PARENT.replace("-01", "-00"));
    assert_eq!(with(1.0, unsampled), 0);
}
