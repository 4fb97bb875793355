//! Where metrics are told to: [`Sink`].

use super::series::Buckets;

/// Takes metrics, one family after the other.
pub(crate) trait Sink {
    /// Begins a metric: its samples follow. `kind` is `counter`, `gauge` or `histogram`.
    fn family(&mut self, name: &str, kind: &str, help: &str);

    /// Adds a sample.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64);

    /// Adds a histogram; the last of its counts is that of values above all bounds.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[f64], buckets: &Buckets);
}
