//! How many rows are in flight: [`Concurrency`].
//!
//! The limit of [`Concurrency::Auto`] follows refusals, never latency: how long an answer takes is
//! decided by how long it is, and a model that thinks for a minute is not overloaded. It starts
//! small, doubles once per round until the upstream asks for the first time to slow down, and from
//! then on adds a little per round. It is taken back, by a fifth or more and at most by half, when
//! too many attempts of a round were refused that way. A round is as many rows as the limit had when it began. Rows that began
//! before the last step back say nothing about what came after it, and do not count.
//!
//! A few refusals are no sign of too much load (one full provider among ten refuses at any load),
//! so that what counts is their share of the attempts.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

/// Where [`Concurrency::Auto`] begins.
const START: usize = 16;
/// A greater share of refused attempts in a round takes the limit back.
const TOO_MANY: f64 = 0.10;
/// A smaller one raises it.
const FEW: f64 = 0.05;
/// What remains of the limit at least, and at most, when it is taken back.
const BACK: (f64, f64) = (0.5, 0.8);

/// How many rows are in flight at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many.
    Fixed(NonZeroUsize),
    /// As many as the upstream takes without asking to slow down, and `max` at most. The default,
    /// with a `max` of 256.
    Auto {
        /// The most.
        max: NonZeroUsize,
    },
}

impl Concurrency {
    /// Returns the most rows that can be in flight.
    #[must_use]
    pub fn max(self) -> usize {
        match self {
            Self::Fixed(n) | Self::Auto { max: n } => n.get(),
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::Auto {
            max: NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::default());
        }
        let n = text
            .parse()
            .map_err(|_| format!("{text:?} is neither a number above 0 nor auto"))?;
        Ok(Self::Fixed(n))
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Auto { .. } => f.write_str("auto"),
        }
    }
}

/// The limit as it moves.
#[derive(Debug)]
pub(crate) struct Limit {
    now: usize,
    max: usize,
    auto: bool,
    /// Nobody has asked to slow down yet.
    doubling: bool,
    /// Raised by each step back: rows remember the one they began in.
    epoch: u64,
    round: Round,
}

#[derive(Debug, Default)]
struct Round {
    rows: usize,
    attempts: u64,
    refused: u64,
}

impl Limit {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        let max = concurrency.max();
        let auto = matches!(concurrency, Concurrency::Auto { .. });
        let now = if auto { START.min(max) } else { max };
        Self {
            now,
            max,
            auto,
            doubling: true,
            epoch: 0,
            round: Round::default(),
        }
    }

    pub(crate) fn now(&self) -> usize {
        self.now
    }

    /// Returns what a row that begins now has to remember.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Hears that a row ended, which had made so many attempts that were not told before, so many
    /// of them refused by somebody who asked to slow down.
    pub(crate) fn ended(&mut self, epoch: u64, attempts: u64, refused: u64) {
        if epoch == self.epoch {
            self.round.rows += 1;
            self.heard(attempts, refused);
        }
    }

    /// Hears of attempts before their rows have ended, with no more rows in flight than allowed.
    pub(crate) fn heard(&mut self, attempts: u64, refused: u64) {
        if !self.auto {
            return;
        }
        self.round.attempts += attempts;
        self.round.refused += refused;
        let share = self.round.refused as f64 / self.round.attempts.max(1) as f64;
        // A step back needs no whole round: half of one is evidence enough.
        let half = self.round.attempts * 2 >= self.now as u64;
        if half && share > TOO_MANY {
            self.doubling = false;
            self.epoch += 1;
            // What was not refused is what the upstream took.
            let kept = (1.0 - share).clamp(BACK.0, BACK.1);
            self.now = ((self.now as f64 * kept) as usize).max(1);
            self.round = Round::default();
        } else if self.round.rows >= self.now {
            if share <= FEW {
                let step = if self.doubling {
                    self.now
                } else {
                    (self.now / 16).max(1)
                };
                self.now = (self.now + step).min(self.max);
            } else {
                self.doubling = false;
            }
            self.round = Round::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(max: usize) -> Limit {
        Limit::new(Concurrency::Auto {
            max: NonZeroUsize::new(max).unwrap(),
        })
    }

    /// One round of rows with one attempt each, so many of them refused, evenly spread.
    fn round(limit: &mut Limit, refused: usize) {
        let (epoch, rows) = (limit.epoch(), limit.now());
        for row in 0..rows {
            let is_refused = row * refused / rows < (row + 1) * refused / rows;
            limit.ended(epoch, 1, u64::from(is_refused));
        }
    }

    #[test]
    fn a_fixed_limit_stays() {
        let mut limit = Limit::new("7".parse().unwrap());
        round(&mut limit, 7);
        assert_eq!(limit.now(), 7);
        assert!("0".parse::<Concurrency>().is_err());
    }

    #[test]
    fn it_doubles_until_it_is_asked_to_slow_down_and_then_goes_in_small_steps() {
        let mut limit = auto(1000);
        round(&mut limit, 0);
        round(&mut limit, 0);
        assert_eq!(limit.now(), 64);
        round(&mut limit, 13);
        assert_eq!(limit.now(), 51, "a fifth at least");
        round(&mut limit, 51);
        assert_eq!(limit.now(), 25, "a half at most");
        round(&mut limit, 0);
        assert_eq!(limit.now(), 26);
    }

    #[test]
    fn it_stays_between_one_and_its_maximum() {
        let mut limit = auto(20);
        for _ in 0..10 {
            round(&mut limit, 0);
        }
        assert_eq!(limit.now(), 20);
        for _ in 0..50 {
            let all = limit.now();
            round(&mut limit, all);
        }
        assert_eq!(limit.now(), 1);
        for _ in 0..50 {
            round(&mut limit, 0);
        }
        assert_eq!(limit.now(), 20, "it comes back");
    }

    #[test]
    fn a_few_refusals_do_not_take_it_back() {
        let mut limit = auto(1000);
        for _ in 0..5 {
            round(&mut limit, 0);
        }
        let before = limit.now();
        round(&mut limit, before / 25);
        assert!(limit.now() > before);
        let before = limit.now();
        round(&mut limit, before / 13);
        assert_eq!(limit.now(), before, "between few and too many it stays");
    }

    #[test]
    fn attempts_can_be_told_before_their_rows_end() {
        let mut limit = auto(1000);
        limit.heard(7, 7);
        assert_eq!(limit.now(), 16, "too few to say anything");
        limit.heard(1, 0);
        assert_eq!(limit.now(), 8);
        limit.ended(0, 0, 0);
        (0..8).for_each(|_| limit.ended(1, 0, 0));
        assert_eq!(
            limit.now(),
            9,
            "rows that began since then, and that nobody refused"
        );
    }

    #[test]
    fn rows_from_before_a_step_back_do_not_take_it_back_again() {
        let mut limit = auto(1000);
        round(&mut limit, 0);
        let (epoch, before) = (limit.epoch(), limit.now());
        for _ in 0..before {
            limit.ended(epoch, 1, 1);
        }
        let after = limit.now();
        assert!(after < before);
        for _ in 0..1000 {
            limit.ended(epoch, 1, 1);
        }
        assert_eq!(limit.now(), after);
    }
}
