//! Putting results back into the order of their rows: [`Window`].

use std::collections::VecDeque;

use crate::output::ResultLine;

/// Holds results that wait for one before them.
#[derive(Debug)]
pub(super) struct Window {
    ordered: bool,
    /// The index of the first place.
    base: u64,
    places: VecDeque<Place>,
    /// How many places are not written yet, in any order.
    open: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Place {
    Open,
    Done(ResultLine),
    Empty,
}

impl Window {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            base: 0,
            places: VecDeque::new(),
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

    /// Makes a place for the next row; rows begin in order.
    pub(super) fn open(&mut self) {
        if self.ordered {
            self.places.push_back(Place::Open);
        } else {
            self.open += 1;
        }
    }

    /// Puts the result of a row into its place; none for a row that was given up.
    pub(super) fn settle(&mut self, index: u64, line: Option<ResultLine>) {
        self.bytes += line.as_ref().map_or(0, |line| line.bytes.len());
        let place = line.map_or(Place::Empty, Place::Done);
        if self.ordered {
            let at = usize::try_from(index - self.base).unwrap_or(usize::MAX);
            debug_assert!(
                matches!(self.places.get(at), Some(Place::Open)),
                "settled once"
            );
            self.places[at] = place;
        } else {
            self.open -= 1;
            self.places.push_back(place);
        }
    }

    /// Takes the next result out, if it is there.
    pub(super) fn take(&mut self) -> Option<ResultLine> {
        loop {
            match self.places.front()? {
                Place::Open => return None,
                Place::Done(_) | Place::Empty => {}
            }
            if let Some(line) = self.pop() {
                return Some(line);
            }
        }
    }

    fn pop(&mut self) -> Option<ResultLine> {
        self.base += 1;
        match self.places.pop_front() {
            Some(Place::Done(line)) => {
                self.bytes -= line.bytes.len();
                Some(line)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(index: u64) -> ResultLine {
        ResultLine::new(index, true, index.to_string().into_bytes())
    }

    proptest! {
        #[test]
        fn results_come_out_in_the_order_of_their_rows(
            order in Just((0..40_u64).collect::<Vec<_>>()).prop_shuffle(),
            given_up in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let mut window = Window::new(true);
            order.iter().for_each(|_| window.open());
            let mut out = Vec::new();
            for index in order {
                let result = (!given_up[index as usize]).then(|| line(index));
                window.settle(index, result);
                out.extend(std::iter::from_fn(|| window.take()));
            }
            let kept = (0..40).filter(|index| !given_up[*index as usize]).map(line);
            prop_assert_eq!(out, kept.collect::<Vec<_>>());
            prop_assert_eq!((window.rows(), window.bytes()), (0, 0));
        }
    }

    #[test]
    fn what_lies_behind_an_open_row_waits_for_it() {
        let mut window = Window::new(true);
        (0..4).for_each(|_| window.open());
        for index in [0, 2, 3] {
            window.settle(index, Some(line(index)));
        }
        assert_eq!(window.take(), Some(line(0)));
        assert_eq!(window.take(), None);
        assert_eq!((window.rows(), window.bytes()), (3, 2));
        window.settle(1, None);
        assert_eq!(window.take(), Some(line(2)));
        assert_eq!(window.take(), Some(line(3)));
        assert_eq!(window.take(), None);
    }

    #[test]
    fn without_order_results_come_out_at_once() {
        let mut window = Window::new(false);
        (0..3).for_each(|_| window.open());
        window.settle(2, Some(line(2)));
        assert_eq!(window.rows(), 3);
        assert_eq!(window.take(), Some(line(2)));
        window.settle(0, None);
        assert_eq!(window.take(), None);
        assert_eq!(window.rows(), 1);
    }
}
