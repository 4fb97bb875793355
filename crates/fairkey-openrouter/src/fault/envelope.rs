//! The error envelope: every documented and observed shape of it, read into one form.
//!
//! Nothing here fails: a field of an unexpected type is as good as absent.

use serde_json::Value;

use crate::date;
use crate::fault::details::{Availability, BudgetStatus, PreviousError};
use crate::fault::phrases::Phrases;
use crate::fault::retry_after::{Hints, seconds_in};
use crate::fault::vocabulary::{AvailabilityCode, ErrorType, LimitSource};
use crate::key_info::BudgetScope;
use crate::lenient::number;
use crate::redaction::{MESSAGE_CHARS, NAME_CHARS, clean};

/// The most entries that are kept of any list.
const MAX_ENTRIES: usize = 16;

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
}

impl Envelope {
    /// Reads the envelope in `root`, where it holds an error.
    pub(crate) fn find(root: &Value) -> Option<Self> {
        let (error, beside) = locate(root)?;
        Some(Self::read(error, beside))
    }

    /// Reads the envelope in `root`, which is known to be an error: without one, the root itself
    /// is taken for it.
    pub(crate) fn of_error(root: &Value) -> Self {
        // Some servers answer a list with one error in it.
        let root = root
            .as_array()
            .and_then(|list| list.first())
            .unwrap_or(root);
        Self::find(root).unwrap_or_else(|| Self::read(root, root))
    }

    /// Reads an error and what stands beside it.
    fn read(error: &Value, beside: &Value) -> Self {
        let metadata = [&error["metadata"], &beside["metadata"]]
            .into_iter()
            .find(|metadata| metadata.is_object())
            .unwrap_or(&Value::Null);
        let one_of = |places: &[&Value]| places.iter().find_map(|place| name(place));

        let mut this = Self {
            error_type: one_of(&[
                &metadata["error_type"],
                &error["error_type"],
                &beside["error_type"],
            ])
            .map(|text| ErrorType::from(text.as_str())),
            limit_source: one_of(&[&metadata["limit_source"], &error["limit_source"]])
                .map(|text| LimitSource::from(text.as_str())),
            reason: name(&metadata["reason"]),
            availability: [&error["availability"], &beside["availability"]]
                .into_iter()
                .find_map(availability),
            provider: one_of(&[&metadata["provider_name"], &error["provider_name"]]),
            is_byok: metadata["is_byok"].as_bool(),
            budget: budget(metadata),
            hints: Hints::of_metadata(&metadata["headers"]),
            has_patterns: is_list(&metadata["patterns"]),
            has_reasons: is_list(&metadata["reasons"]) || metadata["flagged_input"].is_string(),
            routing_step: name(&metadata["failed_routing_step"]),
            previous: previous(&metadata["previous_errors"]),
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
        let text = error
            .as_str()
            .or(error["message"].as_str())
            .or(beside["message"].as_str());
        this.message = clean(
            &without_prompt(text.unwrap_or_default(), metadata),
            MESSAGE_CHARS,
        );
        this.provider_message = provider_message(&metadata["raw"])
            .map(|text| clean(&without_prompt(&text, metadata), MESSAGE_CHARS))
            .filter(|text| !text.is_empty());
        this
    }

    /// The prose of it, ready to be searched.
    pub(crate) fn phrases(&self) -> Phrases {
        match &self.provider_message {
            Some(raw) => Phrases::new(&format!("{}\n{raw}", self.message)),
            None => Phrases::new(&self.message),
        }
    }
}

/// Finds the error in a body, a frame or an event, and what stands beside it.
fn locate(root: &Value) -> Option<(&Value, &Value)> {
    let is_error =
        |value: &Value| value.is_object() || value.as_str().is_some_and(|s| !s.is_empty());
    if is_error(&root["error"]) {
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
    let kind = root["type"].as_str().unwrap_or_default();
    let failed = |value: &Value| value["status"] == "failed";
    if matches!(kind, "error" | "response.failed" | "response.error") || failed(root) {
        return Some((root, root));
    }
    failed(response).then_some((response, response))
}

/// A text that names something: not empty, without control characters, of bounded length.
fn name(value: &Value) -> Option<String> {
    let text = clean(value.as_str()?, NAME_CHARS);
    (!text.is_empty()).then_some(text)
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
    let code = name(&value["code"])?;
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
        scope: name(&metadata["scope"]).map(|text| BudgetScope::from(text.as_str())),
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
