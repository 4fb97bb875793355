//! What comes back from a chat completion: [`ChatResponse`], whole, and [`ChatChunk`], in pieces.
//!
//! Everything here is read leniently: unknown fields are ignored, unknown values of enumerations
//! kept, absent and `null` fields take their default. Whether a response is a success at all is
//! not decided here; see [`Fault::in_body`](crate::Fault::in_body).

mod chunk;
mod router;
mod salvage;
mod usage;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{count, null_is_default, object};
use crate::open_enum::open_enum;
use crate::request::{Content, ToolCall};

pub use chunk::{ChatChunk, ChunkChoice, Delta};
pub use router::{RouterAttempt, RouterEndpoint, RouterEndpoints, RouterMetadata};
pub use usage::{CompletionTokensDetails, CostDetails, PromptTokensDetails, ServerToolUse, Usage};

open_enum! {
    /// Why a model stopped.
    pub enum FinishReason {
        /// It was done, or met a stop text.
        Stop = "stop",
        /// It reached the token limit.
        Length = "length",
        /// It wants tools called.
        ToolCalls = "tool_calls",
        /// A content filter stopped it.
        ContentFilter = "content_filter",
        /// It failed. What was generated so far is not an answer.
        Error = "error",
    }
}

/// The answer to a chat completion request that was not streamed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// The generation's identifier, such as `gen-…`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub id: String,
    /// `chat.completion`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub object: String,
    /// When it was made, in seconds since 1970.
    #[serde(default, deserialize_with = "count")]
    pub created: u64,
    /// The model that answered: the concrete one, where the request named a router or several.
    #[serde(default, deserialize_with = "null_is_default")]
    pub model: String,
    /// The provider that answered, by its display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The answers; one, unless the request asked for more.
    #[serde(default, deserialize_with = "null_is_default")]
    pub choices: Vec<Choice>,
    /// What it used and cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The service tier that served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// The provider's fingerprint of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// What OpenRouter tells of its routing, if asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openrouter_metadata: Option<RouterMetadata>,
}

impl ChatResponse {
    /// Reads a response from JSON.
    ///
    /// A known field whose type makes no sense of it costs that field, not the answer: it was paid
    /// for.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json).or_else(|error| salvage::read(json).ok_or(error))
    }

    /// Returns the text of the first answer, the text parts of it joined; empty without one.
    #[must_use]
    pub fn text(&self) -> String {
        self.choices
            .first()
            .map(|choice| choice.message.text())
            .unwrap_or_default()
    }

    /// Returns why the first answer ended.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.choices.first()?.finish_reason.as_ref()
    }
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Its place among the answers, from 0.
    #[serde(default, deserialize_with = "count")]
    pub index: u64,
    /// What the model says.
    #[serde(default, deserialize_with = "null_is_default")]
    pub message: ResponseMessage,
    /// Why it ended.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
    /// Why it ended, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_finish_reason: Option<String>,
    /// Log probabilities, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
    /// The error, where this answer failed. See [`Fault::in_body`](crate::Fault::in_body).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// What a model says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseMessage {
    /// `assistant`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub role: String,
    /// The content.
    #[serde(default)]
    pub content: Option<Content>,
    /// Why it would not answer, if it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The reasoning as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The reasoning in the provider's blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<Vec<Value>>,
    /// The tools to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Generated images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Value>>,
    /// Generated audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Value>,
    /// Citations and other notes on the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Vec<Value>>,
}

impl ResponseMessage {
    /// Returns a message of the assistant that says `text`.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self {
            role: "assistant".to_owned(),
            content: Some(Content::Text(text.into())),
            ..Self::default()
        }
    }

    /// Returns whether the model says anything: text, reasoning, a tool call, a refusal, an image
    /// or audio.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.content
            .as_ref()
            .is_some_and(|content| !content.is_empty())
            || said(self.reasoning.as_deref())
            || said(self.refusal.as_deref())
            || some(self.reasoning_details.as_deref())
            || some(self.tool_calls.as_deref())
            || some(self.images.as_deref())
            || self.audio.is_some()
    }

    /// Returns the text of the content, the text parts of it joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }
}

/// Whether there is a text with something in it.
fn said(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// Whether there is a list with something in it.
fn some<T>(list: Option<&[T]>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_and_what_is_unknown_ignored() {
        let json = br#"{
            "id": "gen-1", "object": "chat.completion", "created": 1700000000.0,
            "model": "a/b", "provider": "Acme", "system_fingerprint": null, "later": {"x": 1},
            "choices": [{"index": 0, "finish_reason": "vanished", "native_finish_reason": "END",
                "message": {"role": "assistant", "content": "Paris", "refusal": null, "mood": 1}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "cost": 1e-5}
        }"#;
        let response = ChatResponse::from_slice(json).unwrap();
        assert_eq!(response.text(), "Paris");
        assert_eq!(
            response.finish_reason(),
            Some(&FinishReason::Other("vanished".into()))
        );
        assert_eq!(response.usage.unwrap().cost().micro_usd, 10);
        assert_eq!(response.created, 1_700_000_000);
    }

    #[test]
    fn nothing_is_required() {
        let nulls =
            br#"{"id":null,"choices":[{"message":null,"finish_reason":null}],"usage":null}"#;
        for json in [b"{}".as_slice(), nulls, br#"{"choices":null}"#] {
            let response = ChatResponse::from_slice(json).unwrap();
            assert_eq!(response.text(), "");
            assert_eq!(response.finish_reason(), None);
        }
    }
}
