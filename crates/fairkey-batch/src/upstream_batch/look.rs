//! Looking at batches from time to time, and collecting those that are through.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use fairkey_core::{KeyId, Scope};
use fairkey_openrouter::batch::{Batch, BatchEndpoint, BatchStatus};
use fairkey_openrouter::{Cause, Fault, RetryHint};
use tokio::time::{Instant, sleep_until};

use super::drive::Driver;
use super::shared::{Loaded, name_of};
use super::store::{Record, Stage};
use super::upstream::BatchUpstream;

/// When a batch is looked at next.
struct Watch {
    next: Instant,
    wait: Duration,
    /// Since when it cannot be looked at.
    failing: Option<Instant>,
}

impl<U: BatchUpstream> Driver<U> {
    /// Looks at batches until each has ended, and none is still to come.
    pub(super) async fn look_after(&self) {
        let shared = &*self.shared;
        let mut changes = shared.changes();
        let mut watches: HashMap<u64, Watch> = HashMap::new();
        let now = Instant::now();
        let first = shared.config.first_look;
        let watch = |next| Watch {
            next,
            wait: first,
            failing: None,
        };
        // Those of earlier runs have had their time.
        watches.extend(
            shared
                .submitted()
                .into_iter()
                .map(|number| (number, watch(now))),
        );
        loop {
            changes.mark_unchanged();
            let open = shared.submitted();
            let is_over = open.is_empty() && shared.is_all_placed();
            if is_over || shared.is_ended() || self.stop.is_stopping() {
                return;
            }
            for number in &open {
                watches
                    .entry(*number)
                    .or_insert_with(|| watch(Instant::now() + first));
            }
            let due = open
                .iter()
                .filter_map(|number| Some((watches.get(number)?.next, *number)));
            let due = due.min();
            let wait = async {
                match due {
                    Some((next, _)) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.stopping() => return,
                () = wait => {}
                _ = changes.changed() => continue,
            }
            if let Some((_, number)) = due
                && let Some(watch) = watches.get_mut(&number)
            {
                tokio::select! {
                    biased;
                    () = self.stop.stopping() => return,
                    () = self.look_at(number, watch) => {}
                }
            }
        }
    }

    async fn look_at(&self, number: u64, watch: &mut Watch) {
        let shared = &*self.shared;
        let Some(record) = shared.record(number) else {
            return;
        };
        let longest = shared.config.longest_look;
        let mut hint = None;
        match self.ask(&record).await {
            Ok((batch, answer)) => {
                watch.failing = None;
                if batch.status.is_terminal() {
                    return self.ended(&record, &batch, &answer).await;
                }
                let old = record.status.clone();
                if shared.seen(number, &batch) {
                    if old.as_deref() != Some(batch.status.as_str()) {
                        shared.notice(format!("{}: {}", name_of(&record), batch.status));
                    }
                } else {
                    watch.wait = (watch.wait * 3 / 2).min(longest);
                }
            }
            Err(fault) if fault.cause() == Cause::NotFound => {
                let why = "the upstream does not know it any more";
                return self.close(&record, Stage::Gone, None, why).await;
            }
            Err(fault) => {
                let since = *watch.failing.get_or_insert_with(Instant::now);
                if since.elapsed() >= shared.config.patience {
                    let why = format!("{} cannot be looked at: {fault}", name_of(&record));
                    shared.notice(format!("{why}; the next run looks at it again"));
                    return shared.lose_sight(number, why);
                }
                if let RetryHint::After(wait) = fault.retry() {
                    hint = Some(wait);
                }
                watch.wait = (watch.wait * 3 / 2).min(longest);
            }
        }
        watch.next = Instant::now() + hint.unwrap_or(watch.wait).max(watch.wait);
    }

    /// Asks with the key that has made the batch, or another one of its account.
    async fn ask(&self, record: &Record) -> Result<(Batch, Bytes), Fault> {
        let id = record.id.as_deref().unwrap_or_default();
        let keys = self.upstream.keys();
        let own = keys.iter().filter(|key| key.key.as_str() == record.key);
        let siblings = keys.iter().filter(|key| {
            let same = key.account.as_ref().map(|account| account.as_str());
            same.is_some() && same == record.account.as_deref() && key.key.as_str() != record.key
        });
        let keys: Vec<KeyId> = own.chain(siblings).map(|key| key.key.clone()).collect();
        let mut fault = Fault::local(&format!(
            "key \"{}\", which submitted it, and every other key of its account are missing",
            record.key
        ));
        for key in keys {
            match self.upstream.look(&key, id).await {
                Ok(found) => return Ok(found),
                Err(other) => {
                    let of_key =
                        matches!(other.scope(), Scope::Key | Scope::Budget | Scope::Account);
                    fault = other;
                    if !of_key {
                        break;
                    }
                }
            }
        }
        Err(fault)
    }

    /// A batch has come to its end.
    async fn ended(&self, record: &Record, batch: &Batch, answer: &Bytes) {
        self.shared.seen(record.number, batch);
        let status = &batch.status;
        if *status != BatchStatus::Completed {
            let why = match &batch.error {
                Some(error) => format!("{status}: {error}"),
                None => status.to_string(),
            };
            return self.close(record, Stage::Ended, None, &why).await;
        }
        let endpoint =
            (BatchEndpoint::ALL.into_iter()).find(|endpoint| endpoint.as_str() == record.endpoint);
        let loaded = match batch.has_results() {
            true => Loaded::of(batch, endpoint, record.rows),
            false => Err(Fault::malformed(
                "a batch that is completed without results",
            )),
        };
        match loaded {
            Ok(loaded) => {
                let failed = loaded.failed();
                let why = match failed.len() {
                    0 => "completed".to_owned(),
                    failed => format!("completed, {failed} of {} rows failed", record.rows),
                };
                self.close(
                    record,
                    Stage::Collected,
                    Some((failed, answer.clone())),
                    &why,
                )
                .await;
            }
            Err(fault) => {
                let why = format!("its results cannot be read: {fault}");
                self.close(record, Stage::Gone, None, &why).await;
            }
        }
    }

    /// Remembers what became of a batch, and then tells those who wait for it.
    async fn close(
        &self,
        record: &Record,
        stage: Stage,
        results: Option<(Vec<u32>, Bytes)>,
        why: &str,
    ) {
        let shared = &*self.shared;
        let number = record.number;
        let Some(mut kept) = shared.record(number) else {
            return;
        };
        kept.stage = stage;
        let answer = results.map(|(failed, answer)| {
            kept.failed = failed;
            answer
        });
        let new = kept.clone();
        let written = shared.stored(move |store| {
            if let Some(answer) = answer {
                store.put_answers(number, &answer)?;
            }
            store.write(&new)
        });
        if let Err(error) = written.await {
            let why = format!("{} cannot be kept: {error}", name_of(record));
            shared.notice(format!("{why}; the next run collects it"));
            return shared.lose_sight(number, why);
        }
        shared.notice(format!("{}: {why}", name_of(record)));
        shared.update(number, |record| *record = kept);
    }
}
