//! Turns in proportion to weights, spread out: [`SmoothWeighted`].

use fairkey_core::sync::{Mutex, lock};
use fairkey_core::{Ask, Candidate, KeySet, Strategy, Turn};

/// Smooth weighted round robin: of weights 5, 1, 1 it makes `a a b a c a a`, not `a a a a a b c`.
///
/// The algorithm of nginx (`ngx_http_upstream_round_robin.c`): at each selection every key on
/// offer gains its weight; the one that has most is picked and pays the sum of what all gained.
/// Deterministic, and exact over every full round while the offer stays the same. It looks at
/// every key under a lock: for pools of tens or hundreds of keys, not of ten thousand.
#[derive(Debug, Default)]
pub struct SmoothWeighted {
    /// What each slot has gained and not paid.
    current: Mutex<Vec<i64>>,
}

impl SmoothWeighted {
    /// Starts with nothing gained.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Strategy for SmoothWeighted {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let mut current = lock(&self.current);
        let (mut best, mut most, mut total) = (None::<Candidate<'a>>, i64::MIN, 0);
        turn.for_each(|key| {
            let weight = i64::from(key.weight());
            let gained = &mut current[key.slot().index()];
            *gained += weight;
            total += weight;
            if *gained > most {
                (best, most) = (Some(key), *gained);
            }
        });
        current[best?.slot().index()] -= total;
        best
    }

    fn rekey(&self, keys: &KeySet) {
        let mut current = lock(&self.current);
        if current.len() < keys.slots() {
            current.resize(keys.slots(), 0);
        }
        for slot in keys.fresh() {
            current[slot.index()] = 0;
        }
    }

    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        let gained = *lock(&self.current).get(key.slot().index())?;
        Some(-(gained as f64 + f64::from(key.weight())))
    }
}
