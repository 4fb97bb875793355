//! Getting a key for the next attempt, with a preference for what the call has not tried.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fairkey_core::{Ask, Denied, KeyId, Scope, Timestamp, Tried};
use fairkey_strategy::queue::{Full, Refused};
use tokio::time::{Instant, sleep_until};

use super::Stop;
use super::hedged::Seat;
use crate::admission::{self, Held, Place, Refusal, Wish, outlook};
use crate::core::Core;
use crate::error::{CallError, CallErrorKind, KEYS_IN_DETAIL, KeyCount, KeyState, Keys};
use crate::hedge::Hedging;
use crate::ledger::Ledger;
use crate::verdict::GiveUp;

/// Gets a key, waiting for it within the call's limits: then the ledger holds it. The first look
/// is made at once, before the future is polled.
///
/// What the call has tried comes last: it is used again only when its time has come and there is
/// nothing else.
pub(crate) fn take<'a>(core: &'a Arc<Core>, ledger: &'a mut Ledger) -> Taking<'a> {
    // The first time, the call began a moment ago, and waits from then on.
    let began = if ledger.is_new() {
        ledger.started
    } else {
        Instant::now()
    };
    if ledger.is_plain() {
        first_look(core, ledger, began)
    } else {
        Taking::Search(Box::pin(search_and_note(core, ledger, began)))
    }
}

/// A call that gets a key. As small as it can be, since very many may wait.
pub(crate) enum Taking<'a> {
    /// It has one, or gets none.
    Over(Option<Result<(), Stop>>),
    /// The usual call waits: it names one model, and has tried nothing.
    Line {
        core: &'a Arc<Core>,
        ledger: &'a mut Ledger,
        place: Place,
        began: Instant,
    },
    /// A call that names other models, or has tried some keys.
    Search(Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'a>>),
}

impl Future for Taking<'_> {
    type Output = Result<(), Stop>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let this = self.get_mut();
        let result = match this {
            // Polled again after its end, it has nothing to say.
            Self::Over(result) => return result.take().map_or(Poll::Pending, Poll::Ready),
            Self::Search(search) => ready!(search.as_mut().poll(cx)),
            Self::Line {
                core,
                ledger,
                place,
                began,
            } => {
                let granted = ready!(place.poll(cx, || limit(core, ledger, *began)));
                ledger.keep_ticket(Some(place.ticket()));
                let result = match granted {
                    Ok(held) => {
                        ledger.hold(*held);
                        Ok(())
                    }
                    Err(refusal) => Err(give_up(core, ledger, &refusal, *began)),
                };
                note_wait(core, ledger, *began, result.is_ok());
                result
            }
        };
        *this = Self::Over(None);
        Poll::Ready(result)
    }
}

fn first_look<'a>(core: &'a Arc<Core>, ledger: &'a mut Ledger, began: Instant) -> Taking<'a> {
    let wish = wish(core, ledger, Tried::new(), None);
    let until = limit(core, ledger, began);
    let mut ticket = ledger.ticket();
    if let Some(held) = core.admission.look_first(&wish, until, &mut ticket) {
        ledger.keep_ticket(ticket);
        ledger.hold(held);
        return Taking::Over(Some(Ok(())));
    }
    match core.admission.enter(wish, until, ticket) {
        Ok(place) => Taking::Line {
            core,
            ledger,
            place,
            began,
        },
        Err(refusal) => {
            ledger.keep_ticket(ticket);
            let stop = give_up(core, ledger, &refusal, began);
            Taking::Over(Some(Err(stop)))
        }
    }
}

fn note_wait(core: &Core, ledger: &mut Ledger, began: Instant, served: bool) {
    let waited = began.elapsed();
    if !waited.is_zero() {
        ledger.note_waited(waited);
        core.counters.waited(waited);
        #[cfg(feature = "tracing")]
        tracing::debug!(?waited, served, "a call waited for a key");
        #[cfg(not(feature = "tracing"))]
        let _ = served;
    }
}

fn give_up(core: &Arc<Core>, ledger: &Ledger, refusal: &Refusal, began: Instant) -> Stop {
    stop(core, ledger, refusal, limit(core, ledger, began), began)
}

/// Returns until when a call may wait that began to then.
fn limit(core: &Core, ledger: &Ledger, began: Instant) -> Instant {
    let max_wait = *core.queue.max_wait.of(ledger.job.class);
    let max_wait = max_wait
        .unwrap_or(Duration::MAX)
        .saturating_sub(ledger.waited());
    let max_wait = admission::after_from(began, max_wait);
    (ledger.deadline()).map_or(max_wait, |deadline| deadline.min(max_wait))
}

/// Gets a key for a second attempt beside the first, at once or not at all: where what `hedging`
/// asks for holds.
pub(super) fn beside(
    core: &Arc<Core>,
    ledger: &Ledger,
    first: &Seat,
    hedging: &Hedging,
) -> Option<Held> {
    let admission = &core.admission;
    let has_left = ledger.spent().attempts < ledger.job.retry(&core.retry).attempts;
    if !has_left || !hedging.is_cheap(ledger.cost(core)) || admission.waiting() > 0 {
        return None;
    }
    let now = admission.pool.now();
    let (mut elsewhere, mut tried) = (ledger.tried(None), ledger.tried(None));
    elsewhere.add_account(first.account);
    tried.add_key(first.tenure);
    // Another account first: what keeps this one waiting may be its own.
    for tried in [elsewhere, tried] {
        let wish = wish(core, ledger, tried, None);
        let Ok(held) = admission.try_acquire(&wish) else {
            continue;
        };
        // Of what is left with this very call under way.
        let left = core.limits.headroom(held.lease.key(), &wish.ask(), now);
        if left >= hedging.config.min_headroom && hedging.withdraw(now) {
            return Some(held);
        }
    }
    None
}

async fn search_and_note(
    core: &Arc<Core>,
    ledger: &mut Ledger,
    began: Instant,
) -> Result<(), Stop> {
    let result = search(core, ledger, began).await;
    note_wait(core, ledger, began, result.is_ok());
    ledger.hold(result?);
    Ok(())
}

async fn search(core: &Arc<Core>, ledger: &mut Ledger, began: Instant) -> Result<Held, Stop> {
    let admission = &core.admission;
    let limit = limit(core, ledger, began);
    let patience = admission::after(core.retry.patience).min(limit);
    let mut options = Options {
        core,
        passed_over: Vec::new(),
        patience: None,
    };
    loop {
        match options.look(ledger, patience) {
            Some(held) => return Ok(held),
            None => options.patience = options.has_more(ledger).then_some(patience),
        }
        let now = admission.pool.now();
        let tried = ledger.tried(Some(now));
        let next = ledger.next_return(now).map(|at| {
            let wait = at.since(now).max(crate::backoff::SHORTEST);
            admission::after(wait)
        });
        let until = next.map_or(limit, |next| next.min(limit));
        let wish = wish(core, ledger, tried, options.patience);
        let mut ticket = ledger.ticket();
        let seat = admission.acquire(wish, until, &mut ticket).await;
        ledger.keep_ticket(ticket);
        let refusal = match seat {
            Ok(held) => return Ok(held),
            Err(refusal) => refusal,
        };
        let next = next.filter(|at| *at < limit);
        match (&refusal, next) {
            (Refusal::Overloaded { .. }, _) => {}
            // Rather another model than no answer, or one so late.
            (_, next) if options.patience.is_some() && next.is_none_or(|at| at > patience) => {
                options.pass_over(ledger, refusal.retry_at());
                continue;
            }
            (_, Some(next)) => {
                sleep_until(next).await;
                continue;
            }
            (_, None) => {}
        }
        return Err(stop(core, ledger, &refusal, limit, began));
    }
}

/// What a call wants, and which of its models it has found no key for.
struct Options<'a> {
    core: &'a Arc<Core>,
    /// The places of these models, with the soonest time at which there may be a key.
    passed_over: Vec<(usize, Option<Timestamp>)>,
    /// Until when the present model is waited for, where there is another one.
    patience: Option<Instant>,
}

impl Options<'_> {
    /// Looks for a key at once, for the models in the order of preference; stays with the first
    /// that is worth waiting for, or with the one that opens first.
    fn look(&mut self, ledger: &mut Ledger, patience: Instant) -> Option<Held> {
        let admission = &self.core.admission;
        loop {
            let candidates = ledger.candidates();
            let next = candidates.iter().find(|at| !self.is_passed_over(**at));
            let at = *next.unwrap_or_else(|| {
                let soonest = candidates.iter().min_by_key(|at| {
                    let passed = self.passed_over.iter().find(|(passed, _)| passed == *at);
                    let time = passed.and_then(|(_, time)| *time);
                    time.map_or(u64::MAX, Timestamp::as_nanos)
                });
                soonest.unwrap_or(&candidates[0])
            });
            ledger.ask_for(at);
            let all = ledger.tried(None);
            if all.is_empty() && candidates.len() == 1 {
                // The usual call: whoever waits for a key looks first.
                return None;
            }
            let refused = match admission.try_acquire(&wish(self.core, ledger, all, self.patience))
            {
                Ok(held) => return Some(held),
                Err(refused) => refused,
            };
            match refused.filter(|it| admission.is_too_long(it, patience)) {
                Some(closed) if next.is_some() && candidates.len() > 1 => {
                    self.pass_over(ledger, closed.retry_at);
                }
                _ => return None,
            }
        }
    }

    fn pass_over(&mut self, ledger: &Ledger, until: Option<Timestamp>) {
        self.passed_over.push((ledger.model_at(), until));
    }

    fn is_passed_over(&self, at: usize) -> bool {
        self.passed_over.iter().any(|(passed, _)| *passed == at)
    }

    /// Returns whether the call may go on to another model instead of waiting for the present
    /// one: the last resort, where all were passed over, is waited for.
    fn has_more(&self, ledger: &Ledger) -> bool {
        ledger.other_models() > 0 && !self.is_passed_over(ledger.model_at())
    }
}

fn wish(core: &Core, ledger: &Ledger, tried: Tried, patience: Option<Instant>) -> Wish {
    Wish {
        job: Arc::clone(&ledger.job),
        model: ledger.model().cloned(),
        cost: ledger.cost(core),
        deadline: ledger.left().map(|left| core.admission.pool.now() + left),
        tried: (!tried.is_empty()).then(|| Box::new(tried)),
        patience: patience.map(Box::new),
    }
}

/// Says why there is no key.
fn stop(core: &Core, ledger: &Ledger, refusal: &Refusal, limit: Instant, began: Instant) -> Stop {
    let told = match refusal {
        Refusal::Overloaded { refused, now } => {
            let error = CallError::new(CallErrorKind::Overloaded, overloaded(core, refused));
            return Stop::Error(error.with_queue(*refused, *now));
        }
        Refusal::TimedOut { .. } if ledger.deadline().is_some_and(|at| at <= limit) => {
            return Stop::Deadline;
        }
        _ => refusal.retry_at(),
    };
    // Of all keys, those included that this call has tried: the whole picture.
    let everything = wish(core, ledger, Tried::new(), None);
    let outlook = outlook(&core.admission.pool.explain(&everything.ask()));
    let now = core.admission.pool.now();
    let soonest = |at: Option<Timestamp>| at.filter(|at| *at > now);
    let retry_at = soonest(outlook.soonest).or(soonest(told));
    let keys = key_states(core, outlook.keys, &everything.ask(), now);
    let waited = began.elapsed() + ledger.waited();
    let message = if waited >= WORTH_TELLING {
        format!("no key was free within {:.1} s", waited.as_secs_f64())
    } else if ledger.sent() > 0 && ledger.has_fault() {
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

/// Says why a call may not wait.
fn overloaded(core: &Core, refused: &Refused) -> String {
    let waiting = core.admission.waiting();
    let whose = match refused.why {
        Full::Class => " of this class",
        Full::Tenant => " of this tenant",
        Full::TooLate => {
            return format!(
                "{waiting} calls wait for a key already, and this one would wait for longer than it may"
            );
        }
        _ => "",
    };
    format!(
        "as many calls{whose} as may wait for a key do already; send fewer at once, or allow more \
         to wait"
    )
}

/// A shorter wait is none: the look at the keys took that long.
const WORTH_TELLING: Duration = Duration::from_millis(50);

/// Says what stands before each key, those that open soonest first; of many, the first few in
/// detail, and all in numbers.
fn key_states(
    core: &Core,
    mut keys: Vec<(KeyId, Option<Denied>)>,
    ask: &Ask<'_>,
    now: Timestamp,
) -> Keys {
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
            limit: denied.and_then(|denied| core.limit_in_words(&key, ask, denied, now)),
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
