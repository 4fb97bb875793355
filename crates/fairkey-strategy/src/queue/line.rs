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

/// How many were served in about the last minute, as long as somebody waited all the time.
#[derive(Debug)]
pub(super) struct Rate {
    /// Since when somebody waits.
    since: Timestamp,
    counts: [u32; Self::BUCKETS],
    /// Which bucket is the current one, counted from the clock's zero.
    at: u64,
}

impl Rate {
    const BUCKETS: usize = 15;
    const BUCKET: Duration = Duration::from_secs(4);

    /// From fewer than these nothing is concluded.
    const FEWEST: u32 = 10;
    const SHORTEST: Duration = Duration::from_secs(1);

    fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            counts: [0; Self::BUCKETS],
            at: bucket(now),
        }
    }

    pub(super) fn note(&mut self, now: Timestamp) {
        self.turn(now);
        let at = self.at;
        let count = &mut self.counts[slot(at)];
        *count = count.saturating_add(1);
    }

    /// Returns how many are served in a second; `None` where too little was seen.
    pub(super) fn per_second(&mut self, now: Timestamp) -> Option<f64> {
        self.turn(now);
        let served: u32 = (self.counts.iter()).fold(0, |all, count| all.saturating_add(*count));
        let window = Self::BUCKET * 15;
        let seen = now.since(self.since).min(window);
        (served >= Self::FEWEST && seen >= Self::SHORTEST)
            .then(|| f64::from(served) / seen.as_secs_f64())
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

fn bucket(now: Timestamp) -> u64 {
    now.as_nanos() / 4_000_000_000
}

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
