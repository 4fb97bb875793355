//! How fast rows are done, lately: [`Pace`].

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How far back the rate looks.
const WINDOW: Duration = Duration::from_secs(5);
/// The most points that are kept.
const POINTS: usize = 64;

/// Rows done, at some points of the last seconds.
#[derive(Debug)]
pub(super) struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self(VecDeque::from([(now, 0)]))
    }

    /// Notes how many rows are done now. Returns the rows per second, lately.
    pub(super) fn rate(&mut self, now: Instant, done: u64) -> f64 {
        let is_old = |point: &(Instant, u64)| now.saturating_duration_since(point.0) > WINDOW;
        while self.0.len() > 1 && (self.0.len() > POINTS || self.0.get(1).is_some_and(is_old)) {
            self.0.pop_front();
        }
        let (since, before) = self.0.front().copied().unwrap_or((now, done));
        self.0.push_back((now, done));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds > 0.0 {
            done.saturating_sub(before) as f64 / seconds
        } else {
            0.0
        }
    }
}
