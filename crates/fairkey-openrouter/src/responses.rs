//! The Responses format of OpenAI: the bodies of `POST /responses`.
//!
//! OpenRouter keeps no state: `store: true` and `previous_response_id` are answered with 400, and a
//! conversation is sent whole.

mod answer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::open_object::{body, open_object};
use crate::request::{
    CacheControl, Content, DebugOptions, Modality, Plugin, PromptCacheOptions, ProviderPreferences,
    Reasoning, Route, ServiceTier, StopCondition, Trace, Verbosity,
};

pub use answer::{OutputItem, ResponsesEvent, ResponsesResponse, ResponsesUsage};

open_object! {
    /// A request in the Responses format.
    ///
    /// ```
    /// use fairkey_openrouter::{Effort, ResponsesRequest};
    ///
    /// let request = ResponsesRequest::new("openai/gpt-5-mini", "What is the capital of France?")
    ///     .instructions("Answer in one word.")
    ///     .reasoning(Effort::Low)
    ///     .max_output_tokens(500);
    /// assert_eq!(serde_json::to_value(&request)?["input"], "What is the capital of France?");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct ResponsesRequest as in "ResponsesRequest::new(\"a/b\", \"Hi\")" {
        @fixed {
            /// The model; `None` asks for the account's default.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub model: Option<String>,
        }

        /// Models to try in order, at most 3.
        models: list String = ["a/b", "c/d"] => ["a/b", "c/d"];
        /// What is said: a text, or items.
        input: into ResponsesInput = "Hi" => "Hi";
        /// The system message.
        instructions: into String = "Be brief." => "Be brief.";
        /// How OpenRouter may choose the provider. Default: as the account says.
        provider: value ProviderPreferences = ProviderPreferences::new().zdr(true) => {"zdr": true};
        /// Whether the answer comes as a stream of events. Default: false.
        stream: value bool = true => true;
        /// The largest number of tokens to generate. Default: the model's own.
        max_output_tokens: value u64 = 16 => 16;
        /// The most calls of OpenRouter's own tools. Default: its own bound.
        max_tool_calls: value u64 = 4 => 4;
        /// Sampling temperature, 0 to 2. Default: the model's own.
        temperature: value f64 = 0.5 => 0.5;
        /// Nucleus sampling, above 0, up to 1. Default: 1.
        top_p: value f64 = 0.9 => 0.9;
        /// How many of the likeliest tokens to choose from. Default: off.
        top_k: value u64 = 40 => 40;
        /// For how many of the likeliest tokens to return log probabilities, 0 to 20. Default: 0.
        top_logprobs: value u64 = 5 => 5;
        /// Penalty for tokens by how often they came already, −2 to 2. Default: 0.
        frequency_penalty: value f64 = 0.5 => 0.5;
        /// Penalty for tokens that came already, −2 to 2. Default: 0.
        presence_penalty: value f64 = 0.5 => 0.5;
        /// Options for models that reason. Default: the model's own.
        reasoning: into Reasoning = Effort::Low => {"effort": "low"};
        /// The form and the length of the text. Default: plain.
        text: value TextOptions = TextOptions::new().verbosity("low") => {"verbosity": "low"};
        /// The tools that the model may call. Default: none.
        tools: list ResponsesTool = [ResponsesTool::new("openrouter:web_search")]
            => [{"type": "openrouter:web_search"}];
        /// Which tool the model has to call: `auto`, `none`, `required`, or an object. Default:
        /// as it likes.
        tool_choice: into Value = "required" => "required";
        /// Whether the model may call several tools at once. Default: true.
        parallel_tool_calls: value bool = false => false;
        /// When OpenRouter stops calling its own tools. Default: its own bounds.
        stop_server_tools_when: list StopCondition = [StopCondition::max_cost(0.5)]
            => [{"type": "max_cost", "max_cost_in_dollars": 0.5}];
        /// What else to return, such as `reasoning.encrypted_content`. Default: nothing.
        include: list String = ["reasoning.encrypted_content"] => ["reasoning.encrypted_content"];
        /// What the answer consists of. Default: text.
        modalities: list Modality = [Modality::Text] => ["text"];
        /// Options of generated images. Default: the model's own.
        image_config: into Map<String, Value> =
            json!({"aspect_ratio": "16:9"}).as_object().cloned().unwrap_or_default()
            => {"aspect_ratio": "16:9"};
        /// Plugins of OpenRouter. Default: none.
        plugins: list Plugin = [Plugin::moderation()] => [{"id": "moderation"}];
        /// A stored prompt, by its `id`, with `variables`. Default: none.
        prompt: into Value = json!({"id": "p-1"}) => {"id": "p-1"};
        /// What happens to a conversation that is too long: `auto` or `disabled`. Default:
        /// `disabled`.
        truncation: into String = "auto" => "auto";
        /// The class of service. Default: `auto`.
        service_tier: into ServiceTier = ServiceTier::Flex => "flex";
        /// The older form of [`Partition`](crate::Partition). Deprecated.
        route: into Route = Route::Fallback => "fallback";
        /// Caches the prompt where that has to be asked for. Default: none.
        cache_control: value CacheControl = CacheControl::ephemeral() => {"type": "ephemeral"};
        /// Names the prompt's prefix for the provider's cache. Default: none.
        prompt_cache_key: into String = "k-1" => "k-1";
        /// Options of the provider's cache. Default: the provider's own.
        prompt_cache_options: value PromptCacheOptions = PromptCacheOptions::explicit()
            => {"mode": "explicit"};
        /// A stable identifier of the end user, at most 256 characters. Default: none.
        user: into String = "u-1" => "u-1";
        /// The same for abuse detection of OpenAI. Default: none.
        safety_identifier: into String = "h-1" => "h-1";
        /// Groups requests of one conversation, at most 256 characters. Default: none.
        session_id: into String = "s-1" => "s-1";
        /// At most 16 pairs of the caller's own. Default: none.
        metadata: into BTreeMap<String, String> = [("team".to_owned(), "search".to_owned())]
            => {"team": "search"};
        /// Names for the account's observability destinations. Default: none.
        trace: value Trace = Trace::new().trace_id("t-1") => {"trace_id": "t-1"};
        /// Help for finding errors; of streams only. Default: none.
        debug: value DebugOptions = DebugOptions::new().echo_upstream_body(true)
            => {"echo_upstream_body": true};
        /// Whether to answer later; not offered. Default: false.
        background: value bool = false => false;
        /// Whether to keep the answer: true is refused. Default: false.
        store: value bool = false => false;
    }
}

impl ResponsesRequest {
    /// Returns a request to `model`.
    #[must_use]
    pub fn new(model: impl Into<String>, input: impl Into<ResponsesInput>) -> Self {
        Self {
            model: Some(model.into()),
            input: Some(input.into()),
            ..Self::default()
        }
    }

    /// Appends an item to the input; a text before it becomes an item.
    ///
    /// ```
    /// use fairkey_openrouter::{InputItem, ResponsesRequest};
    ///
    /// let request = ResponsesRequest::new("a/b", "What is the weather?")
    ///     .item(InputItem::function_call("call_1", "weather", "{}"))
    ///     .item(InputItem::function_call_output("call_1", "21 °C"));
    /// let json = serde_json::to_value(&request)?;
    /// assert_eq!(json["input"][0]["role"], "user");
    /// assert_eq!(json["input"][2]["type"], "function_call_output");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn item(mut self, item: InputItem) -> Self {
        let mut items = match self.input.take() {
            None => Vec::new(),
            Some(ResponsesInput::Text(text)) => vec![InputItem::message("user", text)],
            Some(ResponsesInput::Items(items)) => items,
        };
        items.push(item);
        self.input = Some(ResponsesInput::Items(items));
        self
    }
}

body!(ResponsesRequest);

/// What is said to a model: a text, or items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ResponsesInput {
    /// A user's text.
    Text(String),
    /// Messages, calls of tools and their results, reasoning.
    Items(Vec<InputItem>),
}

impl From<&str> for ResponsesInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for ResponsesInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<InputItem>> for ResponsesInput {
    fn from(items: Vec<InputItem>) -> Self {
        Self::Items(items)
    }
}

open_object! {
    /// An item of a conversation. An output item of an answer can be sent back as one.
    pub struct InputItem as in "InputItem::new(\"message\")" {
        @fixed {
            /// What it is: `message`, `function_call`, `function_call_output`, `reasoning`, …
            /// Default: `message`.
            #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
            pub kind: Option<String>,
        }

        /// Who speaks: `user`, `assistant`, `system` or `developer`.
        role: into String = "user" => "user";
        /// What is said: a text, or parts of kinds `input_text`, `input_image` and so on.
        content: into Content = "Hi" => "Hi";
        /// The identifier of the item.
        id: into String = "msg_1" => "msg_1";
        /// Names a call and its result.
        call_id: into String = "call_1" => "call_1";
        /// The function that is called.
        name: into String = "weather" => "weather";
        /// The arguments of the call, as JSON text.
        arguments: into String = "{}" => "{}";
        /// The result of the call: a text, or parts.
        output: into Content = "21 °C" => "21 °C";
        /// How far the item is: `completed`, `in_progress`, `incomplete`.
        status: into String = "completed" => "completed";
    }
}

impl InputItem {
    /// Returns an item by its `type`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: Some(kind.into()),
            ..Self::default()
        }
    }

    /// Returns a message.
    #[must_use]
    pub fn message(role: impl Into<String>, content: impl Into<Content>) -> Self {
        Self::default().role(role).content(content)
    }

    /// Returns a call of a function by the model, as it came in an answer.
    #[must_use]
    pub fn function_call(
        call_id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        let item = Self::new("function_call").call_id(call_id);
        item.name(name).arguments(arguments)
    }

    /// Returns the result of a call.
    #[must_use]
    pub fn function_call_output(call_id: impl Into<String>, output: impl Into<Content>) -> Self {
        let item = Self::new("function_call_output").call_id(call_id);
        item.output(output)
    }
}

open_object! {
    /// A tool in the Responses format: flat, where chat has a `function`.
    pub struct ResponsesTool as in "ResponsesTool::new(\"function\")" {
        @fixed {
            /// `function`, or the name of a tool that somebody else runs.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The name of a function.
        name: into String = "weather" => "weather";
        /// What it does; the model reads it. Default: none.
        description: into String = "Tells the weather." => "Tells the weather.";
        /// The schema of its arguments, or the options of another tool.
        parameters: into Value = json!({"type": "object"}) => {"type": "object"};
        /// Whether arguments have to match the schema. Default: false.
        strict: value bool = true => true;
    }
}

impl ResponsesTool {
    /// Returns a tool by its `type`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            ..Self::default()
        }
    }

    /// Returns a function with the schema of its arguments.
    #[must_use]
    pub fn function(name: impl Into<String>, parameters: impl Into<Value>) -> Self {
        Self::new("function").name(name).parameters(parameters)
    }
}

open_object! {
    /// The form and the length of the text of an answer.
    pub struct TextOptions as in "TextOptions::new()" {
        /// The form: `{"type": "json_schema", "name": …, "schema": …}`, `json_object` or `text`.
        format: into Value = json!({"type": "json_object"}) => {"type": "json_object"};
        /// How many words. Default: the model's own.
        verbosity: into Verbosity = Verbosity::High => "high";
    }
}

impl TextOptions {
    /// Returns JSON of a schema, strictly.
    ///
    /// ```
    /// use fairkey_openrouter::TextOptions;
    /// use serde_json::json;
    ///
    /// let text = TextOptions::schema("city", json!({"type": "object"}));
    /// assert_eq!(serde_json::to_value(&text)?["format"]["name"], "city");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn schema(name: impl Into<String>, schema: impl Into<Value>) -> Self {
        Self::new().format(json!({
            "type": "json_schema",
            "name": name.into(),
            "schema": schema.into(),
            "strict": true,
        }))
    }
}
