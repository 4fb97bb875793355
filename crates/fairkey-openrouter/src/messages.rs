//! The Messages format of Anthropic: the bodies of `POST /messages`.

mod answer;

use serde_json::Value;

use crate::open_object::{body, open_object};
use crate::request::{
    CacheControl, Content, Effort, Message, Plugin, ProviderPreferences, Route, StopCondition,
    Trace,
};

pub use answer::{ContentBlock, MessagesEvent, MessagesResponse, MessagesUsage, StopReason};

open_object! {
    /// A request in the Messages format.
    ///
    /// ```
    /// use fairkey_openrouter::{MessagesRequest, Thinking};
    ///
    /// let request = MessagesRequest::new("anthropic/claude-sonnet-4.5", 500)
    ///     .system("Answer in one word.")
    ///     .user("What is the capital of France?")
    ///     .thinking(Thinking::enabled(1024));
    /// assert_eq!(serde_json::to_value(&request)?["max_tokens"], 500);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub struct MessagesRequest as in "MessagesRequest::new(\"a/b\", 100)" {
        @fixed {
            /// The model.
            pub model: String,
            /// The conversation: of users and assistants, and of the system in its course. Results
            /// of tools are parts of kind `tool_result`.
            #[serde(default)]
            pub messages: Vec<Message>,
        }

        /// The largest number of tokens to generate.
        max_tokens: value u64 = 16 => 16;
        /// The system message: a text, or texts with marks for the cache.
        system: into Content = "Be brief." => "Be brief.";
        /// Models to try in order, at most 3. Not together with
        /// [`fallbacks`](field@Self::fallbacks).
        models: list String = ["a/b", "c/d"] => ["a/b", "c/d"];
        /// Models to try when the first fails or refuses, at most 3.
        fallbacks: list MessagesFallback = [MessagesFallback::new("c/d")] => [{"model": "c/d"}];
        /// How OpenRouter may choose the provider. Default: as the account says.
        provider: value ProviderPreferences = ProviderPreferences::new().zdr(true) => {"zdr": true};
        /// Whether the answer comes as a stream of events. Default: false.
        stream: value bool = true => true;
        /// Sampling temperature, 0 to 1. Default: 1.
        temperature: value f64 = 0.5 => 0.5;
        /// Nucleus sampling, above 0, up to 1. Default: 1.
        top_p: value f64 = 0.9 => 0.9;
        /// How many of the likeliest tokens to choose from. Default: off.
        top_k: value u64 = 40 => 40;
        /// Texts at which generation stops. Default: none.
        stop_sequences: list String = ["END"] => ["END"];
        /// Whether and how much to reason. Default: the model's own.
        thinking: value Thinking = Thinking::enabled(1024)
            => {"type": "enabled", "budget_tokens": 1024};
        /// How much work goes into the answer, and its form. Default: the model's own.
        output_config: value OutputConfig = OutputConfig::new().effort("low") => {"effort": "low"};
        /// The tools that the model may call. Default: none.
        tools: list MessagesTool = [MessagesTool::new("f", json!({"type": "object"}))]
            => [{"name": "f", "input_schema": {"type": "object"}}];
        /// Which tool the model has to call. Default: as it likes.
        tool_choice: value MessagesToolChoice = MessagesToolChoice::any() => {"type": "any"};
        /// When OpenRouter stops calling its own tools. Default: its own bounds.
        stop_server_tools_when: list StopCondition = [StopCondition::step_count_is(3)]
            => [{"type": "step_count_is", "step_count": 3}];
        /// What to clear from a conversation that gets long: `{"edits": […]}`. Default: nothing.
        context_management: into Value = json!({"edits": []}) => {"edits": []};
        /// Plugins of OpenRouter. Default: none.
        plugins: list Plugin = [Plugin::moderation()] => [{"id": "moderation"}];
        /// The class of service. Default: `auto`.
        service_tier: into String = "auto" => "auto";
        /// Whether to answer quicker at a higher price: `fast` or `standard`. Default: `standard`.
        speed: into String = "fast" => "fast";
        /// The older form of [`Partition`](crate::Partition). Deprecated.
        route: into Route = Route::Fallback => "fallback";
        /// Caches the prompt up to its last block that can be cached. Default: none.
        cache_control: value CacheControl = CacheControl::ephemeral() => {"type": "ephemeral"};
        /// Who the end user is: `{"user_id": …}`. Default: nobody.
        metadata: into Value = json!({"user_id": "u-1"}) => {"user_id": "u-1"};
        /// A stable identifier of the end user, at most 256 characters. Set by
        /// [`user_id`](Self::user_id). Default: none.
        user as user_id: into String = "u-1" => "u-1";
        /// Groups requests of one conversation, at most 256 characters. Default: none.
        session_id: into String = "s-1" => "s-1";
        /// Names for the account's observability destinations. Default: none.
        trace: value Trace = Trace::new().trace_id("t-1") => {"trace_id": "t-1"};
    }
}

impl MessagesRequest {
    /// Returns a request to `model` for at most so many tokens, without messages.
    #[must_use]
    pub fn new(model: impl Into<String>, max_tokens: u64) -> Self {
        Self {
            model: model.into(),
            max_tokens: Some(max_tokens),
            ..Self::default()
        }
    }

    /// Appends a message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Appends a user message.
    #[must_use]
    pub fn user(self, content: impl Into<Content>) -> Self {
        self.message(Message::user(content))
    }

    /// Appends an assistant message.
    #[must_use]
    pub fn assistant(self, content: impl Into<Content>) -> Self {
        self.message(Message::assistant(content))
    }
}

body!(MessagesRequest);

open_object! {
    /// A model to try when the first fails or refuses.
    pub struct MessagesFallback as in "MessagesFallback::new(\"a/b\")" {
        @fixed {
            /// The model. Nothing else may be said of it.
            pub model: String,
        }
    }
}

impl MessagesFallback {
    /// Returns a model to try.
    #[must_use]
    pub fn new(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            ..Self::default()
        }
    }
}

open_object! {
    /// Whether and how much to reason.
    pub struct Thinking as in "Thinking::adaptive()" {
        @fixed {
            /// `enabled`, `disabled`, `adaptive` or one of a later day.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// How many tokens to reason with; of `enabled`.
        budget_tokens: value u64 = 1024 => 1024;
        /// How much is shown of it. Default: the model's own.
        display: into String = "summarized" => "summarized";
    }
}

impl Thinking {
    fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// Reasons with so many tokens.
    #[must_use]
    pub fn enabled(budget_tokens: u64) -> Self {
        Self::of("enabled").budget_tokens(budget_tokens)
    }

    /// Does not reason.
    #[must_use]
    pub fn disabled() -> Self {
        Self::of("disabled")
    }

    /// Reasons as much as the model likes.
    #[must_use]
    pub fn adaptive() -> Self {
        Self::of("adaptive")
    }
}

open_object! {
    /// How much work goes into an answer, and its form.
    pub struct OutputConfig as in "OutputConfig::new()" {
        /// How much work. Default: the model's own.
        effort: into Effort = Effort::High => "high";
        /// The form: `{"type": "json_schema", "schema": …}`. Default: text.
        format: into Value = json!({"type": "json_schema", "schema": {}})
            => {"type": "json_schema", "schema": {}};
        /// How many tokens the whole task may take: `{"type": "tokens", "total": …}`. Default: no
        /// bound.
        task_budget: into Value = json!({"type": "tokens", "total": 20_000})
            => {"type": "tokens", "total": 20_000};
    }
}

open_object! {
    /// A tool in the Messages format.
    pub struct MessagesTool as in "MessagesTool::new(\"f\", true)" {
        @fixed {
            /// The name; none for tools that OpenRouter runs.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub name: Option<String>,
            /// Which kind of tool: `custom`, or one that somebody else runs. Default: `custom`.
            #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
            pub kind: Option<String>,
        }

        /// What it does; the model reads it. Default: none.
        description: into String = "Tells the weather." => "Tells the weather.";
        /// The schema of its arguments.
        input_schema: into Value = json!({"type": "object"}) => {"type": "object"};
        /// A mark up to which the prompt is cached. Default: none.
        cache_control: value CacheControl = CacheControl::ephemeral() => {"type": "ephemeral"};
    }
}

impl MessagesTool {
    /// Returns a tool of the caller's, with the schema of its arguments.
    #[must_use]
    pub fn new(name: impl Into<String>, input_schema: impl Into<Value>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
        .input_schema(input_schema)
    }

    /// Returns a tool that OpenRouter runs, such as `openrouter:web_search`.
    #[must_use]
    pub fn server(kind: impl Into<String>) -> Self {
        Self {
            kind: Some(kind.into()),
            ..Self::default()
        }
    }
}

open_object! {
    /// Which tool the model has to call.
    pub struct MessagesToolChoice as in "MessagesToolChoice::auto()" {
        @fixed {
            /// `auto`, `any`, `none`, `tool` or one of a later day.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The tool, of `tool`.
        name: into String = "f" => "f";
        /// Whether to call at most one at once. Default: false.
        disable_parallel_tool_use: value bool = true => true;
    }
}

impl MessagesToolChoice {
    fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// As the model likes.
    #[must_use]
    pub fn auto() -> Self {
        Self::of("auto")
    }

    /// Any, but at least one.
    #[must_use]
    pub fn any() -> Self {
        Self::of("any")
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::of("none")
    }

    /// This one.
    #[must_use]
    pub fn tool(name: impl Into<String>) -> Self {
        Self::of("tool").name(name)
    }
}
