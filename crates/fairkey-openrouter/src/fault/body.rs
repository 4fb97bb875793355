//! Failures inside a 200: in the body of a whole answer, and in the frames of a stream.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::endpoint;
use crate::fault::classify::Place;
use crate::fault::envelope::{Envelope, generation_id};
use crate::fault::glance::glance;
use crate::fault::{Cause, Evidence, Fault};
use crate::redaction::{NAME_CHARS, clean};
use crate::response::ResponseMessage;

/// The members of an answer that may tell of a failure. Reading it copies nothing.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    error_type: Option<&'a RawValue>,
    #[serde(rename = "type")]
    kind: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    choices: Option<Vec<ChoiceProbe<'a>>>,
    id: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    /// What an answer tells of itself, for whoever wants that too.
    provider: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
}

/// What an answer tells of itself: members of its object, in JSON, as they stand there; one that is
/// `null` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerTold<'a> {
    /// `id`: the identifier of the generation, in a chat completion.
    pub id: Option<&'a str>,
    /// `provider`: who served it.
    pub provider: Option<&'a str>,
    /// `usage`: what it used.
    pub usage: Option<&'a str>,
}

impl AnswerTold<'_> {
    pub(super) fn without_nulls(self) -> Self {
        let is_some = |value: &&str| *value != "null";
        Self {
            id: self.id.filter(is_some),
            provider: self.provider.filter(is_some),
            usage: self.usage.filter(is_some),
        }
    }
}

#[derive(Deserialize)]
struct ChoiceProbe<'a> {
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    message: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl Probe<'_> {
    /// Whether a closer look can be spared.
    fn is_clean(&self) -> bool {
        let is = |value: Option<&RawValue>, text| value.is_some_and(|value| value.get() == text);
        let known = self.choices.is_some() || self.id.is_some() || self.data.is_some();
        let choices = self.choices.as_deref().unwrap_or_default();
        known
            && self.error.is_none()
            && self.error_type.is_none()
            && !is(self.kind, r#""error""#)
            && !is(self.status, r#""failed""#)
            && choices.iter().all(|choice| {
                choice.error.is_none() && choice.finish_reason.as_deref() != Some("error")
            })
    }
}

/// See [`Fault::in_body`].
pub(super) fn in_body(body: &[u8]) -> Option<Fault> {
    let body = trim(body);
    if body.is_empty() {
        return Some(Fault::malformed("the answer is empty"));
    }
    if serde_json::from_slice::<Probe<'_>>(body).is_ok_and(|probe| probe.is_clean()) {
        return None;
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(map)) if map.is_empty() => {
            Some(Fault::malformed("the answer is an empty object"))
        }
        Ok(root @ Value::Object(_)) => in_value(&root),
        Ok(_) => Some(Fault::malformed("the answer is JSON, but no object")),
        Err(_) if body[0] == b'<' => Some(Fault::new(
            Cause::EdgeBlocked,
            "the answer is a web page, not JSON: check the base URL, and what stands before it",
        )),
        Err(error) => Some(Fault::malformed(&broken(&error))),
    }
}

/// See [`Fault::in_chat_body`].
pub(super) fn in_chat_body(body: &[u8]) -> Option<Fault> {
    let body = trim(body);
    if glance(body).is_some() {
        return None;
    }
    in_chat(body, serde_json::from_slice(body))
}

/// See [`Fault::in_answer_told`].
pub(super) fn in_answer_told<'a>(
    path: &str,
    body: &'a [u8],
) -> (Option<Fault>, Option<AnswerTold<'a>>) {
    if !plain(path).ends_with(endpoint::CHAT_COMPLETIONS) {
        return (in_answer(path, body), None);
    }
    let body = trim(body);
    match glance(body) {
        Some(told) => (None, Some(told)),
        None => read_whole(body),
    }
}

/// Reads a chat completion whole, for a failure in it, and for what it tells of itself.
pub(super) fn read_whole(body: &[u8]) -> (Option<Fault>, Option<AnswerTold<'_>>) {
    let probe = serde_json::from_slice::<Probe<'_>>(body);
    let told = probe.as_ref().ok().map(|probe| AnswerTold {
        id: probe.id.map(RawValue::get),
        provider: probe.provider.map(RawValue::get),
        usage: probe.usage.map(RawValue::get),
    });
    (in_chat(body, probe), told)
}

/// Looks into a chat completion that was read as far as it could be.
fn in_chat(body: &[u8], probe: serde_json::Result<Probe<'_>>) -> Option<Fault> {
    // Read once, where nothing is wrong.
    if !probe.as_ref().is_ok_and(Probe::is_clean)
        && let Some(fault) = in_body(body)
    {
        return Some(fault);
    }
    // Repeated members are the one thing that fails here; such an answer is left to the reader.
    let choices = probe.ok()?.choices;
    let Some(first) = choices.as_deref().and_then(|choices| choices.first()) else {
        return Some(Fault::malformed("the answer has no choices"));
    };
    if first
        .finish_reason
        .as_deref()
        .is_some_and(|reason| !reason.is_empty())
    {
        return None;
    }
    let message = first.message.map_or("null", RawValue::get);
    let message: ResponseMessage = serde_json::from_str(message).unwrap_or_default();
    (!message.has_content())
        .then(|| Fault::no_content("the answer has no content and no reason to have ended"))
}

/// See [`Fault::in_answer`].
pub(super) fn in_answer(path: &str, body: &[u8]) -> Option<Fault> {
    let path = plain(path);
    if path.ends_with(endpoint::CHAT_COMPLETIONS) {
        return in_chat_body(body);
    }
    if let Some(fault) = in_body(body) {
        return Some(fault);
    }
    // What could be read once can be read again, but for repeated members: those are left alone.
    let answer = serde_json::from_slice::<Answer<'_>>(trim(body)).ok()?;
    let is_empty =
        |list: Option<&RawValue>| list.is_none_or(|list| matches!(list.get(), "[]" | "null"));
    if path.ends_with(endpoint::MESSAGES) {
        match answer.content {
            None => Some(Fault::malformed("the answer has no content")),
            content if is_empty(content) && answer.stop_reason.is_none_or(is_silent) => Some(
                Fault::no_content("the answer has no content and no reason to have stopped"),
            ),
            _ => None,
        }
    } else if path.ends_with(endpoint::RESPONSES) {
        let status = answer.status.map_or("", RawValue::get).trim_matches('"');
        let reason = answer.incomplete_details.map_or("null", RawValue::get);
        match (answer.output, status) {
            (None, _) => Some(Fault::malformed("the answer has no output")),
            (_, "in_progress" | "queued") => Some(Fault::malformed(
                "the answer is not finished, and will not be",
            )),
            (output, "incomplete") if is_empty(output) && reason == "null" => Some(
                Fault::no_content("the answer is incomplete, empty, and does not say why"),
            ),
            _ => None,
        }
    } else if path.ends_with(endpoint::EMBEDDINGS) {
        match answer.data {
            None => Some(Fault::malformed("the answer has no data")),
            data if is_empty(data) => Some(Fault::no_content("the answer has no embeddings")),
            _ => None,
        }
    } else {
        None
    }
}

/// The path alone.
fn plain(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    path.trim_end_matches('/')
}

/// The members that an answer of some endpoint must have.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    stop_reason: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
    incomplete_details: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
}

/// Tells whether a reason is none.
fn is_silent(reason: &RawValue) -> bool {
    matches!(reason.get(), "null" | "\"\"")
}

/// See [`Fault::from_frame`].
pub(super) fn in_frame(data: &[u8]) -> Option<Fault> {
    in_value(&serde_json::from_slice(data).ok()?)
}

/// See [`Fault::from_event`].
pub(super) fn in_event(name: Option<&str>, data: &[u8]) -> Option<Fault> {
    match serde_json::from_slice::<Value>(data) {
        Ok(root) => in_event_value(name, &root),
        Err(error) => is_failure(name).then(|| Fault::malformed_frame(&error)),
    }
}

pub(super) fn in_event_value(name: Option<&str>, root: &Value) -> Option<Fault> {
    let unnamed = || Fault::from_envelope(None, Envelope::of_error(root), Place::InBand);
    in_value(root).or_else(|| is_failure(name).then(unnamed))
}

/// Tells whether an event says by its name that it is a failure.
fn is_failure(name: Option<&str>) -> bool {
    matches!(name, Some("error" | "response.error" | "response.failed"))
}

/// Reads a failure in an answer or a frame.
pub(super) fn in_value(root: &Value) -> Option<Fault> {
    // The provider that answers stands beside the choices, and beside the error in a stream.
    let beside = root["provider"]
        .as_str()
        .map(|text| clean(text, NAME_CHARS));
    let beside = beside.filter(|name| !name.is_empty());
    if let Some(mut envelope) = Envelope::find(root) {
        envelope.provider = envelope.provider.take().or(beside);
        return Some(Fault::from_envelope(None, envelope, Place::InBand));
    }
    let choices = root["choices"].as_array()?;
    let failed = choices
        .iter()
        .find(|choice| choice["finish_reason"] == "error")?;
    let native = failed["native_finish_reason"]
        .as_str()
        .map(|text| clean(text, NAME_CHARS));
    let message = match native.as_deref() {
        Some(native) if !native.is_empty() && native != "error" => {
            format!("the model stopped with an error: {native}")
        }
        _ => "the model stopped with an error".to_owned(),
    };
    let mut fault = Fault::new(Cause::ErrorIn200, &message).with_evidence(Evidence::Typed);
    fault.0.provider = beside;
    fault.0.generation_id = generation_id(&root["id"]);
    Some(fault)
}

/// Says where JSON breaks off, and nothing of what it says.
pub(crate) fn broken(error: &serde_json::Error) -> String {
    let what = if error.is_eof() { "cut off" } else { "broken" };
    format!(
        "the JSON is {what} at line {}, column {}",
        error.line(),
        error.column()
    )
}

/// Takes off white space, which OpenRouter may send to keep a connection alive, and a byte order
/// mark.
pub(super) fn trim(body: &[u8]) -> &[u8] {
    let body = body.trim_ascii();
    body.strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii()
}
