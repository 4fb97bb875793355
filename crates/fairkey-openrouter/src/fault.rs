//! Who is at fault: the one home of attribution.
//!
//! OpenRouter says in typed fields who caused a failure: a key, a budget, an account, a model, a
//! provider, or the request itself. Most clients look at the status and blame the key. Here a
//! [`Fault`] is read from everything there is: typed fields first, the status second, the words of
//! a message last.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `vocabulary` | the words of `limit_source`, `error_type`, `availability` |
//! | `envelope` | the shapes of error bodies, read into one form |
//! | `classify` | which cause they name: the table, as code |
//! | `cause` | what each cause implies: scope, kind, remedies, the longest wait |
//! | `retry_after` | when to try again, in all the forms that hints come in |
//! | `rate_limit` | the limit that was hit, where the upstream tells it |
//! | `phrases` | meaning in prose, the last resort |
//! | `beginning` | JSON that was cut off, made whole |
//! | `read` | from an answer to a fault, all of the above together |
//! | `body` | failures inside a 200 |
//! | `wait` | what a fault means to a pool: until when, on its clock |
//!
//! Three decisions are ours where the facts leave a choice, one scope being all that a fault has:
//!
//! - A request that is larger than the account's balance allows is charged to the *request*, with
//!   a richer account among the remedies: one huge request must not close an account that serves
//!   ordinary ones.
//! - A request that is larger than what a key's cap leaves is charged to the *key*, as a throttle
//!   of at most five minutes: it is on its way out, but not out until the reset.
//! - An account's policy that leaves no endpoint is charged to the *request*, with another account
//!   among the remedies: the account serves every other model.

mod beginning;
mod body;
mod cause;
mod classify;
mod details;
mod envelope;
mod glance;
mod phrases;
mod rate_limit;
mod read;
mod retry_after;
mod vocabulary;
mod wait;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use fairkey_core::{FaultKind, Scope};

use crate::key_info::ResetInterval;
use crate::redaction::{MESSAGE_CHARS, NAME_CHARS, clean};

pub use body::AnswerTold;
pub(crate) use body::broken as malformed_json;
pub use cause::Cause;
pub use details::{Availability, BudgetStatus, Evidence, PreviousError, Remedy, UnknownWord};
pub(crate) use glance::is_glance_right;
pub use rate_limit::{RateLimit, RateUnit};
pub use retry_after::{RetryHint, parse_reset_stamp, parse_retry_after};
pub use vocabulary::{AvailabilityCode, ErrorType, LimitSource};

/// A failure: who caused it, why, what might help, and when.
///
/// Made by one of the readers, which are total: any status, any headers and any bytes give a
/// fault, and never a panic.
///
/// ```
/// use fairkey_openrouter::{Cause, Fault};
/// use fairkey_core::Scope;
/// use http::{HeaderMap, StatusCode};
///
/// let body = br#"{"error":{"code":429,"message":"Provider returned error",
///     "metadata":{"provider_name":"Acme","raw":"slow down"}}}"#;
/// let fault = Fault::from_response(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), body);
/// assert_eq!(fault.scope(), Scope::Provider);
/// assert_eq!(fault.cause(), Cause::ProviderRateLimited);
/// assert!(!fault.remedy().other_key());
/// ```
///
/// Neither `Debug` nor `Display` shows a key or what is known to be text of a prompt. The
/// upstream's message is bounded, free of control characters, and redacted.
#[derive(Clone, PartialEq)]
pub struct Fault(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    cause: Cause,
    scope: Scope,
    kind: FaultKind,
    evidence: Evidence,
    status: Option<u16>,
    error_type: Option<ErrorType>,
    limit_source: Option<LimitSource>,
    availability: Option<Availability>,
    budget: Option<BudgetStatus>,
    provider: Option<String>,
    provider_code: Option<String>,
    is_byok: Option<bool>,
    previous: Vec<PreviousError>,
    retry: RetryHint,
    rate_limit: Option<RateLimit>,
    resets: Option<ResetInterval>,
    remedy: Remedy,
    affordable_tokens: Option<u64>,
    message: String,
    provider_message: Option<String>,
    remedy_hint: Option<String>,
    generation_id: Option<String>,
    unknown: Vec<UnknownWord>,
}

/// What a client was waiting for when a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A connection.
    Connect,
    /// The head of the answer.
    Head,
    /// The first content of the answer.
    FirstContent,
    /// The next piece of the answer.
    Idle,
    /// The end of the answer: the caller's own deadline.
    Total,
}

impl Phase {
    /// Returns the phase's name, as messages show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "a connection",
            Self::Head => "the head of the answer",
            Self::FirstContent => "the first content",
            Self::Idle => "more of the answer",
            Self::Total => "the end of the answer",
        }
    }
}

/// Makers: from what a client saw itself.
impl Fault {
    /// Returns a fault with what its cause implies. The message is cleaned and bounded.
    #[must_use]
    pub fn new(cause: Cause, message: &str) -> Self {
        let mut inner = Inner::new(cause, Evidence::Observed);
        inner.message = clean(message, MESSAGE_CHARS);
        if inner.scope == Scope::Request || cause.is_dead_key() || cause == Cause::ModelGone {
            inner.retry = RetryHint::Never;
        }
        Self(Box::new(inner))
    }

    /// Returns the fault of a connection that could not be made, or broke before the answer.
    #[must_use]
    pub fn network(message: &str) -> Self {
        Self::new(Cause::Network, message)
    }

    /// Returns the fault of a deadline that passed after `limit`.
    ///
    /// Charged to the network before there is a connection, to the provider before and within the
    /// answer, and to the caller for the caller's own deadline.
    #[must_use]
    pub fn timeout(phase: Phase, limit: Duration) -> Self {
        let cause = match phase {
            Phase::Connect => Cause::Network,
            Phase::Head | Phase::FirstContent | Phase::Idle => Cause::ProviderTimeout,
            Phase::Total => Cause::Canceled,
        };
        Self::new(
            cause,
            &format!("timed out after {limit:?} waiting for {}", phase.as_str()),
        )
    }

    /// Returns the fault of a caller that left.
    #[must_use]
    pub fn canceled() -> Self {
        Self::new(Cause::Canceled, "the caller left")
    }

    /// Returns the fault of a bound of this process.
    #[must_use]
    pub fn local(message: &str) -> Self {
        Self::new(Cause::Local, message)
    }

    /// Returns the fault of a stream that ended before its end.
    #[must_use]
    pub fn truncated() -> Self {
        Self::new(
            Cause::Truncated,
            "the stream ended without a finish reason and without [DONE]",
        )
    }

    /// Returns the fault of a stream that ended before its last event, which is named `last`.
    pub(crate) fn cut_before(last: &str) -> Self {
        Self::new(
            Cause::Truncated,
            &format!("the stream ended without {last}"),
        )
    }

    /// Returns the fault of an answer that is none.
    #[must_use]
    pub fn malformed(message: &str) -> Self {
        Self::new(Cause::Malformed, message)
    }

    /// Returns the fault of an answer that is whole and empty.
    #[must_use]
    pub fn no_content(message: &str) -> Self {
        Self::new(Cause::NoContent, message)
    }

    /// Returns the fault of a stream's event that is no JSON. Says where it breaks off, and
    /// nothing of what it says.
    pub(crate) fn malformed_frame(error: &serde_json::Error) -> Self {
        Self::malformed(&format!(
            "an event of the stream: {}",
            malformed_json(error)
        ))
    }

    /// Returns the fault with `provider`, where it names none itself.
    pub(crate) fn or_provider(mut self, provider: Option<&str>) -> Self {
        if self.0.provider.is_none() {
            self.0.provider = provider.map(|name| clean(name, NAME_CHARS));
        }
        self
    }

    /// Returns the fault with another scope, for who knows more: the same fault with several keys
    /// of one account at once is the account's.
    #[must_use]
    pub fn with_scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// Returns the fault as one of a larger scope, for who has seen it with several keys, accounts
    /// or models alike: then what helps is what helps there, and nothing is refused for good, since
    /// nothing is proven.
    #[must_use]
    pub fn raised_to(mut self, scope: Scope) -> Self {
        let inner = &mut *self.0;
        inner.scope = scope;
        if inner.kind == FaultKind::Refused {
            inner.kind = FaultKind::Throttled;
        }
        if inner.retry == RetryHint::Never {
            inner.retry = RetryHint::Unknown;
        }
        inner.remedy = Remedy {
            other_account: scope == Scope::Account,
            other_model: scope == Scope::Model,
            wait: inner.kind != FaultKind::Exhausted,
            ..Remedy::NONE
        };
        self
    }

    /// Returns the fault with another hint.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryHint) -> Self {
        self.0.retry = retry;
        self
    }

    /// Returns the fault with a status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.0.evidence = evidence;
        self
    }
}

impl Inner {
    fn new(cause: Cause, evidence: Evidence) -> Self {
        Self {
            cause,
            scope: cause.scope(),
            kind: cause.kind(),
            evidence,
            status: None,
            error_type: None,
            limit_source: None,
            availability: None,
            budget: None,
            provider: None,
            provider_code: None,
            is_byok: None,
            previous: Vec::new(),
            retry: RetryHint::Unknown,
            rate_limit: None,
            resets: None,
            remedy: cause.remedy(),
            affordable_tokens: None,
            message: String::new(),
            provider_message: None,
            remedy_hint: None,
            generation_id: None,
            unknown: Vec::new(),
        }
    }
}

/// What the fault says.
impl Fault {
    /// Returns who caused it: the smallest group that it is evidence against.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// Returns why it failed.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.0.cause
    }

    /// Returns what kind of failure it is: this decides how long its scope stays out.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.0.kind
    }

    /// Returns what it was read from.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.0.evidence
    }

    /// Returns the status of the answer or, inside a 200, the one that the error names.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns the error's type, if it names one.
    #[must_use]
    pub fn error_type(&self) -> Option<&ErrorType> {
        self.0.error_type.as_ref()
    }

    /// Returns the limit that refused the call, if the error names one.
    #[must_use]
    pub fn limit_source(&self) -> Option<&LimitSource> {
        self.0.limit_source.as_ref()
    }

    /// Returns why no endpoint is available, if the error says.
    #[must_use]
    pub fn availability(&self) -> Option<&Availability> {
        self.0.availability.as_ref()
    }

    /// Returns the budget or cap that refused the call, if the error says.
    #[must_use]
    pub fn budget(&self) -> Option<&BudgetStatus> {
        self.0.budget.as_ref()
    }

    /// Returns the provider that failed, by its display name, if the error names one.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// Returns the provider's own code for the error, if the error has one. The vocabulary is the
    /// provider's.
    #[must_use]
    pub fn provider_code(&self) -> Option<&str> {
        self.0.provider_code.as_deref()
    }

    /// Returns whether a provider key of the caller's own was in use, if the error says.
    #[must_use]
    pub fn is_byok(&self) -> Option<bool> {
        self.0.is_byok
    }

    /// Returns the attempts that OpenRouter made before it gave up; at most 16.
    #[must_use]
    pub fn previous_errors(&self) -> &[PreviousError] {
        &self.0.previous
    }

    /// Returns when trying again can make sense, as the upstream says it: not yet bounded.
    #[must_use]
    pub fn retry(&self) -> RetryHint {
        self.0.retry
    }

    /// Returns what the refusal says of the limit that was hit, if it says anything.
    #[must_use]
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.0.rate_limit
    }

    /// Returns how often the cap or quota that is used up starts anew, if that is known.
    #[must_use]
    pub fn resets(&self) -> Option<&ResetInterval> {
        self.0.resets.as_ref()
    }

    /// Returns what might help.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.0.remedy
    }

    /// Returns the models that OpenRouter suggests instead; a hint only.
    #[must_use]
    pub fn suggested_models(&self) -> &[String] {
        self.0
            .availability
            .as_ref()
            .map_or(&[], |availability| &availability.fallback_models)
    }

    /// Returns how many tokens the money would pay for, where the message says.
    #[must_use]
    pub fn affordable_tokens(&self) -> Option<u64> {
        self.0.affordable_tokens
    }

    /// Returns the upstream's message: at most 500 characters, without control characters, keys
    /// replaced.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what the provider itself said, in the same form.
    ///
    /// Not part of `Debug` and `Display`: a provider may quote the prompt. Show it to the caller
    /// whose prompt it is, and to nobody else.
    #[must_use]
    pub fn provider_message(&self) -> Option<&str> {
        self.0.provider_message.as_deref()
    }

    /// Returns what OpenRouter suggests to people, in one line: for showing, not for deciding.
    #[must_use]
    pub fn remedy_hint(&self) -> Option<&str> {
        self.0.remedy_hint.as_deref()
    }

    /// Returns the words in typed places of the error that this version does not know; at most 8.
    ///
    /// OpenRouter adds words without notice, and the fault is read without them:
    ///
    /// - `limit_source`: one that begins with `upstream_` is a provider's limit; else the scope of
    ///   the budget in the metadata decides, then the `error_type`, then the status.
    /// - `availability`: `retryable` decides between a model that is out for a while and a request
    ///   that no endpoint takes; without it the `error_type` does.
    /// - `error_type`: the status decides.
    /// - `reason`, `scope`: as good as absent.
    /// - `code`, `type`: where there is a status, it decides; else the message.
    /// - `status`: counts as a bad request or as OpenRouter's failure, by its first digit.
    #[must_use]
    pub fn unknown_words(&self) -> &[UnknownWord] {
        &self.0.unknown
    }

    /// Returns the identifier of the generation that failed, if there is one.
    #[must_use]
    pub fn generation_id(&self) -> Option<&str> {
        self.0.generation_id.as_deref()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: what the provider says may quote the prompt.
        f.debug_struct("Fault")
            .field("cause", &self.0.cause)
            .field("scope", &self.0.scope)
            .field("kind", &self.0.kind)
            .field("evidence", &self.0.evidence)
            .field("status", &self.0.status)
            .field("error_type", &self.0.error_type)
            .field("limit_source", &self.0.limit_source)
            .field(
                "availability",
                &self.0.availability.as_ref().map(|a| &a.code),
            )
            .field("provider", &self.0.provider)
            .field("retry", &self.0.retry)
            .field("resets", &self.0.resets)
            .field("remedy", &self.0.remedy)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Fault {
    /// Says it in one line: `provider_rate_limited (provider Acme, 429): Provider returned error`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.0.cause, self.0.scope)?;
        if let (Scope::Provider, Some(provider)) = (self.0.scope, &self.0.provider) {
            write!(f, " {provider}")?;
        }
        if let Some(status) = self.0.status {
            write!(f, ", {status}")?;
        }
        f.write_str(")")?;
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        Ok(())
    }
}

impl Error for Fault {}
