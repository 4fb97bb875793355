//! The least latency for its load, quick to believe the worst: [`PeakEwma`].

use std::time::Duration;

use fairkey_core::{Ask, Candidate, KeySet, Report, Strategy, Turn};

use crate::latency::Latency;

/// Up to so many slots every key is looked at; above, two by chance.
const SCANNED: usize = 64;

/// More than any latency times any load: what is busy and has not been heard of yet.
const UNHEARD: f64 = 1e30;

/// Picks the key with the least `latency × (calls in flight + 1) / weight`; among equals by chance.
///
/// The latency is a moving average of the time until the first content (of the whole call, where
/// none was noted), weighed by age with a time constant of 10 s. A time above the average takes
/// its place at once; below, it moves it slowly. What is not heard of fades: a key that was slow
/// gets another call after a while.
///
/// - A failure counts as a call of 5 s, or of as long as it was said to come back later, up to
///   300 s: otherwise what fails at once looks fastest. Faults of the request, the caller and our
///   own say nothing; neither does a call that was given up before any content.
/// - A key that was not heard of yet gets one call; more only where all others are in the same
///   state.
/// - Above 64 slots it draws two keys and picks the better one.
///
/// **Good for** endpoints whose latency differs: models, providers, regions, servers of one's own
/// (anchors 1 and 5 of the simulator). **Not for the keys of one service**, which all lead to the
/// same place: there the latency of a key is that of the calls it happened to get, and a key that
/// is limited is not slow but empty. For keys with limits, see [`Headroom`](crate::Headroom).
///
/// The rule is Finagle's `PeakEwma` (tower and linkerd have it, too); that a failure counts as a
/// long time is linkerd's load biaser. Published: with one of eleven servers slow, 99.9 % of calls
/// within a second, against 99 % for the least loaded and 95 % in turn (Jenson and Oanta, "Beyond
/// Round Robin", 2016). Costs an exponential for each key that is looked at.
///
/// ```
/// use fairkey_core::{Ask, Key, ManualClock, Outcome, Pool};
/// use fairkey_strategy::PeakEwma;
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let pool = Pool::builder()
///     .strategy(PeakEwma::new())
///     .keys([Key::new("near", "sk-or-v1-a"), Key::new("far", "sk-or-v1-b")])
///     .clock(clock.clone())
///     .build()?;
/// // One call each, to get to know them.
/// let (one, other) = (pool.select(&Ask::new())?, pool.select(&Ask::new())?);
/// clock.advance(Duration::from_millis(20));
/// let near = one.key().id().clone();
/// one.finish(Outcome::Success);
/// clock.advance(Duration::from_millis(80));
/// other.finish(Outcome::Success);
/// // The near one is worth up to five calls at a time before the far one is worth one.
/// let calls: Vec<_> = (0..4).map(|_| pool.select(&Ask::new())).collect::<Result<_, _>>()?;
/// assert!(calls.iter().all(|call| *call.key().id() == near));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PeakEwma {
    latency: Latency,
}

impl PeakEwma {
    /// Makes the strategy, with a time constant of 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            latency: Latency::new(true),
        }
    }

    /// Sets the time constant: what is so old counts for 1/e. At least 1 ms.
    #[must_use]
    pub fn decay(mut self, decay: Duration) -> Self {
        self.latency.decay(decay);
        self
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns `latency × load` as bits, which order as positive floats do.
#[inline]
fn cost(micros: Option<f64>, key: Candidate<'_>) -> u64 {
    let latency = match micros {
        Some(micros) => micros,
        None if key.in_flight() == 0 => 0.0,
        None => UNHEARD,
    };
    (latency * key.load_with_one_more() as f64).to_bits()
}

impl Strategy for PeakEwma {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let now = turn.now();
        let cost = |key| cost(self.latency.micros(key, now), key);
        if turn.keys().slots() <= SCANNED {
            return turn.least(cost);
        }
        let (one, other) = turn.random_two()?;
        Some(if cost(other) < cost(one) { other } else { one })
    }

    fn rekey(&self, keys: &KeySet) {
        self.latency.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.latency.learn(key, report);
    }

    /// Returns milliseconds times load, as when the key was last heard of.
    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        let millis = self.latency.micros_as_heard(key)? / 1e3;
        Some(millis * (f64::from(key.in_flight()) + 1.0) / f64::from(key.weight()))
    }
}
