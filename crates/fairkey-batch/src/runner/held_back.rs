//! What holds a run back at this moment.

use super::Run;
use crate::bottleneck::Bottleneck;
use crate::caller::Caller;
use crate::output::Output;
use crate::progress::Progress;
use crate::source::Source;

impl<S: Source, C: Caller, O: Output, P: Progress> Run<S, C, O, P> {
    /// Returns how many rows in flight wait for keys, as far as the caller tells.
    pub(super) fn waiting(&self) -> usize {
        let under_way = self.caller.state().in_flight().unwrap_or(u64::MAX);
        let under_way = usize::try_from(under_way).unwrap_or(usize::MAX);
        self.tasks.len().saturating_sub(under_way)
    }

    /// Returns what holds the run back at this moment; nothing while it grows, or ends.
    pub(super) fn held_back(&self, waiting: usize) -> Vec<Bottleneck> {
        if self.stopped.is_some() {
            return Vec::new();
        }
        let rows = self.tasks.len();
        if waiting > rows / 2 {
            let bars = self.caller.state().bars();
            return match bars.is_empty() {
                true => vec![Bottleneck::Keys(None)],
                false => bars,
            };
        }
        let one = if self.exhausted {
            // What comes last needs less than there is.
            return Vec::new();
        } else if self.delivery.is_blocked() || self.delivery.unconfirmed() > self.limit.now() / 2 {
            // A journal is as slow as its disk.
            Bottleneck::Output
        } else if !self.has_memory() {
            Bottleneck::Memory
        } else if rows < self.limit.now() - self.limit.now() / 8 {
            // A row that has just ended is no sign that none follows.
            Bottleneck::Input
        } else if self.limit.is_at_most() {
            Bottleneck::Concurrency
        } else if self.limit.is_flat() {
            Bottleneck::Upstream
        } else {
            return Vec::new();
        };
        vec![one]
    }
}
