//! How many rows are in flight: [`Concurrency`].
//!
//! The limit of [`Concurrency::Auto`] follows what comes of it, never latency: how long an answer
//! takes is decided by how long it is, and a model that thinks for a minute is not overloaded. It
//! goes in rounds; in each, about half as many rows end as may be in flight, in a fifth of a second at
//! least.
//!
//! - As long as a round does more rows per second than the one before, the limit is doubled. Where
//!   twice as many at a time are no faster, something else is the bottleneck, and the limit goes back to
//!   the half (or stays, where it was a little faster): more would only fill the memory. That is tried again every sixteen rounds.
//! - Where most rows wait for keys, limits are what holds them back. The client keeps to those by
//!   itself, and rows that wait there cost little; but no more are needed than fill the keys, so that
//!   the limit shrinks, by half per round at most, until no more than half of the rows wait.
//! - When too many attempts of a round were told to slow down by somebody whom no key speaks for (a
//!   provider, a model, the service), the limit is taken back by a fifth or more and at most by
//!   half, and from then on it grows a sixteenth per round. Rows that began before the last step
//!   back say nothing about what came after it, and do not count. A few refusals are no sign of too
//!   much load (one full provider among ten refuses at any load): what counts is their share.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// Where [`Concurrency::Auto`] begins.
const START: usize = 32;
/// A greater share of refused attempts in a round takes the limit back.
const TOO_MANY: f64 = 0.10;
/// A smaller one raises it.
const FEW: f64 = 0.05;
/// What remains of the limit at least, and at most, when it is taken back.
const BACK: (f64, f64) = (0.5, 0.8);
/// Doubling the limit has to make a run faster by so much.
const GAIN: f64 = 1.2;
/// Where it makes it faster by so much, it stays, but is not doubled again.
const WORTH: f64 = 1.05;
/// After so many rounds it is tried again whether more is faster.
const AGAIN: u32 = 16;
/// The shortest round of which a rate is told.
const ROUND: Duration = Duration::from_millis(200);
/// The most that [`Concurrency::Auto`] goes to, where nothing else is said.
const MOST: usize = 8_192;

/// How many rows are in flight at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many.
    Fixed(NonZeroUsize),
    /// As many as make the run faster without anybody asking to slow down, and `max` at most. The
    /// default, with a `max` of 8,192.
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

impl Concurrency {
    /// Returns it with no more than `n` rows at most, and one at least, where it is automatic.
    #[must_use]
    pub fn within(self, n: usize) -> Self {
        match self {
            Self::Fixed(_) => self,
            Self::Auto { max } => Self::Auto {
                max: max.min(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)),
            },
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::Auto {
            max: NonZeroUsize::new(MOST).unwrap_or(NonZeroUsize::MIN),
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

/// What the limit has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// More at a time was faster so far; the rate of the round before, once there is one.
    Growing { before: Option<(usize, f64)> },
    /// Twice as many were no faster, so many rounds ago.
    Flat { rounds: u32 },
    /// Somebody asked to slow down.
    Careful,
}

/// The limit as it moves.
#[derive(Debug)]
pub(crate) struct Limit {
    now: usize,
    max: usize,
    auto: bool,
    phase: Phase,
    /// Raised by each step back: rows remember the one they began in.
    epoch: u64,
    /// Rows that wait for keys, when that was looked at last.
    waiting: usize,
    /// Whether more were once no faster.
    tried: bool,
    /// Rows to come that began under another limit, and say nothing about the rate of this one.
    settling: usize,
    round: Round,
}

#[derive(Debug, Default)]
struct Round {
    /// When the first row ended.
    began: Option<Instant>,
    /// Those after it.
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
            phase: Phase::Growing { before: None },
            epoch: 0,
            waiting: 0,
            tried: false,
            settling: 0,
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

    /// Returns whether it is as high as it may ever be.
    pub(crate) fn is_at_most(&self) -> bool {
        self.now >= self.max
    }

    /// Returns whether more rows at a time were found to be no faster.
    pub(crate) fn is_flat(&self) -> bool {
        matches!(self.phase, Phase::Flat { .. })
    }

    /// Hears how many of the rows in flight wait for keys.
    pub(crate) fn waiting(&mut self, rows: usize) {
        self.waiting = rows;
    }

    /// Hears that a row ended at a time, which had made so many attempts that were not told before,
    /// so many of them refused by somebody who asked to slow down.
    pub(crate) fn ended(&mut self, at: Instant, epoch: u64, attempts: u64, refused: u64) {
        if !self.auto || epoch != self.epoch {
            return;
        }
        if let Some(settling) = self.settling.checked_sub(1) {
            self.settling = settling;
        } else if self.round.began.is_none() {
            self.round.began = Some(at);
        } else {
            self.round.rows += 1;
        }
        if !self.heard(attempts, refused) {
            self.look(at);
        }
    }

    /// Hears of attempts before their rows have ended, with no more rows in flight than allowed.
    /// Returns whether the limit was taken back.
    pub(crate) fn heard(&mut self, attempts: u64, refused: u64) -> bool {
        if !self.auto {
            return false;
        }
        self.round.attempts += attempts;
        self.round.refused += refused;
        let share = self.round.share();
        // A step back needs no whole round: half of one is evidence enough.
        let half = self.round.attempts * 2 >= self.now as u64;
        let back = half && share > TOO_MANY;
        if back {
            self.epoch += 1;
            // What was not refused is what the upstream took.
            let kept = (1.0 - share).clamp(BACK.0, BACK.1);
            let now = ((self.now as f64 * kept) as usize).max(1);
            self.go_on(now, Phase::Careful);
        }
        back
    }

    /// Moves the limit where a round is over.
    fn look(&mut self, at: Instant) {
        let Some(began) = self.round.began else {
            return;
        };
        let time = at.saturating_duration_since(began);
        if self.round.rows < (self.now / 2).max(8) || time < ROUND {
            return;
        }
        let rate = self.round.rows as f64 / time.as_secs_f64();
        let grown = (self.now * 2).min(self.max);
        let (now, phase) = if self.waiting > self.now / 2 {
            let least = START.min(self.now);
            // Twice what is under way, and half of what it was at least.
            let shrunk = ((self.now - self.waiting.min(self.now)) * 2).max(self.now / 2);
            (shrunk.max(least), Phase::Growing { before: None })
        } else if self.waiting > self.now / 4 {
            (self.now, self.phase)
        } else if self.round.share() > FEW {
            (self.now, Phase::Careful)
        } else {
            match self.phase {
                Phase::Growing {
                    before: Some((smaller, before)),
                } if rate < before * GAIN => {
                    // A little faster is worth keeping where nobody has tried before; later it is
                    // more often chance, and would add up.
                    let keeps = !self.tried && rate > before * WORTH;
                    self.tried = true;
                    let now = if keeps { self.now } else { smaller };
                    (now, Phase::Flat { rounds: 0 })
                }
                Phase::Flat { rounds } if rounds + 1 < AGAIN => {
                    (self.now, Phase::Flat { rounds: rounds + 1 })
                }
                Phase::Growing { .. } | Phase::Flat { .. } => {
                    let before = (grown > self.now).then_some((self.now, rate));
                    (grown, Phase::Growing { before })
                }
                Phase::Careful => {
                    let more = (self.now / 16).max(1);
                    ((self.now + more).min(self.max), Phase::Careful)
                }
            }
        };
        self.go_on(now, phase);
    }

    /// Begins a round.
    fn go_on(&mut self, now: usize, phase: Phase) {
        if now != self.now {
            self.settling = self.now.min(now);
        }
        self.now = now;
        self.phase = phase;
        self.round = Round::default();
    }
}

impl Round {
    fn share(&self) -> f64 {
        self.refused as f64 / self.attempts.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use super::*;

    fn auto(max: usize) -> Limit {
        Limit::new(Concurrency::Auto {
            max: NonZeroUsize::new(max).unwrap(),
        })
    }

    /// Rows on an upstream with so many servers, on which a row takes so long.
    struct Upstream {
        limit: Limit,
        servers: usize,
        takes: Duration,
        /// Rows that the keys let through at a time; others wait for them.
        keys: usize,
        now: Instant,
        /// When rows end, with the epoch they began in.
        rows: BinaryHeap<std::cmp::Reverse<(Instant, u64)>>,
        /// When servers are free.
        free: BinaryHeap<std::cmp::Reverse<Instant>>,
    }

    impl Upstream {
        fn new(max: usize, servers: usize, takes: Duration) -> Self {
            let now = Instant::now();
            Self {
                limit: auto(max),
                servers,
                takes,
                keys: usize::MAX,
                now,
                rows: BinaryHeap::new(),
                free: BinaryHeap::new(),
            }
        }

        fn begin(&mut self) {
            let servers = self.servers.min(self.keys);
            let free = match self.free.pop() {
                Some(free) if self.free.len() + 1 >= servers => free.0.max(self.now),
                Some(free) => {
                    self.free.push(free);
                    self.now
                }
                None => self.now,
            };
            let end = free + self.takes;
            self.free.push(std::cmp::Reverse(end));
            self.rows.push(std::cmp::Reverse((end, self.limit.epoch())));
        }

        /// Sends so many rows, of which so many in a hundred are told to slow down.
        fn send(&mut self, rows: usize, refused: u64) -> &mut Self {
            for row in 0..rows as u64 {
                while self.rows.len() < self.limit.now() {
                    self.begin();
                }
                let std::cmp::Reverse((end, epoch)) = self.rows.pop().unwrap();
                self.now = end;
                let waiting = self.rows.len().saturating_sub(self.keys);
                self.limit.waiting(waiting);
                let refused = u64::from(row * refused / 100 < (row + 1) * refused / 100);
                self.limit.ended(end, epoch, 1, refused);
            }
            self
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_fixed_limit_stays() {
        let mut limit = Limit::new("7".parse().unwrap());
        let now = Instant::now();
        (0..100).for_each(|_| limit.ended(now, 0, 1, 1));
        assert_eq!(limit.now(), 7);
        assert!("0".parse::<Concurrency>().is_err());
    }

    #[test]
    fn it_doubles_for_as_long_as_that_is_faster() {
        let mut upstream = Upstream::new(5_000, usize::MAX, SECOND);
        upstream.send(40_000, 0);
        assert_eq!(upstream.limit.now(), 5_000);
        assert!(upstream.limit.is_at_most());
        // All answers together took about as long as 5,000 at a time take, and the doubling.
        let took = upstream.rows.peek().unwrap().0.0 - Instant::now();
        assert!(took < Duration::from_secs(30), "{took:?}");
    }

    #[test]
    fn it_goes_no_higher_than_helps() {
        for servers in [40, 300, 1_000] {
            let mut upstream = Upstream::new(8_192, servers, SECOND / 10);
            upstream.send(200_000, 0);
            let now = upstream.limit.now();
            assert!(now >= servers, "{now} of {servers}");
            assert!(now <= 4 * servers.max(START), "{now} of {servers}");
        }
    }

    #[test]
    fn where_rows_wait_for_keys_no_more_wait_than_are_sent() {
        let mut upstream = Upstream::new(8_192, usize::MAX, SECOND / 10);
        upstream.send(100_000, 0);
        assert_eq!(upstream.limit.now(), 8_192);
        upstream.keys = 100;
        upstream.send(100_000, 0);
        let now = upstream.limit.now();
        assert!((100..=250).contains(&now), "{now}");
        upstream.keys = usize::MAX;
        upstream.send(200_000, 0);
        assert_eq!(upstream.limit.now(), 8_192, "it comes back");
    }

    #[test]
    fn it_steps_back_where_it_is_told_to_and_goes_on_in_small_steps() {
        let mut upstream = Upstream::new(1_000, usize::MAX, SECOND);
        upstream.send(2_000, 0);
        let before = upstream.limit.now();
        upstream.send(before, 20);
        let after = upstream.limit.now();
        assert!(
            after * 2 >= before && after * 5 <= before * 4,
            "{before}, {after}"
        );
        upstream.send(4 * after, 0);
        let later = upstream.limit.now();
        assert!(later > after && later < after * 3 / 2, "{after}, {later}");
    }

    #[test]
    fn it_stays_between_one_and_its_maximum() {
        let mut upstream = Upstream::new(50, usize::MAX, SECOND);
        upstream.send(1_000, 0);
        assert_eq!(upstream.limit.now(), 50);
        upstream.send(10_000, 100);
        assert_eq!(upstream.limit.now(), 1);
        upstream.send(10_000, 0);
        assert_eq!(upstream.limit.now(), 50, "it comes back");
    }

    #[test]
    fn a_few_refusals_do_not_take_it_back() {
        let mut upstream = Upstream::new(1_000, usize::MAX, SECOND);
        upstream.send(1_000, 4);
        let before = upstream.limit.now();
        upstream.send(10_000, 4);
        assert!(upstream.limit.now() > before);
        let before = upstream.limit.now();
        upstream.send(10_000, 8);
        assert_eq!(
            upstream.limit.now(),
            before,
            "between few and too many it stays"
        );
    }

    #[test]
    fn attempts_can_be_told_before_their_rows_end() {
        let mut limit = auto(1000);
        assert!(!limit.heard(15, 15));
        assert_eq!(limit.now(), START, "too few to say anything");
        assert!(limit.heard(1, 0));
        assert_eq!(limit.now(), START / 2);
    }

    #[test]
    fn rows_from_before_a_step_back_do_not_take_it_back_again() {
        let mut limit = auto(1000);
        let (epoch, now) = (limit.epoch(), Instant::now());
        (0..START).for_each(|_| limit.ended(now, epoch, 1, 1));
        let after = limit.now();
        assert!(after < START);
        (0..1000).for_each(|_| limit.ended(now, epoch, 1, 1));
        assert_eq!(limit.now(), after);
    }
}
