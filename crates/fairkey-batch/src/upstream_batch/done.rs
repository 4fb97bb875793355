//! Which rows have a result already: [`DoneRows`].

use std::collections::BTreeMap;

/// The words of one chunk, and the rows of one word.
const WORDS: usize = 16;
const BITS: u64 = 64;

/// Which rows have a result already, by their place in the input. One bit for each row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoneRows(BTreeMap<u64, [u64; WORDS]>);

impl DoneRows {
    /// Returns whether the row at this place is done.
    #[must_use]
    pub fn contains(&self, index: u64) -> bool {
        let (chunk, word, bit) = place(index);
        self.0
            .get(&chunk)
            .is_some_and(|words| words[word] & bit != 0)
    }
}

impl FromIterator<u64> for DoneRows {
    fn from_iter<I: IntoIterator<Item = u64>>(rows: I) -> Self {
        let mut done = Self::default();
        for index in rows {
            let (chunk, word, bit) = place(index);
            done.0.entry(chunk).or_default()[word] |= bit;
        }
        done
    }
}

fn place(index: u64) -> (u64, usize, u64) {
    let rows = BITS * WORDS as u64;
    let within = index % rows;
    (index / rows, (within / BITS) as usize, 1 << (within % BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_done_if_it_was_named(
            named in proptest::collection::hash_set(0..5_000_u64, 0..200),
            far in any::<u64>(),
        ) {
            let done: DoneRows = named.iter().copied().chain([far]).collect();
            for index in 0..5_000 {
                prop_assert_eq!(done.contains(index), named.contains(&index) || index == far);
            }
            prop_assert!(done.contains(far));
        }
    }
}
