//! From one line to one request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::chat;
use crate::{BadLine, Defaults, Place, Request};

/// What a line asks for: the name it gives itself, and the request.
pub(super) type Parsed = (Option<String>, Result<Request, BadLine>);

const CHAT: &str = "/chat/completions";

/// Reads lines, with what they lack at hand.
pub(super) struct Parser {
    defaults: Defaults,
    chat: Arc<str>,
    /// The model of the row before: files name few, and a shared one costs no allocation.
    model: Option<Arc<str>>,
}

/// Why a line is no request, before its number is known.
pub(super) struct Problem {
    pub(super) column: Option<u64>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            column: None,
            message: message.into(),
        }
    }

    /// What serde found wrong with a line.
    fn json(error: &serde_json::Error) -> Self {
        let column = error.column() as u64;
        let text = error.to_string();
        // The position is told in our own words: the line serde counts is always the first.
        let message = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(message, _)| message);
        Self {
            column: (column > 0).then_some(column),
            message: message.to_owned(),
        }
    }
}

impl Parser {
    pub(super) fn new(defaults: Defaults) -> Self {
        Self {
            defaults,
            chat: CHAT.into(),
            model: None,
        }
    }

    /// Reads a line of text as a prompt.
    pub(super) fn text(&mut self, prompt: &str) -> Parsed {
        let prompt = json_string(prompt);
        let body = chat::from_prompt(&prompt, None, &Fields(Vec::new()), &self.defaults);
        let model = self.defaults.model.clone();
        let model = model.map(|model| self.share(&model));
        (
            None,
            Ok(Request {
                path: Arc::clone(&self.chat),
                model,
                body,
            }),
        )
    }

    /// Reads a line of JSON. `bytes` holds `text`: a body that needs no change is a part of it.
    pub(super) fn json(&mut self, line: u64, text: &str, bytes: &Bytes) -> Parsed {
        let bad = |problem: Problem| {
            Err(BadLine {
                place: Place { file: None, line },
                column: problem.column,
                message: problem.message,
            })
        };
        let fields: Fields<'_> = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(error) => {
                let mut problem = Problem::json(&error);
                if problem.message.starts_with("invalid type") {
                    problem = Problem::new("not a JSON object");
                }
                return (None, bad(problem));
            }
        };
        let custom_id = match custom_id(&fields) {
            Ok(custom_id) => custom_id,
            Err(problem) => return (None, bad(problem)),
        };
        match self.request(text, bytes, &fields) {
            Ok(request) => (custom_id, Ok(request)),
            Err(problem) => (custom_id, bad(problem)),
        }
    }

    fn request(
        &mut self,
        text: &str,
        bytes: &Bytes,
        fields: &Fields<'_>,
    ) -> Result<Request, Problem> {
        if let Some(body) = fields.get("body") {
            let path = batch_path(fields)?;
            let body_fields: Fields<'_> = match serde_json::from_str(body.get()) {
                Ok(fields) => fields,
                Err(_) => return Err(Problem::new("\"body\" is not a JSON object")),
            };
            let path = if path == CHAT {
                Arc::clone(&self.chat)
            } else {
                path.into()
            };
            let path: Arc<str> = path;
            return if *path == *CHAT {
                self.chat(path, text, bytes, Some(body.get()), &body_fields)
            } else {
                self.other(path, bytes, body.get(), &body_fields)
            };
        }
        if fields.get("messages").is_some() {
            return self.chat(Arc::clone(&self.chat), text, bytes, None, fields);
        }
        if let Some(prompt) = fields.get("prompt") {
            if !prompt.get().starts_with('"') {
                return Err(Problem::new("\"prompt\" is not a string"));
            }
            let system = match fields.get("system").map(RawValue::get) {
                None | Some("null") => None,
                Some(system) if system.starts_with('"') => Some(system),
                Some(_) => return Err(Problem::new("\"system\" is not a string")),
            };
            let body = chat::from_prompt(prompt.get(), system, fields, &self.defaults);
            let model = self.model(fields)?;
            return Ok(Request {
                path: Arc::clone(&self.chat),
                model,
                body,
            });
        }
        Err(Problem::new(
            "no request: it has neither \"messages\" nor \"prompt\", and no \"body\" as lines of a \
             batch file have",
        ))
    }

    /// A body for chats. `body` is `None` where the line itself is the body.
    fn chat(
        &mut self,
        path: Arc<str>,
        text: &str,
        bytes: &Bytes,
        body: Option<&str>,
        fields: &Fields<'_>,
    ) -> Result<Request, Problem> {
        let model = self.model(fields)?;
        let is_line = body.is_none();
        let body = body.unwrap_or_else(|| text.trim());
        let body = match chat::fill(body, is_line, fields, &self.defaults)? {
            Some(filled) => filled,
            None => bytes.slice_ref(body.as_bytes()),
        };
        Ok(Request { path, model, body })
    }

    /// A body for any other endpoint: only the model is filled in.
    fn other(
        &mut self,
        path: Arc<str>,
        bytes: &Bytes,
        body: &str,
        fields: &Fields<'_>,
    ) -> Result<Request, Problem> {
        let model = self.model(fields)?;
        let body = match chat::fill_model(body, fields, &self.defaults) {
            Some(filled) => filled,
            None => bytes.slice_ref(body.as_bytes()),
        };
        Ok(Request { path, model, body })
    }

    /// Returns the model that the request names, or the default.
    fn model(&mut self, fields: &Fields<'_>) -> Result<Option<Arc<str>>, Problem> {
        let model = match fields.get("model").map(RawValue::get) {
            None | Some("null") => None,
            Some(json) => match serde_json::from_str::<String>(json) {
                Ok(model) => Some(model),
                Err(_) => return Err(Problem::new("\"model\" is not a string")),
            },
        };
        let fallback = if fields.names_models() {
            None
        } else {
            self.defaults.model.clone()
        };
        Ok(model.or(fallback).map(|model| self.share(&model)))
    }

    fn share(&mut self, model: &str) -> Arc<str> {
        match &self.model {
            Some(last) if **last == *model => Arc::clone(last),
            _ => {
                let model: Arc<str> = model.into();
                self.model = Some(Arc::clone(&model));
                model
            }
        }
    }
}

/// Returns the name that a line gives itself.
fn custom_id(fields: &Fields<'_>) -> Result<Option<String>, Problem> {
    for name in ["custom_id", "id"] {
        let Some(id) = fields.get(name).map(RawValue::get) else {
            continue;
        };
        let first = id.as_bytes().first().copied().unwrap_or(b'n');
        return match first {
            b'n' => continue,
            b'"' => match serde_json::from_str(id) {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(Problem::new(format!("\"{name}\" is not a string"))),
            },
            b'0'..=b'9' | b'-' => Ok(Some(id.to_owned())),
            _ => Err(Problem::new(format!(
                "\"{name}\" is neither a string nor a number"
            ))),
        };
    }
    Ok(None)
}

/// Returns where a line of a batch file goes, relative to the base URL.
fn batch_path(fields: &Fields<'_>) -> Result<String, Problem> {
    let text = |name: &str| match fields.get(name).map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(json) => serde_json::from_str::<String>(json)
            .map(Some)
            .map_err(|_| Problem::new(format!("\"{name}\" is not a string"))),
    };
    if let Some(method) = text("method")?
        && !method.eq_ignore_ascii_case("POST")
    {
        return Err(Problem::new(
            "\"method\" is not POST, the only one that is sent",
        ));
    }
    let Some(url) = text("url")? else {
        return Ok(CHAT.to_owned());
    };
    let path = ["/api/v1/", "/v1/"]
        .iter()
        .find_map(|prefix| url.strip_prefix(prefix))
        .or_else(|| url.strip_prefix('/'));
    let sane = |path: &str| {
        !path.is_empty()
            && !path.starts_with('/')
            && path.split('/').all(|part| !matches!(part, "." | ".."))
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"#\\\"<>".contains(&byte))
    };
    match path {
        Some(path) if sane(path) => Ok(format!("/{path}")),
        _ => Err(Problem::new(
            "\"url\" is not a path such as \"/v1/chat/completions\"",
        )),
    }
}

/// Returns `text` as a string of JSON, its quotes included.
fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// The fields of an object, each value as it is written.
pub(super) struct Fields<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Returns a field; the last one of that name, as every reader of JSON does.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .rev()
            .find(|(field, _)| field == name)
            .map(|(_, value)| *value)
    }

    /// Returns whether a field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() != "null")
    }

    pub(super) fn names_models(&self) -> bool {
        self.has("model") || self.has("models")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Object<'a> {
            type Value = Fields<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value: &'de RawValue = map.next_value()?;
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object(std::marker::PhantomData))
    }
}
