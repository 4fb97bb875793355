//! Smaller objects and words of a request.

use crate::open_enum::open_enum;
use crate::open_object::open_object;

open_object! {
    /// A mark up to which the provider caches the prompt: on the request, a content part or a tool.
    pub struct CacheControl as in "CacheControl::ephemeral()" {
        @fixed {
            /// `ephemeral`.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// How long it is cached. Default: 5 minutes.
        ttl: into CacheTtl = CacheTtl::OneHour => "1h";
    }
}

impl CacheControl {
    /// Returns a mark for a cache that forgets.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            kind: "ephemeral".to_owned(),
            ..Self::default()
        }
    }
}

open_enum! {
    /// How long a prompt is cached.
    pub enum CacheTtl {
        /// 5 minutes.
        FiveMinutes = "5m",
        /// An hour, at a higher price of writing.
        OneHour = "1h",
    }
}

open_object! {
    /// Options of a provider's prompt cache.
    pub struct PromptCacheOptions as in "PromptCacheOptions::explicit()" {
        @fixed {
            /// `explicit`: only what is marked is cached.
            pub mode: String,
        }

        /// How long it is cached. Default: the provider's own.
        ttl: into String = "30m" => "30m";
    }
}

impl PromptCacheOptions {
    /// Returns options by which only what is marked is cached.
    #[must_use]
    pub fn explicit() -> Self {
        Self {
            mode: "explicit".to_owned(),
            ..Self::default()
        }
    }
}

open_object! {
    /// Help for finding errors.
    pub struct DebugOptions as in "DebugOptions::new()" {
        /// Whether a stream begins with the body that was sent to the provider, one chunk for each
        /// that was tried. Default: false.
        echo_upstream_body: value bool = true => true;
    }
}

open_object! {
    /// Options of a stream.
    pub struct StreamOptions as in "StreamOptions::new()" {
        /// Without effect: usage is always sent.
        include_usage: value bool = true => true;
    }
}

open_object! {
    /// Names for the account's observability destinations.
    pub struct Trace as in "Trace::new()" {
        /// The trace that the call belongs to.
        trace_id: into String = "t-1" => "t-1";
        /// Its name.
        trace_name: into String = "nightly" => "nightly";
        /// The name of the span that the call belongs to.
        span_name: into String = "summaries" => "summaries";
        /// The name of the call.
        generation_name: into String = "summary" => "summary";
        /// The span above.
        parent_span_id: into String = "p-1" => "p-1";
    }
}

open_object! {
    /// A condition on which OpenRouter stops calling its own tools.
    pub struct StopCondition as in "StopCondition::step_count_is(1)" {
        @fixed {
            /// `step_count_is`, `has_tool_call`, `max_tokens_used`, `max_cost`, `finish_reason_is` or
            /// one of a later day.
            #[serde(rename = "type")]
            pub kind: String,
        }

        /// The number of steps of `step_count_is`.
        step_count: value u64 = 3 => 3;
        /// The tool of `has_tool_call`.
        tool_name: into String = "search" => "search";
        /// The number of tokens of `max_tokens_used`.
        max_tokens: value u64 = 5_000 => 5000;
        /// The US dollars of `max_cost`.
        max_cost_in_dollars: value f64 = 0.25 => 0.25;
        /// The reason of `finish_reason_is`.
        reason: into String = "length" => "length";
    }
}

impl StopCondition {
    fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            ..Self::default()
        }
    }

    /// Holds after so many steps.
    #[must_use]
    pub fn step_count_is(steps: u64) -> Self {
        Self::of("step_count_is").step_count(steps)
    }

    /// Holds when the model has called that tool.
    #[must_use]
    pub fn has_tool_call(tool: impl Into<String>) -> Self {
        Self::of("has_tool_call").tool_name(tool)
    }

    /// Holds when so many tokens have been used.
    #[must_use]
    pub fn max_tokens_used(tokens: u64) -> Self {
        Self::of("max_tokens_used").max_tokens(tokens)
    }

    /// Holds when so many US dollars have been spent.
    #[must_use]
    pub fn max_cost(usd: f64) -> Self {
        Self::of("max_cost").max_cost_in_dollars(usd)
    }

    /// Holds when the model ended for that reason.
    #[must_use]
    pub fn finish_reason_is(reason: impl Into<String>) -> Self {
        Self::of("finish_reason_is").reason(reason)
    }
}

open_enum! {
    /// A class of service, at its own price.
    pub enum ServiceTier {
        /// OpenRouter chooses.
        Auto = "auto",
        /// The usual one.
        Default = "default",
        /// Another name of priority.
        Fast = "fast",
        /// Cheaper and slower. Never falls back to default endpoints.
        Flex = "flex",
        /// Dearer and quicker.
        Priority = "priority",
        /// Of accounts with such a contract.
        Scale = "scale",
        /// Quicker still.
        Ultrafast = "ultrafast",
    }
}

open_enum! {
    /// The older form of [`Partition`](crate::Partition).
    pub enum Route {
        /// Each model on its own.
        Fallback = "fallback",
        /// All endpoints of all models together.
        Sort = "sort",
    }
}
