//! The error envelope: every documented and observed shape of it, read into one form.
//!
//! Nothing here fails: a field of an unexpected type is as good as absent.

use serde_json::Value;

use crate::date;
use crate::fault::details::{Availability, BudgetStatus, PreviousError, UnknownWord};
use crate::fault::phrases::Phrases;
use crate::fault::retry_after::{Hints, seconds_in};
use crate::fault::vocabulary::{AvailabilityCode, ErrorType, LimitSource};
use crate::key_info::BudgetScope;
use crate::lenient::number;
use crate::redaction::{MESSAGE_CHARS, NAME_CHARS, clean, without_quotes, word};

/// The most entries that are kept of any list.
const MAX_ENTRIES: usize = 16;
/// How much of a message is searched for hints: more than is shown of it.
const PROSE_CHARS: usize = 2000;

/// A word of an open enumeration, where this version does not know it.
macro_rules! unknown {
    ($word:expr) => {
        $word
            .filter(|word| !word.is_known())
            .map(|word| word.as_str())
    };
}

/// An error envelope in one form.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    /// The numeric code, where it is a status.
    pub(crate) code: Option<u16>,
    pub(crate) error_type: Option<ErrorType>,
    /// What the lossy words of the other formats say.
    pub(crate) native: Option<ErrorType>,
    pub(crate) limit_source: Option<LimitSource>,
    pub(crate) reason: Option<String>,
    pub(crate) availability: Option<Availability>,
    pub(crate) provider: Option<String>,
    /// The provider's own code for it.
    pub(crate) provider_code: Option<String>,
    pub(crate) is_byok: Option<bool>,
    pub(crate) budget: Option<BudgetStatus>,
    pub(crate) hints: Hints,
    /// A content rule of a guardrail matched.
    pub(crate) has_patterns: bool,
    /// Moderation gave reasons.
    pub(crate) has_reasons: bool,
    pub(crate) routing_step: Option<String>,
    pub(crate) previous: Vec<PreviousError>,
    pub(crate) message: String,
    pub(crate) provider_message: Option<String>,
    pub(crate) remedy_hint: Option<String>,
    pub(crate) generation_id: Option<String>,
    /// Words in typed places that this version does not know.
    pub(crate) unknown: Vec<UnknownWord>,
    /// There is an error of the API's shape, not only a status.
    pub(crate) is_api: bool,
    /// It is the edge's own JSON: the API never saw the call.
    pub(crate) is_edge: bool,
    /// The messages as they are searched: longer than they are shown, and with what they quote.
    prose: String,
}

impl Envelope {
    /// Reads the envelope in `root`, where it holds an error.
    pub(crate) fn find(root: &Value) -> Option<Self> {
        let (error, beside) = locate(root)?;
        let mut this = Self::read(error, beside, root);
        this.is_api = true;
        Some(this)
    }

    /// Reads the envelope in `root`, which is known to be an error: without one, the root itself
    /// is taken for it.
    pub(crate) fn of_error(root: &Value) -> Self {
        // Some servers answer a list with one error in it.
        let root = root
            .as_array()
            .and_then(|list| list.first())
            .unwrap_or(root);
        Self::find(root).unwrap_or_else(|| Self::read(root, root, root))
    }

    /// Reads an error and what stands beside it, there and in the `root`.
    fn read(error: &Value, beside: &Value, root: &Value) -> Self {
        let metadata = [&error["metadata"], &beside["metadata"]]
            .into_iter()
            .find(|metadata| metadata.is_object())
            .unwrap_or(&Value::Null);
        let one_of = |places: &[&Value]| places.iter().find_map(|place| name(place));
        let word_of = |places: &[&Value]| places.iter().find_map(|place| typed(place));

        let mut this = Self {
            error_type: word_of(&[
                &metadata["error_type"],
                &error["error_type"],
                &beside["error_type"],
                &root["error_type"],
            ])
            .map(|text| ErrorType::from(text.as_str())),
            limit_source: word_of(&[&metadata["limit_source"], &error["limit_source"]])
                .map(|text| LimitSource::from(text.as_str())),
            reason: typed(&metadata["reason"]),
            availability: [
                &error["availability"],
                &beside["availability"],
                &root["availability"],
            ]
            .into_iter()
            .find_map(availability),
            provider: one_of(&[&metadata["provider_name"], &error["provider_name"]]),
            provider_code: ["provider_code", "provider_error_code"]
                .into_iter()
                .find_map(|member| code_text(&metadata[member])),
            is_byok: metadata["is_byok"].as_bool(),
            budget: budget(metadata),
            hints: Hints::of_metadata(&metadata["headers"])
                .or(Hints::of_members(&[metadata, error, beside])),
            has_patterns: is_list(&metadata["patterns"]),
            has_reasons: is_list(&metadata["reasons"]) || metadata["flagged_input"].is_string(),
            routing_step: name(&metadata["failed_routing_step"]),
            previous: previous(&metadata["previous_errors"]),
            remedy_hint: name(&metadata["remedy_hint"]),
            generation_id: [
                &beside["request_id"],
                &beside["id"],
                &metadata["generation_id"],
            ]
            .into_iter()
            .find_map(generation_id),
            is_edge: beside["cloudflare_error"] == true,
            ..Self::default()
        };
        // The HTTP status in a body: `code` in the error or beside it, `http_status` in the newest
        // examples. Words in these places belong to the other formats.
        for place in [
            &error["code"],
            &error["http_status"],
            &beside["code"],
            &beside["status"],
        ] {
            this.code = this.code.or_else(|| status(place));
            this.native = this
                .native
                .or_else(|| ErrorType::from_native(place.as_str()?));
        }
        this.native = this
            .native
            .or_else(|| ErrorType::from_native(error["type"].as_str()?));
        // `title` and `detail` are those of RFC 9457, which the edge speaks.
        let text = [
            error,
            &error["message"],
            &beside["message"],
            &error["detail"],
            &error["title"],
        ]
        .into_iter()
        .find_map(Value::as_str)
        .map(|text| without_prompt(text, metadata))
        .unwrap_or_default();
        let raw = provider_message(&metadata["raw"]).map(|raw| without_prompt(&raw, metadata));
        this.prose = clean(&text, PROSE_CHARS);
        this.message = clean(&without_quotes(&this.prose), MESSAGE_CHARS);
        if let Some(raw) = raw {
            this.prose.push('\n');
            this.prose.push_str(&clean(&raw, PROSE_CHARS));
            this.provider_message =
                Some(clean(&raw, MESSAGE_CHARS)).filter(|text| !text.is_empty());
        }
        // What is no error inside something has a `type` that names the event, or nothing of ours.
        let kind = (!std::ptr::eq(error, beside)).then(|| &error["type"]);
        this.unknown = this.unknown_words(&error["code"], kind.unwrap_or(&Value::Null));
        this
    }

    /// The prose of it, ready to be searched.
    pub(crate) fn phrases(&self) -> Phrases {
        Phrases::new(&self.prose)
    }

    /// Lists what stands in a typed place and is not known.
    fn unknown_words(&self, code: &Value, kind: &Value) -> Vec<UnknownWord> {
        let availability = self.availability.as_ref().map(|found| &found.code);
        let scope = self.budget.as_ref().and_then(|found| found.scope.as_ref());
        let reason = self
            .reason
            .as_deref()
            .filter(|text| !REASONS.contains(text));
        // A code or a type that is a text, no status, and none of the other formats' words.
        let native = |value: &Value| {
            typed(value)
                .filter(|text| status(value).is_none() && ErrorType::from_native(text).is_none())
        };
        let (native_code, native_type) = (native(code), native(kind));
        let words = [
            ("limit_source", unknown!(self.limit_source.as_ref())),
            ("error_type", unknown!(self.error_type.as_ref())),
            ("availability", unknown!(availability)),
            ("reason", reason),
            ("scope", unknown!(scope)),
            ("code", native_code.as_deref()),
            ("type", native_type.as_deref()),
        ];
        words
            .into_iter()
            .filter_map(|(field, text)| Some(UnknownWord::new(field, text?)))
            .collect()
    }
}

/// The words of `metadata.reason` that go with a `limit_source`.
const REASONS: [&str; 2] = ["in_flight_budget_exhausted", "weight_exceeds_budget"];

/// Finds the error in a body, a frame or an event, and what stands beside it.
fn locate(root: &Value) -> Option<(&Value, &Value)> {
    let is_error =
        |value: &Value| value.is_object() || value.as_str().is_some_and(|s| !s.is_empty());
    let kind = root["type"].as_str().unwrap_or_default();
    // Of a step of a response, such as one model of several, only that step has failed.
    let is_step =
        kind.starts_with("response.") && !matches!(kind, "response.failed" | "response.error");
    if is_error(&root["error"]) && !is_step {
        return Some((&root["error"], root));
    }
    // Responses: `{"type": "response.failed", "response": {"error": …}}`.
    let response = &root["response"];
    if is_error(&response["error"]) {
        return Some((&response["error"], response));
    }
    let choices = root["choices"].as_array().into_iter().flatten();
    if let Some(choice) = choices.clone().find(|choice| is_error(&choice["error"])) {
        return Some((&choice["error"], root));
    }
    let failed = |value: &Value| value["status"] == "failed";
    if failed(response) || (kind == "response.failed" && response.is_object()) {
        return Some((response, response));
    }
    let says_so = matches!(kind, "error" | "response.failed" | "response.error");
    (says_so || failed(root)).then_some((root, root))
}

/// A text that names something: not empty, without control characters, of bounded length.
fn name(value: &Value) -> Option<String> {
    let text = clean(value.as_str()?, NAME_CHARS);
    (!text.is_empty()).then_some(text)
}

/// The identifier of a generation: other identifiers stand in the same places.
pub(super) fn generation_id(value: &Value) -> Option<String> {
    name(value).filter(|id| id.starts_with("gen-"))
}

/// A word in a typed place.
fn typed(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| word(text))
}

/// A code: a text or a number.
fn code_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        value => typed(value),
    }
}

/// A status: an integer, a float or digits, within the range of HTTP.
fn status(value: &Value) -> Option<u16> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (100.0..600.0).contains(&number).then_some(number as u16)
}

fn is_list(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty())
}

fn names(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(name)
        .take(MAX_ENTRIES)
        .collect()
}

fn availability(value: &Value) -> Option<Availability> {
    let code = typed(&value["code"])?;
    Some(Availability {
        code: AvailabilityCode::from(code.as_str()),
        retryable: value["retryable"].as_bool(),
        retry_after: seconds_in(&value["retry_after"]),
        requested_models: names(&value["requested_models"]),
        fallback_models: names(&value["fallback_models"]),
        affected_providers: names(&value["affected_providers"]),
        excluded_by: names(&value["excluded_by"]),
    })
}

fn budget(metadata: &Value) -> Option<BudgetStatus> {
    let budget = BudgetStatus {
        scope: typed(&metadata["scope"]).map(|text| BudgetScope::from(text.as_str())),
        limit_usd: number(&metadata["limit_usd"]),
        spend_usd: number(&metadata["spend_usd"]),
        resets_at: metadata["resets_at"].as_str().and_then(date::parse_iso8601),
    };
    (budget != BudgetStatus::default()).then_some(budget)
}

fn previous(value: &Value) -> Vec<PreviousError> {
    let list = value.as_array().into_iter().flatten().take(MAX_ENTRIES);
    list.map(|entry| PreviousError {
        provider: name(&entry["provider"]),
        code: name(&entry["code"]),
        status: status(&entry["status"]).or_else(|| status(&entry["code"])),
    })
    .collect()
}

/// Digs the provider's own message out of `raw`: an object, a text, or JSON inside a text.
fn provider_message(raw: &Value) -> Option<String> {
    fn dig(value: &Value) -> Option<&str> {
        let error = &value["error"];
        [
            &error["message"],
            error,
            &value["message"],
            &value["detail"],
        ]
        .into_iter()
        .find_map(Value::as_str)
    }
    match raw {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner) if inner.is_object() => dig(&inner).map(str::to_owned),
            _ => Some(text.clone()),
        },
        value => dig(value).map(str::to_owned),
    }
}

/// Takes out of a message what the metadata shows to be text of the prompt: the flagged input (its
/// middle is elided), and what a guardrail's patterns matched.
fn without_prompt(message: &str, metadata: &Value) -> String {
    let mut message = message.to_owned();
    let flagged = metadata["flagged_input"].as_str().unwrap_or_default();
    let patterns = metadata["patterns"].as_array().into_iter().flatten();
    let pieces = flagged.split("...").chain(flagged.split('…'));
    for piece in pieces.chain(patterns.filter_map(Value::as_str)) {
        // A piece of a few letters would tear words apart and give nothing away.
        if piece.trim().chars().count() >= 8 {
            message = message.replace(piece.trim(), "[prompt]");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_are_found_in_either_place_and_any_type() {
        for (json, code) in [
            (json!({"error": {"code": 429}}), Some(429)),
            (json!({"error": {"code": 429.0}}), Some(429)),
            (json!({"error": {"code": "429"}}), Some(429)),
            (
                json!({"error": {"code": null, "http_status": 404}}),
                Some(404),
            ),
            (json!({"error": {"message": "x"}, "code": "502"}), Some(502)),
            (json!({"error": {"code": "server_error"}}), None),
            (json!({"error": {"code": 7}}), None),
            (json!({"error": {"code": -429}}), None),
            (json!({"error": {"code": [429]}}), None),
        ] {
            assert_eq!(Envelope::find(&json).unwrap().code, code, "{json}");
        }
    }

    #[test]
    fn an_error_is_found_in_all_skins_and_only_where_one_is() {
        for json in [
            json!({"error": {"message": "x"}}),
            json!({"error": "x"}),
            json!({"type": "error", "error": {"type": "api_error", "message": "x"}}),
            json!({"type": "error", "message": "x"}),
            json!({"type": "response.failed", "response": {"error": {"message": "x"}}}),
            json!({"id": "r", "status": "failed", "error": {"message": "x"}}),
            json!({"choices": [{}, {"error": {"message": "x"}}]}),
        ] {
            assert_eq!(Envelope::find(&json).unwrap().message, "x", "{json}");
        }
        for json in [
            json!({"error": null, "choices": []}),
            json!({"error": ""}),
            json!({"error": false}),
            json!({"status": "completed", "response": {"status": "completed"}}),
            json!([]),
            json!("error"),
            json!(null),
        ] {
            assert!(Envelope::find(&json).is_none(), "{json}");
        }
    }

    #[test]
    fn the_providers_message_is_dug_out_of_any_shape() {
        for raw in [
            json!("no luck"),
            json!({"error": {"message": "no luck"}}),
            json!(r#"{"error":{"message":"no luck"}}"#),
            json!(r#"{"error":"no luck"}"#),
            json!({"message": "no luck"}),
        ] {
            let envelope = Envelope::of_error(&json!({"error": {"metadata": {"raw": raw}}}));
            assert_eq!(
                envelope.provider_message.as_deref(),
                Some("no luck"),
                "{raw}"
            );
        }
    }

    #[test]
    fn text_of_the_prompt_is_taken_out_of_messages() {
        let envelope = Envelope::of_error(&json!({"error": {
            "message": "flagged: how do I bake a bomb-shaped cake",
            "metadata": {"flagged_input": "how do I bake ... bomb-shaped cake", "reasons": ["x"]},
        }}));
        assert!(!envelope.message.contains("bake"), "{}", envelope.message);
        assert!(!envelope.message.contains("cake"), "{}", envelope.message);
        assert!(envelope.has_reasons);
    }
}
