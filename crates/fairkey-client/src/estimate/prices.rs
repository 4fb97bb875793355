//! What a call costs at most, by the catalogue: [`Prices`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fairkey_openrouter::{Conditions, Model, ModelList, Price};

use super::demand::Demand;

/// Where each model stands in a list.
type Places = Arc<HashMap<Box<str>, usize>>;

/// The models of the catalogue by name. The index is made when a list is first met, and again when
/// there is a newer one: some tenths of a millisecond for a thousand models.
#[derive(Debug, Default)]
pub(super) struct Prices(Mutex<Option<(Arc<ModelList>, Places)>>);

impl Prices {
    /// Returns the most that a call is billed, in millionths of a US dollar; `None` where the model
    /// or its prices are not known.
    pub(super) fn most(
        &self,
        list: &Arc<ModelList>,
        model: &str,
        demand: &Demand,
        prompt_tokens: u64,
        output_p90: u64,
    ) -> Option<u64> {
        let place = self.place(list, model)?;
        most(list.data.get(place)?, demand, prompt_tokens, output_p90)
    }

    /// Returns where a model stands in a list.
    pub(super) fn place(&self, list: &Arc<ModelList>, model: &str) -> Option<usize> {
        let places = self.places(list);
        let place = places.get(model).or_else(|| {
            // Variants that only change routing are not listed.
            let (base, variant) = model.rsplit_once(':')?;
            places.get(base).filter(|_| variant != "free")
        });
        place.copied()
    }

    fn places(&self, list: &Arc<ModelList>) -> Places {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, places)) if Arc::ptr_eq(of, list) => Arc::clone(places),
            _ => {
                let names = list.data.iter().map(|model| model.id.as_str().into());
                let places: Places = Arc::new(names.zip(0..).collect());
                *known = Some((Arc::clone(list), Arc::clone(&places)));
                places
            }
        }
    }
}

/// An amount that is known and not negative.
fn usd(price: &Option<Price>) -> Option<f64> {
    price.as_ref()?.usd().filter(|usd| *usd >= 0.0)
}

fn most(model: &Model, demand: &Demand, prompt_tokens: u64, output_p90: u64) -> Option<u64> {
    let output = demand
        .limit()
        .or_else(|| ceiling(model, prompt_tokens))
        .unwrap_or(output_p90);
    let most = usd_of(model, demand, prompt_tokens, output)?;
    // Rounded up, but not for what a sum of fractions leaves over; the cast saturates.
    Some((most * 1e6 - 1e-6).ceil() as u64)
}

/// Returns the longest answer that a model can give to a prompt of so many tokens, where the
/// catalogue says so.
pub(super) fn ceiling(model: &Model, prompt_tokens: u64) -> Option<u64> {
    let own = model.top_provider.max_completion_tokens;
    let room = || Some(model.context_length?.saturating_sub(prompt_tokens));
    own.filter(|most| *most > 0).or_else(room)
}

/// Returns what a call is billed at the list's prices, in US dollars, with so many tokens in its
/// prompt and in each of its answers; `None` where the prices are not known.
pub(super) fn usd_of(
    model: &Model,
    demand: &Demand,
    prompt_tokens: u64,
    output_tokens: u64,
) -> Option<f64> {
    let pricing = &model.pricing;
    let size = demand.size();
    let at = Conditions {
        prompt_tokens,
        utc: None,
    };
    let (mut prompt, completion) = pricing.token_prices(at)?;
    if size.writes_cache {
        let written = [&pricing.input_cache_write, &pricing.input_cache_write_1h];
        prompt = written.into_iter().filter_map(usd).fold(prompt, f64::max);
    }
    let audio = size.audio_tokens().min(prompt_tokens);
    let audio_price = usd(&pricing.audio).map_or(prompt, |audio| audio.max(prompt));
    let mut sum = prompt * (prompt_tokens - audio) as f64 + audio_price * audio as f64;
    if demand.generates {
        let reasoning = usd(&pricing.internal_reasoning).unwrap_or(0.0);
        let tokens = output_tokens.saturating_mul(demand.choices());
        sum += completion.max(reasoning) * tokens as f64;
    }
    sum += usd(&pricing.request).unwrap_or(0.0);
    sum += usd(&pricing.image).unwrap_or(0.0) * size.images() as f64;
    Some(sum)
}
