//! When a breaker trips, and how it comes back: [`BreakerConfig`].

use std::fmt;
use std::time::Duration;

use crate::recovery::{Course, jittered};
use crate::window::Counts;

/// When a [`SlidingWindowBreaker`](crate::SlidingWindowBreaker) trips, for how long it stays open, and how it comes back.
///
/// It trips by any of three rules. The defaults are those of linkerd's unified breaker, adapted:
/// a bad ratio over enough calls, or a run of failures where calls are few.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// The time that the ratio and the count look back. Default 60 s. At least 10 ns.
    pub window: Duration,
    /// Calls in the window below which the ratio says nothing. Default 10, at least 1.
    pub min_calls: u32,
    /// Trips when failures are at least this part of the calls in the window; above 0, at most 1.
    /// Default 0.5; `None` switches the rule off.
    pub ratio: Option<f64>,
    /// Trips after so many failures in a row. "Slow down" neither lengthens nor ends the run.
    /// Default 5, at least 1; `None` switches the rule off.
    pub consecutive: Option<u32>,
    /// Trips at so many failures in the window, however many calls succeed: 3, with a window of
    /// 60 s, is the classic "three errors in a minute". Default `None`: off.
    pub count: Option<u32>,
    /// For how long it is open the first time; doubles each time the probe fails. Default 5 s.
    pub open_for: Duration,
    /// The longest it is open at a time. Default 300 s.
    pub open_cap: Duration,
    /// Which part of the open time is left to chance, 0 to 1: 0.5, the default, makes of 8 s
    /// something between 4 s and 8 s, so that many breakers do not probe at once.
    pub jitter: f64,
    /// After a successful probe, 2 calls at a time are admitted, then 4, and so on, doubling with
    /// each stage that succeeds, until this many; then the breaker closes. Default 16; 0 or 1
    /// closes at once.
    pub ramp: u32,
    /// How long a probe of which nothing is heard, neither content nor an end, bars all others.
    /// Then one more call may pass. Default 60 s, above 0.
    pub probe_timeout: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            min_calls: 10,
            ratio: Some(0.5),
            consecutive: Some(5),
            count: None,
            open_for: Duration::from_secs(5),
            open_cap: Duration::from_secs(300),
            jitter: 0.5,
            ramp: 16,
            probe_timeout: Duration::from_secs(60),
        }
    }
}

/// A setting of [`BreakerConfig`] that makes no sense; says which, and what does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerConfigError(&'static str);

impl fmt::Display for BreakerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BreakerConfigError {}

impl BreakerConfig {
    /// Says whether a failure trips after which there are `run` in a row and `counts` in the
    /// window.
    pub(crate) fn trips(&self, run: u32, counts: Counts) -> bool {
        self.consecutive.is_some_and(|most| run >= most)
            || self.count.is_some_and(|most| counts.failures >= most)
            || self.ratio.is_some_and(|ratio| {
                counts.calls >= self.min_calls
                    && f64::from(counts.failures) >= ratio * f64::from(counts.calls)
            })
    }

    /// Returns for how long the `trips`th trip in a row opens, with `chance` from 0 to 1.
    pub(crate) fn open_for(&self, trips: u32, chance: f64) -> Duration {
        let doublings = trips.saturating_sub(1).min(31);
        let full = self.open_for.saturating_mul(1 << doublings);
        jittered(full.min(self.open_cap), self.jitter, chance)
    }

    pub(crate) fn course(&self) -> Course {
        Course {
            probe_timeout: self.probe_timeout,
            ramp: self.ramp,
            all_at_once: false,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Names the first setting that is out of its range, and the range.
    pub fn check(&self) -> Result<(), BreakerConfigError> {
        let err = |what| Err(BreakerConfigError(what));
        if self.window < Duration::from_nanos(10) {
            return err("breaker window is shorter than 10 ns");
        }
        if self.min_calls == 0 {
            return err("breaker min_calls is 0: at least 1 call makes a ratio");
        }
        if self
            .ratio
            .is_some_and(|ratio| !(ratio > 0.0 && ratio <= 1.0))
        {
            return err("breaker ratio is not above 0 and at most 1");
        }
        if self.consecutive == Some(0) || self.count == Some(0) {
            return err("breaker consecutive and count are at least 1, or off");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return err("breaker jitter is not between 0 and 1");
        }
        if self.probe_timeout.is_zero() {
            return err("breaker probe_timeout is 0");
        }
        if self.open_for.is_zero() || self.open_for > self.open_cap {
            return err("breaker open_for is not above 0 and at most open_cap");
        }
        Ok(())
    }
}
