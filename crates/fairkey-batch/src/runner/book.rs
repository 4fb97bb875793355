//! What all rows of a run have in common: [`Book`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{FaultKind, KeyId, Scope};
use tokio::time::Instant;

use super::stopped::Stopped;
use crate::caller::{Attempt, Failure, KeyOut, KeyState, Refusal, Reply, Spend, is_of_keys};
use crate::history::History;
use crate::progress::{Lane, Notice};
use crate::summary::{KeyBook, KeySummary};

/// How long nothing need be answered for it to be told.
const SILENCE: Duration = Duration::from_secs(5);

/// Counts what happens to keys, and remembers whether any of them still answers.
#[derive(Debug)]
pub(super) struct Book(Mutex<State>);

#[derive(Debug)]
struct State {
    keys: KeyBook,
    history: History,
    started: Instant,
    spend: Spend,
    refused: u64,
    /// What was told already: each once per key.
    told: HashSet<(KeyId, bool)>,
    notices: Vec<Notice>,
    /// When a row was last answered, or refused for what it is itself.
    last_answer: Instant,
    /// What barred every key when a row last asked; until which time, as far as known. Gone with
    /// the next answer.
    barred: Option<(Vec<KeyOut>, Option<Instant>)>,
    /// The last refusal since the last answer.
    refusal: Option<Refusal>,
    /// Whether it was told that there was none for a while.
    silence_told: bool,
    /// When the calls began that are under way, by row.
    calls: HashMap<u64, Instant>,
}

/// Marks a call as under way until it is dropped.
pub(super) struct UnderWay {
    book: Arc<Book>,
    index: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.book.state().calls.remove(&self.index);
    }
}

impl Book {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            keys: KeyBook::default(),
            history: History::default(),
            started: now,
            spend: Spend::default(),
            refused: 0,
            told: HashSet::new(),
            notices: Vec::new(),
            last_answer: now,
            barred: None,
            refusal: None,
            silence_told: false,
            calls: HashMap::new(),
        }))
    }

    /// Notes that a call for the row `index` begins.
    pub(super) fn call_begins(self: &Arc<Self>, index: u64) -> UnderWay {
        self.state().calls.insert(index, Instant::now());
        UnderWay {
            book: Arc::clone(self),
            index,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A row that began at a time was answered.
    pub(super) fn answered(&self, began: Instant, reply: &Reply) {
        let mut state = self.state();
        let now = Instant::now();
        state.count(&reply.attempts, now);
        let at = now.saturating_duration_since(state.started);
        let took = now.saturating_duration_since(began);
        let cost = reply.cost.unwrap_or_default();
        state.history.answered(at, took, reply.waited, cost);
        state.spend += reply.spend();
        if let Some(cost) = reply.cost {
            state.keys.cost(&reply.key, cost);
        }
        state.progressed();
    }

    /// A call for a row came back without an answer.
    pub(super) fn refused(&self, failure: &Failure) {
        let mut state = self.state();
        state.count(&failure.attempts, Instant::now());
        state.spend += failure.spend();
        if let Some((answer, cost)) = failure.answer.as_ref().and_then(|it| Some((it, it.cost?))) {
            state.keys.cost(&answer.key, cost);
        }
        if failure.scope == Scope::Request || failure.answer.is_some() {
            // It is the row, or what the model made of it: whoever said so is well.
            state.progressed();
        } else if let Some(refusal) = failure
            .attempts
            .iter()
            .rev()
            .find_map(|a| a.refusal.clone())
        {
            state.refusal = Some(refusal);
            // Some key was free after all.
            state.barred = None;
        }
    }

    /// A row found every key barred upstream.
    pub(super) fn barred(&self, keys: Vec<KeyOut>, after: Option<Duration>) {
        let now = Instant::now();
        let until = after.and_then(|after| now.checked_add(after));
        self.state().barred = Some((keys, until));
    }

    /// Returns why the run should end, where nothing was answered for `patience` although rows
    /// were sent. `idle`: nothing is known to be under way upstream.
    pub(super) fn out_of_patience(&self, patience: Duration, idle: bool) -> Option<Stopped> {
        let state = self.state();
        let now = Instant::now();
        let why = state.silent(now, patience)?;
        // A model may think for long: what has been under way for long may still be answered.
        let young = |began: &Instant| now.saturating_duration_since(*began) < patience / 2;
        (idle || state.calls.values().all(young)).then_some(why)
    }

    /// Has it told, once, when nothing was answered for [`SILENCE`] although rows were sent.
    pub(super) fn listen(&self, patience: Duration) {
        let mut state = self.state();
        if state.silence_told || patience <= SILENCE {
            return;
        }
        if let Some(why) = state.silent(Instant::now(), SILENCE) {
            state.silence_told = true;
            state.notices.push(Notice::Silent {
                quiet: SILENCE,
                patience,
                why,
            });
        }
    }

    /// A row has failed for good.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        let at = state.started.elapsed();
        state.history.failed(at);
    }

    /// So many rows are in flight, of so many that might be.
    pub(super) fn level(&self, in_flight: u64, limit: u64) {
        let mut state = self.state();
        let at = state.started.elapsed();
        state.history.level(at, in_flight, limit);
    }

    /// Returns how many attempts were refused, and what was used.
    pub(super) fn refused_and_spent(&self) -> (u64, Spend) {
        let state = self.state();
        (state.refused, state.spend)
    }

    /// Returns what came of each account so far, and of each key that has none.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        self.state().keys.lanes()
    }

    /// Hands out what is to be told, with no lock held.
    pub(super) fn take_notices(&self, tell: impl FnMut(Notice)) {
        let notices = std::mem::take(&mut self.state().notices);
        notices.into_iter().for_each(tell);
    }

    pub(super) fn close(&self, states: Vec<KeyState>) -> (Vec<KeySummary>, Spend, History) {
        let mut state = self.state();
        let keys = std::mem::take(&mut state.keys).finish(states);
        (keys, state.spend, std::mem::take(&mut state.history))
    }
}

impl State {
    fn progressed(&mut self) {
        self.last_answer = Instant::now();
        self.barred = None;
        self.refusal = None;
        self.silence_told = false;
    }

    /// Returns why rows are not answered, where none was for as long as `quiet` although some were
    /// sent.
    fn silent(&self, now: Instant, quiet: Duration) -> Option<Stopped> {
        if now.saturating_duration_since(self.last_answer) < quiet {
            return None;
        }
        if let Some((keys, until)) = &self.barred {
            return Some(Stopped::KeysOut {
                keys: keys.clone(),
                retry_after: until.map(|until| until.saturating_duration_since(now)),
            });
        }
        let refusal = self.refusal.clone();
        refusal.map(|refusal| Stopped::NothingAnswered {
            patience: quiet,
            refusal,
        })
    }

    fn count(&mut self, attempts: &[Attempt], now: Instant) {
        let at = now.saturating_duration_since(self.started);
        for attempt in attempts {
            self.keys.attempt(attempt);
            if let Some(cost) = attempt.bill.cost {
                self.keys.cost(&attempt.key, cost);
            }
            let Some(refusal) = &attempt.refusal else {
                continue;
            };
            self.refused += 1;
            self.history.refused(at, &refusal.cause);
            let of_key = is_of_keys(refusal.scope);
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
