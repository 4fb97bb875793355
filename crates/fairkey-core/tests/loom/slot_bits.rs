//! A bit is set while there is a reason for it, and a set with a member is not empty.

use std::sync::Arc;

use fairkey_core::SlotBits;
use fairkey_core::sync::{AtomicU64, AtomicUsize, Ordering};
use loom::thread;

use crate::support::{Seen, model};

/// A set of slots as the models use it: the real one, and copies of its heart with a flaw.
trait Bits: Send + Sync + 'static {
    fn insert(&self, index: usize);
    fn remove_unless(&self, index: usize, still: &dyn Fn() -> bool);
    fn contains(&self, index: usize) -> bool;
    fn is_empty(&self) -> bool;
}

impl Bits for SlotBits {
    fn insert(&self, index: usize) {
        Self::insert(self, index);
    }
    fn remove_unless(&self, index: usize, still: &dyn Fn() -> bool) {
        Self::remove_unless(self, index, still);
    }
    fn contains(&self, index: usize) -> bool {
        Self::contains(self, index)
    }
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

fn real() -> SlotBits {
    let bits = SlotBits::new();
    bits.grow(2);
    bits
}

/// What is wrong with a [`Copied`].
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// Removes, and does not look again.
    LooksOnce,
    /// Looks again, but its changes of the word order nothing.
    OrdersNothing,
    /// Counts a member after it is there.
    CountsLate,
}

struct Copied {
    flaw: Flaw,
    set: AtomicUsize,
    word: AtomicU64,
}

impl Copied {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            set: AtomicUsize::new(0),
            word: AtomicU64::new(0),
        }
    }

    fn order(&self) -> Ordering {
        if self.flaw == Flaw::OrdersNothing {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        }
    }
}

impl Bits for Copied {
    fn insert(&self, index: usize) {
        let bit = 1 << index;
        if self.flaw == Flaw::CountsLate {
            if self.word.fetch_or(bit, self.order()) & bit == 0 {
                self.set.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        self.set.fetch_add(1, Ordering::Relaxed);
        if self.word.fetch_or(bit, self.order()) & bit != 0 {
            self.set.fetch_sub(1, Ordering::Relaxed);
        }
    }
    fn remove_unless(&self, index: usize, still: &dyn Fn() -> bool) {
        let bit = 1 << index;
        if self.word.fetch_and(!bit, self.order()) & bit != 0 {
            self.set.fetch_sub(1, Ordering::Relaxed);
        }
        if self.flaw != Flaw::LooksOnce && still() {
            self.insert(index);
        }
    }
    fn contains(&self, index: usize) -> bool {
        self.word.load(Ordering::Relaxed) >> index & 1 == 1
    }
    fn is_empty(&self) -> bool {
        self.set.load(Ordering::Relaxed) == 0
    }
}

/// One thread closes a slot anew: the reason first, then the bit. Another has found the last
/// reason gone, and takes the bit out. In the end the bit must be there.
fn closing_against_opening<B: Bits>(make: impl Fn() -> B + Send + Sync + 'static) -> [Seen; 2] {
    let seen: [Seen; 2] = Default::default();
    let [removed_first, inserted_first] = seen.clone();
    model(3, move || {
        let bits = Arc::new(make());
        let reason = Arc::new(AtomicU64::new(0));
        bits.insert(0);
        let closing = {
            let (bits, reason) = (Arc::clone(&bits), Arc::clone(&reason));
            thread::spawn(move || {
                reason.store(1, Ordering::Relaxed);
                bits.insert(0);
            })
        };
        let opening = {
            let (bits, reason) = (Arc::clone(&bits), Arc::clone(&reason));
            let (removed_first, inserted_first) = (removed_first.clone(), inserted_first.clone());
            thread::spawn(move || {
                if reason.load(Ordering::Relaxed) != 0 {
                    return;
                }
                bits.remove_unless(0, &|| {
                    let again = reason.load(Ordering::Relaxed) != 0;
                    inserted_first.note_if(again);
                    removed_first.note_if(!again);
                    again
                });
            })
        };
        closing.join().unwrap();
        opening.join().unwrap();
        assert!(bits.contains(0), "closed, and nobody sees it");
        assert!(!bits.is_empty());
    });
    seen
}

#[test]
fn a_slot_that_closes_while_it_is_opened_stays_in_the_set() {
    let [removed_first, inserted_first] = closing_against_opening(real);
    removed_first.assert("the bit taken out before the new reason");
    inserted_first.assert("the new reason before the bit was taken out");
}

#[test]
#[should_panic(expected = "closed, and nobody sees it")]
fn removing_without_a_second_look_is_caught() {
    closing_against_opening(|| Copied::new(Flaw::LooksOnce));
}

#[test]
#[should_panic(expected = "closed, and nobody sees it")]
fn a_second_look_that_is_not_ordered_is_caught() {
    closing_against_opening(|| Copied::new(Flaw::OrdersNothing));
}

/// Slot 0 is a member all the time; slot 1 is put in and taken out meanwhile.
fn never_empty<B: Bits>(make: impl Fn() -> B + Send + Sync + 'static) -> [Seen; 2] {
    let seen: [Seen; 2] = Default::default();
    let [there, gone] = seen.clone();
    model(3, move || {
        let bits = Arc::new(make());
        bits.insert(0);
        let adding = {
            let bits = Arc::clone(&bits);
            thread::spawn(move || bits.insert(1))
        };
        let removing = {
            let bits = Arc::clone(&bits);
            let (there, gone) = (there.clone(), gone.clone());
            thread::spawn(move || {
                let found = bits.contains(1);
                there.note_if(found);
                gone.note_if(!found);
                bits.remove_unless(1, &|| false);
                assert!(!bits.is_empty(), "it has a member, and calls itself empty");
            })
        };
        adding.join().unwrap();
        removing.join().unwrap();
        assert!(!bits.is_empty(), "it has a member, and calls itself empty");
        bits.remove_unless(0, &|| false);
        bits.remove_unless(1, &|| false);
        assert!(bits.is_empty(), "it has no member, and says that it has");
    });
    seen
}

#[test]
fn a_set_with_a_member_is_never_empty() {
    let [there, gone] = never_empty(real);
    there.assert("the other member in the set");
    gone.assert("the other member not in the set");
}

#[test]
#[should_panic(expected = "it has a member, and calls itself empty")]
fn counting_a_member_after_it_is_there_is_caught() {
    never_empty(|| Copied::new(Flaw::CountsLate));
}
