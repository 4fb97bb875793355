//! Putting results back into the order of their rows: [`Window`].

use std::collections::{HashMap, VecDeque};

use crate::output::ResultLine;

/// Holds results that wait for one before them, or knows where they are. Eight bytes for each
/// place, beside what is held.
#[derive(Debug)]
pub(super) struct Window {
    ordered: bool,
    /// The number of the first place; in order, that is the index of its row.
    base: u64,
    places: VecDeque<Place>,
    /// Results by the number of their place.
    held: HashMap<u64, ResultLine>,
    /// How many places are not written yet, in any order.
    open: usize,
    bytes: usize,
}

/// One place, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const OPEN: Self = Self(0);
    const GONE: Self = Self(1);
    const HELD: Self = Self(2);
    /// What is larger is the offset of a result in the journal, which is never that small.
    const SHELVED: u64 = 3;

    fn offset(self) -> Option<u64> {
        (self.0 >= Self::SHELVED).then_some(self.0)
    }
}

/// What comes of a row.
#[derive(Debug)]
pub(super) enum Settled {
    /// A result.
    Line(ResultLine),
    /// A result that is in the journal, at this offset.
    Shelved(u64),
    /// Nothing, or nothing that is still to be written.
    Nothing,
}

/// What comes out next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A result.
    Line(ResultLine),
    /// A result that is in the journal.
    Shelved,
    /// Nothing for now.
    Nothing,
}

impl Window {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            base: 0,
            places: VecDeque::new(),
            held: HashMap::new(),
            open: 0,
            bytes: 0,
        }
    }

    /// Returns how many rows are begun and not handed out.
    pub(super) fn rows(&self) -> usize {
        if self.ordered {
            self.places.len()
        } else {
            self.open + self.places.len()
        }
    }

    /// Returns how many bytes of results are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the row that others wait for, where results come in order and some do wait.
    pub(super) fn awaited(&self) -> Option<u64> {
        let waits = self.ordered && self.places.front() == Some(&Place::OPEN);
        // Rows end in about the order in which they began: the search is short.
        let mut behind = self.places.iter().skip(1);
        (waits && behind.any(|place| *place != Place::OPEN)).then_some(self.base)
    }

    /// Returns whether the result of this row would come out at once.
    pub(super) fn is_next(&self, index: u64) -> bool {
        !self.ordered || index == self.base
    }

    /// Makes a place for the next row; rows begin in order.
    pub(super) fn open(&mut self) {
        if self.ordered {
            self.places.push_back(Place::OPEN);
        } else {
            self.open += 1;
        }
    }

    /// Puts what came of a row into its place.
    pub(super) fn settle(&mut self, index: u64, settled: Settled) {
        let number = if self.ordered {
            index
        } else {
            self.base + self.places.len() as u64
        };
        let place = match settled {
            Settled::Line(line) => {
                self.bytes += line.bytes.len();
                self.held.insert(number, line);
                Place::HELD
            }
            Settled::Shelved(offset) => Place(offset.max(Place::SHELVED)),
            Settled::Nothing => Place::GONE,
        };
        if self.ordered {
            let at = usize::try_from(index - self.base).unwrap_or(usize::MAX);
            debug_assert!(
                matches!(self.places.get(at), Some(&Place::OPEN)),
                "settled once"
            );
            self.places[at] = place;
        } else {
            self.open -= 1;
            self.places.push_back(place);
        }
    }

    /// Takes the next result out, if it is there and held.
    pub(super) fn take(&mut self) -> Next {
        loop {
            match self.places.front() {
                None | Some(&Place::OPEN) => return Next::Nothing,
                Some(place) if place.offset().is_some() => return Next::Shelved,
                Some(_) => {}
            }
            let number = self.base;
            self.pass(1);
            if let Some(line) = self.held.remove(&number) {
                self.bytes -= line.bytes.len();
                return Next::Line(line);
            }
        }
    }

    /// Returns where the next results are, as long as they are in the journal.
    pub(super) fn shelved(&self, most: usize) -> Vec<u64> {
        let offsets = self.places.iter().map_while(|place| place.offset());
        offsets.take(most).collect()
    }

    /// Gives up so many of the first places: what was in them is on its way.
    pub(super) fn pass(&mut self, places: usize) {
        self.base += places as u64;
        self.places.drain(..places);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(index: u64) -> ResultLine {
        ResultLine::new(index, true, index.to_string().into_bytes())
    }

    /// Takes out all there is; what is in the journal is made up.
    fn drain(window: &mut Window) -> Vec<u64> {
        let mut out = Vec::new();
        loop {
            match window.take() {
                Next::Line(line) => out.push(line.index),
                Next::Shelved => {
                    let offsets = window.shelved(3);
                    assert!(!offsets.is_empty() && offsets.len() <= 3);
                    window.pass(offsets.len());
                    out.extend(offsets.iter().map(|offset| offset - 100));
                }
                Next::Nothing => return out,
            }
        }
    }

    proptest! {
        #[test]
        fn results_come_out_in_the_order_of_their_rows(
            order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
            kinds in proptest::collection::vec(0_u8..3, 40),
        ) {
            let mut window = Window::new(true);
            order.iter().for_each(|_| window.open());
            let mut out = Vec::new();
            for index in order {
                window.settle(index, match kinds[index as usize] {
                    0 => Settled::Nothing,
                    1 => Settled::Shelved(100 + index),
                    _ => Settled::Line(line(index)),
                });
                out.extend(drain(&mut window));
            }
            let kept = (0..40).filter(|index| kinds[*index as usize] > 0);
            prop_assert_eq!(out, kept.collect::<Vec<_>>());
            prop_assert_eq!((window.rows(), window.bytes()), (0, 0));
        }
    }

    #[test]
    fn what_lies_behind_an_open_row_waits_for_it() {
        let mut window = Window::new(true);
        (0..4).for_each(|_| window.open());
        assert_eq!(window.awaited(), None);
        for index in [0, 2, 3] {
            window.settle(index, Settled::Line(line(index)));
        }
        assert_eq!(window.take(), Next::Line(line(0)));
        assert_eq!(window.take(), Next::Nothing);
        assert_eq!((window.rows(), window.bytes()), (3, 2));
        assert_eq!(window.awaited(), Some(1));
        window.settle(1, Settled::Nothing);
        assert_eq!(drain(&mut window), [2, 3]);
        assert_eq!(window.awaited(), None);
    }

    #[test]
    fn without_order_results_come_out_at_once() {
        let mut window = Window::new(false);
        (0..3).for_each(|_| window.open());
        window.settle(2, Settled::Line(line(2)));
        assert_eq!(window.rows(), 3);
        assert_eq!(window.take(), Next::Line(line(2)));
        window.settle(0, Settled::Nothing);
        assert_eq!(window.take(), Next::Nothing);
        assert_eq!((window.rows(), window.awaited()), (1, None));
    }
}
