//! How many calls of a connection may be left: [`Patience`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A call that is left later than this has had its time: a caller that changed its mind.
const SOON: Duration = Duration::from_secs(1);
/// All that was left is forgotten within this time.
const FORGETS: Duration = Duration::from_secs(10);

/// Bears a number of calls that are left soon after they began, and forgets them steadily.
///
/// Whoever asks and leaves at once has work done that it pays nothing for: a key is chosen, a call
/// goes upstream and is taken back. In HTTP/1.1 each costs it a connection; in HTTP/2 it is a frame
/// of 13 bytes ("rapid reset").
#[derive(Debug)]
pub(super) struct Patience {
    most: u32,
    left: Mutex<Left>,
}

/// How much is borne still, as of when; nothing before the first call that was left.
#[derive(Debug, Default)]
struct Left(Option<(f64, Instant)>);

impl Patience {
    /// Bears `most` at once, and as many in each [`FORGETS`].
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            left: Mutex::default(),
        }
    }

    /// Takes note of a call that was left `now`. Returns whether that is borne.
    pub(super) fn bears(&self, began: Instant, now: Instant) -> bool {
        if now.saturating_duration_since(began) > SOON {
            return true;
        }
        let most = f64::from(self.most);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, at) = left.0.unwrap_or((most, now));
        let passed = now.saturating_duration_since(at).as_secs_f64();
        let more = most * passed / FORGETS.as_secs_f64();
        let there = (before + more).min(most);
        let is_borne = there >= 1.0;
        left.0 = Some((if is_borne { there - 1.0 } else { there }, at.max(now)));
        is_borne
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    #[test]
    fn so_many_calls_may_be_left_and_so_many_again_when_they_are_forgotten() {
        let (patience, begin) = (Patience::new(10), Instant::now());
        for n in 0..10 {
            assert!(patience.bears(begin, begin), "{n}");
        }
        assert!(!patience.bears(begin, begin));
        // One in each second.
        assert!(!patience.bears(at(begin, 900), at(begin, 900)));
        assert!(patience.bears(at(begin, 1_100), at(begin, 1_100)));
        assert!(!patience.bears(at(begin, 1_200), at(begin, 1_200)));
        for n in 0..10 {
            assert!(patience.bears(at(begin, 60_000), at(begin, 60_000)), "{n}");
        }
        assert!(!patience.bears(at(begin, 60_000), at(begin, 60_000)));
    }

    #[test]
    fn calls_that_are_left_late_are_borne() {
        let (patience, begin) = (Patience::new(1), Instant::now());
        for _ in 0..100 {
            assert!(patience.bears(begin, at(begin, 1_001)));
        }
        assert!(patience.bears(begin, at(begin, 1_000)));
        assert!(!patience.bears(begin, at(begin, 1_000)));
    }
}
