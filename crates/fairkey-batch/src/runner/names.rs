//! Which names rows give themselves: [`Names`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hasher};

use crate::row::Place;

/// How many names are remembered: about 17 MB. Names beyond them are compared with those only, so
/// that memory does not grow with the input.
const REMEMBERED: usize = 1 << 18;

/// Finds rows that carry the same name, by a hash of it.
#[derive(Debug, Default)]
pub(super) struct Names {
    places: HashMap<u64, Place>,
    repeated: u64,
}

impl Names {
    /// Notes the name of a row, and its place. Returns that of an earlier row with the same name,
    /// at the first such row.
    pub(super) fn note(&mut self, name: &str, place: &Place) -> Option<Place> {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        let room = self.places.len() < REMEMBERED;
        let first = match self.places.entry(hasher.finish()) {
            Entry::Occupied(first) => first.into_mut(),
            Entry::Vacant(free) if room => {
                free.insert(place.clone());
                return None;
            }
            Entry::Vacant(_) => return None,
        };
        self.repeated += 1;
        (self.repeated == 1).then(|| first.clone())
    }

    /// Returns how many rows had a name that a row before them has.
    pub(super) fn repeated(&self) -> u64 {
        self.repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repetition_is_told_and_all_are_counted_in_bounded_memory() {
        let mut names = Names::default();
        let place = |line| Place { file: None, line };
        for line in 0..REMEMBERED as u64 + 1_000 {
            assert_eq!(names.note(&line.to_string(), &place(line)), None);
        }
        assert_eq!(names.note("7", &place(1_000_000)), Some(place(7)));
        assert_eq!(names.note("7", &place(1_000_001)), None);
        assert_eq!(names.note("8", &place(1_000_002)), None);
        assert_eq!(names.repeated(), 3);
        assert_eq!(names.places.len(), REMEMBERED);
    }
}
