//! Failures as OpenRouter words them: one value per failure, independent of where it is delivered.
//!
//! A [`Fault`] is a status, a message, metadata and headers, plus *where* it surfaces: as an HTTP
//! error, or inside a 200 in one of the four forms that OpenRouter uses once a provider has begun.
//! The mock's own refusals (a spent cap, an empty balance) are made of the same values as the
//! scripted ones, so both look alike to a client.
//!
//! The constructors are grouped by who is to blame: the caller, the key and its budgets, the
//! account, the provider or OpenRouter; the last group fails inside a 200. Each can be changed
//! afterwards: [`Fault::message`], [`Fault::metadata`], [`Fault::header`],
//! [`Fault::without_metadata`], [`Fault::after_chunks`].
//!
//! ```
//! use std::time::Duration;
//! use fairkey_mock::{Fault, On, Step};
//!
//! let full = Fault::provider_rate_limited("OpenAI").retry_after(Duration::from_secs(3));
//! let steps = [Step::reply(full).times(3), Step::reset_after_chunks(2)];
//! # let _ = (On::model("openai/gpt-4o-mini"), steps);
//! ```

mod account;
mod caller;
mod in_200;
mod key;
mod provider;
mod samples;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::retry_seconds;

const CREDITS_URL: &str = "https://openrouter.ai/settings/credits";
const KEYS_URL: &str = "https://openrouter.ai/settings/keys";

/// A failure in OpenRouter's words. See the [module](self) for how it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    name: &'static str,
    status: u16,
    code: Code,
    message: String,
    metadata: Map<String, Value>,
    /// Members of `error` besides `code`, `message` and `metadata`.
    extra: Map<String, Value>,
    headers: Vec<(String, String)>,
    place: Place,
    /// The limit behind it, in words for the log.
    by: Option<String>,
}

/// How `error.code` is written.
#[derive(Clone, Debug, PartialEq)]
enum Code {
    Status,
    Text(String),
    Absent,
}

/// Where a fault surfaces.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// As an HTTP error with a JSON body.
    Head,
    /// As an HTTP error with a body of its own.
    Page {
        content_type: &'static str,
        body: String,
    },
    /// A 200 whose body is a bare error object; on a stream, a bare error chunk. `after` chunks of
    /// content come first on a stream.
    BareError { after: usize },
    /// A 200 whose choice ends in `finish_reason: "error"` with an `error` beside it, after `after`
    /// chunks of partial content; on a stream, a chunk with the error at its top.
    ChoiceError { after: usize },
    /// A 200 whose choice ends in `finish_reason: "error"` and says no more than `native`.
    NativeFinish { native: String, after: usize },
}

impl Fault {
    /// A fault with this status and message, `error.code` being the status, and nothing else.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            name: "custom",
            status,
            code: Code::Status,
            message: message.into(),
            metadata: Map::new(),
            extra: Map::new(),
            headers: Vec::new(),
            place: Place::Head,
            by: None,
        }))
    }

    fn named(name: &'static str, status: u16, message: impl Into<String>) -> Self {
        let mut fault = Self::new(status, message);
        fault.0.name = name;
        fault
    }

    /// The newest shape: `error_type`, `http_status` and `availability` in `error`, and no `code`.
    fn unavailable(
        name: &'static str,
        status: u16,
        error_type: &str,
        message: impl Into<String>,
        availability: Value,
    ) -> Self {
        let mut fault = Self::named(name, status, message);
        fault.0.code = Code::Absent;
        fault.0.extra.insert("error_type".into(), error_type.into());
        fault.0.extra.insert("http_status".into(), status.into());
        fault.0.extra.insert("availability".into(), availability);
        fault
    }

    /// The status: of the HTTP response, or for a failure inside a 200, of its `error.code`.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The name of its constructor, as it shows in the log.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Replaces the status, and with it `error.code`.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        if let Some(shown) = self.0.extra.get_mut("http_status") {
            *shown = status.into();
        }
        self
    }

    /// Names the provider (`metadata.provider_name`).
    #[must_use]
    pub fn provider(self, name: impl Into<String>) -> Self {
        self.metadata("provider_name", name.into())
    }

    /// Replaces the message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Sets a member of `error.metadata`.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.metadata.insert(name.into(), value.into());
        self
    }

    /// Drops `error.metadata` whole: the fault as older versions of the API sent it.
    #[must_use]
    pub fn without_metadata(mut self) -> Self {
        self.0.metadata.clear();
        self
    }

    /// Sets a member of `error` itself, such as `availability`.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.into(), value.into());
        self
    }

    /// Makes `error.code` a string, as some upstream errors inside streams have it.
    #[must_use]
    pub fn string_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Code::Text(code.into());
        self
    }

    /// Adds an HTTP header. It is sent only where the fault is an HTTP error.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// Drops all HTTP headers of the fault: hints then stand in `error.metadata.headers` only,
    /// which is where they were mostly seen.
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.0.headers.clear();
        self
    }

    /// Adds `Retry-After` in whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        self.header("retry-after", retry_seconds(after).to_string())
    }

    /// Delivers it inside a 200 as a bare error body (on a stream, a bare error chunk).
    #[must_use]
    pub fn in_200(mut self) -> Self {
        self.0.place = Place::BareError { after: 0 };
        self
    }

    /// Delivers it inside a 200 as an error of the choice, beside partial content (on a stream, as
    /// a chunk with the error at its top and `finish_reason: "error"`).
    #[must_use]
    pub fn in_choice(mut self) -> Self {
        self.0.place = Place::ChoiceError { after: 3 };
        self
    }

    /// For a fault inside a 200: how many chunks of content come before it. An HTTP error becomes
    /// an error of the choice. Zero puts it before the first content.
    #[must_use]
    pub fn after_chunks(mut self, chunks: usize) -> Self {
        match &mut self.0.place {
            Place::Head | Place::Page { .. } => self.0.place = Place::ChoiceError { after: chunks },
            Place::BareError { after }
            | Place::ChoiceError { after }
            | Place::NativeFinish { after, .. } => *after = chunks,
        }
        self
    }

    /// Names the model in `availability.requested_models`, where the fault has such a list and it
    /// is empty.
    #[must_use]
    pub fn requested_model(mut self, model: &str) -> Self {
        let list = self.0.extra.get_mut("availability");
        let list = list.and_then(|availability| availability.get_mut("requested_models"));
        if let Some(Value::Array(models)) = list
            && models.is_empty()
        {
            models.push(model.into());
        }
        self
    }

    /// Whether it is told inside a 200.
    pub(crate) fn is_in_200(&self) -> bool {
        !matches!(self.0.place, Place::Head | Place::Page { .. })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.0.headers
    }

    /// Says which limit is behind it. The log shows it, and the wire does not.
    pub(crate) fn by(mut self, limit: impl Into<String>) -> Self {
        self.0.by = Some(limit.into());
        self
    }

    pub(crate) fn limit(&self) -> Option<&str> {
        self.0.by.as_deref()
    }

    /// Replaces `availability.excluded_by`.
    pub(crate) fn excluded_by(mut self, what: &str) -> Self {
        if let Some(Value::Object(availability)) = self.0.extra.get_mut("availability") {
            availability.insert("excluded_by".into(), json!([what]));
        }
        self
    }

    /// Names the providers in `availability.affected_providers`.
    pub(crate) fn affecting(mut self, providers: &[&str]) -> Self {
        if let Some(Value::Object(availability)) = self.0.extra.get_mut("availability") {
            availability.insert("affected_providers".into(), json!(providers));
        }
        self
    }

    /// The value of `error_type`, wherever it stands. A provider's failure inside a 200 has one in
    /// `/messages` and `/responses` even where chat tells none.
    pub(crate) fn error_type(&self) -> Option<&str> {
        let typed = self.0.metadata.get("error_type");
        let typed = typed.or(self.0.extra.get("error_type"));
        let implied = self.is_in_200().then_some("provider_unavailable");
        typed.and_then(Value::as_str).or(implied)
    }

    /// The message; where the chat format has none, what the others say instead.
    pub(crate) fn text(&self) -> &str {
        if self.0.message.is_empty() {
            return "Provider returned error";
        }
        &self.0.message
    }

    /// The value of `limit_source`, for the log.
    pub(crate) fn limit_source(&self) -> Option<&str> {
        self.0.metadata.get("limit_source").and_then(Value::as_str)
    }

    /// Adds a failed provider to the trail of `previous_errors`.
    pub(crate) fn preceded_by(&mut self, earlier: &Self, provider: &str) {
        let error = json!({
            "provider": provider,
            "code": earlier.0.metadata.get("error_type").cloned().unwrap_or(Value::Null),
            "status": earlier.0.status,
        });
        let trail = self
            .0
            .metadata
            .entry("previous_errors")
            .or_insert_with(|| json!([]));
        if let Value::Array(trail) = trail {
            trail.push(error);
        }
    }

    /// The `error` object.
    pub(crate) fn error(&self) -> Value {
        let mut error = Map::new();
        match &self.0.code {
            Code::Status => drop(error.insert("code".into(), self.0.status.into())),
            Code::Text(text) => drop(error.insert("code".into(), text.clone().into())),
            Code::Absent => {}
        }
        error.insert("message".into(), self.0.message.clone().into());
        error.extend(self.0.extra.clone());
        if !self.0.metadata.is_empty() {
            error.insert("metadata".into(), Value::Object(self.0.metadata.clone()));
        }
        Value::Object(error)
    }

    /// The whole body of the HTTP error: `{"error": {…}, "user_id"?: …}`.
    pub(crate) fn envelope(&self, user_id: Option<&str>) -> Value {
        let mut body = json!({ "error": self.error() });
        if let Some(user_id) = user_id {
            body["user_id"] = user_id.into();
        }
        body
    }
}

/// Where an availability code is explained.
fn docs_url(code: &str) -> String {
    format!("https://openrouter.ai/docs/errors#{code}")
}
