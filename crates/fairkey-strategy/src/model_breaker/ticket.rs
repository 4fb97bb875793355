//! What a call is told to bring back: [`Halves`] of a ticket, one for the model, one for a provider.

use fairkey_core::Ticket;

use crate::recovery::{Kind, Word};

const INDEX_BITS: u32 = 11;
const KIND_BITS: u32 = 2;
const GENERATION_BITS: u32 = 32 - INDEX_BITS - KIND_BITS;
const GENERATIONS: u32 = (1 << GENERATION_BITS) - 1;

/// As many entries as a ticket can name; 0 names none.
pub(super) const MOST_ENTRIES: usize = (1 << INDEX_BITS) - 1;

/// One entry and the generation of its state: index + 1 (11 bits), generation (19 bits, of which
/// the upper ones are left out), kind (2 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half(u32);

impl Half {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(index: usize, word: Word) -> Self {
        let generation = word.generation() & GENERATIONS;
        let kind = (word.0 & 3) as u32;
        Self(((index as u32 + 1) << (32 - INDEX_BITS)) | generation << KIND_BITS | kind)
    }

    pub(super) fn index(self) -> Option<usize> {
        let index = self.0 >> (32 - INDEX_BITS);
        (index > 0).then(|| index as usize - 1)
    }

    /// Returns the word that was given out, if the entry is of that `generation` still.
    pub(super) fn word(self, generation: u32) -> Option<Word> {
        let own = self.0 >> KIND_BITS & GENERATIONS;
        let kind = match self.0 & 3 {
            0 => Kind::Usual,
            1 => Kind::Probe,
            _ => Kind::Ramp,
        };
        (generation & GENERATIONS == own).then(|| Word::new(generation, kind))
    }
}

/// The two entries that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Halves {
    pub(super) of_model: Half,
    pub(super) of_provider: Half,
}

impl Halves {
    pub(super) fn both(self) -> [Half; 2] {
        [self.of_model, self.of_provider]
    }

    /// Returns whether the call passed as any other, and neither as a probe nor on a ramp.
    pub(super) fn is_usual(self) -> bool {
        (self.of_model.0 | self.of_provider.0) & 3 == 0
    }
}

impl From<Halves> for Ticket {
    fn from(halves: Halves) -> Self {
        Self(u64::from(halves.of_model.0) << 32 | u64::from(halves.of_provider.0))
    }
}

impl From<Ticket> for Halves {
    fn from(ticket: Ticket) -> Self {
        Self {
            of_model: Half((ticket.0 >> 32) as u32),
            of_provider: Half(ticket.0 as u32),
        }
    }
}

#[cfg(all(test, not(fairkey_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_what_it_was_made_of() {
        for (index, generation, kind) in [
            (0, 1, Kind::Usual),
            (MOST_ENTRIES - 1, u32::MAX, Kind::Probe),
            (7, 1 << 20, Kind::Ramp),
        ] {
            let half = Half::new(index, Word::new(generation, kind));
            let halves = Halves {
                of_model: Half::NONE,
                of_provider: half,
            };
            let back = Halves::from(Ticket::from(halves));
            assert_eq!(back, halves);
            assert_eq!(back.is_usual(), kind == Kind::Usual);
            assert_eq!((back.of_model.index(), half.index()), (None, Some(index)));
            assert_eq!(half.word(generation), Some(Word::new(generation, kind)));
            assert_eq!(half.word(generation.wrapping_add(1)), None);
        }
    }
}
