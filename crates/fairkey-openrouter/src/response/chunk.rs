//! One event of a streamed chat completion.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::{count, null_is_default, object};
use crate::request::{Content, ToolCall};
use crate::response::{FinishReason, RouterMetadata, Usage, said, salvage, some};

/// One event of a streamed chat completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatChunk {
    /// The generation's identifier, the same in all chunks.
    #[serde(default, deserialize_with = "null_is_default")]
    pub id: String,
    /// `chat.completion.chunk`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub object: String,
    /// When the stream began, in seconds since 1970.
    #[serde(default, deserialize_with = "count")]
    pub created: u64,
    /// The model that answers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub model: String,
    /// The provider that answers, by its display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What is new in each answer; may be empty, as in the chunk that brings the usage.
    #[serde(default, deserialize_with = "null_is_default")]
    pub choices: Vec<ChunkChoice>,
    /// What the call used and cost; in one chunk near the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The error, in the chunk that ends a failed stream. See
    /// [`Fault::from_frame`](crate::Fault::from_frame).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// The service tier that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// The provider's fingerprint of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<String>,
    /// What OpenRouter tells of its routing, if asked; in the last chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openrouter_metadata: Option<RouterMetadata>,
    /// What was sent to a provider, if asked; in the first chunks, one for each that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<Value>,
}

impl ChatChunk {
    /// Reads a chunk from the data of an event.
    ///
    /// A known field whose type makes no sense of it costs that field, not the stream.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json).or_else(|error| salvage::read(json).ok_or(error))
    }

    /// Returns the text that this chunk adds to the first answer; empty if it adds none.
    #[must_use]
    pub fn text(&self) -> String {
        let first = self.choices.iter().find(|choice| choice.index == 0);
        let content = first.and_then(|choice| choice.delta.content.as_ref());
        content.map(Content::text).unwrap_or_default()
    }

    /// Returns whether the chunk brings something that a caller would see: text, reasoning, a
    /// piece of a tool call, a refusal, an image or audio. A chunk with nothing but a role, a
    /// finish or the usage does not.
    #[must_use]
    pub fn has_content(&self) -> bool {
        self.choices.iter().any(|choice| choice.delta.has_content())
    }

    /// Returns whether the chunk says that the stream failed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.error.is_some()
            || self.choices.iter().any(|choice| {
                choice.error.is_some() || choice.finish_reason == Some(FinishReason::Error)
            })
    }

    /// Returns why the first answer that ends in this chunk ends.
    #[must_use]
    pub fn finish_reason(&self) -> Option<&FinishReason> {
        self.choices
            .iter()
            .find_map(|choice| choice.finish_reason.as_ref())
    }
}

/// What is new in one answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkChoice {
    /// The answer's place, from 0.
    #[serde(default, deserialize_with = "count")]
    pub index: u64,
    /// What is new.
    #[serde(default, deserialize_with = "null_is_default")]
    pub delta: Delta,
    /// Why it ended, in the chunk that ends it. May be repeated in the chunk with the usage.
    #[serde(default)]
    pub finish_reason: Option<FinishReason>,
    /// Why it ended, in the provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native_finish_reason: Option<String>,
    /// Log probabilities, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
    /// The error, where this answer failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// What is new in an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// `assistant`, usually in the first chunk only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Text to append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// A refusal to append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Reasoning to append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Reasoning in the provider's blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<Vec<Value>>,
    /// Pieces of tool calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Generated images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Value>>,
    /// Generated audio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Value>,
}

impl Delta {
    /// Returns whether it brings something that a caller would see. A role alone does not.
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
            || self.audio.as_ref().is_some_and(|audio| !audio.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(delta: &str, content: bool) {
        let json = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
        let chunk: ChatChunk = serde_json::from_str(&json).unwrap();
        assert_eq!(chunk.has_content(), content, "{delta}");
    }

    #[test]
    fn content_is_what_a_caller_would_see() {
        check(r#"{"content":"a"}"#, true);
        check(r#"{"content":" "}"#, true);
        check(r#"{"content":[{"type":"text","text":"a"}]}"#, true);
        check(r#"{"reasoning":"hm"}"#, true);
        check(
            r#"{"reasoning_details":[{"type":"reasoning.encrypted"}]}"#,
            true,
        );
        check(
            r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#,
            true,
        );
        check(r#"{"refusal":"no"}"#, true);
        check(r#"{"images":[{}]}"#, true);
        check(r#"{"audio":{"data":"x"}}"#, true);

        check(r#"{}"#, false);
        check("null", false);
        check(r#"{"role":"assistant"}"#, false);
        check(
            r#"{"role":"assistant","content":"","reasoning":null,"tool_calls":[]}"#,
            false,
        );
        check(r#"{"content":null,"audio":null,"later":1}"#, false);
    }

    #[test]
    fn the_text_is_that_of_the_first_answer_wherever_it_stands() {
        let chunk: ChatChunk = serde_json::from_str(
            r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"delta":{"content":"a"}}]}"#,
        )
        .unwrap();
        assert_eq!(chunk.text(), "a");
        assert_eq!(ChatChunk::default().text(), "");
    }
}
