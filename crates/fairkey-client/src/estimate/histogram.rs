//! A quantile of a stream that changes: [`Histogram`].

use std::ops::Range;

/// Buckets to an octave, as a power of two: what is told is off by an eighth at most.
const STEPS: u32 = 3;
const FIRST: u64 = 1 << STEPS;
/// Octaves above the first values, which are exact: up to 16 million.
const OCTAVES: usize = 21;
const BUCKETS: usize = FIRST as usize * (OCTAVES + 1);
/// How much more each value counts than the one before: the last 256 make up 63 % of all.
const GROWTH: f32 = 1.0 + 1.0 / 256.0;
/// When all weights are made small again.
const HEAVY: f32 = 1e20;

/// A histogram with buckets of equal ratio, in which newer values count for more.
///
/// One multiplication to forget: not the old weights shrink, the new ones grow.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    weights: Box<[f32; BUCKETS]>,
    /// The buckets that were ever counted in: few of all, since answers of a model are alike.
    used: Range<usize>,
    /// What the next value counts.
    next: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            weights: Box::new([0.0; BUCKETS]),
            used: 0..0,
            next: 1.0,
        }
    }
}

impl Histogram {
    /// Counts a value.
    pub(super) fn add(&mut self, value: u64) {
        self.add_weighed(value, 1.0);
    }

    /// Counts a value as so many.
    pub(super) fn add_weighed(&mut self, value: u64, weight: f32) {
        let bucket = bucket(value);
        self.weights[bucket] += self.next * weight;
        self.used = if self.used.is_empty() {
            bucket..bucket + 1
        } else {
            self.used.start.min(bucket)..self.used.end.max(bucket + 1)
        };
        self.next *= GROWTH;
        if self.next > HEAVY {
            let by = 1.0 / self.next;
            self.weights.iter_mut().for_each(|weight| *weight *= by);
            self.next = 1.0;
        }
    }

    /// Returns the least value that a part `q` of all does not exceed, rounded up by an eighth at
    /// most; 0 where nothing was counted.
    pub(super) fn quantile(&self, q: f64) -> u64 {
        let weights = &self.weights[self.used.clone()];
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let rank = total * q;
        let mut sum = 0.0;
        let mut last = None;
        for (bucket, weight) in self.used.clone().zip(weights) {
            if *weight > 0.0 {
                sum += f64::from(*weight);
                last = Some(bucket);
                // What rounding leaves over is no value.
                if sum >= rank * (1.0 - 1e-9) {
                    break;
                }
            }
        }
        last.map_or(0, upper)
    }
}

fn bucket(value: u64) -> usize {
    if value < FIRST {
        return value as usize;
    }
    let octave = value.ilog2() - STEPS;
    let step = (value >> octave) & (FIRST - 1);
    let bucket = FIRST * u64::from(octave + 1) + step;
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FIRST {
        return bucket;
    }
    let (octave, step) = (bucket / FIRST - 1, bucket % FIRST);
    ((FIRST + step + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_value_is_at_most_the_largest_of_its_bucket() {
        for value in (0..5_000).chain((12..24).flat_map(|n| [(1 << n) - 1, 1 << n])) {
            let told = upper(bucket(value));
            assert!(value <= told && told <= value + value / 8, "{value} {told}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(upper(BUCKETS - 1)), BUCKETS - 1);
    }

    #[test]
    fn nothing_was_counted() {
        assert_eq!(Histogram::default().quantile(0.9), 0);
    }

    #[test]
    fn it_forgets_and_never_overflows() {
        let mut histogram = Histogram::default();
        for _ in 0..50_000 {
            histogram.add(1_000);
        }
        for n in 1..=2_000 {
            histogram.add(100);
            assert!(histogram.weights.iter().all(|weight| weight.is_finite()));
            if n == 10 {
                assert!(histogram.quantile(0.9) >= 1_000);
            }
        }
        assert!((100..=112).contains(&histogram.quantile(0.9)));
    }

    proptest! {
        /// Of the last values the quantile is exact but for the rounding up; which values count how
        /// much is worked out here once more, by the weights themselves.
        #[test]
        fn a_quantile_is_off_by_an_eighth_at_most(
            values in prop::collection::vec(0_u64..100_000, 1..600),
            q in 0.05..1.0_f64,
        ) {
            let mut histogram = Histogram::default();
            let mut weighed: Vec<(u64, f64)> = Vec::new();
            for (n, value) in values.iter().enumerate() {
                histogram.add(*value);
                weighed.push((*value, f64::from(GROWTH).powi(n as i32)));
            }
            weighed.sort_by_key(|(value, _)| *value);
            let total: f64 = weighed.iter().map(|(_, weight)| weight).sum();
            let at = |rank: f64| {
                let mut sum = 0.0;
                let found = weighed.iter().find(|(_, weight)| {
                    sum += weight;
                    sum >= rank
                });
                found.or(weighed.last()).unwrap().0
            };
            // Single weights are kept with seven digits.
            let (low, high) = (at(total * (q - 1e-4)), at(total * (q + 1e-4)));
            let told = histogram.quantile(q);
            prop_assert!(told >= low && told <= high + high / 8, "{low} {told} {high}");
        }
    }
}
