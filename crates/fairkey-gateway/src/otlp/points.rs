//! What is counted, as metrics of OpenTelemetry: [`Points`].

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::{nanos, text};
use crate::metrics::{Buckets, Sink};

/// The names of OpenTelemetry's conventions, as Prometheus writes them, and as they are.
const NAMES: [(&str, &str); 5] = [
    (
        "gen_ai_server_request_duration",
        "gen_ai.server.request.duration",
    ),
    (
        "gen_ai_server_time_to_first_token",
        "gen_ai.server.time_to_first_token",
    ),
    ("gen_ai_operation_name", "gen_ai.operation.name"),
    ("gen_ai_provider_name", "gen_ai.provider.name"),
    ("gen_ai_request_model", "gen_ai.request.model"),
];

/// Collects metrics.
pub(super) struct Points {
    began_nanos: u64,
    now_nanos: u64,
    metrics: Vec<Metric>,
}

impl Points {
    /// Begins with nothing; counts are since `began`, both times since 1970.
    pub(super) fn new(began: Duration, now: Duration) -> Self {
        Self {
            began_nanos: nanos(began),
            now_nanos: nanos(now),
            metrics: Vec::new(),
        }
    }

    /// Adds a counter without labels.
    pub(super) fn count(&mut self, name: &str, value: f64) {
        self.family(name, "counter", "");
        self.sample(name, &[], value);
    }

    pub(super) fn finish(self) -> Vec<Metric> {
        self.metrics
    }
}

impl Sink for Points {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let temporality = AggregationTemporality::Cumulative.into();
        let data = match kind {
            "counter" => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: Vec::new(),
                aggregation_temporality: temporality,
            }),
            _ => Data::Gauge(Gauge::default()),
        };
        let (name, unit) = name_and_unit(name);
        self.metrics.push(Metric {
            name,
            description: help.to_owned(),
            unit: unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    fn sample(&mut self, _: &str, labels: &[(&str, &str)], value: f64) {
        let point = NumberDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.began_nanos,
            time_unix_nano: self.now_nanos,
            value: Some(Value::AsDouble(value)),
            ..NumberDataPoint::default()
        };
        match self
            .metrics
            .last_mut()
            .and_then(|metric| metric.data.as_mut())
        {
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            Some(Data::Gauge(gauge)) => gauge.data_points.push(NumberDataPoint {
                // It has no beginning.
                start_time_unix_nano: 0,
                ..point
            }),
            _ => {}
        }
    }

    fn histogram(&mut self, _: &str, labels: &[(&str, &str)], bounds: &[f64], buckets: &Buckets) {
        let point = HistogramDataPoint {
            attributes: attributes(labels),
            start_time_unix_nano: self.began_nanos,
            time_unix_nano: self.now_nanos,
            count: buckets.count,
            sum: Some(buckets.sum),
            bucket_counts: buckets.counts[..=bounds.len()].to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..HistogramDataPoint::default()
        };
        let data = self
            .metrics
            .last_mut()
            .and_then(|metric| metric.data.as_mut());
        if let Some(Data::Histogram(histogram)) = data {
            histogram.data_points.push(point);
        }
    }
}

/// Returns a name as OpenTelemetry has it, where units do not belong, and the unit.
fn name_and_unit(name: &str) -> (String, &'static str) {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let units = [("_seconds", "s"), ("_bytes", "By"), ("_usd", "USD")];
    let with_unit = |(suffix, unit)| Some((name.strip_suffix(suffix)?, unit));
    let (name, unit) = units.into_iter().find_map(with_unit).unwrap_or((name, "1"));
    (dotted(name, ""), unit)
}

fn attributes(labels: &[(&str, &str)]) -> Vec<KeyValue> {
    let label = |(name, value): &(&str, &str)| text(&dotted(name, "fairkey."), value);
    labels.iter().map(label).collect()
}

/// Returns a name of the conventions with its dots; any other behind `prefix`.
fn dotted(name: &str, prefix: &str) -> String {
    match NAMES.iter().find(|(plain, _)| *plain == name) {
        Some((_, dotted)) => (*dotted).to_owned(),
        None => match name.strip_prefix("fairkey_") {
            Some(rest) => format!("fairkey.{rest}"),
            None => format!("{prefix}{name}"),
        },
    }
}
