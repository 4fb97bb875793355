//! The batches of all accounts, and how far they are.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::batch::{BatchPlan, End, Plans, Work};
use crate::clock::Timestamp;
use crate::fault::Fault;
use crate::log::{Entry, EventKind};
use crate::world::World;

/// How many batches are kept; the oldest go first.
const CAPACITY: usize = 1000;
/// How long inputs and results are kept.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

#[derive(Debug, Default)]
pub(crate) struct Batches {
    all: VecDeque<Batch>,
    made: u64,
    pub(crate) plans: Plans,
}

#[derive(Debug)]
struct Batch {
    id: String,
    key: usize,
    created: Timestamp,
    /// When it was billed.
    ended: Option<Timestamp>,
    end: End,
    duration: Duration,
    work: Work,
}

impl Batch {
    fn status(&self, now: Timestamp) -> &'static str {
        let elapsed = now.since(self.created);
        let third = self.duration / 3;
        match (&self.ended, &self.end) {
            (Some(_), end) => end.as_str(),
            (None, End::Failed(_)) => "validating",
            (None, _) if elapsed < third => "validating",
            (None, End::Expired) => "in_progress",
            (None, _) if elapsed < third * 2 => "in_progress",
            (None, End::Cancelled) => "cancelling",
            (None, _) => "finalizing",
        }
    }
}

impl World {
    /// The ID of the next batch.
    pub(crate) fn next_batch_id(&mut self) -> String {
        self.batches.made += 1;
        let tail = self.mint.alphanumeric(20);
        format!("batch-{}-{tail}", self.batches.made)
    }

    /// Uses up the plan of the next batch.
    pub(crate) fn next_plan(&mut self) -> BatchPlan {
        self.batches.plans.take()
    }

    /// Plans batches that are still to come.
    pub(crate) fn plan_batches(&mut self, plans: impl IntoIterator<Item = BatchPlan>) {
        self.batches.plans.add(plans);
    }

    /// Takes a batch in; the body of the answer.
    pub(crate) fn add_batch(
        &mut self,
        key: usize,
        id: String,
        work: Work,
        plan: BatchPlan,
    ) -> Value {
        if self.batches.all.len() >= CAPACITY {
            self.batches.all.pop_front();
        }
        let batch = Batch {
            id,
            key,
            created: self.clock.now(),
            ended: None,
            end: plan.end,
            duration: plan.after.unwrap_or(self.rules.job_duration),
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
        let now = self.clock.now();
        let mut all = self.batches.all.iter();
        let found = all.find(|batch| {
            batch.id == id
                && self.keys[batch.key].account == account
                && now.since(batch.created) < KEPT
        });
        let Some(batch) = found else {
            return Err(Fault::not_found(format!("Batch {id} not found")));
        };
        Ok(self.batch_record(batch, batch.status(now)))
    }

    /// Bills the batches that are through.
    pub(crate) fn end_batches(&mut self) {
        let now = self.clock.now();
        let mut due = Vec::new();
        for batch in &mut self.batches.all {
            if batch.ended.is_none() && now.since(batch.created) >= batch.duration {
                batch.ended = Some(now);
                due.push((
                    batch.key,
                    batch.work.cost,
                    batch.id.clone(),
                    batch.end.as_str(),
                ));
            }
        }
        for (key, cost, id, end) in due {
            self.charge(key, cost, now);
            let what = format!("batch {id} {end}");
            let kind = EventKind::Changed { what };
            self.log.push(Entry::of_the_world(now, kind));
        }
    }

    fn batch_record(&self, batch: &Batch, status: &str) -> Value {
        let work = &batch.work;
        let through = batch.ended.is_some();
        let (completed, failed) = if through {
            (work.answered, work.failed)
        } else {
            (0, 0)
        };
        let has_results = through && batch.end == End::Completed;
        let has_usage = has_results || (through && work.answered > 0);
        let error = match &batch.end {
            End::Failed(message) if through => json!({"code": 400, "message": message}),
            _ => Value::Null,
        };
        let usage = has_usage.then(|| {
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
            "results": has_results.then_some(&work.results),
            "error": error,
        })
    }
}
