//! How long a prompt is, roughly.

use crate::request::{ChatRequest, Content};

/// Characters of a token, on average: of English prose. Code has fewer, other scripts fewer still.
const CHARS_PER_TOKEN: u64 = 4;
/// Tokens of a message beside its text.
const TOKENS_PER_MESSAGE: u64 = 4;

/// Estimates the tokens of a prompt: a token for each four characters of the texts, tool calls and
/// tool definitions, and four for each message.
///
/// Images, audio, files and video are not counted, since that depends on the model. For a price
/// before sending, or to see whether a prompt fits at all; the bill counts the provider's tokens.
#[must_use]
pub fn prompt_tokens(request: &ChatRequest) -> u64 {
    let text = |content: &Content| content.text().chars().count() as u64;
    let json = |value: &dyn Fn() -> Result<Vec<u8>, serde_json::Error>| {
        value().map_or(0, |json| json.len() as u64)
    };
    let mut chars = 0;
    for message in &request.messages {
        chars += message.content.as_ref().map_or(0, text);
        chars += message
            .tool_calls
            .as_ref()
            .map_or(0, |calls| json(&|| serde_json::to_vec(calls)));
    }
    chars += request
        .tools
        .as_ref()
        .map_or(0, |tools| json(&|| serde_json::to_vec(tools)));
    let messages = request.messages.len() as u64;
    chars.div_ceil(CHARS_PER_TOKEN) + messages * TOKENS_PER_MESSAGE
}
