//! A set of slots that many threads change and every selection reads: [`SlotBits`].

use std::fmt;

use crate::Slots;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// A set of slots: "these are closed", "these are full".
///
/// Empty, it costs a selection one load. What it says is advisory, as everything in
/// [`Gate::narrow`](crate::Gate::narrow) is: between two threads a bit may be a moment late, and
/// [`Gate::enter`](crate::Gate::enter) decides. So a reader that finds a bit set and the reason
/// gone clears it, and nothing is lost.
#[derive(Default)]
pub struct SlotBits {
    set: AtomicUsize,
    words: Slots<AtomicU64>,
}

impl SlotBits {
    /// Makes an empty set without room; [`SlotBits::grow`] makes room.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: AtomicUsize::new(0),
            words: Slots::new(),
        }
    }

    /// Makes room for slots `0..len`.
    pub fn grow(&self, len: usize) {
        self.words.grow(len.div_ceil(64), || AtomicU64::new(0));
    }

    /// Returns whether no slot is in the set.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: advisory, see the type.
        self.set.load(Ordering::Relaxed) == 0
    }

    /// Returns the slots `64 * word .. 64 * word + 64` as bits; no room counts as not in the set.
    #[must_use]
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        self.words
            .get(word)
            .map_or(0, |bits| bits.load(Ordering::Relaxed))
    }

    /// Returns whether `index` is in the set.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.word(index / 64) >> (index % 64) & 1 == 1
    }

    /// Adds `index`. Does nothing without room for it.
    pub fn insert(&self, index: usize) {
        let bit = 1 << (index % 64);
        if let Some(word) = self.words.get(index / 64) {
            // Counted before it is there, so that the count is never behind the bits: a set with a
            // member does not call itself empty while somebody adds and removes another.
            self.set.fetch_add(1, Ordering::Relaxed);
            // AcqRel: who removes a bit sees the reason of every insertion before, so it can look
            // again and put the bit back.
            if word.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
                self.set.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Removes `index` because the reason to have it in the set is gone, and puts it back if by
    /// then `still` says that there is one again: an insertion may have come in between.
    pub fn remove_unless(&self, index: usize, still: impl Fn() -> bool) {
        self.remove(index);
        if still() {
            self.insert(index);
        }
    }

    /// Removes `index`.
    pub fn remove(&self, index: usize) {
        let bit = 1 << (index % 64);
        if let Some(word) = self.words.get(index / 64)
            && word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
        {
            self.set.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for SlotBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_set();
        self.words.for_each(|index, word| {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                list.entry(&(index * 64 + bits.trailing_zeros() as usize));
                bits &= bits - 1;
            }
        });
        list.finish()
    }
}

#[cfg(all(test, not(fairkey_loom)))]
mod tests {
    use super::*;

    #[test]
    fn inserting_twice_and_removing_once_leaves_it_empty() {
        let bits = SlotBits::new();
        bits.insert(3);
        assert!(bits.is_empty(), "there is no room yet");
        bits.grow(200);
        bits.insert(130);
        bits.insert(130);
        bits.insert(0);
        assert!(bits.contains(130) && bits.contains(0) && !bits.contains(1));
        assert_eq!(format!("{bits:?}"), "{0, 130}");
        bits.remove(130);
        bits.remove(130);
        bits.remove(0);
        assert!(bits.is_empty());
    }
}
