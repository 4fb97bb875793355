//! The better of two: [`PowerOfTwo`].

use fairkey_core::{Ask, Candidate, Strategy, Turn};

/// Draws two different keys by chance and picks the one with less load for its weight.
///
/// Constant time, whatever the number of keys, and nearly as even as looking at all: the longest
/// queue grows with log log n instead of log n (Mitzenmacher, IEEE TPDS 12(10), 2001).
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerOfTwo;

impl PowerOfTwo {
    /// Makes the strategy; it has no state and no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Strategy for PowerOfTwo {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let (one, other) = turn.random_two()?;
        if other.load_with_one_more() < one.load_with_one_more() {
            Some(other)
        } else {
            Some(one)
        }
    }

    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        Some((f64::from(key.in_flight()) + 1.0) / f64::from(key.weight()))
    }
}
