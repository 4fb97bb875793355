//! From the head of an answer to what the caller gets: whether the attempt has succeeded.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fairkey_core::KeyId;
use fairkey_openrouter::media::{is_event_stream, is_json};
use fairkey_openrouter::{Fault, Phase};
use fairkey_transport::Body;
use http::Response;
use http::response::Parts;
use tokio::time::timeout_at;

use crate::admission::after;
use crate::answer::{AttemptFault, Bill};
use crate::chat_stream::Opening;
use crate::exchange::{Exchange, Failure};
use crate::leased_body::{First, LeasedBody};
use crate::network;
use crate::refusal::Refusal;
use crate::summary::Summary;
use crate::watch::{JSON_BYTES, Watch, body_fault};

/// How much may come before the first content while another attempt is still possible.
const GATE_BYTES: usize = 256 << 10;

/// What the caller of an attempt wants of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The whole of it, before anything reaches the caller.
    Whole { chat: bool },
    /// Chunks of a chat completion.
    ChatStream,
    /// Whatever it is, as it comes. Statuses of refusal included, once no attempt can help. JSON is
    /// held until it is whole, where that is asked for.
    Pass { hold: bool },
}

/// An answer that was accepted.
#[derive(Debug)]
pub(crate) enum Accepted {
    Whole(Box<Whole>),
    ChatStream(Box<Opening>),
    Pass(Box<Response<LeasedBody>>),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) body: Bytes,
    pub(crate) summary: Summary,
}

/// An attempt that failed, and what came of it all the same.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// The answer as it came, for the error.
    pub(crate) response: Option<Response<Bytes>>,
    /// The answer as it came, to be handed on where no attempt follows.
    pub(crate) passed: Option<(Accepted, KeyId)>,
    /// What the answer says it cost.
    pub(crate) bill: Bill,
}

impl Failed {
    pub(crate) fn new(failure: Failure) -> Box<Self> {
        Box::new(Self {
            failure,
            response: None,
            passed: None,
            bill: Bill::default(),
        })
    }

    /// Returns what is booked of it.
    pub(crate) fn in_short(&self) -> AttemptFault {
        AttemptFault {
            may_run: self.failure.may_run,
            ..(&self.failure.fault).into()
        }
    }

    /// Lets the key go that an answer may hold, and with it an answer that was not read to its
    /// end.
    pub(crate) fn release(&mut self) {
        if let Some((Accepted::Pass(response), _)) = &mut self.passed
            && !response.body_mut().release()
        {
            self.passed = None;
        }
    }
}

type Result<T> = std::result::Result<T, Box<Failed>>;

impl Mode {
    /// Tells whether refusals are handed on.
    pub(crate) fn is_pass(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }

    /// Decides whether an answer is one. From here on the exchange holds the body.
    pub(crate) async fn accept(
        &self,
        mut exchange: Exchange,
        path: &str,
        response: Response<Body>,
    ) -> Result<Accepted> {
        let (parts, body) = response.into_parts();
        exchange.receive(body);
        let refused = parts.status.is_client_error() || parts.status.is_server_error();
        match self {
            Self::Pass { .. } if refused => refuse_and_pass(exchange, parts).await,
            _ if refused || (!parts.status.is_success() && !self.is_pass()) => {
                refuse(exchange, parts).await
            }
            Self::Whole { chat } => whole(exchange, path, parts, *chat).await,
            Self::ChatStream => chat_stream(exchange, parts).await,
            Self::Pass { hold } => pass(exchange, path, parts, *hold).await,
        }
    }
}

/// Reads a refusal, and its body as far as it helps to understand it.
async fn read_refusal(exchange: &mut Exchange, parts: &Parts) -> (Fault, Refusal) {
    // Not a deadline of its own: a refusal comes at once, or its words do not matter.
    let at = after(exchange.deadlines.first_content);
    let mut refusal = Refusal::default();
    let _ = timeout_at(at, refusal.read(exchange.body())).await;
    let fault = exchange.judge(refusal.fault(parts.status, &parts.headers));
    (fault, refusal)
}

async fn refuse<T>(mut exchange: Exchange, parts: Parts) -> Result<T> {
    let (fault, refusal) = read_refusal(&mut exchange, &parts).await;
    exchange.fail(&fault);
    let mut failed = Failed::new(Failure::told(fault));
    failed.response = Some(Response::from_parts(parts, refusal.into_bytes()));
    Err(failed)
}

async fn refuse_and_pass(mut exchange: Exchange, parts: Parts) -> Result<Accepted> {
    let (fault, refusal) = read_refusal(&mut exchange, &parts).await;
    exchange.record_fault(&fault);
    let key = exchange.key().clone();
    let (is_whole, is_broken) = (refusal.is_whole(), refusal.is_broken());
    if is_whole || is_broken {
        exchange.end();
    }
    // The words of a refusal are not watched any more: who is to blame is recorded.
    let mut passed = LeasedBody::new(exchange, Watch::Blind { ended: false });
    passed.unread([refusal.into_bytes()]);
    if is_whole {
        passed.close();
    } else if is_broken {
        passed.break_off();
    }
    let mut failed = Failed::new(Failure::told(fault));
    failed.passed = Some((
        Accepted::Pass(Box::new(Response::from_parts(parts, passed))),
        key,
    ));
    Err(failed)
}

/// Reads an answer whole. Nothing of it has reached the caller when it turns out to be none.
async fn whole(mut exchange: Exchange, path: &str, parts: Parts, chat: bool) -> Result<Accepted> {
    let limit = exchange.core.max_body_bytes;
    let body = match read_whole(&mut exchange, limit).await {
        Ok(body) => body,
        Err(failure) => return Err(Failed::new(failure)),
    };
    if (chat || is_json(&parts.headers))
        && let Some(fault) = body_fault(&body, chat)
    {
        let fault = exchange.judge(fault);
        // One that failed half way may be billed all the same.
        let summary = Summary::of(path, &body);
        let is_billed = summary.bill().is_billed();
        if let (true, Some(usage)) = (is_billed, &summary.usage) {
            exchange.note_used(usage);
        }
        exchange.fail(&fault);
        let mut failed = Failed::new(Failure::told(fault));
        if is_billed {
            failed.bill = summary.bill();
        }
        failed.response = Some(Response::from_parts(parts, body));
        return Err(failed);
    }
    let mut summary = Summary::of(path, &body);
    if summary.generation.is_none() {
        let header = parts.headers.get("x-generation-id");
        summary.generation = header.and_then(|id| id.to_str().ok()).map(str::to_owned);
    }
    if let Some(usage) = &summary.usage {
        exchange.note_used(usage);
    }
    exchange.record_success(summary.provider.as_deref());
    exchange.end();
    Ok(Accepted::Whole(Box::new(Whole { body, summary })))
}

async fn read_whole(
    exchange: &mut Exchange,
    limit_bytes: usize,
) -> std::result::Result<Bytes, Failure> {
    let wait = exchange.deadlines.first_content;
    let at = after(wait);
    if exchange.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large(exchange, limit_bytes));
    }
    let (mut first, mut rest, mut content) = (Bytes::new(), BytesMut::new(), false);
    loop {
        let next = if content {
            exchange.chunk().await
        } else {
            match timeout_at(at, exchange.chunk()).await {
                Ok(next) => next,
                Err(_) => return Err(silent(exchange, wait)),
            }
        };
        let chunk = match next {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return Err(exchange.fail_in_transport(&error)),
            None => break,
        };
        // White space keeps the connection alive, and is no content.
        if !content && !chunk.trim_ascii().is_empty() {
            content = true;
            exchange.note_first_content();
        }
        if first.len() + rest.len() + chunk.len() > limit_bytes {
            return Err(too_large(exchange, limit_bytes));
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first.clear();
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

fn too_large(exchange: &mut Exchange, limit_bytes: usize) -> Failure {
    let message = format!("the answer has more than the {limit_bytes} bytes that are allowed");
    let fault = Fault::local(&message);
    exchange.fail(&fault);
    Failure::found(fault)
}

fn silent(exchange: &mut Exchange, wait: Duration) -> Failure {
    let usual = exchange.core.deadlines.first_content;
    let fault = network::timed_out(Phase::FirstContent, wait, usual);
    exchange.fail(&fault);
    Failure::found(fault)
}

/// Reads a stream up to its first content.
async fn chat_stream(mut exchange: Exchange, parts: Parts) -> Result<Accepted> {
    if !is_event_stream(&parts.headers) && parts.headers.contains_key(http::header::CONTENT_TYPE) {
        // An error in a 200 comes as plain JSON; anything else is not what was asked for.
        let limit = exchange.core.max_body_bytes;
        let body = match read_whole(&mut exchange, limit).await {
            Ok(body) => body,
            Err(failure) => return Err(Failed::new(failure)),
        };
        let fault = body_fault(&body, true)
            .unwrap_or_else(|| Fault::malformed("a stream was asked for, and none came"));
        let fault = exchange.judge(fault);
        exchange.fail(&fault);
        let mut failed = Failed::new(Failure::told(fault));
        failed.response = Some(Response::from_parts(parts, body));
        return Err(failed);
    }
    let wait = exchange.deadlines.first_content;
    let mut opening = Opening::new(exchange);
    match timeout_at(after(wait), opening.first(GATE_BYTES)).await {
        Ok(Ok(())) => Ok(Accepted::ChatStream(Box::new(opening))),
        Ok(Err(failure)) => Err(Failed::new(failure)),
        Err(_) => Err(Failed::new(silent(opening.exchange(), wait))),
    }
}

/// Hands an answer on; a stream only when its first content is there.
async fn pass(exchange: Exchange, path: &str, parts: Parts, hold: bool) -> Result<Accepted> {
    let watch = Watch::choose(path, &parts.headers);
    let is_stream = watch.is_stream() && parts.status.is_success();
    let is_held = hold && watch.is_json() && parts.status.is_success();
    let wait = exchange.deadlines.first_content;
    let key = exchange.key().clone();
    let mut body = LeasedBody::new(exchange, watch);
    if is_stream || is_held {
        let first = async {
            if is_stream {
                timeout_at(after(wait), body.first(GATE_BYTES)).await
            } else {
                body.whole(after(wait), JSON_BYTES).await
            }
        };
        match first.await {
            Ok(First::Content) => {}
            Ok(First::Fault(fault)) => {
                let mut failed = Failed::new(Failure::told(fault));
                let passed = Accepted::Pass(Box::new(Response::from_parts(parts, body)));
                failed.passed = Some((passed, key));
                return Err(failed);
            }
            Ok(First::Broken(failure)) => return Err(Failed::new(failure)),
            Err(_) => return Err(Failed::new(silent(body.exchange(), wait))),
        }
    }
    Ok(Accepted::Pass(Box::new(Response::from_parts(parts, body))))
}
