//! The least load for its weight: [`WeightedLeastInFlight`].

use fairkey_core::{Ask, Candidate, Strategy, Turn};

/// Picks the key with the smallest `(calls in flight + 1) / weight`; among equals by chance.
///
/// The rule of Envoy's weighted least request with bias 1. Chance among equals matters: an idle
/// pool is all ties, and "the first" would get every call. Loads are compared to within 2^-40 of
/// a call; where weights do not divide a power of two, equal loads may differ by that much.
///
/// While keys are idle, a draw or two find one. When none is, it looks at every key: for
/// thousands of keys under full load, [`PowerOfTwo`](crate::PowerOfTwo) gives nearly the same
/// balance in constant time.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightedLeastInFlight;

impl WeightedLeastInFlight {
    /// Makes the strategy; it has no state and no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Strategy for WeightedLeastInFlight {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.least_loaded()
    }

    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        Some((f64::from(key.in_flight()) + 1.0) / f64::from(key.weight()))
    }
}
