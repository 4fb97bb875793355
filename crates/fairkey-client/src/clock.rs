//! The time of the async runtime, for the pool: [`TokioClock`].

use fairkey_core::{Clock, Timestamp};
use tokio::time::Instant;

/// The clock of the tokio runtime, as a clock for the pool.
///
/// A client's default: cooldowns, budgets and timers then run on one time, and a test that pauses
/// tokio's clock moves all of them together.
#[derive(Clone, Debug)]
pub struct TokioClock {
    made: Instant,
}

impl TokioClock {
    /// Starts a clock at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            made: Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::ZERO + Instant::now().saturating_duration_since(self.made)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pools_time_stands_and_moves_with_tokios() {
        let clock = TokioClock::new();
        assert_eq!(clock.now(), Timestamp::ZERO);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), Timestamp::ZERO + Duration::from_secs(90));
    }

    #[test]
    fn it_needs_no_runtime() {
        let clock = TokioClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
