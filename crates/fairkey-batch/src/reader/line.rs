//! From one line to one request.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::{self, quoted};
use super::endpoint::{Endpoint, Prompt};
use super::template::Template;
use crate::{Defaults, Request};

/// What a line asks for: the name it gives itself, and the request.
pub(super) type Parsed = (Option<String>, Result<Request, Problem>);

/// How many names are listed in a message.
const NAMED: usize = 12;

/// Reads lines, with what they lack at hand.
pub(super) struct Parser {
    defaults: Defaults,
    template: Option<Template>,
    /// Where lines go that do not say it.
    endpoint: Endpoint,
    /// Where the line before went that said it: files name few.
    named: Option<(String, Endpoint)>,
    /// The model of every request, where the run sets one.
    every_model: Option<Arc<str>>,
    /// The model of the row before: files name few, and a shared one costs no allocation.
    model: Option<Arc<str>>,
}

/// Why a line is no request, before its place is told.
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
    pub(super) fn new(defaults: Defaults, template: Option<Template>, endpoint: Endpoint) -> Self {
        Self {
            every_model: defaults.settings.model().map(Into::into),
            defaults,
            template,
            endpoint,
            named: None,
            model: None,
        }
    }

    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads a line of text as a prompt.
    pub(super) fn text(&mut self, line: &str) -> Parsed {
        let prompt = match &self.template {
            // Its only name was checked to be that of the line.
            Some(template) => template.expand(|_, _| Ok::<_, Problem>(line.into())),
            None => Ok(line.to_owned()),
        };
        let request = prompt.and_then(|prompt| self.prompt(&prompt, &Fields(Vec::new()), None));
        (None, request)
    }

    /// Reads a row of a table: a prompt, and what else it says.
    pub(super) fn row(
        &mut self,
        prompt: &str,
        system: Option<&str>,
        model: Option<&str>,
    ) -> Result<Request, Problem> {
        let system = system.map(quoted);
        let model = model.map(quoted).unwrap_or_default();
        let mut fields = Vec::new();
        if let Ok(model) = serde_json::from_str::<&RawValue>(&model) {
            fields.push((Cow::Borrowed("model"), model));
        }
        self.prompt(prompt, &Fields(fields), system.as_deref())
    }

    /// `system` is a string of JSON.
    fn prompt(
        &mut self,
        prompt: &str,
        fields: &Fields<'_>,
        system: Option<&str>,
    ) -> Result<Request, Problem> {
        if prompt.trim().is_empty() {
            return Err(Problem::new("the prompt is empty"));
        }
        let prompt = quoted(prompt);
        let body = body::from_prompt(&self.endpoint, &prompt, system, fields, &self.defaults)?;
        Ok(Request {
            path: self.endpoint.shared_path(),
            model: self.model(fields)?,
            body,
        })
    }

    /// Reads a line of JSON. `bytes` holds `text`: a body that needs no change is a part of it.
    pub(super) fn json(&mut self, text: &str, bytes: &Bytes) -> Parsed {
        let fields: Fields<'_> = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(error) => {
                let mut problem = Problem::json(&error);
                if problem.message.starts_with("invalid type") {
                    problem = Problem::new("not a JSON object");
                }
                return (None, Err(problem));
            }
        };
        match custom_id(&fields) {
            Ok(custom_id) => (custom_id, self.request(text, bytes, &fields)),
            Err(problem) => (None, Err(problem)),
        }
    }

    fn request(
        &mut self,
        text: &str,
        bytes: &Bytes,
        fields: &Fields<'_>,
    ) -> Result<Request, Problem> {
        if let Some(template) = &self.template {
            let prompt = template.expand(|_, name| fields.text(name))?;
            return self.prompt(&prompt, &Fields(Vec::new()), None);
        }
        if let Some(body) = fields.get("body") {
            let endpoint = self.batch_endpoint(fields)?;
            let body_fields: Fields<'_> = match serde_json::from_str(body.get()) {
                Ok(fields) => fields,
                Err(_) => return Err(Problem::new("\"body\" is not a JSON object")),
            };
            return self.body(&endpoint, bytes, body.get(), false, &body_fields);
        }
        let endpoint = self.endpoint.clone();
        let own = match endpoint.shape().prompt {
            Prompt::Message => "messages",
            Prompt::Field(name) => name,
            Prompt::Unknown => return self.body(&endpoint, bytes, text.trim(), true, fields),
        };
        if fields.get(own).is_some() {
            return self.body(&endpoint, bytes, text.trim(), true, fields);
        }
        let Some(prompt) = fields.get("prompt") else {
            let what = if endpoint.is_chat() {
                String::new()
            } else {
                format!(" for {endpoint}")
            };
            return Err(Problem::new(format!(
                "no request{what}: it has neither \"{own}\" nor \"prompt\", and no \"body\" as \
                 lines of a batch file have"
            )));
        };
        if !prompt.get().starts_with('"') {
            return Err(Problem::new("\"prompt\" is not a string"));
        }
        let system = match fields.get("system").map(RawValue::get) {
            None | Some("null") => None,
            Some(system) if system.starts_with('"') => Some(system),
            Some(_) => return Err(Problem::new("\"system\" is not a string")),
        };
        let body = body::from_prompt(&endpoint, prompt.get(), system, fields, &self.defaults)?;
        Ok(Request {
            path: endpoint.shared_path(),
            model: self.model(fields)?,
            body,
        })
    }

    /// A whole body. `is_line`: the line itself is the body.
    fn body(
        &mut self,
        endpoint: &Endpoint,
        bytes: &Bytes,
        body: &str,
        is_line: bool,
        fields: &Fields<'_>,
    ) -> Result<Request, Problem> {
        let model = self.model(fields)?;
        let body = body::complete(endpoint, body, bytes, is_line, fields, &self.defaults)?;
        Ok(Request {
            path: endpoint.shared_path(),
            model,
            body,
        })
    }

    /// Returns the model that the request names, or the default.
    fn model(&mut self, fields: &Fields<'_>) -> Result<Option<Arc<str>>, Problem> {
        if let Some(model) = &self.every_model {
            return Ok(Some(Arc::clone(model)));
        }
        let model = match fields.get("model").map(RawValue::get) {
            None | Some("null") => None,
            Some(json) => match serde_json::from_str::<Cow<'_, str>>(json) {
                Ok(model) => Some(model),
                Err(_) => return Err(Problem::new("\"model\" is not a string")),
            },
        };
        let model = match model {
            Some(model) => model,
            None if fields.names_models() => return Ok(None),
            None => match &self.defaults.model {
                Some(model) => Cow::Owned(model.clone()),
                None => return Ok(None),
            },
        };
        Ok(Some(match &self.model {
            Some(last) if **last == *model => Arc::clone(last),
            _ => Arc::clone(self.model.insert(model.into())),
        }))
    }

    /// Returns where a line of a batch file goes.
    fn batch_endpoint(&mut self, fields: &Fields<'_>) -> Result<Endpoint, Problem> {
        let text = |name: &str| match fields.get(name).map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(json) => serde_json::from_str::<Cow<'_, str>>(json)
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
            return Ok(self.endpoint.clone());
        };
        match &self.named {
            Some((last, endpoint)) if **last == *url => Ok(endpoint.clone()),
            _ => match url.parse::<Endpoint>() {
                Ok(endpoint) => {
                    self.named = Some((url.into_owned(), endpoint.clone()));
                    Ok(endpoint)
                }
                Err(why) => Err(Problem::new(format!("\"url\" is {why}"))),
            },
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

/// Names in quotes, for a message: `"a", "b" and 3 more`.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let mut count = 0;
    for name in names {
        count += 1;
        if count <= NAMED {
            if count > 1 {
                text.push_str(", ");
            }
            text.push_str(&format!("{name:?}"));
        }
    }
    match count {
        0 => "none".to_owned(),
        1..=NAMED => text,
        _ => format!("{text} and {} more", count - NAMED),
    }
}

/// The fields of an object, each value as it is written.
pub(super) struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

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

    /// Returns a field as a part of a prompt; where there is none of that name, dots lead into
    /// objects.
    fn text(&self, name: &str) -> Result<Cow<'a, str>, Problem> {
        let lacking = || {
            let names = list(self.0.iter().map(|(name, _)| &**name));
            Problem::new(format!(
                "no field {name:?}, which the template names; the line has {names}"
            ))
        };
        let Some(value) = self.get(name) else {
            let (outer, inner) = name.split_once('.').ok_or_else(lacking)?;
            let object = self.get(outer).ok_or_else(lacking)?;
            let inside: Fields<'a> = serde_json::from_str(object.get()).map_err(|_| lacking())?;
            return inside.text(inner);
        };
        match value.get() {
            "null" => Ok("".into()),
            json if json.starts_with('"') => match serde_json::from_str(json) {
                Ok(text) => Ok(Cow::Owned(text)),
                Err(_) => Err(Problem::new(format!("{name:?} is no text"))),
            },
            json => Ok(json.into()),
        }
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
                while let Some(Name(name)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object(std::marker::PhantomData))
    }
}

/// A name, copied only where it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'a>(std::marker::PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Text<'a> {
            type Value = Name<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text(std::marker::PhantomData))
    }
}
