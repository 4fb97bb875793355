//! What becomes of one request, from its head to its end: [`Report`].
//!
//! Whoever learns something about a request adds it: the tenant, the key, the end. When the last
//! one lets go, the request is over, and is counted and written down once, whichever way it went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_client::{Attempt, Client};
use fairkey_core::{Cost, KeyId, Timestamp};
use http::Method;
use http::request::Parts;

use crate::record::{CallRecord, Observer};
use crate::trace::TraceParent;
use crate::{AccessLog, End, Metrics, Operation, Reason, Tenant, Used};

/// Who hears of requests that are over.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) metrics: Metrics,
    pub(crate) log: Option<AccessLog>,
    observers: Vec<Arc<dyn Observer>>,
    /// Its clock.
    client: Client,
}

/// One request. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Report(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reports: Arc<Reports>,
    id: Arc<str>,
    method: Method,
    began: Timestamp,
    trace: Option<TraceParent>,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    operation: Option<Operation>,
    tenant: Option<Arc<Tenant>>,
    model: Option<Arc<str>>,
    is_stream: bool,
    status: u16,
    reason: Option<Reason>,
    end: Option<End>,
    attempts: Vec<Attempt>,
    key: Option<KeyId>,
    queued: Duration,
    first_content: Option<Duration>,
    total: Option<Duration>,
    used: Option<Used>,
    generation: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Reports {
    pub(crate) fn new(
        metrics: Metrics,
        log: Option<AccessLog>,
        observers: Vec<Arc<dyn Observer>>,
        client: Client,
    ) -> Self {
        Self {
            metrics,
            log,
            observers,
            client,
        }
    }

    /// Opens the report of a request.
    pub(crate) fn open(self: &Arc<Self>, id: Arc<str>, head: &Parts) -> Report {
        let trace = || head.headers.get("traceparent")?.to_str().ok();
        let trace = match self.observers.is_empty() {
            true => None,
            false => trace().and_then(TraceParent::parse),
        };
        Report(Arc::new(Inner {
            reports: Arc::clone(self),
            id,
            method: head.method.clone(),
            trace,
            began: self.client.pool().now(),
            facts: Mutex::default(),
        }))
    }
}

impl Report {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        // Nothing foreign runs under it.
        (self.0.facts.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        self.0.reports.client.pool().now().since(self.0.began)
    }

    pub(crate) fn of(&self, operation: Operation, tenant: &Arc<Tenant>) {
        let mut facts = self.facts();
        facts.operation = Some(operation);
        facts.tenant = Some(Arc::clone(tenant));
    }

    /// Says what the body asks for, and how long it is.
    pub(crate) fn asks(&self, model: Option<&Arc<str>>, is_stream: bool, bytes: u64) {
        let mut facts = self.facts();
        facts.model = model.cloned();
        facts.is_stream = is_stream;
        facts.bytes_in = bytes;
    }

    /// Says what was tried, and how long the call waited for keys.
    pub(crate) fn tried(&self, attempts: Vec<Attempt>, queued: Duration) {
        let mut facts = self.facts();
        facts.attempts = attempts;
        facts.queued = queued;
    }

    /// Says which key alone could serve, and did.
    pub(crate) fn served_by(&self, key: &KeyId) {
        self.facts().key = Some(key.clone());
    }

    /// Says that the first content is there.
    pub(crate) fn content(&self) {
        let elapsed = self.elapsed();
        self.facts().first_content = Some(elapsed);
    }

    /// Says what the caller is answered; `bytes` of a body that is whole.
    pub(crate) fn answered(&self, status: u16, reason: Option<Reason>, bytes: Option<u64>) {
        let mut facts = self.facts();
        facts.status = status;
        facts.reason = reason.or(facts.reason);
        facts.bytes_out = bytes.unwrap_or(facts.bytes_out);
    }

    /// Says that the head is out, and nothing behind it yet: where nothing more is said, the caller
    /// has left.
    pub(crate) fn waits(&self) {
        self.facts().end = Some(End::Left);
    }

    /// Says why a stream failed whose head was out.
    pub(crate) fn failed(&self, reason: Reason) {
        let mut facts = self.facts();
        facts.reason = Some(reason);
        facts.end = None;
    }

    /// Says that nobody waits for the answer any more, though something may still be learned of it.
    pub(crate) fn over(&self) {
        let elapsed = self.elapsed();
        self.facts().total.get_or_insert(elapsed);
    }

    /// Says how an answer ended, what it used, and how much of it was passed on.
    pub(crate) fn ended(&self, end: End, cost: Option<Cost>, generation: Option<&str>, bytes: u64) {
        let mut facts = self.facts();
        facts.end = Some(end);
        facts.used = cost.map(|cost| Used {
            tokens: cost.tokens,
            micro_usd: cost.micro_usd,
        });
        facts.generation = generation.map(str::to_owned);
        facts.bytes_out = facts.bytes_out.max(bytes);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let now = self.reports.client.pool().now();
        let facts = self.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let end = match facts.status {
            // Nobody was there any more to be answered.
            0 => facts.end.or(Some(End::Left)),
            _ => facts.end,
        };
        let record = CallRecord {
            request_id: &self.id,
            tenant: facts.tenant.as_ref().map_or("", |tenant| tenant.id()),
            method: self.method.as_str(),
            operation: facts.operation.map_or("none", Operation::as_str),
            model: facts.model.as_deref(),
            trace: self.trace,
            began: self.began,
            age: now.since(self.began),
            is_stream: facts.is_stream,
            status: facts.status,
            reason: facts.reason,
            end,
            attempts: &facts.attempts,
            key: facts.key.as_ref(),
            queued: facts.queued,
            first_content: facts.first_content,
            total: facts.total.unwrap_or_else(|| now.since(self.began)),
            used: facts.used,
            generation: facts.generation.as_deref(),
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
        };
        self.reports.metrics.record(&record);
        if let Some(log) = &self.reports.log {
            log.write(&record);
        }
        for observer in &self.reports.observers {
            observer.over(&record);
        }
    }
}
