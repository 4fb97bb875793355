//! The batches of all accounts, and how far they are.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::batch::Work;
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::log::{Entry, EventKind};
use crate::world::World;

/// How many batches are kept; the oldest ended ones go first.
const CAPACITY: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Batches {
    all: VecDeque<Batch>,
    made: u64,
}

#[derive(Debug)]
struct Batch {
    id: String,
    key: usize,
    created: Timestamp,
    /// When it was billed.
    ended: Option<Timestamp>,
    work: Work,
}

impl World {
    /// The ID of the next batch.
    pub(crate) fn next_batch_id(&mut self) -> String {
        self.batches.made += 1;
        let tail = self.mint.alphanumeric(20);
        format!("batch-{}-{tail}", self.batches.made)
    }

    /// Takes a batch in; the body of the answer.
    pub(crate) fn add_batch(&mut self, key: usize, id: String, work: Work) -> Value {
        if self.batches.all.len() >= CAPACITY {
            self.batches.all.pop_front();
        }
        let batch = Batch {
            id,
            key,
            created: self.clock.now(),
            ended: None,
            work,
        };
        let shown = self.batch_record(&batch, "validating");
        self.batches.all.push_back(batch);
        shown
    }

    /// The body of `GET /api/beta/batches/{id}`, for keys of the account that made it.
    pub(crate) fn batch(&mut self, key: usize, id: &str) -> Result<Value, Fault> {
        self.end_batches();
        let account = self.keys[key].account;
        let mut all = self.batches.all.iter();
        let found = all.find(|batch| batch.id == id && self.keys[batch.key].account == account);
        let Some(batch) = found else {
            return Err(Fault::not_found(format!("Batch {id} not found")));
        };
        let elapsed = self.clock.now().since(batch.created);
        let third = self.rules.job_duration / 3;
        let status = match batch.ended {
            Some(_) => "completed",
            None if elapsed < third => "validating",
            None if elapsed < third * 2 => "in_progress",
            None => "finalizing",
        };
        Ok(self.batch_record(batch, status))
    }

    /// Bills the batches that are through.
    pub(crate) fn end_batches(&mut self) {
        let now = self.clock.now();
        let duration = self.rules.job_duration;
        let mut due = Vec::new();
        for batch in &mut self.batches.all {
            if batch.ended.is_none() && now.since(batch.created) >= duration {
                batch.ended = Some(now);
                due.push((batch.key, batch.work.cost, batch.id.clone()));
            }
        }
        for (key, cost, id) in due {
            self.charge(key, cost, now);
            let what = format!("batch {id} completed");
            let kind = EventKind::Changed { what };
            self.log.push(Entry::of_the_world(now, kind));
        }
    }

    fn batch_record(&self, batch: &Batch, status: &str) -> Value {
        let work = &batch.work;
        let through = batch.ended.is_some();
        let (completed, failed) = if through {
            (work.results.len() - work.failed, work.failed)
        } else {
            (0, 0)
        };
        let usage = through.then(|| {
            json!({
                "prompt_tokens": work.prompt_tokens,
                "completion_tokens": work.completion_tokens,
                "total_tokens": work.prompt_tokens + work.completion_tokens,
                "cost": work.cost.usd(),
                "is_byok": false,
            })
        });
        json!({
            "id": batch.id,
            "object": "batch",
            "endpoint": work.endpoint,
            "model": work.model,
            "completion_window": "24h",
            "status": status,
            "created_at": self.clock.told(batch.created).unix_seconds(),
            "finalized_at": batch.ended.map(|at| self.clock.told(at).unix_seconds()),
            "request_counts": {
                "total": work.results.len(),
                "completed": completed,
                "failed": failed,
            },
            "usage": usage,
            "results": through.then_some(&work.results),
            "error": null,
        })
    }
}
