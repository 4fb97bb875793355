//! The shapes of `/messages`, which are Anthropic's.

use serde_json::{Value, json};

use super::{Preamble, Usage};
use crate::answer::Answer;
use crate::fault::Fault;

/// An event of a stream: its name stands in it twice.
pub(crate) type Named = (&'static str, Value);

/// A whole message.
pub(crate) fn whole(
    preamble: &Preamble,
    answer: &Answer,
    usage: &Usage,
    metadata: Option<&Value>,
) -> Value {
    let mut message = message(preamble, usage);
    message["content"] = json!([block(preamble, answer, &answer.text)]);
    message["stop_reason"] = stop_reason(answer.finish_reason).into();
    message["usage"] = usage_of(usage);
    if let Some(metadata) = metadata {
        message["openrouter_metadata"] = metadata.clone();
    }
    message
}

/// The start of a stream: the role, and no content yet.
pub(crate) fn start(preamble: &Preamble, answer: &Answer, usage: &Usage) -> [Named; 3] {
    let message = message(preamble, usage);
    let block = block(preamble, answer, "");
    [
        (
            "message_start",
            json!({"type": "message_start", "message": message}),
        ),
        (
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
        ),
        ("ping", json!({"type": "ping"})),
    ]
}

/// A delta with content.
pub(crate) fn delta(answer: &Answer, text: &str) -> Named {
    let delta = if answer.tool.is_some() {
        json!({"type": "input_json_delta", "partial_json": text})
    } else {
        json!({"type": "text_delta", "text": text})
    };
    (
        "content_block_delta",
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
    )
}

/// The end of the content, why it ended, and the usage.
pub(crate) fn finish(answer: &Answer, usage: &Usage, metadata: Option<&Value>) -> [Named; 2] {
    let mut delta = json!({
        "type": "message_delta",
        "delta": {
            "container": null,
            "stop_details": null,
            "stop_reason": stop_reason(answer.finish_reason),
            "stop_sequence": null,
        },
        "usage": usage_of(usage),
    });
    if let Some(metadata) = metadata {
        delta["openrouter_metadata"] = metadata.clone();
    }
    [
        (
            "content_block_stop",
            json!({"type": "content_block_stop", "index": 0}),
        ),
        ("message_delta", delta),
    ]
}

pub(crate) fn stop() -> Named {
    ("message_stop", json!({"type": "message_stop"}))
}

/// A fault as the body of an HTTP error, of a 200, or of the event `error`. What else OpenRouter
/// knows of it stands in `metadata`, beside `error`.
pub(crate) fn error(fault: &Fault, request_id: Option<&str>) -> Value {
    let mut error = fault.error();
    let typed = fault.error_type();
    let mut detail = json!({
        "type": kind(fault.status(), typed),
        "message": fault.text(),
    });
    if let Some(typed) = typed {
        detail["error_type"] = typed.into();
    }
    if let Some(availability) = error.get_mut("availability") {
        detail["availability"] = availability.take();
    }
    let mut body = json!({"type": "error", "error": detail, "request_id": request_id});
    if let Some(metadata) = error.get_mut("metadata") {
        body["metadata"] = metadata.take();
    }
    body
}

fn message(preamble: &Preamble, usage: &Usage) -> Value {
    json!({
        "id": &*preamble.id,
        "type": "message",
        "role": "assistant",
        "model": &*preamble.model,
        "provider": &*preamble.provider,
        "container": null,
        "content": [],
        "stop_details": null,
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": 0,
            "cache_creation_input_tokens": null,
            "cache_read_input_tokens": null,
            "service_tier": "standard",
        },
    })
}

fn block(preamble: &Preamble, answer: &Answer, text: &str) -> Value {
    let Some(name) = &answer.tool else {
        return json!({"type": "text", "text": text, "citations": null});
    };
    let input = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
    json!({"type": "tool_use", "id": preamble.tool_id(), "name": name, "input": input})
}

fn usage_of(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": null,
        "cache_creation": null,
        "cache_creation_input_tokens": null,
        "cache_read_input_tokens": null,
        "inference_geo": null,
        "server_tool_use": null,
        "service_tier": "standard",
        "cost": usage.cost,
        "is_byok": false,
    })
}

fn stop_reason(finish: &str) -> &'static str {
    match finish {
        "length" => "max_tokens",
        "tool_calls" => "tool_use",
        "content_filter" => "refusal",
        _ => "end_turn",
    }
}

/// Anthropic's name for a failure.
fn kind(status: u16, error_type: Option<&str>) -> &'static str {
    match (error_type, status) {
        (Some("provider_overloaded"), _) | (_, 503 | 529) => "overloaded_error",
        (_, 400 | 412 | 413 | 422) => "invalid_request_error",
        (_, 401) => "authentication_error",
        (_, 402) => "billing_error",
        (_, 403) => "permission_error",
        (_, 404) => "not_found_error",
        (_, 429) => "rate_limit_error",
        (_, 408 | 504 | 524) => "timeout_error",
        _ => "api_error",
    }
}
