//! Batches as the caller of rows.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use fairkey_core::{Cost, Scope};
use fairkey_openrouter::Fault;
use fairkey_openrouter::batch::BatchEndpoint;

use super::drive::prepare;
use super::shared::{self, Place, Slot};
use super::store::{Record, Stage};
use super::{Live, UpstreamBatches};
use crate::bottleneck::Bottleneck;
use crate::caller::{
    Allowance, Attempt, Bill, Caller, CallerState, Failure, KeyState, Refusal, Reply, Then,
};
use crate::row::Request;

/// What is done with rows that no batch takes.
///
/// Sealed: nothing is done, or another caller sends them.
pub trait Fallback: sealed::Sealed + Send + Sync + 'static {
    /// Sends a row that no batch takes, and `why`.
    #[doc(hidden)]
    fn send(
        &self,
        request: &Request,
        allowance: Allowance,
        why: String,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;

    #[doc(hidden)]
    fn state(&self) -> &dyn CallerState {
        &()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<C> Sealed for super::Live<C> {}
}

impl Fallback for () {
    async fn send(&self, _: &Request, _: Allowance, why: String) -> Result<Reply, Failure> {
        let message = format!("no batch takes the row: {why}");
        Err(failure(
            "not_batchable",
            message,
            Scope::Request,
            Then::Fail,
        ))
    }
}

impl<C: Caller> Fallback for Live<C> {
    async fn send(&self, request: &Request, left: Allowance, _: String) -> Result<Reply, Failure> {
        self.0.call(request, left).await
    }

    fn state(&self) -> &dyn CallerState {
        self.0.state()
    }
}

fn failure(code: &'static str, message: String, scope: Scope, then: Then) -> Failure {
    Failure {
        code: Cow::Borrowed(code),
        message,
        scope,
        cause: None,
        status: None,
        attempts: Vec::new(),
        then,
        answer: None,
    }
}

/// The row is left to a later run.
fn left(why: impl fmt::Display) -> Failure {
    failure("left", why.to_string(), Scope::Local, Then::Leave)
}

impl<F: Fallback> Caller for UpstreamBatches<F> {
    async fn call(&self, request: &Request, allowance: Allowance) -> Result<Reply, Failure> {
        if let Err(why) = prepare(&self.profiles, request) {
            return self.fallback.send(request, allowance, why).await;
        }
        let hash = shared::hash(request);
        let shared = &*self.shared;
        let mut changes = shared.changes();
        let slot = loop {
            changes.mark_unchanged();
            match shared.take(hash) {
                Place::In(slot) => break slot,
                Place::Refused(fault) => return Err(refused(&fault, Vec::new())),
                Place::Nowhere(why) => return Err(left(why)),
                Place::Later => {}
            }
            if shared.is_ended() || changes.changed().await.is_err() {
                return Err(left("the run has ended"));
            }
        };
        let record = loop {
            changes.mark_unchanged();
            if let Some(why) = shared.why_left(slot.batch) {
                return Err(left(why));
            }
            match shared.record(slot.batch) {
                Some(record) if record.stage == Stage::Collected => break record,
                Some(_) => {}
                None => return Err(left("its batch is not there any more")),
            }
            if shared.is_ended() || changes.changed().await.is_err() {
                return Err(left("its batch is under way"));
            }
        };
        self.collected(&record, slot).await
    }

    fn state(&self) -> &dyn CallerState {
        self
    }
}

impl<F: Fallback> CallerState for UpstreamBatches<F> {
    fn in_flight(&self) -> Option<u64> {
        // Whatever happens here, batches go on.
        Some(self.fallback.state().in_flight().unwrap_or(0))
    }

    fn bars(&self) -> Vec<Bottleneck> {
        let mut bars = self.fallback.state().bars();
        if !self.shared.submitted().is_empty() {
            let what = "batches that are under way upstream".to_owned();
            bars.push(Bottleneck::Keys(Some(what)));
        }
        bars
    }

    fn keys(&self) -> Vec<KeyState> {
        self.fallback.state().keys()
    }
}

impl<F> UpstreamBatches<F> {
    async fn collected(&self, record: &Record, slot: Slot) -> Result<Reply, Failure> {
        let answers = self.shared.answers(slot.batch).await;
        let answers = answers.map_err(|error| {
            left(format!(
                "the answers of batch {} cannot be read: {error}",
                slot.batch
            ))
        })?;
        let attempt = |refusal| Attempt {
            key: record.key.as_str().into(),
            account: record.account.as_deref().map(Into::into),
            refusal,
            bill: Bill::default(),
        };
        let result = answers.results.get(slot.place as usize);
        let Some(result) = result.and_then(Option::as_ref) else {
            let message = format!("batch {} has no result for the row", slot.batch);
            return Err(failure("no_result", message, Scope::Service, Then::Fail));
        };
        let answer = match &result.answer {
            Ok(answer) => answer,
            Err(fault) => {
                let refusal = Refusal {
                    scope: fault.scope(),
                    kind: fault.kind(),
                    cause: Cow::Borrowed(fault.cause().as_str()),
                    status: fault.status(),
                };
                return Err(refused(fault, vec![attempt(Some(refusal))]));
            }
        };
        let endpoint = BatchEndpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.as_str() == record.endpoint);
        if let Some(endpoint) = endpoint
            && let Some(fault) = Fault::in_answer(endpoint.path(), &answer.body)
        {
            return Err(refused(&fault, vec![attempt(None)]));
        }
        let usage = endpoint.and_then(|endpoint| answer.usage(endpoint));
        let told = usage.as_ref().and_then(|usage| usage.cost);
        let mut cost = usage.map_or(Cost::ONE, |usage| usage.cost());
        if told.is_none() {
            cost.micro_usd = answers.share_micro_usd;
        }
        Ok(Reply {
            status: answer.status,
            request_id: answer.request_id.clone().or_else(|| result.id.clone()),
            body: answer.body.clone(),
            key: record.key.as_str().into(),
            cost: Some(cost),
            attempts: vec![attempt(None)],
            waited: Duration::ZERO,
        })
    }
}

/// What becomes of a row that was refused.
fn refused(fault: &Fault, attempts: Vec<Attempt>) -> Failure {
    let cause = fault.cause().as_str();
    Failure {
        code: Cow::Borrowed(cause),
        message: fault.to_string(),
        scope: fault.scope(),
        cause: Some(Cow::Borrowed(cause)),
        status: fault.status(),
        attempts,
        then: Then::Fail,
        answer: None,
    }
}
