//! Looking at the state of things, a few times per second.

use std::time::Duration;

use tokio::time::Instant;

use super::Run;
use crate::caller::Caller;
use crate::output::Output;
use crate::progress::{Progress, Snapshot};
use crate::source::Source;

impl<S: Source, C: Caller, O: Output, P: Progress> Run<S, C, O, P> {
    /// Looks at the state of things, a few times per second.
    pub(super) fn look(&mut self) {
        self.hear();
        let waiting = self.waiting();
        self.limit.waiting(waiting);
        self.bottlenecks.note(self.held_back(waiting));
        if self.stopped.is_none() {
            self.book.listen(self.config.patience);
        }
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
        let now = Instant::now();
        self.stop_waiting(now);
        let idle = self.caller.state().in_flight() == Some(0);
        if self.stopped.is_none() {
            if let Some(why) = self.book.out_of_patience(self.config.patience, idle) {
                self.halt(why);
            }
        } else if self.drain_until.is_some() {
            // Twice in a row: between two attempts nothing is under way either.
            self.quiet = if idle { self.quiet + 1 } else { 0 };
            if self.quiet >= 2 {
                self.drain_until = Some(now);
            }
        }
        let snapshot = self.snapshot(now);
        self.progress.snapshot(&snapshot);
    }

    /// Tells the limit of attempts whose rows have not ended.
    fn hear(&mut self) {
        let (Some(before), Some(now)) = (self.heard, self.caller.state().attempts()) else {
            return;
        };
        self.heard = Some(now);
        // After a step back, what is still in flight from before says nothing new.
        if self.tasks.len() <= self.limit.now() {
            let slow_downs = now.slow_downs.saturating_sub(before.slow_downs);
            self.limit
                .heard(now.made.saturating_sub(before.made), slow_downs);
        }
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> Snapshot {
        let done = self.rows.answered + self.rows.failed;
        let rate = self.pace.rate(now, done - self.rows.kept);
        let (refused, spend) = self.book.refused_and_spent();
        self.book
            .level(self.tasks.len() as u64, self.limit.now() as u64);
        let rows_expected = match (self.exhausted, self.source.total_bytes()) {
            (true, _) => Some(self.rows.read),
            (false, Some(total)) if self.last_byte > 0 => {
                let bytes_per_row = self.last_byte as f64 / self.rows.read as f64;
                Some(((total as f64 / bytes_per_row).round() as u64).max(self.rows.read))
            }
            (false, _) => None,
        };
        let eta = rows_expected.filter(|_| rate > 0.0).and_then(|rows| {
            Duration::try_from_secs_f64(rows.saturating_sub(done) as f64 / rate).ok()
        });
        Snapshot {
            done,
            failed: self.rows.failed,
            in_flight: self.tasks.len() as u64,
            limit: self.limit.now() as u64,
            refused,
            tokens: spend.cost.tokens,
            micro_usd: spend.micro_usd(),
            lanes: self.book.lanes(),
            elapsed: now - self.started,
            rate,
            token_rate: self.token_pace.rate(now, spend.cost.tokens),
            rows_expected,
            all_read: self.exhausted,
            eta,
        }
    }
}
