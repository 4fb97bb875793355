//! How long the quickest answers take: [`Quickest`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time within which one answer in ten comes: an estimate that follows the last hundred or so.
///
/// A call in line whose deadline is nearer than that would be sent for nothing: it would be given
/// up under way, billed, and where what it was given is the one probe of something that had
/// failed, nothing would be learned. With those in front of the line that wait longest, and are
/// nearest their deadlines, each probe could go to a call that gives it up, for ever.
#[derive(Debug, Default)]
pub(super) struct Quickest(AtomicU64);

impl Quickest {
    /// Hears how long an answer took.
    pub(super) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Relaxed: an estimate, and publishes nothing; a lost update is one answer less.
        let before = self.0.load(Ordering::Relaxed);
        // At rest where one answer in ten is quicker: nine steps up of 1 % make one down.
        let after = match before {
            0 => took,
            _ if took < before => (before - before / 11).max(took),
            _ => (before + before / 100 + 1).min(took),
        };
        self.0.store(after, Ordering::Relaxed);
    }

    /// Returns the estimate; zero before the first answer.
    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use fairkey_core::Random;

    use super::*;

    #[test]
    fn one_answer_in_ten_is_quicker() {
        let (quickest, mut chance) = (Quickest::default(), Random::new(7));
        let mut quicker = 0;
        for n in 0..20_000 {
            // From 0.1 s to 10 s, most of them short.
            let took = Duration::from_secs_f64(0.1 * 100_f64.powf(chance.unit()));
            if n >= 10_000 && took < quickest.get() {
                quicker += 1;
            }
            quickest.note(took);
        }
        assert!((700..1_300).contains(&quicker), "{quicker} of 10,000");
    }

    #[test]
    fn it_follows_in_both_directions() {
        let quickest = Quickest::default();
        assert_eq!(quickest.get(), Duration::ZERO);
        for millis in [1_000, 10, 5_000] {
            for _ in 0..1_000 {
                quickest.note(Duration::from_millis(millis));
            }
            assert_eq!(quickest.get(), Duration::from_millis(millis));
        }
    }
}
