//! Calls that are refused together: [`Line`], and how fast they are served: [`Rate`].

use std::collections::BTreeSet;
use std::time::Duration;

use fairkey_core::{Cost, Timestamp};

use super::entry::Place;

/// Everybody of one line.
#[derive(Debug)]
pub(super) struct Line<L> {
    pub(super) key: L,
    /// Everybody, the smallest first.
    pub(super) by_size: BTreeSet<(Size, Place)>,
    /// By class and tenant.
    pub(super) lanes: BTreeSet<(usize, u64)>,
    /// Not asked about in the usual order: something that does not hold for others bars it.
    pub(super) parked: bool,
    /// When it is worth another look.
    pub(super) opens: Option<Timestamp>,
    /// Calls up to this number have waited while the line was closed to everybody.
    pub(super) behind_to: u64,
    pub(super) rate: Rate,
}

impl<L> Line<L> {
    pub(super) fn new(key: L, now: Timestamp) -> Self {
        Self {
            key,
            by_size: BTreeSet::new(),
            lanes: BTreeSet::new(),
            parked: false,
            opens: None,
            behind_to: 0,
            rate: Rate::new(now),
        }
    }
}

/// How large a call is: tokens, then money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    tokens: u64,
    micro_usd: u64,
}

impl Size {
    pub(super) fn of(cost: Cost) -> Self {
        Self {
            tokens: cost.tokens,
            micro_usd: cost.micro_usd,
        }
    }

    /// Whether a limit that bars `other` may let this one by.
    pub(super) fn is_below(self, other: Self) -> bool {
        self.tokens < other.tokens || self.micro_usd < other.micro_usd
    }
}

/// How many were served in about the last minute, as long as somebody waited all the time, and
/// nothing but limits barred.
///
/// While failures bar, nothing is known: how fast it goes on afterwards, what was served before
/// does not tell, and the time in between even less. Afterwards it starts anew.
#[derive(Debug)]
pub(super) struct Rate {
    /// Since when somebody waits, or since failures have ceased to bar.
    since: Timestamp,
    counts: [u32; Self::BUCKETS],
    /// Which bucket is the current one, counted from the clock's zero.
    at: u64,
    /// Failures bar.
    failing: bool,
    /// Failures have barred less than a window ago: what comes back after them comes in steps.
    recovering: bool,
}

impl Rate {
    const BUCKETS: usize = 15;
    const BUCKET: Duration = Duration::from_nanos(NANOS);
    const WINDOW: Duration = Duration::from_secs(60);

    /// From fewer than these nothing is concluded.
    const FEWEST: u32 = 10;
    const SHORTEST: Duration = Duration::from_secs(1);

    /// After failures nothing is concluded in less time than this, nor while it goes ever faster.
    const SETTLED: Duration = Duration::from_secs(8);
    const RISING: f64 = 1.25;

    fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            counts: [0; Self::BUCKETS],
            at: bucket(now),
            failing: false,
            recovering: false,
        }
    }

    /// Hears that one was served.
    pub(super) fn note(&mut self, now: Timestamp) {
        self.resume(now);
        self.turn(now);
        let at = self.at;
        let count = &mut self.counts[slot(at)];
        *count = count.saturating_add(1);
    }

    /// Hears that one was refused.
    pub(super) fn bar(&mut self, by_limit: bool, now: Timestamp) {
        if by_limit {
            self.resume(now);
        } else {
            self.failing = true;
        }
    }

    fn resume(&mut self, now: Timestamp) {
        if self.failing {
            *self = Self {
                recovering: true,
                ..Self::new(now)
            };
        }
    }

    /// Returns how many are served in a second; `None` where too little was seen.
    pub(super) fn per_second(&mut self, now: Timestamp) -> Option<f64> {
        self.turn(now);
        self.recovering &= now.since(self.since) < Self::WINDOW;
        if self.recovering {
            self.forget_what_was_slower(now);
        }
        let seen = now.since(self.since).min(Self::WINDOW);
        let least = if self.recovering {
            Self::SETTLED
        } else {
            Self::SHORTEST
        };
        let served = sum(self.counts);
        let known = served >= Self::FEWEST && seen >= least && !self.failing;
        (known).then(|| f64::from(served) / seen.as_secs_f64())
    }

    /// Forgets the first half of the time where it went slower then.
    fn forget_what_was_slower(&mut self, now: Timestamp) {
        let all = now.since(self.since);
        if all < Self::SETTLED {
            return;
        }
        let middle = bucket(self.since + all / 2 + Self::BUCKET / 2);
        let begins = Timestamp::from_nanos(middle * NANOS);
        let late = sum((middle..=self.at).map(|at| self.counts[slot(at)]));
        let early = sum(self.counts).saturating_sub(late);
        let early = f64::from(early) / begins.since(self.since).as_secs_f64();
        let late = f64::from(late) / now.since(begins).as_secs_f64();
        if late > early * Self::RISING {
            for at in bucket(self.since)..middle {
                self.counts[slot(at)] = 0;
            }
            self.since = begins;
        }
    }

    /// Empties the buckets that lie between the last look and this one.
    fn turn(&mut self, now: Timestamp) {
        let now = bucket(now);
        let passed = now.saturating_sub(self.at).min(Self::BUCKETS as u64);
        for n in 0..passed {
            self.counts[slot(now - n)] = 0;
        }
        self.at = self.at.max(now);
    }
}

fn sum(counts: impl IntoIterator<Item = u32>) -> u32 {
    counts.into_iter().fold(0, u32::saturating_add)
}

fn bucket(now: Timestamp) -> u64 {
    now.as_nanos() / NANOS
}

/// How long a bucket is.
const NANOS: u64 = 4_000_000_000;

fn slot(bucket: u64) -> usize {
    usize::try_from(bucket % Rate::BUCKETS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute_and_unknown_at_first() {
        let mut rate = Rate::new(at(0));
        for n in 0..100 {
            assert_eq!(rate.per_second(at(n * 9)), None, "in less than a second");
            rate.note(at(n * 9));
        }
        assert_eq!(rate.per_second(at(1_000)), Some(100.0));
        // From then on ten in a second.
        for n in 10..1_000 {
            rate.note(at(n * 100));
        }
        let found = rate.per_second(at(100_000)).unwrap();
        assert!((9.0..=10.0).contains(&found), "{found}");
        assert_eq!(
            rate.per_second(at(1_000_000)),
            None,
            "nothing is known any more"
        );
    }

    #[test]
    fn of_a_time_barred_by_failures_nothing_is_known() {
        let mut rate = Rate::new(at(0));
        // Ten in a second, then an outage of twenty seconds.
        for n in 0..100 {
            rate.note(at(n * 100));
            rate.bar(true, at(n * 100));
        }
        assert!(rate.per_second(at(10_000)).is_some());
        rate.bar(false, at(10_000));
        for secs in 10..30 {
            assert_eq!(rate.per_second(at(secs * 1_000)), None, "at {secs} s");
        }
        // A ramp: one, two, four calls, each refused to the next one until they are back.
        for (n, calls) in [1, 2, 4].into_iter().enumerate() {
            let now = at(30_000 + 500 * n as u64);
            for _ in 0..calls {
                rate.note(now);
            }
            rate.bar(false, now);
            assert_eq!(rate.per_second(now), None);
        }
        // Keys come back one after the other, for half a minute: twice as many every 7.5 s.
        let mut now: f64 = 32_000.0;
        while now < 62_000.0 {
            rate.note(at(now as u64));
            rate.bar(true, at(now as u64));
            now += 800.0 * f64::exp2((32_000.0 - now) / 7_500.0);
            let found = rate.per_second(at(now as u64));
            assert_eq!(found, None, "on the way up, at {now} ms");
        }
        // Then twenty in a second, and what was slower does not count.
        let mut now = now as u64;
        for _ in 0..20 * 20 {
            rate.note(at(now));
            now += 50;
        }
        let found = rate.per_second(at(now)).unwrap();
        assert!((18.0..=20.0).contains(&found), "{found}");
    }

    #[test]
    fn a_steady_rate_after_failures_is_believed_after_eight_seconds() {
        let mut rate = Rate::new(at(0));
        rate.bar(false, at(500));
        for n in 0..80 {
            assert_eq!(rate.per_second(at(1_000 + n * 100)), None, "{n}");
            rate.note(at(1_000 + n * 100));
        }
        assert_eq!(rate.per_second(at(9_000)), Some(10.0));
        // What limits bar counts, and what failures bar does not.
        rate.bar(true, at(9_000));
        assert_eq!(rate.per_second(at(10_000)), Some(80.0 / 9.0));
        rate.bar(false, at(10_000));
        rate.bar(true, at(10_000));
        assert_eq!(rate.per_second(at(10_000)), None);
    }

    #[test]
    fn a_limit_by_the_minute_that_is_used_up_at_once_is_seen_as_its_average() {
        let mut rate = Rate::new(at(0));
        for minute in 0..5 {
            for _ in 0..600 {
                rate.note(at(minute * 60_000));
            }
            if minute > 0 {
                let found = rate.per_second(at(minute * 60_000 + 30_000)).unwrap();
                assert!((9.0..=11.0).contains(&found), "{found}");
            }
        }
    }
}
