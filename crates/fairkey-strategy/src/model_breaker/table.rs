//! What is known of models: [`Table`], bounded.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use fairkey_core::{FaultKind, Timestamp};

use crate::Status;
use crate::recovery::Recovery;
use crate::window::{Counts, Slice, Window};

/// Longer names are no names of models.
const LONGEST_NAME: usize = 256;

/// One model, or one provider at a model.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) hash: u64,
    pub(super) model: Box<str>,
    pub(super) provider: Option<Box<str>>,
    pub(super) recovery: Recovery,
    /// Closings since it was last well.
    pub(super) trips: u32,
    /// Failures in a row while well.
    pub(super) run: u32,
    window: Window,
    /// Of a model: which providers have failed since it last succeeded.
    pub(super) failing: Vec<u64>,
    pub(super) kind: Option<FaultKind>,
    pub(super) known_since: Timestamp,
    last_failed: Timestamp,
    /// When it was last closed, or told to be.
    pub(super) told: Timestamp,
    /// When it last mattered to anybody.
    pub(super) useful: Timestamp,
}

impl Entry {
    pub(super) fn is_out(&self, now: Timestamp) -> bool {
        self.recovery.out_until().is_some_and(|until| now < until)
    }

    /// Counts the end of a call while it is well.
    pub(super) fn count(&mut self, slice: Slice, failed: bool, now: Timestamp) {
        let generation = self.recovery.generation();
        self.window.record(slice, generation, now, failed);
        self.useful = now;
        if failed {
            self.last_failed = now;
        } else {
            self.run = 0;
        }
    }

    /// Counts a failure; returns how many there are in a row, and what the window holds.
    pub(super) fn count_failure(
        &mut self,
        slice: Slice,
        lengthens: bool,
        now: Timestamp,
    ) -> (u32, Counts) {
        self.count(slice, true, now);
        self.run = self.run.saturating_add(u32::from(lengthens));
        let run = if lengthens { self.run } else { 0 };
        let generation = self.recovery.generation();
        (run, self.window.counts(slice, generation, now))
    }

    pub(super) fn status(&self, now: Timestamp) -> Status {
        Status {
            cause: self.kind,
            ..self.recovery.status(now)
        }
    }
}

/// Entries in places that they keep, and which of them is where.
#[derive(Debug)]
pub(super) struct Table {
    places: Vec<Option<Entry>>,
    /// The generation that the next entry of a place begins with: no ticket of the last one means
    /// it.
    next: Vec<Recovery>,
    by_hash: HashMap<u64, usize>,
    most: usize,
    /// Which place is looked at next for something to forget.
    hand: usize,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self {
            places: Vec::new(),
            next: Vec::new(),
            by_hash: HashMap::new(),
            most,
            hand: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Entry> {
        self.places.get_mut(index)?.as_mut()
    }

    pub(super) fn find(&self, hash: u64, model: &str, provider: Option<&str>) -> Option<usize> {
        let index = *self.by_hash.get(&hash)?;
        let entry = self.places[index].as_ref()?;
        (&*entry.model == model && entry.provider.as_deref() == provider).then_some(index)
    }

    /// Makes an entry that is not there; takes the place of another one where there is no room, but
    /// not one that is to be `kept`.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        (model, provider): (&str, Option<&str>),
        kept: Option<usize>,
        now: Timestamp,
    ) -> Option<usize> {
        if model.len().max(provider.map_or(0, str::len)) > LONGEST_NAME {
            return None;
        }
        // Two names of one hash, once in a long while: the newer one is remembered.
        let same = self.by_hash.get(&hash).copied();
        let free = || self.places.iter().position(Option::is_none);
        let index = match same.or_else(free) {
            Some(index) => {
                self.forget(index);
                index
            }
            None if self.places.len() < self.most => {
                self.places.push(None);
                self.next.push(Recovery::new());
                self.places.len() - 1
            }
            None => {
                let least = self.least_useful(kept)?;
                self.forget(least);
                least
            }
        };
        self.by_hash.insert(hash, index);
        self.places[index] = Some(Entry {
            hash,
            model: model.into(),
            provider: provider.map(Into::into),
            recovery: self.next[index],
            trips: 0,
            run: 0,
            window: Window::new(),
            failing: Vec::new(),
            kind: None,
            known_since: now,
            last_failed: now,
            told: Timestamp::ZERO,
            useful: now,
        });
        Some(index)
    }

    /// Returns which entry to do without: what is well before what is closed, and of these what
    /// was of no use for longest.
    fn least_useful(&self, kept: Option<usize>) -> Option<usize> {
        let entries = self.places.iter().enumerate();
        entries
            .filter(|(index, _)| Some(*index) != kept)
            .filter_map(|(index, entry)| Some((index, entry.as_ref()?)))
            .min_by_key(|(_, entry)| (!entry.recovery.is_well(), entry.useful))
            .map(|(index, _)| index)
    }

    /// Looks at one entry, and forgets it if it is well and nothing has been counted for so long.
    /// Says whether it has.
    pub(super) fn forget_one(&mut self, now: Timestamp, kept: Duration) -> bool {
        if self.places.is_empty() {
            return false;
        }
        self.hand = (self.hand + 1) % self.places.len();
        let hand = self.hand;
        let is_over = |entry: &Entry| {
            let last_failed = entry.last_failed.max(entry.known_since);
            entry.recovery.is_well() && now.since(last_failed) > kept
        };
        let is_over = self.places[hand].as_ref().is_some_and(is_over);
        if is_over {
            self.forget(hand);
        }
        is_over
    }

    fn forget(&mut self, index: usize) {
        if let Some(entry) = self.places[index].take() {
            self.by_hash.remove(&entry.hash);
            self.next[index] = Recovery::in_place_of(entry.recovery);
        }
    }
}

impl Index<usize> for Table {
    type Output = Entry;

    fn index(&self, index: usize) -> &Entry {
        self.places[index]
            .as_ref()
            .expect("an index is of an entry that was found")
    }
}

impl IndexMut<usize> for Table {
    fn index_mut(&mut self, index: usize) -> &mut Entry {
        self.places[index]
            .as_mut()
            .expect("an index is of an entry that was found")
    }
}
