//! What each key has done lately: sliding windows over calls, faults, latency and spend.

use std::time::Duration;

use fairkey_core::{Outcome, Report, Scope, Timestamp};

/// Upper bounds of the histogram of latencies, in milliseconds: each 1.5 times the one before it.
/// The last bucket has no bound.
const BOUNDS_MS: [u32; 19] = [
    50, 75, 113, 169, 253, 380, 570, 854, 1_281, 1_922, 2_883, 4_325, 6_487, 9_731, 14_596, 21_894,
    32_842, 49_263, 73_894,
];

/// How many scopes there are to be charged.
const SCOPES: usize = Scope::ALL.len();

/// What a key, or an account, did within a window of time.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WindowStats {
    /// Attempts that ended and said something about somebody: those that were given up are not
    /// among them.
    pub calls: u64,
    /// Attempts that failed, by the scope that was charged, in the order of [`Scope::ALL`].
    pub faults: [u64; SCOPES],
    /// Latencies to the first content that were measured.
    pub timed: u64,
    /// The time to the first content that half of the attempts stayed within, as far as a
    /// histogram in steps of 1.5 can tell. Zero where nothing was measured.
    pub first_content_p50: Duration,
    /// The same for 95 % of the attempts.
    pub first_content_p95: Duration,
    /// What the calls cost, in millionths of a US dollar, where that is known.
    pub micro_usd: u64,
}

impl WindowStats {
    /// Returns how many attempts failed, charged to whomever.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// Returns how many failed of which somebody upstream is to blame: not the request, the
    /// caller or this process.
    #[must_use]
    pub fn failed_upstream(&self) -> u64 {
        let blamed =
            |scope: &Scope| !matches!(scope, Scope::Request | Scope::Caller | Scope::Local);
        let counts = Scope::ALL.iter().zip(&self.faults);
        counts
            .filter(|(scope, _)| blamed(scope))
            .map(|(_, n)| n)
            .sum()
    }

    /// Returns how many were charged to `scope`.
    #[must_use]
    pub fn charged_to(&self, scope: Scope) -> u64 {
        self.faults.get(scope as usize).copied().unwrap_or(0)
    }

    /// Returns the part of the attempts that failed upstream, from 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        if self.calls == 0 {
            0.0
        } else {
            self.failed_upstream() as f64 / self.calls as f64
        }
    }
}

/// Counts of a slice of time. Small, since there are many: they saturate.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which slice of time it is, counted from the clock's zero.
    slice: u64,
    calls: u32,
    micro_usd: u64,
    faults: [u16; SCOPES],
    latency: [u16; BOUNDS_MS.len() + 1],
}

/// The sum of some buckets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum {
    calls: u64,
    micro_usd: u64,
    faults: [u64; SCOPES],
    latency: [u64; BOUNDS_MS.len() + 1],
}

impl Sum {
    fn add(&mut self, bucket: &Bucket) {
        self.calls += u64::from(bucket.calls);
        self.micro_usd = self.micro_usd.saturating_add(bucket.micro_usd);
        for (sum, n) in self.faults.iter_mut().zip(bucket.faults) {
            *sum += u64::from(n);
        }
        for (sum, n) in self.latency.iter_mut().zip(bucket.latency) {
            *sum += u64::from(n);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.micro_usd = self.micro_usd.saturating_add(other.micro_usd);
        for (sum, n) in self.faults.iter_mut().zip(other.faults) {
            *sum += n;
        }
        for (sum, n) in self.latency.iter_mut().zip(other.latency) {
            *sum += n;
        }
    }

    /// Takes another away that is part of this one.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.calls = rest.calls.saturating_sub(other.calls);
        rest.micro_usd = rest.micro_usd.saturating_sub(other.micro_usd);
        for (sum, n) in rest.faults.iter_mut().zip(other.faults) {
            *sum = sum.saturating_sub(n);
        }
        for (sum, n) in rest.latency.iter_mut().zip(other.latency) {
            *sum = sum.saturating_sub(n);
        }
        rest
    }

    pub(crate) fn stats(&self) -> WindowStats {
        WindowStats {
            calls: self.calls,
            faults: self.faults,
            timed: self.latency.iter().sum(),
            first_content_p50: self.quantile(0.5),
            first_content_p95: self.quantile(0.95),
            micro_usd: self.micro_usd,
        }
    }

    /// Returns the upper bound of the bucket that the quantile lies in.
    fn quantile(&self, part: f64) -> Duration {
        let total: u64 = self.latency.iter().sum();
        if total == 0 {
            return Duration::ZERO;
        }
        let rank = ((total as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        for (at, n) in self.latency.iter().enumerate() {
            below += n;
            if below >= rank {
                let bound = BOUNDS_MS.get(at).or(BOUNDS_MS.last());
                return Duration::from_millis(u64::from(*bound.unwrap_or(&0)));
            }
        }
        Duration::ZERO
    }
}

/// A ring of slices of time.
#[derive(Clone, Debug)]
struct Ring<const N: usize> {
    slice: Duration,
    buckets: [Bucket; N],
}

impl<const N: usize> Ring<N> {
    fn new(slice: Duration) -> Self {
        Self {
            slice,
            buckets: [Bucket::default(); N],
        }
    }

    fn slice(&self, at: Timestamp) -> u64 {
        at.as_nanos()
            / u64::try_from(self.slice.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1)
    }

    /// Returns the bucket of a time; `None` where it has been given to a later slice.
    fn bucket(&mut self, at: Timestamp) -> Option<&mut Bucket> {
        let slice = self.slice(at);
        let bucket = &mut self.buckets[(slice % N as u64) as usize];
        if bucket.slice > slice {
            return None;
        }
        if bucket.slice < slice {
            *bucket = Bucket {
                slice,
                ..Bucket::default()
            };
        }
        Some(bucket)
    }

    fn sum(&self, now: Timestamp) -> Sum {
        let last = self.slice(now);
        let mut sum = Sum::default();
        for bucket in &self.buckets {
            if bucket.slice + (N as u64) > last {
                sum.add(bucket);
            }
        }
        sum
    }
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// 1 min, in slices of 10 s.
    Minute,
    /// 15 min, in slices of 1 min.
    Quarter,
}

/// The windows of one key: about 2 kB.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    minute: Ring<6>,
    quarter: Ring<15>,
    /// Whether any attempt ever succeeded.
    pub(crate) worked: bool,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            minute: Ring::new(Duration::from_secs(10)),
            quarter: Ring::new(Duration::from_secs(60)),
            worked: false,
        }
    }
}

impl Windows {
    /// Takes note of how an attempt ended.
    pub(crate) fn record(&mut self, report: &Report) {
        let fault = match report.outcome {
            Outcome::Success => None,
            Outcome::Fault { scope, .. } => Some(scope as usize),
            _ => return,
        };
        self.worked |= fault.is_none();
        let latency = report.first_content.map(|first| {
            let ms = first.since(report.begun).as_millis();
            BOUNDS_MS.partition_point(|bound| u128::from(*bound) < ms)
        });
        let micro_usd = report.actual.map_or(0, |cost| cost.micro_usd);
        let buckets = [
            self.minute.bucket(report.ended),
            self.quarter.bucket(report.ended),
        ];
        for bucket in buckets.into_iter().flatten() {
            bucket.calls = bucket.calls.saturating_add(1);
            bucket.micro_usd = bucket.micro_usd.saturating_add(micro_usd);
            if let Some(n) = fault.and_then(|at| bucket.faults.get_mut(at)) {
                *n = n.saturating_add(1);
            }
            if let Some(n) = latency.and_then(|at| bucket.latency.get_mut(at)) {
                *n = n.saturating_add(1);
            }
        }
    }

    pub(crate) fn sum(&self, span: Span, now: Timestamp) -> Sum {
        match span {
            Span::Minute => self.minute.sum(now),
            Span::Quarter => self.quarter.sum(now),
        }
    }
}

/// How a key does worse than the other keys of its account, or than all others where it is alone.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Degraded {
    /// It fails more often.
    Failing {
        /// The part of its attempts that fail, from 0 to 1.
        own: f64,
        /// The part of the others' attempts that fail.
        siblings: f64,
    },
    /// Its first content comes later.
    Slow {
        /// What half of its attempts stay within.
        own: Duration,
        /// What half of the others' attempts stay within.
        siblings: Duration,
    },
}

/// The least attempts on either side before anything is said.
const LEAST_CALLS: u64 = 20;
/// The least failures, and the least part of failures.
const LEAST_FAILED: u64 = 5;
const LEAST_RATE: f64 = 0.1;
/// How many times worse than its siblings' a key's failures have to be.
const TIMES_AS_FAILING: f64 = 3.0;
/// How many times slower. Two steps of the histogram are 2.25 times.
const TIMES_AS_SLOW: f64 = 2.0;

/// Tells whether a key does worse than its siblings.
///
/// Failing: of at least 20 attempts on either side, at least 5 and at least 10 % fail, and three
/// times the siblings' part. Slow: of at least 20 measured on either side, half of them take at
/// least twice as long, and more than 250 ms longer.
pub(crate) fn degraded(own: &WindowStats, siblings: &WindowStats) -> Option<Degraded> {
    if own.calls >= LEAST_CALLS && siblings.calls >= LEAST_CALLS {
        let (mine, theirs) = (own.error_rate(), siblings.error_rate());
        let worse = mine >= LEAST_RATE && mine >= theirs * TIMES_AS_FAILING;
        if own.failed_upstream() >= LEAST_FAILED && worse {
            return Some(Degraded::Failing {
                own: mine,
                siblings: theirs,
            });
        }
    }
    if own.timed >= LEAST_CALLS && siblings.timed >= LEAST_CALLS {
        let (mine, theirs) = (own.first_content_p50, siblings.first_content_p50);
        let slower = mine.as_secs_f64() >= theirs.as_secs_f64() * TIMES_AS_SLOW;
        if slower && mine > theirs + Duration::from_millis(250) {
            return Some(Degraded::Slow {
                own: mine,
                siblings: theirs,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests;
