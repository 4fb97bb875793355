//! One attempt under way: the lease, and what is charged to whom at its end: [`Exchange`].

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fairkey_core::{Cost, KeyId, Outcome, Scope};
use fairkey_openrouter::{Fault, Usage, provider_slug};
use fairkey_transport::{Body, Deadlines, TransportError};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::admission::Held;
use crate::core::Core;
use crate::estimate::Demand;
use crate::network;
use crate::summary;

/// A lease on its way through an attempt, and the body that it rides in.
///
/// Dropped before its end, it reports a call that was given up, which is nobody's fault, unless
/// something was recorded before.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) core: Arc<Core>,
    // Before the lease: the connection is closed, and only then is the key free.
    body: Body,
    held: Option<Held>,
    key: KeyId,
    asked: Asked,
    pub(crate) deadlines: Deadlines,
    /// How the attempt ended is recorded: the first word counts.
    recorded: bool,
}

/// What an attempt asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) model: Option<Arc<str>>,
    /// How much; until an answer has said what it was.
    pub(crate) demand: Option<Demand>,
    /// Whether what is reserved is an estimate of the client's.
    pub(crate) is_estimated: bool,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// Whether the request may be running upstream all the same.
    pub(crate) may_run: bool,
}

impl Failure {
    /// A fault that the upstream told us of: what it concerns is over.
    pub(crate) fn told(fault: Fault) -> Self {
        Self {
            fault,
            may_run: false,
        }
    }

    /// A fault that we found ourselves, with the request perhaps still running.
    pub(crate) fn found(fault: Fault) -> Self {
        Self {
            fault,
            may_run: true,
        }
    }
}

impl Exchange {
    pub(crate) fn new(core: Arc<Core>, held: Held, deadlines: Deadlines) -> Self {
        let key = held.lease.key().id().clone();
        Self {
            core,
            held: Some(held),
            body: Body::empty(),
            key,
            asked: Asked::default(),
            deadlines,
            recorded: false,
        }
    }

    /// Returns the model that is asked for.
    pub(crate) fn model(&self) -> Option<&str> {
        self.asked.model.as_deref()
    }

    /// Says what is asked for.
    pub(crate) fn asking_for(mut self, asked: Asked) -> Self {
        self.asked = asked;
        self
    }

    /// Returns the fault as it is to be charged, seen beside those of other keys.
    pub(crate) fn judge(&self, fault: Fault) -> Fault {
        match &self.held {
            Some(held) if !self.recorded => {
                let key = held.lease.key();
                self.core.judge(key, self.asked.model.as_deref(), fault)
            }
            _ => fault,
        }
    }

    /// Takes the body of the answer.
    pub(crate) fn receive(&mut self, body: Body) {
        self.body = body;
    }

    /// Returns the rest of the body.
    pub(crate) fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Returns the label of the key.
    pub(crate) fn key(&self) -> &KeyId {
        &self.key
    }

    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Notes that the first content has come.
    pub(crate) fn note_first_content(&mut self) {
        if let Some(held) = &mut self.held {
            held.lease.note_first_content();
        }
    }

    /// Notes what the call used, once.
    pub(crate) fn note_used(&mut self, usage: &Usage) {
        let Some(held) = &mut self.held else { return };
        let Some(cost) = summary::cost(usage) else {
            return;
        };
        held.note_actual(cost);
        self.core.counters.used(cost);
        // Once: what comes later in a stream repeats it.
        let Asked {
            model: Some(model),
            demand: Some(demand),
            is_estimated,
        } = &self.asked
        else {
            return;
        };
        let estimated = is_estimated.then(|| held.lease.reserved().tokens);
        let now = self.core.wall.since_epoch().as_secs();
        let learnt = (self.core.estimates).learn(model, demand, usage, estimated, now);
        if learnt.worth_saving {
            self.core.knowledge.change();
        }
        if learnt.is_news {
            self.core.admission.reconsider(model);
        }
        self.asked.demand = None;
    }

    /// Records that the answer is whole, of `provider` where it names one, unless something else
    /// is recorded. The lease goes on while the body does.
    pub(crate) fn record_success(&mut self, provider: Option<&str>) {
        if !self.recorded {
            self.record(Outcome::Success);
            if let Some(held) = &self.held {
                let (key, begun) = (held.lease.key(), held.lease.begun());
                self.core
                    .note_success(key, self.asked.model.as_deref(), begun);
                if let (Some(provider), Some(model), Some(gates)) =
                    (provider, &self.asked.model, &self.core.gates)
                    && gates.models.is_told_of_any()
                {
                    let now = self.core.admission.pool.now();
                    gates
                        .models
                        .success(model, &provider_slug(provider), begun, now);
                }
            }
        }
    }

    /// Records who is to be charged, unless something else is recorded. The lease goes on while
    /// the body does.
    pub(crate) fn record_fault(&mut self, fault: &Fault) {
        if !self.recorded && self.held.is_some() {
            let now = self.core.admission.pool.now();
            self.core.counters.fault(&self.key, fault, now);
            self.core.log_fault(&self.key, fault);
            self.note(fault);
            let outcome = self.outcome(fault);
            if fault.cause().is_free_quota()
                && let Some(held) = &mut self.held
            {
                // Told to one gate only, it is no refusal to the others: it used nothing.
                held.lease.note_actual(Cost::ONE);
            }
            self.record(outcome);
        }
    }

    /// Tells those of a fault who are no gates.
    fn note(&self, fault: &Fault) {
        let Some(held) = &self.held else { return };
        let (core, key) = (&self.core, held.lease.key());
        let (now, wall) = (core.admission.pool.now(), core.wall.since_epoch());
        let standings = &core.keyed.standings;
        standings.fault(key, self.asked.model.as_deref(), fault, wall, now);
        if matches!(fault.scope(), Scope::Key | Scope::Budget | Scope::Account) {
            core.knowledge.alarm(key.id());
        }
        core.take_told(key, self.asked.model.as_deref(), fault);
        if fault.scope() == Scope::Budget {
            core.close_budget(key, fault);
        }
        // A provider without a name says nothing of the model's others.
        let provider = fault.provider();
        let is_told = match fault.scope() {
            Scope::Model => true,
            Scope::Provider => provider.is_some(),
            _ => false,
        };
        if let (true, Some(model), Some(gates)) = (is_told, &self.asked.model, &core.gates)
            && let Outcome::Fault { kind, retry, .. } = fault.outcome(now, wall)
        {
            // By slug, as requests pin them.
            let provider = provider.filter(|_| fault.scope() == Scope::Provider);
            let provider = provider.map(provider_slug);
            let provider = provider.as_deref();
            let begun = held.lease.begun();
            (gates.models).fault(model, provider, kind, retry, begun, now);
        }
    }

    /// Returns what the pool is told of a fault.
    fn outcome(&self, fault: &Fault) -> Outcome {
        let core = &self.core;
        let (now, wall) = (core.admission.pool.now(), core.wall.since_epoch());
        let outcome = fault.outcome(now, wall);
        if let Some(outcome) = self.learn(fault, outcome) {
            return outcome;
        }
        if fault.cause().is_free_quota()
            && let (Some(Held { lease, .. }), Outcome::Fault { kind, retry, .. }) =
                (&self.held, outcome)
        {
            // Of the account, only its free models are out: a matter of one gate.
            core.free_models
                .fault(lease.key(), kind, retry, lease.begun(), now);
            return Outcome::Neutral;
        }
        outcome
    }

    fn record(&mut self, outcome: Outcome) {
        self.recorded = true;
        if let Some(held) = &mut self.held {
            held.lease.record(outcome);
        }
    }

    /// Ends the attempt: gates and strategy hear what was recorded, and the key is free.
    pub(crate) fn end(&mut self) {
        self.body = Body::empty();
        self.held = None;
    }

    /// Ends the attempt with a fault.
    pub(crate) fn fail(&mut self, fault: &Fault) {
        self.record_fault(fault);
        self.end();
    }

    /// Ends the attempt with an error of the transport.
    pub(crate) fn fail_in_transport(&mut self, error: &TransportError) -> Failure {
        let fault = network::fault(error, &self.deadlines, &self.core.deadlines);
        self.fail(&fault);
        Failure {
            fault,
            may_run: network::may_run(error),
        }
    }

    /// Polls the body for its next frame. Whatever comes, the lease stays: the caller decides.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    /// Reads the next piece of the body; trailers are skipped.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Some(Ok(chunk));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Returns when the call is over, as [`Body::deadline`] does.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.body.deadline()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
