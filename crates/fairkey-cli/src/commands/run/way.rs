//! Which way rows take: by calls of their own, through a gateway, or in batches of OpenRouter's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fairkey_batch::{
    BatchConfig, BatchReport, BatchState, Caller, ClientBatches, ClientCaller, Concurrency,
    DoneRows, Fallback as Taker, Journal, Notice, Output, Progress, ReaderThread, RunConfig,
    Snapshot, Stop, Summary, UpstreamBatches, ViaCaller, run as run_rows, run_with_journal,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Bounds;
use super::caller::Cleaned;
use super::input::{Inputs, read_config};
use crate::args::{Fallback, Mode, RunArgs};
use crate::table::{count, thousands, usd};
use crate::terminal::{self, Reporter};
use crate::upstream::{Upstream, via};

/// Rows that ask for their batch at a time.
const ASKING: usize = 512;
/// How often a line is printed while nothing changes.
const QUIET: Duration = Duration::from_secs(60);
/// How long the answer to a batch that is being submitted is waited for, when the run ends.
const SUBMITTING: Duration = Duration::from_secs(60);

/// What a run writes to.
pub(super) struct To<O> {
    pub(super) output: O,
    pub(super) journal: Option<Journal>,
    pub(super) config: RunConfig,
    pub(super) stop: Stop,
}

/// What came of the batches of a run.
pub(super) struct Batches {
    pub(super) batches: Vec<BatchReport>,
    pub(super) halted: Option<String>,
}

/// Checks what only this way needs.
///
/// # Errors
///
/// Says what does not go together.
pub(super) fn check(args: &RunArgs, inputs: &Inputs) -> Result<(), String> {
    if args.way.mode != Mode::UpstreamBatch {
        return Ok(());
    }
    if args.way.via.is_some() {
        return Err(
            "--mode upstream-batch goes to OpenRouter with keys of its own: leave out --via"
                .to_owned(),
        );
    }
    if args.money.max_cost.is_some() {
        return Err(
            "--max-cost cannot hold for --mode upstream-batch, which submits rows long before \
             anybody knows what they cost: see with --dry-run what they may cost, and leave it out"
                .to_owned(),
        );
    }
    if args.schema.schema_retries > 0 {
        return Err(
            "--schema-retries asks again at once, and --mode upstream-batch answers within a day: \
             leave it out, and send what does not fit again with --retry-failed"
                .to_owned(),
        );
    }
    let files = inputs.paths();
    let all = files.iter().all(|path| path.is_file());
    if !all || files.len() != inputs.len() {
        return Err(
            "--mode upstream-batch reads its input twice, to submit it and to write its results: \
             name files"
                .to_owned(),
        );
    }
    Ok(())
}

/// Sends rows by calls of their own: with the keys, or through a gateway.
pub(super) async fn send<O: Output>(
    args: &RunArgs,
    upstream: &Upstream,
    bounds: &Bounds,
    rows: ReaderThread,
    to: To<O>,
    reporter: &mut Reporter,
) -> Summary {
    let client = upstream.client.clone();
    if args.way.via.is_some() {
        let caller = ViaCaller::new(client, via::KEY);
        return run(rows, Arc::new(Cleaned(bounds.around(caller))), to, reporter).await;
    }
    let caller = ClientCaller::new(client).profiles(upstream.profiles.clone());
    run(rows, Arc::new(Cleaned(bounds.around(caller))), to, reporter).await
}

async fn run<C: Caller, O: Output, P: Progress>(
    rows: ReaderThread,
    caller: Arc<C>,
    to: To<O>,
    progress: P,
) -> Summary {
    match to.journal {
        Some(journal) => {
            run_with_journal(
                rows, caller, to.output, journal, to.config, to.stop, progress,
            )
            .await
        }
        None => run_rows(rows, caller, to.output, to.config, to.stop, progress).await,
    }
}

/// Sends rows in batches. They are remembered in `folder`.
///
/// # Errors
///
/// Where the folder cannot be used, or nobody knows where batches are.
pub(super) async fn batches<O: Output>(
    args: &RunArgs,
    upstream: &Upstream,
    folder: &Path,
    bounds: &Bounds,
    rows: ReaderThread,
    to: To<O>,
    reporter: &mut Reporter,
) -> Result<(Summary, Batches), String> {
    let mut config = BatchConfig::default();
    config.rows = args.way.batch_rows as usize;
    config.bytes = usize::try_from(args.way.batch_bytes).unwrap_or(usize::MAX);
    config.longest_look = args.way.look_every;
    config.first_look = config.first_look.min(args.way.look_every);
    config.patience = config.patience.max(args.patience);
    config.resubmit = args.way.resubmit;
    config.retry_failed = args.keep.retry_failed;
    if args.upstream.mock {
        config.first_look = Duration::from_millis(50);
    }
    let batches = UpstreamBatches::open(folder, config)
        .map_err(|error| format!("{} cannot be used: {error}", folder.display()))?
        .profiles(upstream.profiles.clone());
    match args.way.fallback {
        Fallback::Fail => submit(args, upstream, bounds, batches, rows, to, reporter).await,
        Fallback::Live => {
            let live = ClientCaller::new(upstream.client.clone());
            let batches = batches.fallback(live.profiles(upstream.profiles.clone()));
            submit(args, upstream, bounds, batches, rows, to, reporter).await
        }
    }
}

async fn submit<O: Output, F: Taker + std::fmt::Debug>(
    args: &RunArgs,
    upstream: &Upstream,
    bounds: &Bounds,
    batches: UpstreamBatches<F>,
    rows: ReaderThread,
    mut to: To<O>,
    reporter: &mut Reporter,
) -> Result<(Summary, Batches), String> {
    let ahead = Inputs::find(args)?.open(read_config(args, upstream)?)?;
    let ahead = ReaderThread::start_inputs(ahead)
        .map_err(|error| format!("no thread can be started: {error}"))?;
    let takes = ClientBatches::new(upstream.client.clone())?;
    let done = to
        .journal
        .as_ref()
        .map_or_else(DoneRows::default, Journal::done_rows);
    if let Ok(asking) = ASKING.try_into() {
        to.config.concurrency = Concurrency::Fixed(asking);
    }
    to.config.row_wait = None;
    let has_journal = to.journal.is_some();
    // Ends with the run, whatever ends that.
    let stop = Stop::new();
    let driver = batches.start(ahead, done, takes, stop.clone());
    let heard = to.stop.clone();
    let passed = stop.clone();
    let passing = tokio::spawn(async move {
        heard.stopping().await;
        passed.stop();
    });
    let batches = Arc::new(batches);
    let mut watching = Watching {
        reporter,
        batches: Arc::clone(&batches),
        quiet: args.quiet,
        told: None,
    };
    let caller = Arc::new(Cleaned(bounds.around(Arc::clone(&batches))));
    let summary = run(rows, caller, to, &mut watching).await;
    passing.abort();
    stop.stop();
    if timeout(SUBMITTING, driver.finish()).await.is_err() {
        terminal::warn("a batch is still being submitted: whether it was is in doubt");
    }
    watching.tell();
    let left = Batches {
        batches: batches.batches(),
        halted: batches.halted(),
    };
    let rows = &summary.rows;
    let is_over = summary.stopped.is_none() && rows.left + rows.unwritten + rows.lost == 0;
    if is_over
        && has_journal
        && !batches.has_open()
        && let Err(error) = batches.forget()
    {
        terminal::warn(&format!("what is remembered of batches stays: {error}"));
    }
    Ok((summary, left))
}

/// Tells of batches beside rows.
struct Watching<'a, F> {
    reporter: &'a mut Reporter,
    batches: Arc<UpstreamBatches<F>>,
    quiet: bool,
    /// How many rows were done, and when that was told.
    told: Option<(u64, Duration)>,
}

impl<F> Watching<'_, F> {
    fn tell(&mut self) {
        for text in self.batches.take_notices() {
            if !self.quiet {
                self.reporter.say(&text);
            }
        }
    }
}

impl<F: Send + Sync> Progress for Watching<'_, F> {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        self.tell();
        // A day of lines that say the same helps nobody.
        let due = self.told.is_none_or(|(done, at)| {
            snapshot.done != done || snapshot.elapsed.saturating_sub(at) >= QUIET
        });
        if due {
            self.told = Some((snapshot.done, snapshot.elapsed));
            self.reporter.snapshot(snapshot);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.tell();
        self.reporter.notice(notice);
    }
}

impl Batches {
    /// Returns a line for each batch.
    pub(super) fn lines(&self) -> String {
        let line = |batch: &BatchReport| {
            let name = batch.id.as_deref().unwrap_or("without a name");
            let status = batch.status.as_ref().map_or("-", |status| status.as_str());
            format!(
                "batch {:<4} {name}: {}, {status}, {} of {}, key \"{}\", {}",
                batch.number,
                batch.state.as_str(),
                count(batch.rows, "row"),
                batch.model,
                batch.key,
                usd(batch.micro_usd),
            )
        };
        self.batches.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn to_json(&self) -> Value {
        let batch = |batch: &BatchReport| {
            json!({
                "number": batch.number,
                "id": batch.id,
                "state": batch.state.as_str(),
                "status": batch.status.as_ref().map(|status| status.as_str()),
                "key": batch.key.as_str(),
                "account": batch.account.as_ref().map(|account| account.as_str()),
                "endpoint": batch.endpoint,
                "model": batch.model,
                "rows": batch.rows,
                "cost_usd": batch.micro_usd as f64 / 1e6,
            })
        };
        self.batches.iter().map(batch).collect()
    }

    /// Says what goes on upstream, and what to do about rows that were left.
    pub(super) fn explain(&self, summary: &Summary) {
        let of = |state| {
            let batches = self.batches.iter().filter(|batch| batch.state == state);
            batches.fold((0, 0), |(n, rows), batch| (n + 1, rows + batch.rows))
        };
        let (open, rows) = of(BatchState::Submitted);
        if open > 0 {
            terminal::say(&format!(
                "{} with {} upstream, and go on there: the same command collects them",
                count(open, "batch is").replace("batch iss", "batches are"),
                count(rows, "row")
            ));
        }
        let (doubt, rows) = of(BatchState::InDoubt);
        let (gone, gone_rows) = of(BatchState::Gone);
        if doubt + gone > 0 && summary.rows.left > 0 {
            terminal::warn(&format!(
                "{} may have been submitted without anybody knowing, or are lost upstream: they \
                 are left, and --resubmit submits them again, which may pay for them twice",
                count(rows + gone_rows, "row")
            ));
        }
        let (ended, rows) = of(BatchState::Ended);
        if ended > 0 {
            terminal::say(&format!(
                "{} ended without answers ({}): the same command submits them again",
                count(ended, "batch").replace("batchs", "batches"),
                count(rows, "row")
            ));
        }
        if let Some(halted) = &self.halted {
            terminal::error(&format!("{halted}; the same command goes on"));
        }
        if summary.stopped.is_none() && summary.rows.left > 0 {
            let left = thousands(summary.rows.left);
            terminal::error(&format!("{left} left without a result"));
        }
    }
}
