//! The least of what is offered, ties by chance.

use super::{Bits, Turn, nth_bit};
use crate::sync::Ordering;
use crate::{Candidate, Slot};

/// More calls of one key than these are not told apart where something else comes first.
const MOST_CALLS: u32 = (1 << 19) - 2;

impl<'a> Turn<'a> {
    /// Returns the offered key whose `cost` is least; among equals one by chance, each with the
    /// same probability. `cost` is asked once or twice for each key.
    #[must_use]
    #[inline]
    pub fn least(&mut self, cost: impl Fn(Candidate<'a>) -> u64) -> Option<Candidate<'a>> {
        let (mut least, mut ties, mut last) = (u64::MAX, 0_u32, None);
        self.for_each(|key| {
            let cost = cost(key);
            if cost < least || ties == 0 {
                (least, ties, last) = (cost, 1, Some(key));
            } else if cost == least {
                ties += 1;
            }
        });
        if ties <= 1 {
            return last;
        }
        // A second look instead of a draw for every tie: an idle pool is all ties. What changes
        // between the two looks only shifts the choice.
        let mut skip = self.chance().below(ties);
        for key in self.iter() {
            if cost(key) <= least {
                last = Some(key);
                if skip == 0 {
                    break;
                }
                skip -= 1;
            }
        }
        last
    }

    /// Returns the offered key with the least `(leases + 1) / weight`; among equals one by
    /// chance, each with the same probability.
    ///
    /// The same as [`Turn::least`] of [`Candidate::load_with_one_more`], and faster: a draw that
    /// meets an idle key of the greatest weight has found a least one, each with the same
    /// probability, without a look at the others.
    #[must_use]
    #[inline]
    pub fn least_loaded(&mut self) -> Option<Candidate<'a>> {
        let (keys, span) = (self.keys, self.keys.span());
        // Where all fit into one word, looking at them costs about as much as two draws.
        let draws = if self.words.len() == 1 { 1 } else { 4 };
        for _ in 0..draws {
            let slot = Slot(self.chance().below(span));
            if self.offers(slot) {
                let key = Candidate::new(keys, slot);
                if key.load_with_one_more() == keys.least_load() {
                    return Some(key);
                }
            }
        }
        self.least_loaded_of_all()
    }

    /// Returns, of the offered keys for which `first` is least, the one with the least
    /// `(leases + 1) / weight`; among equals one by chance, each with the same probability.
    ///
    /// `first` is from 0 to 31; more counts as 31. It is asked at most twice for each key, and once
    /// more for those drawn: as in [`Turn::least_loaded`], a draw that meets an idle key of the
    /// greatest weight for which it is 0 has found a least one.
    #[must_use]
    #[inline]
    pub fn least_loaded_by(
        &mut self,
        first: impl Fn(Candidate<'a>) -> u64,
    ) -> Option<Candidate<'a>> {
        let (keys, span) = (self.keys, self.keys.span());
        let draws = if self.words.len() == 1 { 1 } else { 4 };
        for _ in 0..draws {
            let slot = Slot(self.chance().below(span));
            if self.offers(slot) {
                let key = Candidate::new(keys, slot);
                if key.load_with_one_more() == keys.least_load() && first(key) == 0 {
                    return Some(key);
                }
            }
        }
        let rank = |key: Candidate<'a>, count: u32, inverse_weight: u64| {
            // Loads are in units of 2^-40: half a million calls for each unit of weight fit.
            let load = u64::from(count.min(MOST_CALLS) + 1) * inverse_weight;
            first(key).min(31) << 59 | load
        };
        let &[word] = &*self.words else {
            return self.least(|key| {
                let (slot, (counts, weights)) = (key.slot(), keys.loads(key.slot().index() / 64));
                let at = slot.index() % 64;
                rank(key, counts[at].load(Ordering::Relaxed), weights[at])
            });
        };
        let (counts, weights) = keys.loads(0);
        let (mut least, mut ties) = (u64::MAX, 0_u64);
        for bit in Bits(word) {
            let at = bit as usize % 64;
            let key = Candidate::new(keys, Slot(bit));
            let rank = rank(key, counts[at].load(Ordering::Relaxed), weights[at]);
            if rank < least {
                (least, ties) = (rank, 1 << bit);
            } else if rank == least {
                ties |= 1 << bit;
            }
        }
        self.one_of(ties)
    }

    fn least_loaded_of_all(&mut self) -> Option<Candidate<'a>> {
        if let [word] = *self.words {
            return self.least_loaded_of_word(word);
        }
        let (mut least, mut ties, mut last) = (u64::MAX, 0_u32, 0);
        for (at, &word) in self.words.iter().enumerate() {
            let (counts, weights) = self.keys.loads(at);
            let mut look = |bit: usize| {
                let load = (u64::from(counts[bit].load(Ordering::Relaxed)) + 1)
                    .saturating_mul(weights[bit]);
                if load < least {
                    (least, ties, last) = (load, 1, at * 64 + bit);
                } else {
                    ties += u32::from(load == least);
                }
            };
            if word == u64::MAX {
                (0..64).for_each(look);
            } else {
                Bits(word).for_each(|bit| look(bit as usize));
            }
        }
        if ties == 0 {
            return None;
        }
        let mut skip = self.chance().below(ties);
        if ties > 1 {
            for key in self.iter() {
                if key.load_with_one_more() <= least {
                    last = key.slot().index();
                    if skip == 0 {
                        break;
                    }
                    skip -= 1;
                }
            }
        }
        Some(self.candidate(last))
    }

    /// The same where all slots fit into one word: the ties are bits.
    fn least_loaded_of_word(&mut self, word: u64) -> Option<Candidate<'a>> {
        let (counts, weights) = self.keys.loads(0);
        let (mut least, mut ties) = (u64::MAX, 0_u64);
        for bit in Bits(word) {
            let at = bit as usize % 64;
            let load =
                (u64::from(counts[at].load(Ordering::Relaxed)) + 1).saturating_mul(weights[at]);
            if load < least {
                (least, ties) = (load, 1 << bit);
            } else if load == least {
                ties |= 1 << bit;
            }
        }
        self.one_of(ties)
    }

    /// Returns one of the keys in the first 64 slots whose bits are set, by chance.
    #[inline]
    fn one_of(&mut self, ties: u64) -> Option<Candidate<'a>> {
        let len = ties.count_ones();
        if len == 0 {
            return None;
        }
        let n = if len == 1 {
            0
        } else {
            self.chance().below(len)
        };
        Some(self.candidate(nth_bit(ties, n) as usize))
    }
}
