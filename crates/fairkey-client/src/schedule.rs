//! When which key is asked about itself: [`Schedule`].

use std::collections::HashMap;
use std::time::Duration;

use fairkey_core::{KeyId, Random, Timestamp};

/// How keys are watched: how often `GET /key` is asked, and when again.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchConfig {
    /// How long keys that nothing is known against are left alone at first; a refusal asks about
    /// its key all the same. What lives for seconds only asks nothing that way. Default zero.
    pub grace: Duration,
    /// How often each key is asked while nothing is wrong. Default 10 min, at least 1 s.
    pub every: Duration,
    /// By how much each wait is varied, as a part of it. Default 0.2; from 0 to 1.
    pub jitter: f64,
    /// How many keys are asked at a time. Default 2, at least 1.
    pub at_once: usize,
    /// How long after a refusal, or after a reset, its key is asked at most; the time in between
    /// is chance. Default 3 s.
    pub soon: Duration,
    /// The least time between two questions of a key, whatever happens. Default 5 s.
    pub gap: Duration,
    /// How long after the first question a key that is out without a stamp, or could not be asked,
    /// is asked again; each further time twice as long. Default 30 s.
    pub retry: Duration,
    /// Where that stops doubling. Default 15 min.
    pub retry_cap: Duration,
    /// How long after a change the state file is written. Default 2 s.
    pub save_after: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            grace: Duration::ZERO,
            every: Duration::from_secs(600),
            jitter: 0.2,
            at_once: 2,
            soon: Duration::from_secs(3),
            gap: Duration::from_secs(5),
            retry: Duration::from_secs(30),
            retry_cap: Duration::from_secs(900),
            save_after: Duration::from_secs(2),
        }
    }
}

/// What an answer means for the next question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// All is well, and something changes of itself after this long: a reset, an expiry.
    Well { change: Option<Duration> },
    /// The key is out for this long.
    OutFor(Duration),
    /// The key is out, and nobody knows for how long.
    Out,
    /// The key could not be asked.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Timestamp,
    /// When it was asked last.
    asked: Option<Timestamp>,
    is_asked: bool,
    /// How many times in a row it had to be asked again without a stamp.
    again: u32,
}

/// Plans questions: which key is asked when, one question of a key at a time.
#[derive(Debug)]
pub(crate) struct Schedule {
    config: WatchConfig,
    entries: HashMap<KeyId, Entry>,
    chance: Random,
    /// When the first keys came.
    begun: Option<Timestamp>,
}

impl Schedule {
    pub(crate) fn new(config: WatchConfig, chance: Random) -> Self {
        Self {
            config,
            entries: HashMap::new(),
            chance,
            begun: None,
        }
    }

    /// Takes the keys there are. Those that are new are asked within half a second for each, and
    /// never all at once; none of them before the grace of the start is over.
    pub(crate) fn retain(&mut self, keys: &[KeyId], now: Timestamp) {
        let spread = Duration::from_millis(500)
            .saturating_mul(u32::try_from(keys.len()).unwrap_or(u32::MAX))
            .min(self.every());
        let from = now.max(*self.begun.get_or_insert(now) + self.config.grace);
        let mut entries = HashMap::with_capacity(keys.len());
        for key in keys {
            let entry = self.entries.remove(key).unwrap_or_else(|| Entry {
                due: from + spread.mul_f64(self.chance.unit()),
                asked: None,
                is_asked: false,
                again: 0,
            });
            entries.insert(key.clone(), entry);
        }
        self.entries = entries;
    }

    fn every(&self) -> Duration {
        self.config.every.max(Duration::from_secs(1))
    }

    /// A call was refused: the key is asked soon.
    pub(crate) fn alarm(&mut self, key: &KeyId, now: Timestamp) {
        let soon = now + self.config.soon.mul_f64(self.chance.unit());
        if let Some(entry) = self.entries.get_mut(key)
            && !entry.is_asked
        {
            let earliest = entry.asked.map_or(now, |asked| asked + self.config.gap);
            entry.due = entry.due.min(soon.max(earliest));
        }
    }

    /// Returns a key to ask now, and counts it as asked until it [answers](Self::answered).
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<KeyId> {
        if self.is_full() {
            return None;
        }
        let due = |(_, entry): &(&KeyId, &mut Entry)| !entry.is_asked && entry.due <= now;
        let (key, entry) = (self.entries.iter_mut().filter(due))
            .min_by(|one, other| (one.1.due, one.0).cmp(&(other.1.due, other.0)))?;
        entry.is_asked = true;
        entry.asked = Some(now);
        Some(key.clone())
    }

    fn is_full(&self) -> bool {
        let asking = self.entries.values().filter(|entry| entry.is_asked).count();
        asking >= self.config.at_once.max(1)
    }

    /// Returns when something is to be asked next: `None` while as many are being asked as may be,
    /// since then an answer comes before any time does.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        if self.is_full() {
            return None;
        }
        let waiting = self.entries.values().filter(|entry| !entry.is_asked);
        waiting.map(|entry| entry.due).min()
    }

    /// Takes note of what an answer means, and returns how long it is until the key is asked
    /// again.
    pub(crate) fn answered(&mut self, key: &KeyId, next: Next, now: Timestamp) -> Duration {
        let jitter = 1.0 + self.config.jitter.clamp(0.0, 1.0) * (self.chance.unit() * 2.0 - 1.0);
        let soon = self.config.soon.mul_f64(self.chance.unit());
        let (every, gap) = (self.every(), self.config.gap.max(Duration::from_millis(1)));
        let Some(entry) = self.entries.get_mut(key) else {
            return every;
        };
        let (retry, cap) = (self.config.retry, self.config.retry_cap);
        let mut escalate = || {
            let times = 2_u32.saturating_pow(entry.again);
            entry.again = entry.again.saturating_add(1);
            retry.saturating_mul(times).min(cap).mul_f64(jitter)
        };
        let wait = match next {
            Next::Failed | Next::Out => escalate(),
            Next::Well { change } => {
                entry.again = 0;
                let usual = every.mul_f64(jitter);
                change.map_or(usual, |change| usual.min(change + soon))
            }
            // A stamp so long ago, or so near, that it names no wait: as if there were none.
            Next::OutFor(wait) if wait < gap => escalate(),
            // Even a stamp is checked now and then: somebody may have raised the cap.
            Next::OutFor(wait) => {
                entry.again = 0;
                (wait + soon).min(every.mul_f64(jitter).max(wait.min(every)))
            }
        };
        let wait = wait.max(gap);
        entry.due = now + wait;
        entry.is_asked = false;
        wait
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(keys: usize) -> (Schedule, Vec<KeyId>) {
        let keys: Vec<KeyId> = (0..keys).map(|n| KeyId::from(format!("k{n}"))).collect();
        let chance = fairkey_core::Seeds::new(7).draw();
        let mut schedule = Schedule::new(WatchConfig::default(), chance);
        schedule.retain(&keys, Timestamp::ZERO);
        (schedule, keys)
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::ZERO + SECOND * u32::try_from(secs).unwrap()
    }

    #[test]
    fn every_key_is_asked_once_in_a_while_and_no_more_than_two_at_a_time() {
        let (mut schedule, keys) = schedule(40);
        let mut asked: HashMap<KeyId, u32> = HashMap::new();
        for second in 0..7_200 {
            let now = at(second);
            let batch: Vec<KeyId> = std::iter::from_fn(|| schedule.next(now)).collect();
            assert!(batch.len() <= 2);
            for key in batch {
                *asked.entry(key.clone()).or_default() += 1;
                schedule.answered(&key, Next::Well { change: None }, now);
            }
        }
        assert_eq!(asked.len(), keys.len());
        assert!(
            asked.values().all(|times| (10..=16).contains(times)),
            "{asked:?}"
        );
    }

    #[test]
    fn while_as_many_are_asked_as_may_be_nobody_wakes_for_those_that_are_due() {
        let (mut schedule, _) = schedule(3);
        let asked: Vec<KeyId> = std::iter::from_fn(|| schedule.next(at(9))).collect();
        assert_eq!(asked.len(), 2);
        assert_eq!(schedule.due(), None, "one is due, and cannot be asked");
        schedule.answered(&asked[0], Next::Well { change: None }, at(9));
        assert!(schedule.due().unwrap() <= at(9));
    }

    #[test]
    fn a_refused_key_is_asked_within_seconds_and_never_twice_at_once() {
        let (mut schedule, keys) = schedule(1);
        let key = schedule.next(at(1)).unwrap();
        schedule.alarm(&key, at(1));
        assert_eq!(schedule.next(at(9)), None, "it is being asked");
        schedule.answered(&key, Next::Well { change: None }, at(1));
        schedule.alarm(&keys[0], at(60));
        assert!(schedule.due().unwrap() <= at(63));
        let key = schedule.next(at(63)).unwrap();
        schedule.answered(&key, Next::Well { change: None }, at(63));
        // However often it is refused.
        schedule.alarm(&key, at(64));
        assert_eq!(schedule.next(at(67)), None);
        assert!(schedule.next(at(68)).is_some());
    }

    #[test]
    fn a_key_that_is_out_is_asked_at_its_reset_and_without_one_ever_more_rarely() {
        let (mut schedule, keys) = schedule(1);
        let key = &keys[0];
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(schedule.answered(key, Next::Out, at(0)).as_secs());
        }
        assert!(waits[0] <= 36 && waits[8] >= 720, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 1_080), "{waits:?}");
        let reset = schedule.answered(key, Next::OutFor(SECOND * 90), at(0));
        assert!((SECOND * 90..=SECOND * 93).contains(&reset), "{reset:?}");
        let day = schedule.answered(key, Next::OutFor(SECOND * 86_400), at(0));
        assert!(day <= SECOND * 720, "{day:?}");
        let soon = schedule.answered(
            key,
            Next::Well {
                change: Some(SECOND * 40),
            },
            at(0),
        );
        assert!((SECOND * 40..=SECOND * 43).contains(&soon), "{soon:?}");
    }

    #[test]
    fn in_the_grace_of_the_start_only_refused_keys_are_asked() {
        let keys: Vec<KeyId> = ["a", "b"].map(KeyId::from).into();
        let config = WatchConfig {
            grace: SECOND * 10,
            ..WatchConfig::default()
        };
        let mut schedule = Schedule::new(config, fairkey_core::Seeds::new(7).draw());
        schedule.retain(&keys, at(100));
        assert!(schedule.due().unwrap() >= at(110));
        schedule.alarm(&keys[1], at(101));
        assert_eq!(schedule.next(at(104)).as_ref(), Some(&keys[1]));
        schedule.retain(&keys, at(105));
        assert_eq!(schedule.next(at(109)), None);
        assert_eq!(schedule.next(at(111)).as_ref(), Some(&keys[0]));
        // A key that comes when the start is long over.
        let later = [KeyId::from("c")];
        schedule.retain(&later, at(200));
        assert_eq!(schedule.next(at(201)).as_ref(), Some(&later[0]));
    }

    proptest! {
        #[test]
        fn a_key_is_never_asked_sooner_than_the_gap_nor_forgotten(
            steps in prop::collection::vec((0..4_u8, 0..100_u64, 0..2_000_u64), 1..100),
        ) {
            let (mut schedule, keys) = schedule(1);
            let (mut now, mut last) = (0, None);
            for (what, pause, wait) in steps {
                now += pause;
                schedule.alarm(&keys[0], at(now));
                if let Some(key) = schedule.next(at(now)) {
                    if let Some(last) = last {
                        prop_assert!(now - last >= 5, "{last} {now}");
                    }
                    last = Some(now);
                    let next = match what {
                        0 => Next::Well { change: Some(SECOND * wait as u32) },
                        1 => Next::OutFor(SECOND * wait as u32),
                        2 => Next::Out,
                        _ => Next::Failed,
                    };
                    schedule.answered(&key, next, at(now));
                }
                prop_assert!(schedule.due().unwrap() <= at(now + 1_100));
            }
        }
    }
}
