//! Bodies and events of failures, in each format.

use bytes::Bytes;
use serde::Serialize;

use super::reason::Words;
use super::{Failure, Format, Reason};

/// What is known of a stream that broke, so that its last event fits the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokenStream<'a> {
    /// The identifier of the stream's chunks, where one was seen.
    pub id: Option<&'a str>,
    /// The model that the chunks name, where one was seen.
    pub model: Option<&'a str>,
    /// When the stream was made, as the chunks say: seconds since 1970.
    pub created: Option<u64>,
    /// The number that the next event of a Responses stream has.
    pub sequence_number: Option<u64>,
    /// Whether the bytes so far end within an event: it is closed first, so that the last event is
    /// one of its own.
    pub is_within_event: bool,
}

/// Chat: OpenRouter's envelope, with the `type` and `param` that OpenAI's clients read.
#[derive(Serialize)]
struct ChatError<'a> {
    code: u16,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    error_type: &'static str,
    reason: &'static str,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
}

#[derive(Serialize)]
struct ChatBody<'a> {
    error: ChatError<'a>,
}

#[derive(Serialize)]
struct ChatChunk<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    object: &'static str,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    choices: [ErrorChoice; 1],
    error: ChatError<'a>,
}

#[derive(Serialize)]
struct ErrorChoice {
    index: u8,
    delta: Empty,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Empty {}

/// Messages: Anthropic's envelope, with OpenRouter's `error_type`.
#[derive(Serialize)]
struct MessagesBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: MessagesError<'a>,
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct MessagesError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    error_type: &'static str,
    reason: &'static str,
    origin: &'static str,
}

/// Responses: OpenAI's envelope, with OpenRouter's `error_type`.
#[derive(Serialize)]
struct ResponsesBody<'a> {
    error: ResponsesError<'a>,
    error_type: &'static str,
    metadata: Metadata<'a>,
}

#[derive(Clone, Copy, Serialize)]
struct ResponsesError<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
}

/// The `error` event of Responses. Its own fields are what the format says; OpenAI's clients raise
/// an exception for the `error` within, and hand on the event without it.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<u64>,
    code: &'static str,
    message: &'a str,
    param: Option<&'a str>,
    error: ResponsesError<'a>,
    error_type: &'static str,
}

/// Makes the body of an answer.
pub(super) fn body(failure: &Failure, format: Format, request_id: &str) -> Bytes {
    let body = match format {
        Format::Chat => json(&ChatBody {
            error: chat_error(failure, request_id),
        }),
        Format::Messages => json(&messages_body(failure, request_id)),
        Format::Responses => json(&ResponsesBody {
            error: responses_error(failure),
            error_type: words(failure).error_type,
            metadata: metadata(failure, request_id),
        }),
    };
    body.into()
}

/// Makes the last event of a stream.
pub(super) fn event(failure: &Failure, format: Format, stream: &BrokenStream<'_>) -> Bytes {
    let (name, data) = match format {
        Format::Chat => {
            let chunk = ChatChunk {
                id: stream.id,
                object: "chat.completion.chunk",
                created: stream.created.unwrap_or(0),
                model: stream.model,
                choices: [ErrorChoice {
                    index: 0,
                    delta: Empty {},
                    finish_reason: "error",
                }],
                error: chat_error(failure, ""),
            };
            (None, json(&chunk))
        }
        Format::Messages => (Some("error"), json(&messages_body(failure, ""))),
        Format::Responses => {
            let error = responses_error(failure);
            let event = ResponsesEvent {
                kind: "error",
                sequence_number: stream.sequence_number,
                code: error.code,
                message: error.message,
                param: None,
                error,
                error_type: words(failure).error_type,
            };
            (Some("error"), json(&event))
        }
    };
    let mut event = Vec::with_capacity(data.len() + 32);
    if stream.is_within_event {
        event.extend_from_slice(b"\n\n");
    }
    if let Some(name) = name {
        event.extend_from_slice(b"event: ");
        event.extend_from_slice(name.as_bytes());
        event.push(b'\n');
    }
    event.extend_from_slice(b"data: ");
    event.extend_from_slice(&data);
    event.extend_from_slice(b"\n\n");
    event.into()
}

fn words(failure: &Failure) -> Words {
    Words::of(failure.reason(), failure.status().as_u16())
}

fn chat_error<'a>(failure: &'a Failure, request_id: &'a str) -> ChatError<'a> {
    ChatError {
        code: failure.status().as_u16(),
        message: failure.message(),
        kind: words(failure).openai,
        param: None,
        metadata: metadata(failure, request_id),
    }
}

fn metadata<'a>(failure: &Failure, request_id: &'a str) -> Metadata<'a> {
    Metadata {
        error_type: words(failure).error_type,
        reason: failure.reason().as_str(),
        origin: failure.origin().as_str(),
        retry_after: failure.retry_after_seconds(),
        request_id,
    }
}

fn messages_body<'a>(failure: &'a Failure, request_id: &'a str) -> MessagesBody<'a> {
    let words = words(failure);
    MessagesBody {
        kind: "error",
        error: MessagesError {
            kind: words.anthropic,
            message: failure.message(),
            error_type: words.error_type,
            reason: failure.reason().as_str(),
            origin: failure.origin().as_str(),
        },
        request_id: (!request_id.is_empty()).then_some(request_id),
    }
}

fn responses_error(failure: &Failure) -> ResponsesError<'_> {
    let status = failure.status().as_u16();
    ResponsesError {
        // The words that the format has; what it has none for keeps its own.
        code: match (status, failure.reason()) {
            (401, _) => "invalid_api_key",
            (_, Reason::OverBudget) => "insufficient_quota",
            (429, _) => "rate_limit_exceeded",
            (500.., _) => "server_error",
            (_, reason) => reason.as_str(),
        },
        message: failure.message(),
        kind: words(failure).openai,
        param: None,
    }
}

/// Nothing here can fail to be JSON: plain structs of strings and numbers.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec())
}
