//! What is known of models, of which there may be any number: [`Estimates`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use fairkey_openrouter::{ModelList, Usage};
use foldhash::fast::RandomState;

use super::demand::Demand;
use super::learned::{Learned, Reading};
use super::memory::ModelMemory;
use super::prices::Prices;
use super::{Estimate, ModelEstimate, Quote};

/// How many models are known at most; of who is too many, the one that was of no use for longest
/// goes.
pub(crate) const MOST_MODELS: usize = 512;
/// Longer names are not remembered.
pub(super) const LONGEST_NAME: usize = 256;
/// How often what was learned of a model is worth writing down.
const WORTH_SAVING: u64 = 64;

/// What came of learning from an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// What is known of the model is worth writing down.
    pub(crate) worth_saving: bool,
    /// Calls of the model that were estimated before would be estimated otherwise now.
    pub(crate) is_news: bool,
}

/// What is known of models. About 2 kB for each of at most [`MOST_MODELS`].
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    models: RwLock<HashMap<Arc<str>, Arc<Learned>, RandomState>>,
    prices: Prices,
    /// Counts looks: a time that needs no clock.
    looks: AtomicU64,
    unpriced: AtomicU64,
}

impl Estimates {
    /// Estimates what a call needs, with the prices of a list where there is one. Waits for
    /// nothing, and learns nothing.
    pub(crate) fn of(
        &self,
        demand: Option<&Demand>,
        model: Option<&str>,
        prices: Option<&Arc<ModelList>>,
    ) -> Estimate {
        let Some(demand) = demand else {
            return Estimate::default();
        };
        let known = model.and_then(|model| self.find(model));
        let known = known.map_or(Reading::PRIOR, |known| known.quick());
        let prompt_tokens = demand.prompt_tokens(known.tokens_per_byte);
        let micro_usd = prices.zip(model).and_then(|(list, model)| {
            (self.prices).most(list, model, demand, prompt_tokens, known.output_p90)
        });
        Estimate {
            prompt_tokens,
            output_tokens: demand.output_tokens(known.output_p90),
            micro_usd,
            answers: known.answers,
        }
    }

    /// Returns what is known of a call that one of these models serves.
    pub(crate) fn quote(
        &self,
        demand: Option<Demand>,
        models: Vec<Arc<str>>,
        prices: Option<Arc<ModelList>>,
    ) -> Quote {
        let known = models.first().and_then(|model| self.find(model));
        let median = known.as_ref().map(|known| known.median());
        let reading = known.map_or(Reading::PRIOR, |known| known.quick());
        let mut quote = Quote::new(demand, reading, median.unwrap_or(reading.output_p90 / 2));
        if let Some(list) = &prices {
            let place = |model: &Arc<str>| self.prices.place(list, model);
            quote.places = models.iter().map(place).collect();
        }
        quote.models = models;
        quote.list = prices;
        quote
    }

    /// Estimates the tokens of a call that waits, with what is known now.
    pub(crate) fn tokens(&self, demand: &Demand, model: Option<&str>) -> u64 {
        let known = model.and_then(|model| self.find(model));
        let known = known.map_or(Reading::PRIOR, |known| known.quick());
        let prompt = demand.prompt_tokens(known.tokens_per_byte);
        prompt.saturating_add(demand.output_tokens(known.output_p90))
    }

    /// Returns what calls of a model have used of the tokens that were estimated for them, of late;
    /// 1 where nothing is known.
    pub(crate) fn part_used(&self, model: Option<&str>) -> f64 {
        let known = model.and_then(|model| self.find(model));
        known.map_or(1.0, |known| known.part_used())
    }

    fn find(&self, model: &str) -> Option<Arc<Learned>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let known = models.get(model)?;
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        known.used.store(look, Ordering::Relaxed);
        Some(Arc::clone(known))
    }

    /// Learns from what an answer of a model used, at so many seconds since 1970; `estimated` are
    /// the tokens that were reserved for it, where that was an estimate of ours.
    pub(crate) fn learn(
        &self,
        model: &Arc<str>,
        demand: &Demand,
        usage: &Usage,
        estimated: Option<u64>,
        at: u64,
    ) -> Learnt {
        if model.is_empty() || model.len() > LONGEST_NAME {
            return Learnt::default();
        }
        let known = match self.find(model) {
            Some(known) => known,
            None => self.insert(Arc::clone(model), Learned::new()),
        };
        let is_news = known.learn(demand, usage, estimated, at);
        Learnt {
            worth_saving: known.quick().answers % WORTH_SAVING == 1,
            is_news,
        }
    }

    fn insert(&self, model: Arc<str>, new: Learned) -> Arc<Learned> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if !models.contains_key(&model) && models.len() >= MOST_MODELS {
            let used = |learned: &Arc<Learned>| learned.used.load(Ordering::Relaxed);
            let oldest = models.iter().min_by_key(|(_, learned)| used(learned));
            if let Some((oldest, _)) = oldest.map(|(name, learned)| (Arc::clone(name), learned)) {
                models.remove(&oldest);
            }
        }
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        new.used.store(look, Ordering::Relaxed);
        // Whoever was first.
        Arc::clone(models.entry(model).or_insert_with(|| Arc::new(new)))
    }

    /// Counts a call for which no price was known.
    pub(crate) fn count_unpriced(&self) {
        self.unpriced.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many there were.
    pub(crate) fn unpriced(&self) -> u64 {
        self.unpriced.load(Ordering::Relaxed)
    }

    /// Returns what is known of each model, by name.
    pub(crate) fn read(&self) -> Vec<ModelEstimate> {
        let entry = |(model, learned): &(Arc<str>, Arc<Learned>)| {
            let read = learned.read();
            ModelEstimate {
                model: Arc::clone(model),
                answers: read.answers,
                tokens_per_byte: read.tokens_per_byte,
                output_p90: read.output_p90,
                mean_ratio: read.mean_ratio,
                error_p90: read.error_p90,
            }
        };
        let mut all: Vec<_> = self.all().iter().map(entry).collect();
        all.sort_by(|a, b| a.model.cmp(&b.model));
        all
    }

    fn all(&self) -> Vec<(Arc<str>, Arc<Learned>)> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let all = models.iter();
        all.map(|(model, learned)| (Arc::clone(model), Arc::clone(learned)))
            .collect()
    }

    /// Returns what is kept for the next run, those that were last of use first.
    pub(crate) fn memories(&self) -> Vec<ModelMemory> {
        let mut all = self.all();
        all.sort_by_key(|(_, learned)| std::cmp::Reverse(learned.used.load(Ordering::Relaxed)));
        let memory = |(model, learned): (Arc<str>, Arc<Learned>)| ModelMemory {
            model: model.as_ref().to_owned(),
            ..learned.memory()
        };
        let all = all.into_iter().map(memory);
        all.filter(|memory| memory.answers > 0).collect()
    }

    /// Takes up what was kept, at so many seconds since 1970.
    pub(crate) fn restore(&self, memories: &[ModelMemory], now: u64) {
        for memory in memories.iter().take(MOST_MODELS).rev() {
            let learned = Learned::remembered(memory, memory.weight(now));
            self.insert(memory.model.as_str().into(), learned);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all().len()
    }
}
