//! What the run, the submitting and the looking have in common: [`Shared`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairkey_core::{AccountId, KeyId};
use fairkey_openrouter::Fault;
use fairkey_openrouter::batch::{Batch, BatchEndpoint, BatchResult, BatchStatus};
use tokio::sync::{Mutex as AsyncMutex, watch};
use twox_hash::{XxHash3_64, XxHash3_128};

use super::config::BatchConfig;
use super::store::{Record, Stage, Store};
use crate::row::Request;

/// The most batches whose answers are held in memory.
const LOADED: usize = 4;

/// A batch, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReport {
    /// Its number in this run and those before it, from 1.
    pub number: u64,
    /// Its name at the upstream, once it has one.
    pub id: Option<String>,
    /// The key that submitted it.
    pub key: KeyId,
    /// The account of the key, where one is named.
    pub account: Option<AccountId>,
    /// Its endpoint: `/v1/chat/completions`.
    pub endpoint: String,
    /// Its model.
    pub model: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them are through, as the upstream says.
    pub done: u64,
    /// What became of it.
    pub state: BatchState,
    /// The last status that the upstream told.
    pub status: Option<BatchStatus>,
    /// What it cost in all, in millionths of a US dollar, as the upstream says.
    pub micro_usd: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchState {
    /// It is at the upstream, under way.
    Submitted,
    /// Its answers are here.
    Collected,
    /// It ended without answers: failed, expired, cancelled. Its rows are left, and submitted again
    /// by the next run.
    Ended,
    /// Nobody knows whether it is there.
    InDoubt,
    /// The upstream knows nothing of it any more.
    Gone,
}

impl BatchState {
    /// Returns it as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Collected => "collected",
            Self::Ended => "ended",
            Self::InDoubt => "in_doubt",
            Self::Gone => "gone",
        }
    }
}

/// The place of a row in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) batch: u64,
    pub(super) place: u32,
}

/// Where a row is to be found, in answer to who asks for it.
pub(super) enum Place {
    In(Slot),
    /// It was refused before it was in a batch.
    Refused(Fault),
    /// It is in none, and will not be.
    Nowhere(String),
    /// Nobody knows yet.
    Later,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: BatchConfig,
    pub(super) store: Arc<Store>,
    state: Mutex<State>,
    /// Goes up with each change that somebody may wait for.
    changed: watch::Sender<u64>,
    loaded: AsyncMutex<VecDeque<(u64, Arc<Loaded>)>>,
}

/// The answers of a batch, by place.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) results: Vec<Option<BatchResult>>,
    /// What each answered row is charged that does not say itself what it cost.
    pub(super) share_micro_usd: u64,
}

#[derive(Debug, Default)]
struct State {
    /// Places of rows that nobody has asked for.
    places: HashMap<u128, Slot>,
    /// Further ones of rows that send the same.
    more: HashMap<u128, Vec<Slot>>,
    /// How many places there were at the beginning.
    earlier: HashMap<u128, usize>,
    refused: HashMap<u128, Fault>,
    batches: BTreeMap<u64, Record>,
    counts: HashMap<u64, u64>,
    next: u64,
    /// Whether every row was read and submitted, or will not be.
    all_placed: bool,
    halted: Option<String>,
    /// Whether nobody waits for anything any more.
    ended: bool,
    /// Batches that cannot be looked at.
    out_of_sight: HashMap<u64, String>,
    notices: Vec<String>,
}

/// Returns what tells a request from others, wherever its row stands.
pub(super) fn hash(request: &Request) -> u128 {
    let path = XxHash3_64::oneshot(request.path.as_bytes());
    XxHash3_128::oneshot_with_seed(path, &request.body)
}

impl Shared {
    /// Takes up what earlier runs have left.
    pub(super) fn open(store: Store, config: BatchConfig) -> io::Result<Self> {
        let mut state = State {
            next: 1,
            ..State::default()
        };
        for record in store.records()? {
            state.next = state.next.max(record.number + 1);
            let left = match record.stage {
                Stage::Intended | Stage::Gone => config.resubmit,
                Stage::Ended => true,
                Stage::Submitted | Stage::Collected => false,
            };
            if left {
                store.remove(record.number)?;
                continue;
            }
            let again = config.retry_failed && record.stage == Stage::Collected;
            for (place, hash) in (0..).zip(store.rows(record.number)?) {
                if !(again && record.failed.contains(&place)) {
                    let batch = record.number;
                    state.place(hash, Slot { batch, place });
                    *state.earlier.entry(hash).or_default() += 1;
                }
            }
            state.batches.insert(record.number, record);
        }
        Ok(Self {
            config,
            store: Arc::new(store),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            loaded: AsyncMutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stir(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Returns what tells of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Runs something with the store where it may block.
    pub(super) async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Takes the place of a row.
    pub(super) fn take(&self, hash: u128) -> Place {
        let mut state = self.state();
        if let Some(slot) = state.take(hash) {
            return Place::In(slot);
        }
        if let Some(fault) = state.refused.get(&hash) {
            return Place::Refused(fault.clone());
        }
        if !state.all_placed {
            return Place::Later;
        }
        let why = state.halted.clone();
        Place::Nowhere(why.unwrap_or_else(|| "the input has changed while it was read".to_owned()))
    }

    /// Returns how many places earlier runs have left for rows that send the same; once. As they
    /// were at the beginning: rows that were asked for since are in them, too.
    pub(super) fn take_earlier(&self) -> HashMap<u128, usize> {
        std::mem::take(&mut self.state().earlier)
    }

    /// Returns the number of the next batch.
    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    /// Adds a batch whose rows are where they are.
    pub(super) fn add(&self, record: Record, rows: &[u128]) {
        let mut state = self.state();
        for (place, hash) in (0..).zip(rows) {
            let batch = record.number;
            state.place(*hash, Slot { batch, place });
        }
        state.batches.insert(record.number, record);
        drop(state);
        self.stir();
    }

    /// Notes that rows were refused by themselves.
    pub(super) fn refuse(&self, rows: &[u128], fault: &Fault) {
        let mut state = self.state();
        for hash in rows {
            state.refused.insert(*hash, fault.clone());
        }
        drop(state);
        self.stir();
    }

    /// Notes that every row was read; or why no more will be submitted.
    pub(super) fn all_placed(&self, why: Option<String>) {
        let mut state = self.state();
        state.all_placed = true;
        if let Some(why) = why {
            state.notices.push(why.clone());
            state.halted.get_or_insert(why);
        }
        drop(state);
        self.stir();
    }

    pub(super) fn halted(&self) -> Option<String> {
        self.state().halted.clone()
    }

    pub(super) fn is_all_placed(&self) -> bool {
        self.state().all_placed
    }

    /// Nobody waits any more.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.stir();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state().ended
    }

    /// Changes what is known of a batch; returns it.
    pub(super) fn update(&self, number: u64, change: impl FnOnce(&mut Record)) -> Option<Record> {
        let mut state = self.state();
        let record = state.batches.get_mut(&number)?;
        change(record);
        let record = record.clone();
        drop(state);
        self.stir();
        Some(record)
    }

    /// Notes how far a batch is. Returns whether that is news.
    pub(super) fn seen(&self, number: u64, batch: &Batch) -> bool {
        let mut state = self.state();
        let done = batch.counts.completed + batch.counts.failed;
        let more = state.counts.insert(number, done) != Some(done);
        state.out_of_sight.remove(&number);
        let Some(record) = state.batches.get_mut(&number) else {
            return false;
        };
        let status = Some(batch.status.as_str().to_owned());
        let other = record.status != status;
        record.status = status;
        if let Some(usage) = &batch.usage {
            record.micro_usd = usage.cost().micro_usd;
        }
        other || more
    }

    /// Gives a batch up for now.
    pub(super) fn lose_sight(&self, number: u64, why: String) {
        self.state().out_of_sight.insert(number, why);
        self.stir();
    }

    pub(super) fn record(&self, number: u64) -> Option<Record> {
        self.state().batches.get(&number).cloned()
    }

    /// Returns why nothing will come of a batch in this run, where that is so.
    pub(super) fn why_left(&self, number: u64) -> Option<String> {
        let state = self.state();
        if let Some(why) = state.out_of_sight.get(&number) {
            return Some(why.clone());
        }
        let record = state.batches.get(&number)?;
        let name = name_of(record);
        match record.stage {
            Stage::Submitted | Stage::Collected => None,
            Stage::Intended => Some(format!("{name} may be at the upstream or not")),
            Stage::Gone => Some(format!("{name} is not known to the upstream any more")),
            Stage::Ended => {
                let status = record.status.as_deref().unwrap_or("ended");
                Some(format!("{name} is {status}"))
            }
        }
    }

    /// Returns the batches to be looked at.
    pub(super) fn submitted(&self) -> Vec<u64> {
        let state = self.state();
        let open = (state.batches.values()).filter(|record| {
            record.stage == Stage::Submitted && !state.out_of_sight.contains_key(&record.number)
        });
        open.map(|record| record.number).collect()
    }

    pub(super) fn notice(&self, text: String) {
        self.state().notices.push(text);
    }

    pub(super) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.state().notices)
    }

    pub(super) fn reports(&self) -> Vec<BatchReport> {
        let state = self.state();
        let report = |record: &Record| BatchReport {
            number: record.number,
            id: record.id.clone(),
            key: record.key.as_str().into(),
            account: record.account.as_deref().map(Into::into),
            endpoint: record.endpoint.clone(),
            model: record.model.clone(),
            rows: record.rows,
            done: match record.stage {
                Stage::Collected => record.rows,
                _ => state.counts.get(&record.number).copied().unwrap_or(0),
            },
            state: match record.stage {
                Stage::Intended => BatchState::InDoubt,
                Stage::Submitted => BatchState::Submitted,
                Stage::Collected => BatchState::Collected,
                Stage::Ended => BatchState::Ended,
                Stage::Gone => BatchState::Gone,
            },
            status: record.status.as_deref().map(Into::into),
            micro_usd: record.micro_usd,
        };
        state.batches.values().map(report).collect()
    }

    /// Returns the answers of a batch that was collected.
    pub(super) async fn answers(&self, number: u64) -> io::Result<Arc<Loaded>> {
        let mut loaded = self.loaded.lock().await;
        if let Some((_, answers)) = loaded.iter().find(|(of, _)| *of == number) {
            return Ok(Arc::clone(answers));
        }
        let Some(record) = self.record(number) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let answers = self
            .stored(move |store| Loaded::read(store, &record))
            .await?;
        let answers = Arc::new(answers);
        if loaded.len() >= LOADED {
            loaded.pop_front();
        }
        loaded.push_back((number, Arc::clone(&answers)));
        Ok(answers)
    }

    /// Removes everything.
    pub(super) fn forget(&self) -> io::Result<()> {
        let numbers: Vec<u64> = self.state().batches.keys().copied().collect();
        for number in numbers {
            self.store.remove(number)?;
        }
        self.store.remove_folder()
    }
}

impl State {
    fn place(&mut self, hash: u128, slot: Slot) {
        // The newest is asked for first: what was submitted again stands before what has failed.
        if let Some(older) = self.places.insert(hash, slot) {
            self.more.entry(hash).or_default().push(older);
        }
    }

    fn take(&mut self, hash: u128) -> Option<Slot> {
        let slot = self.places.remove(&hash)?;
        if let Some(more) = self.more.get_mut(&hash) {
            if let Some(next) = more.pop() {
                self.places.insert(hash, next);
            }
            if more.is_empty() {
                self.more.remove(&hash);
            }
        }
        Some(slot)
    }
}

/// Names a batch for people.
pub(super) fn name_of(record: &Record) -> String {
    match &record.id {
        Some(id) => format!("batch {} ({id})", record.number),
        None => format!("batch {}", record.number),
    }
}

/// Returns the name that a row has in its batch, by its place.
pub(super) fn custom_id(place: usize) -> String {
    format!("row-{}", place + 1)
}

fn place_of(custom_id: &str) -> Option<usize> {
    let number: usize = custom_id.strip_prefix("row-")?.parse().ok()?;
    number.checked_sub(1)
}

impl Loaded {
    fn read(store: &Store, record: &Record) -> io::Result<Self> {
        let bytes = store.answers(record.number)?;
        let wrong = |fault: Fault| io::Error::new(io::ErrorKind::InvalidData, fault.to_string());
        let headers = http::HeaderMap::new();
        let batch = Batch::read(http::StatusCode::OK, &headers, &bytes).map_err(wrong)?;
        let endpoint = BatchEndpoint::ALL
            .into_iter()
            .find(|endpoint| endpoint.as_str() == record.endpoint);
        Self::of(&batch, endpoint, record.rows).map_err(wrong)
    }

    /// Sorts the results of a batch by place. What a result of no row says is not heard.
    pub(super) fn of(
        batch: &Batch,
        endpoint: Option<BatchEndpoint>,
        rows: u64,
    ) -> Result<Self, Fault> {
        let mut results = Vec::new();
        results.resize_with(usize::try_from(rows).unwrap_or(0), || None);
        let (mut told, mut silent) = (0, 0);
        for result in batch.results()?.flatten() {
            let Some(place) = place_of(&result.custom_id).and_then(|at| results.get_mut(at)) else {
                continue;
            };
            if let Ok(answer) = &result.answer {
                let usage = endpoint.and_then(|endpoint| answer.usage(endpoint));
                match usage.and_then(|usage| usage.cost) {
                    Some(usd) => told += fairkey_openrouter::micro_usd(usd),
                    None => silent += 1,
                }
            }
            *place = Some(result);
        }
        let total = batch
            .usage
            .as_ref()
            .map_or(0, |usage| usage.cost().micro_usd);
        Ok(Self {
            results,
            share_micro_usd: total.saturating_sub(told).checked_div(silent).unwrap_or(0),
        })
    }

    /// Returns the places of rows without an answer.
    pub(super) fn failed(&self) -> Vec<u32> {
        let failed = |result: &Option<BatchResult>| {
            result.as_ref().is_none_or(|result| result.answer.is_err())
        };
        let places = (0..).zip(&self.results);
        places
            .filter(|(_, result)| failed(result))
            .map(|(place, _)| place)
            .collect()
    }
}
