//! What came of it: [`Results`].

use std::fmt;
use std::time::Duration;

/// What came of a simulation, exactly: nothing is sampled or put into buckets.
///
/// Every call ended once: `calls == answered + failed + refused`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Results {
    /// Calls that came in after the warm-up.
    pub calls: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls whose last attempt failed.
    pub failed: u64,
    /// Calls that got no key in time.
    pub refused: u64,
    /// Attempts that were sent.
    pub attempts: u64,
    /// Attempts that a [`Quota`](super::Quota) refused: the 429s.
    pub throttled: u64,
    /// Attempts that took longer than the timeout.
    pub timed_out: u64,
    /// For each backend, in the order in which they were given.
    pub backends: Vec<BackendResults>,
    /// The times that answered calls took, in nanoseconds, in order.
    pub(super) latencies: Vec<u64>,
}

/// What one backend had of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendResults {
    /// Attempts that were sent to it.
    pub attempts: u64,
    /// The most calls that it was given at a time, the warm-up included.
    pub most_in_flight: u32,
}

impl Results {
    /// Returns the part of the calls that were answered, 0 to 1.
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        part(self.answered, self.calls)
    }

    /// Returns the part of the calls that were answered in at most this time, 0 to 1: what a
    /// caller sees who waits no longer, and does not tell the backend.
    #[must_use]
    pub fn success_within(&self, time: Duration) -> f64 {
        let most = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let within = self.latencies.partition_point(|nanos| *nanos <= most);
        part(within as u64, self.calls)
    }

    /// Returns the attempts for each call: 1 where nothing is tried again.
    #[must_use]
    pub fn load(&self) -> f64 {
        part(self.attempts, self.calls)
    }

    /// Returns how many attempts were refused by a quota, for a hundred calls that were answered.
    #[must_use]
    pub fn throttled_per_100(&self) -> f64 {
        100.0 * part(self.throttled, self.answered)
    }

    /// Returns the mean time of answered calls, from coming in to the answer.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let sum: u128 = self.latencies.iter().map(|nanos| u128::from(*nanos)).sum();
        let mean = sum / (self.latencies.len() as u128).max(1);
        Duration::from_nanos(mean as u64)
    }

    /// Returns the time that the part `q` of the answered calls did not exceed, 0 to 1: the
    /// nearest rank, so always a time that a call took. Zero where none was answered.
    #[must_use]
    pub fn percentile(&self, q: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * q.clamp(0.0, 1.0)).ceil() as usize;
        let at = rank.saturating_sub(1);
        Duration::from_nanos(self.latencies.get(at).copied().unwrap_or(0))
    }

    /// Returns the times of all answered calls, from the shortest to the longest.
    pub fn latencies(&self) -> impl Iterator<Item = Duration> + '_ {
        self.latencies
            .iter()
            .map(|nanos| Duration::from_nanos(*nanos))
    }
}

fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

impl fmt::Debug for Results {
    /// All but the latencies one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("calls", &self.calls)
            .field("answered", &self.answered)
            .field("failed", &self.failed)
            .field("refused", &self.refused)
            .field("attempts", &self.attempts)
            .field("throttled", &self.throttled)
            .field("timed_out", &self.timed_out)
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Results {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |q| self.percentile(q).as_secs_f64() * 1e3;
        write!(
            f,
            "{} calls: {:.2} % answered, {} failed, {} refused; {:.3} attempts a call, {} throttled; \
             p50 {:.1} ms, p99 {:.1} ms",
            self.calls,
            100.0 * self.success_rate(),
            self.failed,
            self.refused,
            self.load(),
            self.throttled,
            millis(0.5),
            millis(0.99),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_calls_took() {
        let results = Results {
            calls: 12,
            answered: 10,
            latencies: (1..=10).map(|n| n * 1_000_000).collect(),
            ..Results::default()
        };
        let millis = |q| results.percentile(q).as_millis();
        assert_eq!(
            [0.0, 0.1, 0.11, 0.5, 0.99, 1.0].map(millis),
            [1, 1, 2, 5, 10, 10]
        );
        assert_eq!(results.mean(), Duration::from_micros(5_500));
        assert_eq!(results.success_within(Duration::from_millis(3)), 0.25);
        assert_eq!(Results::default().percentile(0.5), Duration::ZERO);
        assert_eq!(Results::default().mean(), Duration::ZERO);
    }
}
