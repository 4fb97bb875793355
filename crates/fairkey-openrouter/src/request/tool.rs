//! Tools: what the model may call, has to call, and has called.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::CacheControl;
use crate::open_object::open_object;

open_object! {
    /// A tool that the model may call: a function of the caller's, or a tool that OpenRouter runs.
    pub struct Tool as in "Tool::server(\"openrouter:web_search\")" {
        @fixed {
            /// `function`, or the name of a tool that OpenRouter runs.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The function of `function`.
        function as definition: into FunctionDefinition = FunctionDefinition::new("f") => {"name": "f"};
        /// The options of a tool that OpenRouter runs. Default: its own.
        parameters: into Value = json!({"max_results": 3}) => {"max_results": 3};
        /// A mark up to which the provider caches the prompt. Default: none.
        cache_control: value CacheControl = CacheControl::ephemeral() => {"type": "ephemeral"};
    }
}

impl Tool {
    /// Returns a function without parameters, with a description for the model.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, FunctionDefinition, Tool};
    /// use serde_json::json;
    ///
    /// let weather = FunctionDefinition::new("weather")
    ///     .description("Tells the weather of a city.")
    ///     .parameters(json!({"type": "object", "properties": {"city": {"type": "string"}}}));
    /// let request = ChatRequest::new("a/b")
    ///     .tool(weather)
    ///     .tool(Tool::function("now", "Tells the time."));
    /// # assert_eq!(request.tools.unwrap().len(), 2);
    /// ```
    #[must_use]
    pub fn function(name: impl Into<String>, description: impl Into<String>) -> Self {
        FunctionDefinition::new(name)
            .description(description)
            .into()
    }

    /// Returns a tool that OpenRouter runs, such as `openrouter:web_search`.
    #[must_use]
    pub fn server(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }
}

impl From<FunctionDefinition> for Tool {
    fn from(function: FunctionDefinition) -> Self {
        Self {
            kind: "function".to_owned(),
            function: Some(function),
            ..Self::default()
        }
    }
}

open_object! {
    /// A function of the caller's.
    pub struct FunctionDefinition as in "FunctionDefinition::new(\"weather\")" {
        @fixed {
            /// The name: letters, digits, `_` and `-`, at most 64.
            pub name: String,
        }

        /// What it does; the model reads it. Default: none.
        description: into String = "Tells the weather." => "Tells the weather.";
        /// The schema of its arguments, an object. Default: none.
        parameters: into Value = json!({"type": "object"}) => {"type": "object"};
        /// Whether arguments have to match the schema. Default: false.
        strict: value bool = true => true;
    }
}

impl FunctionDefinition {
    /// Returns a function without parameters.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// Which tool the model has to call, if any.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ToolChoice {
    /// None.
    None,
    /// As it likes.
    Auto,
    /// Any, but at least one.
    Required,
    /// This function.
    Function(String),
    /// This tool that OpenRouter runs, by its `type`.
    Server(String),
    /// A value that this version does not know, as it came.
    Other(Value),
}

impl ToolChoice {
    fn to_value(&self) -> Value {
        match self {
            Self::None => "none".into(),
            Self::Auto => "auto".into(),
            Self::Required => "required".into(),
            Self::Function(name) => json!({"type": "function", "function": {"name": name}}),
            Self::Server(kind) => json!({ "type": kind }),
            Self::Other(value) => value.clone(),
        }
    }
}

impl From<Value> for ToolChoice {
    fn from(value: Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let choice = match value.as_str() {
            Some("none") => Some(Self::None),
            Some("auto") => Some(Self::Auto),
            Some("required") => Some(Self::Required),
            _ => text(&value["function"]["name"])
                .map(Self::Function)
                .or_else(|| text(&value["type"]).map(Self::Server)),
        };
        // What would not be written as it was read, is kept as it was read.
        match choice {
            Some(choice) if choice.to_value() == value => choice,
            _ => Self::Other(value),
        }
    }
}

impl Serialize for ToolChoice {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(to)
    }
}

impl<'de> Deserialize<'de> for ToolChoice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(Self::from)
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

impl ToolCall {
    /// Returns a call of a function, with its arguments as JSON text.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, Message, ToolCall};
    ///
    /// let call = ToolCall::function("call_1", "weather", r#"{"city":"Paris"}"#);
    /// let request = ChatRequest::new("a/b")
    ///     .user("What is the weather in Paris?")
    ///     .message(Message::tool_calls([call]))
    ///     .tool_result("call_1", "21 °C");
    /// # assert_eq!(request.messages.len(), 3);
    /// ```
    #[must_use]
    pub fn function(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        Self {
            id: Some(id.into()),
            kind: Some("function".to_owned()),
            function: Some(FunctionCall {
                name: Some(name.into()),
                arguments: Some(arguments.into()),
                extra: Map::new(),
            }),
            ..Self::default()
        }
    }
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
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &Value, expected: &ToolChoice) {
        let choice = ToolChoice::deserialize(json).unwrap();
        assert_eq!(choice, *expected);
        assert_eq!(serde_json::to_value(&choice).unwrap(), *json);
    }

    #[test]
    fn a_choice_of_any_form_is_written_as_it_was_read() {
        check(&json!("none"), &ToolChoice::None);
        check(&json!("auto"), &ToolChoice::Auto);
        check(&json!("required"), &ToolChoice::Required);
        check(
            &json!({"type": "function", "function": {"name": "f"}}),
            &ToolChoice::Function("f".into()),
        );
        check(
            &json!({"type": "openrouter:web_search"}),
            &ToolChoice::Server("openrouter:web_search".into()),
        );
        for json in [
            json!("sometimes"),
            json!({"type": "function", "function": {"name": "f"}, "later": 1}),
            json!({"type": "allowed_tools", "tools": []}),
            json!(7),
        ] {
            check(&json, &ToolChoice::Other(json.clone()));
        }
    }
}
