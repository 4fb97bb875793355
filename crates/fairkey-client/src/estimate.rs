//! What a call will need, estimated before it: [`Estimate`].
//!
//! Rate and money are two estimates. A limit of tokens wants the likeliest number, since what was
//! too much keeps others waiting; money wants the most that the upstream may hold for the call,
//! since that is what it refuses by.

mod demand;
mod histogram;
mod learned;
mod memory;
mod prices;
mod quote;
mod table;

use std::sync::Arc;

use fairkey_core::Cost;

use crate::Client;

pub use self::demand::MeasuredBody;
pub(crate) use self::demand::{Content, Demand};
pub(crate) use self::memory::ModelMemory;
pub use self::quote::Quote;
pub(crate) use self::table::{Estimates, MOST_MODELS};

/// What a call is expected to need: made by [`Client::estimate`], and by the client itself for every
/// call whose [`CallOptions::cost`](crate::CallOptions::cost) does not say.
///
/// The rate is `prompt + min(limit, p90) × answers`: the bytes of the prompt by a ratio that is
/// learned per model, and the limit that the request sets for the answer, or the length that nine in
/// ten of the model's answers did not exceed, whichever is less. The money is `prompt × price +
/// limit × price × answers`, with the model's own ceiling where the request sets no limit, and the
/// prices of cache writes, sounds, images and requests where they apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer, for limits of tokens.
    pub output_tokens: u64,
    /// Money in millionths of a US dollar: the most that the call is billed at the prices of the
    /// catalogue; `None` where they are not known, which counts as 0.
    pub micro_usd: Option<u64>,
    /// How many answers of the model it rests on.
    pub answers: u64,
}

impl Estimate {
    /// Returns what is reserved for it: one request, prompt and answer, and its money.
    #[must_use]
    pub fn cost(&self) -> Cost {
        Cost {
            requests: 1,
            tokens: self.prompt_tokens.saturating_add(self.output_tokens),
            micro_usd: self.micro_usd.unwrap_or(0),
        }
    }
}

/// What a client has learned of a model from its answers, and how near its estimates were: an entry
/// of [`ClientStats::estimates`](crate::ClientStats::estimates).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelEstimate {
    /// The model, as requests name it.
    pub model: Arc<str>,
    /// Answers that said what they used; since the client was built, and, fewer with age, before.
    pub answers: u64,
    /// Tokens of a prompt for each byte of its text.
    pub tokens_per_byte: f64,
    /// The length that nine in ten of its answers did not exceed, in tokens, to 12.5 %.
    pub output_p90: u64,
    /// Used over estimated tokens: the mean, in which recent answers count for more. 1 is exact,
    /// more is too little estimated; `None` before the first.
    pub mean_ratio: Option<f64>,
    /// The error that nine in ten estimates did not exceed, as a part of what was used, to 12.5 %;
    /// `None` before the first.
    pub error_p90: Option<f64>,
}

impl Client {
    /// Estimates what a `POST` of `body` to `path` will need, without sending it. Nothing is
    /// fetched: prices are known once [`Catalog::models`](crate::Catalog::models) was asked for.
    ///
    /// Takes a pass over the bytes of the body. What is no JSON object counts as nothing but a
    /// request.
    ///
    /// ```no_run
    /// # async fn example(client: fairkey_client::Client) -> Result<(), fairkey_client::CallError> {
    /// client.catalog().models().await?; // for the prices
    /// let body = br#"{"model":"a/b","max_tokens":500,"messages":[{"role":"user","content":"Hi"}]}"#;
    /// let estimate = client.estimate("/chat/completions", body);
    /// println!("{} tokens in, {} out", estimate.prompt_tokens, estimate.output_tokens);
    /// println!("at most {:?} micro-dollars", estimate.micro_usd);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn estimate(&self, path: &str, body: &[u8]) -> Estimate {
        self.estimate_content(&Content::read(path, body))
    }

    /// Does the same for a body that was measured already.
    #[must_use]
    pub fn estimate_measured(&self, body: &MeasuredBody) -> Estimate {
        self.estimate_content(&body.0)
    }

    fn estimate_content(&self, content: &Content) -> Estimate {
        let core = self.core();
        let prices = core.catalog.kept_models();
        let first = (content.model.clone()).or_else(|| content.models.first().cloned());
        let mut estimate =
            core.estimates
                .of(content.demand.as_ref(), first.as_deref(), prices.as_ref());
        for other in &content.models {
            let other = core
                .estimates
                .of(content.demand.as_ref(), Some(other), prices.as_ref());
            estimate.micro_usd = estimate.micro_usd.max(other.micro_usd);
        }
        estimate
    }

    /// Says what is known of a `POST` of `body` to `path` before it is sent, so that whoever plans
    /// can ask what it costs for any length of its answer. Nothing is fetched: prices are known
    /// once [`Catalog::models`](crate::Catalog::models) was asked for.
    ///
    /// `models` are those that a route adds to what the body names. Takes a pass over the bytes of
    /// the body, and a lock on what was learned of the first model.
    ///
    /// ```no_run
    /// # async fn example(client: fairkey_client::Client) -> Result<(), fairkey_client::CallError> {
    /// client.catalog().models().await?; // for the prices
    /// let body = br#"{"model":"a/b","messages":[{"role":"user","content":"Hi"}]}"#;
    /// let quote = client.quote("/chat/completions", body, &[]);
    /// let usd = quote.usd(0, quote.prompt_tokens, quote.output_p50);
    /// # let _ = usd;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn quote(&self, path: &str, body: &[u8], models: &[Arc<str>]) -> Quote {
        let content = Content::read(path, body);
        let core = self.core();
        let mut all: Vec<Arc<str>> = Vec::new();
        for model in content.model.iter().chain(&content.models).chain(models) {
            if !all.contains(model) {
                all.push(Arc::clone(model));
            }
        }
        core.estimates
            .quote(content.demand, all, core.catalog.kept_models())
    }
}

#[cfg(test)]
mod tests;
