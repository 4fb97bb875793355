//! Which names rows give themselves: [`Names`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hasher};

/// How many names are remembered: about 9 MB. Names beyond them are compared with those only, so
/// that memory does not grow with the input.
const REMEMBERED: usize = 1 << 18;

/// Finds rows that carry the same name, by a hash of it.
#[derive(Debug, Default)]
pub(super) struct Names {
    lines: HashMap<u64, u64>,
    repeated: u64,
}

impl Names {
    /// Notes the name of a row, and its line. Returns the line of an earlier row with the same
    /// name, at the first such row.
    pub(super) fn note(&mut self, name: &str, line: u64) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        hasher.write(name.as_bytes());
        let room = self.lines.len() < REMEMBERED;
        let first = match self.lines.entry(hasher.finish()) {
            Entry::Occupied(first) => *first.get(),
            Entry::Vacant(place) if room => {
                place.insert(line);
                return None;
            }
            Entry::Vacant(_) => return None,
        };
        self.repeated += 1;
        (self.repeated == 1).then_some(first)
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
        for line in 0..REMEMBERED as u64 + 1_000 {
            assert_eq!(names.note(&line.to_string(), line), None);
        }
        assert_eq!(names.note("7", 1_000_000), Some(7));
        assert_eq!(names.note("7", 1_000_001), None);
        assert_eq!(names.note("8", 1_000_002), None);
        assert_eq!(names.repeated(), 3);
        assert_eq!(names.lines.len(), REMEMBERED);
    }
}
