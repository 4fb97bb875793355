//! What a caller sends: [`ChatRequest`] and its parts.

mod message;
mod model_id;
mod provider;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use message::{Content, ContentPart, FunctionCall, Message, ToolCall};
pub use model_id::{ModelId, ModelIdError, Variant};
pub use provider::{
    Cutoff, DataCollection, MaxPrice, Partition, Price, ProviderPreferences, Quantization, Sort,
    SortBy,
};

/// A chat completion request: the body of `POST /chat/completions`.
///
/// Built with methods that chain, or read from JSON. A field that this version does not know is
/// kept in [`extra`](Self::extra) and written again, so reading and writing a request loses
/// nothing (but a known field that is `null`, which means the same as leaving it out).
///
/// A request that has to pass byte for byte is not re-serialised: pass the bytes on, and parse a
/// copy.
///
/// ```
/// use fairkey_openrouter::{ChatRequest, ProviderPreferences, SortBy};
///
/// let request = ChatRequest::new("openai/gpt-4o-mini")
///     .system("Answer in one word.")
///     .user("What is the capital of France?")
///     .max_tokens(16)
///     .temperature(0.0)
///     .provider(ProviderPreferences::new().sort(SortBy::Price).allow_fallbacks(true))
///     .with("top_a", 0.2);
/// let body = request.to_bytes();
/// assert!(body.starts_with(br#"{"model":"openai/gpt-4o-mini","messages":["#));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    /// The model, such as `openai/gpt-4o-mini:nitro`; `None` asks for the account's default.
    /// See [`ModelId`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Models to try in order, when the first fails for any reason. OpenRouter takes at most 3
    /// and answers 400 to a fourth. The one that answered is in the response's `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The conversation; at least one message.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// How OpenRouter may choose the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderPreferences>,
    /// Whether the answer comes as a stream of events. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// The largest number of tokens to generate. An explicit, realistic value raises how many
    /// calls an account with little balance can have in flight: without one OpenRouter holds
    /// money for a fixed, large number of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The newer name of [`max_tokens`](Self::max_tokens); both work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u64>,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus sampling, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    /// Frequency penalty, −2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Presence penalty, −2 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// A seed for providers that can sample reproducibly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// One text or a list of up to 4 texts at which generation stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Value>,
    /// Tool definitions. Even without
    /// [`require_parameters`](ProviderPreferences::require_parameters) they make OpenRouter prefer
    /// endpoints that support tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Value>>,
    /// Which tool the model has to call, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    /// The form of the answer, such as a JSON schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<Value>,
    /// Options for models that reason: `{effort, max_tokens, exclude, enabled, summary}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Value>,
    /// A stable identifier of the end user, for abuse isolation; without it all calls of an
    /// account share one identity at the providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Groups requests of one conversation: the key of sticky provider routing. At most 256
    /// characters; beats the header `x-session-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Every other field, known to OpenRouter or not.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ChatRequest {
    /// Returns a request to `model` without messages.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: Some(model.into()),
            ..Self::default()
        }
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object, or a known field has another type than documented.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Appends a message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Appends a system message.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(Message::system(text.into()))
    }

    /// Appends a user message.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Message::user(text.into()))
    }

    /// Appends an assistant message.
    #[must_use]
    pub fn assistant(self, text: impl Into<String>) -> Self {
        self.message(Message::assistant(text.into()))
    }

    /// Sets the models to try in order. OpenRouter takes at most 3.
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how OpenRouter may choose the provider.
    #[must_use]
    pub fn provider(mut self, provider: ProviderPreferences) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets whether the answer is streamed.
    #[must_use]
    pub fn stream(mut self, stream: bool) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Sets the largest number of tokens to generate.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u64) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Sets the sampling temperature, 0 to 2.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets nucleus sampling, 0 to 1.
    #[must_use]
    pub fn top_p(mut self, top_p: f64) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: i64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets up to 4 texts at which generation stops.
    #[must_use]
    pub fn stop<S: Into<String>>(mut self, stop: impl IntoIterator<Item = S>) -> Self {
        let stop = stop
            .into_iter()
            .map(|text| Value::String(text.into()))
            .collect();
        self.stop = Some(Value::Array(stop));
        self
    }

    /// Sets the tool definitions.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = Value>) -> Self {
        self.tools = Some(tools.into_iter().collect());
        self
    }

    /// Sets the form of the answer.
    #[must_use]
    pub fn response_format(mut self, format: Value) -> Self {
        self.response_format = Some(format);
        self
    }

    /// Sets the options for models that reason.
    #[must_use]
    pub fn reasoning(mut self, reasoning: Value) -> Self {
        self.reasoning = Some(reasoning);
        self
    }

    /// Sets the identifier of the end user, the field `user`.
    ///
    /// Named so because [`user`](Self::user) appends a message.
    #[must_use]
    pub fn user_id(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the identifier of the conversation.
    #[must_use]
    pub fn session_id(mut self, session: impl Into<String>) -> Self {
        self.session_id = Some(session.into());
        self
    }

    /// Sets any other field.
    ///
    /// A name that is also a typed field of this struct must not be given here: it would stand in
    /// the body twice.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(field.into(), value.into());
        self
    }

    /// Returns whether the answer will be a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Returns the largest number of tokens that the answer may have, if the request says.
    #[must_use]
    pub fn completion_limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Returns the body to send.
    ///
    /// The same request gives the same bytes, as OpenRouter's response cache wants it.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        // Serialising fails on maps whose keys are no strings only, and there is none in here.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_at_every_level() {
        let json = serde_json::json!({
            "model": "a/b",
            "messages": [{"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}}],
            "provider": {"order": ["x"], "a_new_preference": [1]},
            "transforms": ["middle-out"],
            "plugins": [{"id": "web"}],
        });
        let request: ChatRequest = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&request.to_bytes()).unwrap(),
            json
        );
        assert_eq!(
            request.extra["transforms"],
            serde_json::json!(["middle-out"])
        );
    }

    #[test]
    fn a_null_field_is_as_good_as_none() {
        let request = ChatRequest::from_slice(br#"{"messages":[],"temperature":null}"#).unwrap();
        assert_eq!(request, ChatRequest::default());
        assert_eq!(request.to_bytes(), br#"{"messages":[]}"#.as_slice());
    }

    #[test]
    fn the_newer_token_limit_wins() {
        let mut request = ChatRequest::new("a/b").max_tokens(5);
        assert_eq!(request.completion_limit(), Some(5));
        request.max_completion_tokens = Some(7);
        assert_eq!(request.completion_limit(), Some(7));
    }
}
