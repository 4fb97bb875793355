//! The last calls: which key, and why no other: [`Decisions`].

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fairkey_client::{Attempt, CallError, Client};
use fairkey_core::{Ask, Timestamp};
use serde_json::{Value, json};

use super::report;

/// How often, at most, it is looked at why other keys were not taken: that asks every gate of every
/// key, which a busy gateway should not do for each call.
const EXPLAIN_EVERY: Duration = Duration::from_millis(100);

/// The last calls, a bounded many of them.
#[derive(Debug)]
pub(crate) struct Decisions {
    most: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    calls: VecDeque<Decision>,
    explained: Option<Timestamp>,
}

/// One call.
#[derive(Debug)]
struct Decision {
    at: Duration,
    request_id: String,
    operation: &'static str,
    model: Option<String>,
    key: Option<String>,
    status: Option<u16>,
    waited: Duration,
    attempts: Vec<Attempt>,
    error: Option<String>,
    others: Option<Value>,
}

/// What is known of a call that was answered, or was not.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) operation: &'static str,
    /// Since 1970.
    pub(crate) at: Duration,
    pub(crate) key: Option<&'a str>,
    pub(crate) status: Option<u16>,
    pub(crate) waited: Duration,
    pub(crate) attempts: &'a [Attempt],
    pub(crate) error: Option<&'a CallError>,
}

impl Decisions {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            ring: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, client: &Client, call: &Decided<'_>) {
        if self.most == 0 {
            return;
        }
        let model = call.attempts.last().and_then(|it| it.model.as_deref());
        let now = client.pool().now();
        let is_due = {
            let mut ring = self.ring();
            let last = ring.explained;
            let is_due = last.is_none_or(|last| now.since(last) >= EXPLAIN_EVERY);
            if is_due {
                ring.explained = Some(now);
            }
            is_due
        };
        let others = is_due.then(|| {
            let mut ask = Ask::new();
            ask.model = model;
            report::others(&client.pool().explain(&ask), call.key)
        });
        let decision = Decision {
            at: call.at,
            request_id: call.request_id.to_owned(),
            operation: call.operation,
            model: model.map(str::to_owned),
            key: call.key.map(str::to_owned),
            status: call.status,
            waited: call.waited,
            attempts: call.attempts.to_vec(),
            error: call.error.map(ToString::to_string),
            others,
        };
        let mut ring = self.ring();
        while ring.calls.len() >= self.most {
            ring.calls.pop_front();
        }
        ring.calls.push_back(decision);
    }

    /// Returns the last calls, the latest first.
    pub(super) fn read(&self, most: usize) -> Value {
        let ring = self.ring();
        let calls = ring.calls.iter().rev().take(most).map(Decision::json);
        json!({ "decisions": calls.collect::<Vec<_>>(), "kept": ring.calls.len() })
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Decision {
    fn json(&self) -> Value {
        let attempts = self.attempts.iter().map(|attempt| {
            json!({
                "key": attempt.key.as_str(),
                "account": attempt.account.as_ref().map(fairkey_core::AccountId::as_str),
                "model": attempt.model.as_deref(),
                "seconds": attempt.elapsed.as_secs_f64(),
                "fault": attempt.fault.map(|fault| json!({
                    "scope": fault.scope.as_str(),
                    "cause": fault.cause.as_str(),
                    "status": fault.status,
                })),
            })
        });
        json!({
            "at": self.at.as_secs_f64(),
            "request_id": self.request_id,
            "operation": self.operation,
            "model": self.model,
            "key": self.key,
            "status": self.status,
            "waited_seconds": self.waited.as_secs_f64(),
            "attempts": attempts.collect::<Vec<_>>(),
            "error": self.error,
            "others": self.others,
        })
    }
}
