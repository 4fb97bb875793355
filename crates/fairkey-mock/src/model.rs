//! Models, their prices and who serves them.

use crate::money::Money;

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
    pub(crate) embeds: bool,
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
            embeds: false,
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

    /// Makes it an embedding model: for `/embeddings` only, and not in the default list of
    /// `/models`.
    #[must_use]
    pub fn embeds(mut self) -> Self {
        self.embeds = true;
        self
    }

    pub(crate) fn is_free(&self) -> bool {
        self.prompt_price == Money::ZERO && self.completion_price == Money::ZERO
    }

    pub(crate) fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> Money {
        self.prompt_price.times(prompt_tokens) + self.completion_price.times(completion_tokens)
    }
}

/// A provider that serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) cancels: bool,
}

impl Provider {
    /// A provider by its display name; the slug is the name in lower case with `-` for what is
    /// neither letter nor digit. Whether it stops billing when a stream is cancelled follows
    /// OpenRouter's list.
    pub fn new(name: impl Into<String>) -> Self {
        // The providers of OpenRouter's streaming page that go on, and bill, when the client has
        // left.
        const BILLS_TO_THE_END: [&str; 10] = [
            "amazon-bedrock",
            "google-vertex",
            "google-ai-studio",
            "groq",
            "mistral",
            "minimax",
            "perplexity",
            "sambanova",
            "alibaba",
            "nebius",
        ];
        let name = name.into();
        let slug: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        let cancels = !BILLS_TO_THE_END.contains(&slug.as_str());
        Self {
            name,
            slug,
            cancels,
        }
    }

    /// The slug by which `provider.only`, `ignore` and `order` name it.
    #[must_use]
    pub fn slug(mut self, slug: impl Into<String>) -> Self {
        self.slug = slug.into();
        self
    }

    /// Whether closing a stream stops work and billing (`true`), or the whole answer is billed.
    #[must_use]
    pub fn cancels(mut self, cancels: bool) -> Self {
        self.cancels = cancels;
        self
    }

    /// Whether `wanted`, from a routing preference, names this provider: by slug, by base slug, or
    /// by name, in any case.
    pub(crate) fn answers_to(&self, wanted: &str) -> bool {
        let base = self.slug.split('/').next().unwrap_or_default();
        wanted.eq_ignore_ascii_case(&self.slug)
            || wanted.eq_ignore_ascii_case(base)
            || wanted.eq_ignore_ascii_case(&self.name)
    }
}

impl From<&str> for Provider {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Provider {
    fn from(name: String) -> Self {
        Self::new(name)
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
            .provider("OpenAI")
            .provider("Azure"),
        model("openai/gpt-4o", 2.50, 10.0)
            .name("GPT-4o")
            .provider("OpenAI")
            .provider("Azure"),
        model("anthropic/claude-sonnet-4.5", 3.0, 15.0)
            .name("Claude Sonnet 4.5")
            .context_length(1_000_000)
            .max_completion_tokens(64_000)
            .provider("Anthropic")
            .provider("Amazon Bedrock")
            .provider(Provider::new("Google").slug("google-vertex").cancels(false)),
        model("google/gemini-2.5-flash", 0.30, 2.50)
            .name("Gemini 2.5 Flash")
            .context_length(1_048_576)
            .max_completion_tokens(65_535)
            .provider(Provider::new("Google").slug("google-vertex").cancels(false))
            .provider("Google AI Studio"),
        model("meta-llama/llama-3.3-70b-instruct", 0.10, 0.32)
            .name("Llama 3.3 70B Instruct")
            .provider("DeepInfra")
            .provider("Together")
            .provider("Groq"),
        Model::new("meta-llama/llama-3.3-70b-instruct:free")
            .name("Llama 3.3 70B Instruct (free)")
            .max_completion_tokens(8_192)
            .provider("Venice"),
        model("deepseek/deepseek-chat-v3.1", 0.20, 0.80)
            .name("DeepSeek V3.1")
            .max_completion_tokens(32_768)
            .provider("DeepSeek")
            .provider("Fireworks"),
        model("openai/text-embedding-3-small", 0.02, 0.0)
            .name("Text Embedding 3 Small")
            .context_length(8_192)
            .provider("OpenAI")
            .embeds(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_answers_to_slug_base_slug_and_name() {
        let turbo = Provider::new("DeepInfra").slug("deepinfra/turbo");
        assert!(turbo.answers_to("deepinfra/turbo"));
        assert!(turbo.answers_to("deepinfra"));
        assert!(turbo.answers_to("DeepInfra"));
        assert!(!turbo.answers_to("deepinfra/fp4"));
        assert!(!Provider::new("Groq").cancels);
        assert!(Provider::new("OpenAI").cancels);
    }

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
