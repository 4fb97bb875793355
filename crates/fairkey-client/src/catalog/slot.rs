//! What is kept of the catalogue: [`Slots`].

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use http::HeaderValue;
use tokio::time::Instant;

use super::CatalogConfig;
use super::file::Found;
use crate::error::CallError;

/// Lists by their paths; those that were asked for last stay.
#[derive(Default)]
pub(super) struct Slots {
    by_path: HashMap<String, Entry, RandomState>,
    /// Counts requests: a time that needs no clock.
    asked: u64,
}

struct Entry {
    slot: Arc<Slot>,
    asked: u64,
}

/// One list.
#[derive(Default)]
pub(super) struct Slot {
    /// Who holds it, fetches.
    pub(super) turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// How often it was fetched, or was tried to be.
    tries: u64,
    error: Option<(Instant, CallError)>,
}

/// A list as it is kept.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) value: Arc<dyn Any + Send + Sync>,
    /// The size of the answer it was read from.
    bytes: usize,
    at: Instant,
    /// How old it was then.
    age: Duration,
    pub(super) etag: Option<HeaderValue>,
}

/// What there is of a list.
pub(super) enum Status {
    None,
    Fresh(Kept),
    Old(Kept),
}

impl Kept {
    /// One that the upstream has just sent.
    pub(super) fn now(
        value: Arc<dyn Any + Send + Sync>,
        bytes: usize,
        etag: Option<HeaderValue>,
    ) -> Self {
        Self {
            value,
            bytes,
            at: Instant::now(),
            age: Duration::ZERO,
            etag,
        }
    }

    /// The same, which the upstream has just confirmed.
    pub(super) fn again(self) -> Self {
        Self {
            at: Instant::now(),
            age: Duration::ZERO,
            ..self
        }
    }

    pub(super) fn age(&self) -> Duration {
        self.age.saturating_add(self.at.elapsed())
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what there is, and how often it was tried to be fetched.
    pub(super) fn status(&self, max_age: Duration) -> (Status, u64) {
        let state = self.state();
        let status = match &state.kept {
            None => Status::None,
            Some(kept) if kept.age() < max_age => Status::Fresh(kept.clone()),
            Some(kept) => Status::Old(kept.clone()),
        };
        (status, state.tries)
    }

    /// Returns why it was not fetched when that was last tried.
    pub(super) fn error(&self) -> Option<CallError> {
        self.state().error.as_ref().map(|(_, error)| error.clone())
    }

    /// The same, if that was within this time.
    pub(super) fn error_within(&self, time: Duration) -> Option<CallError> {
        let state = self.state();
        let (at, error) = state.error.as_ref()?;
        (at.elapsed() < time).then(|| error.clone())
    }

    /// Keeps what was found in a file, which is no fetch.
    pub(super) fn keep(&self, value: Arc<dyn Any + Send + Sync>, found: Found) {
        self.state().kept = Some(Kept {
            value,
            bytes: found.body.len(),
            at: Instant::now(),
            age: found.age,
            etag: found.etag,
        });
    }

    pub(super) fn succeed(&self, kept: Kept) {
        let mut state = self.state();
        state.tries += 1;
        state.kept = Some(kept);
        state.error = None;
    }

    /// Notes a failure; where the list is gone, what was kept goes, too.
    pub(super) fn fail(&self, error: CallError, is_gone: bool) {
        let mut state = self.state();
        state.tries += 1;
        state.error = Some((Instant::now(), error));
        if is_gone {
            state.kept = None;
        }
    }

    fn bytes(&self) -> usize {
        self.state().kept.as_ref().map_or(0, |kept| kept.bytes)
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Returns the list that is kept, without asking for it.
    pub(super) fn find(&self, path: &str) -> Option<Arc<dyn Any + Send + Sync>> {
        let state = self.by_path.get(path)?.slot.state();
        state.kept.as_ref().map(|kept| Arc::clone(&kept.value))
    }

    /// Returns the slot of a path, a new one where there is none.
    pub(super) fn slot(&mut self, path: &str, config: &CatalogConfig) -> Arc<Slot> {
        self.asked += 1;
        let asked = self.asked;
        if let Some(entry) = self.by_path.get_mut(path) {
            entry.asked = asked;
            return Arc::clone(&entry.slot);
        }
        let slot = Arc::<Slot>::default();
        let entry = Entry {
            slot: Arc::clone(&slot),
            asked,
        };
        self.by_path.insert(path.to_owned(), entry);
        self.shrink(path, config);
        slot
    }

    /// Gives up what was asked for longest ago, until the rest is within its bounds; never `path`.
    pub(super) fn shrink(&mut self, path: &str, config: &CatalogConfig) {
        let mut bytes: usize = self.by_path.values().map(|entry| entry.slot.bytes()).sum();
        while self.by_path.len() > config.max_lists.max(1) || bytes > config.max_bytes {
            let others = self.by_path.iter().filter(|(other, _)| *other != path);
            let Some((oldest, entry)) = others.min_by_key(|(_, entry)| entry.asked) else {
                return;
            };
            bytes = bytes.saturating_sub(entry.slot.bytes());
            let oldest = oldest.clone();
            self.by_path.remove(&oldest);
        }
    }
}
