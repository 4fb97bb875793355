//! Calls in line: [`Lines`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fairkey_core::Class;

use super::waiter::Waiter;

/// What calls of one line have in common: a model that is out holds up no other line.
pub(super) type Line = (Option<Arc<str>>, Class);

/// How many calls that exclude keys of their own are asked about in a pass before the others of
/// their line that do are left alone: a bound on the work of one release. The first that excludes
/// none is asked about all the same, since what they refuse may be what it waits for.
const OWN_EXCLUSIONS: usize = 16;

/// All who wait, by line, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Lines {
    tickets: u64,
    len: usize,
    lines: HashMap<Line, BTreeMap<u64, Arc<Waiter>>>,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty_line(&self, line: &Line) -> bool {
        // A line without anybody is removed.
        self.len == 0 || !self.lines.contains_key(line)
    }

    /// Gives out the next place in line.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Puts somebody in line, at the place that their ticket says.
    pub(super) fn push(&mut self, waiter: Waiter) -> Arc<Waiter> {
        self.len += 1;
        let waiter = Arc::new(waiter);
        let line = self.lines.entry(waiter.line.clone()).or_default();
        line.insert(waiter.ticket, Arc::clone(&waiter));
        waiter
    }

    /// Takes somebody out of line; tells whether they stood there.
    pub(super) fn remove(&mut self, line: &Line, ticket: u64) -> bool {
        let Some(waiters) = self.lines.get_mut(line) else {
            return false;
        };
        if waiters.remove(&ticket).is_none() {
            return false;
        }
        self.len -= 1;
        if waiters.is_empty() {
            self.lines.remove(line);
        }
        true
    }

    /// Returns whoever came first among those that `pass` has not dealt with.
    pub(super) fn next(&self, pass: &Pass) -> Option<(u64, Arc<Waiter>)> {
        let heads = self
            .lines
            .iter()
            .filter_map(|(line, waiters)| match pass.lines.get(line) {
                Some(Progress { blocked: true, .. }) => None,
                Some(Progress { after, own, .. }) => waiters
                    .range(after + 1..)
                    .find(|(_, waiter)| *own < OWN_EXCLUSIONS || waiter.wish.tried.is_empty()),
                None => waiters.first_key_value(),
            });
        let (ticket, waiter) = heads.min_by_key(|(ticket, _)| **ticket)?;
        Some((*ticket, Arc::clone(waiter)))
    }
}

/// What one pass through the lines has found.
#[derive(Debug, Default)]
pub(super) struct Pass {
    lines: HashMap<Line, Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// The head can have nothing, so nobody in this line gets anything.
    blocked: bool,
    /// The last ticket that was refused for reasons of its own.
    after: u64,
    own: usize,
}

impl Pass {
    /// Notes a refusal. Of a call that excludes no key, it holds for its whole line; one that
    /// excludes keys says nothing about those behind it.
    pub(super) fn refused(&mut self, line: &Line, ticket: u64, excludes_none: bool) {
        let progress = self.lines.entry(line.clone()).or_default();
        progress.after = ticket;
        progress.own += 1;
        progress.blocked |= excludes_none;
    }
}
