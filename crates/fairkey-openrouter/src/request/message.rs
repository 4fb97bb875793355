//! Messages of a conversation and their content.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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

    /// Returns the result of a tool call.
    #[must_use]
    pub fn tool(call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self {
            tool_call_id: Some(call_id.into()),
            ..Self::new("tool", content)
        }
    }

    /// Returns the text of the message, the text parts of it joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
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

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

/// One part of a message's content: its `type`, and the fields that go with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentPart {
    /// `text`, `image_url`, `input_audio`, `file`, `video_url` or one of a later day.
    #[serde(rename = "type")]
    pub kind: String,
    /// The fields of that kind.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl ContentPart {
    fn new(kind: &str, field: &str, value: Value) -> Self {
        let mut fields = Map::new();
        fields.insert(field.to_owned(), value);
        Self {
            kind: kind.to_owned(),
            fields,
        }
    }

    /// Returns a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new("text", "text", Value::String(text.into()))
    }

    /// Returns an image, by its `https:` or `data:` URL.
    #[must_use]
    pub fn image_url(url: impl Into<String>) -> Self {
        Self::new(
            "image_url",
            "image_url",
            serde_json::json!({ "url": url.into() }),
        )
    }

    /// Returns audio as base64, with its format (`wav`, `mp3`, …).
    #[must_use]
    pub fn input_audio(base64: impl Into<String>, format: impl Into<String>) -> Self {
        let audio = serde_json::json!({ "data": base64.into(), "format": format.into() });
        Self::new("input_audio", "input_audio", audio)
    }

    /// Returns a file by its name and its `https:` or `data:` URL.
    #[must_use]
    pub fn file(name: impl Into<String>, url: impl Into<String>) -> Self {
        let file = serde_json::json!({ "filename": name.into(), "file_data": url.into() });
        Self::new("file", "file", file)
    }

    /// Returns a video, by its `https:` or `data:` URL.
    #[must_use]
    pub fn video_url(url: impl Into<String>) -> Self {
        Self::new(
            "video_url",
            "video_url",
            serde_json::json!({ "url": url.into() }),
        )
    }

    /// Returns the text, if this part is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.kind == "text" {
            self.fields.get("text")?.as_str()
        } else {
            None
        }
    }
}

/// A call of a tool by the model; in a stream, a piece of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// In a stream: which call this piece belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Names the call, for the message that answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `function`, or one of a later day.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The function and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionCall>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The function that a [`ToolCall`] calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The arguments as JSON text, written by the model: it may be broken JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
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
