//! What a run will cost, without running: [`Forecast`].

use std::collections::BTreeMap;
use std::sync::Arc;

use fairkey_client::Quote;

use crate::{Appraiser, Row};

/// How many rows that are no requests, or too long, are named.
const NAMED: usize = 5;
/// How many models are told apart.
const MODELS: usize = 256;
/// How many standard deviations nine in ten lie below.
const Z90: f64 = 1.2816;

/// What the rows of an input will need. Rows are added one by one, and none is kept.
#[derive(Debug)]
pub struct Forecast {
    appraiser: Appraiser,
    /// Rows that are requests.
    pub rows: u64,
    /// Rows that are none.
    pub bad_rows: u64,
    /// What is wrong with the first few of them, each with its place.
    pub bad: Vec<String>,
    /// What each model will do, by the name that rows ask for; the empty name stands for rows that
    /// name none, and `(other)` for models beyond the 256th.
    pub models: BTreeMap<Arc<str>, ModelForecast>,
}

/// What one model will do.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelForecast {
    /// Rows that ask for it first.
    pub rows: u64,
    /// Tokens of their prompts, estimated.
    pub prompt_tokens: u64,
    /// Tokens of their answers: little, as is to be expected, and at most.
    pub output_tokens: [u64; 3],
    /// US dollars: little, as is to be expected, and at most.
    pub usd: [f64; 3],
    /// Rows whose answers a limit of theirs bounds.
    pub limited_rows: u64,
    /// Rows whose price nobody knows; they are in none of the amounts.
    pub unpriced_rows: u64,
    /// How many answers of the model are known; 0: lengths are assumed.
    pub learned_answers: u64,
    /// Whether the catalogue lists it.
    pub is_listed: bool,
    /// Whether its tokens cost nothing.
    pub is_free: bool,
    /// The day after which it may be gone, `YYYY-MM-DD`, where the catalogue says so.
    pub expires: Option<String>,
    /// Rows whose prompt, or whose prompt with the answer that they allow, is longer than its
    /// context, as far as that can be estimated.
    pub too_long_rows: u64,
    /// Where the first few of them stand.
    pub too_long: Vec<String>,
}

impl Forecast {
    /// Begins one, with who says what rows cost.
    #[must_use]
    pub fn new(appraiser: Appraiser) -> Self {
        Self {
            appraiser,
            rows: 0,
            bad_rows: 0,
            bad: Vec::new(),
            models: BTreeMap::new(),
        }
    }

    /// Adds a row.
    pub fn add(&mut self, row: &Row) {
        let request = match &row.request {
            Ok(request) => request,
            Err(bad) => {
                self.bad_rows += 1;
                if self.bad.len() < NAMED {
                    self.bad.push(bad.to_string());
                }
                return;
            }
        };
        self.rows += 1;
        let quote = self.appraiser.quote(request);
        let name: Arc<str> = quote.models.first().cloned().unwrap_or_else(|| "".into());
        let full = self.models.len() >= MODELS && !self.models.contains_key(&name);
        let name = if full { "(other)".into() } else { name };
        let model = self.models.entry(name).or_default();
        model.add(&self.appraiser, &quote, &|| row.place().to_string());
    }

    /// Returns all models together.
    #[must_use]
    pub fn total(&self) -> ModelForecast {
        let mut total = ModelForecast::default();
        for model in self.models.values() {
            total.rows += model.rows;
            total.prompt_tokens += model.prompt_tokens;
            total.limited_rows += model.limited_rows;
            total.unpriced_rows += model.unpriced_rows;
            total.too_long_rows += model.too_long_rows;
            for at in 0..3 {
                total.output_tokens[at] += model.output_tokens[at];
                total.usd[at] += model.usd[at];
            }
        }
        total
    }
}

impl ModelForecast {
    fn add(&mut self, appraiser: &Appraiser, quote: &Quote, place: &dyn Fn() -> String) {
        self.rows += 1;
        self.prompt_tokens += quote.prompt_tokens;
        self.learned_answers = quote.answers;
        self.limited_rows += u64::from(quote.limit.is_some());
        let each = lengths(quote);
        for (sum, each) in self.output_tokens.iter_mut().zip(each) {
            *sum = sum.saturating_add(each.saturating_mul(quote.choices));
        }
        if let Some(listed) = quote.listed(0) {
            self.is_listed = true;
            self.is_free = listed.is_free();
            self.expires.clone_from(&listed.expiration_date);
            let asked = quote.prompt_tokens + quote.limit.unwrap_or(0);
            if listed.context_length.is_some_and(|context| asked > context) {
                self.too_long_rows += 1;
                if self.too_long.len() < NAMED {
                    self.too_long.push(place());
                }
            }
        }
        let at = |prompt: u64, output: u64| appraiser.usd(quote, 0, prompt, output);
        let prompt = quote.prompt_tokens;
        let dearest = |output: u64| {
            let all = (0..quote.models.len())
                .map(|at| appraiser.usd(quote, at, quote.prompt_tokens_most, output));
            all.reduce(|one, other| Some(one?.max(other?))).flatten()
        };
        match (at(prompt, each[0]), at(prompt, each[1]), dearest(each[2])) {
            (Some(low), Some(expected), Some(most)) => {
                for (sum, usd) in self.usd.iter_mut().zip([low, expected, most]) {
                    *sum += usd;
                }
            }
            _ => self.unpriced_rows += 1,
        }
    }
}

/// Returns how many tokens an answer will have: little, as is to be expected, and at most.
///
/// Half the median, or half of what the request allows; the mean of a log-normal distribution with the median and the quantile that are
/// known; and what the request allows, or else what the model can give.
fn lengths(quote: &Quote) -> [u64; 3] {
    if quote.choices == 0 {
        return [0; 3];
    }
    let median = quote.output_p50.max(1) as f64;
    let sigma = (quote.output_p90.max(1) as f64 / median).ln().max(0.0) / Z90;
    let mean = (median * (sigma * sigma / 2.0).exp()).round() as u64;
    let ceilings = (0..quote.models.len()).filter_map(|at| quote.ceiling(at, quote.prompt_tokens));
    let most = quote.limit.or_else(|| ceilings.max());
    let most = most.unwrap_or_else(|| Appraiser::longest(quote, 0));
    [quote.output_p50.min(most) / 2, mean.min(most), most]
}
