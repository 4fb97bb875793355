//! Searching the catalogue.

use super::{Conditions, Model, ModelList};

/// What a model has to be like. Everything that is set has to hold.
///
/// ```
/// use fairkey_openrouter::{ModelFilter, ModelList, ModelOrder};
///
/// let list = ModelList::from_slice(br#"{"data":[
///     {"id":"a/small","context_length":8192,"pricing":{"prompt":"0.0000001","completion":"0"}},
///     {"id":"a/large","context_length":200000,"pricing":{"prompt":"0.000003","completion":"0"}}
/// ]}"#)?;
/// let long = ModelFilter::new().min_context(100_000).max_prompt_usd_per_million(5.0);
/// let found = long.search(&list, ModelOrder::Price);
/// assert_eq!(found[0].id, "a/large");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelFilter {
    words: Vec<String>,
    author: Option<String>,
    min_context: Option<u64>,
    max_prompt: Option<f64>,
    max_completion: Option<f64>,
    parameters: Vec<String>,
    inputs: Vec<String>,
    outputs: Vec<String>,
    free: Option<bool>,
}

/// In which order models are found. Equal ones stand in the order of their identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelOrder {
    /// By identifier.
    #[default]
    Id,
    /// The cheapest first, by the sum of the token prices; those without a price last.
    Price,
    /// The longest context first.
    Context,
    /// The newest first.
    Newest,
}

impl ModelFilter {
    /// Returns a filter that every model passes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wants each of these words, separated by white space, in the identifier, the name or the
    /// canonical slug, in any case.
    #[must_use]
    pub fn text(mut self, words: &str) -> Self {
        let words = words.split_whitespace().map(str::to_lowercase);
        self.words.extend(words);
        self
    }

    /// Wants this author.
    #[must_use]
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Wants a context of at least so many tokens.
    #[must_use]
    pub fn min_context(mut self, tokens: u64) -> Self {
        self.min_context = Some(tokens);
        self
    }

    /// Wants a price of at most so many US dollars per million prompt tokens.
    #[must_use]
    pub fn max_prompt_usd_per_million(mut self, usd: f64) -> Self {
        self.max_prompt = Some(usd);
        self
    }

    /// Wants a price of at most so many US dollars per million completion tokens.
    #[must_use]
    pub fn max_completion_usd_per_million(mut self, usd: f64) -> Self {
        self.max_completion = Some(usd);
        self
    }

    /// Wants a parameter supported, such as `tools`. May be called several times.
    #[must_use]
    pub fn parameter(mut self, parameter: impl Into<String>) -> Self {
        self.parameters.push(parameter.into());
        self
    }

    /// Wants something to go in, such as `image`. May be called several times.
    #[must_use]
    pub fn input(mut self, modality: impl Into<String>) -> Self {
        self.inputs.push(modality.into());
        self
    }

    /// Wants something to come out, such as `audio`. May be called several times.
    #[must_use]
    pub fn output(mut self, modality: impl Into<String>) -> Self {
        self.outputs.push(modality.into());
        self
    }

    /// Wants models that are free of charge, or those that are not.
    #[must_use]
    pub fn free(mut self, free: bool) -> Self {
        self.free = Some(free);
        self
    }

    /// Returns whether a model passes.
    #[must_use]
    pub fn matches(&self, model: &Model) -> bool {
        let prices = model.pricing.token_prices(Conditions::default());
        let below = |bound: Option<f64>, price: fn((f64, f64)) -> f64| {
            bound.is_none_or(|most| prices.is_some_and(|both| per_million(price(both)) <= most))
        };
        let has_all = |wanted: &[String], own: &[String]| wanted.iter().all(|w| own.contains(w));
        self.has_words(model)
            && self
                .author
                .as_ref()
                .is_none_or(|author| model.author() == author)
            && self
                .min_context
                .is_none_or(|least| model.context_length.is_some_and(|own| own >= least))
            && below(self.max_prompt, |both| both.0)
            && below(self.max_completion, |both| both.1)
            && has_all(&self.parameters, &model.supported_parameters)
            && has_all(&self.inputs, &model.architecture.input_modalities)
            && has_all(&self.outputs, &model.architecture.output_modalities)
            && self.free.is_none_or(|free| model.is_free() == free)
    }

    fn has_words(&self, model: &Model) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let slug = model.canonical_slug.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{slug}", model.id, model.name).to_lowercase();
        self.words.iter().all(|word| text.contains(word))
    }

    /// Returns the models that pass, in order.
    #[must_use]
    pub fn search<'a>(&self, list: &'a ModelList, order: ModelOrder) -> Vec<&'a Model> {
        let mut found: Vec<&Model> = list.data.iter().filter(|m| self.matches(m)).collect();
        found.sort_by(|a, b| {
            let by = match order {
                ModelOrder::Id => std::cmp::Ordering::Equal,
                ModelOrder::Price => price(a).total_cmp(&price(b)),
                ModelOrder::Context => b.context_length.cmp(&a.context_length),
                ModelOrder::Newest => b.created.cmp(&a.created),
            };
            by.then_with(|| a.id.cmp(&b.id))
        });
        found
    }
}

fn price(model: &Model) -> f64 {
    model
        .pricing
        .token_prices(Conditions::default())
        .map_or(f64::INFINITY, |(prompt, completion)| prompt + completion)
}

/// Prices are texts per token, bounds numbers per million: the product is off by a little.
pub(crate) fn per_million(usd_per_token: f64) -> f64 {
    (usd_per_token * 1e15).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ModelList {
        ModelList::from_slice(
            br#"{"data":[
            {"id":"openai/gpt-x","name":"GPT X","canonical_slug":"openai/gpt-x-2026","created":5,
             "context_length":128000,"pricing":{"prompt":"0.0000025","completion":"0.00001"},
             "supported_parameters":["tools","seed"],
             "architecture":{"input_modalities":["text","image"],"output_modalities":["text"]}},
            {"id":"meta/llama:free","name":"Llama","created":9,"context_length":8192,
             "pricing":{"prompt":"0","completion":"0"},"supported_parameters":["seed"]},
            {"id":"openrouter/auto","name":"Auto","pricing":{"prompt":"-1","completion":"-1"}}]}"#,
        )
        .unwrap()
    }

    #[track_caller]
    fn check(filter: &ModelFilter, order: ModelOrder, expected: &[&str]) {
        let list = list();
        let ids: Vec<&str> = filter
            .search(&list, order)
            .iter()
            .map(|m| m.id.as_str())
            .collect();
        assert_eq!(ids, expected, "{filter:?}");
    }

    #[test]
    fn each_condition_removes_what_does_not_meet_it() {
        let all = ModelFilter::new;
        let only = |filter: ModelFilter, ids: &[&str]| check(&filter, ModelOrder::Id, ids);
        only(all().text("gpt 2026"), &["openai/gpt-x"]);
        only(all().text("gpt llama"), &[]);
        only(all().author("meta"), &["meta/llama:free"]);
        only(
            all().min_context(8192),
            &["meta/llama:free", "openai/gpt-x"],
        );
        only(all().min_context(8193), &["openai/gpt-x"]);
        only(
            all().max_prompt_usd_per_million(2.5),
            &["meta/llama:free", "openai/gpt-x"],
        );
        only(
            all().max_prompt_usd_per_million(2.4999),
            &["meta/llama:free"],
        );
        only(
            all().max_completion_usd_per_million(9.0),
            &["meta/llama:free"],
        );
        only(
            all().parameter("seed").parameter("tools"),
            &["openai/gpt-x"],
        );
        only(all().input("image"), &["openai/gpt-x"]);
        only(all().output("text"), &["openai/gpt-x"]);
        only(all().free(true), &["meta/llama:free"]);
        only(all().free(false), &["openai/gpt-x", "openrouter/auto"]);
    }

    #[test]
    fn orders_are_kept_and_what_has_no_price_comes_last() {
        let all = ModelFilter::new();
        check(
            &all,
            ModelOrder::Price,
            &["meta/llama:free", "openai/gpt-x", "openrouter/auto"],
        );
        check(
            &all,
            ModelOrder::Context,
            &["openai/gpt-x", "meta/llama:free", "openrouter/auto"],
        );
        check(
            &all,
            ModelOrder::Newest,
            &["meta/llama:free", "openai/gpt-x", "openrouter/auto"],
        );
    }
}
