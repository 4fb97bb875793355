//! Models, their prices and who serves them.

mod provider;

use crate::limit::Limit;
use crate::money::Money;

pub use provider::Provider;
pub(crate) use provider::{PARAMETERS, Tier};

/// A model of the catalog.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) prompt_price: Money,
    pub(crate) completion_price: Money,
    pub(crate) context_length: u64,
    pub(crate) max_completion_tokens: u64,
    pub(crate) providers: Vec<Provider>,
    pub(crate) task: Task,
    pub(crate) inputs: Vec<String>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) closed_to: Vec<String>,
    pub(crate) replaced_by: Option<String>,
    pub(crate) moderated: bool,
    pub(crate) gated: bool,
    pub(crate) unserved: bool,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Chat,
    Embed,
    Rerank,
}

impl Model {
    /// A model by its ID, `author/slug` with an optional `:variant`.
    ///
    /// Default: $1 per million prompt tokens and $2 per million completion tokens (nothing for an
    /// ID that ends in `:free`), a context of 131,072 tokens, completions of at most 16,384, one
    /// provider `Mock`.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        let free = id.ends_with(":free");
        let price = |usd| {
            if free {
                Money::ZERO
            } else {
                Money::per_million(usd)
            }
        };
        Self {
            id,
            name: None,
            prompt_price: price(1.0),
            completion_price: price(2.0),
            context_length: 131_072,
            max_completion_tokens: 16_384,
            providers: Vec::new(),
            task: Task::Chat,
            inputs: vec!["text".to_owned()],
            limits: Vec::new(),
            closed_to: Vec::new(),
            replaced_by: None,
            moderated: false,
            gated: false,
            unserved: false,
        }
    }

    /// Its name for people. Default: the ID.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// US dollars per **million** prompt tokens.
    #[must_use]
    pub fn prompt_price(mut self, usd: f64) -> Self {
        self.prompt_price = Money::per_million(usd);
        self
    }

    /// US dollars per **million** completion tokens.
    #[must_use]
    pub fn completion_price(mut self, usd: f64) -> Self {
        self.completion_price = Money::per_million(usd);
        self
    }

    /// The most tokens of prompt and completion together; a prompt that does not fit is a 400.
    #[must_use]
    pub fn context_length(mut self, tokens: u64) -> Self {
        self.context_length = tokens;
        self
    }

    /// The most tokens of one completion; what a call without `max_tokens` is estimated at.
    #[must_use]
    pub fn max_completion_tokens(mut self, tokens: u64) -> Self {
        self.max_completion_tokens = tokens;
        self
    }

    /// Adds a provider; the first one added serves unless it fails or the call says otherwise.
    #[must_use]
    pub fn provider(mut self, provider: impl Into<Provider>) -> Self {
        self.providers.push(provider.into());
        self
    }

    /// What it takes in besides text, as the catalog shows it: `image`, `audio`, `file`. Default:
    /// nothing.
    #[must_use]
    pub fn also_takes(mut self, modality: impl Into<String>) -> Self {
        self.inputs.push(modality.into());
        self
    }

    /// Makes it an embedding model: for `/embeddings` only, and not in the default list of
    /// `/models`.
    #[must_use]
    pub fn embeds(mut self) -> Self {
        self.task = Task::Embed;
        self
    }

    /// Adds a guard that all accounts share; above it the answer is 429
    /// `openrouter_shared_capacity`. Default: none. See [`Limit`].
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Closes it to accounts of this [`region`](crate::Account::region): 403 `region_restricted`.
    /// Default: it is open everywhere.
    #[must_use]
    pub fn closed_to(mut self, region: impl Into<String>) -> Self {
        self.closed_to.push(region.into());
        self
    }

    /// Retires it in favor of another: 404 `model_deprecated`.
    #[must_use]
    pub fn replaced_by(mut self, model: impl Into<String>) -> Self {
        self.replaced_by = Some(model.into());
        self
    }

    /// Whether prompts are moderated: with a word of
    /// [`Builder::flag_word`](crate::Builder::flag_word) in it the answer is 403 with `reasons`.
    /// Default: no.
    #[must_use]
    pub fn moderated(mut self, moderated: bool) -> Self {
        self.moderated = moderated;
        self
    }

    /// Refuses ordinary clients, as some free endpoints do: 403 with a `failed_routing_step`.
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.gated = true;
        self
    }

    /// Lists it although nobody serves it: 404 `no_endpoints`.
    #[must_use]
    pub fn unserved(mut self) -> Self {
        self.unserved = true;
        self
    }

    /// Makes it a reranker: for `/rerank` only, and not in the default list of `/models`.
    #[must_use]
    pub fn reranks(mut self) -> Self {
        self.task = Task::Rerank;
        self
    }

    pub(crate) fn is_free(&self) -> bool {
        self.prompt_price == Money::ZERO && self.completion_price == Money::ZERO
    }

    pub(crate) fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> Money {
        self.prompt_price.times(prompt_tokens) + self.completion_price.times(completion_tokens)
    }

    /// What it costs where `provider` serves it.
    pub(crate) fn cost_at(
        &self,
        provider: &Provider,
        prompt_tokens: u64,
        completion_tokens: u64,
    ) -> Money {
        let (prompt, completion) = self.prices_at(provider);
        prompt.times(prompt_tokens) + completion.times(completion_tokens)
    }

    /// The prices of a prompt token and of a completion token at a provider.
    pub(crate) fn prices_at(&self, provider: &Provider) -> (Money, Money) {
        let own = (self.prompt_price, self.completion_price);
        provider.prices.unwrap_or(own)
    }
}

/// The catalog of a mock that was given none: a few well-known names, with prices of their order.
pub(crate) fn default_catalog() -> Vec<Model> {
    let model = |id: &str, prompt: f64, completion: f64| {
        Model::new(id)
            .prompt_price(prompt)
            .completion_price(completion)
    };
    vec![
        model("openai/gpt-4o-mini", 0.15, 0.60)
            .name("GPT-4o mini")
            .also_takes("image")
            .provider(Provider::new("OpenAI").speed(480.0, 75.0).zdr(false))
            .provider(Provider::new("Azure").speed(620.0, 90.0)),
        model("openai/gpt-4o", 2.50, 10.0)
            .name("GPT-4o")
            .also_takes("image")
            .provider(Provider::new("OpenAI").speed(510.0, 62.0).zdr(false))
            .provider(Provider::new("Azure").speed(700.0, 88.0))
            .provider(
                Provider::new("OpenAI")
                    .slug("openai/priority")
                    .prices(4.25, 17.0)
                    .speed(350.0, 110.0)
                    .zdr(false),
            ),
        model("anthropic/claude-sonnet-4.5", 3.0, 15.0)
            .name("Claude Sonnet 4.5")
            .context_length(1_000_000)
            .max_completion_tokens(64_000)
            .also_takes("image")
            .provider(Provider::new("Anthropic").speed(1_200.0, 58.0).zdr(false))
            .provider(Provider::new("Amazon Bedrock").speed(1_500.0, 52.0))
            .provider(Provider::new("Google").slug("google-vertex").cancels(false)),
        model("google/gemini-2.5-flash", 0.30, 2.50)
            .name("Gemini 2.5 Flash")
            .context_length(1_048_576)
            .max_completion_tokens(65_535)
            .provider(Provider::new("Google").slug("google-vertex").cancels(false))
            .provider(Provider::new("Google AI Studio").zdr(false)),
        model("meta-llama/llama-3.3-70b-instruct", 0.10, 0.32)
            .name("Llama 3.3 70B Instruct")
            .provider(
                Provider::new("DeepInfra")
                    .quantization("fp8")
                    .speed(430.0, 45.0),
            )
            .provider(
                Provider::new("Together")
                    .prices(0.88, 0.88)
                    .quantization("bf16")
                    .speed(390.0, 95.0),
            )
            .provider(
                Provider::new("Groq")
                    .prices(0.59, 0.79)
                    .speed(210.0, 320.0)
                    .supported_parameters(["max_tokens", "temperature", "tool_choice", "tools"]),
            ),
        Model::new("meta-llama/llama-3.3-70b-instruct:free")
            .name("Llama 3.3 70B Instruct (free)")
            .max_completion_tokens(8_192)
            .provider(Provider::new("Venice").quantization("fp8")),
        model("deepseek/deepseek-chat-v3.1", 0.20, 0.80)
            .name("DeepSeek V3.1")
            .max_completion_tokens(32_768)
            .provider(
                Provider::new("DeepSeek")
                    .speed(1_800.0, 35.0)
                    .collects_data(true),
            )
            .provider(
                Provider::new("Fireworks")
                    .prices(0.56, 1.68)
                    .quantization("fp8"),
            ),
        model("openai/text-embedding-3-small", 0.02, 0.0)
            .name("Text Embedding 3 Small")
            .context_length(8_192)
            .provider("OpenAI")
            .embeds(),
        model("cohere/rerank-v3.5", 1.0, 0.0)
            .name("Rerank v3.5")
            .context_length(32_768)
            .provider("Cohere")
            .reranks(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_is_what_costs_nothing() {
        assert!(Model::new("a/b:free").is_free());
        assert!(
            Model::new("a/b")
                .prompt_price(0.0)
                .completion_price(0.0)
                .is_free()
        );
        assert!(!Model::new("a/b").is_free());
    }
}
