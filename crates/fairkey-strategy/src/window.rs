//! Calls and failures of the last while: [`Window`].

use std::time::Duration;

use fairkey_core::Timestamp;
use fairkey_core::sync::{AtomicU64, Ordering};

/// How many buckets make a window. What was counted leaves it in steps of a tenth.
const BUCKETS: usize = 10;

/// The length of a window, as what its buckets need: nanoseconds of a tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    nanos: u64,
    /// 2^64 / nanos, rounded down: a multiplication instead of a division on every call.
    inverse: u64,
}

impl Slice {
    pub(crate) fn of(window: Duration) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self::of_nanos((window / BUCKETS as u64).max(2))
    }

    /// Takes a length of at least 2 ns.
    const fn of_nanos(nanos: u64) -> Self {
        Self {
            nanos,
            inverse: (u64::MAX / nanos),
        }
    }

    /// Returns the number of the slice of time that `now` is in.
    #[inline]
    fn at(self, now: Timestamp) -> u32 {
        let now = now.as_nanos();
        // Off by one at most, and below: the inverse is less than 1 too small, `now` is less
        // than 2^64.
        let slice = ((u128::from(now) * u128::from(self.inverse)) >> 64) as u64;
        let slice = if now - slice * self.nanos >= self.nanos {
            slice + 1
        } else {
            slice
        };
        slice as u32 & SLICE_MASK
    }
}

/// Counts of a sliding window, one ring of buckets, without a lock.
///
/// Buckets with exact counts rather than a moving average: a tight burst of failures barely moves
/// an average that weighs by time (linkerd2-proxy took the same turn, in its pull request 4561).
///
/// A bucket is one word: the generation of the breaker's state (8 bits), the number of the slice
/// of time it counts (24 bits), calls and failures (16 bits each, they stay when full). Whoever counts
/// into a slice or a generation that the word does not hold starts it anew, so nothing has to be
/// cleared, and a call that was begun under an older generation can add nothing to a newer one.
#[derive(Debug)]
pub(crate) struct Window {
    buckets: [AtomicU64; BUCKETS],
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u32,
    pub(crate) failures: u32,
}

/// One bucket, taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bucket {
    generation: u8,
    slice: u32,
    calls: u16,
    failures: u16,
}

const ONE_CALL: u64 = 1 << 16;
/// The bits that count calls; full, the bucket counts no more: of 65,535 calls in a tenth of a
/// window, the next changes no ratio that matters.
const CALLS: u64 = 0xffff << 16;
const SLICE_BITS: u32 = 24;
const SLICE_MASK: u32 = (1 << SLICE_BITS) - 1;

impl Bucket {
    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> 56) as u8,
            slice: (word >> 32) as u32 & SLICE_MASK,
            calls: (word >> 16) as u16,
            failures: word as u16,
        }
    }

    #[inline]
    fn pack(self) -> u64 {
        u64::from(self.generation) << 56
            | u64::from(self.slice) << 32
            | u64::from(self.calls) << 16
            | u64::from(self.failures)
    }
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Counts one call that ended at `now`.
    #[inline]
    pub(crate) fn record(&self, length: Slice, generation: u32, now: Timestamp, failed: bool) {
        let slice = length.at(now);
        let generation = generation as u8;
        let fresh = Bucket {
            generation,
            slice,
            calls: 0,
            failures: 0,
        }
        .pack();
        let bucket = &self.buckets[slice as usize % BUCKETS];
        let mut word = bucket.load(Ordering::Relaxed);
        loop {
            let next = if word >> 32 == fresh >> 32 && word & CALLS != CALLS {
                // Neither count can run over into the next.
                word + ONE_CALL + u64::from(failed)
            } else {
                let counts = Bucket::unpack(word);
                if counts.generation == generation && counts.slice == slice {
                    return;
                }
                // A newer generation counts here: this call belongs to one that is gone.
                let newer = counts.generation.wrapping_sub(generation);
                if word != 0 && (1..128).contains(&newer) {
                    return;
                }
                // A later slice is there already: this call ended a whole window ago.
                let ahead = counts.slice.wrapping_sub(slice) & SLICE_MASK;
                if counts.generation == generation && word != 0 && ahead < SLICE_MASK / 2 {
                    return;
                }
                fresh + ONE_CALL + u64::from(failed)
            };
            // Relaxed: the counts are all there is.
            match bucket.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Returns what the window that ends at `now` holds of `generation`.
    pub(crate) fn counts(&self, length: Slice, generation: u32, now: Timestamp) -> Counts {
        let slice = length.at(now);
        let mut counts = Counts::default();
        for bucket in &self.buckets {
            let bucket = Bucket::unpack(bucket.load(Ordering::Relaxed));
            let age = slice.wrapping_sub(bucket.slice) & SLICE_MASK;
            if bucket.generation == generation as u8 && age < BUCKETS as u32 {
                counts.calls += u32::from(bucket.calls);
                counts.failures += u32::from(bucket.failures);
            }
        }
        counts
    }
}

#[cfg(all(test, not(fairkey_loom)))]
mod tests {
    use super::*;

    const WINDOW: Slice = Slice::of_nanos(6_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let window = Window::new();
        window.record(WINDOW, 1, at(1), true);
        window.record(WINDOW, 1, at(30), false);
        assert_eq!(
            window.counts(WINDOW, 1, at(59)),
            Counts {
                calls: 2,
                failures: 1
            }
        );
        assert_eq!(
            window.counts(WINDOW, 1, at(60)),
            Counts {
                calls: 1,
                failures: 0
            }
        );
        assert_eq!(window.counts(WINDOW, 1, at(90)), Counts::default());
    }

    #[test]
    fn another_generation_counts_nothing() {
        let window = Window::new();
        window.record(WINDOW, 1, at(1), true);
        assert_eq!(window.counts(WINDOW, 2, at(1)), Counts::default());
        window.record(WINDOW, 2, at(1), true);
        assert_eq!(
            window.counts(WINDOW, 2, at(1)),
            Counts {
                calls: 1,
                failures: 1
            }
        );
    }

    #[test]
    fn a_straggler_of_an_older_generation_wipes_nothing() {
        let window = Window::new();
        window.record(WINDOW, 2, at(1), true);
        window.record(WINDOW, 1, at(1), false);
        assert_eq!(
            window.counts(WINDOW, 2, at(1)),
            Counts {
                calls: 1,
                failures: 1
            }
        );
        // Generations wrap around.
        window.record(WINDOW, 257, at(7), true);
        window.record(WINDOW, 256, at(7), true);
        assert_eq!(window.counts(WINDOW, 257, at(7)).calls, 1);
    }

    #[test]
    fn a_report_from_a_window_ago_does_not_wipe_what_is_new() {
        let window = Window::new();
        window.record(WINDOW, 1, at(61), false);
        window.record(WINDOW, 1, at(1), true);
        assert_eq!(
            window.counts(WINDOW, 1, at(61)),
            Counts {
                calls: 1,
                failures: 0
            }
        );
    }

    #[test]
    fn multiplying_by_the_inverse_divides() {
        for nanos in [
            2,
            3,
            7,
            10,
            100_000_000,
            6_000_000_000,
            u64::MAX / 10,
            u64::MAX / 2,
        ] {
            let length = Slice::of_nanos(nanos);
            for factor in [0, 1, 2, 3, 1_000, 123_456_789] {
                let edge = nanos.saturating_mul(factor);
                for now in [
                    edge.saturating_sub(1),
                    edge,
                    edge.saturating_add(1),
                    u64::MAX,
                ] {
                    let expected = (now / nanos) as u32 & SLICE_MASK;
                    assert_eq!(
                        length.at(Timestamp::from_nanos(now)),
                        expected,
                        "{now} / {nanos}"
                    );
                }
            }
        }
    }

    #[test]
    fn counts_saturate() {
        let window = Window::new();
        for _ in 0..70_000 {
            window.record(WINDOW, 1, at(1), true);
        }
        assert_eq!(
            window.counts(WINDOW, 1, at(1)),
            Counts {
                calls: 65_535,
                failures: 65_535
            }
        );
    }
}
