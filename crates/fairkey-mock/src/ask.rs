//! What a call asks for, read from its body.
//!
//! Tokens are counted by one rule, on both sides: the bytes of the text as UTF-8, divided by four,
//! rounded up. Of a prompt, the text of all messages counts (string contents and `text` parts);
//! images and other parts count nothing.

use serde::Deserialize;
use serde_json::Value;

use crate::fault::Fault;
use crate::model::{PARAMETERS, Task};
use crate::random::hash;
use crate::routing::Preferences;

/// Fallback models beyond this many are refused.
const MAX_MODELS: usize = 3;

/// Tokens in `bytes` bytes of text.
pub(crate) fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Which endpoint, and so which shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    Text,
    Embeddings,
}

impl Shape {
    /// The models that it is for.
    pub(crate) fn task(self) -> Task {
        match self {
            Self::Chat | Self::Text => Task::Chat,
            Self::Embeddings => Task::Embed,
        }
    }
}

/// A readable inference call.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The models in order of preference; empty for the account's default.
    pub(crate) models: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) prompt_tokens: u64,
    /// Identifies the prompt: the same text draws the same answer.
    pub(crate) prompt_hash: u64,
    /// The first words of what was said last, for the answer to take up.
    pub(crate) topic: String,
    pub(crate) want: Want,
    pub(crate) providers: Preferences,
    /// The inputs of an embeddings call.
    pub(crate) inputs: Vec<u64>,
}

/// What kind of answer.
#[derive(Debug)]
pub(crate) enum Want {
    Text,
    /// An object, with this schema where one was given.
    Json(Option<Value>),
    /// A call of this tool, with arguments of this schema.
    Tool {
        name: String,
        parameters: Value,
    },
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    models: Option<Vec<String>>,
    messages: Option<Vec<Message>>,
    prompt: Option<Value>,
    input: Option<Value>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    response_format: Option<Value>,
    provider: Option<Preferences>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
}

impl Ask {
    /// Reads a body, or says what is wrong with it.
    pub(crate) fn read(body: &[u8], shape: Shape) -> Result<Self, Fault> {
        let mut parsed: Body = serde_json::from_slice(body)
            .map_err(|error| Fault::bad_request(format!("Invalid request body: {error}")))?;
        if let Some(provider) = &mut parsed.provider
            && provider.require_parameters()
        {
            provider.parameters = parameters(body);
        }
        let body = parsed;
        if body
            .models
            .as_ref()
            .is_some_and(|models| models.len() > MAX_MODELS)
        {
            return Err(Fault::too_many_models());
        }
        let texts = match shape {
            Shape::Chat => {
                let messages = body.messages.as_deref().unwrap_or_default();
                if messages.is_empty() {
                    return Err(Fault::bad_request("Input required: specify \"messages\""));
                }
                messages
                    .iter()
                    .flat_map(|message| texts_of(&message.content))
                    .collect()
            }
            Shape::Text => required_texts(body.prompt.as_ref(), "prompt")?,
            Shape::Embeddings => required_texts(body.input.as_ref(), "input")?,
        };
        let mut hashed = 0_u64;
        let mut bytes = 0;
        for text in &texts {
            hashed = hashed.rotate_left(5) ^ hash(text.as_bytes());
            bytes += text.len();
        }
        let topic = texts
            .last()
            .map_or_else(String::new, |text| first_words(text));
        let inputs = texts.iter().map(|text| hash(text.as_bytes())).collect();
        let mut models: Vec<String> = body.model.into_iter().collect();
        for model in body.models.into_iter().flatten() {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        Ok(Self {
            models,
            stream: body.stream.unwrap_or(false) && shape != Shape::Embeddings,
            max_tokens: body
                .max_completion_tokens
                .or(body.max_tokens)
                .map(|max| max.max(1)),
            prompt_tokens: tokens(bytes),
            prompt_hash: hashed,
            topic,
            want: want(
                body.tools.as_deref(),
                body.tool_choice.as_ref(),
                body.response_format,
            ),
            providers: body.provider.unwrap_or_default(),
            inputs,
        })
    }
}

/// The parameters of a request that providers may or may not support.
fn parameters(body: &[u8]) -> Vec<String> {
    let members: serde_json::Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let names = members.into_iter().map(|(name, _)| name);
    names
        .filter(|name| PARAMETERS.contains(&name.as_str()))
        .collect()
}

fn texts_of(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => Vec::new(),
    }
}

fn required_texts<'a>(value: Option<&'a Value>, name: &str) -> Result<Vec<&'a str>, Fault> {
    let texts = match value {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if texts.is_empty() {
        return Err(Fault::bad_request(format!(
            "Input required: specify \"{name}\""
        )));
    }
    Ok(texts)
}

/// Up to six words, of at most 48 bytes in all.
fn first_words(text: &str) -> String {
    let mut topic = String::new();
    for word in text.split_whitespace().take(6) {
        if topic.len() + word.len() > 48 {
            break;
        }
        if !topic.is_empty() {
            topic.push(' ');
        }
        topic.push_str(word);
    }
    topic
}

fn want(tools: Option<&[Value]>, choice: Option<&Value>, format: Option<Value>) -> Want {
    if let Some(tool) = forced_tool(tools.unwrap_or_default(), choice) {
        let text = |name: &str| tool.get(name).cloned().unwrap_or(Value::Null);
        let name = text("name").as_str().unwrap_or_default().to_owned();
        return Want::Tool {
            name,
            parameters: text("parameters"),
        };
    }
    let Some(format) = format else {
        return Want::Text;
    };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Want::Json(None),
        Some("json_schema") => Want::Json(format.pointer("/json_schema/schema").cloned()),
        _ => Want::Text,
    }
}

/// The `function` object of the tool that `tool_choice` forces.
fn forced_tool<'a>(tools: &'a [Value], choice: Option<&Value>) -> Option<&'a Value> {
    let functions = || tools.iter().filter_map(|tool| tool.get("function"));
    match choice? {
        Value::String(word) if word == "required" => functions().next(),
        Value::Object(choice) => {
            let name = choice.get("function")?.get("name")?;
            functions().find(|function| function.get("name") == Some(name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Ask, Fault> {
        Ask::read(body.as_bytes(), Shape::Chat)
    }

    #[test]
    fn tokens_are_a_quarter_of_the_bytes_rounded_up() {
        assert_eq!([0, 1, 4, 5].map(tokens), [0, 1, 1, 2]);
        let ask = read(
            r#"{"messages":[{"role":"system","content":"abcd"},
                {"role":"user","content":[{"type":"text","text":"efg"},{"type":"image_url"}]}]}"#,
        )
        .unwrap();
        assert_eq!(ask.prompt_tokens, 2);
        assert_eq!(ask.topic, "efg");
    }

    #[test]
    fn nonsense_is_a_bad_request() {
        for body in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"messages":[]}"#,
            r#"{"messages":"hi"}"#,
        ] {
            assert_eq!(read(body).unwrap_err().status(), 400, "{body}");
        }
        let four = r#"{"models":["a/1","a/2","a/3","a/4"],"messages":[{"content":"x"}]}"#;
        assert_eq!(read(four).unwrap_err().name(), "too_many_models");
    }

    #[test]
    fn fallback_models_follow_the_model_without_repeating_it() {
        let body = r#"{"model":"a/1","models":["a/1","a/2"],"messages":[{"content":"x"}]}"#;
        assert_eq!(read(body).unwrap().models, ["a/1", "a/2"]);
    }

    #[test]
    fn only_a_forced_tool_is_called() {
        let body = |choice: &str| {
            format!(
                r#"{{"messages":[{{"content":"x"}}],"tool_choice":{choice},
                    "tools":[{{"type":"function","function":{{"name":"f"}}}}]}}"#
            )
        };
        assert!(matches!(read(&body("\"auto\"")).unwrap().want, Want::Text));
        assert!(matches!(
            read(&body("\"required\"")).unwrap().want,
            Want::Tool { .. }
        ));
        let named = r#"{"type":"function","function":{"name":"f"}}"#;
        assert!(matches!(
            read(&body(named)).unwrap().want,
            Want::Tool { .. }
        ));
    }
}
