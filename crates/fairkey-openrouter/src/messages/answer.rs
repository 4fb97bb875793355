//! What comes back in the Messages format.

use fairkey_core::Cost;
use serde_json::{Map, Value};

use crate::lenient::{lenient_object, object};
use crate::money::micro_usd;
use crate::open_enum::open_enum;

open_enum! {
    /// Why a model stopped.
    pub enum StopReason {
        /// It was done.
        EndTurn = "end_turn",
        /// It reached the token limit.
        MaxTokens = "max_tokens",
        /// It met a stop text.
        StopSequence = "stop_sequence",
        /// It wants tools called.
        ToolUse = "tool_use",
        /// It paused a long turn, to be continued.
        PauseTurn = "pause_turn",
        /// It would not answer.
        Refusal = "refusal",
    }
}

lenient_object! {
    /// An answer in the Messages format.
    pub struct MessagesResponse {
        /// The answer's identifier.
        id: plain String;
        /// `message`.
        kind = "type": plain String;
        /// `assistant`.
        role: plain String;
        /// The model that answered.
        model: plain String;
        /// The provider that answered, by its display name.
        provider: some String;
        /// Texts, reasoning and calls of tools, in order.
        content: items ContentBlock;
        /// Why it ended.
        stop_reason: some StopReason;
        /// The text at which it ended.
        stop_sequence: some String;
        /// What it used and cost.
        usage: some MessagesUsage;
        /// What OpenRouter tells of its routing, if asked.
        openrouter_metadata: some crate::RouterMetadata;
    }
}

impl MessagesResponse {
    /// Reads an answer from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns the text of all blocks, joined.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter(|block| block.kind == "text");
        texts.filter_map(|block| block.text.as_deref()).collect()
    }
}

lenient_object! {
    /// A block of an answer.
    pub struct ContentBlock {
        /// What it is: `text`, `thinking`, `redacted_thinking`, `tool_use`, …
        kind = "type": plain String;
        /// The text.
        text: some String;
        /// The reasoning.
        thinking: some String;
        /// What proves the reasoning; sent back unchanged.
        signature: some String;
        /// Reasoning that only the provider can read; sent back unchanged.
        data: some String;
        /// Names a call, for its result.
        id: some String;
        /// The tool that is called.
        name: some String;
        /// The arguments of the call.
        input: some Value;
    }
}

lenient_object! {
    /// What an answer used and cost.
    pub struct MessagesUsage {
        /// Tokens read, without those of the cache.
        input_tokens: count u64;
        /// Tokens written.
        output_tokens: count u64;
        /// Tokens written to the provider's cache.
        cache_creation_input_tokens: count u64;
        /// Tokens read from the provider's cache.
        cache_read_input_tokens: count u64;
        /// The class of service that served; the default is called `standard`.
        service_tier: some String;
        /// What OpenRouter charged, in US dollars.
        cost: number f64;
        /// What the cost consists of.
        cost_details: some Map<String, Value>;
        /// Whether a provider key of the caller's own paid for the tokens.
        is_byok: some bool;
    }
}

impl MessagesUsage {
    /// Returns the usage as the pool counts it: one request, its tokens (those of the cache
    /// included), its money.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let tokens = [
            self.input_tokens,
            self.output_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        ];
        Cost {
            requests: 1,
            tokens: tokens.into_iter().flatten().fold(0, u64::saturating_add),
            micro_usd: self.cost.map_or(0, micro_usd),
        }
    }
}

lenient_object! {
    /// One event of a streamed answer. Which fields it has depends on its `type`.
    pub struct MessagesEvent {
        /// What happened: `message_start`, `content_block_delta`, `message_stop`, `ping`, `error`, …
        kind = "type": plain String;
        /// The answer as it begins: of `message_start`.
        message: some MessagesResponse;
        /// The place of the block in the answer.
        index: count u64;
        /// The block as it begins: of `content_block_start`.
        content_block: some ContentBlock;
        /// What is new: of `content_block_delta` and `message_delta`.
        delta: some Map<String, Value>;
        /// What it used, so far: of `message_delta`.
        usage: some MessagesUsage;
        /// Why it failed: of `error`.
        error: some Map<String, Value>;
    }
}

impl MessagesEvent {
    /// Reads an event from its data.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns the text that the event adds to the answer; empty if it adds none.
    #[must_use]
    pub fn text_delta(&self) -> &str {
        let delta = self
            .delta
            .as_ref()
            .filter(|_| self.kind == "content_block_delta");
        let of_text = delta.filter(|own| own.get("type").is_some_and(|own| own == "text_delta"));
        let text = of_text.and_then(|own| own.get("text")?.as_str());
        text.unwrap_or_default()
    }

    /// Returns whether the event ends the answer, well or not.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self.kind.as_str(), "message_stop" | "error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = MessagesResponse::from_slice(
            br#"{"id":"msg_1","type":"message","role":"assistant","stop_reason":"end_turn",
                "content":[{"type":"thinking","thinking":"hm","signature":"s"},
                    {"type":"text","text":"Par"},{"type":"text","text":"is"},
                    {"type":"tool_use","id":"t","name":"f","input":{"a":1}}],
                "usage":{"input_tokens":3,"output_tokens":2,"cache_read_input_tokens":7,
                    "cache_creation_input_tokens":null,"cost":0.00001}}"#,
        )
        .unwrap();
        assert_eq!(answer.text(), "Paris");
        assert_eq!(answer.kind, "message");
        assert_eq!(answer.stop_reason, Some(StopReason::EndTurn));
        assert_eq!(answer.content[3].input.as_ref().unwrap()["a"], 1);
        let cost = answer.usage.unwrap().cost();
        assert_eq!((cost.tokens, cost.micro_usd), (12, 10));
    }

    #[test]
    fn events_add_text_and_end() {
        let event = |json: &str| MessagesEvent::from_slice(json.as_bytes()).unwrap();
        let delta = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#;
        assert_eq!(event(delta).text_delta(), "Hi");
        let thought = r#"{"type":"content_block_delta","delta":{"type":"thinking_delta"}}"#;
        assert_eq!(event(thought).text_delta(), "");
        assert!(event(r#"{"type":"message_stop"}"#).is_last());
        assert!(!event(r#"{"type":"ping"}"#).is_last());
    }
}
