//! What the pool made of a call, and what the caller is told: [`Answered`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Attempt, CallError, CallErrorKind, LeasedBody, Refusal, Served};
use fairkey_openrouter::media;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::{Inbound, failed, respond};
use crate::admin::Decided;
use crate::gateway::Shared;
use crate::headers::{self, X_SHOULD_RETRY};
use crate::homes::Home;
use crate::relay::{Account, End, Ended, Outbound, Relay, Stream};
use crate::report::Report;
use crate::{BrokenStream, Departure, Failure, Format, Operation, Permit, Reason};

/// The generation's identifier, on every answer of inference.
const X_GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");

/// One call on its way.
#[derive(Debug)]
pub(super) struct Call {
    shared: Arc<Shared>,
    id: Arc<str>,
    operation: Operation,
    /// The caller's, in which it is told of failures.
    format: Format,
    /// What is done when its caller leaves.
    departure: Departure,
    /// Goes on to the account when a key has answered.
    permit: Option<Permit>,
    report: Report,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Answered {
    /// An answer that passes.
    Passes(Box<Passing>),
    /// There is none, or none that may pass.
    Failed(Box<Failing>),
}

/// An answer that passes.
#[derive(Debug)]
pub(super) struct Passing {
    call: Call,
    served: Served,
    pub(super) response: Response<LeasedBody>,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failing {
    call: Call,
    failure: Failure,
    /// How much was done for it.
    headers: HeaderMap,
}

impl Call {
    pub(super) fn new(shared: &Arc<Shared>, inbound: &Inbound, permit: Permit) -> Self {
        Self {
            shared: Arc::clone(shared),
            id: Arc::clone(&inbound.id),
            operation: inbound.operation(),
            format: inbound.format(),
            departure: inbound.settings.departure(inbound.operation()),
            permit: Some(permit),
            report: inbound.report.clone(),
        }
    }

    fn format(&self) -> Format {
        self.format
    }

    pub(super) fn departure(&self) -> Departure {
        self.departure
    }

    fn account(&mut self, served: &Served, response: &Response<LeasedBody>) -> Account {
        let call = Ended {
            request_id: Arc::clone(&self.id),
            operation: self.operation,
            key: served.key.clone(),
            model: served.model.clone(),
            status: response.status().as_u16(),
            generation: generation(response.headers()).map(str::to_owned),
            end: End::Whole,
            cost: None,
        };
        (self.shared.accounts).open(call, self.permit.take(), self.report.clone())
    }

    /// Keeps how it was decided, where there are operators to look at it.
    fn note(
        &self,
        key: Option<&str>,
        status: Option<u16>,
        attempts: &[Attempt],
        waited: Duration,
        error: Option<&CallError>,
    ) {
        let Some(admin) = self.shared.admin.get() else {
            return;
        };
        let decided = Decided {
            request_id: &self.id,
            operation: self.operation.as_str(),
            at: self.shared.wall.since_epoch(),
            key,
            status,
            waited,
            attempts,
            error,
        };
        admin.decisions.note(&self.shared.client, &decided);
    }

    /// Says that attempts were made and nothing came of them. What was refused has cost nothing;
    /// what was not answered may have.
    fn give_up(&mut self, error: &CallError) {
        let last = error.attempts().last().and_then(|attempt| attempt.fault);
        match (&mut self.permit, last) {
            (Some(permit), Some(fault)) if fault.status.is_some() => permit.refused(),
            (Some(permit), Some(_)) => permit.sent(),
            _ => {}
        }
    }
}

fn generation(headers: &HeaderMap) -> Option<&str> {
    headers.get(X_GENERATION_ID)?.to_str().ok()
}

impl Answered {
    pub(super) fn of(
        sent: Result<(Response<LeasedBody>, Served), CallError>,
        mut call: Call,
    ) -> Self {
        let (response, served) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                call.give_up(&error);
                call.note(None, None, error.attempts(), error.waited(), Some(&error));
                return Self::fail(call, Failure::of_call(&error), &error, None);
            }
        };
        call.note(
            Some(served.key.as_str()),
            Some(response.status().as_u16()),
            &served.attempts,
            served.waited,
            served.error.as_ref(),
        );
        if let Some(error) = &served.error
            && let Some(failure) = instead(&response, &served, error)
        {
            call.account(&served, &response).end(End::Failed, None, 0);
            return Self::fail(call, failure, error, Some(&served));
        }
        Self::Passes(Box::new(Passing {
            call,
            served,
            response,
        }))
    }

    fn fail(call: Call, failure: Failure, error: &CallError, served: Option<&Served>) -> Self {
        (call.report).tried(error.attempts().to_vec(), error.waited());
        let mut headers = HeaderMap::new();
        headers::add_effort(&mut headers, error.attempts().len(), error.waited());
        if let Some(served) = served {
            headers::add_served(&mut headers, served);
        }
        Self::Failed(Box::new(Failing {
            call,
            failure,
            headers,
        }))
    }

    /// Tells another failure than the one there is: why there is none.
    pub(super) fn instead(mut self, failure: Failure) -> Self {
        if let Self::Failed(failing) = &mut self {
            failing.failure = failure;
        }
        self
    }

    /// Makes the answer.
    pub(super) fn into_response(self) -> Response<Outbound> {
        match self {
            Self::Passes(passing) => passing.into_response(),
            Self::Failed(failing) => {
                let mut response =
                    failed(&failing.failure, failing.call.format(), &failing.call.id);
                response.headers_mut().extend(failing.headers);
                response
            }
        }
    }

    /// Drops an answer that nobody waits for any more, and accounts for it.
    pub(super) fn leave(self) {
        drop(self.into_response());
    }

    /// Makes the rest of a stream whose head is out.
    pub(super) async fn into_stream(self) -> Outbound {
        let (failure, format) = match self {
            Self::Passes(passing) if is_event_stream(passing.response.headers()) => {
                return passing.into_response().into_body();
            }
            Self::Passes(passing) => {
                let format = passing.call.format();
                (passing.into_failure().await, format)
            }
            Self::Failed(failing) => {
                failing.call.report.failed(failing.failure.reason());
                (failing.failure, failing.call.format())
            }
        };
        Outbound::full(failure.to_event(format, &BrokenStream::default()))
    }
}

/// Returns what is told instead of a refusal, where it may not be handed on.
fn instead(response: &Response<LeasedBody>, served: &Served, error: &CallError) -> Option<Failure> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        // A failure inside a 200, which a caller would take for an answer without words.
        return Some(Failure::of_call(error));
    }
    let fault = served.attempts.last()?.fault?;
    let Some(instead) = Failure::instead_of(&fault) else {
        return response.body().is_broken_off().then(|| broken_off(status));
    };
    Some(match error.kind() {
        // It says what stands before each key, and when it opens.
        CallErrorKind::NoKey if instead.reason() == Reason::NoKey => Failure::of_call(error),
        _ => instead.with_retry_after_if(error.retry_after()),
    })
}

/// What is told instead of a refusal of which only the beginning came, or nothing but its head.
pub(super) fn broken_off(status: StatusCode) -> Failure {
    let message = format!("the upstream's answer, {status}, broke off");
    Failure::new(Reason::UpstreamFailed, message)
}

impl Passing {
    /// Returns who the answer, and what it makes, belongs to.
    pub(super) fn home(&self) -> Home {
        let attempt = self.served.attempts.last();
        Home {
            key: self.served.key.clone(),
            account: attempt.and_then(|attempt| attempt.account.clone()),
        }
    }

    pub(super) fn into_response(mut self) -> Response<Outbound> {
        let account = self.call.account(&self.served, &self.response);
        if let Some(generation) = generation(self.response.headers()) {
            self.call.shared.homes.remember(generation, self.home());
        }
        let Self {
            call,
            mut served,
            response,
        } = self;
        let (mut parts, body) = response.into_parts();
        let stream = is_event_stream(&parts.headers).then(|| Stream::new(call.format()));
        if stream.is_some() {
            // Its end may be one of ours.
            parts.headers.remove(CONTENT_LENGTH);
        }
        if let Some(error) = &served.error {
            tell_retry(&mut parts.headers, error);
        }
        let is_stream = stream.is_some();
        let relay = Relay::new(body, stream, account, call.departure());
        let body = Outbound::Relay(Box::new(relay));
        let mut response = respond(parts.status, parts.headers, body);
        headers::add_served(response.headers_mut(), &served);
        if is_stream {
            // The client returns a stream when its first content is there.
            call.report.content();
        }
        let attempts = std::mem::take(&mut served.attempts);
        call.report.tried(attempts, served.waited);
        response
    }

    /// Reads an answer that is no stream, where one was asked for.
    async fn into_failure(mut self) -> Failure {
        let account = self.call.account(&self.served, &self.response);
        let attempts = std::mem::take(&mut self.served.attempts);
        self.call.report.tried(attempts, self.served.waited);
        self.call.report.failed(Reason::UpstreamFailed);
        let (parts, mut body) = self.response.into_parts();
        account.end(End::Failed, body.cost(), 0);
        if parts.status.is_success() {
            let message = "the upstream answered without a stream, although one was asked for";
            return Failure::new(Reason::UpstreamFailed, message);
        }
        let mut refusal = Refusal::default();
        refusal.read(&mut body).await;
        Failure::of_fault(&refusal.fault(parts.status, &parts.headers))
    }
}

/// Tells the caller's SDK of a refusal that passes whether it shall try again by itself.
fn tell_retry(headers: &mut HeaderMap, error: &CallError) {
    let should = match Failure::of_call(error).should_retry() {
        true => "true",
        false => "false",
    };
    headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(should));
    if let Some(wait) = error.retry_after()
        && !headers.contains_key(RETRY_AFTER)
    {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Tells whether an answer is a stream of events that can be read on its way.
fn is_event_stream(headers: &HeaderMap) -> bool {
    media::is_event_stream(headers) && media::is_plain(headers)
}
