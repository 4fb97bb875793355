//! What is known of one model: [`Learned`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairkey_openrouter::Usage;
use fairkey_openrouter::sizing::TOKENS_PER_BYTE;

use super::demand::Demand;
use super::histogram::Histogram;
use super::memory::ModelMemory;

/// How much a new answer counts, once there are enough.
const ALPHA: f64 = 0.05;
/// No text has more tokens for a byte, or fewer; what says so has counted something else.
pub(super) const RATIOS: std::ops::RangeInclusive<f64> = 1.0 / 64.0..=2.0;
/// A prompt that is longer counts as one of this length: one alone shall not decide.
const LONGEST_BYTES: f64 = 16_384.0;
/// The answer that a model is believed to give before it has given any. It counts as one: among
/// ten it is the longest, so that with the ninth answer the model's own decide.
pub(super) const PRIOR_OUTPUT: u64 = 1_024;
/// The quantile of answers that is reserved.
const QUANTILE: f64 = 0.9;
/// By how much a number must have changed to be news for those whose calls were estimated before.
const NEWS: f64 = 1.25;
/// A relative error is counted in parts of this.
const PARTS: f64 = 1_000.0;

/// What is known of one model. The numbers that calls need are read without a lock.
#[derive(Debug)]
pub(super) struct Learned {
    tokens_per_byte: AtomicU64,
    output_p90: AtomicU64,
    answers: AtomicU64,
    /// When it was last asked for, in calls of the whole table.
    pub(super) used: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many prompts have said something of the ratio; the first belief is one.
    prompts: f64,
    /// Means, in which the recent count for more: their ratio is that of all tokens to all bytes,
    /// where the mean of ratios would count short prompts too much.
    mean_tokens: f64,
    mean_bytes: f64,
    output: Histogram,
    errors: Histogram,
    mean_ratio: Option<f64>,
    estimates: f64,
    /// Means of what was used, and of what was estimated.
    mean_used: f64,
    mean_estimated: f64,
    /// When it was last told of, in seconds since 1970.
    at: u64,
    /// The ratio and the quantile that were news last.
    news: (f64, f64),
}

/// What is known of a model at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) tokens_per_byte: f64,
    pub(super) output_p90: u64,
    pub(super) answers: u64,
    pub(super) mean_ratio: Option<f64>,
    pub(super) error_p90: Option<f64>,
}

impl Reading {
    /// What is believed of a model that nothing is known of.
    pub(super) const PRIOR: Self = Self {
        tokens_per_byte: TOKENS_PER_BYTE,
        output_p90: PRIOR_OUTPUT,
        answers: 0,
        mean_ratio: None,
        error_p90: None,
    };
}

impl Learned {
    pub(super) fn new() -> Self {
        let mut output = Histogram::default();
        output.add(PRIOR_OUTPUT);
        Self {
            tokens_per_byte: AtomicU64::new(TOKENS_PER_BYTE.to_bits()),
            output_p90: AtomicU64::new(PRIOR_OUTPUT),
            answers: AtomicU64::new(0),
            used: AtomicU64::new(0),
            state: Mutex::new(State {
                prompts: 1.0,
                mean_tokens: 0.0,
                mean_bytes: 0.0,
                output,
                errors: Histogram::default(),
                mean_ratio: None,
                estimates: 0.0,
                mean_used: 0.0,
                mean_estimated: 0.0,
                at: 0,
                news: (TOKENS_PER_BYTE, PRIOR_OUTPUT as f64),
            }),
        }
    }

    /// Takes up what an earlier run has learned, which counts as `weight` answers.
    pub(super) fn remembered(memory: &ModelMemory, weight: f64) -> Self {
        let new = Self::new();
        {
            let mut state = new.state();
            state.prompts = weight;
            state.mean_bytes = memory.mean_bytes;
            state.mean_tokens = memory.tokens_per_byte * memory.mean_bytes;
            state.output = Histogram::default();
            // The halves below and above the median, and enough at the top for the quantile.
            let weight = weight as f32;
            state.output.add_weighed(memory.output_p50, weight * 0.8);
            state.output.add_weighed(memory.output_p90, weight * 0.2);
            state.at = memory.at;
            new.publish(&state);
        }
        new.answers.store(memory.answers, Ordering::Relaxed);
        new
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, state: &State) {
        let order = Ordering::Relaxed;
        self.tokens_per_byte.store(state.ratio().to_bits(), order);
        self.output_p90
            .store(state.output.quantile(QUANTILE), order);
    }

    /// Returns what calls need.
    pub(super) fn quick(&self) -> Reading {
        let order = Ordering::Relaxed;
        Reading {
            tokens_per_byte: f64::from_bits(self.tokens_per_byte.load(order)),
            output_p90: self.output_p90.load(order),
            answers: self.answers.load(order),
            ..Reading::PRIOR
        }
    }

    /// Returns the length that half of the answers did not exceed.
    pub(super) fn median(&self) -> u64 {
        self.state().output.quantile(0.5)
    }

    /// Returns how much of all that was estimated was used; 1 where nothing is known. Steadier than
    /// the mean of ratios, since large calls count for more.
    pub(super) fn part_used(&self) -> f64 {
        let state = self.state();
        if state.mean_estimated > 0.0 {
            state.mean_used / state.mean_estimated
        } else {
            1.0
        }
    }

    /// Returns all that is known.
    pub(super) fn read(&self) -> Reading {
        let state = self.state();
        let has_errors = state.estimates > 0.0;
        Reading {
            mean_ratio: state.mean_ratio,
            error_p90: has_errors.then(|| state.errors.quantile(QUANTILE) as f64 / PARTS),
            ..self.quick()
        }
    }

    /// Returns what is kept for the next run, but for the name.
    pub(super) fn memory(&self) -> ModelMemory {
        let state = self.state();
        ModelMemory {
            model: String::new(),
            tokens_per_byte: state.ratio(),
            mean_bytes: state.mean_bytes.max(1.0),
            output_p50: state.output.quantile(0.5),
            output_p90: state.output.quantile(QUANTILE),
            answers: self.answers.load(Ordering::Relaxed),
            at: state.at,
        }
    }

    /// Learns from what an answer used, at so many seconds since 1970, and from how much was
    /// estimated for it. Tells whether its numbers are others now than they were when this was
    /// last told.
    pub(super) fn learn(
        &self,
        demand: &Demand,
        usage: &Usage,
        estimated: Option<u64>,
        at: u64,
    ) -> bool {
        let mut state = self.state();
        state.at = at;
        if usage.prompt_tokens > 0
            && let Some(tokens) = demand.text_tokens(usage.prompt_tokens)
        {
            state.prompt(tokens as f64, demand.size().bytes() as f64);
        }
        if demand.generates && usage.completion_tokens > 0 {
            let each = usage.completion_tokens.div_ceil(demand.choices().max(1));
            state.output.add(each);
        }
        if let Some(estimated) = estimated {
            state.error(usage.cost().tokens, estimated);
        }
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.publish(&state);
        state.is_news(self.output_p90.load(Ordering::Relaxed))
    }
}

impl State {
    fn ratio(&self) -> f64 {
        if self.mean_bytes > 0.0 {
            (self.mean_tokens / self.mean_bytes).clamp(*RATIOS.start(), *RATIOS.end())
        } else {
            TOKENS_PER_BYTE
        }
    }

    fn is_news(&mut self, p90: u64) -> bool {
        let (was, is) = (self.news, (self.ratio(), p90.max(1) as f64));
        let is_other = |was: f64, is: f64| is > was * NEWS || was > is * NEWS;
        let is_news = is_other(was.0, is.0) || is_other(was.1, is.1);
        if is_news {
            self.news = is;
        }
        is_news
    }

    fn prompt(&mut self, tokens: f64, bytes: f64) {
        let ratio = (tokens / bytes).clamp(*RATIOS.start(), *RATIOS.end());
        let bytes = bytes.min(LONGEST_BYTES);
        if self.mean_bytes == 0.0 {
            // As if the first belief had been seen with a prompt of this length.
            self.mean_bytes = bytes;
            self.mean_tokens = bytes * TOKENS_PER_BYTE;
        }
        self.prompts += 1.0;
        let alpha = ALPHA.max(1.0 / self.prompts);
        self.mean_tokens += alpha * (ratio * bytes - self.mean_tokens);
        self.mean_bytes += alpha * (bytes - self.mean_bytes);
    }

    fn error(&mut self, used: u64, estimated: u64) {
        if used == 0 {
            return;
        }
        let (used, estimated) = (used as f64, estimated.max(1) as f64);
        // The cast saturates.
        self.errors
            .add(((used - estimated).abs() / used * PARTS).round() as u64);
        self.estimates += 1.0;
        let mean = self.mean_ratio.unwrap_or(0.0);
        let alpha = ALPHA.max(1.0 / self.estimates);
        self.mean_ratio = Some(mean + alpha * (used / estimated - mean));
        let alpha = (ALPHA / 4.0).max(1.0 / self.estimates);
        self.mean_used += alpha * (used - self.mean_used);
        self.mean_estimated += alpha * (estimated - self.mean_estimated);
    }
}
