//! Messages of a conversation and their content.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ContentPart, ToolCall};
use crate::response::ResponseMessage;

/// One message of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What is said; an assistant message that only calls tools has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The speaker's name, where several share a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The tools that the assistant called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// The call that a `tool` message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// What the assistant refused, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The assistant's reasoning, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The assistant's reasoning in the provider's blocks: sent back unchanged, so that the model
    /// goes on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_details: Option<Vec<Value>>,
    /// Images that the assistant made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Value>>,
    /// Audio that the assistant made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Value>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// Returns a message of `role`.
    #[must_use]
    pub fn new(role: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            role: role.into(),
            content: Some(content.into()),
            ..Self::default()
        }
    }

    /// Returns a system message.
    #[must_use]
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new("system", content)
    }

    /// Returns a developer message, which some models read in place of a system message.
    #[must_use]
    pub fn developer(content: impl Into<Content>) -> Self {
        Self::new("developer", content)
    }

    /// Returns a user message.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new("user", content)
    }

    /// Returns an assistant message.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new("assistant", content)
    }

    /// Returns an assistant message that says nothing and calls tools.
    #[must_use]
    pub fn tool_calls(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        Self {
            role: "assistant".to_owned(),
            tool_calls: Some(calls.into_iter().collect()),
            ..Self::default()
        }
    }

    /// Returns the result of a tool call.
    #[must_use]
    pub fn tool(call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            tool_call_id: Some(call_id.into()),
            ..Self::new("tool", content)
        }
    }

    /// Sets the speaker's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Returns the text of the message, the text parts of it joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }
}

impl From<ResponseMessage> for Message {
    /// Makes an answer a part of the conversation, with its tool calls and its reasoning.
    fn from(answer: ResponseMessage) -> Self {
        let role = match answer.role {
            role if role.is_empty() => "assistant".to_owned(),
            role => role,
        };
        Self {
            role,
            content: answer.content,
            tool_calls: answer.tool_calls,
            refusal: answer.refusal,
            reasoning: answer.reasoning,
            reasoning_details: answer.reasoning_details,
            images: answer.images,
            audio: answer.audio,
            ..Self::default()
        }
    }
}

/// What a message says: a text, or parts of several kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A plain text.
    Text(String),
    /// Texts, images, audio, files and video, in order.
    Parts(Vec<ContentPart>),
}

impl Content {
    /// Returns the text, the text parts joined.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(ContentPart::as_text).collect(),
        }
    }

    /// Returns whether there is nothing in it: no part at all, or only empty texts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.iter().all(|part| part.as_text() == Some("")),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<const N: usize> From<[ContentPart; N]> for Content {
    fn from(parts: [ContentPart; N]) -> Self {
        Self::Parts(parts.into())
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_a_text_or_parts() {
        let text: Message = serde_json::from_str(r#"{"role":"user","content":"a"}"#).unwrap();
        assert_eq!(text, Message::user("a"));
        let parts = Message::user(vec![
            ContentPart::text("a"),
            ContentPart::image_url("https://example.com/x.png"),
            ContentPart::text("b"),
        ]);
        assert_eq!(parts.text(), "ab");
        let json = serde_json::to_string(&parts).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&json).unwrap(), parts);
    }

    #[test]
    fn emptiness_is_about_what_is_said() {
        assert!(Content::from("").is_empty());
        assert!(Content::Parts(vec![ContentPart::text("")]).is_empty());
        assert!(!Content::Parts(vec![ContentPart::image_url("data:,x")]).is_empty());
    }
}
