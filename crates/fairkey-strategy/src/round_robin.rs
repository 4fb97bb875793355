//! One after the other: [`RoundRobin`].

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{Candidate, Strategy, Turn};

/// Gives each key that is open its turn, whatever its weight and load.
///
/// The `n`th selection gets the `n mod k`th of the `k` keys on offer. So the turns of a key that
/// is out are shared evenly among all others. (Walking on from a dead key, as is often done,
/// hands all its turns to its neighbor.) While the offer stays the same, shares are exactly even.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicU64,
}

impl RoundRobin {
    /// Starts at the first key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Strategy for RoundRobin {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        if turn.is_empty() {
            return None;
        }
        // Relaxed: only the number matters, and that each selection gets its own.
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let len = turn.len() as u64;
        // Division by 32 bits is several times faster where it suffices.
        let n = match (u32::try_from(next), u32::try_from(len)) {
            (Ok(next), Ok(len)) => (next % len) as usize,
            _ => (next % len) as usize,
        };
        turn.nth(n)
    }
}
