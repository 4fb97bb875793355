//! What an answer says, in the formats of the endpoints that write text.

use fairkey_openrouter::endpoint;
use serde::Deserialize;
use serde_json::Value;

/// What there is to check in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These texts, of which each has to fit.
    Texts(Vec<Text>),
    /// Nothing: it calls tools, or the endpoint writes no text.
    Nothing,
}

/// One text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether it ended because it was as long as it may be.
    pub(super) is_cut: bool,
    /// Whether the model refused to answer.
    pub(super) is_refusal: bool,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
    refusal: Option<Value>,
    tool_calls: Option<Value>,
}

#[derive(Deserialize)]
struct Messages {
    #[serde(default)]
    content: Vec<Part>,
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Responses {
    #[serde(default)]
    output: Vec<Item>,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    content: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
}

/// Returns whether answers from `path` have text in them at all.
pub(super) fn writes_text(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let ends = |end: &str| path.trim_end_matches('/').ends_with(end);
    [
        endpoint::COMPLETIONS,
        endpoint::MESSAGES,
        endpoint::RESPONSES,
    ]
    .iter()
    .any(|end| ends(end))
}

/// Reads what an answer from `path` says; `None` where it is of no form that is known.
pub(super) fn read(path: &str, body: &[u8]) -> Option<Said> {
    if !writes_text(path) {
        return Some(Said::Nothing);
    }
    let path = path.split('?').next().unwrap_or_default();
    let path = path.trim_end_matches('/');
    if path.ends_with(endpoint::MESSAGES) {
        messages(body)
    } else if path.ends_with(endpoint::RESPONSES) {
        responses(body)
    } else {
        chat(body)
    }
}

fn chat(body: &[u8]) -> Option<Said> {
    let chat: Chat = serde_json::from_slice(body).ok()?;
    let mut texts = Vec::new();
    let mut calls_tools = false;
    for choice in chat.choices {
        let is_cut = choice.finish_reason.as_deref() == Some("length");
        let Some(message) = choice.message else {
            texts.push(Text {
                text: choice.text.unwrap_or_default(),
                is_cut,
                is_refusal: false,
            });
            continue;
        };
        let text = match message.content {
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
                texts.collect()
            }
            _ => String::new(),
        };
        let called = matches!(&message.tool_calls, Some(Value::Array(calls)) if !calls.is_empty());
        if called && text.is_empty() {
            calls_tools = true;
            continue;
        }
        let refused = matches!(&message.refusal, Some(Value::String(said)) if !said.is_empty());
        texts.push(Text {
            is_refusal: refused && text.is_empty(),
            text,
            is_cut,
        });
    }
    some(texts, calls_tools)
}

fn messages(body: &[u8]) -> Option<Said> {
    let answer: Messages = serde_json::from_slice(body).ok()?;
    let calls_tools = answer.content.iter().any(|part| part.kind == "tool_use");
    let mut texts = Vec::new();
    let said = answer.content.iter().filter(|part| part.kind == "text");
    let text: String = said.filter_map(|part| part.text.as_deref()).collect();
    if !(calls_tools && text.is_empty()) {
        texts.push(Text {
            is_refusal: answer.stop_reason.as_deref() == Some("refusal") && text.is_empty(),
            text,
            is_cut: answer.stop_reason.as_deref() == Some("max_tokens"),
        });
    }
    some(texts, calls_tools)
}

fn responses(body: &[u8]) -> Option<Said> {
    let answer: Responses = serde_json::from_slice(body).ok()?;
    let calls_tools = answer
        .output
        .iter()
        .any(|item| item.kind.ends_with("_call"));
    let parts = || answer.output.iter().flat_map(|item| &item.content);
    let said = parts().filter(|part| part.kind == "output_text");
    let text: String = said.filter_map(|part| part.text.as_deref()).collect();
    let mut texts = Vec::new();
    if !(calls_tools && text.is_empty()) {
        texts.push(Text {
            is_refusal: text.is_empty() && parts().any(|part| part.refusal.is_some()),
            text,
            is_cut: answer.status.as_deref() == Some("incomplete"),
        });
    }
    some(texts, calls_tools)
}

fn some(texts: Vec<Text>, calls_tools: bool) -> Option<Said> {
    if !texts.is_empty() {
        return Some(Said::Texts(texts));
    }
    calls_tools.then_some(Said::Nothing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(path: &str, body: &Value) -> Option<Vec<(String, bool, bool)>> {
        match read(path, body.to_string().as_bytes())? {
            Said::Nothing => Some(Vec::new()),
            Said::Texts(all) => {
                let all = all.into_iter();
                Some(
                    all.map(|one| (one.text, one.is_cut, one.is_refusal))
                        .collect(),
                )
            }
        }
    }

    #[test]
    fn what_is_said_is_found_in_every_format() {
        let one = |text: &str| Some(vec![(text.to_owned(), false, false)]);
        let chat = |message: Value| {
            let body = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
            texts("/chat/completions", &body)
        };
        assert_eq!(chat(json!({"content": "{}"})), one("{}"));
        let parts = json!([{"type": "text", "text": "{"}, {"type": "text", "text": "}"}]);
        assert_eq!(chat(json!({ "content": parts })), one("{}"));
        assert_eq!(
            chat(json!({"content": null, "tool_calls": [{}]})),
            Some(vec![])
        );
        assert_eq!(chat(json!({"content": "1", "tool_calls": [{}]})), one("1"));
        let refused = Some(vec![(String::new(), false, true)]);
        assert_eq!(chat(json!({"content": null, "refusal": "no"})), refused);
        let text = json!({"choices": [{"text": "1", "finish_reason": "length"}]});
        let cut = Some(vec![("1".to_owned(), true, false)]);
        assert_eq!(texts("/completions?x=1", &text), cut);

        let body = json!({"content": [{"type": "thinking", "thinking": "?"},
            {"type": "text", "text": "1"}], "stop_reason": "max_tokens"});
        assert_eq!(texts("/messages", &body), cut);
        let body = json!({"content": [{"type": "tool_use", "input": {}}]});
        assert_eq!(texts("/messages", &body), Some(vec![]));

        let body = json!({"output": [{"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "1"}]}],
            "status": "incomplete"});
        assert_eq!(texts("/responses", &body), cut);
        let body = json!({"output": [{"type": "function_call", "arguments": "{}"}]});
        assert_eq!(texts("/responses", &body), Some(vec![]));

        assert_eq!(texts("/embeddings", &json!({"data": []})), Some(vec![]));
        assert_eq!(texts("/chat/completions", &json!({"choices": []})), None);
        assert_eq!(texts("/chat/completions", &json!([])), None);
    }
}
