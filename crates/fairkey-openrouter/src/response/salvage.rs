//! Reading what can be read of an answer in which a known field has an unexpected type.
//!
//! The quick way to read an answer fails on the first field that it cannot make sense of. An answer
//! was paid for, and a stream is half delivered: neither is given up for a field that nobody needs.
//! Here every field is read on its own, and what cannot be read is as good as absent.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::response::{ChatChunk, ChatResponse, Choice, ChunkChoice, Delta, ResponseMessage};

/// Something that can be read field by field.
pub(super) trait Salvage: Sized {
    fn salvage(value: &Value) -> Self;
}

/// Reads a JSON object field by field; `None`: it is no object.
pub(super) fn read<T: Salvage>(json: &[u8]) -> Option<T> {
    let value: Value = serde_json::from_slice(json).ok()?;
    value.is_object().then(|| T::salvage(&value))
}

fn field<T: DeserializeOwned + Default>(of: &Value, name: &str) -> T {
    T::deserialize(&of[name]).unwrap_or_default()
}

fn list<T: Salvage>(of: &Value, name: &str) -> Vec<T> {
    of[name]
        .as_array()
        .into_iter()
        .flatten()
        .map(T::salvage)
        .collect()
}

/// What is there, whatever it is.
fn present(of: &Value, name: &str) -> Option<Value> {
    of.get(name).filter(|value| !value.is_null()).cloned()
}

impl Salvage for ChatResponse {
    fn salvage(value: &Value) -> Self {
        Self {
            id: field(value, "id"),
            object: field(value, "object"),
            created: field(value, "created"),
            model: field(value, "model"),
            provider: field(value, "provider"),
            choices: list(value, "choices"),
            usage: field(value, "usage"),
            service_tier: field(value, "service_tier"),
            system_fingerprint: field(value, "system_fingerprint"),
            openrouter_metadata: field(value, "openrouter_metadata"),
        }
    }
}

impl Salvage for Choice {
    fn salvage(value: &Value) -> Self {
        Self {
            index: field(value, "index"),
            message: ResponseMessage::salvage(&value["message"]),
            finish_reason: field(value, "finish_reason"),
            native_finish_reason: field(value, "native_finish_reason"),
            logprobs: present(value, "logprobs"),
            error: present(value, "error"),
        }
    }
}

impl Salvage for ResponseMessage {
    fn salvage(value: &Value) -> Self {
        Self {
            role: field(value, "role"),
            content: field(value, "content"),
            refusal: field(value, "refusal"),
            reasoning: field(value, "reasoning"),
            reasoning_details: field(value, "reasoning_details"),
            tool_calls: field(value, "tool_calls"),
            images: field(value, "images"),
            audio: present(value, "audio"),
            annotations: field(value, "annotations"),
        }
    }
}

impl Salvage for ChatChunk {
    fn salvage(value: &Value) -> Self {
        Self {
            id: field(value, "id"),
            object: field(value, "object"),
            created: field(value, "created"),
            model: field(value, "model"),
            provider: field(value, "provider"),
            choices: list(value, "choices"),
            usage: field(value, "usage"),
            error: present(value, "error"),
            service_tier: field(value, "service_tier"),
            system_fingerprint: field(value, "system_fingerprint"),
            openrouter_metadata: field(value, "openrouter_metadata"),
            debug: present(value, "debug"),
        }
    }
}

impl Salvage for ChunkChoice {
    fn salvage(value: &Value) -> Self {
        Self {
            index: field(value, "index"),
            delta: Delta::salvage(&value["delta"]),
            finish_reason: field(value, "finish_reason"),
            native_finish_reason: field(value, "native_finish_reason"),
            logprobs: present(value, "logprobs"),
            error: present(value, "error"),
        }
    }
}

impl Salvage for Delta {
    fn salvage(value: &Value) -> Self {
        Self {
            role: field(value, "role"),
            content: field(value, "content"),
            refusal: field(value, "refusal"),
            reasoning: field(value, "reasoning"),
            reasoning_details: field(value, "reasoning_details"),
            tool_calls: field(value, "tool_calls"),
            images: field(value, "images"),
            audio: present(value, "audio"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinishReason, Usage};

    #[test]
    fn one_odd_field_costs_only_itself() {
        let response = ChatResponse::from_slice(
            br#"{"id":7,"provider":["x"],"system_fingerprint":1,"usage":{"total_tokens":3},
                "choices":[{"index":"0","native_finish_reason":5,"finish_reason":"stop",
                    "message":{"content":"Paris","tool_calls":{},"refusal":false}}]}"#,
        )
        .unwrap();
        assert_eq!(response.text(), "Paris");
        assert_eq!(response.finish_reason(), Some(&FinishReason::Stop));
        assert_eq!(
            response.usage,
            Some(Usage {
                total_tokens: 3,
                ..Usage::default()
            })
        );
        assert_eq!((response.id.as_str(), response.provider), ("", None));
    }

    #[test]
    fn a_chunk_with_repeated_and_odd_fields_is_read_too() {
        let chunk = ChatChunk::from_slice(
            br#"{"id":"a","id":"b","choices":[{"delta":{"content":"Hi","role":5}},7]}"#,
        )
        .unwrap();
        assert_eq!((chunk.text().as_str(), chunk.id.as_str()), ("Hi", "b"));
        assert_eq!(chunk.choices.len(), 2);
    }

    #[test]
    fn what_is_no_object_is_no_answer() {
        for json in ["[]", "7", "null", "{", ""] {
            assert!(ChatResponse::from_slice(json.as_bytes()).is_err(), "{json}");
            assert!(ChatChunk::from_slice(json.as_bytes()).is_err(), "{json}");
        }
    }
}
