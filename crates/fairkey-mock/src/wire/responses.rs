//! The shapes of `/responses`, which are OpenAI's.

use serde_json::{Value, json};

use super::{Preamble, Usage};
use crate::answer::Answer;
use crate::fault::Fault;

/// A whole response.
pub(crate) fn whole(
    preamble: &Preamble,
    answer: &Answer,
    usage: &Usage,
    metadata: Option<&Value>,
) -> Value {
    let mut response = response(preamble, status(answer));
    response["completed_at"] = preamble.created.into();
    response["output"] = json!([item(preamble, answer, &answer.text, status(answer))]);
    response["usage"] = usage_of(usage);
    if answer.finish_reason == "length" {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    if let Some(metadata) = metadata {
        response["openrouter_metadata"] = metadata.clone();
    }
    response
}

/// The start of a stream: that there will be an item, and none of it yet.
pub(crate) fn start(preamble: &Preamble, answer: &Answer) -> Vec<Value> {
    let response = response(preamble, "in_progress");
    let mut events = vec![
        json!({"type": "response.created", "response": response}),
        json!({"type": "response.in_progress", "response": response}),
        json!({
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item(preamble, answer, "", "in_progress"),
        }),
    ];
    if answer.tool.is_none() {
        events.push(json!({
            "type": "response.content_part.added",
            "item_id": item_id(preamble),
            "output_index": 0,
            "content_index": 0,
            "part": part(""),
        }));
    }
    events
}

/// A delta with content.
pub(crate) fn delta(preamble: &Preamble, answer: &Answer, text: &str) -> Value {
    if answer.tool.is_some() {
        return json!({
            "type": "response.function_call_arguments.delta",
            "item_id": item_id(preamble),
            "output_index": 0,
            "delta": text,
        });
    }
    json!({
        "type": "response.output_text.delta",
        "item_id": item_id(preamble),
        "output_index": 0,
        "content_index": 0,
        "delta": text,
        "logprobs": [],
    })
}

/// The end of the item.
pub(crate) fn finish(preamble: &Preamble, answer: &Answer) -> Vec<Value> {
    let item_id = item_id(preamble);
    let mut events = Vec::new();
    if answer.tool.is_some() {
        events.push(json!({
            "type": "response.function_call_arguments.done",
            "item_id": item_id,
            "output_index": 0,
            "arguments": answer.text,
        }));
    } else {
        events.push(json!({
            "type": "response.output_text.done",
            "item_id": item_id,
            "output_index": 0,
            "content_index": 0,
            "text": answer.text,
            "logprobs": [],
        }));
        events.push(json!({
            "type": "response.content_part.done",
            "item_id": item_id,
            "output_index": 0,
            "content_index": 0,
            "part": part(&answer.text),
        }));
    }
    events.push(json!({
        "type": "response.output_item.done",
        "output_index": 0,
        "item": item(preamble, answer, &answer.text, status(answer)),
    }));
    events
}

/// The last event before `[DONE]`, with the usage.
pub(crate) fn completed(
    preamble: &Preamble,
    answer: &Answer,
    usage: &Usage,
    metadata: Option<&Value>,
) -> Value {
    json!({
        "type": format!("response.{}", status(answer)),
        "response": whole(preamble, answer, usage, metadata),
    })
}

/// A failure after the response was begun, as a body.
pub(crate) fn failed(preamble: &Preamble, fault: &Fault) -> Value {
    let mut response = response(preamble, "failed");
    response["error"] = json!({"code": code(fault), "message": fault.text()});
    if let Some(typed) = fault.error_type() {
        response["error_type"] = typed.into();
    }
    response
}

/// The same as the last event of a stream.
pub(crate) fn failed_event(preamble: &Preamble, fault: &Fault) -> Value {
    json!({"type": "response.failed", "response": failed(preamble, fault)})
}

/// A failure before the response was begun, as the only event of its stream.
pub(crate) fn error_event(fault: &Fault) -> Value {
    json!({"type": "error", "error": {"code": code(fault), "message": fault.text()}})
}

fn response(preamble: &Preamble, status: &str) -> Value {
    json!({
        "id": &*preamble.id,
        "object": "response",
        "created_at": preamble.created,
        "completed_at": null,
        "status": status,
        "model": &*preamble.model,
        "provider": &*preamble.provider,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": null,
        "output": [],
        "parallel_tool_calls": true,
        "temperature": null,
        "top_p": null,
        "frequency_penalty": null,
        "presence_penalty": null,
        "tool_choice": "auto",
        "tools": [],
        "usage": null,
    })
}

fn item(preamble: &Preamble, answer: &Answer, text: &str, status: &str) -> Value {
    if let Some(name) = &answer.tool {
        return json!({
            "type": "function_call",
            "id": item_id(preamble),
            "call_id": preamble.tool_id(),
            "name": name,
            "arguments": text,
            "status": status,
        });
    }
    let content = if status == "in_progress" {
        json!([])
    } else {
        json!([part(text)])
    };
    json!({
        "type": "message",
        "id": item_id(preamble),
        "role": "assistant",
        "status": status,
        "content": content,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item_id(preamble: &Preamble) -> String {
    let tail = preamble.id.rsplit('-').next().unwrap_or_default();
    format!("msg_{tail}")
}

fn status(answer: &Answer) -> &'static str {
    if answer.finish_reason == "length" {
        "incomplete"
    } else {
        "completed"
    }
}

fn usage_of(usage: &Usage) -> Value {
    let details = &usage.cost_details;
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
        "cost": usage.cost,
        "is_byok": false,
        "cost_details": {
            "upstream_inference_cost": details.upstream_inference_cost,
            "upstream_inference_input_cost": details.upstream_inference_prompt_cost,
            "upstream_inference_output_cost": details.upstream_inference_completions_cost,
        },
    })
}

/// OpenAI's few codes.
fn code(fault: &Fault) -> &'static str {
    match (fault.error_type(), fault.status()) {
        (Some("rate_limit_exceeded"), _) | (_, 429) => "rate_limit_exceeded",
        (Some("content_policy_violation"), _) => "image_content_policy_violation",
        (_, 400 | 413 | 422) => "invalid_prompt",
        _ => "server_error",
    }
}
