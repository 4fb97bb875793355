//! What a call costs for any length of prompt and answer: [`Quote`].

use std::sync::Arc;

use fairkey_openrouter::{Model, ModelList};

use super::demand::Demand;
use super::learned::Reading;

/// What is known of a call before it is made, for whoever plans with money: made by
/// [`Client::quote`](crate::Client::quote).
///
/// An [`Estimate`](crate::Estimate) is two numbers out of it; this one can be asked what the call
/// costs for any length of its prompt and its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Quote {
    /// Tokens of the prompt, by the ratio of tokens to bytes that was learned of the first model.
    pub prompt_tokens: u64,
    /// The most tokens that its text can have, in any vocabulary: one for each byte. What is no
    /// text counts by the same rules as in `prompt_tokens`, which are no bounds.
    pub prompt_tokens_most: u64,
    /// The most tokens of an answer, where the request says so.
    pub limit: Option<u64>,
    /// How many answers the request wants; 0 where the endpoint writes none, as embeddings.
    pub choices: u64,
    /// The length that half of the answers of the first model did not exceed, in tokens; of a
    /// model that has not answered yet, a belief.
    pub output_p50: u64,
    /// The length that nine in ten of them did not exceed.
    pub output_p90: u64,
    /// How many answers of the model both rest on.
    pub answers: u64,
    /// The models that may serve the call, the one that is asked for first; empty where the request
    /// names none.
    pub models: Vec<Arc<str>>,
    pub(super) demand: Option<Demand>,
    pub(super) list: Option<Arc<ModelList>>,
    /// Where each of `models` stands in the list.
    pub(super) places: Vec<Option<usize>>,
}

impl Quote {
    pub(super) fn new(demand: Option<Demand>, known: Reading, medians: u64) -> Self {
        let tokens = |ratio| (demand.as_ref()).map_or(0, |demand| demand.prompt_tokens(ratio));
        let (text, most) = (tokens(known.tokens_per_byte), tokens(1.0));
        let generates = demand.as_ref().filter(|demand| demand.generates);
        Self {
            prompt_tokens: text,
            prompt_tokens_most: most.max(text),
            limit: generates.and_then(Demand::limit),
            choices: generates.map_or(0, Demand::choices),
            output_p50: medians,
            output_p90: known.output_p90,
            answers: known.answers,
            models: Vec::new(),
            demand,
            list: None,
            places: Vec::new(),
        }
    }

    /// Returns the model at this place of [`models`](Self::models) as the catalogue lists it;
    /// `None` where it does not, or there is no catalogue.
    #[must_use]
    pub fn listed(&self, at: usize) -> Option<&Model> {
        let place = (*self.places.get(at)?)?;
        self.list.as_ref()?.data.get(place)
    }

    /// Returns what the call costs in US dollars where this one of its models serves it, with so
    /// many tokens in the prompt and in each answer; `None` where no price is known.
    #[must_use]
    pub fn usd(&self, at: usize, prompt_tokens: u64, output_tokens: u64) -> Option<f64> {
        let demand = self.demand.as_ref()?;
        super::prices::usd_of(self.listed(at)?, demand, prompt_tokens, output_tokens)
    }

    /// Returns the longest answer that this one of its models can give to a prompt of so many
    /// tokens, whatever the request allows; `None` where the catalogue does not say.
    #[must_use]
    pub fn ceiling(&self, at: usize, prompt_tokens: u64) -> Option<u64> {
        super::prices::ceiling(self.listed(at)?, prompt_tokens)
    }
}
