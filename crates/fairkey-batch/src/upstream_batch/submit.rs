//! Submitting batches, each as often as is needed and once at most: [`Submitting`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{AccountId, FaultKind, KeyId, Scope};
use fairkey_openrouter::batch::{Batch, BatchBuilder, BatchEndpoint, BatchKind, BatchRequest};
use fairkey_openrouter::{Cause, Fault, RetryHint};
use tokio::time::{Instant, sleep};

use super::config::BatchConfig;
use super::drive::INTERRUPTED;
use super::shared::{Shared, custom_id, name_of};
use super::store::{Record, Stage};
use super::upstream::{BatchKey, BatchUpstream, SubmitError};
use crate::stop::Stop;

/// The shortest and the longest wait before a batch is submitted again.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How many batches in a row may be in doubt before no more is submitted.
const DOUBTS: u32 = 3;

/// A batch that is being filled.
pub(super) struct Draft {
    kind: BatchKind,
    rows: Vec<(u128, BatchRequest)>,
    bytes: usize,
}

impl Draft {
    pub(super) fn new(kind: &BatchKind) -> Self {
        let frame = BatchBuilder::new(kind.clone()).bytes();
        Self::of(kind.clone(), Vec::new(), frame)
    }

    fn of(kind: BatchKind, rows: Vec<(u128, BatchRequest)>, frame: usize) -> Self {
        let bytes = (0..).zip(&rows).map(|(at, (_, row))| size(at, row));
        Self {
            bytes: frame + bytes.sum::<usize>(),
            kind,
            rows,
        }
    }

    pub(super) fn has_room(&self, request: &BatchRequest, config: &BatchConfig) -> bool {
        self.rows.len() < config.rows.max(1)
            && self.bytes + size(self.rows.len(), request) <= config.bytes
    }

    pub(super) fn push(&mut self, hash: u128, request: BatchRequest) {
        self.bytes += size(self.rows.len(), &request);
        self.rows.push((hash, request));
    }

    /// Returns how many bytes its text has, at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn model(&self) -> &str {
        self.kind.model()
    }

    pub(super) fn endpoint(&self) -> BatchEndpoint {
        self.kind.endpoint()
    }

    fn hashes(&self) -> Vec<u128> {
        self.rows.iter().map(|(hash, _)| *hash).collect()
    }

    fn text(&self) -> Bytes {
        let mut builder = BatchBuilder::new(self.kind.clone());
        for (place, (_, request)) in self.rows.iter().enumerate() {
            // Of one kind, and with a name of its own, each is taken.
            let pushed = builder.push(&custom_id(place), request);
            debug_assert_eq!(pushed, Ok(()));
        }
        builder.finish()
    }

    fn part(mut self) -> (Self, Self) {
        let behind = self.rows.split_off(self.rows.len() / 2);
        let frame = BatchBuilder::new(self.kind.clone()).bytes();
        let behind = Self::of(self.kind.clone(), behind, frame);
        (Self::of(self.kind, self.rows, frame), behind)
    }
}

fn size(place: usize, request: &BatchRequest) -> usize {
    BatchBuilder::bytes_of(&custom_id(place), request)
}

/// Submits batches one after the other.
pub(super) struct Submitting<'a, U> {
    shared: &'a Shared,
    upstream: &'a U,
    stop: &'a Stop,
    /// Keys and accounts that were refused, and until when they are not asked.
    keys_out: HashMap<KeyId, Instant>,
    accounts_out: HashMap<AccountId, Instant>,
    /// How many batches each account, or each key without one, was given.
    given: HashMap<String, u64>,
    doubts: u32,
    refusal: Option<Fault>,
}

/// What became of a batch that was submitted: it is there, or nobody knows; or it was refused for
/// what it is.
type Submitted = Result<(), Fault>;

impl<'a, U: BatchUpstream> Submitting<'a, U> {
    pub(super) fn new(shared: &'a Shared, upstream: &'a U, stop: &'a Stop) -> Self {
        Self {
            shared,
            upstream,
            stop,
            keys_out: HashMap::new(),
            accounts_out: HashMap::new(),
            given: HashMap::new(),
            doubts: 0,
            refusal: None,
        }
    }

    /// Submits a batch, in parts if it is refused whole. An error says why nothing more should be
    /// submitted.
    pub(super) async fn submit(&mut self, draft: Draft) -> Result<(), String> {
        let mut parts = vec![draft];
        let mut splits = self.shared.config.splits;
        while let Some(draft) = parts.pop() {
            let Err(fault) = self.submit_whole(&draft).await? else {
                continue;
            };
            if draft.rows.len() > 1 && splits > 0 && may_be_some_rows(&fault) {
                splits -= 1;
                let (front, behind) = draft.part();
                parts.push(behind);
                parts.push(front);
            } else {
                self.shared.refuse(&draft.hashes(), &fault);
            }
        }
        Ok(())
    }

    async fn submit_whole(&mut self, draft: &Draft) -> Result<Submitted, String> {
        let (text, hashes) = (draft.text(), draft.hashes());
        let number = self.shared.next_number();
        let began = Instant::now();
        let mut wait = WAITS.0;
        loop {
            if self.stop.is_stopping() {
                return Err(INTERRUPTED.to_owned());
            }
            let Some(key) = self.pick() else {
                self.pause(&mut wait, None, began).await?;
                continue;
            };
            let record = Record {
                key: key.key.to_string(),
                account: key.account.as_ref().map(ToString::to_string),
                endpoint: draft.endpoint().to_string(),
                model: draft.model().to_owned(),
                rows: hashes.len() as u64,
                ..Record::new(number)
            };
            let (intent, rows) = (record.clone(), hashes.clone());
            let intended = self
                .shared
                .stored(move |store| store.intend(&intent, &rows));
            intended.await.map_err(|error| {
                format!("nothing more is submitted, since it could not be remembered: {error}")
            })?;
            match self.upstream.submit(&key.key, text.clone()).await {
                Ok(batch) => return self.is_there(record, &batch, &hashes, &key).await.map(Ok),
                Err(SubmitError::Doubtful(fault)) => {
                    return self.is_in_doubt(record, &hashes, &fault).map(Ok);
                }
                Err(SubmitError::Refused(fault)) => {
                    let removed = self.shared.stored(move |store| store.remove(number)).await;
                    removed.map_err(|error| format!("batches cannot be remembered: {error}"))?;
                    match fault.scope() {
                        Scope::Request => return Ok(Err(fault)),
                        // No time and no other key cures these: others go on.
                        Scope::Model | Scope::Provider
                            if matches!(
                                fault.kind(),
                                FaultKind::Refused | FaultKind::Exhausted
                            ) =>
                        {
                            return Ok(Err(fault));
                        }
                        Scope::Key | Scope::Budget => {
                            let until = until(&fault, self.shared.config.patience);
                            self.keys_out.insert(key.key, until);
                            self.refusal = Some(fault);
                        }
                        Scope::Account => {
                            let until = until(&fault, self.shared.config.patience);
                            match key.account {
                                Some(account) => self.accounts_out.insert(account, until),
                                None => self.keys_out.insert(key.key, until),
                            };
                            self.refusal = Some(fault);
                        }
                        _ => {
                            let hint = hint(&fault);
                            self.refusal = Some(fault);
                            self.pause(&mut wait, hint, began).await?;
                        }
                    }
                }
            }
        }
    }

    async fn is_there(
        &mut self,
        mut record: Record,
        batch: &Batch,
        hashes: &[u128],
        key: &BatchKey,
    ) -> Result<(), String> {
        self.doubts = 0;
        *self.given.entry(lane(key)).or_default() += 1;
        record.stage = Stage::Submitted;
        record.id = Some(batch.id.clone());
        record.status = Some(batch.status.to_string());
        let kept = record.clone();
        let written = self.shared.stored(move |store| store.write(&kept)).await;
        let name = name_of(&record);
        let rows = record.rows;
        self.shared.notice(format!(
            "{name}: {rows} rows of {} submitted with \"{}\"",
            record.model, record.key
        ));
        self.shared.add(record, hashes);
        written.map_err(|error| {
            format!(
                "nothing more is submitted: {name} is at the upstream, and that could not be \
                 remembered: {error}"
            )
        })
    }

    /// Nobody knows whether there is a batch.
    fn is_in_doubt(
        &mut self,
        record: Record,
        hashes: &[u128],
        fault: &Fault,
    ) -> Result<(), String> {
        self.doubts += 1;
        self.shared.notice(format!(
            "{}: {} rows may have been submitted or not: {fault}; they are left, and --resubmit \
             submits them again, which may pay for them twice",
            name_of(&record),
            record.rows
        ));
        self.shared.add(record, hashes);
        if self.doubts < DOUBTS {
            return Ok(());
        }
        Err(format!(
            "nothing more is submitted, since {DOUBTS} batches in a row are in doubt: {fault}"
        ))
    }

    /// Returns the key to submit with: of those that may be asked, one whose account has the fewest
    /// batches.
    fn pick(&self) -> Option<BatchKey> {
        let now = Instant::now();
        let keys = self.upstream.keys().into_iter().filter(|key| {
            let out = self.keys_out.get(&key.key);
            let account_out = key
                .account
                .as_ref()
                .and_then(|it| self.accounts_out.get(it));
            key.is_open
                && [out, account_out]
                    .into_iter()
                    .flatten()
                    .all(|until| *until <= now)
        });
        // The first of those that are equal.
        keys.min_by_key(|key| self.given.get(&lane(key)).copied().unwrap_or(0))
    }

    /// Waits before the next try; not beyond the patience there is.
    async fn pause(
        &self,
        wait: &mut Duration,
        hint: Option<Duration>,
        began: Instant,
    ) -> Result<(), String> {
        let patience = self.shared.config.patience;
        let next = hint.unwrap_or(*wait).max(WAITS.0);
        if began.elapsed() + next > patience {
            let why = match &self.refusal {
                Some(fault) => format!("at last: {fault}"),
                None => "no key could be had".to_owned(),
            };
            return Err(format!(
                "nothing more is submitted, since that failed for {} s; {why}",
                patience.as_secs()
            ));
        }
        *wait = (*wait * 2).min(WAITS.1);
        tokio::select! {
            () = sleep(next) => Ok(()),
            () = self.stop.stopping() => Err(INTERRUPTED.to_owned()),
        }
    }
}

/// What shares the batches of a key.
fn lane(key: &BatchKey) -> String {
    match &key.account {
        Some(account) => format!("account {account}"),
        None => format!("key {}", key.key),
    }
}

fn hint(fault: &Fault) -> Option<Duration> {
    match fault.retry() {
        RetryHint::After(wait) => Some(wait),
        _ => None,
    }
}

/// Returns until when a key that was refused is not asked again.
fn until(fault: &Fault, patience: Duration) -> Instant {
    let wait = match fault.retry() {
        RetryHint::After(wait) => wait.max(WAITS.0),
        _ if fault.kind() == FaultKind::Throttled => WAITS.1,
        // Beyond what anybody waits for here.
        _ => patience * 2,
    };
    Instant::now() + wait
}

/// Whether a refusal of a batch may be the fault of some of its rows.
fn may_be_some_rows(fault: &Fault) -> bool {
    matches!(
        fault.cause(),
        Cause::BadRequest
            | Cause::TooLarge
            | Cause::RejectedByProvider
            | Cause::Moderation
            | Cause::GuardrailContent
            | Cause::ContextTooLong
            | Cause::RequestTooBigForBalance
    )
}
