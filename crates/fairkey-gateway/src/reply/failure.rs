//! One failure, as the caller is told of it: [`Failure`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{AttemptFault, CallError, CallErrorKind};
use fairkey_core::Scope;
use fairkey_openrouter::{Cause, Fault};
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use super::shape::{self, BrokenStream};
use super::{Format, Reason};

/// The longest wait after which a caller's SDK is told to try again by itself: 60 s. The SDKs
/// of OpenAI and Anthropic ignore longer hints and come back within seconds.
pub const MAX_RETRY_WAIT: Duration = Duration::from_secs(60);

/// The most bytes of a message; the text of the upstream in it was bounded and redacted before.
const MAX_MESSAGE: usize = 2_000;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const ERROR: HeaderName = HeaderName::from_static("x-fairkey-error");
const ORIGIN: HeaderName = HeaderName::from_static("x-fairkey-origin");

/// Where a failure came from: who would have to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The gateway itself refused: what the tenant may do, what the request says.
    Gateway,
    /// Whom a fault was charged to.
    Upstream(Scope),
}

impl Origin {
    /// Returns the word: `gateway`, or the scope's.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway | Self::Upstream(Scope::Local) => "gateway",
            Self::Upstream(scope) => scope.as_str(),
        }
    }
}

/// A failure that the gateway tells in its own words.
///
/// ```
/// use std::time::Duration;
/// use fairkey_gateway::{Failure, Format, Reason};
///
/// let failure = Failure::new(Reason::OverRate, "team-a has used its 60 requests per minute")
///     .with_retry_after(Duration::from_millis(12_300));
/// let response = failure.to_response(Format::Messages, "req-1");
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "13");
/// assert_eq!(response.headers()["x-should-retry"], "true");
/// ```
#[derive(Clone, PartialEq)]
#[must_use = "a failure is to be told to the caller"]
pub struct Failure {
    reason: Reason,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    origin: Origin,
    /// Set where attempts were made: another whole call is a decision for a person.
    is_tried: bool,
}

impl Failure {
    /// Makes a failure of the gateway's own. The message says what, where and what to do; longer
    /// ones than 2,000 bytes are cut.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            message: bounded(message.into()),
            retry_after: None,
            origin: Origin::Gateway,
            is_tried: false,
        }
    }

    /// Says when asking again makes sense, counted from now.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says the same where a time is known.
    pub fn with_retry_after_if(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait.or(self.retry_after);
        self
    }

    /// Says who was at fault.
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Says that attempts were made and used up: a caller's own retries would multiply them.
    pub fn after_attempts(mut self) -> Self {
        self.is_tried = true;
        self
    }

    /// Says in the gateway's words what became of a call that the client gave no answer for.
    ///
    /// An answer of the upstream that [`CallError::response`] holds is not looked at here: see
    /// [`instead_of`](Self::instead_of) for whether it may be handed on.
    pub fn of_call(error: &CallError) -> Self {
        let fault = error.fault();
        let reason = match error.kind() {
            CallErrorKind::NoKey => Reason::NoKey,
            CallErrorKind::Overloaded => Reason::QueueFull,
            CallErrorKind::Deadline => Reason::Deadline,
            CallErrorKind::Request => Reason::BadRequest,
            CallErrorKind::Answer => Reason::UpstreamFailed,
            _ => fault.map_or(Reason::UpstreamFailed, |fault| {
                of_cause(fault.cause(), fault.scope())
            }),
        };
        Self {
            is_tried: !error.attempts().is_empty(),
            retry_after: error.retry_after(),
            origin: Origin::Upstream(error.scope()),
            ..Self::new(reason, error.to_string())
        }
    }

    /// Says in the gateway's words what a fault is, where nothing else is known: one that was
    /// found in a stream after it began, say.
    pub fn of_fault(fault: &Fault) -> Self {
        Self {
            is_tried: true,
            origin: Origin::Upstream(fault.scope()),
            ..Self::new(of_cause(fault.cause(), fault.scope()), fault.to_string())
        }
    }

    /// Returns what a caller is told instead of an upstream's answer with the fault `fault`; `None`
    /// where that answer may be handed on as it is.
    ///
    /// It may not where it blames the caller for what is the operator's: a key, a balance, a
    /// budget, an account's limits; every 401 and 402, whoever caused it; and the pages of the edge
    /// before the upstream, which no program reads.
    #[must_use]
    pub fn instead_of(fault: &AttemptFault) -> Option<Self> {
        let is_operators = matches!(fault.scope, Scope::Key | Scope::Budget | Scope::Account);
        // What the edge says is a page for people, about the operator's address.
        let is_edge = matches!(fault.cause, Cause::EdgeBlocked | Cause::EdgeFailed);
        if !is_operators && !is_edge && !matches!(fault.status, Some(401 | 402)) {
            return None;
        }
        let reason = of_cause(fault.cause, fault.scope);
        let message = match (reason, fault.scope) {
            (Reason::TooExpensive, _) => Cow::Borrowed(
                "the request is larger than what any account can pay for: ask for fewer tokens \
                 by max_tokens, or shorten the prompt",
            ),
            (Reason::NoKey, scope) => Cow::Owned(format!(
                "no key can serve the call: the last one refused it ({scope}, {})",
                fault.cause
            )),
            (_, scope) => Cow::Owned(format!("the upstream failed ({scope}, {})", fault.cause)),
        };
        Some(Self {
            is_tried: true,
            origin: Origin::Upstream(fault.scope),
            ..Self::new(reason, message)
        })
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns who was at fault.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns how long to wait, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The same in whole seconds, rounded up: a caller that comes a moment too early waits another
    /// round.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        let ms = millis(self.retry_after?);
        Some(ms.div_ceil(1_000).max(1))
    }

    /// Returns the status: the reason's, or 429 where no key is free and the wait is known.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.reason {
            Reason::NoKey | Reason::QueueFull if self.retry_after.is_some() => {
                StatusCode::TOO_MANY_REQUESTS
            }
            reason => reason.status(),
        }
    }

    /// Returns whether the caller's SDK shall try again by itself: waiting cures it, and not later
    /// than [`MAX_RETRY_WAIT`]. Where attempts were made and no time is known, it shall not: the
    /// gateway has tried already, and tries on top of tries multiply.
    #[must_use]
    pub fn should_retry(&self) -> bool {
        match self.retry_after {
            Some(wait) => {
                wait <= MAX_RETRY_WAIT && (self.reason.is_cured_by_waiting() || self.is_tried)
            }
            None => self.reason.is_cured_by_waiting() && !self.is_tried && self.may_be_soon(),
        }
    }

    /// Whether it may be cured soon, although no time is known.
    fn may_be_soon(&self) -> bool {
        matches!(
            self.reason,
            Reason::TooManyInFlight | Reason::QueueFull | Reason::Overloaded | Reason::ShuttingDown
        )
    }

    /// Makes the answer, in the caller's format.
    #[must_use]
    pub fn to_response(&self, format: Format, request_id: &str) -> Response<Bytes> {
        let mut response = Response::new(shape::body(self, format, request_id));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR, HeaderValue::from_static(self.reason.as_str()));
        headers.insert(ORIGIN, HeaderValue::from_static(self.origin.as_str()));
        headers.insert(
            SHOULD_RETRY,
            HeaderValue::from_static(if self.should_retry() { "true" } else { "false" }),
        );
        if self.reason == Reason::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let (Some(wait), Some(seconds)) = (self.retry_after, self.retry_after_seconds()) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis(wait).max(1)));
        }
        response
    }

    /// Makes the event that ends a broken stream of the caller's format. Nothing follows it: no
    /// `[DONE]`, no `message_stop`.
    #[must_use]
    pub fn to_event(&self, format: Format, stream: &BrokenStream<'_>) -> Bytes {
        shape::event(self, format, stream)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("reason", &self.reason)
            .field("status", &self.status().as_u16())
            .field("origin", &self.origin.as_str())
            .field("retry_after", &self.retry_after)
            .field("should_retry", &self.should_retry())
            .field("message", &self.message)
            .finish()
    }
}

/// What a fault is to a caller who knows nothing of keys.
fn of_cause(cause: Cause, scope: Scope) -> Reason {
    match (cause, scope) {
        (Cause::RequestTooBigForBalance, _) => Reason::TooExpensive,
        (_, Scope::Key | Scope::Budget | Scope::Account) => Reason::NoKey,
        (_, Scope::Request) => Reason::BadRequest,
        (_, Scope::Caller) => Reason::Deadline,
        (_, Scope::Network) => Reason::UpstreamUnreachable,
        (_, Scope::Local) => Reason::Overloaded,
        (Cause::ProviderTimeout | Cause::RequestTimeout, _) => Reason::UpstreamTimeout,
        _ => Reason::UpstreamFailed,
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn bounded(mut message: Cow<'static, str>) -> Cow<'static, str> {
    if message.len() > MAX_MESSAGE {
        let message = message.to_mut();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}
