//! What a call asks for, read from its body.
//!
//! Tokens are counted by one rule, on both sides: the bytes of the text as UTF-8, divided by four,
//! rounded up. Of a prompt, the text of all messages counts (string contents and `text` parts);
//! images and other parts count nothing.

mod text;

use serde::Deserialize;
use serde_json::Value;

pub(crate) use text::of_document;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    Chat,
    Text,
    Embeddings,
    Messages,
    Responses,
    Rerank,
}

impl Shape {
    /// The models that it is for.
    pub(crate) fn task(self) -> Task {
        match self {
            Self::Chat | Self::Text | Self::Messages | Self::Responses => Task::Chat,
            Self::Embeddings => Task::Embed,
            Self::Rerank => Task::Rerank,
        }
    }

    /// Whether a model writes an answer.
    pub(crate) fn generates(self) -> bool {
        self.task() == Task::Chat
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
    /// The documents of a rerank call, and how many of them it wants back.
    pub(crate) documents: Vec<Value>,
    pub(crate) top_n: Option<usize>,
    pub(crate) query: String,
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

/// A body of any inference endpoint; the members of the others are not looked at.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    models: Option<Vec<String>>,
    /// Of `/messages`.
    fallbacks: Option<Vec<Fallback>>,
    system: Option<Value>,
    /// Of `/responses`.
    instructions: Option<String>,
    max_output_tokens: Option<u64>,
    store: Option<bool>,
    previous_response_id: Option<Value>,
    text: Option<Value>,
    /// Of `/rerank`.
    query: Option<String>,
    documents: Option<Vec<Value>>,
    top_n: Option<usize>,
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
struct Fallback {
    model: String,
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
            || body
                .fallbacks
                .as_ref()
                .is_some_and(|models| models.len() > MAX_MODELS)
        {
            return Err(Fault::too_many_models());
        }
        if shape == Shape::Responses
            && (body.store == Some(true) || body.previous_response_id.is_some())
        {
            let message = "The Responses API is stateless: store and previous_response_id are not \
                           supported";
            return Err(Fault::bad_request(message));
        }
        let texts = text::texts(&body, shape)?;
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
        let fallbacks = body.fallbacks.into_iter().flatten();
        let fallbacks = fallbacks.map(|fallback| fallback.model);
        for model in body.models.into_iter().flatten().chain(fallbacks) {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        let format = body
            .text
            .as_ref()
            .and_then(|text| text.get("format"))
            .cloned();
        Ok(Self {
            models,
            stream: body.stream.unwrap_or(false) && shape.generates(),
            max_tokens: body
                .max_completion_tokens
                .or(body.max_tokens)
                .or(body.max_output_tokens)
                .map(|max| max.max(1)),
            prompt_tokens: tokens(bytes),
            prompt_hash: hashed,
            topic,
            want: want(
                body.tools.as_deref(),
                body.tool_choice.as_ref(),
                body.response_format.or(format),
            ),
            providers: body.provider.unwrap_or_default(),
            inputs,
            documents: body.documents.unwrap_or_default(),
            top_n: body.top_n,
            query: body.query.unwrap_or_default(),
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
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default();
        let schema = tool.get("parameters").or_else(|| tool.get("input_schema"));
        return Want::Tool {
            name: name.to_owned(),
            parameters: schema.cloned().unwrap_or(Value::Null),
        };
    }
    let Some(format) = format else {
        return Want::Text;
    };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") => Want::Json(None),
        Some("json_schema") => {
            let nested = format.pointer("/json_schema/schema");
            Want::Json(nested.or_else(|| format.get("schema")).cloned())
        }
        _ => Want::Text,
    }
}

/// The tool that `tool_choice` forces: the `function` object of chat, or the tool itself where
/// formats are flat.
fn forced_tool<'a>(tools: &'a [Value], choice: Option<&Value>) -> Option<&'a Value> {
    let mut functions = tools.iter().filter_map(|tool| {
        let named = tool.get("name").is_some().then_some(tool);
        tool.get("function").or(named)
    });
    match choice? {
        Value::String(word) if word == "required" => functions.next(),
        Value::Object(choice) => {
            if choice.get("type").is_some_and(|kind| kind == "any") {
                return functions.next();
            }
            let nested = choice.get("function").and_then(|chosen| chosen.get("name"));
            let name = nested.or_else(|| choice.get("name"))?;
            functions.find(|function| function.get("name") == Some(name))
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
