//! A limiter with a flaw to choose.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{
    At, Candidate, Denied, FaultKind, Gate, KeySet, Outcome, Report, Scope, Scopes, Ticket,
    Timestamp,
};

/// What is wrong with a [`Limiter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimiterFlaw {
    /// Counts in windows that begin at multiples of their length: twice the limit at the edge.
    FixedWindow,
    /// Takes the call out of the window when it ends.
    ForgetsWhatEnded,
    /// Keeps what was reserved although less was used.
    RefundsNothing,
    /// Never hears that more was used than was reserved.
    ForgivesDebt,
    /// Keeps the place of a call that was given up.
    LeaksOnNeutral,
    /// Lets a call that needs more than the whole limit through beside others.
    LetsGiantsThrough,
    /// Takes a request although the tokens do not reach.
    ReservesInParts,
}

/// Requests, tokens and calls at a time with each key, counted in a log, with a flaw to choose.
#[derive(Debug)]
pub struct Limiter {
    requests: usize,
    tokens: u64,
    in_flight: u32,
    window: Duration,
    flaw: Option<LimiterFlaw>,
    keys: Mutex<Vec<Log>>,
}

#[derive(Clone, Debug, Default)]
struct Log {
    requests: Vec<Timestamp>,
    tokens: Vec<(Timestamp, u64)>,
    live: u32,
}

impl Limiter {
    /// Admits so many requests and tokens in any `window`, and calls at a time.
    #[must_use]
    pub fn new(
        requests: usize,
        tokens: u64,
        in_flight: u32,
        window: Duration,
        flaw: Option<LimiterFlaw>,
    ) -> Self {
        Self {
            requests,
            tokens,
            in_flight,
            window,
            flaw,
            keys: Mutex::default(),
        }
    }

    fn has(&self, flaw: LimiterFlaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Returns when what came at `at` is no longer counted.
    fn end(&self, at: Timestamp) -> Timestamp {
        if self.has(LimiterFlaw::FixedWindow) {
            let window = self.window.as_nanos() as u64;
            return Timestamp::from_nanos(at.as_nanos() / window * window + window);
        }
        at + self.window
    }

    /// Returns until when a call of so many tokens does not fit, if it does not.
    fn bar(&self, log: &Log, need: u64, now: Timestamp) -> Option<Denied> {
        if log.live >= self.in_flight {
            return Some(Denied::for_good(Scope::Local));
        }
        let mut ends: Vec<Timestamp> = log.requests.iter().map(|at| self.end(*at)).collect();
        ends.retain(|end| *end > now);
        let over = (ends.len() + 1).checked_sub(self.requests + 1);
        let requests = over.and_then(|over| ends.get(over).copied());
        let current = |at: &Timestamp| self.end(*at) > now;
        let mut tokens: Vec<(Timestamp, u64)> = log.tokens.clone();
        tokens.retain(|(at, amount)| current(at) && *amount > 0);
        let mut used: u64 = tokens.iter().map(|(_, amount)| amount).sum();
        let giant = self.has(LimiterFlaw::LetsGiantsThrough) && need > self.tokens;
        let mut until = None;
        for (at, amount) in tokens {
            if used == 0 || used + need <= self.tokens || giant {
                break;
            }
            used -= amount;
            until = Some(self.end(at));
        }
        let until = requests.max(until)?;
        Some(Denied::until(Scope::Key, until))
    }
}

impl Gate for Limiter {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let keys = lock(&self.keys);
        let log = &keys[at.key.slot().index()];
        self.bar(log, at.ask.cost.tokens, at.now)
            .map_or(Ok(()), Err)
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        let mut keys = lock(&self.keys);
        let log = &mut keys[at.key.slot().index()];
        let need = at.ask.cost.tokens;
        if let Some(denied) = self.bar(log, need, at.now) {
            if self.has(LimiterFlaw::ReservesInParts) && self.bar(log, 0, at.now).is_none() {
                log.requests.push(at.now);
            }
            return Err(denied);
        }
        log.requests.push(at.now);
        log.tokens.push((at.now, need));
        log.live += 1;
        Ok(Ticket::default())
    }

    fn leave(&self, key: Candidate<'_>, _: Ticket, report: &Report) {
        let mut keys = lock(&self.keys);
        let log = &mut keys[key.slot().index()];
        let given_up = report.outcome == Outcome::Neutral;
        if !(given_up && self.has(LimiterFlaw::LeaksOnNeutral)) {
            log.live -= 1;
        }
        let undone = given_up && report.begun == report.ended && report.actual.is_none();
        if (undone || self.has(LimiterFlaw::ForgetsWhatEnded))
            && let Some(at) = log.requests.iter().position(|at| *at == report.begun)
        {
            log.requests.remove(at);
        }
        let reserved = report.reserved.tokens;
        let refused = matches!(
            report.outcome,
            Outcome::Fault { kind, .. } if kind != FaultKind::Failed
        );
        let used = match report.actual {
            Some(actual) => actual.tokens,
            None if undone || refused => 0,
            None => reserved,
        };
        let of_call = |(at, amount): &(Timestamp, u64)| *at == report.begun && *amount == reserved;
        if used < reserved && !self.has(LimiterFlaw::RefundsNothing) {
            if let Some(at) = log.tokens.iter().position(of_call) {
                log.tokens[at].1 = used;
            }
        } else if used > reserved && !self.has(LimiterFlaw::ForgivesDebt) {
            log.tokens.push((report.ended, used - reserved));
        }
    }

    fn hears(&self) -> Scopes {
        Scopes::ALL
    }

    fn rekey(&self, keys: &KeySet) {
        let mut logs = lock(&self.keys);
        logs.resize(keys.slots(), Log::default());
        for slot in keys.fresh() {
            logs[slot.index()] = Log::default();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
