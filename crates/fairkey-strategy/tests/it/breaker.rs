//! Each rule of the breaker, at its edge: one before it, and at it.

mod config;
mod model;
mod open;
mod probe;
mod ramp;
mod reload;
mod stragglers;
mod trip;

use std::time::Duration;

use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};

use crate::support::{Rig, failed, secs};

/// A breaker that trips at the first failure, opens for 10 s without jitter, and closes at once
/// after a probe.
fn touchy() -> BreakerConfig {
    BreakerConfig {
        consecutive: Some(1),
        ratio: None,
        open_for: secs(10),
        jitter: 0.0,
        ramp: 0,
        ..BreakerConfig::default()
    }
}

/// A breaker without any rule; a test turns on the one it is about.
fn without_rules() -> BreakerConfig {
    BreakerConfig {
        consecutive: None,
        ratio: None,
        count: None,
        jitter: 0.0,
        ..BreakerConfig::default()
    }
}

fn rig(config: BreakerConfig) -> Rig<SlidingWindowBreaker> {
    Rig::new(SlidingWindowBreaker::new(config).seed(1))
}

impl Rig<SlidingWindowBreaker> {
    fn is_closed(&self) -> bool {
        self.key(0, |key| self.gate.is_closed(key))
    }

    /// For how long it is open, if it is.
    fn open_for(&self) -> Option<Duration> {
        Some(self.until(0)??.since(self.pool.now()))
    }

    /// Lets one call fail, which trips it, and waits until its time is over.
    #[track_caller]
    fn trip_and_wait(&self) {
        self.calls(1, failed());
        assert!(!self.is_closed());
        self.wait();
    }

    /// Waits until its time is over.
    #[track_caller]
    fn wait(&self) {
        let until = self.until(0).flatten().expect("it is open until a time");
        self.advance_to(until);
    }

    /// How many calls at a time it lets through.
    fn capacity(&self) -> usize {
        let leases: Vec<_> = (0..100).map_while(|_| self.select(0).ok()).collect();
        leases.len()
    }
}
