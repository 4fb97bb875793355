//! What a body asks for, as far as estimates and gates are concerned: [`Content`].

use std::sync::Arc;

use fairkey_openrouter::sizing::{self, PromptSize};
use fairkey_openrouter::{endpoint, provider_slug};

/// What is read from a body, once for all attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) model: Option<Arc<str>>,
    /// The list that the body itself has for OpenRouter, which tries one after the other.
    pub(crate) models: Vec<Arc<str>>,
    /// The slugs of the only providers that may serve it; empty where any may.
    pub(crate) providers: Arc<[String]>,
    /// `None`: it is nothing that can be measured.
    pub(crate) demand: Option<Demand>,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) size: PromptSize,
    /// The most tokens of an answer.
    pub(crate) limit: Option<u64>,
    /// How many answers.
    pub(crate) choices: u64,
    /// Whether the endpoint writes answers at all.
    pub(crate) generates: bool,
}

impl Content {
    /// Reads a body that goes to `path`. What is no JSON object is nothing.
    pub(crate) fn read(path: &str, body: &[u8]) -> Self {
        if body.is_empty() {
            return Self::default();
        }
        let Ok(measured) = sizing::measure(body) else {
            return Self::default();
        };
        let peek = &measured.peek;
        let base = |name: &String| {
            let slug = provider_slug(name);
            slug.split('/').next().unwrap_or_default().to_owned()
        };
        Self {
            model: peek.model.as_deref().map(Into::into),
            models: peek
                .models
                .iter()
                .map(|name| name.as_str().into())
                .collect(),
            providers: peek.pinned_providers().iter().map(base).collect(),
            demand: Some(Demand {
                size: measured.prompt,
                limit: peek.completion_limit,
                choices: measured.choices,
                generates: generates(path),
            }),
        }
    }
}

fn generates(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    [
        // Legacy completions, too.
        endpoint::COMPLETIONS,
        endpoint::MESSAGES,
        endpoint::RESPONSES,
    ]
    .iter()
    .any(|end| path.trim_end_matches('/').ends_with(end))
}

impl Demand {
    /// Returns the tokens of the prompt at a ratio of tokens to bytes.
    pub(crate) fn prompt_tokens(&self, tokens_per_byte: f64) -> u64 {
        let tokens = self.size.prompt_tokens(tokens_per_byte);
        // What is embedded or ranked has no form of a conversation.
        let form = if self.generates {
            0
        } else {
            self.size.overhead_tokens()
        };
        tokens.saturating_sub(form)
    }

    /// Returns the tokens of prompts of this form that come from bytes of text, where `tokens`
    /// were counted; `None` where that cannot be told.
    pub(crate) fn text_tokens(&self, tokens: u64) -> Option<u64> {
        if self.size.bytes() == 0 || self.size.tokens > 0 || self.size.has_media() {
            return None;
        }
        let form = if self.generates {
            self.size.overhead_tokens()
        } else {
            0
        };
        Some(tokens.saturating_sub(form))
    }

    /// Returns the tokens of the answers, where nine in ten have at most `p90`.
    pub(crate) fn output_tokens(&self, p90: u64) -> u64 {
        if !self.generates {
            return 0;
        }
        let each = self.limit.map_or(p90, |limit| limit.min(p90));
        each.saturating_mul(self.choices)
    }
}
