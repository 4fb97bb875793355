//! The exposition format of Prometheus: [`MetricsText`].

use std::fmt::Write as _;

use super::series::Buckets;
use super::sink::Sink;

/// The `Content-Type` of the text.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text, version 0.0.4 of the format.
///
/// ```
/// use fairkey_gateway::MetricsText;
///
/// let mut text = MetricsText::new();
/// text.family("fairkey_in_flight", "gauge", "Calls under way.");
/// text.sample("fairkey_in_flight", &[("tenant", "team-a")], 3.0);
/// let text = text.finish();
/// assert!(text.ends_with("fairkey_in_flight{tenant=\"team-a\"} 3\n"));
/// ```
#[derive(Debug, Default)]
pub struct MetricsText(String);

impl MetricsText {
    /// The `Content-Type` of the text.
    pub const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    /// Starts an empty text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a metric: its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    fn buckets(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[f64], buckets: &Buckets) {
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&buckets.counts) {
            below += count;
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound.to_string()));
            let _ = writeln!(self.0, " {below}");
        }
        let _ = write!(self.0, "{name}_bucket");
        self.labels(labels, Some("+Inf"));
        let _ = writeln!(self.0, " {}", buckets.count);
        self.sample(&format!("{name}_sum"), labels, buckets.sum);
        self.sample(&format!("{name}_count"), labels, buckets.count as f64);
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let all = labels
            .iter()
            .copied()
            .chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            self.0.push(separator);
            separator = ',';
            self.0.push_str(name);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if separator == ',' {
            self.0.push('}');
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

impl Sink for MetricsText {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        Self::family(self, name, kind, help);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        Self::sample(self, name, labels, value);
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
        buckets: &Buckets,
    ) {
        self.buckets(name, labels, bounds, buckets);
    }
}
