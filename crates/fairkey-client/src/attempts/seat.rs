//! Getting a key for the next attempt, with a preference for what the call has not tried.

use std::sync::Arc;

use fairkey_core::{Timestamp, Tried};
use tokio::time::{Instant, sleep_until};

use super::Stop;
use crate::admission::{self, Held, Refusal, Wish, outlook};
use crate::call::CallOptions;
use crate::core::Core;
use crate::error::{CallError, CallErrorKind, KeyState};
use crate::ledger::Ledger;
use crate::verdict::GiveUp;

/// Gets a key, waiting for it within the call's limits.
///
/// What the call has tried comes last: it is used again only when its time has come and there is
/// nothing else.
pub(crate) async fn take(
    core: &Arc<Core>,
    options: &CallOptions,
    ledger: &mut Ledger,
) -> Result<Held, Stop> {
    let began = Instant::now();
    let seat = wait(core, options, ledger, began).await;
    let waited = began.elapsed();
    if !waited.is_zero() {
        ledger.waited += waited;
        core.counters.waited(waited);
        #[cfg(feature = "tracing")]
        tracing::debug!(?waited, served = seat.is_ok(), "a call waited for a key");
    }
    seat
}

async fn wait(
    core: &Arc<Core>,
    options: &CallOptions,
    ledger: &mut Ledger,
    began: Instant,
) -> Result<Held, Stop> {
    let admission = &core.admission;
    let max_wait = admission::after(core.max_wait.saturating_sub(ledger.waited));
    let limit = ledger
        .deadline
        .map_or(max_wait, |deadline| deadline.min(max_wait));
    loop {
        let all = ledger.tried(None);
        if !all.is_empty()
            && let Ok(held) = admission.try_acquire(&wish(core, options, ledger, all.clone()))
        {
            return Ok(held);
        }
        let now = admission.pool.now();
        let tried = ledger.tried(Some(now));
        let next = ledger
            .next_return(now)
            .map(|at| admission::after(at.since(now).max(crate::backoff::SHORTEST)));
        let until = next.map_or(limit, |next| next.min(limit));
        let wish = wish(core, options, ledger, tried);
        let refusal = match admission.acquire(wish, until, &mut ledger.ticket).await {
            Ok(held) => return Ok(held),
            Err(refusal) => refusal,
        };
        if let (Some(next), false) = (next.filter(|at| *at < limit), is_overloaded(&refusal)) {
            sleep_until(next).await;
            continue;
        }
        return Err(stop(core, options, ledger, &refusal, limit, began));
    }
}

fn is_overloaded(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Overloaded)
}

fn wish(core: &Core, options: &CallOptions, ledger: &Ledger, tried: Tried) -> Wish {
    Wish {
        model: options.model.clone(),
        class: options.class,
        cost: options.cost,
        affinity: options.affinity,
        deadline: ledger.left().map(|left| core.admission.pool.now() + left),
        tried,
    }
}

/// Says why there is no key.
fn stop(
    core: &Core,
    options: &CallOptions,
    ledger: &Ledger,
    refusal: &Refusal,
    limit: Instant,
    began: Instant,
) -> Stop {
    let unavailable = match refusal {
        Refusal::Overloaded => {
            let message = format!(
                "{} calls wait for a key already; send fewer at once, or allow more to wait",
                core.admission.waiting()
            );
            return Stop::Error(CallError::new(CallErrorKind::Overloaded, message));
        }
        Refusal::TimedOut { .. } if ledger.deadline.is_some_and(|at| at <= limit) => {
            return Stop::Deadline;
        }
        Refusal::TimedOut { unavailable } => *unavailable,
        Refusal::Hopeless { unavailable } => Some(*unavailable),
    };
    // Of all keys, those included that this call has tried: the whole picture.
    let everything = wish(core, options, ledger, Tried::new());
    let outlook = outlook(&core.admission.pool.explain(&everything.ask()));
    let now = core.admission.pool.now();
    let soonest = |at: Option<Timestamp>| at.filter(|at| *at > now);
    let retry_at = soonest(outlook.soonest).or(soonest(unavailable.and_then(|u| u.retry_at)));
    let states = outlook.keys.into_iter().map(|(key, denied)| KeyState {
        refusal: core.counters.refusal(&key).map(|fault| fault.to_string()),
        key,
        denied,
    });
    let waited = began.elapsed() + ledger.waited;
    let message = if ledger.sent() > 0 && ledger.fault.is_some() && waited.is_zero() {
        "every key that the call could use has refused it".to_owned()
    } else if waited.is_zero() {
        "no key can be had".to_owned()
    } else {
        format!("no key was free within {:.1} s", waited.as_secs_f64())
    };
    let error = CallError::new(CallErrorKind::NoKey, message)
        .with_keys(states.collect())
        .with_retry(retry_at, now)
        .with_give_up((ledger.sent() > 0).then_some(GiveUp::NoKeyLeft));
    Stop::Error(error)
}
