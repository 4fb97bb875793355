//! Chance that repeats: every draw of a call comes from the seed, the bytes of its body and how
//! often that body came before, never from the order in which calls arrive.

/// A small generator (SplitMix64): one multiplication chain, good enough for jitter and dice.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(parts: &[u64]) -> Self {
        let mut rng = Self(0x9e37_79b9_7f4a_7c15);
        for part in parts {
            rng.0 ^= *part;
            rng.0 = rng.next();
        }
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; zero for a bound of zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `len` letters and digits.
    pub(crate) fn alphanumeric(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..len)
            .map(|_| char::from(ALPHABET[self.below(62) as usize]))
            .collect()
    }
}

/// A fast hash of bytes; not for use against an adversary.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 29;
    };
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        mix(word
            .iter()
            .rev()
            .fold(0, |acc, byte| acc << 8 | u64::from(*byte)));
    }
    mix(words
        .remainder()
        .iter()
        .fold(1, |acc, byte| acc << 8 | u64::from(*byte)));
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_draw_the_same_and_others_draw_otherwise() {
        let draw = |parts: &[u64]| Rng::new(parts).next();
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
        assert_ne!(hash(b"abcdefgh1"), hash(b"abcdefgh2"));
        assert_ne!(hash(b"a"), hash(b"a\0"));
    }

    #[test]
    fn a_unit_draw_is_even() {
        let mut rng = Rng::new(&[7]);
        let hits = (0..100_000).filter(|_| rng.unit() < 0.1).count();
        assert!((9_500..10_500).contains(&hits), "{hits}");
    }
}
