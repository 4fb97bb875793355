//! What a body asks for, as far as estimates and gates are concerned: [`Content`].

use std::sync::Arc;

use fairkey_openrouter::sizing::{self, Measured, PromptSize};
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

/// How much is asked for. Small, since each call that waits has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    size: Size,
    /// The most tokens of an answer; the largest number: no limit.
    limit: u32,
    /// How many answers.
    choices: u16,
    /// Whether the endpoint writes answers at all.
    pub(crate) generates: bool,
}

/// A [`PromptSize`]: most are of text alone, and of less than four gigabytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Size {
    Text {
        text_bytes: u32,
        schema_bytes: u32,
        messages: u32,
    },
    Other(Arc<PromptSize>),
}

impl Size {
    fn of(size: PromptSize) -> Self {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let text = Self::Text {
            text_bytes: narrow(size.text_bytes),
            schema_bytes: narrow(size.schema_bytes),
            messages: narrow(size.messages),
        };
        if text.whole() == size {
            text
        } else {
            Self::Other(Arc::new(size))
        }
    }

    fn whole(&self) -> PromptSize {
        match self {
            Self::Text {
                text_bytes,
                schema_bytes,
                messages,
            } => {
                let mut size = PromptSize::default();
                size.text_bytes = u64::from(*text_bytes);
                size.schema_bytes = u64::from(*schema_bytes);
                size.messages = u64::from(*messages);
                size
            }
            Self::Other(size) => **size,
        }
    }
}

impl Content {
    /// Reads a body that goes to `path`. What is no JSON object is nothing.
    pub(crate) fn read(path: &str, body: &[u8]) -> Self {
        if body.is_empty() {
            return Self::default();
        }
        sizing::measure(body).map_or_else(|_| Self::default(), |read| Self::of(path, &read))
    }

    /// Takes over what was read of a body that goes to `path`.
    fn of(path: &str, measured: &Measured<'_>) -> Self {
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
                size: Size::of(measured.prompt),
                // One that no model can reach is a limit all the same.
                limit: (peek.completion_limit)
                    .map_or(u32::MAX, |limit| limit.min(u64::from(u32::MAX) - 1) as u32),
                choices: u16::try_from(measured.choices).unwrap_or(u16::MAX),
                generates: generates(path),
            }),
        }
    }
}

/// A body that was [measured](sizing::measure) already: among the extensions of a request to
/// [`Client::send`](crate::Client::send), it spares the client to read it once more.
///
/// It must be of that very body and path: what is reserved for the call rests on it.
#[derive(Clone, Debug)]
pub struct MeasuredBody(pub(crate) Content);

impl MeasuredBody {
    /// Takes over what was read of a body that goes to `path`.
    #[must_use]
    pub fn new(path: &str, measured: &Measured<'_>) -> Self {
        Self(Content::of(path, measured))
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
    /// Returns how long the prompt is.
    pub(crate) fn size(&self) -> PromptSize {
        self.size.whole()
    }

    /// Returns the most tokens of an answer.
    pub(crate) fn limit(&self) -> Option<u64> {
        (self.limit < u32::MAX).then_some(u64::from(self.limit))
    }

    /// Returns how many answers are asked for.
    pub(crate) fn choices(&self) -> u64 {
        u64::from(self.choices)
    }

    /// Returns the tokens of the prompt at a ratio of tokens to bytes.
    pub(crate) fn prompt_tokens(&self, tokens_per_byte: f64) -> u64 {
        let size = self.size();
        let tokens = size.prompt_tokens(tokens_per_byte);
        // What is embedded or ranked has no form of a conversation.
        let form = if self.generates {
            0
        } else {
            size.overhead_tokens()
        };
        tokens.saturating_sub(form)
    }

    /// Returns the tokens of prompts of this form that come from bytes of text, where `tokens`
    /// were counted; `None` where that cannot be told.
    pub(crate) fn text_tokens(&self, tokens: u64) -> Option<u64> {
        let size = self.size();
        if size.bytes() == 0 || size.tokens > 0 || size.has_media() {
            return None;
        }
        let form = if self.generates {
            size.overhead_tokens()
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
        let each = self.limit().map_or(p90, |limit| limit.min(p90));
        each.saturating_mul(self.choices())
    }
}
