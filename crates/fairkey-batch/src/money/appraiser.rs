//! What a row will cost, before it is sent: [`Appraiser`].

use std::sync::Arc;

use fairkey_client::{Client, Quote};
use fairkey_openrouter::profile::Profiles;

use crate::Request;

/// The least tokens that an answer is believed to have at most, where nothing bounds it.
const LEAST_LONG: u64 = 4_096;
/// How many times the length that nine in ten answers did not exceed an answer may have.
const TIMES_P90: u64 = 4;

/// Says what rows will cost, by the catalogue of a client and by what it has learned of models.
#[derive(Clone, Debug)]
pub struct Appraiser {
    client: Client,
    profiles: Arc<Profiles>,
}

impl Appraiser {
    /// Makes one. Prices are known once the client's catalogue was asked for its models.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            profiles: Arc::default(),
        }
    }

    /// Sets what stands for the models that rows name, as the caller that sends them has it.
    /// Default: nothing.
    #[must_use]
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = Arc::new(profiles);
        self
    }

    /// Returns what is known of a row's call. A route that cannot be taken is quoted as it stands.
    #[must_use]
    pub fn quote(&self, request: &Request) -> Quote {
        let routed = if self.profiles.is_empty() {
            None
        } else {
            self.profiles.apply(&request.path, &request.body).ok()
        };
        match routed.flatten() {
            Some(routed) => {
                let models: Vec<Arc<str>> = routed
                    .models
                    .iter()
                    .map(|name| name.as_str().into())
                    .collect();
                self.client.quote(&request.path, &routed.body, &models)
            }
            None => self.client.quote(&request.path, &request.body, &[]),
        }
    }

    /// Returns what the call costs in US dollars where the model at this place of the quote serves
    /// it, with so many tokens in its prompt and in each answer; `None` where no price is known.
    #[must_use]
    pub fn usd(
        &self,
        quote: &Quote,
        at: usize,
        prompt_tokens: u64,
        output_tokens: u64,
    ) -> Option<f64> {
        let usd = quote.usd(at, prompt_tokens, output_tokens)?;
        Some(usd)
    }

    /// Returns the most tokens that one answer of the model at this place is believed to have:
    /// what the request allows, or else four times the length that nine in ten answers of the model
    /// did not exceed, 4,096 at least, and no more than the catalogue says that the model can give.
    #[must_use]
    pub fn longest(quote: &Quote, at: usize) -> u64 {
        if let Some(limit) = quote.limit {
            return limit;
        }
        let long = quote.output_p90.saturating_mul(TIMES_P90).max(LEAST_LONG);
        match quote.ceiling(at, quote.prompt_tokens) {
            Some(ceiling) => long.min(ceiling),
            None => long,
        }
    }

    /// Returns what is to be set aside for the call, in millionths of a US dollar: the price of its
    /// longest prompt and its longest answer at the dearest of its models.
    ///
    /// # Errors
    ///
    /// Names the first model that has no price.
    pub fn most(&self, quote: &Quote) -> Result<u64, Unpriced> {
        if quote.models.is_empty() {
            return Err(Unpriced(None));
        }
        let mut most = 0.0_f64;
        for (at, model) in quote.models.iter().enumerate() {
            let usd = self.usd(
                quote,
                at,
                quote.prompt_tokens_most,
                Self::longest(quote, at),
            );
            most = most.max(usd.ok_or_else(|| Unpriced(Some(Arc::clone(model))))?);
        }
        // Rounded up, but not for what a sum of fractions leaves over; the cast saturates.
        Ok((most * 1e6 - 1e-6).ceil() as u64)
    }
}

/// A call of which nobody knows what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpriced(pub Option<Arc<str>>);

impl std::fmt::Display for Unpriced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(model) => write!(
                f,
                "the catalogue has no price for the model {model:?}, and what the run may spend is \
                 limited: name another model, or run such rows without a limit"
            ),
            None => f.write_str(
                "the row names no model, so that nobody knows its price, and what the run may \
                 spend is limited: name one",
            ),
        }
    }
}
