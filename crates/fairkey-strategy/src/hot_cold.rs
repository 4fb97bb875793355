//! Not the fullest, and of those the fastest: [`HotColdLexicographic`].

use std::time::Duration;

use fairkey_core::{Ask, Candidate, KeySet, Report, Strategy, Timestamp, Turn};

use crate::latency::Latency;

/// Up to so many slots every key is looked at.
const SCANNED: usize = 64;

/// How many keys are drawn where there are too many to look at all: Prequal's pool of probes.
const SAMPLES: usize = 16;

/// 2^-0.25: the quantile that the paper uses.
const QUANTILE: f64 = 0.840_896_415_253_714_5;

/// Leaves out the keys with the most calls in flight, and picks of the others the one with the
/// least latency: hot-cold lexicographic selection, the rule inside Prequal.
///
/// A key is hot where its `(calls in flight + 1) / weight` is above the 84th percentile of all keys
/// on offer; the load keeps everybody from running after the fastest key, and latency decides
/// among the rest. So weights say who is hot, and shares follow them only roughly. The latency is a moving average as in [`PeakEwma`](crate::PeakEwma), but without
/// its peaks: failures count for 5 s or more, what is not heard of fades, and a key that was not
/// heard of yet gets one call at a time.
///
/// Above 64 slots it draws 16 keys and picks among those.
///
/// **Good for** endpoints of which a few are much slower than the others. **Not for** endpoints
/// that are alike and short of workers, where it crowds those that looked fast a moment ago: the
/// slowest calls then take several times as long as in turn, and the more so the higher the load.
/// And not for the keys of one service, which all lead to the same place. The anchors of the
/// simulator (`scenarios/src/anchors/prequal.rs`) have both cases.
///
/// From Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should balance: Introducing
/// Prequal" (NSDI 2024). There, probes ask servers for load and latency; here both are what the
/// pool sees of its own calls, since nobody answers probes about a key for nothing.
#[derive(Debug)]
pub struct HotColdLexicographic {
    latency: Latency,
    quantile: f64,
}

impl HotColdLexicographic {
    /// Makes the strategy, with the quantile 2^-0.25 and a time constant of 10 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            latency: Latency::new(false),
            quantile: QUANTILE,
        }
    }

    /// Sets the part of the keys that may be cold, 0 to 1. With 0 only the least loaded are, and
    /// latency decides among those; with 1 all are, and load counts for nothing. The paper has
    /// good results between 0.6 and 0.9.
    #[must_use]
    pub fn quantile(mut self, quantile: f64) -> Self {
        self.quantile = quantile.clamp(0.0, 1.0);
        self
    }

    /// Sets the time constant of the average: what is so old counts for 1/e. At least 1 ms.
    #[must_use]
    pub fn decay(mut self, decay: Duration) -> Self {
        self.latency.decay(decay);
        self
    }

    /// Returns the load above which a key is hot.
    fn threshold(&self, loads: &mut [u64]) -> u64 {
        let last = loads.len().saturating_sub(1);
        let at = (last as f64 * self.quantile) as usize;
        if loads.is_empty() {
            return u64::MAX;
        }
        *loads.select_nth_unstable(at).1
    }

    /// Returns the rank: cold before hot, the cold by latency and the hot by load.
    fn rank(&self, key: Candidate<'_>, threshold: u64, now: Timestamp) -> u64 {
        const HOT: u64 = 1 << 63;
        let load = key.load_with_one_more();
        if load > threshold {
            return HOT | load.min(HOT - 1);
        }
        match self.latency.micros(key, now) {
            // Positive floats order as their bits do, and have the highest bit free.
            Some(micros) => micros.to_bits(),
            None if key.in_flight() == 0 => 0,
            None => HOT - 1,
        }
    }
}

impl Default for HotColdLexicographic {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for HotColdLexicographic {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let now = turn.now();
        let (mut loads, mut len) = ([0; SCANNED], 0);
        if turn.keys().slots() <= SCANNED {
            turn.for_each(|key| {
                loads[len % SCANNED] = key.load_with_one_more();
                len += 1;
            });
            let threshold = self.threshold(&mut loads[..len]);
            return turn.least(|key| self.rank(key, threshold, now));
        }
        let mut drawn = [turn.random()?; SAMPLES];
        for key in &mut drawn[1..] {
            *key = turn.random()?;
        }
        for (load, key) in loads.iter_mut().zip(&drawn) {
            *load = key.load_with_one_more();
        }
        let threshold = self.threshold(&mut loads[..SAMPLES]);
        drawn
            .into_iter()
            .min_by_key(|key| self.rank(*key, threshold, now))
    }

    fn rekey(&self, keys: &KeySet) {
        self.latency.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.latency.learn(key, report);
    }

    /// Returns the latency in milliseconds, as when the key was last heard of. Whether a key is hot
    /// depends on the others, and is not in it.
    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        Some(self.latency.micros_as_heard(key)? / 1e3)
    }
}
