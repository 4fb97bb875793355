//! What all rows of a run have in common: [`Book`].

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{Cost, FaultKind, KeyId, Scope};
use tokio::time::Instant;

use crate::caller::{Attempt, KeyOut, KeyState, Reply};
use crate::progress::Notice;
use crate::summary::{KeyBook, KeySummary};

/// Counts what happens to keys, and remembers whether any of them still answers.
#[derive(Debug)]
pub(super) struct Book(Mutex<State>);

#[derive(Debug)]
struct State {
    keys: KeyBook,
    cost: Cost,
    refused: u64,
    /// What was told already: each once per key.
    told: HashSet<(KeyId, bool)>,
    notices: Vec<Notice>,
    last_answer: Instant,
    /// What barred every key when a row last asked, and when; until which time, as far as known.
    barred: Option<(Instant, Vec<KeyOut>, Option<Instant>)>,
}

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            keys: KeyBook::default(),
            cost: Cost::default(),
            refused: 0,
            told: HashSet::new(),
            notices: Vec::new(),
            last_answer: now,
            barred: None,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answered(&self, reply: &Reply) {
        let mut state = self.state();
        state.count(&reply.attempts);
        if let Some(cost) = reply.cost {
            state.cost += cost;
            state.keys.cost(&reply.key, cost);
        }
        state.last_answer = Instant::now();
        state.barred = None;
    }

    pub(super) fn attempts(&self, attempts: &[Attempt]) {
        self.state().count(attempts);
    }

    /// A row found every key barred upstream.
    pub(super) fn barred(&self, keys: Vec<KeyOut>, after: Option<Duration>) {
        let now = Instant::now();
        let until = after.and_then(|after| now.checked_add(after));
        self.state().barred = Some((now, keys, until));
    }

    /// Returns what bars every key, where that is so and nothing was answered for `patience`.
    pub(super) fn out_since(&self, patience: Duration) -> Option<(Vec<KeyOut>, Option<Duration>)> {
        let state = self.state();
        let (_, keys, until) = state.barred.as_ref()?;
        let now = Instant::now();
        if now.saturating_duration_since(state.last_answer) < patience {
            return None;
        }
        Some((
            keys.clone(),
            until.map(|until| until.saturating_duration_since(now)),
        ))
    }

    pub(super) fn refused_and_spent(&self) -> (u64, u64) {
        let state = self.state();
        (state.refused, state.cost.micro_usd)
    }

    /// Hands out what is to be told, with no lock held.
    pub(super) fn take_notices(&self, tell: impl FnMut(Notice)) {
        let notices = std::mem::take(&mut self.state().notices);
        notices.into_iter().for_each(tell);
    }

    pub(super) fn close(&self, states: Vec<KeyState>) -> (Vec<KeySummary>, Cost) {
        let mut state = self.state();
        (std::mem::take(&mut state.keys).finish(states), state.cost)
    }
}

impl State {
    fn count(&mut self, attempts: &[Attempt]) {
        for attempt in attempts {
            self.keys.attempt(attempt);
            let Some(refusal) = &attempt.refusal else {
                continue;
            };
            self.refused += 1;
            let of_key = matches!(refusal.scope, Scope::Key | Scope::Budget | Scope::Account);
            let refused = refusal.kind == FaultKind::Refused;
            let exhausted = refusal.kind == FaultKind::Exhausted;
            if !of_key || !(refused || exhausted) {
                continue;
            }
            // Bounded by the number of keys.
            if self.told.insert((attempt.key.clone(), refused)) {
                let (key, account) = (attempt.key.clone(), attempt.account.clone());
                let refusal = refusal.clone();
                self.notices.push(if refused {
                    Notice::KeyRefused {
                        key,
                        account,
                        refusal,
                    }
                } else {
                    Notice::KeyExhausted {
                        key,
                        account,
                        refusal,
                    }
                });
            }
        }
    }
}
