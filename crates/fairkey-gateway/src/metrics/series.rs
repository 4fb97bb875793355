//! The counts of one tenant, key, model and operation: [`Series`].

use std::sync::atomic::{AtomicU64, Ordering};

use super::micros;
use crate::record::{CallRecord, STATUS_CLASSES, status_class};

/// Bounds that OpenTelemetry's conventions recommend for durations, in seconds.
pub(super) const DURATIONS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// The same for the time to the first token, in seconds.
pub(super) const SECONDS_TO_FIRST: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The same for tokens.
pub(super) const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

/// The most bounds of a histogram, and one more for what is above the last.
const BUCKETS: usize = 17;

/// Counts by bounds. Sums are kept in millionths.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: [AtomicU64; BUCKETS],
    sum_millionths: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: Default::default(),
            sum_millionths: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, value: f64) {
        self.record_millionths(value, (value * 1e6) as u64);
    }

    fn record_millionths(&self, value: f64, millionths: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_millionths.fetch_add(millionths, Ordering::Relaxed);
    }
}

/// All counts of one combination of labels, side by side.
#[derive(Debug)]
pub(super) struct Series {
    statuses: [AtomicU64; STATUS_CLASSES.len()],
    micro_usd: AtomicU64,
    durations: Histogram,
    first: Histogram,
    tokens: Histogram,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            statuses: Default::default(),
            micro_usd: AtomicU64::new(0),
            durations: Histogram::new(&DURATIONS),
            first: Histogram::new(&SECONDS_TO_FIRST),
            tokens: Histogram::new(&TOKENS),
        }
    }
}

impl Series {
    pub(super) fn record(&self, call: &CallRecord<'_>) {
        self.statuses[status_class(call.status)].fetch_add(1, Ordering::Relaxed);
        self.durations
            .record_millionths(call.total.as_secs_f64(), micros(call.total));
        if let Some(first) = call.first_content {
            self.first
                .record_millionths(first.as_secs_f64(), micros(first));
        }
        if let Some(used) = call.used {
            self.tokens.record(used.tokens as f64);
            self.micro_usd.fetch_add(used.micro_usd, Ordering::Relaxed);
        }
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = u64> {
        self.statuses
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn micro_usd(&self) -> u64 {
        self.micro_usd.load(Ordering::Relaxed)
    }
}

/// Sums over several series, read once.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) durations: Buckets,
    pub(super) first: Buckets,
    pub(super) tokens: Buckets,
}

/// A histogram, read once.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(crate) counts: [u64; BUCKETS],
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Buckets {
    fn add(&mut self, histogram: &Histogram) {
        for (all, count) in self.counts.iter_mut().zip(&histogram.counts) {
            let count = count.load(Ordering::Relaxed);
            *all += count;
            self.count += count;
        }
        self.sum += histogram.sum_millionths.load(Ordering::Relaxed) as f64 / 1e6;
    }
}

impl Total {
    pub(super) fn add(&mut self, series: &Series) {
        self.durations.add(&series.durations);
        self.first.add(&series.first);
        self.tokens.add(&series.tokens);
    }

    pub(super) fn add_durations(&mut self, histogram: &Histogram) {
        self.durations.add(histogram);
    }
}
