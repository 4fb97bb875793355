//! One attempt, and a second one beside it where its first content is late.

use std::sync::Arc;

use fairkey_core::{AccountTenure, KeyId, Scope, Tenure};
use tokio::time::{Instant, timeout};

use super::{Accepted, Failed, attempt, seat};
use crate::admission::Held;
use crate::answer::{AttemptFault, Bill};
use crate::core::Core;
use crate::hedge::Hedging;
use crate::ledger::Ledger;

/// Whose attempt it is.
pub(super) struct Seat {
    pub(super) id: KeyId,
    pub(super) tenure: Tenure,
    pub(super) account: AccountTenure,
}

impl Seat {
    fn of(held: &Held) -> Self {
        let key = held.lease.key();
        Self {
            id: key.id().clone(),
            tenure: key.tenure(),
            account: key.account_tenure(),
        }
    }
}

/// Makes an attempt that the ledger has booked, and a second one where `hedging` says so. Returns
/// the attempt that decides: the first that has content, else the last that failed. The other one
/// is booked, and over.
pub(super) async fn run(
    core: &Arc<Core>,
    ledger: &mut Ledger,
    held: Held,
    hedging: Option<&Hedging>,
) -> (Seat, Result<Accepted, Box<Failed>>) {
    let first = Seat::of(&held);
    let job = Arc::clone(&ledger.job);
    let (body, asked) = (ledger.body(), ledger.asked());
    // In boxes: an attempt is large, and there would be a place for it wherever it is awaited.
    let mut primary = Box::pin(attempt(core, job, body, asked, ledger.left(), held));
    let (Some(hedging), Some(model)) = (hedging, ledger.model().cloned()) else {
        return (first, primary.await);
    };
    let began = Instant::now();
    let early = match hedging.late_after(&model) {
        Some(late) => timeout(late, primary.as_mut()).await.ok(),
        None => Some(primary.as_mut().await),
    };
    let second = match &early {
        Some(_) => None,
        None => seat::beside(core, ledger, &first, hedging),
    };
    let Some(held) = second else {
        let result = match early {
            Some(result) => result,
            None => primary.await,
        };
        if result.is_ok() {
            hedging.note(&model, began.elapsed());
        }
        return (first, result);
    };
    let second = Seat::of(&held);
    core.counters.attempts.up();
    core.counters.hedges.up();
    ledger.hedge(held.lease.key(), core.admission.pool.now());
    let job = Arc::clone(&ledger.job);
    let (body, asked) = (ledger.body(), ledger.asked());
    let mut hedge = Box::pin(attempt(core, job, body, asked, ledger.left(), held));
    let (is_hedge, result) = tokio::select! {
        biased;
        result = primary.as_mut() => (false, result),
        result = hedge.as_mut() => (true, result),
    };
    let (sooner, later) = if is_hedge {
        (second, first)
    } else {
        (first, second)
    };
    let now = core.admission.pool.now();
    match result {
        Ok(accepted) => {
            core.counters.hedges_won.add(u64::from(is_hedge));
            // Where the second attempt won, the first would have taken longer.
            hedging.note(&model, began.elapsed());
            // It ends with this function, which polls it no more.
            ledger.settle(&later.id, AttemptFault::given_up(), Bill::default(), now);
            (sooner, Ok(accepted))
        }
        Err(failed) => {
            let fault = &failed.failure.fault;
            // What is wrong with the request is wrong with both.
            if fault.scope() == Scope::Request {
                ledger.settle(&later.id, AttemptFault::given_up(), Bill::default(), now);
                return (sooner, Err(failed));
            }
            ledger.settle(&sooner.id, failed.in_short(), failed.bill, now);
            let began = ledger.last_began().unwrap_or(now);
            let back = super::may_be_tried_again_at(core, fault, &sooner.id, began, now);
            match fault.scope() {
                Scope::Key | Scope::Budget => ledger.exclude_key(sooner.tenure, back, false),
                Scope::Account => ledger.exclude_account(sooner.account, back, false),
                _ => {}
            }
            let result = if is_hedge { primary.await } else { hedge.await };
            core.counters
                .hedges_won
                .add(u64::from(!is_hedge && result.is_ok()));
            (later, result)
        }
    }
}
