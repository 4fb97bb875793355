//! Bodies of chat requests: what lines lack is spliced in, and what is there stays as it is.

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::line::{Fields, Problem};
use crate::Defaults;

/// Fields of a line with `prompt` that are not fields of the request.
const OF_THE_LINE: [&str; 4] = ["prompt", "system", "custom_id", "id"];
/// Fields that would make the answer a stream: a result is written when it is whole.
const OF_STREAMS: [&str; 2] = ["stream", "stream_options"];

/// Makes the body of a line with a prompt. `prompt` and `system` are strings of JSON.
pub(super) fn from_prompt(
    prompt: &str,
    system: Option<&str>,
    fields: &Fields<'_>,
    defaults: &Defaults,
) -> Bytes {
    let mut body = String::with_capacity(prompt.len() + 96);
    body.push_str("{\"messages\":[");
    let default_system = defaults.system.as_deref().map(quoted);
    if let Some(system) = system.or(default_system.as_deref()) {
        let _ = write!(body, "{{\"role\":\"system\",\"content\":{system}}},");
    }
    let _ = write!(body, "{{\"role\":\"user\",\"content\":{prompt}}}]");
    for (name, value) in &fields.0 {
        if !OF_THE_LINE.contains(&&**name) && !OF_STREAMS.contains(&&**name) {
            let _ = write!(body, ",{}:{}", quoted(name), value.get());
        }
    }
    for (name, value) in lacking(fields, defaults) {
        let _ = write!(body, ",\"{name}\":{value}");
    }
    body.push('}');
    body.into()
}

/// Fills in what the body of a chat lacks; `None` where it lacks nothing.
///
/// Where `is_line` is set, the body is a whole line, and its `custom_id` or `id` is taken out.
pub(super) fn fill(
    body: &str,
    is_line: bool,
    fields: &Fields<'_>,
    defaults: &Defaults,
) -> Result<Option<Bytes>, Problem> {
    let streams = fields
        .get("stream")
        .is_some_and(|stream| stream.get() == "true");
    let is_id = |name: &str| is_line && matches!(name, "custom_id" | "id");
    let is_out =
        |name: &str| is_id(name) || (streams && OF_STREAMS.contains(&name)) || name == "messages";
    let added = lacking(fields, defaults);
    let messages = with_system(fields, defaults)?;
    let takes_out = streams || fields.0.iter().any(|(name, _)| is_id(name));
    if !takes_out && added.is_empty() && messages.is_none() {
        return Ok(None);
    }
    if !takes_out && messages.is_none() {
        return Ok(Some(splice(body, fields, &added)));
    }
    let mut out = String::with_capacity(body.len() + 64);
    let mut separator = '{';
    for (name, value) in &fields.0 {
        if is_out(name) && name != "messages" {
            continue;
        }
        let value = match &messages {
            Some(messages) if name == "messages" => messages,
            _ => value.get(),
        };
        let _ = write!(out, "{separator}{}:{value}", quoted(name));
        separator = ',';
    }
    for (name, value) in added {
        let _ = write!(out, "{separator}\"{name}\":{value}");
        separator = ',';
    }
    out.push('}');
    Ok(Some(out.into()))
}

/// Fills in the model; `None` where one is named, or none is at hand.
pub(super) fn fill_model(body: &str, fields: &Fields<'_>, defaults: &Defaults) -> Option<Bytes> {
    let added = lacking_model(fields, defaults)?;
    Some(splice(body, fields, &[added]))
}

/// Puts fields at the end of an object, every other byte as it was.
fn splice(body: &str, fields: &Fields<'_>, added: &[(&'static str, String)]) -> Bytes {
    let mut out = String::with_capacity(body.len() + 64);
    // `body` was read as an object, without white space around it: it ends with its brace.
    out.push_str(body.strip_suffix('}').unwrap_or(body));
    for (at, (name, value)) in added.iter().enumerate() {
        let separator = if at == 0 && fields.0.is_empty() {
            ""
        } else {
            ","
        };
        let _ = write!(out, "{separator}\"{name}\":{value}");
    }
    out.push('}');
    out.into()
}

/// Returns the fields that are lacking and at hand.
fn lacking(fields: &Fields<'_>, defaults: &Defaults) -> Vec<(&'static str, String)> {
    let mut added: Vec<_> = lacking_model(fields, defaults).into_iter().collect();
    if let Some(max_tokens) = defaults.max_tokens
        && !fields.has("max_tokens")
        && !fields.has("max_completion_tokens")
    {
        added.push(("max_tokens", max_tokens.to_string()));
    }
    added
}

fn lacking_model(fields: &Fields<'_>, defaults: &Defaults) -> Option<(&'static str, String)> {
    let model = defaults.model.as_deref()?;
    (!fields.names_models()).then(|| ("model", quoted(model)))
}

/// Returns the messages with the default system message before them; `None` where they stay as
/// they are.
fn with_system(fields: &Fields<'_>, defaults: &Defaults) -> Result<Option<String>, Problem> {
    #[derive(Deserialize)]
    struct Role {
        #[serde(default)]
        role: Option<String>,
    }

    let messages = fields.get("messages").map_or("null", RawValue::get);
    if !messages.starts_with('[') {
        return Err(Problem::new("\"messages\" is not an array"));
    }
    let Some(system) = defaults.system.as_deref() else {
        return Ok(None);
    };
    let Ok(roles) = serde_json::from_str::<Vec<Role>>(messages) else {
        return Err(Problem::new(
            "\"messages\" is not an array of objects with a \"role\"",
        ));
    };
    let has_system = |role: &Role| matches!(role.role.as_deref(), Some("system" | "developer"));
    if roles.iter().any(has_system) {
        return Ok(None);
    }
    let separator = if roles.is_empty() { "" } else { "," };
    let rest = &messages[1..];
    let system = quoted(system);
    Ok(Some(format!(
        "[{{\"role\":\"system\",\"content\":{system}}}{separator}{rest}"
    )))
}

/// Returns `text` as a string of JSON, its quotes included.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
