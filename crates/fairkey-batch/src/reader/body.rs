//! Bodies of requests: what lines lack is spliced in, and what is there stays as it is.

use std::fmt::Write as _;

use bytes::Bytes;
use fairkey_openrouter::splice::Splice;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::endpoint::{Endpoint, Prompt, Shape, System};
use super::line::{Fields, Problem};
use crate::Defaults;
use crate::settings::Unset;

/// Fields of a line with `prompt` that are not fields of the request.
const OF_THE_LINE: [&str; 4] = ["prompt", "system", "custom_id", "id"];
/// Fields that would make the answer a stream: a result is written when it is whole.
const OF_STREAMS: [&str; 2] = ["stream", "stream_options"];

/// Makes the body of a line with a prompt. `prompt` and `system` are strings of JSON.
pub(super) fn from_prompt(
    endpoint: &Endpoint,
    prompt: &str,
    system: Option<&str>,
    fields: &Fields<'_>,
    defaults: &Defaults,
) -> Result<Bytes, Problem> {
    let shape = endpoint.shape();
    let default_system = match shape.system {
        System::Nowhere if system.is_some() => {
            return Err(Problem::new(format!(
                "requests of {endpoint} have no system message"
            )));
        }
        System::Nowhere => None,
        System::Message | System::Field(_) => defaults.system.as_deref().map(quoted),
    };
    let system = system.or(default_system.as_deref());
    let mut body = String::with_capacity(prompt.len() + 96);
    match shape.prompt {
        Prompt::Message => {
            body.push_str("{\"messages\":[");
            if let (System::Message, Some(system)) = (shape.system, system) {
                let _ = write!(body, "{{\"role\":\"system\",\"content\":{system}}},");
            }
            let _ = write!(body, "{{\"role\":\"user\",\"content\":{prompt}}}]");
        }
        Prompt::Field(name) => {
            let _ = write!(body, "{{\"{name}\":{prompt}");
        }
        Prompt::Unknown => {
            return Err(Problem::new(format!(
                "where a prompt goes in requests of {endpoint} is not known: write whole bodies"
            )));
        }
    }
    if let (System::Field(name), Some(system)) = (shape.system, system) {
        let _ = write!(body, ",\"{name}\":{system}");
    }
    let added = lacking(&shape, fields, defaults);
    for (name, value) in &fields.0 {
        let is_lacking = added.iter().any(|(added, _)| added == name);
        if !OF_THE_LINE.contains(&&**name) && !OF_STREAMS.contains(&&**name) && !is_lacking {
            let _ = write!(body, ",{}:{}", quoted(name), value.get());
        }
    }
    for (name, value) in added {
        let _ = write!(body, ",\"{name}\":{value}");
    }
    body.push('}');
    set(body.into(), defaults)
}

/// Fills in what a body lacks. `body` is a part of `bytes`, and so is the result where it lacks
/// nothing.
///
/// Where `is_line` is set, the body is a whole line, and its `custom_id` or `id` is taken out.
pub(super) fn complete(
    endpoint: &Endpoint,
    body: &str,
    bytes: &Bytes,
    is_line: bool,
    fields: &Fields<'_>,
    defaults: &Defaults,
) -> Result<Bytes, Problem> {
    let shape = endpoint.shape();
    let mut splice = Splice::new(bytes.slice_ref(body.as_bytes()));
    if is_line {
        for name in ["custom_id", "id"] {
            if fields.get(name).is_some() {
                splice = splice.remove(name);
            }
        }
    }
    let streams = fields.get("stream");
    if streams.is_some_and(|stream| stream.get() == "true") {
        for name in OF_STREAMS {
            splice = splice.remove(name);
        }
    }
    match shape.system {
        System::Message => {
            if let Some(messages) = with_system(fields, defaults)?
                && let Ok(messages) = RawValue::from_string(messages)
            {
                splice = splice.set_raw("messages", &messages);
            }
        }
        System::Field(name) => {
            if let Some(system) = &defaults.system
                && !fields.has(name)
            {
                splice = splice.set(name, system);
            }
        }
        System::Nowhere => {}
    }
    for (name, value) in lacking(&shape, fields, defaults) {
        if let Ok(value) = RawValue::from_string(value) {
            splice = splice.set_raw(name, &value);
        }
    }
    let body = splice.finish();
    let body = body.map_err(|error| Problem::new(error.to_string()))?;
    set(body, defaults)
}

/// Sets the fields that the run sets.
fn set(body: Bytes, defaults: &Defaults) -> Result<Bytes, Problem> {
    let set = defaults.settings.apply(body);
    set.map_err(|unset| {
        Problem::new(match unset {
            Unset::NoObject(path) => {
                format!("a field in \"{path}\" is to be set, and \"{path}\" is no object here")
            }
            Unset::Body(error) => error.to_string(),
        })
    })
}

/// Returns the fields that are lacking and at hand, as JSON.
fn lacking(shape: &Shape, fields: &Fields<'_>, defaults: &Defaults) -> Vec<(&'static str, String)> {
    let mut added = Vec::new();
    if let Some(model) = defaults.model.as_deref()
        && !fields.names_models()
    {
        added.push(("model", quoted(model)));
    }
    if let (Some(max_tokens), Some(name)) = (defaults.max_tokens, shape.max_tokens.first())
        && !shape.max_tokens.iter().any(|name| fields.has(name))
    {
        added.push((*name, max_tokens.to_string()));
    }
    added
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
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
