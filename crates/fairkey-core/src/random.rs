//! Chance, from a seed: [`Random`].

use crate::sync::{AtomicU64, Ordering};

/// The step of splitmix64 (Steele, Lea, Flood 2014): 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The step between a generator and the next that branches off: odd, and far from any small
/// multiple of [`STEP`], so that the numbers of one are not those of the next, moved by one.
const BRANCH_STEP: u64 = 0xd134_2543_de82_ef95;

/// A small, fast generator (splitmix64). Good for breaking ties; not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes a generator; the same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a generator of its own, and moves on, without computing a number.
    #[inline]
    #[must_use]
    pub fn branch(&mut self) -> Self {
        self.0 = self.0.wrapping_add(BRANCH_STEP);
        Self(self.0)
    }

    /// Returns the next number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns a number below `bound`, or 0 where `bound` is 0.
    ///
    /// By multiplication (Lemire 2019): off from even by less than `bound / 2^32`.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((self.next_u64() >> 32).wrapping_mul(u64::from(bound)) >> 32) as u32
    }

    /// Returns a number from 0 up to, but not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A source of generators that many threads draw from.
#[derive(Debug)]
pub struct Seeds(AtomicU64);

impl Seeds {
    /// Makes a source; the same seed, drawn from by one thread, gives the same generators.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns a generator of its own for the caller.
    #[inline]
    pub fn draw(&self) -> Random {
        // Relaxed: all that matters is that no two draws get the same number.
        Random(mix(self.0.fetch_add(STEP, Ordering::Relaxed)))
    }
}

/// Spreads the bits of `x` over the whole word; a bijection.
#[must_use]
#[inline]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes a label: the same in every process and on every machine, so that what hangs on it
/// (the key that a session prefers) survives a restart. FNV-1a, then [`mix`].
#[must_use]
pub const fn hash_label(label: &str) -> u64 {
    let bytes = label.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    mix(hash)
}

#[cfg(all(test, not(fairkey_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            [random.next_u64(), random.next_u64()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        // The reference implementation's first output for seed 0.
        assert_eq!(numbers(0)[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::new(1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
    }
}
