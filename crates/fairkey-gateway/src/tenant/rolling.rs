//! Counts that no window of a length exceeds: [`Rolling`].

use std::time::Duration;

use fairkey_core::Timestamp;

/// So much in any window of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub limit: u64,
    /// The length of the window. At least 64 ns.
    pub per: Duration,
}

/// Into how many steps a window is divided.
const STEPS: u64 = 64;
/// One more: what a step holds counts until the window has left all of it.
const RING: usize = STEPS as usize + 1;

/// What was taken in the last window.
///
/// Time is divided into steps of a 64th of the window. What is taken in a step counts until the
/// step is wholly out of the window: up to a 64th longer than it would have to, and never shorter,
/// so that no window of that length, wherever it begins, has more than the limit.
#[derive(Debug)]
pub(super) struct Rolling {
    step_nanos: u64,
    ring: [u64; RING],
    /// The step of the newest entry.
    newest: u64,
    used: u64,
}

/// Where something was taken, so that it can be put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(u64);

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There will be, after this long.
    For(Duration),
    /// It is more than the limit, and never fits.
    ForEver,
}

impl Rolling {
    pub(super) fn new(per: Duration) -> Self {
        let nanos = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        Self {
            step_nanos: nanos.div_ceil(STEPS).max(1),
            ring: [0; RING],
            newest: 0,
            used: 0,
        }
    }

    /// Whether it counts windows of this length.
    pub(super) fn is_per(&self, per: Duration) -> bool {
        Self::new(per).step_nanos == self.step_nanos
    }

    /// Tells whether there is room for `n`, and changes nothing but what time has changed.
    pub(super) fn check(&mut self, now: Timestamp, n: u64, limit: u64) -> Result<(), Full> {
        self.advance(now);
        if self.used.saturating_add(n) <= limit {
            return Ok(());
        }
        if n > limit {
            return Err(Full::ForEver);
        }
        let mut left = self.used;
        // The oldest step first: `newest + 1` has its place in the ring.
        for age in (0..RING as u64).rev() {
            let Some(step) = self.newest.checked_sub(age) else {
                continue;
            };
            left -= self.ring[Self::place(step)];
            if left.saturating_add(n) <= limit {
                let gone = (step + RING as u64).saturating_mul(self.step_nanos);
                return Err(Full::For(Timestamp::from_nanos(gone).since(now)));
            }
        }
        // `n` alone fits, so that an empty ring has room.
        Err(Full::For(Duration::from_nanos(self.step_nanos)))
    }

    /// Takes `n`, whatever there is.
    pub(super) fn take(&mut self, now: Timestamp, n: u64) -> Mark {
        self.advance(now);
        let entry = &mut self.ring[Self::place(self.newest)];
        let before = *entry;
        *entry = entry.saturating_add(n);
        self.used = self.used.saturating_add(*entry - before);
        Mark(self.newest)
    }

    /// Says that what was taken as `taken` was `actual`. What left the window since is over.
    pub(super) fn correct(&mut self, mark: Mark, taken: u64, actual: u64) {
        if mark.0 > self.newest || self.newest - mark.0 >= RING as u64 {
            return;
        }
        let entry = &mut self.ring[Self::place(mark.0)];
        let before = *entry;
        *entry = entry.saturating_sub(taken).saturating_add(actual);
        self.used = self.used.saturating_sub(before).saturating_add(*entry);
    }

    fn advance(&mut self, now: Timestamp) {
        let step = now.as_nanos() / self.step_nanos;
        if step <= self.newest {
            return;
        }
        if step - self.newest >= RING as u64 {
            (self.ring, self.used) = ([0; RING], 0);
        } else {
            for gone in self.newest + 1..=step {
                let entry = &mut self.ring[Self::place(gone)];
                self.used = self.used.saturating_sub(std::mem::take(entry));
            }
        }
        self.newest = step;
    }

    fn place(step: u64) -> usize {
        (step % RING as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(ms)
    }

    proptest! {
        /// The law: no window of the length has more than the limit, wherever it begins; who is
        /// refused fits at the time that was named, and not a step before.
        #[test]
        fn no_window_has_more_than_the_limit(
            limit in 1..50u64,
            per_ms in 1..2_000u64,
            calls in prop::collection::vec((0..400u64, 1..20u64), 1..80),
        ) {
            let per = Duration::from_millis(per_ms);
            let mut rolling = Rolling::new(per);
            let (mut now, mut taken) = (at(0), Vec::new());
            for (pause, n) in calls {
                now = now + Duration::from_millis(pause);
                match rolling.check(now, n, limit) {
                    Ok(()) => {
                        rolling.take(now, n);
                        taken.push((now, n));
                    }
                    Err(Full::ForEver) => prop_assert!(n > limit),
                    Err(Full::For(wait)) => {
                        prop_assert!(n <= limit);
                        prop_assert!(wait <= per + per / 32, "{:?}", wait);
                        let early = Duration::from_nanos(rolling.step_nanos);
                        if wait > early {
                            let mut copy = Rolling { ring: rolling.ring, ..rolling };
                            prop_assert!(copy.check(now + (wait - early), n, limit).is_err());
                        }
                        let mut copy = Rolling { ring: rolling.ring, ..rolling };
                        prop_assert_eq!(copy.check(now + wait, n, limit), Ok(()));
                    }
                }
                for (end, _) in &taken {
                    let inside = |at: &Timestamp| at <= end && end.since(*at) < per;
                    let sum: u64 = taken.iter().filter(|(at, _)| inside(at)).map(|(_, n)| n).sum();
                    prop_assert!(sum <= limit, "{} of {}", sum, limit);
                }
            }
        }

        /// What is put right is as if it had been right from the start.
        #[test]
        fn a_correction_is_as_good_as_a_right_guess(
            calls in prop::collection::vec((0..300u64, 0..50u64, 0..80u64), 1..60),
        ) {
            let per = Duration::from_secs(1);
            let (mut guessed, mut right) = (Rolling::new(per), Rolling::new(per));
            let (mut now, mut open) = (at(0), Vec::new());
            for (pause, guess, actual) in calls {
                now = now + Duration::from_millis(pause);
                open.push((guessed.take(now, guess), guess, actual));
                right.take(now, actual);
                if pause % 2 == 0 {
                    for (mark, guess, actual) in open.drain(..) {
                        guessed.correct(mark, guess, actual);
                    }
                }
            }
            for (mark, guess, actual) in open {
                guessed.correct(mark, guess, actual);
            }
            prop_assert_eq!((guessed.ring, guessed.used), (right.ring, right.used));
        }
    }

    #[test]
    fn time_that_goes_back_gives_nothing_back() {
        let mut rolling = Rolling::new(Duration::from_secs(1));
        rolling.take(at(5_000), 3);
        assert!(rolling.check(at(0), 1, 3).is_err());
        rolling.take(at(0), 1);
        assert_eq!(rolling.used, 4);
    }
}
