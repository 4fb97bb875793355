//! The request itself: models, messages, tools, formats, identifiers, and old forms.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Findings;
use crate::request::{ChatRequest, MAX_MODELS, ModelId, ToolChoice, Variant};
use crate::splice;

/// The most characters of `session_id`.
const MAX_SESSION_CHARS: usize = 256;
/// The most pairs of `metadata`, and characters of their names and values.
const MAX_METADATA: (usize, usize, usize) = (16, 64, 512);
/// The most texts of `stop`.
const MAX_STOPS: usize = 4;
/// The most characters of a function's or a schema's name.
const MAX_NAME_CHARS: usize = 64;

pub(super) fn check(request: &ChatRequest, to: &mut Findings) {
    models(request, to);
    messages(request, to);
    tools(request, to);
    formats(request, to);
    identifiers(request, to);
    without_effect(request, to);
    words(request, to);
    twice(request, to);
}

fn models(request: &ChatRequest, to: &mut Findings) {
    let models = request.models.as_deref().unwrap_or_default();
    if models.len() > MAX_MODELS {
        to.error(
            "models",
            format!("{} models", models.len()),
            format!("OpenRouter takes at most {MAX_MODELS}"),
            "send the first of them, and the others when these fail",
        );
    }
    let named = request
        .model
        .iter()
        .map(|model| ("model".to_owned(), model));
    let listed = models
        .iter()
        .enumerate()
        .map(|(place, model)| (format!("models[{place}]"), model));
    let mut seen = BTreeSet::new();
    for (field, model) in named.chain(listed) {
        let value = format!("{model:?}");
        match ModelId::parse(model) {
            Err(_) => to.error(
                field,
                value,
                "it is empty, or has white space or control characters",
                "write it as author/slug",
            ),
            Ok(id) => {
                if id.variant() == Some(Variant::Online) {
                    to.advice(
                        &field,
                        &value,
                        ":online is deprecated",
                        "give the tool openrouter:web_search",
                    );
                }
                if field != "models[0]" && !seen.insert(model) {
                    to.warning(field, value, "it is named before", "name each model once");
                } else {
                    seen.insert(model);
                }
            }
        }
    }
}

fn messages(request: &ChatRequest, to: &mut Findings) {
    if request.messages.is_empty() {
        to.error(
            "messages",
            "[]",
            "a conversation has at least one message",
            "add one",
        );
    }
    let mut called = BTreeSet::new();
    for (place, message) in request.messages.iter().enumerate() {
        let field = |name: &str| format!("messages[{place}].{name}");
        let role = message.role.as_str();
        if !["system", "developer", "user", "assistant", "tool"].contains(&role) {
            to.warning(
                field("role"),
                format!("{role:?}"),
                "it is none of system, developer, user, assistant and tool",
                "choose one of them",
            );
        }
        let calls = message.tool_calls.as_deref().unwrap_or_default();
        called.extend(calls.iter().filter_map(|call| call.id.as_deref()));
        match (role, &message.tool_call_id) {
            ("tool", None) => to.error(
                field("tool_call_id"),
                "none",
                "the result of a tool names its call",
                "set it to the id of the call",
            ),
            ("tool", Some(id)) if !called.contains(id.as_str()) => to.warning(
                field("tool_call_id"),
                format!("{id:?}"),
                "no message before calls a tool by this id",
                "send the assistant's message with the call, too",
            ),
            _ => {}
        }
        if message.content.is_none() && role != "assistant" {
            to.error(
                field("content"),
                "none",
                "only assistants say nothing",
                "say something",
            );
        }
    }
}

fn tools(request: &ChatRequest, to: &mut Findings) {
    let tools = request.tools.as_deref().unwrap_or_default();
    let mut names = BTreeSet::new();
    for (place, tool) in tools.iter().enumerate() {
        let field = format!("tools[{place}]");
        match (&tool.function, tool.kind.as_str()) {
            (Some(function), "function") => {
                name(&format!("{field}.function.name"), &function.name, to);
                if !names.insert(function.name.as_str()) {
                    to.error(
                        format!("{field}.function.name"),
                        format!("{:?}", function.name),
                        "another tool has this name",
                        "give each its own",
                    );
                }
            }
            (None, "function") => {
                to.error(
                    field,
                    "none",
                    "the function is missing",
                    "define it in function",
                );
            }
            _ => {}
        }
    }
    let Some(choice) = &request.tool_choice else {
        return;
    };
    let value = serde_json::to_string(choice).unwrap_or_default();
    if tools.is_empty() {
        let rule = "there are no tools to choose from";
        let cure = "give tools, or leave it out";
        match choice {
            ToolChoice::None | ToolChoice::Auto => to.warning("tool_choice", value, rule, cure),
            _ => to.error("tool_choice", value, rule, cure),
        }
    } else if let ToolChoice::Function(wanted) = choice
        && !names.contains(wanted.as_str())
    {
        to.error(
            "tool_choice",
            value,
            "no tool has this name",
            "name one of the tools, or add it",
        );
    }
}

fn name(field: &str, name: &str, to: &mut Findings) {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || !name.chars().all(is_fine) {
        to.error(
            field,
            format!("{name:?}"),
            format!("it has 1 to {MAX_NAME_CHARS} letters, digits, _ and -"),
            "choose another name",
        );
    }
}

fn formats(request: &ChatRequest, to: &mut Findings) {
    let plugins = request.plugins.as_deref().unwrap_or_default();
    if let Some(format) = &request.response_format {
        match (format.kind.as_str(), &format.json_schema) {
            ("json_schema", None) => to.error(
                "response_format.json_schema",
                "none",
                "the schema is missing",
                "give one, or ask for json_object",
            ),
            ("json_schema", Some(schema)) => {
                name("response_format.json_schema.name", &schema.name, to);
            }
            ("grammar", _) if format.grammar.is_none() => to.error(
                "response_format.grammar",
                "none",
                "the grammar is missing",
                "give one",
            ),
            _ => {}
        }
    }
    let healing = plugins
        .iter()
        .position(|plugin| plugin.id == "response-healing");
    if let Some(place) = healing.filter(|_| request.is_stream()) {
        to.warning(
            format!("plugins[{place}]"),
            "\"response-healing\"",
            "it repairs no streams",
            "leave it out, or do not stream",
        );
    }
    for (place, plugin) in plugins.iter().enumerate() {
        if plugin.id == "web" {
            to.advice(
                format!("plugins[{place}]"),
                "\"web\"",
                "this plugin is deprecated",
                "give the tool openrouter:web_search",
            );
        }
    }
    let stops = request.stop.as_ref().map_or(0, |stop| stop.texts().len());
    if stops > MAX_STOPS {
        to.error(
            "stop",
            format!("{stops} texts"),
            format!("there are at most {MAX_STOPS}"),
            "leave some out",
        );
    }
}

fn identifiers(request: &ChatRequest, to: &mut Findings) {
    // How long they are, not what they say.
    let length = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
    let session = length(&request.session_id);
    if session > MAX_SESSION_CHARS {
        to.error(
            "session_id",
            format!("{session} characters"),
            format!("it has at most {MAX_SESSION_CHARS}"),
            "hash it",
        );
    }
    let (most, most_name, most_value) = MAX_METADATA;
    let Some(metadata) = &request.metadata else {
        return;
    };
    if metadata.len() > most {
        to.error(
            "metadata",
            format!("{} pairs", metadata.len()),
            format!("it has at most {most}"),
            "leave some out",
        );
    }
    for (name, value) in metadata {
        let field = format!("metadata[{:?}]", super::short(name));
        if name.chars().count() > most_name || name.contains(['[', ']']) {
            let rule = format!("a name has at most {most_name} characters, and no brackets");
            to.error(&field, "…", rule, "choose another name");
        }
        let length = value.chars().count();
        if length > most_value {
            let rule = format!("a value has at most {most_value}");
            to.error(field, format!("{length} characters"), rule, "shorten it");
        }
    }
}

fn without_effect(request: &ChatRequest, to: &mut Findings) {
    if request.extra.contains_key("transforms") {
        to.warning(
            "transforms",
            "…",
            "it is the old form of the plugin context-compression",
            "write plugins: [{\"id\": \"context-compression\"}]",
        );
    }
    if request
        .extra
        .get("usage")
        .is_some_and(|usage| usage["include"] == Value::Bool(true))
    {
        to.advice(
            "usage.include",
            true,
            "usage is always sent: it does nothing",
            "leave it out",
        );
    }
    if request
        .stream_options
        .as_ref()
        .is_some_and(|own| own.include_usage.is_some())
    {
        to.advice(
            "stream_options.include_usage",
            "…",
            "usage is always sent: it does nothing",
            "leave it out",
        );
    }
    if let Some(route) = &request.route {
        let partition = match route.as_str() {
            "sort" => "none",
            _ => "model",
        };
        to.warning(
            "route",
            route,
            "it is deprecated",
            format!("write provider.sort.partition: {partition:?}"),
        );
    }
    if request.debug.is_some() && !request.is_stream() {
        to.warning(
            "debug",
            "…",
            "only streams have it",
            "stream, or leave it out",
        );
    }
    if request.top_logprobs.is_some() && request.logprobs != Some(true) {
        to.warning(
            "top_logprobs",
            request.top_logprobs.unwrap_or_default(),
            "without logprobs it does nothing",
            "set logprobs to true",
        );
    }
    if let (Some(old), Some(new)) = (request.max_tokens, request.max_completion_tokens)
        && old != new
    {
        to.warning(
            "max_tokens",
            old,
            format!("max_completion_tokens says {new}"),
            "leave one of the two out",
        );
    }
    let Some(reasoning) = &request.reasoning else {
        return;
    };
    if reasoning.effort.is_some() && reasoning.max_tokens.is_some() {
        to.warning(
            "reasoning.max_tokens",
            reasoning.max_tokens.unwrap_or_default(),
            "reasoning.effort says the same in another way",
            "leave one of the two out",
        );
    }
    if let (Some(long), Some(short)) = (&reasoning.effort, &request.reasoning_effort)
        && long != short
    {
        let rule = format!("reasoning.effort says {long}");
        to.warning("reasoning_effort", short, rule, "leave one of the two out");
    }
}

fn words(request: &ChatRequest, to: &mut Findings) {
    let mut unknown = |field: &str, word: Option<&str>| {
        if let Some(word) = word {
            to.warning(
                field,
                format!("{word:?}"),
                "this version does not know it",
                "check the spelling",
            );
        }
    };
    macro_rules! word {
        ($field:literal, $value:expr) => {
            let word = $value.as_ref().filter(|word| !word.is_known());
            unknown($field, word.map(|word| word.as_str()));
        };
    }
    word!("service_tier", request.service_tier);
    word!("verbosity", request.verbosity);
    word!("reasoning_effort", request.reasoning_effort);
    let effort = request
        .reasoning
        .as_ref()
        .and_then(|own| own.effort.clone());
    word!("reasoning.effort", effort);
    for own in request.modalities.iter().flatten() {
        if !own.is_known() {
            unknown("modalities", Some(own.as_str()));
        }
    }
}

/// Fields that `with` has set beside a typed one.
fn twice(request: &ChatRequest, to: &mut Findings) {
    let body = request.to_bytes();
    let mut seen = BTreeSet::new();
    for member in splice::members(&body).flatten() {
        let name = member.name().unwrap_or_default().into_owned();
        if seen.contains(&name) {
            to.error(
                name,
                "twice",
                "the body has it twice",
                "set the field of the request, not an extra one",
            );
        } else {
            seen.insert(name);
        }
    }
}
