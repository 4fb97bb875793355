//! How large those are who wait: what is known of it changes, and who is next of those that fit.

use std::hash::Hash;
use std::ops::Bound;

use fairkey_core::Cost;

use super::entry::{LEVELS, Place};
use super::line::Size;
use super::{LaneKey, Queue};

/// So many of each tenant are looked at for one that is small enough, in the usual order.
const STEPS_OF_TENANT: usize = 32;
/// So many of all.
const STEPS: usize = 128;

/// So many of a lane are looked at before those of the next one: whoever is first in each counts
/// most.
const AT_ONCE: usize = 8;

/// A lane whose calls are looked at again, and whom that has come to.
#[derive(Debug)]
pub(super) struct Stale {
    lane: LaneKey,
    after: Option<Place>,
}

impl<L: Clone + Eq + Hash, T: Clone> Queue<L, T> {
    /// Changes what a call is expected to cost: more is known of it than when it came.
    pub fn revise(&mut self, number: u64, cost: Cost) {
        let Some(item) = self.items.get_mut(&number) else {
            return;
        };
        let (was, is, place) = (item.cost(), cost, item.place(number));
        (item.requests, item.tokens, item.micro_usd) = (is.requests, is.tokens, is.micro_usd);
        let (was, is) = (Size::of(was), Size::of(is));
        if was != is
            && let Some(line) = self.lines.get_mut(&item.line)
        {
            line.by_size.remove(&(was, place));
            line.by_size.insert((is, place));
        }
    }

    /// Returns whether a call has waited while its line was closed to everybody.
    #[must_use]
    pub fn is_behind(&self, number: u64) -> bool {
        let line = self.items.get(&number).map(|item| item.line);
        let line = line.and_then(|line| self.lines.get(&line));
        line.is_some_and(|line| number <= line.behind_to)
    }

    /// Notes that what calls of some lines are expected to cost may be another by now. Those who
    /// wait there are looked at by [`revise_some`](Self::revise_some).
    pub fn reconsider(&mut self, is_one: impl Fn(&L) -> bool) {
        for (id, line) in &self.lines {
            if !is_one(&line.key) {
                continue;
            }
            self.stale.retain(|stale| stale.lane.line != *id);
            let stale = line.lanes.iter().map(|(level, tenant)| Stale {
                lane: LaneKey {
                    level: *level,
                    tenant: *tenant,
                    line: *id,
                },
                after: None,
            });
            self.stale.extend(stale);
        }
    }

    /// Revises some of those whose lines were [reconsidered](Self::reconsider), at most so many:
    /// of each class and tenant in turn, those who are first.
    pub fn revise_some(&mut self, most: usize, cost: impl Fn(&T) -> Cost) {
        let mut left = most;
        while left > 0
            && let Some(mut stale) = self.stale.pop_front()
        {
            let from = stale.after.map_or(Bound::Unbounded, Bound::Excluded);
            let lane = self.lanes.get(&stale.lane).into_iter();
            let places = lane.flat_map(|lane| lane.range((from, Bound::Unbounded)));
            let places: Vec<Place> = places.take(left.min(AT_ONCE)).copied().collect();
            left -= places.len().max(1);
            for (_, number) in &places {
                if let Some(item) = self.items.get(number) {
                    let cost = cost(&item.item);
                    self.revise(*number, cost);
                }
            }
            if let Some(last) = places.last() {
                stale.after = Some(*last);
                self.stale.push_back(stale);
            }
        }
    }

    /// Returns the smallest of a line, where it is below a size.
    pub(super) fn smallest_below(&self, id: u64, size: Size) -> Option<u64> {
        let (smallest, (_, number)) = self.lines.get(&id)?.by_size.first()?;
        smallest.is_below(size).then_some(*number)
    }

    /// Returns who is next of a line of those that are below a size, in the usual order as far as
    /// that is looked over: nobody is preferred for being small, beyond that it fits.
    pub(super) fn next_below(&self, id: u64, size: Size, by_pass: [usize; LEVELS]) -> Option<u64> {
        let mut steps = 0;
        for level in by_pass {
            for tenant in self.tenants.in_order(level) {
                let key = LaneKey {
                    level,
                    tenant,
                    line: id,
                };
                let lane = self.lanes.get(&key).into_iter().flatten();
                for (_, number) in lane.take(STEPS_OF_TENANT) {
                    let item = self.items.get(number);
                    if item.is_some_and(|item| Size::of(item.cost()).is_below(size)) {
                        return Some(*number);
                    }
                    steps += 1;
                }
                steps += 1;
                if steps >= STEPS {
                    return None;
                }
            }
        }
        None
    }
}
