//! Time: [`Timestamp`], and the clocks that tell it.
//!
//! Policy code never reads the machine's clocks; it is given a [`Clock`]. This is the one file
//! that reads them.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

// The manual clock is test equipment around a model, not part of one: never loom's atomics.
use std::sync::atomic::{AtomicU64, Ordering};

/// A moment on a [`Clock`]: nanoseconds since that clock was made.
///
/// Fits an atomic, and lasts 584 years. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment the clock was made.
    pub const ZERO: Self = Self(0);
    /// Later than anything a clock will tell.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a moment from nanoseconds since the clock was made.
    #[must_use]
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock was made.
    #[must_use]
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, or zero where `earlier` is later.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    #[inline]
    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    #[inline]
    fn sub(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Tells monotonic time.
///
/// Called once or twice per call, from any thread; it must not block, and must never go back.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the time since this clock was made.
    fn now(&self) -> Timestamp;
}

/// Tells the time of day, which may jump. Only reset stamps and snapshots are read against it.
pub trait WallClock: fmt::Debug + Send + Sync {
    /// Returns the time since 1970-01-01 00:00 UTC, or zero where the machine thinks it is
    /// earlier.
    fn since_epoch(&self) -> Duration;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

impl<C: WallClock + ?Sized> WallClock for Arc<C> {
    fn since_epoch(&self) -> Duration {
        (**self).since_epoch()
    }
}

/// The machine's monotonic clock.
#[derive(Clone, Debug)]
pub struct MonotonicClock {
    made: Instant,
}

impl MonotonicClock {
    /// Starts a clock at zero.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    pub fn new() -> Self {
        Self {
            made: Instant::now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    #[inline]
    fn now(&self) -> Timestamp {
        let elapsed = Instant::now().saturating_duration_since(self.made);
        // Cheaper than `as_nanos` on u128, and right for 584 years.
        Timestamp(elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos()))
    }
}

/// The machine's time of day.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemWallClock;

impl WallClock for SystemWallClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn since_epoch(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// A clock that moves only when told to: for tests of strategies, gates and everything above.
///
/// Clones share the time. It tells wall-clock time too: a fixed start plus the time passed, and a
/// step that a test can set to make the time of day jump.
///
/// ```
/// use fairkey_core::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let handle = clock.clone();
/// handle.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().since(fairkey_core::Timestamp::ZERO), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    nanos: Arc<AtomicU64>,
    epoch_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// Makes a clock that stands at zero, at 1970-01-01 00:00 UTC.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: the number is all there is; it publishes no other memory.
        let _ = self
            .nanos
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                Some(now.saturating_add(by))
            });
    }

    /// Moves the time forward to `to`; does nothing where that is in the past.
    pub fn advance_to(&self, to: Timestamp) {
        self.nanos.fetch_max(to.0, Ordering::Relaxed);
    }

    /// Sets the time of day that this clock's zero stands for, forward or back.
    pub fn set_epoch(&self, at_zero: Duration) {
        let nanos = u64::try_from(at_zero.as_nanos()).unwrap_or(u64::MAX);
        self.epoch_nanos.store(nanos, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp(self.nanos.load(Ordering::Relaxed))
    }
}

impl WallClock for ManualClock {
    fn since_epoch(&self) -> Duration {
        let nanos = self.epoch_nanos.load(Ordering::Relaxed);
        Duration::from_nanos(nanos.saturating_add(self.nanos.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_does_not_go_back() {
        let clock = MonotonicClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::ZERO - Duration::from_secs(1), Timestamp::ZERO);
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::ZERO.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn a_manual_clock_never_goes_back_but_its_time_of_day_may() {
        let clock = ManualClock::new();
        clock.set_epoch(Duration::from_secs(100));
        clock.advance(Duration::from_secs(5));
        clock.advance_to(Timestamp::ZERO);
        assert_eq!(clock.now(), Timestamp::from_nanos(5_000_000_000));
        assert_eq!(clock.since_epoch(), Duration::from_secs(105));
        clock.set_epoch(Duration::ZERO);
        assert_eq!(clock.since_epoch(), Duration::from_secs(5));
    }
}
