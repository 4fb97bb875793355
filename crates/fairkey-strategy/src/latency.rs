//! How long a key takes: [`Latency`], a moving average in one word for each key.

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{Candidate, KeySet, Outcome, Report, Scope, Slots, Timestamp};

/// How fast old times are forgotten: tau of the exponential, as Finagle and linkerd have it.
pub(crate) const DECAY: Duration = Duration::from_secs(10);

/// What a failure counts as, at least (linkerd's load biaser).
const FAILURE: Duration = Duration::from_secs(5);

/// The most that a hint to come back later counts as.
const LONGEST: Duration = Duration::from_secs(300);

/// Moving averages of how long each key takes until its first content, weighed by age.
///
/// A time that is not heard of again fades, so that a key which was slow once is looked at again.
#[derive(Debug)]
pub(crate) struct Latency {
    of: Slots<AtomicU64>,
    decay: Duration,
    /// Whether a time above the average takes its place at once.
    peaks: bool,
}

impl Latency {
    pub(crate) const fn new(peaks: bool) -> Self {
        Self {
            of: Slots::new(),
            decay: DECAY,
            peaks,
        }
    }

    pub(crate) fn decay(&mut self, decay: Duration) {
        self.decay = decay.max(Duration::from_millis(1));
    }

    pub(crate) fn rekey(&self, keys: &KeySet) {
        self.of
            .grow(keys.slots(), || AtomicU64::new(Word::UNKNOWN.0));
        for slot in keys.fresh() {
            if let Some(word) = self.of.get(slot.index()) {
                // Relaxed, here and below: the word is all there is.
                word.store(Word::UNKNOWN.0, Ordering::Relaxed);
            }
        }
    }

    /// Returns the average as it has faded until `now`, in microseconds; `None` where nothing was
    /// heard of the key yet.
    #[inline]
    pub(crate) fn micros(&self, key: Candidate<'_>, now: Timestamp) -> Option<f64> {
        let word = self.word(key)?;
        Some(word.micros()? * self.share_left(word.age(now)))
    }

    /// Returns the average when it was last heard of, in microseconds.
    pub(crate) fn micros_as_heard(&self, key: Candidate<'_>) -> Option<f64> {
        self.word(key)?.micros()
    }

    /// Learns from the end of a call.
    pub(crate) fn learn(&self, key: Candidate<'_>, report: &Report) {
        let Some((time, failed)) = time_of(report) else {
            return;
        };
        let (Some(cell), now) = (self.of.get(key.slot().index()), report.ended) else {
            return;
        };
        let time = micros(time);
        let mut before = cell.load(Ordering::Relaxed);
        loop {
            let word = Word(before);
            let average = match word.micros() {
                None => time,
                Some(average) if time > average && (self.peaks || failed) => time,
                Some(average) => {
                    let left = self.share_left(word.age(now));
                    average * left + time * (1.0 - left)
                }
            };
            let after = Word::new(average, word.later(now)).0;
            let (order, missed) = (Ordering::Relaxed, Ordering::Relaxed);
            match cell.compare_exchange_weak(before, after, order, missed) {
                Ok(_) => return,
                Err(newer) => before = newer,
            }
        }
    }

    #[inline]
    fn word(&self, key: Candidate<'_>) -> Option<Word> {
        let word = self.of.get(key.slot().index())?;
        Some(Word(word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn share_left(&self, age: Duration) -> f64 {
        if age.is_zero() {
            return 1.0;
        }
        (-age.as_secs_f64() / self.decay.as_secs_f64()).exp()
    }
}

/// Returns what a call says about how long its key takes, and whether that is a failure's word.
/// What is nobody's fault, or not the key's, says nothing, unless content came before.
fn time_of(report: &Report) -> Option<(Duration, bool)> {
    if let Some(content) = report.first_content {
        return Some((content.since(report.begun), false));
    }
    let took = report.ended.since(report.begun);
    match report.outcome {
        Outcome::Success => Some((took, false)),
        Outcome::Fault { scope, retry, .. } => {
            let ours = matches!(scope, Scope::Request | Scope::Caller | Scope::Local);
            let hint = retry.at(report.ended).map(|at| at.since(report.ended));
            let counts = took.max(FAILURE).max(hint.unwrap_or_default().min(LONGEST));
            (!ours).then_some((counts, true))
        }
        _ => None,
    }
}

/// As a number of microseconds, at least one: what takes no time would bear any load.
fn micros(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 1e3).max(1.0)
}

/// An average in its upper half, in microseconds as an `f32`, and when it was made in the lower, in
/// steps of about a millisecond that begin anew after 52 days.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    const UNKNOWN: Self = Self(0);
    /// Nanoseconds in a step, as a power of two.
    const STEP: u32 = 20;

    fn new(micros: f64, step: u32) -> Self {
        Self(u64::from((micros as f32).to_bits()) << 32 | u64::from(step))
    }

    #[inline]
    fn micros(self) -> Option<f64> {
        let micros = f32::from_bits((self.0 >> 32) as u32);
        (micros > 0.0).then_some(micros.into())
    }

    fn step(now: Timestamp) -> u32 {
        (now.as_nanos() >> Self::STEP) as u32
    }

    /// Returns the time since it was made; none where that was later, by another thread's clock.
    #[inline]
    fn age(self, now: Timestamp) -> Duration {
        let steps = Self::step(now).wrapping_sub(self.0 as u32);
        match i32::try_from(steps) {
            Ok(steps) => Duration::from_nanos((steps as u64) << Self::STEP),
            Err(_) => Duration::ZERO,
        }
    }

    /// Returns the step of `now`, or its own where that is later.
    fn later(self, now: Timestamp) -> u32 {
        let now = Self::step(now);
        match self.micros() {
            Some(_) if i32::try_from(now.wrapping_sub(self.0 as u32)).is_err() => self.0 as u32,
            _ => now,
        }
    }
}

#[cfg(all(test, not(fairkey_loom)))]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_word_keeps_the_average_and_its_age() {
        let word = Word::new(1_234_567.0, Word::step(at(100.0)));
        assert_eq!(word.micros(), Some(1_234_567.0));
        let age = word.age(at(103.0)).as_secs_f64();
        assert!((age - 3.0).abs() < 0.002, "{age}");
        assert_eq!(word.age(at(99.0)), Duration::ZERO);
        assert_eq!(word.later(at(99.0)), Word::step(at(100.0)));
        assert_eq!(Word::UNKNOWN.micros(), None);
    }

    #[test]
    fn steps_that_begin_anew_do_not_confuse_it() {
        let end = Timestamp::from_nanos((u64::from(u32::MAX) - 1_000) << Word::STEP);
        let word = Word::new(5.0, Word::step(end));
        let age = word.age(end + Duration::from_secs(10)).as_secs_f64();
        assert!((age - 10.0).abs() < 0.002, "{age}");
    }

    #[test]
    fn what_a_call_says_depends_on_whose_fault_it_was() {
        use fairkey_core::{Cost, FaultKind, Retry};
        let report = |outcome, first_content| Report {
            outcome,
            begun: at(10.0),
            first_content,
            ended: at(11.0),
            reserved: Cost::ONE,
            actual: None,
        };
        let secs = Duration::from_secs;
        let fault = |scope| Outcome::fault(scope, FaultKind::Failed);
        let time = |outcome| time_of(&report(outcome, None));
        assert_eq!(time(Outcome::Success), Some((secs(1), false)));
        assert_eq!(time(Outcome::Neutral), None);
        assert_eq!(time(fault(Scope::Provider)), Some((secs(5), true)));
        assert_eq!(time(fault(Scope::Request)), None);
        assert_eq!(time(fault(Scope::Caller)), None);
        let hinted = |wait| time(fault(Scope::Key).with_retry(Retry::After(secs(wait))));
        assert_eq!(hinted(60), Some((secs(60), true)));
        assert_eq!(hinted(86_400), Some((secs(300), true)));
        // What broke after its first content took as long as that until then.
        let broken = time_of(&report(fault(Scope::Provider), Some(at(10.25))));
        assert_eq!(broken, Some((Duration::from_millis(250), false)));
    }
}
