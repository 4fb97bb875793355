//! Who calls, and when: [`Arrivals`], [`Call`], [`Retries`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Cost, Outcome, Random, Timestamp};

use super::Distribution;

/// When calls come in.
#[derive(Clone, Debug)]
pub struct Arrivals(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Open { between: Distribution },
    At(Arc<[Duration]>),
    Closed { callers: usize, think: Distribution },
}

impl Arrivals {
    /// So many calls a second, each knowing nothing of the others (open loop).
    #[must_use]
    pub fn poisson(per_second: f64) -> Self {
        Self::apart(Distribution::exponential(1.0 / per_second))
    }

    /// So many calls a second, with the same time between any two (open loop).
    #[must_use]
    pub fn steady(per_second: f64) -> Self {
        Self::apart(Distribution::constant(1.0 / per_second))
    }

    /// One call after the other, with times between them from `between`, in seconds (open loop).
    #[must_use]
    pub fn apart(between: Distribution) -> Self {
        Self(Kind::Open { between })
    }

    /// Calls at these times: a trace.
    #[must_use]
    pub fn at(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(Kind::At(times.into()))
    }

    /// So many callers, each of which waits for the end of its call, and then for a time from
    /// `think`, in seconds, before its next one (closed loop).
    #[must_use]
    pub fn closed(callers: usize, think: Distribution) -> Self {
        Self(Kind::Closed { callers, think })
    }
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// What the pool is told that it will need. By default one request.
    pub estimate: Cost,
    /// What it needs, if that is something else.
    pub actual: Option<Cost>,
    /// How long it takes, whichever backend it goes to. By default that is the backend's.
    pub service: Option<Duration>,
    /// The session it belongs to.
    pub affinity: Option<u64>,
    /// The model it names.
    pub model: Option<&'static str>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            estimate: Cost::ONE,
            actual: None,
            service: None,
            affinity: None,
            model: None,
        }
    }
}

/// What one caller does about failures: the place for a backoff and a retry budget.
pub trait Retries: fmt::Debug {
    /// Hears of a call that begins.
    fn begin(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// Says how long to wait before the call is tried again, or that it is not. `retry` is 0 for
    /// the first retry of the call.
    fn again(
        &mut self,
        now: Timestamp,
        retry: u32,
        outcome: &Outcome,
        random: &mut Random,
    ) -> Option<Duration>;
}

/// What fails has failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetries;

impl Retries for NoRetries {
    fn again(&mut self, _: Timestamp, _: u32, _: &Outcome, _: &mut Random) -> Option<Duration> {
        None
    }
}

/// The same call again at once, so many times.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce(pub u32);

impl Retries for AtOnce {
    fn again(&mut self, _: Timestamp, retry: u32, _: &Outcome, _: &mut Random) -> Option<Duration> {
        (retry < self.0).then_some(Duration::ZERO)
    }
}
