//! The run itself: [`run`].

mod begun;
mod book;
mod config;
mod delivery;
mod ending;
mod held_back;
mod keeping;
mod look;
mod names;
mod pace;
mod stopped;
mod task;
mod window;
mod written;

use std::collections::{HashMap, VecDeque};
use std::future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::begun::Begun;
use self::book::Book;
use self::delivery::Delivery;
use self::keeping::{Known, Note};
use self::names::Names;
use self::pace::Pace;
use self::task::{End, Sending, Tally};
use crate::bottleneck::Bottlenecks;
use crate::caller::{Allowance, AttemptCount, Caller, Spend};
use crate::concurrency::Limit;
use crate::journal::{Journal, record};
use crate::output::{Output, ResultLine};
use crate::progress::{Notice, Progress};
use crate::result;
use crate::row::{Request, Row};
use crate::source::Source;
use crate::stop::Stop;
use crate::summary::{AttemptsSummary, Rows, Summary};

pub use self::config::RunConfig;
pub use self::stopped::{InputChange, Stopped};

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
///     Allowance, Attempt, Caller, CallerState, Failure, MemoryOutput, ReadConfig, ReaderThread,
///     Reply, Request, RunConfig, Stop, run,
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
///
///     fn state(&self) -> &dyn CallerState {
///         &()
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

/// Sends every row that has no result in `journal`, and writes one result line for each row, as
/// [`run`] does.
///
/// A result goes to the journal first, and to the output when the system has it: whenever the
/// process ends, the journal has all that was done. A row goes by its place and by what it sends;
/// nothing is sent before the rows that have results were compared with them, as far as those
/// without fit into memory. What is in the output already, by
/// [`continue_output`](Journal::continue_output), is not written again.
///
/// # Cancel safety
///
/// Dropping the future gives up what is in flight; what is in the journal stays.
pub async fn run_with_journal<S, C, O, P>(
    source: S,
    caller: Arc<C>,
    output: O,
    journal: Journal,
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
    let mut run = Run::new(source, caller, output, config, progress);
    match run.delivery.keep(journal) {
        Ok(()) => run.comparing = run.delivery.known_rows() > 0,
        Err(error) => run.halt(Stopped::JournalFailed((&error).into())),
    }
    run.go(&stop).await
}

struct Run<S, C, O, P> {
    source: S,
    caller: Arc<C>,
    delivery: Delivery<O>,
    /// Whether rows are still compared with the journal, and none is sent.
    comparing: bool,
    /// Rows that are to be sent after that.
    deferred: VecDeque<(Begun, Request)>,
    deferred_bytes: usize,
    /// Whether nothing is waited for any more.
    abandoned: bool,
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
        let heard = caller.state().attempts();
        Self {
            source,
            caller,
            delivery: Delivery::new(output, config.ordered, config.window_bytes),
            comparing: false,
            deferred: VecDeque::new(),
            deferred_bytes: 0,
            abandoned: false,
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
            if let Some(error) = self.delivery.journal_failure() {
                self.halt(Stopped::JournalFailed(error));
            }
            let room = self.has_room();
            let blocked = self.delivery.is_blocked() && self.stopped.is_none();
            let drain_until = self.drain_until;
            let stirring = self.delivery.is_stirring();
            tokio::select! {
                biased;
                () = stop.stopping(), if !self.interrupted => {
                    self.interrupted = true;
                    self.halt(Stopped::Interrupted);
                }
                () = stop.abandoning() => self.abandon().await,
                () = until(drain_until) => self.abandon().await,
                // Before rows that end: there may always be one.
                result = self.delivery.stirred(blocked), if blocked || stirring => {
                    if let Err(why) = result {
                        self.halt(why);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                _ = tick.tick() => self.look(),
                () = future::ready(()), if room && self.has_deferred() => self.send_deferred(),
                row = self.source.next(), if room && !blocked => match row {
                    Ok(Some(row)) => self.begin(row),
                    Ok(None) => self.ends(),
                    Err(error) => self.halt(Stopped::InputFailed(error.to_string())),
                }
            }
        }
        self.finish().await
    }

    fn is_over(&self) -> bool {
        let settled = self.exhausted || self.stopped.is_some();
        self.tasks.is_empty()
            && (self.abandoned || settled && self.deferred.is_empty() && self.delivery.is_idle())
    }

    /// Returns whether one more row may begin.
    fn has_room(&self) -> bool {
        if self.stopped.is_some() && self.deferred.is_empty() {
            return false;
        }
        (self.comparing || self.in_flight() < self.limit.now())
            && (self.has_deferred()
                || !self.exhausted && self.stopped.is_none() && self.has_memory())
    }

    /// Returns how many rows take a place of those that may be in flight: a row is done when its
    /// result is safe.
    fn in_flight(&self) -> usize {
        self.tasks.len() + self.delivery.unconfirmed()
    }

    /// Returns whether more may be held.
    fn has_memory(&self) -> bool {
        let config = &self.config;
        let (rows, bytes) = if self.delivery.has_journal() {
            (config.journal_rows, usize::MAX)
        } else {
            (config.window_rows, config.window_bytes)
        };
        self.delivery.rows() < rows.max(2 * config.concurrency.max())
            && self.delivery.bytes() < bytes
            && self.request_bytes < config.request_bytes
    }

    /// Returns whether there are rows to be sent that were compared before.
    fn has_deferred(&self) -> bool {
        !self.comparing && !self.deferred.is_empty()
    }

    fn send_deferred(&mut self) {
        if let Some((begun, request)) = self.deferred.pop_front() {
            self.deferred_bytes -= begun.bytes;
            self.send(begun, request);
        }
    }

    /// The input has ended.
    fn ends(&mut self) {
        self.exhausted = true;
        self.comparing = false;
        let (rows, known) = (self.rows.read, self.delivery.known_rows());
        if rows < known {
            self.halt(Stopped::InputChanged(InputChange::Gone { rows, known }));
        }
    }

    fn begin(&mut self, row: Row) {
        let request = row.request.as_ref().ok();
        let identity = record::identity(
            row.custom_id.as_deref(),
            request.map(|request| (&*request.path, &*request.body)),
        );
        let begun = Begun {
            index: row.index,
            place: row.place(),
            id: row.id(),
            named: row.custom_id.is_some(),
            identity,
            bytes: row.request.as_ref().map_or(0, |request| request.body.len()),
            epoch: 0,
            since: Instant::now(),
            overdue: false,
            handle: None,
        };
        let known = self.delivery.known(row.index, identity, &begun.id);
        if known == Known::Another {
            let (place, id) = (begun.place, begun.id);
            return self.halt(Stopped::InputChanged(InputChange::Row { place, id }));
        }
        self.rows.read += 1;
        self.last_byte = row.end_byte;
        self.delivery.open();
        if let Some(custom_id) = &row.custom_id
            && let Some(first) = self.names.note(custom_id, &begun.place)
        {
            let custom_id = custom_id.clone();
            self.progress.notice(&Notice::NameRepeated {
                custom_id,
                places: (first, begun.place.clone()),
            });
        }
        if let Known::Result {
            offset,
            answered,
            written,
        } = known
        {
            self.rows.kept += 1;
            if answered {
                self.rows.answered += 1;
            } else {
                self.rows.failed += 1;
            }
            self.delivery
                .was_done(begun.index, offset, answered, written);
        } else {
            match row.request {
                Ok(request) if self.comparing => {
                    self.deferred_bytes += begun.bytes;
                    self.deferred.push_back((begun, request));
                }
                Ok(request) => self.send(begun, request),
                Err(bad) => {
                    self.rows.failed += 1;
                    self.book.failed();
                    let message = match bad.column {
                        Some(column) => format!("column {column}: {}", bad.message),
                        None => bad.message.clone(),
                    };
                    self.tell_failed(&begun, message);
                    let bytes = result::bad_line(&begun.address(), &bad);
                    self.done(&begun, false, bytes, Spend::default());
                }
            }
        }
        if self.comparing {
            let compared = row.index + 1 >= self.delivery.known_rows();
            let full = self.deferred.len() >= DEFERRED.0 || self.deferred_bytes >= DEFERRED.1;
            self.comparing = !compared && !full;
        }
    }

    fn send(&mut self, mut begun: Begun, request: Request) {
        self.request_bytes += begun.bytes;
        begun.epoch = self.limit.epoch();
        begun.since = Instant::now();
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
        let task = self.tasks.spawn(sending.send());
        let id = task.id();
        begun.handle = Some(task);
        self.begun.insert(id, begun);
        self.peak = self.peak.max(self.tasks.len());
    }

    /// A row has a result.
    fn done(&mut self, begun: &Begun, answered: bool, bytes: Vec<u8>, spend: Spend) {
        let note = Note {
            identity: begun.identity,
            micro_usd: spend.micro_usd(),
            tokens: spend.cost.tokens,
            unsent: begun.handle.is_none(),
        };
        let line = ResultLine::new(begun.index, answered, bytes);
        self.delivery.done(line, note);
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
        let mut spend = Spend::default();
        let (answered, bytes) = match end {
            Some(End::Answered { reply, tally }) => {
                self.rows.answered += 1;
                self.attempts.add(tally.attempts);
                self.row_ended(begun.epoch, tally);
                spend = tally.spend;
                let bytes = result::answered(&begun.address(), &reply, &tally.took());
                (true, bytes)
            }
            Some(End::Failed { failure, tally }) => {
                self.rows.failed += 1;
                self.book.failed();
                self.attempts.add(tally.attempts);
                self.row_ended(begun.epoch, tally);
                self.tell_failed(&begun, failure.message.clone());
                spend = tally.spend;
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
            Some(End::Abandoned) if begun.overdue => {
                self.rows.failed += 1;
                self.book.failed();
                let wait = self.config.row_wait.unwrap_or_default();
                let bytes = result::overdue(&begun.address(), wait);
                self.tell_failed(&begun, "the others have waited long enough".to_owned());
                (false, bytes)
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
        self.done(&begun, answered, bytes, spend);
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

    fn tell_failed(&mut self, begun: &Begun, message: String) {
        let custom_id = begun.named.then(|| begun.id.clone());
        self.progress.notice(&Notice::RowFailed {
            place: begun.place.clone(),
            custom_id,
            message,
        });
    }
}

/// The most rows, and the most bytes of their bodies, that wait for the comparison with a journal.
const DEFERRED: (usize, usize) = (65_536, 64 << 20);

/// Waits for a time, if there is one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}
