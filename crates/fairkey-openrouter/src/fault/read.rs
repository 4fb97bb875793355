//! From what came over the wire to a fault.

use std::time::Duration;

use fairkey_core::{FaultKind, Scope};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::fault::body;
use crate::fault::classify::{Place, classify};
use crate::fault::envelope::Envelope;
use crate::fault::retry_after::Hints;
use crate::fault::{Cause, ErrorType, Evidence, Fault, Inner, RetryHint};
use crate::key_info::ResetInterval;
use crate::redaction::{NAME_CHARS, clean};

/// Readers: from what came over the wire.
impl Fault {
    /// Reads a refusal: an answer with a status of 400 and above.
    ///
    /// An answer that is not OpenRouter's, such as a web page of the edge in front of it, is
    /// charged to the service. A status below 400 is read like [`in_body`](Self::in_body).
    #[must_use]
    pub fn from_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut fault = if status.as_u16() < 400 {
            Self::in_body(body).unwrap_or_else(|| {
                Self::new(
                    Cause::Unknown,
                    &format!("unexpected status {}", status.as_u16()),
                )
            })
        } else {
            Self::refusal(status.as_u16(), headers, body)
        };
        let id = headers
            .get("x-generation-id")
            .and_then(|value| value.to_str().ok());
        fault.0.generation_id = id
            .map(|id| clean(id, NAME_CHARS))
            .filter(|id| !id.is_empty());
        fault
    }

    fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let hints = Hints::of_headers(headers);
        let text = String::from_utf8_lossy(body::trim(body));
        let json = match serde_json::from_str::<Value>(&text) {
            Ok(root @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => Some(root),
            // Nothing at all: only the status speaks.
            _ if text.is_empty() => Some(Value::Null),
            _ => None,
        };
        let Some(root) = json else {
            return Self::from_edge(status, hints, headers, &text);
        };
        let mut envelope = Envelope::of_error(&root);
        envelope.hints = hints.or(envelope.hints);
        Self::from_envelope(Some(status), envelope, Place::Response)
    }

    /// Reads an answer that is not the API's: text or a page of whatever stands before it.
    fn from_edge(status: u16, hints: Hints, headers: &HeaderMap, text: &str) -> Self {
        let cause = match status {
            // Sending the same body again would be turned away again.
            413 => Cause::TooLarge,
            408 | 500.. => Cause::EdgeFailed,
            _ => Cause::EdgeBlocked,
        };
        let kind = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let short = text.chars().nth(200).is_none() && !text.contains('<');
        let message = if short {
            format!("the answer is not JSON: {text}")
        } else {
            let kind = kind.unwrap_or("no content type");
            format!(
                "the answer is not JSON ({kind}): check the base URL, and what stands before it"
            )
        };
        let mut fault = Self::new(cause, &message).with_evidence(Evidence::Status);
        fault.0.status = Some(status);
        if fault.0.scope != Scope::Request {
            fault.0.retry = hints
                .retry_after
                .or(|| hints.reset.map_or(RetryHint::Unknown, RetryHint::At));
        }
        fault
    }

    /// Reads a failure in the body of an answer with status 200, of any endpoint; `None`: there is
    /// none.
    ///
    /// Finds a bare error, an error in a choice, a finish with the reason `error`, a failed
    /// response object, and a body that is no answer at all. A good answer is scanned, not copied.
    #[must_use]
    pub fn in_body(body: &[u8]) -> Option<Self> {
        body::in_body(body)
    }

    /// The same for a chat completion, where it is also a failure to have no choices, or to have
    /// neither content nor a reason to have ended.
    #[must_use]
    pub fn in_chat_body(body: &[u8]) -> Option<Self> {
        body::in_chat_body(body)
    }

    /// Reads a failure in the data of one event of a stream, in any format of the API; `None`:
    /// there is none.
    #[must_use]
    pub fn from_frame(data: &[u8]) -> Option<Self> {
        body::in_frame(data)
    }

    pub(super) fn from_envelope(status: Option<u16>, envelope: Envelope, place: Place) -> Self {
        let implied = || envelope.error_type.as_ref().and_then(ErrorType::status);
        let status = status.or(envelope.code).or_else(implied);
        let (cause, evidence) = classify(status, &envelope, place);
        let phrases = envelope.phrases();
        let mut inner = Inner::new(cause, evidence);
        inner.status = status;
        inner.affordable_tokens = phrases.affordable_tokens();

        // A guardrail may limit one key; then the key is what is spent.
        let one_key = envelope
            .budget
            .as_ref()
            .and_then(|budget| budget.scope.as_ref());
        if inner.scope == Scope::Budget && one_key.is_some_and(|scope| scope.is_one_key()) {
            inner.scope = Scope::Key;
            inner.remedy = Cause::KeyCapSpent.remedy();
        }
        // A limit per day on a busy model is used up; one per minute passes.
        if cause == Cause::SharedCapacity && phrases.has_any(&["limit_rpd/", "limit_tpd/"]) {
            inner.kind = FaultKind::Exhausted;
        }
        if let Some(availability) = &envelope.availability {
            inner.remedy.other_model |= !availability.fallback_models.is_empty();
            inner.remedy.wait = availability.retryable.unwrap_or(inner.remedy.wait);
        }
        let interval = phrases.interval();
        inner.resets = match (inner.kind, &interval) {
            _ if cause == Cause::FreeDaily => Some(ResetInterval::Daily),
            (FaultKind::Exhausted, Some(interval)) => interval.clone(),
            _ => None,
        };
        inner.retry = hint(
            &inner,
            &envelope,
            place,
            phrases.wait(),
            interval == Some(None),
        );

        inner.error_type = envelope.error_type.or(envelope.native);
        inner.limit_source = envelope.limit_source;
        inner.availability = envelope.availability;
        inner.budget = envelope.budget;
        inner.provider = envelope.provider;
        inner.is_byok = envelope.is_byok;
        inner.previous = envelope.previous;
        inner.message = envelope.message;
        inner.provider_message = envelope.provider_message;
        Self(Box::new(inner))
    }
}

/// Decides when trying again makes sense.
fn hint(
    fault: &Inner,
    e: &Envelope,
    place: Place,
    wait: Option<Duration>,
    never_resets: bool,
) -> RetryHint {
    let retryable = e
        .availability
        .as_ref()
        .and_then(|availability| availability.retryable);
    let never = match fault.cause {
        Cause::ModelGone => true,
        // For good only with proof: inside a 200 a provider had begun, and a lossy word of its own
        // is none. If the key is dead, the next call says so with a 401.
        Cause::KeyInvalid => place == Place::Response || fault.evidence == Evidence::Typed,
        Cause::KeyForbidden => fault.evidence == Evidence::Typed,
        _ => fault.scope == Scope::Request && retryable != Some(true),
    };
    if never {
        return RetryHint::Never;
    }
    let at = |stamp: Option<Duration>| stamp.map_or(RetryHint::Unknown, RetryHint::At);
    let after = |wait: Option<Duration>| wait.map_or(RetryHint::Unknown, RetryHint::After);
    let stamp = || {
        let budget = e.budget.as_ref().and_then(|budget| budget.resets_at);
        at(budget).or(|| at(e.hints.reset))
    };
    let pause = || {
        let available = e
            .availability
            .as_ref()
            .and_then(|availability| availability.retry_after);
        e.hints.retry_after.or(|| after(available))
    };
    let found = match fault.kind {
        // What is used up comes back at its stamp; a pause beside it is shorter and in vain.
        FaultKind::Exhausted => stamp().or(pause).or(|| after(wait)),
        _ => pause().or(stamp).or(|| after(wait)),
    };
    found.or(|| match fault.cause {
        Cause::FreePerMinute => RetryHint::After(Duration::from_secs(60)),
        Cause::KeyCapSpent if never_resets => RetryHint::Never,
        _ => RetryHint::Unknown,
    })
}
