//! What a caller sends: [`ChatRequest`] and its parts.

mod format;
mod message;
mod model_id;
mod options;
mod part;
mod plugin;
mod provider;
mod reasoning;
mod tool;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::open_object::open_object;

pub use format::{JsonSchema, Modality, Prediction, ResponseFormat, Stop, Verbosity};
pub use message::{Content, Message};
pub use model_id::{MAX_MODELS, ModelId, ModelIdError, Variant};
pub use options::{
    CacheControl, CacheTtl, DebugOptions, PromptCacheOptions, Route, ServiceTier, StopCondition,
    StreamOptions, Trace,
};
pub use part::{ContentPart, ImageDetail};
pub use plugin::{PdfEngine, Plugin};
pub use provider::{
    Cutoff, DataCollection, MaxPrice, Partition, Percentiles, Price, ProviderPreferences,
    Quantization, Sort, SortBy,
};
pub use reasoning::{Effort, Reasoning, SummaryVerbosity};
pub use tool::{FunctionCall, FunctionDefinition, Tool, ToolCall, ToolChoice};

open_object! {
    /// A chat completion request: the body of `POST /chat/completions`.
    ///
    /// Built with methods that chain, or read from JSON. A field that this version does not know is
    /// kept in [`extra`](Self::extra) and written again, so reading and writing a request loses
    /// nothing (but a known field that is `null`, which means the same as leaving it out).
    ///
    /// A request that has to pass byte for byte is not re-serialised: pass the bytes on, and
    /// [splice](crate::splice) what has to change.
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
    ///     .with("a_new_field", 0.2);
    /// let body = request.to_bytes();
    /// assert!(body.starts_with(br#"{"model":"openai/gpt-4o-mini","messages":["#));
    /// ```
    pub struct ChatRequest as in "ChatRequest::new(\"a/b\")" {
        @fixed {
            /// The model, such as `openai/gpt-4o-mini:nitro`; `None` asks for the account's
            /// default. See [`ModelId`].
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub model: Option<String>,
            /// Models to try in order, when the first fails for any reason. OpenRouter takes at
            /// most [`MAX_MODELS`] and answers 400 to more. The one that answered is in the
            /// response's `model`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub models: Option<Vec<String>>,
            /// The conversation; at least one message.
            #[serde(default)]
            pub messages: Vec<Message>,
        }

        /// How OpenRouter may choose the provider. Default: as the account says, balanced by price.
        provider: value ProviderPreferences = ProviderPreferences::new().zdr(true) => {"zdr": true};
        /// A preset of the account by its slug: fields that the request leaves out come from there.
        /// Default: none.
        preset: into String = "polite" => "polite";
        /// Whether the answer comes as a stream of events. Default: false.
        stream: value bool = true => true;
        /// Options of the stream. Usage is always sent, whatever this says.
        stream_options: value StreamOptions = StreamOptions::new().include_usage(true)
            => {"include_usage": true};
        /// The largest number of tokens to generate. Default: the model's own. An explicit,
        /// realistic value raises how many calls an account with little balance can have in
        /// flight: without one OpenRouter holds money for a fixed, large number of tokens.
        max_tokens: value u64 = 16 => 16;
        /// The newer name of [`max_tokens`](field@Self::max_tokens); both work.
        max_completion_tokens: value u64 = 16 => 16;
        /// Sampling temperature, 0 to 2. Default: the model's own, mostly 1.
        temperature: value f64 = 0.5 => 0.5;
        /// Nucleus sampling: the likeliest tokens that together have this probability, above 0, up
        /// to 1. Default: 1.
        top_p: value f64 = 0.9 => 0.9;
        /// How many of the likeliest tokens to choose from, from 0; 0 switches it off. Default:
        /// off.
        top_k: value u64 = 40 => 40;
        /// The least probability of a token, as a share of the likeliest one's, 0 to 1. Default: 0.
        min_p: value f64 = 0.05 => 0.05;
        /// As [`min_p`](field@Self::min_p), with the square of the likeliest token's probability,
        /// 0 to 1. Default: 0.
        top_a: value f64 = 0.2 => 0.2;
        /// Penalty for tokens by how often they came already, −2 to 2. Default: 0.
        frequency_penalty: value f64 = 0.5 => 0.5;
        /// Penalty for tokens that came already, −2 to 2. Default: 0.
        presence_penalty: value f64 = 0.5 => 0.5;
        /// Factor against tokens of the prompt, above 0, up to 2. Default: 1.
        repetition_penalty: value f64 = 1.1 => 1.1;
        /// Added to the scores of tokens, by token number, −100 to 100. Default: none.
        logit_bias: into BTreeMap<String, f64> = [("50256".to_owned(), 10.0)] => {"50256": 10.0};
        /// Whether to return log probabilities. Default: false.
        logprobs: value bool = true => true;
        /// For how many of the likeliest tokens, 0 to 20; needs
        /// [`logprobs`](field@Self::logprobs). Default: 0.
        top_logprobs: value u64 = 5 => 5;
        /// A seed for providers that can sample reproducibly. Default: none.
        seed: value i64 = 7 => 7;
        /// A text, or up to 4 of them, at which generation stops. Default: none.
        stop: into Stop = ["\n\n", "END"] => ["\n\n", "END"];
        /// The tools that the model may call. Even without
        /// [`require_parameters`](field@ProviderPreferences::require_parameters) they make
        /// OpenRouter prefer endpoints that support tools. Default: none.
        tools: list Tool = [Tool::server("openrouter:datetime")] => [{"type": "openrouter:datetime"}];
        /// Which tool the model has to call, if any. Default: as it likes.
        tool_choice: into ToolChoice = ToolChoice::Required => "required";
        /// Whether the model may call several tools at once. Default: true.
        parallel_tool_calls: value bool = false => false;
        /// When OpenRouter stops calling its own tools; the first that holds. Default: its own
        /// bounds.
        stop_server_tools_when: list StopCondition = [StopCondition::step_count_is(3)]
            => [{"type": "step_count_is", "step_count": 3}];
        /// The form of the answer, such as a JSON schema. Default: text. Makes OpenRouter prefer
        /// endpoints that support it.
        response_format: value ResponseFormat = ResponseFormat::json_object()
            => {"type": "json_object"};
        /// How many words the model makes. Makes OpenRouter prefer endpoints that support it.
        /// Default: the model's own.
        verbosity: into Verbosity = Verbosity::Low => "low";
        /// Options for models that reason. Default: the model's own.
        reasoning: into Reasoning = Effort::Low => {"effort": "low"};
        /// How much to reason: the short form of [`reasoning`](field@Self::reasoning).
        reasoning_effort: into Effort = Effort::High => "high";
        /// What the answer consists of. Default: text.
        modalities: list Modality = [Modality::Text, Modality::Image] => ["text", "image"];
        /// Options of generated images, such as `aspect_ratio`, by name. Default: the model's own.
        image_config: into Map<String, Value> =
            json!({"aspect_ratio": "16:9"}).as_object().cloned().unwrap_or_default()
            => {"aspect_ratio": "16:9"};
        /// What the answer will mostly be, for models that are quicker then. Default: none.
        prediction: value Prediction = Prediction::new("fn main() {}")
            => {"type": "content", "content": "fn main() {}"};
        /// Plugins of OpenRouter; the account's settings may force more. Default: none.
        plugins: list Plugin = [Plugin::response_healing()] => [{"id": "response-healing"}];
        /// The class of service, at its own price. `flex` never falls back to default endpoints.
        /// Billing follows the tier that served. Default: `auto`.
        service_tier: into ServiceTier = ServiceTier::Flex => "flex";
        /// The older form of [`Partition`]. Deprecated.
        route: into Route = Route::Fallback => "fallback";
        /// Caches the prompt up to its last block that can be cached, at providers where that has
        /// to be asked for. Default: none.
        cache_control: value CacheControl = CacheControl::ephemeral() => {"type": "ephemeral"};
        /// Names the prompt's prefix for the provider's cache, and the conversation for sticky
        /// routing. Default: none.
        prompt_cache_key: into String = "k-1" => "k-1";
        /// Options of the provider's cache. Default: the provider's own.
        prompt_cache_options: value PromptCacheOptions = PromptCacheOptions::explicit()
            => {"mode": "explicit"};
        /// A stable identifier of the end user, for abuse isolation; without it all calls of an
        /// account share one identity at the providers. Set by [`user_id`](Self::user_id), since
        /// [`user`](Self::user) appends a message. Default: none.
        user as user_id: into String = "u-1" => "u-1";
        /// Groups requests of one conversation: the key of sticky provider routing. At most 256
        /// characters; beats the header `x-session-id`. Default: none.
        session_id: into String = "s-1" => "s-1";
        /// At most 16 pairs of the caller's own, names of at most 64 characters, values of at most
        /// 512. Default: none.
        metadata: into BTreeMap<String, String> = [("team".to_owned(), "search".to_owned())]
            => {"team": "search"};
        /// Names for the account's observability destinations. Default: none.
        trace: value Trace = Trace::new().trace_id("t-1") => {"trace_id": "t-1"};
        /// Help for finding errors; of streams only. Default: none.
        debug: value DebugOptions = DebugOptions::new().echo_upstream_body(true)
            => {"echo_upstream_body": true};
    }
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
        crate::lenient::object(json)
    }

    /// Appends a message.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, Message};
    ///
    /// let request = ChatRequest::new("a/b").message(Message::developer("Be brief."));
    /// assert_eq!(request.messages[0].role, "developer");
    /// ```
    #[must_use]
    pub fn message(mut self, message: impl Into<Message>) -> Self {
        self.messages.push(message.into());
        self
    }

    /// Appends a system message.
    ///
    /// ```
    /// use fairkey_openrouter::ChatRequest;
    ///
    /// let request = ChatRequest::new("a/b").system("Be brief.");
    /// assert_eq!(request.messages[0].role, "system");
    /// ```
    #[must_use]
    pub fn system(self, content: impl Into<Content>) -> Self {
        self.message(Message::system(content))
    }

    /// Appends a user message: a text, or parts.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, ContentPart};
    ///
    /// let request = ChatRequest::new("a/b").user(vec![
    ///     ContentPart::text("What is this?"),
    ///     ContentPart::image_url("https://example.com/x.png"),
    /// ]);
    /// assert_eq!(request.messages[0].role, "user");
    /// assert_eq!(request.messages[0].text(), "What is this?");
    /// ```
    #[must_use]
    pub fn user(self, content: impl Into<Content>) -> Self {
        self.message(Message::user(content))
    }

    /// Appends an assistant message.
    ///
    /// ```
    /// use fairkey_openrouter::ChatRequest;
    ///
    /// let request = ChatRequest::new("a/b").user("Hi").assistant("Hello").user("How are you?");
    /// assert_eq!(request.messages[1].role, "assistant");
    /// ```
    #[must_use]
    pub fn assistant(self, content: impl Into<Content>) -> Self {
        self.message(Message::assistant(content))
    }

    /// Appends the result of a tool call.
    ///
    /// ```
    /// use fairkey_openrouter::ChatRequest;
    ///
    /// let request = ChatRequest::new("a/b").tool_result("call_1", "21 °C");
    /// assert_eq!(request.messages[0].tool_call_id.as_deref(), Some("call_1"));
    /// ```
    #[must_use]
    pub fn tool_result(self, call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        self.message(Message::tool(call_id, content))
    }

    /// Sets the models to try in order. OpenRouter takes at most [`MAX_MODELS`].
    ///
    /// ```
    /// use fairkey_openrouter::ChatRequest;
    ///
    /// let request = ChatRequest::default().models(["a/b", "c/d"]);
    /// assert_eq!(request.candidates(), ["a/b", "c/d"]);
    /// ```
    #[must_use]
    pub fn models<M: Into<String>>(mut self, models: impl IntoIterator<Item = M>) -> Self {
        self.models = Some(models.into_iter().map(Into::into).collect());
        self
    }

    /// Appends a plugin.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, Plugin};
    ///
    /// let request = ChatRequest::new("a/b").plugin(Plugin::moderation());
    /// assert_eq!(request.plugins.unwrap().len(), 1);
    /// ```
    #[must_use]
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugins.get_or_insert_default().push(plugin);
        self
    }

    /// Appends a tool.
    ///
    /// ```
    /// use fairkey_openrouter::{ChatRequest, Tool};
    ///
    /// let request = ChatRequest::new("a/b").tool(Tool::function("now", "Tells the time."));
    /// assert_eq!(request.tools.unwrap().len(), 1);
    /// ```
    #[must_use]
    pub fn tool(mut self, tool: impl Into<Tool>) -> Self {
        self.tools.get_or_insert_default().push(tool.into());
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

    /// Returns the models that may answer, in order: [`model`](field@Self::model), then those of
    /// [`models`](field@Self::models) that were not named yet.
    #[must_use]
    pub fn candidates(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for model in self.model.iter().chain(self.models.iter().flatten()) {
            if !all.contains(&model.as_str()) {
                all.push(model);
            }
        }
        all
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
            "plugins": [{"id": "web", "later": {}}],
            "tools": [{"type": "function", "function": {"name": "f", "later": 1}, "later": 2}],
            "tool_choice": {"type": "allowed_tools", "later": 3},
            "reasoning": {"effort": "low", "later": 4},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "later": 5}},
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
    fn a_list_is_no_request() {
        assert!(ChatRequest::from_slice(b"[]").is_err());
    }

    #[test]
    fn the_newer_token_limit_wins() {
        let mut request = ChatRequest::new("a/b").max_tokens(5);
        assert_eq!(request.completion_limit(), Some(5));
        request.max_completion_tokens = Some(7);
        assert_eq!(request.completion_limit(), Some(7));
    }
}
