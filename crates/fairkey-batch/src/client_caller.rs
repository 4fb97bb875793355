//! A client as a caller of rows: [`ClientCaller`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fairkey_client::{
    Attempt as ClientAttempt, Call, CallError, CallErrorKind, Client, FaultCount, GiveUp,
};
use fairkey_core::{Ask, Class, Denied, FaultKind, KeyId, Scope, Timestamp};
use fairkey_openrouter::profile::{ProfileError, Profiles};

use crate::caller::{is_of_keys, shared_by_keys};
use crate::{
    Allowance, Attempt, AttemptCount, Bill, Bottleneck, Caller, CallerState, Failure, KeyOut,
    KeyState, Refusal, Reply, Request, Then,
};

/// How many bars are named at a time.
const BARS: usize = 16;

/// Sends rows through a [`Client`], as calls of class [`Class::Batch`].
///
/// Rows wait for keys in the client's queue, and come back when the client's `max_wait` is over or
/// no key opens within it; a minute or two is right for it. Each call makes at most the attempts
/// that are left of its row's [`Allowance`], and at most those of the client's `RetryConfig`, whose
/// `attempts` should be no fewer than [`RunConfig::attempts`](crate::RunConfig::attempts).
#[derive(Debug)]
pub struct ClientCaller {
    client: Client,
    profiles: Profiles,
    /// What was last said about each key: for its state at the end.
    refusals: Mutex<HashMap<KeyId, Refusal>>,
}

impl ClientCaller {
    /// Sends through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            profiles: Profiles::default(),
            refusals: Mutex::default(),
        }
    }

    /// Sets what stands for the models that rows name. Default: nothing.
    #[must_use]
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn note(&self, attempts: &[Attempt]) {
        let refused = attempts.iter().filter_map(|attempt| {
            let refusal = attempt.refusal.as_ref()?;
            let of_key = is_of_keys(refusal.scope);
            of_key.then(|| (attempt.key.clone(), refusal.clone()))
        });
        let mut refused = refused.peekable();
        if refused.peek().is_some() {
            self.refusals
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(refused);
        }
    }

    /// Says which keys cannot be used now, and what bars them; once where they share it.
    fn keys_out(&self) -> Vec<String> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.client.pool().explain(&Ask::new()).keys;
        let mut out: Vec<String> = Vec::new();
        for key in keys.iter().filter(|key| !key.denied.is_empty()) {
            let mut by = key.denied.iter().map(|denial| denial.denied.by);
            let why = match (by.find_map(shared_by_keys), refusals.get(&key.id)) {
                (Some(shared), _) => format!("{shared} was out"),
                (None, Some(refusal)) => format!("key \"{}\" was out: {refusal}", key.id),
                (None, None) => format!("key \"{}\" was busy or out", key.id),
            };
            if out.len() < BARS && !out.contains(&why) {
                out.push(why);
            }
        }
        out
    }

    fn failure(&self, error: &CallError) -> Failure {
        let attempts: Vec<Attempt> = error.attempts().iter().map(attempt).collect();
        self.note(&attempts);
        let code = match error.kind() {
            CallErrorKind::NoKey => "no_key",
            CallErrorKind::Deadline => "deadline",
            CallErrorKind::Overloaded => "overloaded",
            CallErrorKind::Request => "bad_request",
            CallErrorKind::Answer => "bad_answer",
            _ => error
                .fault()
                .map_or("failed", |fault| fault.cause().as_str()),
        };
        let mut message = match error.fault() {
            Some(fault) if error.kind() == CallErrorKind::Fault => fault.to_string(),
            _ => error.to_string(),
        };
        if let Some(give_up) = error.give_up()
            && error.kind() == CallErrorKind::Fault
        {
            message = format!("{message}; given up: {}", give_up.as_str());
        }
        Failure {
            code: Cow::Borrowed(code),
            message,
            scope: error.scope(),
            cause: error
                .fault()
                .map(|fault| Cow::Borrowed(fault.cause().as_str())),
            status: error.attempts().last().and_then(|last| last.fault?.status),
            then: then(error),
            attempts,
            answer: None,
        }
    }
}

impl Caller for ClientCaller {
    async fn call(&self, request: &Request, left: Allowance) -> Result<Reply, Failure> {
        let routed = if self.profiles.is_empty() {
            None
        } else {
            let routed = self.profiles.apply(&request.path, &request.body);
            routed.map_err(|error| no_route(&error))?
        };
        let call = match routed {
            Some(routed) => Call::new(&*request.path, routed.body.clone()).routed(&routed),
            None => {
                let call = Call::new(&*request.path, request.body.clone());
                match &request.model {
                    Some(model) => call.model(Arc::clone(model)),
                    None => call,
                }
            }
        };
        let call = call
            .class(Class::Batch)
            .at_most(left.attempts, left.failovers);
        match self.client.call(call).await {
            Ok(answer) => {
                let attempts: Vec<Attempt> = answer.attempts.iter().map(attempt).collect();
                self.note(&attempts);
                Ok(Reply {
                    status: 200,
                    request_id: answer.generation,
                    body: answer.value,
                    key: answer.key,
                    cost: answer.cost,
                    attempts,
                    waited: answer.waited,
                })
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn state(&self) -> &dyn CallerState {
        self
    }
}

impl CallerState for ClientCaller {
    fn in_flight(&self) -> Option<u64> {
        Some(self.client.pool().in_flight())
    }

    fn attempts(&self) -> Option<AttemptCount> {
        let stats = self.client.stats();
        let slow_down = |fault: &&FaultCount| {
            fault.cause.kind() == FaultKind::Throttled && !is_of_keys(fault.scope)
        };
        let slow_downs = stats
            .faults
            .iter()
            .filter(slow_down)
            .map(|fault| fault.count)
            .sum();
        Some(AttemptCount {
            made: stats.attempts,
            slow_downs,
        })
    }

    fn bars(&self) -> Vec<Bottleneck> {
        let mut limits = self.client.limit_uses();
        limits.retain(|of| of.used >= of.limit.amount - of.limit.amount / 10);
        let mut bars: Vec<String> = limits
            .into_iter()
            .map(|of| {
                let words = of.words().to_string();
                match self.client.learned_behind(&of) {
                    // A ceiling moves: its height would be another word each time.
                    Some(learned) if !learned.is_told => {
                        let what = words.split_once(' ').map_or(&*words, |(_, what)| what);
                        format!("{}: {what}, a learned limit", of.owner)
                    }
                    _ => format!("{}: {words}", of.owner),
                }
            })
            .collect();
        if bars.is_empty() {
            bars = self.keys_out();
        }
        bars.truncate(BARS);
        let named = |bar| Bottleneck::Keys(Some(bar));
        bars.into_iter().map(named).collect()
    }

    fn keys(&self) -> Vec<KeyState> {
        let explanation = self.client.pool().explain(&Ask::new());
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |key: fairkey_core::KeyExplanation| KeyState {
            state: state(
                key.denied.iter().map(|denial| denial.denied),
                explanation.now,
                refusals.get(&key.id),
            ),
            key: key.id,
            account: key.account,
        };
        explanation.keys.into_iter().map(state).collect()
    }
}

/// What becomes of a row whose route cannot be taken: nothing was sent.
fn no_route(error: &ProfileError) -> Failure {
    Failure {
        code: Cow::Borrowed("bad_route"),
        message: error.to_string(),
        scope: Scope::Request,
        cause: None,
        status: None,
        attempts: Vec::new(),
        then: Then::Fail,
        answer: None,
    }
}

/// Says in words what stands before a key.
fn state(
    denied: impl Iterator<Item = Denied>,
    now: Timestamp,
    refusal: Option<&Refusal>,
) -> String {
    // The gate that opens last decides.
    let latest = |denied: &Denied| denied.until.map_or(Timestamp::MAX, |until| until);
    let Some(denied) = denied.max_by_key(latest) else {
        return "ok".to_owned();
    };
    let until = match denied.until {
        None if denied.by == Scope::Local => return "busy".to_owned(),
        None => "out".to_owned(),
        Some(until) => format!(
            "out for {:.0} s",
            until.since(now).as_secs_f64().max(1.0).ceil()
        ),
    };
    match refusal {
        Some(refusal) => format!("{until}: {refusal}"),
        None => format!("{until} ({})", denied.by),
    }
}

/// Says what to do about a call that failed.
fn then(error: &CallError) -> Then {
    let wait = |after: Option<Duration>| Then::Wait {
        after,
        barred: Vec::new(),
    };
    let of_row = error
        .fault()
        .is_some_and(|fault| fault.scope() == Scope::Request);
    match error.kind() {
        // The last key said that it is the request: keys will not cure that.
        CallErrorKind::NoKey if of_row => Then::Fail,
        CallErrorKind::NoKey => {
            let why = |key: &fairkey_client::KeyState| {
                let denied = key.denied.filter(|denied| denied.by != Scope::Local)?;
                let refusal = key.refusal.clone().or_else(|| last_of(denied.by, error));
                Some(KeyOut {
                    key: key.key.clone(),
                    by: denied.by,
                    why: refusal.unwrap_or_else(|| format!("barred ({})", denied.by)),
                })
            };
            let barred: Option<Vec<KeyOut>> = error.keys().iter().map(why).collect();
            let barred = barred.unwrap_or_default();
            if error.is_every_key_dead() {
                Then::Stop { keys: barred }
            } else {
                Then::Wait {
                    after: error.retry_after(),
                    barred,
                }
            }
        }
        CallErrorKind::Overloaded => wait(None),
        CallErrorKind::Fault => match error.give_up() {
            Some(GiveUp::Budget) => wait(error.retry_after()),
            // Refused by one key after the other, each for reasons of its own.
            Some(GiveUp::Failovers | GiveUp::NoKeyLeft) if !of_row => wait(error.retry_after()),
            _ => Then::Fail,
        },
        _ => Then::Fail,
    }
}

/// Returns the last failure of this call that was charged to `scope`, which is no key's own.
fn last_of(scope: Scope, error: &CallError) -> Option<String> {
    let mut attempts = error.attempts().iter().rev();
    let refusal = attempts.find_map(|one| attempt(one).refusal.filter(|of| of.scope == scope))?;
    Some(refusal.to_string())
}

fn attempt(attempt: &ClientAttempt) -> Attempt {
    Attempt {
        key: attempt.key.clone(),
        account: attempt.account.clone(),
        refusal: attempt.fault.map(|fault| Refusal {
            scope: fault.scope,
            kind: fault.kind,
            cause: Cow::Borrowed(fault.cause.as_str()),
            status: fault.status,
        }),
        bill: Bill {
            // Of a good one the reply says it.
            cost: attempt.bill.cost.filter(|_| attempt.fault.is_some()),
            byok_micro_usd: attempt.bill.byok_micro_usd,
            is_unknown: attempt.fault.is_some_and(|fault| fault.may_run),
        },
    }
}
