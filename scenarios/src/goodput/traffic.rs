//! What is asked for: calls of all sizes, at random times.

use std::time::Duration;

use fairkey_core::Random;
use fairkey_openrouter::ChatRequest;

/// Tokens of half of the prompts at most, and the deviation of their logarithms: the mean is 600.
const PROMPT: (f64, f64) = (400.0, 0.9);
/// The same of answers: the mean is 207.
pub(super) const ANSWER: (u64, f64) = (150, 0.8);
/// What a caller allows an answer to have.
const MAX_TOKENS: u64 = 1024;

/// A sequence of calls that follows from its seed: the same requests in the same order, however
/// fast they come.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// What all chance follows from.
    pub seed: u64,
    /// Models in turn.
    pub models: &'static [&'static str],
    /// Whether each call says how long its answer may be; else every other one does.
    pub bounded: bool,
}

impl Traffic {
    /// Returns the request of call `n`.
    #[must_use]
    pub fn request(&self, n: usize) -> ChatRequest {
        let mut chance = Random::new(self.seed ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (median, sigma) = PROMPT;
        let tokens = (median * (sigma * normal(&mut chance)).exp()).clamp(8.0, 8_000.0);
        let mut text = format!("{n} {:x} ", chance.next_u64());
        let bytes = tokens as usize * 4;
        while text.len() < bytes {
            text.push_str("so many words ");
        }
        text.truncate(bytes.max(8));
        let request = ChatRequest::new(self.models[n % self.models.len()]).user(text);
        if self.bounded || n.is_multiple_of(2) {
            request.max_tokens(MAX_TOKENS)
        } else {
            request
        }
    }

    /// Returns when calls come within `time`: a Poisson process of so many a second.
    #[must_use]
    pub fn arrivals(&self, a_second: f64, time: Duration) -> Vec<Duration> {
        let mut chance = Random::new(self.seed ^ 0xa221_7a15);
        let (mut at, mut arrivals) = (0.0, Vec::new());
        loop {
            at -= (1.0 - chance.unit()).ln() / a_second;
            if at >= time.as_secs_f64() {
                return arrivals;
            }
            arrivals.push(Duration::from_secs_f64(at));
        }
    }
}

/// Box and Muller.
fn normal(chance: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - chance.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * chance.unit()).cos()
}
