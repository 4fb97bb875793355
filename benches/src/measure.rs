//! Rounds in turns, and the ratio of the quick ones.

use std::time::{Duration, Instant};

/// Figures of one subject beside its baseline.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds for one operation of the subject: of twenty rounds, about one took less. What else
    /// the machine does only ever adds to a round.
    pub nanos: f64,
    /// Nanoseconds for one operation of the baseline.
    pub baseline_nanos: f64,
}

impl Figures {
    /// Returns how many operations of the baseline one of the subject costs.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.nanos / self.baseline_nanos
    }
}

/// Runs `subject` and `baseline` in turns. Each is called with a number of operations to do in
/// a row; both get about `round` of time, `rounds` times.
pub fn interleaved(
    rounds: usize,
    round: Duration,
    mut baseline: impl FnMut(u64),
    mut subject: impl FnMut(u64),
) -> Figures {
    let many_baseline = calibrate(round, &mut baseline);
    let many_subject = calibrate(round, &mut subject);
    let (mut of_baseline, mut of_subject) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_baseline.push(time(&mut baseline, many_baseline));
        of_subject.push(time(&mut subject, many_subject));
    }
    Figures {
        nanos: quick(of_subject),
        baseline_nanos: quick(of_baseline),
    }
}

/// Returns how many operations take about `round`. The least of three tries counts: on a busy
/// machine, a pause in one would look like a slow operation.
fn calibrate(round: Duration, f: &mut impl FnMut(u64)) -> u64 {
    let mut many = 1;
    loop {
        let nanos = (0..3).map(|_| time(f, many)).fold(f64::MAX, f64::min) * many as f64;
        if nanos > round.as_nanos() as f64 / 4.0 {
            return ((many as f64 * round.as_nanos() as f64 / nanos) as u64).max(1);
        }
        many *= 4;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bench reads the machine's clock"
)]
fn time(f: &mut impl FnMut(u64), many: u64) -> f64 {
    let begun = Instant::now();
    f(many);
    begun.elapsed().as_nanos() as f64 / many as f64
}

fn quick(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 20).copied().unwrap_or(f64::NAN)
}
