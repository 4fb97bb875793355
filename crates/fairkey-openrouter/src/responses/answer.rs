//! What comes back in the Responses format.

use fairkey_core::Cost;
use serde_json::{Map, Value};

use crate::lenient::{lenient_object, object};
use crate::money::micro_usd;

lenient_object! {
    /// An answer in the Responses format. A 200 may be a failure: see `status` and `error`, and
    /// [`Fault::in_body`](crate::Fault::in_body).
    pub struct ResponsesResponse {
        /// The answer's identifier.
        id: plain String;
        /// `response`.
        object: plain String;
        /// When it was begun, in seconds since 1970.
        created_at: count u64;
        /// When it was done, in seconds since 1970.
        completed_at: count u64;
        /// `completed`, `failed`, `incomplete`, `in_progress`, …
        status: some String;
        /// The model that answered.
        model: plain String;
        /// Messages, calls of tools, reasoning, in order.
        output: items OutputItem;
        /// Why it failed.
        error: some Map<String, Value>;
        /// Why it failed, in OpenRouter's stable words.
        error_type: some String;
        /// Why it is incomplete.
        incomplete_details: some Map<String, Value>;
        /// The class of service that served.
        service_tier: some String;
        /// What it used and cost.
        usage: some ResponsesUsage;
        /// What OpenRouter tells of its routing, if asked.
        openrouter_metadata: some crate::RouterMetadata;
    }
}

impl ResponsesResponse {
    /// Reads an answer from JSON.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        object(json)
    }

    /// Returns the text of all messages, joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.output.iter().map(OutputItem::text).collect()
    }
}

lenient_object! {
    /// An item of an answer.
    pub struct OutputItem {
        /// What it is: `message`, `function_call`, `reasoning`, …
        kind = "type": plain String;
        /// The item's identifier.
        id: some String;
        /// How far it is.
        status: some String;
        /// Who speaks, of a message.
        role: some String;
        /// What is said, of a message: parts of kinds `output_text` and `refusal`.
        content: items Map<String, Value>;
        /// Names a call, for its result.
        call_id: some String;
        /// The function that is called.
        name: some String;
        /// The arguments of the call, as JSON text: it may be broken JSON.
        arguments: some String;
        /// The summary of reasoning.
        summary: items Map<String, Value>;
        /// Reasoning that only the provider can read; sent back unchanged.
        encrypted_content: some String;
    }
}

impl OutputItem {
    /// Returns the text of a message; empty for other items.
    #[must_use]
    pub fn text(&self) -> String {
        let parts = self.content.iter().filter(|_| self.kind == "message");
        let of_text = parts.filter(|part| part.get("type").is_some_and(|own| own == "output_text"));
        of_text
            .filter_map(|part| part.get("text")?.as_str())
            .collect()
    }
}

lenient_object! {
    /// What an answer used and cost.
    pub struct ResponsesUsage {
        /// Tokens read.
        input_tokens: count u64;
        /// Tokens written, those of reasoning included.
        output_tokens: count u64;
        /// Both.
        total_tokens: count u64;
        /// What the tokens read consist of, such as `cached_tokens`.
        input_tokens_details: some Map<String, Value>;
        /// What the tokens written consist of, such as `reasoning_tokens`.
        output_tokens_details: some Map<String, Value>;
        /// What OpenRouter charged, in US dollars.
        cost: number f64;
        /// What the cost consists of.
        cost_details: some Map<String, Value>;
        /// Whether a provider key of the caller's own paid for the tokens.
        is_byok: some bool;
    }
}

impl ResponsesUsage {
    /// Returns the usage as the pool counts it: one request, its tokens, its money.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let sum = |own: Option<u64>, other: Option<u64>| {
            own.unwrap_or(0).saturating_add(other.unwrap_or(0))
        };
        Cost {
            requests: 1,
            tokens: self
                .total_tokens
                .unwrap_or_else(|| sum(self.input_tokens, self.output_tokens)),
            micro_usd: self.cost.map_or(0, micro_usd),
        }
    }
}

lenient_object! {
    /// One event of a streamed answer. Which fields it has depends on its `type`.
    pub struct ResponsesEvent {
        /// What happened: `response.created`, `response.output_text.delta`, `response.completed`, …
        kind = "type": plain String;
        /// The event's place in the stream.
        sequence_number: count u64;
        /// The answer so far: of `response.created`, `response.completed`, `response.failed`, ….
        response: some ResponsesResponse;
        /// The place of the item in the output.
        output_index: count u64;
        /// The place of the part in the item.
        content_index: count u64;
        /// The item's identifier.
        item_id: some String;
        /// The item: of `response.output_item.added` and `.done`.
        item: some OutputItem;
        /// What is new: text, reasoning or arguments.
        delta: some String;
        /// The whole text: of events that end in `.done`.
        text: some String;
        /// Why it failed: of `error` and `response.error`.
        error: some Value;
    }
}

impl ResponsesEvent {
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
        match self.kind.as_str() {
            "response.output_text.delta" => self.delta.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// Returns whether the event ends the answer, well or not.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let last = [
            "response.completed",
            "response.done",
            "response.incomplete",
            "response.failed",
            "response.error",
            "error",
        ];
        last.contains(&self.kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = ResponsesResponse::from_slice(
            br#"{"id":"resp_1","status":"completed","output":[
                {"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},
                {"type":"message","role":"assistant","content":[
                    {"type":"output_text","text":"Par"},{"type":"refusal","refusal":"no"},
                    {"type":"output_text","text":"is"}]},
                {"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"}],
                "usage":{"input_tokens":3,"output_tokens":2,"cost":0.00001}}"#,
        )
        .unwrap();
        assert_eq!(answer.text(), "Paris");
        assert_eq!(answer.output[2].name.as_deref(), Some("f"));
        let cost = answer.usage.unwrap().cost();
        assert_eq!((cost.tokens, cost.micro_usd), (5, 10));
    }

    #[test]
    fn events_add_text_and_end() {
        let event = |json: &str| ResponsesEvent::from_slice(json.as_bytes()).unwrap();
        let delta = event(r#"{"type":"response.output_text.delta","delta":"Hi"}"#);
        assert_eq!((delta.text_delta(), delta.is_last()), ("Hi", false));
        let thought = event(r#"{"type":"response.reasoning_text.delta","delta":"hm"}"#);
        assert_eq!(thought.text_delta(), "");
        let last = event(r#"{"type":"response.completed","response":{"status":"completed"}}"#);
        assert!(last.is_last());
        assert_eq!(last.response.unwrap().status.as_deref(), Some("completed"));
    }
}
