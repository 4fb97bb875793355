//! How a run ends: early, and in the end.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::begun::Begun;
use super::{Run, Stopped};
use crate::caller::Caller;
use crate::output::{Output, OutputError};
use crate::progress::{Notice, Progress};
use crate::source::Source;
use crate::summary::Summary;

/// How long a journal may take for the last results, when all else is over.
const LAST: Duration = Duration::from_secs(1);

impl<S: Source, C: Caller, O: Output, P: Progress> Run<S, C, O, P> {
    /// Begins nothing more. The first reason is the one that is told.
    pub(super) fn halt(&mut self, why: Stopped) {
        let now = Instant::now();
        let until = match why {
            // A broken input is no reason to hurry: what was read is sent.
            Stopped::InputFailed(_) => None,
            // What is under way is paid for: nothing of it is given up.
            Stopped::OutOfMoney(_) => {
                self.stop_sending();
                None
            }
            // A broken output is none to go on: what comes now could not be kept, unless there is
            // a journal.
            Stopped::OutputFailed(_) if !self.delivery.has_journal() => Some(now),
            _ => Some(now + self.config.drain),
        };
        if let Some(until) = until {
            self.stop_sending();
            self.drain_until = Some(self.drain_until.map_or(until, |sooner| sooner.min(until)));
        }
        if self.stopped.is_none() {
            self.progress.notice(&Notice::Stopping(why.clone()));
            self.stopped = Some(why);
        }
    }

    /// Has rows that wait hear that they need not, and gives up those that were not sent.
    pub(super) fn stop_sending(&mut self) {
        self.halt.stop();
        while let Some((begun, _)) = self.deferred.pop_front() {
            self.given_up(begun.index);
        }
    }

    /// Gives up the row that others wait for, if they have done so for long enough.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        let (Some(wait), Some(index)) = (self.config.row_wait, self.delivery.awaited()) else {
            return;
        };
        let awaited = |begun: &&mut Begun| begun.index == index && now - begun.since >= wait;
        if let Some(begun) = self.begun.values_mut().find(awaited) {
            begun.overdue = true;
            if let Some(handle) = &begun.handle {
                handle.abort();
            }
        }
    }

    /// Gives up what is in flight. What has ended by now counts.
    pub(super) async fn abandon(&mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
        self.abandoned = true;
    }

    pub(super) async fn finish(mut self) -> Summary {
        // Where they could not be kept, there was time enough before.
        let _ = timeout(LAST.min(self.config.drain), self.delivery.kept()).await;
        let unkept = self.delivery.unconfirmed() as u64;
        self.delivery.give_up_keeping();
        let finished = timeout(self.config.drain, self.delivery.finish()).await;
        let error = match finished {
            Ok(result) => result.err(),
            Err(_) => Some(OutputError::stuck(self.config.drain)),
        };
        if let Some(error) = error {
            self.halt(Stopped::OutputFailed(error));
        }
        let has_journal = self.delivery.has_journal();
        if let Some(error) = self.delivery.close_journal().await {
            self.halt(Stopped::JournalFailed(error));
        }
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
        let now = Instant::now();
        let snapshot = self.snapshot(now);
        self.progress.snapshot(&snapshot);
        let mut rows = self.rows;
        self.delivery.close(&mut rows);
        rows.unkept = if has_journal {
            unkept.min(rows.unwritten)
        } else {
            rows.unwritten
        };
        rows.repeated_names = self.names.repeated();
        let accounted = rows.written + rows.unwritten + rows.left;
        rows.lost = rows.read.saturating_sub(accounted);
        let states = self.caller.state().keys();
        let (keys, spend, history) = self.book.close(states);
        let mut bottlenecks = self.bottlenecks.finish();
        if self.peak == 0 {
            // Nothing was sent that could have been held back.
            bottlenecks.clear();
        }
        Summary {
            rows,
            stopped: self.stopped,
            elapsed: now - self.started,
            attempts: self.attempts,
            cost: spend.cost,
            byok_micro_usd: spend.byok_micro_usd,
            maybe_billed: spend.unknown,
            keys,
            history,
            bottlenecks,
            peak_in_flight: self.peak as u64,
        }
    }
}
