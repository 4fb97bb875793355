//! What the fleet may add by retries: [`RetryBudget`].
//!
//! A limit per call bounds what one call adds; under a general outage all calls reach it, and the
//! load on what is down already is multiplied. So the retries of all calls together are paid from
//! one account, as Finagle and tower have it: every call deposits a fraction of a retry, every
//! retry withdraws a whole one, and what is older than the window is forgotten. A small reserve
//! lets a client with few calls retry too.
//!
//! Retries of any window ≤ reserve + ratio × calls of that window and the one before: a deposit
//! may be a window old when it is spent.

use std::sync::{Mutex, PoisonError};

use fairkey_core::Timestamp;

use crate::BudgetConfig;

/// The window is counted in this many parts; what leaves it, leaves in parts.
const PARTS: usize = 10;
/// A retry, in the unit of the account. Integers, so that nothing is lost to rounding.
const RETRY: i64 = 1_000_000;

/// The account that retries are paid from; shared by all calls of a client.
///
/// Time is given, never read, and never moves the window back.
///
/// ```
/// use fairkey_client::{BudgetConfig, RetryBudget};
/// use fairkey_core::Timestamp;
///
/// let budget = RetryBudget::new(&BudgetConfig { min_per_second: 0.0, ..BudgetConfig::default() });
/// let now = Timestamp::ZERO;
/// assert!(!budget.withdraw(now), "nobody has called yet");
/// (0..5).for_each(|_| budget.deposit(now));
/// assert!(budget.withdraw(now), "five calls pay for one retry");
/// assert!(!budget.withdraw(now));
/// ```
#[derive(Debug)]
pub struct RetryBudget {
    deposit: i64,
    reserve: i64,
    part_nanos: u64,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// Deposits less withdrawals of each part of the window.
    parts: [i64; PARTS],
    /// The number of the newest part, counted from the clock's zero.
    newest: u64,
    sum: i64,
}

impl RetryBudget {
    /// Opens an account that holds the reserve: `min_per_second` × `ttl` retries.
    #[must_use]
    pub fn new(config: &BudgetConfig) -> Self {
        let ttl_nanos = u64::try_from(config.ttl.as_nanos()).unwrap_or(u64::MAX);
        let reserve = config.min_per_second.max(0.0) * config.ttl.as_secs_f64();
        Self {
            deposit: units(config.ratio),
            reserve: units(reserve),
            part_nanos: (ttl_nanos / PARTS as u64).max(1_000_000),
            window: Mutex::new(Window {
                parts: [0; PARTS],
                newest: 0,
                sum: 0,
            }),
        }
    }

    /// Pays in for one call.
    pub fn deposit(&self, now: Timestamp) {
        self.with_window(now, |window| window.add(self.deposit));
    }

    /// Takes out one retry, if there is one.
    #[must_use]
    pub fn withdraw(&self, now: Timestamp) -> bool {
        self.with_window(now, |window| {
            let enough = self.reserve.saturating_add(window.sum) >= RETRY;
            if enough {
                window.add(-RETRY);
            }
            enough
        })
    }

    /// Returns how many retries could be taken out now.
    #[must_use]
    pub fn balance(&self, now: Timestamp) -> u64 {
        let balance = self.with_window(now, |window| self.reserve.saturating_add(window.sum));
        u64::try_from(balance / RETRY).unwrap_or(0)
    }

    fn with_window<R>(&self, now: Timestamp, f: impl FnOnce(&mut Window) -> R) -> R {
        // Poisoned or not: every statement below leaves the window whole.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance_to(now.as_nanos() / self.part_nanos);
        f(&mut window)
    }
}

impl Window {
    fn advance_to(&mut self, part: u64) {
        let passed = part.saturating_sub(self.newest).min(PARTS as u64);
        for step in 0..passed {
            let at = index(part - step);
            self.sum -= self.parts[at];
            self.parts[at] = 0;
        }
        self.newest = self.newest.max(part);
    }

    fn add(&mut self, units: i64) {
        let part = &mut self.parts[index(self.newest)];
        let before = *part;
        *part = part.saturating_add(units);
        self.sum = self.sum.saturating_add(*part - before);
    }
}

fn index(part: u64) -> usize {
    (part % PARTS as u64) as usize
}

/// Converts retries into units; NaN and what is below 0 count as 0, and a limit keeps sums of
/// many away from the ends of the type.
fn units(retries: f64) -> i64 {
    (retries.clamp(0.0, 1e9) * RETRY as f64) as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn the_reserve_is_there_from_the_start_and_comes_back_after_the_window() {
        let budget = RetryBudget::new(&BudgetConfig::default());
        for _ in 0..10 {
            assert!(budget.withdraw(at(0)));
        }
        assert!(!budget.withdraw(at(0)));
        assert!(!budget.withdraw(at(9_999)), "the window has not passed");
        assert_eq!(budget.balance(at(10_000)), 10);
        assert!(budget.withdraw(at(10_000)));
    }

    #[test]
    fn a_deposit_lasts_as_long_as_the_window() {
        let config = BudgetConfig {
            ratio: 1.0,
            min_per_second: 0.0,
            ..BudgetConfig::default()
        };
        let budget = RetryBudget::new(&config);
        budget.deposit(at(500));
        assert_eq!(budget.balance(at(9_999)), 1);
        assert_eq!(budget.balance(at(10_000)), 0);
        budget.deposit(at(10_000));
        assert_eq!(budget.balance(at(1_000_000)), 0, "far beyond the window");
    }

    #[test]
    fn numbers_that_make_no_sense_give_nothing_instead_of_everything() {
        for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            let config = BudgetConfig {
                ratio: odd,
                min_per_second: odd,
                ttl: Duration::ZERO,
            };
            let budget = RetryBudget::new(&config);
            budget.deposit(at(0));
            assert!(!budget.withdraw(at(0)), "{odd}");
        }
        let endless = BudgetConfig {
            ratio: f64::INFINITY,
            ttl: Duration::MAX,
            ..<_>::default()
        };
        let budget = RetryBudget::new(&endless);
        (0..100_000).for_each(|_| budget.deposit(Timestamp::MAX));
        assert!(budget.withdraw(Timestamp::MAX));
    }

    proptest! {
        /// Whatever happens, retries of a window are paid by the reserve and by calls that are at
        /// most a window older.
        #[test]
        fn retries_stay_within_reserve_and_ratio(
            steps in proptest::collection::vec((0_u64..1_500, 0_u32..8, 0_u32..8), 1..200),
        ) {
            let budget = RetryBudget::new(&BudgetConfig::default());
            let (mut now, mut log) = (0, Vec::new());
            for (wait, calls, tries) in steps {
                now += wait;
                for _ in 0..calls {
                    budget.deposit(at(now));
                    log.push((now, 1.0, 0.0));
                }
                for _ in 0..tries {
                    if budget.withdraw(at(now)) {
                        log.push((now, 0.0, 1.0));
                    }
                }
                // The window moves in parts of a second.
                let from = |parts| (now / 1_000).saturating_sub(parts) * 1_000;
                let within = |parts| log.iter().filter(move |entry| entry.0 >= from(parts));
                let calls: f64 = within(18).map(|entry| entry.1).sum();
                let retries: f64 = within(9).map(|entry| entry.2).sum();
                prop_assert!(retries <= 10.0 + 0.2 * calls + 1e-9, "{retries} for {calls}");
            }
        }
    }
}
