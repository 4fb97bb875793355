//! Who serves a model.

use crate::limit::Limit;
use crate::money::Money;

/// What the mock knows of the parameters of requests.
pub(crate) const PARAMETERS: [&str; 16] = [
    "frequency_penalty",
    "include_reasoning",
    "logprobs",
    "max_tokens",
    "presence_penalty",
    "reasoning",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "structured_outputs",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// A provider that serves a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    pub(crate) name: String,
    pub(crate) slug: String,
    pub(crate) cancels: bool,
    pub(crate) limits: Vec<Limit>,
    pub(crate) zdr: bool,
    pub(crate) collects_data: bool,
    /// Of a prompt token and a completion token, where they are not the model's.
    pub(crate) prices: Option<(Money, Money)>,
    pub(crate) quantization: String,
    /// Without them, all that the mock knows.
    pub(crate) parameters: Option<Vec<String>>,
    /// To the first token.
    pub(crate) latency_ms: f64,
    /// Tokens a second.
    pub(crate) throughput: f64,
    /// Percent.
    pub(crate) uptime: f64,
    pub(crate) status: i32,
}

/// A service tier with endpoints of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Priority,
    Flex,
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
            limits: Vec::new(),
            zdr: true,
            collects_data: false,
            prices: None,
            quantization: "unknown".to_owned(),
            parameters: None,
            latency_ms: 400.0,
            throughput: 60.0,
            uptime: 100.0,
            status: 0,
        }
    }

    /// Its own prices, in US dollars per **million** prompt and completion tokens. Default: those
    /// of the model.
    #[must_use]
    pub fn prices(mut self, prompt: f64, completion: f64) -> Self {
        self.prices = Some((Money::per_million(prompt), Money::per_million(completion)));
        self
    }

    /// Its quantization (`fp8`, `bf16` …), which `provider.quantizations` asks for. Default:
    /// `unknown`.
    #[must_use]
    pub fn quantization(mut self, name: impl Into<String>) -> Self {
        self.quantization = name.into();
        self
    }

    /// The parameters that it supports, which `provider.require_parameters` looks at. Default:
    /// every one that the mock knows.
    #[must_use]
    pub fn supported_parameters<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        self.parameters = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// The latency in milliseconds and the throughput in tokens a second that the catalog shows and
    /// `provider.sort` ranks by. Answers take as long as [`Latency`](crate::Latency) says, whatever
    /// stands here. Default: 400 ms, 60 tokens/s.
    #[must_use]
    pub fn speed(mut self, latency_ms: f64, tokens_per_second: f64) -> Self {
        self.latency_ms = latency_ms;
        self.throughput = tokens_per_second;
        self
    }

    /// The status (0, -1, -2, -3, -5 or -10) and the uptime in percent that the catalog shows.
    /// Default: 0, 100.
    #[must_use]
    pub fn health(mut self, status: i32, uptime: f64) -> Self {
        self.status = status;
        self.uptime = uptime;
        self
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

    /// Adds a limit of its capacity for the model, which all accounts share; above it the next
    /// provider is tried, and when none is left, the answer is 429. Default: none. See [`Limit`].
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Whether it keeps no data (`provider.zdr`, `/endpoints/zdr`). Default: yes.
    #[must_use]
    pub fn zdr(mut self, zdr: bool) -> Self {
        self.zdr = zdr;
        self
    }

    /// Whether it may train on prompts (`provider.data_collection: "deny"` excludes it). Default:
    /// no. One that does keeps data.
    #[must_use]
    pub fn collects_data(mut self, collects: bool) -> Self {
        self.collects_data = collects;
        self.zdr &= !collects;
        self
    }

    /// Whether `wanted`, from a routing preference, names this provider: by slug, by base slug, or
    /// by name, in any case. Endpoints of a service tier are named by their whole slug only.
    pub(crate) fn answers_to(&self, wanted: &str) -> bool {
        let base = self.base_slug();
        wanted.eq_ignore_ascii_case(&self.slug)
            || self.tier().is_none()
                && (wanted.eq_ignore_ascii_case(base) || wanted.eq_ignore_ascii_case(&self.name))
    }

    /// The slug without region and tier.
    pub(crate) fn base_slug(&self) -> &str {
        self.slug.split('/').next().unwrap_or_default()
    }

    /// The service tier that its slug ends in.
    pub(crate) fn tier(&self) -> Option<Tier> {
        match self.slug.rsplit_once('/').map(|(_, tier)| tier) {
            Some("priority") => Some(Tier::Priority),
            Some("flex") => Some(Tier::Flex),
            _ => None,
        }
    }

    /// Whether it supports a parameter of a request.
    pub(crate) fn supports(&self, parameter: &str) -> bool {
        let own = self.parameters.as_ref();
        own.is_none_or(|names| names.iter().any(|name| name == parameter))
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
        let priority = Provider::new("OpenAI").slug("openai/priority");
        assert!(priority.answers_to("openai/priority"));
        assert!(!priority.answers_to("openai") && !priority.answers_to("OpenAI"));
        assert!(!Provider::new("Groq").cancels);
        assert!(Provider::new("OpenAI").cancels);
    }
}
