//! The attempt loop: one call, as many attempts as its ledger and the verdicts allow.

mod accept;
mod hedged;
pub(crate) mod seat;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{FaultKind, KeyId, Scope, Timestamp};
use fairkey_openrouter::splice::SpliceError;
use fairkey_openrouter::{Cause, Fault, RetryHint};
use fairkey_transport::Deadlines;
use http::Request;
use tokio::time::timeout_at;

use self::hedged::Seat;
use crate::admission::Held;
use crate::answer::{Attempt, AttemptFault, Bill};
use crate::authorization::authorize;
use crate::core::Core;
use crate::error::{CallError, CallErrorKind};
use crate::exchange::{Asked, Exchange, Failure};
use crate::job::{Job, Payload};
use crate::ledger::Ledger;
use crate::verdict::{Case, GiveUp, Verdict, verdict};

pub(crate) use self::accept::{Accepted, Failed, Mode};

/// How a call that was answered went.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) accepted: Accepted,
    pub(crate) key: KeyId,
    pub(crate) model: Option<Arc<str>>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) elapsed: Duration,
    /// How long the call stood in line.
    pub(crate) waited: Duration,
    /// Why there was no other attempt, where the answer is a refusal.
    pub(crate) error: Option<CallError>,
}

impl Done {
    fn new(accepted: Accepted, key: KeyId, ledger: &mut Ledger) -> Self {
        let attempts = ledger.take_attempts();
        Self {
            accepted,
            key,
            // Of the attempt whose answer it is.
            model: attempts.last().and_then(|attempt| attempt.model.clone()),
            attempts,
            elapsed: ledger.started.elapsed(),
            waited: ledger.waited(),
            error: None,
        }
    }
}

/// Why no further attempt is made.
pub(crate) enum Stop {
    /// The last attempt failed.
    Failed(Box<Failed>, Option<GiveUp>),
    /// There is no key, or none was left; the error is complete but for the attempts.
    Error(CallError),
    /// The caller's deadline passed.
    Deadline,
}

/// Makes a call. The job is at fault where there is none; `finish` makes the answer.
///
/// Many calls may wait for a key, so what is held meanwhile is small: an attempt is made, in a box,
/// when there is a key for it. (No `async fn`, which would keep what it is called with twice; and
/// `finish` is no pointer, but a function that takes no room.)
///
/// # Cancel safety
///
/// Dropped at any point, the attempt under way is given up, and its lease and permit go back.
pub(crate) fn run<'a, T: 'a>(
    core: &'a Arc<Core>,
    job: Result<Arc<Job>, CallError>,
    finish: impl FnOnce(Done) -> Result<T, CallError> + Send + 'a,
) -> impl Future<Output = Result<T, CallError>> + Send + 'a {
    let mut ledger = job.map(Ledger::new);
    async move {
        begin(core, &mut ledger)?;
        loop {
            // Borrowed anew each time, so that it is not kept beside itself.
            if let Err(stop) = take_seat(core, &mut ledger).await {
                return finish(stop.finish(core, open(&mut ledger)?)?);
            }
            let turn = Box::pin(turn(core, open(&mut ledger)?)).await;
            match turn {
                Ok(None) => {}
                Ok(Some((accepted, key))) => {
                    core.counters.answered.up();
                    return finish(Done::new(accepted, key, open(&mut ledger)?));
                }
                Err(stop) => return finish(stop.finish(core, open(&mut ledger)?)?),
            }
        }
    }
}

fn open(ledger: &mut Result<Ledger, CallError>) -> Result<&mut Ledger, CallError> {
    ledger.as_mut().map_err(|error| error.clone())
}

/// Apart, so that nothing of how it was opened is kept while the call waits.
fn take_seat<'a>(
    core: &'a Arc<Core>,
    ledger: &'a mut Result<Ledger, CallError>,
) -> seat::Taking<'a> {
    match ledger {
        Ok(ledger) => seat::take(core, ledger),
        Err(error) => seat::Taking::Over(Some(Err(Stop::Error(error.clone())))),
    }
}

fn begin(core: &Core, ledger: &mut Result<Ledger, CallError>) -> Result<(), CallError> {
    let ledger = open(ledger)?;
    core.counters.calls.up();
    let now = core.admission.pool.now();
    core.budget.deposit(now);
    ledger.begin_now(core.seeds.draw());
    if let Some(hedging) = &core.hedging {
        let model = ledger.model().map(|name| &**name);
        ledger.may_hedge = hedging.may_hedge(&ledger.job, model);
        if ledger.may_hedge {
            hedging.deposit(now);
        }
    }
    Ok(())
}

/// Makes one attempt, and waits for the next one where there is to be one: then there is no answer.
async fn turn(core: &Arc<Core>, ledger: &mut Ledger) -> Result<Option<(Accepted, KeyId)>, Stop> {
    let deadline = ledger.deadline();
    // Pinned, so that there is one place for it, and not another one in each branch.
    let work = pin!(attempt_and_verdict(core, ledger));
    match deadline {
        // Polls the work first: what is there by the deadline is not thrown away.
        Some(at) => timeout_at(at, work).await.unwrap_or(Err(Stop::Deadline)),
        None => work.await,
    }
}

async fn attempt_and_verdict(
    core: &Arc<Core>,
    ledger: &mut Ledger,
) -> Result<Option<(Accepted, KeyId)>, Stop> {
    let Some(held) = ledger.take_held() else {
        return Ok(None);
    };
    core.counters.attempts.up();
    if held.lease.reserved().micro_usd == 0 && ledger.is_unpriced(core) {
        core.estimates.count_unpriced();
    }
    ledger.begin(held.lease.key(), core.admission.pool.now());
    let hedging = core.hedging.as_ref().filter(|_| ledger.may_hedge);
    let (seat, result) = hedged::run(core, ledger, held, hedging).await;
    let failed = match result {
        Ok(accepted) => {
            let bill = match &accepted {
                Accepted::Whole(whole) => whole.summary.bill(),
                Accepted::ChatStream(_) | Accepted::Pass(_) => Bill::default(),
            };
            ledger.end(None, bill, core.admission.pool.now());
            return Ok(Some((accepted, seat.id)));
        }
        Err(failed) => failed,
    };
    let wait = judge(core, ledger, &seat, failed)?;
    if let Some(wait) = wait {
        tokio::time::sleep(wait).await;
    }
    Ok(None)
}

/// Books an attempt that failed, and returns how long to wait until the next one.
fn judge(
    core: &Core,
    ledger: &mut Ledger,
    seat: &Seat,
    failed: Box<Failed>,
) -> Result<Option<Duration>, Stop> {
    let Failure { fault, may_run } = &failed.failure;
    let now = core.admission.pool.now();
    ledger.end(Some(failed.in_short()), failed.bill, now);
    ledger.note_fault(fault.clone());
    let retry = ledger.job.retry(&core.retry);
    let case = Case::of(fault, core.wall.since_epoch(), *may_run);
    let began = ledger.last_began().unwrap_or(now);
    let back = may_be_tried_again_at(core, fault, &seat.id, began, now);
    // What refuses one model, or one so dear, may grant another.
    let bound = fault.remedy().other_model || fault.remedy().smaller_max_tokens;
    let spent = ledger.spent();
    let mut verdict = verdict(case, spent, &retry, ledger.chance());
    if verdict != Verdict::Return && ledger.job.body.is_gone() {
        verdict = Verdict::GiveUp(GiveUp::BodySent);
    }
    if matches!(verdict, Verdict::SameAfter(_)) && !core.budget.withdraw(now) {
        core.counters.budget_denied.up();
        verdict = crate::verdict::without_budget(case, spent, &retry);
    }
    let mut after = None;
    match verdict {
        Verdict::Return => return Err(Stop::Failed(failed, None)),
        Verdict::GiveUp(why) => return Err(Stop::Failed(failed, Some(why))),
        Verdict::OtherKey => {
            ledger.exclude_key(seat.tenure, back, bound);
            core.counters.failovers.up();
        }
        Verdict::OtherAccount => {
            ledger.exclude_account(seat.account, back, bound);
            core.counters.failovers.up();
        }
        Verdict::OtherModel => {
            ledger.fall_back();
            core.counters.fallbacks.up();
        }
        Verdict::SameAfter(wait) => {
            ledger.retry();
            core.counters.retries.up();
            after = Some(wait);
        }
    }
    ledger.keep(failed);
    Ok(after)
}

/// Returns when a call may come back to what has refused it; `None`: never. Gates usually keep
/// it away for longer. An account that does not say when is held back until its ceiling is worth
/// a try; that may be over by now, since it is milliseconds where windows are short.
fn may_be_tried_again_at(
    core: &Core,
    fault: &Fault,
    key: &KeyId,
    began: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    if fault.kind() == FaultKind::Refused || fault.retry() == RetryHint::Never {
        return None;
    }
    if let Some(wait) = fault.wait(core.wall.since_epoch()) {
        return Some(now + wait);
    }
    let is_held = fault.scope() == Scope::Account && fault.kind() == FaultKind::Throttled;
    let ceilings = core.ceilings.as_ref().filter(|_| is_held);
    let held_until = ceilings.and_then(|ceilings| {
        let pool = &core.admission.pool;
        pool.with_keys(|keys| ceilings.held_until(keys.find(key.as_str())?, began))
    });
    Some(held_until.unwrap_or(now + core.retry.cap))
}

/// Makes one attempt, with so much time `left` until the caller's deadline.
async fn attempt(
    core: &Arc<Core>,
    job: Arc<Job>,
    body: Result<Bytes, SpliceError>,
    asked: Asked,
    left: Option<Duration>,
    held: Held,
) -> Result<Accepted, Box<Failed>> {
    let mut deadlines = job.deadlines(core.deadlines);
    if let Some(left) = left {
        deadlines.total = deadlines.total.min(left);
    }
    let mut exchange = Exchange::new(Arc::clone(core), held, deadlines).asking_for(asked);
    let request = match request(core, &job, body, &exchange, deadlines) {
        Ok(request) => request,
        Err(fault) => {
            exchange.fail(&fault);
            return Err(Failed::new(Failure::told(fault)));
        }
    };
    let answer = match &job.body {
        Payload::Whole(_) => core.transport.send(request).await,
        Payload::Streamed(body) => {
            let request = request.map(|_| body.clone());
            core.transport.send_streamed(request).await
        }
    };
    match answer {
        Ok(response) => {
            let path = job.target.uri.path();
            // In a box: what waits for the head needs no room for it.
            Box::pin(job.mode.accept(exchange, path, response)).await
        }
        Err(error) => Err(Failed::new(exchange.fail_in_transport(&error))),
    }
}

/// Makes the request of one attempt. The key enters it here, and only here.
fn request(
    core: &Core,
    job: &Job,
    body: Result<Bytes, SpliceError>,
    exchange: &Exchange,
    deadlines: Deadlines,
) -> Result<Request<Bytes>, Fault> {
    // Models to fall back on are only those that the body was seen to take.
    let body = body.map_err(|error| Fault::new(Cause::BadRequest, &error.to_string()))?;
    let mut request = Request::new(body);
    *request.method_mut() = job.target.method.clone();
    *request.uri_mut() = job.target.uri.clone();
    let own = job.headers.as_deref();
    *request.headers_mut() = own.unwrap_or(&core.json).clone();
    if core.transport.deadlines() != Some(deadlines) {
        request.extensions_mut().insert(deadlines);
    }
    let header = exchange.held().map(|held| {
        core.keyed
            .authorizations
            .of(held.lease.key().slot(), held.lease.expose_key())
    });
    match header {
        Some(Ok(header)) => {
            authorize(request.headers_mut(), header);
            Ok(request)
        }
        // A reload brought a secret that is none; the builder checks those it is given.
        _ => Err(Fault::new(
            Cause::KeyInvalid,
            "the secret holds characters that no header may have",
        )),
    }
}

impl Stop {
    /// Makes the error of a call that stopped, or the answer, where it is to be handed on.
    fn finish(mut self, core: &Core, ledger: &mut Ledger) -> Result<Done, CallError> {
        let passed = match &mut self {
            _ if !ledger.job.mode.is_pass() => None,
            Self::Failed(failed, _) => failed.passed.take(),
            // The next attempt was not made: the answer of the last one stands.
            Self::Error(_) | Self::Deadline => ledger.take_kept().and_then(|kept| kept.passed),
        };
        let Some((accepted, key)) = passed else {
            return Err(self.into_error(core, ledger));
        };
        let model = ledger.model().cloned();
        let (elapsed, waited) = (ledger.started.elapsed(), ledger.waited());
        let error = self.into_error(core, ledger);
        let attempts = error.attempts().to_vec();
        Ok(Done {
            accepted,
            key,
            // Of the attempt whose answer it is.
            model: attempts.last().map_or(model, |last| last.model.clone()),
            attempts,
            elapsed,
            waited,
            error: Some(error),
        })
    }

    pub(crate) fn into_error(self, core: &Core, ledger: &mut Ledger) -> CallError {
        let now = core.admission.pool.now();
        let response = ledger.take_kept().and_then(|kept| kept.response);
        let error = match self {
            Self::Failed(failed, give_up) => failed_error(core, *failed, give_up, ledger),
            Self::Error(error) => error
                .with_fault(ledger.take_fault())
                .with_response(response),
            Self::Deadline => {
                // The attempt under way, if there is one, was given up.
                ledger.end(Some(AttemptFault::given_up()), Bill::default(), now);
                deadline(ledger)
                    .with_fault(ledger.take_fault())
                    .with_response(response)
            }
        };
        let waited = ledger.waited();
        error
            .with_attempts(ledger.take_attempts())
            .with_waited(waited)
    }
}

/// Makes the error of a call whose last attempt failed.
fn failed_error(
    core: &Core,
    failed: Failed,
    give_up: Option<GiveUp>,
    ledger: &Ledger,
) -> CallError {
    let fault = failed.failure.fault;
    // The transport's timer may be a moment ahead of ours.
    let is_over = ledger.left().is_some_and(|left| left.is_zero());
    if fault.cause() == Cause::Canceled && is_over {
        return deadline(ledger).with_fault(Some(fault));
    }
    let kind = if fault.scope() == Scope::Request && fault.status().is_none() {
        CallErrorKind::Request
    } else {
        CallErrorKind::Fault
    };
    let now = core.admission.pool.now();
    let wait = match fault.retry() {
        RetryHint::Never => None,
        _ => fault.wait(core.wall.since_epoch()),
    };
    CallError::new(kind, fault.to_string())
        .with_give_up(give_up)
        .with_retry(wait.map(|wait| now + wait), now)
        .with_response(failed.response)
        .with_fault(Some(fault))
}

fn deadline(ledger: &Ledger) -> CallError {
    let within = ledger
        .deadline()
        .map_or(Duration::ZERO, |at| at - ledger.started);
    CallError::new(
        CallErrorKind::Deadline,
        format!(
            "no answer within the call's deadline of {:.1} s",
            within.as_secs_f64()
        ),
    )
}
