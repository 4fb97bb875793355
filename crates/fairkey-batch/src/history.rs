//! What happened when: [`History`], in steps that grow with the run, and [`Times`], of which
//! percentiles can be told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fairkey_core::Cost;

/// The shortest step.
const STEP: Duration = Duration::from_millis(250);
/// The most steps; when there are more, each two become one.
const STEPS: usize = 240;
/// Each doubling of a time is told apart in so many parts: a percentile is at most an eighth off.
const PARTS: u64 = 8;
/// Times of 2^40 µs and more, which is twelve days, are counted as that.
const OCTAVES: u64 = 40;
/// How many causes are told apart in one step.
const CAUSES: usize = 24;
/// What others are called.
const OTHERS: &str = "others";

/// How a run went over time, in at most 240 steps of equal length, however long the run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    step: Duration,
    steps: Vec<Step>,
}

/// What happened in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Rows that were answered.
    pub answered: u64,
    /// Rows that failed.
    pub failed: u64,
    /// What the answers used.
    pub cost: Cost,
    /// The most rows that were in flight.
    pub in_flight: u64,
    /// The most that might be.
    pub limit: u64,
    /// How long the rows took that were answered, from their begin on, waiting included.
    pub took: Times,
    /// How long of that they waited for keys.
    pub waited: Times,
    /// Attempts that were refused, by cause, when their calls ended.
    pub refusals: BTreeMap<String, u64>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            step: STEP,
            steps: Vec::new(),
        }
    }
}

impl History {
    /// Returns how long a step is.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.step
    }

    /// Returns the steps, the first of the run first. The last one may not be over.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns how long all rows took that were answered.
    #[must_use]
    pub fn took(&self) -> Times {
        self.sum(|step| &step.took)
    }

    /// Returns how long all rows waited for keys that were answered.
    #[must_use]
    pub fn waited(&self) -> Times {
        self.sum(|step| &step.waited)
    }

    fn sum<'a>(&'a self, of: impl Fn(&'a Step) -> &'a Times) -> Times {
        let mut all = Times::default();
        self.steps.iter().for_each(|step| all.merge(of(step)));
        all
    }

    /// A row was answered, so long after the run began.
    pub(crate) fn answered(&mut self, at: Duration, took: Duration, waited: Duration, cost: Cost) {
        let step = self.at(at);
        step.answered += 1;
        step.cost += cost;
        step.took.note(took);
        step.waited.note(waited);
    }

    /// A row failed.
    pub(crate) fn failed(&mut self, at: Duration) {
        self.at(at).failed += 1;
    }

    /// An attempt was refused.
    pub(crate) fn refused(&mut self, at: Duration, cause: &str) {
        self.at(at).refuse(cause, 1);
    }

    /// So many rows are in flight, of so many that might be.
    pub(crate) fn level(&mut self, at: Duration, in_flight: u64, limit: u64) {
        let step = self.at(at);
        step.in_flight = step.in_flight.max(in_flight);
        step.limit = step.limit.max(limit);
    }

    fn at(&mut self, at: Duration) -> &mut Step {
        let place = loop {
            let place = at.as_nanos() / self.step.as_nanos();
            match usize::try_from(place) {
                Ok(place) if place < STEPS => break place,
                _ => self.halve(),
            }
        };
        if place >= self.steps.len() {
            self.steps.resize_with(place + 1, Step::default);
        }
        &mut self.steps[place]
    }

    /// Makes one step of each two.
    fn halve(&mut self) {
        self.step = self.step.saturating_mul(2);
        let mut steps = std::mem::take(&mut self.steps).into_iter();
        while let Some(mut step) = steps.next() {
            if let Some(next) = steps.next() {
                step.merge(&next);
            }
            self.steps.push(step);
        }
    }
}

impl Step {
    fn refuse(&mut self, cause: &str, n: u64) {
        if let Some(count) = self.refusals.get_mut(cause) {
            *count += n;
        } else if self.refusals.len() < CAUSES {
            self.refusals.insert(cause.to_owned(), n);
        } else {
            *self.refusals.entry(OTHERS.to_owned()).or_default() += n;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.cost += other.cost;
        self.in_flight = self.in_flight.max(other.in_flight);
        self.limit = self.limit.max(other.limit);
        self.took.merge(&other.took);
        self.waited.merge(&other.waited);
        for (cause, n) in &other.refusals {
            self.refuse(cause, *n);
        }
    }
}

/// Many times, counted by how long they are: what is told of them is at most an eighth off.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Empty, or one for each part of each octave of microseconds, as far as there are any.
    counts: Vec<u32>,
    count: u64,
    longest: Duration,
}

impl Times {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the longest, exactly; zero where there is none.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns a time that at least this share of them, from 0 to 1, do not exceed, and that is at
    /// most an eighth longer than need be. `None` where there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let wanted = ((self.count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(highest(bucket as u64).min(self.longest));
            }
        }
        Some(self.longest)
    }

    /// Counts a time.
    pub(crate) fn note(&mut self, time: Duration) {
        let bucket = usize::try_from(bucket(time)).unwrap_or_default();
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    fn merge(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.count += other.count;
        self.longest = self.longest.max(other.longest);
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("count", &self.count)
            .field("half", &self.quantile(0.5))
            .field("longest", &self.longest)
            .finish()
    }
}

/// Times below [`PARTS`] µs have a bucket of their own each; above, an octave has [`PARTS`].
fn bucket(time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let micros = micros.min((1 << OCTAVES) - 1);
    if micros < PARTS {
        return micros;
    }
    let shift = u64::from(micros.ilog2() - PARTS.ilog2());
    shift * PARTS + (micros >> shift)
}

/// The longest time of a bucket.
fn highest(bucket: u64) -> Duration {
    if bucket < PARTS {
        return Duration::from_micros(bucket + 1);
    }
    let shift = bucket / PARTS - 1;
    Duration::from_micros((bucket - shift * PARTS + 1) << shift)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    proptest! {
        #[test]
        fn a_quantile_is_no_shorter_than_it_is_and_an_eighth_longer_at_most(
            mut micros in proptest::collection::vec(0..100_000_000_000_u64, 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let mut times = Times::default();
            for micros in &micros {
                times.note(Duration::from_micros(*micros));
            }
            micros.sort_unstable();
            let at = ((micros.len() as f64 * share).ceil() as usize).max(1) - 1;
            let exact = Duration::from_micros(micros[at]);
            let told = times.quantile(share).unwrap();
            prop_assert!(told >= exact, "{told:?} of {exact:?}");
            let longest = exact.mul_f64(1.0 + 1.0 / PARTS as f64) + Duration::from_micros(1);
            prop_assert!(told <= longest, "{told:?} of {exact:?}");
            prop_assert_eq!(times.count(), micros.len() as u64);
        }

        #[test]
        fn nothing_is_lost_however_long_a_run_is(
            at in proptest::collection::vec(0..400_000_u64, 1..100),
        ) {
            let mut history = History::default();
            for millis in &at {
                let at = Duration::from_millis(*millis * 1_000);
                history.answered(at, SECOND, SECOND / 2, Cost::ONE);
                history.failed(at);
                history.refused(at, "network");
                history.level(at, 3, 4);
            }
            let rows = at.len() as u64;
            let steps = history.steps();
            prop_assert!(steps.len() <= STEPS);
            prop_assert_eq!(steps.iter().map(|step| step.answered).sum::<u64>(), rows);
            prop_assert_eq!(steps.iter().map(|step| step.failed).sum::<u64>(), rows);
            prop_assert_eq!(steps.iter().map(|step| u64::from(step.cost.requests)).sum::<u64>(), rows);
            let refusals = steps.iter().flat_map(|step| step.refusals.values()).sum::<u64>();
            prop_assert_eq!(refusals, rows);
            prop_assert_eq!(history.took().count(), rows);
            prop_assert_eq!(history.waited().longest(), SECOND / 2);
            let last = Duration::from_millis(*at.iter().max().unwrap() * 1_000);
            let place = (last.as_nanos() / history.step().as_nanos()) as usize;
            prop_assert_eq!(steps.len(), place + 1, "the last is where it happened");
            prop_assert_eq!(steps[place].in_flight, 3);
        }
    }

    #[test]
    fn causes_are_bounded() {
        let mut history = History::default();
        for n in 0..100 {
            history.refused(SECOND, &format!("cause-{n}"));
        }
        let refusals = &history.steps().last().unwrap().refusals;
        assert_eq!(refusals.len(), CAUSES + 1);
        assert_eq!(refusals[OTHERS], 100 - CAUSES as u64);
    }

    #[test]
    fn no_time_is_too_long() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        times.note(Duration::MAX);
        times.note(Duration::ZERO);
        assert_eq!(times.longest(), Duration::MAX);
        assert_eq!(times.quantile(0.0), Some(Duration::from_micros(1)));
        assert!(times.quantile(1.0).unwrap() >= Duration::from_secs(1_000_000));
        let mut history = History::default();
        history.failed(Duration::from_secs(1 << 40));
        assert!(history.steps().len() <= STEPS);
    }
}
