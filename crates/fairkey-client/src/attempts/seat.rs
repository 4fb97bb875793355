//! Getting a key for the next attempt, with a preference for what the call has not tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Denied, KeyId, Scope, Timestamp, Tried};
use tokio::time::{Instant, sleep_until};

use super::Stop;
use crate::admission::{self, Held, Refusal, Wish, outlook};
use crate::call::CallOptions;
use crate::core::Core;
use crate::error::{CallError, CallErrorKind, KEYS_IN_DETAIL, KeyCount, KeyState, Keys};
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
    let keys = key_states(core, outlook.keys, now);
    let waited = began.elapsed() + ledger.waited;
    let message = if waited >= WORTH_TELLING {
        format!("no key was free within {:.1} s", waited.as_secs_f64())
    } else if ledger.sent() > 0 && ledger.fault.is_some() {
        "every key that the call could use has refused it".to_owned()
    } else {
        "no key can be had".to_owned()
    };
    let error = CallError::new(CallErrorKind::NoKey, message)
        .with_keys(keys)
        .with_retry(retry_at, now)
        .with_give_up((ledger.sent() > 0).then_some(GiveUp::NoKeyLeft));
    Stop::Error(error)
}

/// A shorter wait is none: the look at the keys took that long.
const WORTH_TELLING: Duration = Duration::from_millis(50);

/// Says what stands before each key, those that open soonest first; of many, the first few in
/// detail, and all in numbers.
fn key_states(core: &Core, mut keys: Vec<(KeyId, Option<Denied>)>, now: Timestamp) -> Keys {
    let mut counts = BTreeMap::new();
    for (_, denied) in &keys {
        let by = denied.map(|denied| denied.by);
        let is_for_good = denied.is_some_and(|denied| denied.until.is_none());
        *counts.entry((by, is_for_good)).or_insert(0) += 1;
    }
    // Free or busy; then by time; then those that are out for good. Stable: else by slot.
    keys.sort_by_key(|(_, denied)| match denied {
        None => (0, None),
        Some(denied) if denied.by == Scope::Local => (0, denied.until),
        Some(denied) if denied.until.is_some() => (1, denied.until),
        Some(_) => (2, None),
    });
    keys.truncate(KEYS_IN_DETAIL);
    let detail = keys.into_iter().map(|(key, denied)| {
        let refusal = core.counters.refusal(&key);
        KeyState {
            refusal: refusal.map(|(fault, _)| fault.to_string()),
            refused_ago: refusal.map(|(_, at)| now.since(at)),
            opens_in: denied.and_then(|denied| Some(denied.until?.since(now))),
            key,
            denied,
        }
    });
    let count = |((by, is_for_good), count)| KeyCount {
        by,
        is_for_good,
        count,
    };
    Keys {
        detail: detail.collect(),
        counts: counts.into_iter().map(count).collect(),
    }
}
