//! One call in progress: it ends exactly once, whatever becomes of it.
//!
//! A [`Call`] is a guard. It is made when a call was received, rides with the answer until its last
//! byte, and says how it ended: whole, refused, failed, or broken off. Dropped before that, the
//! client has left; the guard then bills what had been produced, and says so in the log.

use std::sync::Arc;

use crate::ask::tokens;
use crate::catalog::Entry as ModelEntry;
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::log::{Entry, EventKind, Who};
use crate::money::Money;
use crate::script::Break;
use crate::server::Shared;
use crate::wire::Preamble;
use crate::world::{Admission, Generation};

pub(crate) struct Call {
    shared: Arc<Shared>,
    request: u64,
    who: Option<Who>,
    model: Option<Arc<str>>,
    bill: Option<Bill>,
    /// The status of a scripted answer in raw bytes.
    scripted: Option<u16>,
    chunks: u64,
    stalled: bool,
    ended: bool,
    speaks_messages: bool,
}

/// What a dispatched call owes when it ends.
pub(crate) struct Bill {
    pub(crate) admission: Admission,
    pub(crate) account: usize,
    pub(crate) entry: Arc<ModelEntry>,
    /// Which of its providers serves the call.
    pub(crate) provider: usize,
    pub(crate) preamble: Preamble,
    pub(crate) created: Timestamp,
    pub(crate) prompt_tokens: u64,
    /// Tokens of the whole answer.
    pub(crate) completion_tokens: u64,
    pub(crate) finish_reason: &'static str,
    pub(crate) stream: bool,
    /// Whether the provider stops when the client leaves a stream.
    pub(crate) cancels: bool,
    /// Bytes of content that went out.
    pub(crate) produced: usize,
    /// The fault that the answer ends in, inside its 200. Nothing is charged for it.
    pub(crate) fault: Option<&'static str>,
}

impl Call {
    /// Takes note of a call.
    pub(crate) fn received(
        shared: &Arc<Shared>,
        who: Option<Who>,
        model: Option<Arc<str>>,
        kind: EventKind,
    ) -> Self {
        let call = Self {
            shared: Arc::clone(shared),
            request: shared.next_request(),
            who,
            model,
            bill: None,
            scripted: None,
            chunks: 0,
            stalled: false,
            ended: false,
            speaks_messages: false,
        };
        call.log(kind, Money::ZERO);
        call
    }

    /// Its errors are written as `/messages` writes them.
    pub(crate) fn speak_messages(&mut self) {
        self.speaks_messages = true;
    }

    pub(crate) fn speaks_messages(&self) -> bool {
        self.speaks_messages
    }

    /// A script answers it, byte for byte, with this status.
    pub(crate) fn scripted(&mut self, status: u16) {
        self.scripted = Some(status);
    }

    /// From here on the call owes something.
    pub(crate) fn dispatched(&mut self, bill: Bill) {
        self.model = Some(Arc::clone(&bill.preamble.model));
        self.bill = Some(bill);
    }

    /// A chunk with `bytes` bytes of content went out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.chunks += 1;
        if let Some(bill) = &mut self.bill {
            bill.produced += bytes;
        }
    }

    /// The whole answer went out.
    pub(crate) fn finish(&mut self, status: u16) {
        if self.ended {
            return;
        }
        if let Some(status) = self.scripted {
            return self.fault(status, "reply");
        }
        let Some(bill) = self.bill.take() else {
            let kind = EventKind::Finished {
                status,
                prompt_tokens: 0,
                completion_tokens: 0,
                cost_usd: 0.0,
            };
            return self.end(kind, Money::ZERO);
        };
        if let Some(fault) = bill.fault {
            self.settle(bill, Money::ZERO, 0, false);
            return self.end(EventKind::Faulted { status, fault }, Money::ZERO);
        }
        let (prompt_tokens, completion_tokens) = (bill.prompt_tokens, bill.completion_tokens);
        let cost = bill
            .entry
            .cost(bill.provider, prompt_tokens, completion_tokens);
        self.settle(bill, cost, completion_tokens, false);
        let cost_usd = cost.usd();
        self.end(
            EventKind::Finished {
                status,
                prompt_tokens,
                completion_tokens,
                cost_usd,
            },
            cost,
        );
    }

    /// The mock's rules refused it.
    pub(crate) fn refuse(&mut self, fault: &Fault) {
        let limit_source = fault.limit_source().map(str::to_owned);
        let kind = EventKind::Refused {
            status: fault.status(),
            fault: fault.name(),
            limit_source,
            limit: fault.limit().map(str::to_owned),
        };
        self.give_back();
        self.end(kind, Money::ZERO);
    }

    /// A script or chance answered it.
    pub(crate) fn fault(&mut self, status: u16, fault: &'static str) {
        self.give_back();
        self.end(EventKind::Faulted { status, fault }, Money::ZERO);
    }

    /// A script or chance broke it off. What was produced is billed.
    pub(crate) fn broken(&mut self, how: Break) {
        let chunks = self.chunks;
        let (cost, _) = self.settle_cancelled();
        self.end(EventKind::Broken { how, chunks }, cost);
    }

    /// A script or chance holds it back; said once.
    pub(crate) fn stalled(&mut self) {
        if !self.stalled {
            self.stalled = true;
            self.log(
                EventKind::Stalled {
                    chunks: self.chunks,
                },
                Money::ZERO,
            );
        }
    }

    fn end(&mut self, kind: EventKind, cost: Money) {
        if !self.ended {
            self.ended = true;
            self.log(kind, cost);
        }
    }

    fn log(&self, kind: EventKind, cost: Money) {
        self.shared.log.push(Entry {
            at: self.shared.clock.now(),
            request: Some(self.request),
            who: self.who.as_ref(),
            model: self.model.as_ref(),
            kind,
            cost,
        });
    }

    /// Nothing was produced and nothing is owed.
    fn give_back(&mut self) {
        if let Some(bill) = self.bill.take() {
            self.shared.world().settle(&bill.admission, Money::ZERO, 0);
        }
    }

    /// Bills a call that ended early: of a stream at a provider that stops, what was produced, and
    /// nothing if that is nothing; of anything else, all of it.
    fn settle_cancelled(&mut self) -> (Money, u64) {
        let Some(bill) = self.bill.take() else {
            return (Money::ZERO, 0);
        };
        let completion_tokens = match (&bill.fault, bill.stream && bill.cancels) {
            (Some(_), _) => 0,
            (None, true) => tokens(bill.produced),
            (None, false) => bill.completion_tokens,
        };
        let cost = match completion_tokens {
            0 => Money::ZERO,
            some => bill.entry.cost(bill.provider, bill.prompt_tokens, some),
        };
        self.settle(bill, cost, completion_tokens, true);
        (cost, completion_tokens)
    }

    fn settle(&self, bill: Bill, cost: Money, completion_tokens: u64, cancelled: bool) {
        let mut world = self.shared.world();
        world.settle(&bill.admission, cost, completion_tokens);
        world.generations.add(Generation {
            id: bill.preamble.id,
            account: bill.account,
            model: bill.preamble.model,
            provider: bill.preamble.provider,
            created: bill.created,
            ended: self.shared.clock.now(),
            prompt_tokens: bill.prompt_tokens,
            completion_tokens,
            cost,
            streamed: bill.stream,
            cancelled,
            finish_reason: if bill.fault.is_some() {
                "error"
            } else {
                bill.finish_reason
            },
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let chunks = self.chunks;
        let (cost, completion_tokens) = self.settle_cancelled();
        let kind = EventKind::Cancelled {
            chunks,
            completion_tokens,
            cost_usd: cost.usd(),
        };
        self.end(kind, cost);
    }
}
