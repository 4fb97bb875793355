//! The run itself: [`run`].

mod begun;
mod book;
mod config;
mod delivery;
mod held_back;
mod names;
mod pace;
mod stopped;
mod task;
mod window;
mod written;

use std::collections::HashMap;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use self::begun::Begun;
use self::book::Book;
use self::delivery::Delivery;
use self::names::Names;
use self::pace::Pace;
use self::task::{End, Sending, Tally};
use crate::bottleneck::Bottlenecks;
use crate::caller::{Allowance, AttemptCount, Caller};
use crate::concurrency::Limit;
use crate::output::{Output, OutputError, ResultLine};
use crate::progress::{Notice, Progress, Snapshot};
use crate::result;
use crate::row::Row;
use crate::source::Source;
use crate::stop::Stop;
use crate::summary::{AttemptsSummary, Rows, Summary};

pub use self::config::RunConfig;
pub use self::stopped::Stopped;

/// Sends every row, and writes one result line for each.
///
/// Rows are begun in order and as late as possible, so that an input of any length takes the same
/// memory. A row for which no key is to be had waits; it does not fail. What ends a run early (see
/// [`Stopped`]) lets what is in flight finish for a while, and keeps every result there is: rows
/// that were done are written even if one before them never was.
///
/// # Cancel safety
///
/// Dropping the future gives up what is in flight; result lines that are written stay.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use fairkey_batch::{
///     Allowance, Attempt, Caller, Failure, MemoryOutput, ReadConfig, ReaderThread, Reply,
///     Request, RunConfig, Stop, run,
/// };
///
/// struct Echo;
///
/// impl Caller for Echo {
///     async fn call(&self, request: &Request, _: Allowance) -> Result<Reply, Failure> {
///         Ok(Reply {
///             status: 200,
///             request_id: None,
///             body: request.body.clone(),
///             key: "a".into(),
///             cost: None,
///             attempts: vec![Attempt::good("a".into(), None)],
///             waited: std::time::Duration::ZERO,
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let rows = ReaderThread::start(&b"one\ntwo\n"[..], ReadConfig::default(), None)?;
/// let output = MemoryOutput::new();
/// let summary =
///     run(rows, Arc::new(Echo), output.clone(), RunConfig::default(), Stop::new(), ()).await;
/// assert!(summary.is_complete());
/// assert_eq!(output.lines().len(), 2);
/// # Ok(())
/// # }
/// ```
pub async fn run<S, C, O, P>(
    source: S,
    caller: Arc<C>,
    output: O,
    config: RunConfig,
    stop: Stop,
    progress: P,
) -> Summary
where
    S: Source,
    C: Caller,
    O: Output,
    P: Progress,
{
    Run::new(source, caller, output, config, progress)
        .go(&stop)
        .await
}

struct Run<S, C, O, P> {
    source: S,
    caller: Arc<C>,
    delivery: Delivery<O>,
    config: RunConfig,
    progress: P,
    started: Instant,
    /// Raised when nothing more shall begin, for whatever reason: rows that wait hear it.
    halt: Stop,
    stopped: Option<Stopped>,
    /// Whether the stop of whoever started the run was heard.
    interrupted: bool,
    /// When what is in flight is abandoned.
    drain_until: Option<Instant>,
    /// Ticks in a row at which nothing was under way upstream while draining.
    quiet: u32,
    exhausted: bool,
    tasks: JoinSet<End>,
    begun: HashMap<Id, Begun>,
    limit: Limit,
    /// The attempts that the limit has heard of, where the caller tells them early.
    heard: Option<AttemptCount>,
    book: Arc<Book>,
    rows: Rows,
    names: Names,
    attempts: AttemptsSummary,
    last_byte: u64,
    pace: Pace,
    token_pace: Pace,
    peak: usize,
    /// Bytes of the requests in flight.
    request_bytes: usize,
    bottlenecks: Bottlenecks,
}

impl<S: Source, C: Caller, O: Output, P: Progress> Run<S, C, O, P> {
    fn new(source: S, caller: Arc<C>, output: O, config: RunConfig, progress: P) -> Self {
        let started = Instant::now();
        let heard = caller.attempts();
        Self {
            source,
            caller,
            delivery: Delivery::new(output, config.ordered),
            progress,
            started,
            halt: Stop::new(),
            stopped: None,
            interrupted: false,
            drain_until: None,
            quiet: 0,
            exhausted: false,
            tasks: JoinSet::new(),
            begun: HashMap::new(),
            limit: Limit::new(config.concurrency),
            heard,
            book: Arc::new(Book::new(started)),
            rows: Rows::default(),
            names: Names::default(),
            attempts: AttemptsSummary::default(),
            last_byte: 0,
            pace: Pace::new(started),
            token_pace: Pace::new(started),
            peak: 0,
            request_bytes: 0,
            bottlenecks: Bottlenecks::default(),
            config,
        }
    }

    async fn go(mut self, stop: &Stop) -> Summary {
        let mut tick = interval(self.config.tick.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            let room = self.has_room();
            let blocked = self.delivery.is_blocked() && self.stopped.is_none();
            let drain_until = self.drain_until;
            tokio::select! {
                biased;
                () = stop.stopping(), if !self.interrupted => {
                    self.interrupted = true;
                    self.halt(Stopped::Interrupted);
                }
                () = stop.abandoning() => self.abandon().await,
                () = until(drain_until) => self.abandon().await,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                _ = tick.tick() => self.look(),
                ready = self.delivery.ready(), if blocked => {
                    if let Err(error) = ready {
                        self.halt(Stopped::OutputFailed(error));
                    }
                }
                row = self.source.next(), if room && !blocked => match row {
                    Ok(Some(row)) => self.begin(row),
                    Ok(None) => self.exhausted = true,
                    Err(error) => self.halt(Stopped::InputFailed(error.to_string())),
                }
            }
        }
        self.finish().await
    }

    fn is_over(&self) -> bool {
        self.tasks.is_empty() && (self.exhausted || self.stopped.is_some())
    }

    /// Returns whether one more row may begin.
    fn has_room(&self) -> bool {
        self.stopped.is_none()
            && !self.exhausted
            && self.tasks.len() < self.limit.now()
            && self.has_memory()
    }

    /// Returns whether more may be held.
    fn has_memory(&self) -> bool {
        let window_rows = self
            .config
            .window_rows
            .max(2 * self.config.concurrency.max());
        self.delivery.rows() < window_rows
            && self.delivery.bytes() < self.config.window_bytes
            && self.request_bytes < self.config.request_bytes
    }

    fn begin(&mut self, row: Row) {
        self.rows.read += 1;
        self.last_byte = row.end_byte;
        self.delivery.open();
        let begun = Begun {
            index: row.index,
            place: row.place(),
            id: row.id(),
            named: row.custom_id.is_some(),
            epoch: self.limit.epoch(),
            bytes: row.request.as_ref().map_or(0, |request| request.body.len()),
        };
        if let Some(custom_id) = &row.custom_id
            && let Some(first) = self.names.note(custom_id, &begun.place)
        {
            let custom_id = custom_id.clone();
            self.progress.notice(&Notice::NameRepeated {
                custom_id,
                places: (first, begun.place.clone()),
            });
        }
        match row.request {
            Ok(request) => {
                let sending = Sending {
                    caller: Arc::clone(&self.caller),
                    index: begun.index,
                    request,
                    allowance: Allowance {
                        attempts: self.config.attempts.max(1),
                        failovers: self.config.failovers.max(1),
                    },
                    book: Arc::clone(&self.book),
                    halt: self.halt.clone(),
                };
                self.request_bytes += begun.bytes;
                let task = self.tasks.spawn(sending.send());
                self.begun.insert(task.id(), begun);
                self.peak = self.peak.max(self.tasks.len());
            }
            Err(bad) => {
                self.rows.failed += 1;
                self.book.failed();
                let message = match bad.column {
                    Some(column) => format!("column {column}: {}", bad.message),
                    None => bad.message.clone(),
                };
                self.tell_failed(&begun, message);
                let bytes = result::bad_line(&begun.address(), &bad);
                self.delivery
                    .done(ResultLine::new(begun.index, false, bytes));
            }
        }
    }

    /// A row is done, or given up.
    fn ended(&mut self, ended: Result<(Id, End), JoinError>) {
        let (id, end) = match ended {
            Ok((id, end)) => (id, Some(end)),
            Err(error) if error.is_panic() => (error.id(), None),
            Err(error) => (error.id(), Some(End::Abandoned)),
        };
        let Some(begun) = self.begun.remove(&id) else {
            return;
        };
        self.request_bytes -= begun.bytes;
        let (answered, bytes) = match end {
            Some(End::Answered { reply, tally }) => {
                self.rows.answered += 1;
                self.attempts.add(tally.attempts);
                self.row_ended(begun.epoch, tally);
                let bytes = result::answered(&begun.address(), &reply, &tally.took());
                (true, bytes)
            }
            Some(End::Failed { failure, tally }) => {
                self.rows.failed += 1;
                self.book.failed();
                self.attempts.add(tally.attempts);
                self.row_ended(begun.epoch, tally);
                self.tell_failed(&begun, failure.message.clone());
                let bytes = result::failed(&begun.address(), &failure, &tally.took());
                (false, bytes)
            }
            Some(End::OutOfMoney(why)) => {
                self.halt(Stopped::OutOfMoney(why));
                return self.given_up(begun.index);
            }
            Some(End::KeysOut { keys }) => {
                self.halt(Stopped::KeysOut {
                    keys,
                    retry_after: None,
                });
                return self.given_up(begun.index);
            }
            Some(End::Abandoned) => return self.given_up(begun.index),
            None => {
                self.rows.failed += 1;
                self.book.failed();
                let bytes = result::internal(&begun.address());
                self.tell_failed(&begun, "sending the row panicked".to_owned());
                (false, bytes)
            }
        };
        self.delivery
            .done(ResultLine::new(begun.index, answered, bytes));
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
    }

    /// Nothing will come of a row.
    fn given_up(&mut self, index: u64) {
        self.rows.left += 1;
        self.delivery.given_up(index);
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
    }

    /// Tells the limit what a row took, where it does not know yet.
    fn row_ended(&mut self, epoch: u64, tally: Tally) {
        let now = Instant::now();
        match self.heard {
            Some(_) => self.limit.ended(now, epoch, 0, 0),
            None => self
                .limit
                .ended(now, epoch, tally.attempts, tally.slow_downs),
        }
    }

    /// Tells the limit of attempts whose rows have not ended.
    fn hear(&mut self) {
        let (Some(before), Some(now)) = (self.heard, self.caller.attempts()) else {
            return;
        };
        self.heard = Some(now);
        // After a step back, what is still in flight from before says nothing new.
        if self.tasks.len() <= self.limit.now() {
            let slow_downs = now.slow_downs.saturating_sub(before.slow_downs);
            self.limit
                .heard(now.made.saturating_sub(before.made), slow_downs);
        }
    }

    fn tell_failed(&mut self, begun: &Begun, message: String) {
        let custom_id = begun.named.then(|| begun.id.clone());
        self.progress.notice(&Notice::RowFailed {
            place: begun.place.clone(),
            custom_id,
            message,
        });
    }

    /// Begins nothing more. The first reason is the one that is told.
    fn halt(&mut self, why: Stopped) {
        let now = Instant::now();
        let until = match why {
            // A broken input is no reason to hurry: what was read is sent.
            Stopped::InputFailed(_) => None,
            // What is under way is paid for: nothing of it is given up.
            Stopped::OutOfMoney(_) => {
                self.halt.stop();
                None
            }
            // A broken output is none to go on: what comes now could not be kept.
            Stopped::OutputFailed(_) => Some(now),
            Stopped::Interrupted | Stopped::KeysOut { .. } | Stopped::NothingAnswered { .. } => {
                Some(now + self.config.drain)
            }
        };
        if let Some(until) = until {
            self.halt.stop();
            self.drain_until = Some(self.drain_until.map_or(until, |sooner| sooner.min(until)));
        }
        if self.stopped.is_none() {
            self.progress.notice(&Notice::Stopping(why.clone()));
            self.stopped = Some(why);
        }
    }

    /// Gives up what is in flight. What has ended by now counts.
    async fn abandon(&mut self) {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.ended(ended);
        }
    }

    /// Looks at the state of things, a few times per second.
    fn look(&mut self) {
        self.hear();
        let waiting = self.waiting();
        self.limit.waiting(waiting);
        self.bottlenecks.note(self.held_back(waiting));
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
        let now = Instant::now();
        let idle = self.caller.in_flight() == Some(0);
        if self.stopped.is_none() {
            if let Some(why) = self.book.out_of_patience(self.config.patience, idle) {
                self.halt(why);
            }
        } else if self.drain_until.is_some() {
            // Twice in a row: between two attempts nothing is under way either.
            self.quiet = if idle { self.quiet + 1 } else { 0 };
            if self.quiet >= 2 {
                self.drain_until = Some(now);
            }
        }
        let snapshot = self.snapshot(now);
        self.progress.snapshot(&snapshot);
    }

    fn snapshot(&mut self, now: Instant) -> Snapshot {
        let done = self.rows.answered + self.rows.failed;
        let rate = self.pace.rate(now, done);
        let (refused, spend) = self.book.refused_and_spent();
        self.book
            .level(self.tasks.len() as u64, self.limit.now() as u64);
        let rows_expected = match (self.exhausted, self.source.total_bytes()) {
            (true, _) => Some(self.rows.read),
            (false, Some(total)) if self.last_byte > 0 => {
                let bytes_per_row = self.last_byte as f64 / self.rows.read as f64;
                Some(((total as f64 / bytes_per_row).round() as u64).max(self.rows.read))
            }
            (false, _) => None,
        };
        let eta = rows_expected.filter(|_| rate > 0.0).and_then(|rows| {
            Duration::try_from_secs_f64(rows.saturating_sub(done) as f64 / rate).ok()
        });
        Snapshot {
            done,
            failed: self.rows.failed,
            in_flight: self.tasks.len() as u64,
            limit: self.limit.now() as u64,
            refused,
            tokens: spend.cost.tokens,
            micro_usd: spend.micro_usd(),
            lanes: self.book.lanes(),
            elapsed: now - self.started,
            rate,
            token_rate: self.token_pace.rate(now, spend.cost.tokens),
            rows_expected,
            all_read: self.exhausted,
            eta,
        }
    }

    async fn finish(mut self) -> Summary {
        let finished = timeout(self.config.drain, self.delivery.finish()).await;
        let error = match finished {
            Ok(result) => result.err(),
            Err(_) => Some(OutputError::stuck(self.config.drain)),
        };
        if let Some(error) = error {
            self.halt(Stopped::OutputFailed(error));
        }
        self.book
            .take_notices(|notice| self.progress.notice(&notice));
        let now = Instant::now();
        let snapshot = self.snapshot(now);
        self.progress.snapshot(&snapshot);
        let mut rows = self.rows;
        self.delivery.close(&mut rows);
        rows.repeated_names = self.names.repeated();
        let accounted = rows.written + rows.unwritten + rows.left;
        rows.lost = rows.read.saturating_sub(accounted);
        let states = self.caller.keys();
        let (keys, spend, history) = self.book.close(states);
        Summary {
            rows,
            stopped: self.stopped,
            elapsed: now - self.started,
            attempts: self.attempts,
            cost: spend.cost,
            byok_micro_usd: spend.byok_micro_usd,
            maybe_billed: spend.unknown,
            keys,
            history,
            bottlenecks: self.bottlenecks.finish(),
            peak_in_flight: self.peak as u64,
        }
    }
}

/// Waits for a time, if there is one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}
