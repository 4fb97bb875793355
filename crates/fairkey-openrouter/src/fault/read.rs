//! From what came over the wire to a fault.

use std::time::Duration;

use fairkey_core::{FaultKind, Scope};
use http::{HeaderMap, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::fault::beginning::completed;
use crate::fault::body::{self, AnswerTold};
use crate::fault::classify::{Place, classify};
use crate::fault::envelope::Envelope;
use crate::fault::phrases::Phrases;
use crate::fault::rate_limit::RateLimit;
use crate::fault::retry_after::Hints;
use crate::fault::{Cause, ErrorType, Evidence, Fault, Inner, LimitSource, RetryHint, UnknownWord};
use crate::key_info::{BudgetScope, ResetInterval};
use crate::redaction::{NAME_CHARS, clean};

/// Readers: from what came over the wire.
impl Fault {
    /// Reads a refusal: an answer with a status of 400 and above.
    ///
    /// An answer that is not OpenRouter's, such as a web page of the edge in front of it, is
    /// charged to the service. A status below 400 is read like [`in_body`](Self::in_body).
    #[must_use]
    pub fn from_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let mut fault = match status.as_u16() {
            // The API redirects nobody: whoever does stands before it, or the base URL is wrong.
            300..400 => Self::new(
                Cause::EdgeBlocked,
                "the answer is a redirect: check the base URL, and what stands before it",
            )
            .with_evidence(Evidence::Status)
            .with_status(status.as_u16()),
            ..400 => Self::in_body(body).unwrap_or_else(|| {
                Self::new(
                    Cause::Unknown,
                    &format!("unexpected status {}", status.as_u16()),
                )
            }),
            status => Self::refusal(status, headers, body),
        };
        let id = headers
            .get("x-generation-id")
            .and_then(|value| value.to_str().ok())
            .map(|id| clean(id, NAME_CHARS))
            .filter(|id| !id.is_empty());
        if id.is_some() {
            fault.0.generation_id = id;
        }
        fault
    }

    /// The same for an answer of which only a `beginning` was read, since it is too long or broke
    /// off. JSON is read as far as it goes: that it does not end is no proof that it is not the
    /// API's.
    ///
    /// Where a 401, 402 or 403 came from, a provider or the API itself, stands in its metadata, which
    /// comes behind the message. The API's own refusals are short, and those that quote a provider are
    /// not. So where no known `limit_source` or budget is there to prove it, one that is cut blames no
    /// key, budget or account: it is a [`ProviderError`](Cause::ProviderError) of a provider without a
    /// name, and the next call tells more.
    #[must_use]
    pub fn from_cut_response(status: StatusCode, headers: &HeaderMap, beginning: &[u8]) -> Self {
        let text = completed(&String::from_utf8_lossy(body::trim(beginning)));
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        let body = if is_json { text.as_bytes() } else { beginning };
        let fault = Self::from_response(status, headers, body);
        let is_cut = text.is_empty() || text.as_bytes() != body::trim(beginning);
        if is_cut && fault.is_in_doubt() {
            return fault.of_some_provider(Hints::of_headers(headers));
        }
        fault
    }

    /// Whether it blames a key, a budget or an account, although a provider may have refused in words
    /// like these.
    fn is_in_doubt(&self) -> bool {
        let source = self.limit_source().is_some_and(LimitSource::is_known);
        let budget = self.budget().and_then(|budget| budget.scope.as_ref());
        let is_proven = source || budget.is_some_and(BudgetScope::is_known);
        matches!(self.scope(), Scope::Key | Scope::Budget | Scope::Account)
            && matches!(self.status(), Some(401..=403))
            && !is_proven
    }

    /// Charges it to a provider that is not known.
    fn of_some_provider(self, hints: Hints) -> Self {
        let old = *self.0;
        let mut inner = Inner::new(Cause::ProviderError, Evidence::Status);
        inner.status = old.status;
        inner.retry = hints.retry_after;
        inner.error_type = old.error_type;
        inner.message = old.message;
        inner.provider_message = old.provider_message;
        inner.generation_id = old.generation_id;
        inner.unknown = old.unknown;
        Self(Box::new(inner))
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
        if envelope.is_edge {
            let message = std::mem::take(&mut envelope.message);
            return Self::of_edge(status, envelope.hints, &message);
        }
        Self::from_envelope(Some(status), envelope, Place::Response)
    }

    /// Reads an answer that is not the API's: text or a page of whatever stands before it.
    fn from_edge(status: u16, hints: Hints, headers: &HeaderMap, text: &str) -> Self {
        let kind = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        // A page is no message, and broken JSON may quote anything.
        let short = text.chars().nth(200).is_none() && !text.contains(['<', '{', '[']);
        let message = if short {
            format!("the answer is not JSON: {text}")
        } else {
            let kind = kind.unwrap_or("no content type");
            format!(
                "the answer is not JSON ({kind}): check the base URL, and what stands before it"
            )
        };
        Self::of_edge(status, hints, &message)
    }

    /// Returns the fault of an answer of whatever stands before the API.
    fn of_edge(status: u16, hints: Hints, message: &str) -> Self {
        let cause = match status {
            // Sending the same body again would be turned away again.
            413 => Cause::TooLarge,
            // The edge reached OpenRouter, and got no answer in time: a provider was slow.
            504 | 524 => Cause::ProviderTimeout,
            408 | 500.. => Cause::EdgeFailed,
            _ => Cause::EdgeBlocked,
        };
        let mut fault = Self::new(cause, message).with_evidence(Evidence::Status);
        fault.0.status = Some(status);
        if fault.0.scope != Scope::Request {
            fault.0.retry = hints
                .retry_after
                .or(|| hints.reset.map_or(RetryHint::Unknown, RetryHint::At))
                .or(|| Phrases::new(message).when());
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

    /// The same for an answer to a request to `path`, such as `/api/v1/messages`: what an answer of
    /// that endpoint must have is looked for as well.
    ///
    /// | endpoint | also a failure |
    /// | --- | --- |
    /// | `/chat/completions` | no choices; neither content nor a reason to have ended |
    /// | `/messages` | no content member; neither content nor a reason to have stopped |
    /// | `/responses` | no output member; not finished; incomplete without a reason, and empty |
    /// | `/embeddings` | no list of data, or an empty one |
    ///
    /// An answer that ends early and says why (its length, a content filter) is none: it is what
    /// was asked for, and nobody is at fault.
    #[must_use]
    pub fn in_answer(path: &str, body: &[u8]) -> Option<Self> {
        body::in_answer(path, body)
    }

    /// The same, with what a chat completion tells of itself, of which it is read in one go; `None`
    /// for what is no chat completion, or could not be read in the quick way.
    #[must_use]
    pub fn in_answer_told<'a>(
        path: &str,
        body: &'a [u8],
    ) -> (Option<Self>, Option<AnswerTold<'a>>) {
        body::in_answer_told(path, body)
    }

    /// Reads a failure in the data of one event of a stream, in any format of the API; `None`:
    /// there is none.
    #[must_use]
    pub fn from_frame(data: &[u8]) -> Option<Self> {
        body::in_frame(data)
    }

    /// Reads a failure in an event of a stream, by its name and its data; `None`: there is none.
    ///
    /// An event that is named `error`, `response.error` or `response.failed` is a failure whatever
    /// its data says; of others the data decides, as [`from_frame`](Self::from_frame) does.
    #[must_use]
    pub fn from_event(name: Option<&str>, data: &[u8]) -> Option<Self> {
        body::in_event(name, data)
    }

    /// The same for data that was parsed already.
    pub(crate) fn from_event_value(name: Option<&str>, root: &Value) -> Option<Self> {
        body::in_event_value(name, root)
    }

    pub(super) fn from_envelope(status: Option<u16>, envelope: Envelope, place: Place) -> Self {
        let implied = || envelope.error_type.as_ref().and_then(ErrorType::status);
        let status = status.or(envelope.code).or_else(implied);
        let (cause, mut evidence) = classify(status, &envelope, place);
        let phrases = envelope.phrases();
        if cause == Cause::KeyForbidden && evidence == Evidence::Typed {
            // The type only repeats the status.
            evidence = Evidence::Status;
        }
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
        // A key is out for good only with proof. Inside a 200 a provider had begun, and a lossy
        // word of its own is none; nor is an empty body, or a sentence: then it is out for a while.
        let proof = evidence == Evidence::Typed
            || (place == Place::Response && envelope.is_api && cause.is_dead_key());
        if inner.scope == Scope::Key && inner.kind == FaultKind::Refused && !proof {
            inner.kind = FaultKind::Throttled;
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
            // Not out until then, but surely well again.
            (_, Some(interval)) if cause == Cause::KeyCapTooSmall => interval.clone(),
            _ => None,
        };
        inner.rate_limit = RateLimit::read(cause, &envelope.hints, &phrases);
        inner.retry = hint(&inner, &envelope, phrases.when(), interval == Some(None));

        inner.error_type = envelope.error_type.or(envelope.native);
        inner.limit_source = envelope.limit_source;
        inner.availability = envelope.availability;
        inner.budget = envelope.budget;
        inner.provider = envelope.provider;
        inner.provider_code = envelope.provider_code;
        inner.is_byok = envelope.is_byok;
        inner.previous = envelope.previous;
        inner.message = envelope.message;
        inner.provider_message = envelope.provider_message;
        inner.remedy_hint = envelope.remedy_hint;
        inner.generation_id = envelope.generation_id;
        inner.unknown = envelope.unknown;
        if let Some(new) = status.filter(|status| *status >= 400 && !KNOWN.contains(status)) {
            inner
                .unknown
                .push(UnknownWord::new("status", &new.to_string()));
        }
        Self(Box::new(inner))
    }
}

/// The statuses that are known to mean something.
const KNOWN: [u16; 28] = [
    400, 401, 402, 403, 404, 405, 408, 409, 410, 412, 413, 422, 429, 500, 501, 502, 503, 504, 520,
    521, 522, 523, 524, 525, 526, 527, 529, 530,
];

/// Decides when trying again makes sense. See [`RetryHint`].
fn hint(fault: &Inner, e: &Envelope, words: RetryHint, never_resets: bool) -> RetryHint {
    let retryable = e
        .availability
        .as_ref()
        .and_then(|availability| availability.retryable);
    let never = match fault.cause {
        Cause::ModelGone => true,
        // What is no proof is no refusal. If the key is dead, the next call says so with a 401.
        _ if fault.scope == Scope::Key => fault.kind == FaultKind::Refused,
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
        FaultKind::Exhausted => stamp().or(pause).or(|| words),
        _ => pause().or(stamp).or(|| words),
    };
    found.or(|| match fault.cause {
        Cause::FreePerMinute => RetryHint::After(Duration::from_secs(60)),
        Cause::KeyCapSpent | Cause::GuardrailBudget | Cause::WorkspaceBudget if never_resets => {
            RetryHint::Never
        }
        _ => RetryHint::Unknown,
    })
}
