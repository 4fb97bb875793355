//! The groups of one kind: [`Plane`], and those of models by name: [`Models`].

use std::sync::{Arc, OnceLock};

use fairkey_core::sync::{AtomicU64, AtomicUsize, Ordering};
use fairkey_core::{Candidate, Denied, KeySet, SlotBits, Slots, Turn, mix};

use super::cell::{Cell, Glance};
use super::state::Amounts;
use crate::Group;

/// The groups of one kind, by slot of key or account. Only groups with limits have a cell.
#[derive(Debug)]
pub(crate) struct Plane {
    group: Group,
    cells: Slots<OnceLock<Box<Cell>>>,
    /// A [`Glance`] at each.
    glances: Slots<AtomicU64>,
    /// How many slots there is room for.
    len: AtomicUsize,
    /// Groups that have a cell.
    limited: SlotBits,
    /// Groups with less room than a call may need.
    tight: SlotBits,
    /// What the gate shows as closed: a bit for each plane that has something in `tight`.
    shown: Arc<SlotBits>,
    bit: usize,
}

impl Plane {
    pub(super) fn new(group: Group, shown: &Arc<SlotBits>, bit: usize) -> Self {
        shown.grow(bit + 1);
        Self {
            group,
            cells: Slots::new(),
            glances: Slots::new(),
            len: AtomicUsize::new(0),
            limited: SlotBits::new(),
            tight: SlotBits::new(),
            shown: Arc::clone(shown),
            bit,
        }
    }

    /// Returns how many of [`STEPS`](super::cell::STEPS) of the group at `index` a least call
    /// would leave used.
    #[inline]
    pub(crate) fn glance(&self, index: usize, now: u64) -> u64 {
        let Some(shown) = self.glances.get(index) else {
            return Glance::NOTHING.steps();
        };
        // Relaxed: advisory.
        let glance = Glance(shown.load(Ordering::Relaxed));
        if glance.is_stale(now) {
            return self.look_again(index, now);
        }
        glance.steps()
    }

    #[cold]
    fn look_again(&self, index: usize, now: u64) -> u64 {
        if let Some((cell, place)) = self.at(index) {
            cell.refresh(now, &place);
        }
        let shown = self.glances.get(index);
        let shown = shown.map_or(Glance::NOTHING.0, |shown| shown.load(Ordering::Relaxed));
        Glance(shown).steps()
    }

    /// Returns the group of `key`, if it has limits, with what place it.
    #[inline]
    pub(super) fn of(&self, key: Candidate<'_>) -> Option<(&Cell, Place<'_>)> {
        self.at(self.group.index(key))
    }

    #[inline]
    pub(super) fn at(&self, index: usize) -> Option<(&Cell, Place<'_>)> {
        let cell = self.cells.get(index)?.get()?;
        Some((&**cell, Place { plane: self, index }))
    }

    /// Returns the group of `key`, with limits from now on.
    pub(super) fn make(&self, key: Candidate<'_>) -> Option<(&Cell, Place<'_>)> {
        let index = self.group.index(key);
        self.cells.get(index)?.get_or_init(|| Box::new(Cell::new()));
        self.limited.insert(index);
        self.at(index)
    }

    #[cold]
    fn mark(&self, index: usize, tight: bool) {
        if tight {
            self.tight.insert(index);
            self.shown.insert(self.bit);
            return;
        }
        self.tight.remove(index);
        if self.tight.is_empty() {
            // Another group may have become tight since: its bit comes before that of the plane,
            // so whoever takes the plane's away sees it.
            self.shown
                .remove_unless(self.bit, || !self.tight.is_empty());
        }
    }

    /// Takes the keys out of `turn` whose groups do not admit `need`. `small` says that every
    /// group that is not tight does.
    pub(super) fn narrow(&self, turn: &mut Turn<'_>, need: &Amounts, small: bool) {
        let bits = if small { &self.tight } else { &self.limited };
        if bits.is_empty() {
            return;
        }
        let now = turn.now().as_nanos();
        self.group.narrow(
            turn,
            |word| bits.word(word),
            |index| {
                let cell = self.at(index);
                if cell.is_none_or(|(cell, place)| cell.admits(now, need, &place)) {
                    Ok(())
                } else {
                    Err(Denied::for_good(self.group.scope()).of_limit())
                }
            },
        );
    }

    /// Returns how many slots there is room for.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Makes room for so many slots.
    pub(super) fn grow(&self, len: usize) {
        self.cells.grow(len, OnceLock::new);
        self.glances.grow(len, || AtomicU64::new(Glance::NOTHING.0));
        self.limited.grow(len);
        self.tight.grow(len);
        self.len.fetch_max(len, Ordering::Relaxed);
    }

    /// Makes room for `keys`, and groups of new owners new.
    pub(super) fn rekey(&self, keys: &KeySet) {
        self.grow(self.group.len(keys));
        self.group.for_each_fresh(keys, |index| {
            if let Some((cell, place)) = self.at(index) {
                cell.reset(&place);
                self.limited.remove(index);
            }
        });
    }

    /// Calls `f` with every group that has limits.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Cell)) {
        self.cells.for_each(|index, cell| {
            if let Some(cell) = cell.get()
                && self.limited.contains(index)
            {
                f(cell);
            }
        });
    }
}

/// Where a group is, for what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    plane: &'a Plane,
    index: usize,
}

impl Place<'_> {
    /// Notes whether it has less room than a call may need.
    pub(super) fn mark(&self, tight: bool) {
        self.plane.mark(self.index, tight);
    }

    #[inline]
    pub(super) fn show(&self, glance: Glance) {
        if let Some(shown) = self.plane.glances.get(self.index) {
            shown.store(glance.0, Ordering::Relaxed);
        }
    }
}

/// One model's groups, of all accounts.
#[derive(Debug)]
struct Model {
    name: Box<str>,
    plane: Plane,
}

/// How many models can have limits of their own.
pub(super) const MODELS: usize = 1024;

/// A table of twice as many places, so that a look-up rarely meets a second name.
const PLACES: usize = 2 * MODELS;

/// The groups of accounts and models: names that have limits are kept, for good, and found again
/// without a lock.
#[derive(Debug)]
pub(super) struct Models {
    places: Box<[OnceLock<Box<Model>>]>,
    len: AtomicUsize,
}

impl Models {
    pub(super) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| OnceLock::new()).collect(),
            len: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: who finds the table empty a moment late counts a call less; a limit that is
        // set while calls begin counts those after it.
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Returns the plane of `name`, and its number, if any limit was ever set for it.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<(usize, &Plane)> {
        let mut at = hash(name) as usize % PLACES;
        loop {
            let model = self.places[at].get()?;
            if *model.name == *name {
                return Some((at, &model.plane));
            }
            at = (at + 1) % PLACES;
        }
    }

    /// Returns the plane of that number.
    pub(super) fn get(&self, at: usize) -> Option<&Plane> {
        Some(&self.places.get(at)?.get()?.plane)
    }

    /// Returns the plane of `name`; a new one from `make` where there is none, and `None` where
    /// there are too many. Whoever calls it holds the lock on the configuration.
    pub(super) fn intern(&self, name: &str, make: impl FnOnce(usize) -> Plane) -> Option<&Plane> {
        if let Some((_, plane)) = self.find(name) {
            return Some(plane);
        }
        if self.len.load(Ordering::Relaxed) >= MODELS {
            return None;
        }
        let mut at = hash(name) as usize % PLACES;
        while self.places[at].get().is_some() {
            at = (at + 1) % PLACES;
        }
        let model = Box::new(Model {
            name: name.into(),
            plane: make(at),
        });
        let model = self.places[at].get_or_init(|| model);
        self.len.fetch_add(1, Ordering::Relaxed);
        Some(&model.plane)
    }

    pub(super) fn for_each_name(&self, mut f: impl FnMut(&str)) {
        let models = self.places.iter().filter_map(OnceLock::get);
        models.for_each(|model| f(&model.name));
    }

    pub(super) fn for_each(&self, mut f: impl FnMut(&Plane)) {
        if !self.is_empty() {
            for model in self.places.iter().filter_map(OnceLock::get) {
                f(&model.plane);
            }
        }
    }
}

/// Hashes a name by its length and both ends: names of models differ there, and a selection has
/// no time for the middle.
#[inline]
fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let word = |part: &[u8]| {
        part.iter()
            .fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
    };
    let first = word(&bytes[..bytes.len().min(8)]);
    let last = word(&bytes[bytes.len().saturating_sub(8)..]);
    mix(first ^ last.rotate_left(29) ^ (bytes.len() as u64) << 56)
}
