//! What form an answer has, and where it ends.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Content;
use crate::open_enum::open_enum;
use crate::open_object::open_object;

open_object! {
    /// The form of the answer.
    pub struct ResponseFormat as in "ResponseFormat::new(\"json_schema\")" {
        @fixed {
            /// `text`, `json_object`, `json_schema`, `grammar`, `python` or one of a later day.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The schema of `json_schema`.
        json_schema: value JsonSchema = JsonSchema::new("x") => {"name": "x"};
        /// The grammar of `grammar`.
        grammar: into String = "root ::= \"a\"" => "root ::= \"a\"";
    }
}

impl ResponseFormat {
    /// Returns a form by its `type`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// Returns text, the default.
    #[must_use]
    pub fn text() -> Self {
        Self::new("text")
    }

    /// Returns any JSON object. The prompt has to ask for JSON, too.
    #[must_use]
    pub fn json_object() -> Self {
        Self::new("json_object")
    }

    /// Returns JSON of a schema, strictly.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, ResponseFormat};
    /// use serde_json::json;
    ///
    /// let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    /// let request = ChatRequest::new("a/b").response_format(ResponseFormat::schema("city", schema));
    /// # let json = serde_json::to_value(&request)?;
    /// assert_eq!(json["response_format"]["json_schema"]["strict"], true);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn schema(name: impl Into<String>, schema: impl Into<Value>) -> Self {
        Self::new("json_schema").json_schema(JsonSchema::new(name).schema(schema).strict(true))
    }
}

open_object! {
    /// A JSON schema with a name.
    pub struct JsonSchema as in "JsonSchema::new(\"city\")" {
        @fixed {
            /// The name: letters, digits, `_` and `-`, at most 64.
            pub name: String,
        }

        /// What it is for; the model reads it. Default: none.
        description: into String = "a city" => "a city";
        /// The schema. Default: anything.
        schema: into Value = true => true;
        /// Whether the answer has to match, or is asked to only. Default: false.
        strict: value bool = true => true;
    }
}

impl JsonSchema {
    /// Returns a schema of that name which says nothing.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

open_object! {
    /// What the answer will mostly be.
    pub struct Prediction as in "Prediction::new(\"a\")" {
        @fixed {
            /// `content`.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The text, or text parts.
        content: into Content = "b" => "b";
    }
}

impl Prediction {
    /// Returns a predicted content.
    #[must_use]
    pub fn new(content: impl Into<Content>) -> Self {
        Self {
            kind: "content".to_owned(),
            content: Some(content.into()),
            ..Self::default()
        }
    }
}

/// Where generation stops: at a text, or at several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    /// At this text.
    At(String),
    /// At any of these; at most 4.
    AtAny(Vec<String>),
}

impl Stop {
    /// Returns the texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        match self {
            Self::At(text) => std::slice::from_ref(text),
            Self::AtAny(texts) => texts,
        }
    }
}

impl From<&str> for Stop {
    fn from(text: &str) -> Self {
        Self::At(text.to_owned())
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::At(text)
    }
}

impl<T: Into<String>> From<Vec<T>> for Stop {
    fn from(texts: Vec<T>) -> Self {
        Self::AtAny(texts.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Stop {
    fn from(texts: [T; N]) -> Self {
        Self::AtAny(texts.into_iter().map(Into::into).collect())
    }
}

open_enum! {
    /// What an answer consists of.
    pub enum Modality {
        /// Text.
        Text = "text",
        /// Images.
        Image = "image",
        /// Audio.
        Audio = "audio",
    }
}

open_enum! {
    /// How many words a model makes.
    pub enum Verbosity {
        /// Few.
        Low = "low",
        /// As usual.
        Medium = "medium",
        /// Many.
        High = "high",
        /// More.
        Xhigh = "xhigh",
        /// As many as it can.
        Max = "max",
    }
}
