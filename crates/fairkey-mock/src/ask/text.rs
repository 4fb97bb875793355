//! The texts of a request, wherever its format keeps them.

use serde_json::Value;

use super::{Body, Shape};
use crate::fault::Fault;

/// Every text of a prompt, in order; an error where there is none.
pub(super) fn texts(body: &Body, shape: Shape) -> Result<Vec<&str>, Fault> {
    match shape {
        Shape::Chat | Shape::Messages => {
            let messages = body.messages.as_deref().unwrap_or_default();
            if messages.is_empty() {
                return Err(missing("messages"));
            }
            let system = body.system.as_ref().into_iter().flat_map(of_content);
            let said = messages.iter().flat_map(|said| of_content(&said.content));
            Ok(system.chain(said).collect())
        }
        Shape::Text => required(body.prompt.as_ref(), "prompt"),
        Shape::Embeddings => required(body.input.as_ref(), "input"),
        Shape::Responses => {
            let instructions = body.instructions.as_deref().into_iter();
            Ok(instructions.chain(of_input(body.input.as_ref())?).collect())
        }
        Shape::Rerank => {
            let query = body.query.as_deref().filter(|query| !query.is_empty());
            let query = query.ok_or_else(|| missing("query"))?;
            let documents = body.documents.as_deref().unwrap_or_default();
            if documents.is_empty() {
                return Err(missing("documents"));
            }
            // The query last: it is what the call is about.
            Ok(documents.iter().map(of_document).chain([query]).collect())
        }
    }
}

/// The text of a document: itself, or its member `text`.
pub(crate) fn of_document(document: &Value) -> &str {
    let text = document.as_str();
    text.or_else(|| document.get("text").and_then(Value::as_str))
        .unwrap_or_default()
}

fn of_content(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => Vec::new(),
    }
}

/// The input of `/responses`: text, or items with content.
fn of_input(input: Option<&Value>) -> Result<Vec<&str>, Fault> {
    match input {
        Some(Value::String(text)) if !text.is_empty() => Ok(vec![text]),
        Some(Value::Array(items)) if !items.is_empty() => {
            let contents = items
                .iter()
                .filter_map(|item| item.get("content").or_else(|| item.get("output")));
            Ok(contents.flat_map(of_content).collect())
        }
        _ => Err(missing("input")),
    }
}

fn required<'a>(value: Option<&'a Value>, name: &str) -> Result<Vec<&'a str>, Fault> {
    let texts = match value {
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if texts.is_empty() {
        return Err(missing(name));
    }
    Ok(texts)
}

fn missing(name: &str) -> Fault {
    Fault::bad_request(format!("Input required: specify \"{name}\""))
}
