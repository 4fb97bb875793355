//! Strategies with a flaw to choose.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fairkey_core::{Ask, Candidate, KeySet, Registry, Report, Strategy, Turn, mix};

/// What is wrong with a [`Rotation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationFlaw {
    /// Walks on from a key that is out to the next one, which so gets both their turns.
    FeedsTheNeighbor,
    /// Takes its turn from all keys there are, offered or not.
    PicksUnoffered,
    /// Every fifth time there is nothing to its taste.
    Declines,
    /// Has no answer where only one key is left.
    WantsTwo,
    /// Starts over at each reload.
    RestartsOnReload,
    /// Made room for the keys of the start, and panics at a later one.
    NoRoomForMore,
    /// Gives the first key two turns in each round.
    FavorsTheFirst,
}

/// Round robin, with a flaw to choose.
#[derive(Debug)]
pub struct Rotation {
    flaw: Option<RotationFlaw>,
    next: AtomicUsize,
    room: Mutex<Option<Vec<u32>>>,
}

impl Rotation {
    /// Starts at the first key.
    #[must_use]
    pub fn new(flaw: Option<RotationFlaw>) -> Self {
        Self {
            flaw,
            next: AtomicUsize::new(0),
            room: Mutex::new(None),
        }
    }

    fn has(&self, flaw: RotationFlaw) -> bool {
        self.flaw == Some(flaw)
    }
}

impl Strategy for Rotation {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let (keys, len) = (turn.keys(), turn.len());
        if len == 0 || (self.has(RotationFlaw::WantsTwo) && len < 2 && keys.len() > 1) {
            return None;
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let picked = match self.flaw {
            Some(RotationFlaw::FeedsTheNeighbor) => (0..keys.len())
                .filter_map(|step| keys.iter().nth((next + step) % keys.len()))
                .find(|key| turn.offers(key.slot())),
            Some(RotationFlaw::PicksUnoffered) => keys.iter().nth(next % keys.len()),
            Some(RotationFlaw::Declines) if next % 5 == 4 => None,
            Some(RotationFlaw::FavorsTheFirst) => turn.nth((next % (len + 1)).saturating_sub(1)),
            _ => turn.nth(next % len),
        };
        if self.has(RotationFlaw::NoRoomForMore)
            && let (Some(key), Some(room)) = (picked, &mut *lock(&self.room))
        {
            room[key.slot().index() + key.account().index()] += 1;
        }
        picked
    }

    fn rekey(&self, keys: &KeySet) {
        if self.has(RotationFlaw::RestartsOnReload) {
            self.next.store(0, Ordering::Relaxed);
        }
        lock(&self.room).get_or_insert_with(|| vec![0; 2 * keys.len()]);
    }
}

/// What is wrong with [`Least`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeastFlaw {
    /// Takes the first of all that tie.
    TakesTheFirst,
    /// Compares calls in flight, and not per weight.
    IgnoresWeight,
}

/// The key with the least load for its weight, with a flaw to choose.
#[derive(Clone, Copy, Debug)]
pub struct Least(pub Option<LeastFlaw>);

impl Strategy for Least {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        match self.0 {
            None => turn.least(|key| key.load_with_one_more()),
            Some(LeastFlaw::TakesTheFirst) => turn.iter().min_by_key(|key| key.in_flight()),
            Some(LeastFlaw::IgnoresWeight) => turn.least(|key| u64::from(key.in_flight())),
        }
    }
}

/// What is wrong with [`Sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionsFlaw {
    /// Takes the affinity modulo what is offered: one key out, and nearly every session moves.
    CountsModulo,
    /// Holds on to the key although it is out.
    HoldsOn,
}

/// The same key for the same affinity, with a flaw to choose.
#[derive(Clone, Copy, Debug)]
pub struct Sessions(pub Option<SessionsFlaw>);

impl Strategy for Sessions {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let affinity = turn.ask().affinity.unwrap_or_default();
        let rank = |key: Candidate<'a>| mix(affinity ^ key.id_hash());
        match self.0 {
            None => turn.least(rank),
            Some(SessionsFlaw::CountsModulo) => turn.nth(affinity as usize % turn.len().max(1)),
            Some(SessionsFlaw::HoldsOn) => turn.keys().iter().min_by_key(|key| rank(*key)),
        }
    }
}

/// What is wrong with a [`Wrapper`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapperFlaw {
    /// Does not forward `attach`: gates inside are never known.
    ForgetsAttach,
    /// Does not forward `rekey`.
    ForgetsRekey,
    /// Does not forward `settle`.
    ForgetsSettle,
    /// Does not forward `score`.
    ForgetsScore,
}

/// Does nothing but pass everything on, with a flaw to choose.
#[derive(Debug)]
pub struct Wrapper {
    inner: Box<dyn Strategy>,
    flaw: Option<WrapperFlaw>,
}

impl Wrapper {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Box<dyn Strategy>, flaw: Option<WrapperFlaw>) -> Self {
        Self { inner, flaw }
    }
}

impl Strategy for Wrapper {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        self.inner.pick(turn)
    }

    fn attach(&mut self, registry: &mut Registry) {
        if self.flaw != Some(WrapperFlaw::ForgetsAttach) {
            self.inner.attach(registry);
        }
    }

    fn rekey(&self, keys: &KeySet) {
        if self.flaw != Some(WrapperFlaw::ForgetsRekey) {
            self.inner.rekey(keys);
        }
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        if self.flaw != Some(WrapperFlaw::ForgetsSettle) {
            self.inner.settle(key, report);
        }
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        if self.flaw == Some(WrapperFlaw::ForgetsScore) {
            return None;
        }
        self.inner.score(key, ask)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
