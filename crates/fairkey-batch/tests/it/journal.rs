//! Runs that keep a journal, and go on with it. On real time, since files are written on threads;
//! nothing waits for long.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fairkey_batch::{
    Allowance, Attempt, Caller, CallerState, Concurrency, Continued, Failure, InputChange, Journal,
    JournalConfig, JournalError, JournalFile, Parameters, Reply, Request, RunConfig, Sink,
    SplitOutput, Stop, Stopped, Summary, SyncPolicy, WriterThread, run_with_journal,
};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::fake::{End, Fake, Rows, Step, bad_row, indexes, rows, step};

/// A folder with the files of a run.
struct Desk {
    dir: TempDir,
    ordered: bool,
    retry_failed: bool,
    errors: bool,
    parameters: Parameters,
    config: RunConfig,
}

/// What came of one run.
struct Came {
    summary: Summary,
    continued: Continued,
    calls: usize,
}

fn at_once(ends: End) -> Step {
    Step {
        takes: Duration::ZERO,
        ends,
    }
}

impl Desk {
    fn new() -> Self {
        let mut config = RunConfig::default();
        config.concurrency = Concurrency::Fixed(NonZeroUsize::new(8).unwrap());
        config.drain = Duration::from_millis(200);
        config.tick = Duration::from_millis(5);
        Self {
            dir: TempDir::new().unwrap(),
            ordered: true,
            retry_failed: false,
            errors: false,
            parameters: Parameters::new(),
            config,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn output(&self, name: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path(name)).unwrap()
    }

    fn open(&self) -> Result<Journal, JournalError> {
        let mut config = JournalConfig::default();
        config.retry_failed = self.retry_failed;
        config.sync = SyncPolicy::Never;
        Journal::open(&self.path("out.journal"), &self.parameters, config)
    }

    async fn run(&self, source: Rows, caller: Arc<Fake>) -> Came {
        let journal = self.open().unwrap();
        self.run_with(source, Arc::clone(&caller), journal).await
    }

    async fn run_with(&self, source: Rows, caller: Arc<Fake>, mut journal: Journal) -> Came {
        let mut answers = self.output("out.jsonl");
        let mut errors = self.errors.then(|| self.output("errors.jsonl"));
        let rescue = self.path("out.rest");
        let continued = journal
            .continue_output(&mut answers, errors.as_mut(), &rescue, self.ordered)
            .unwrap();
        let writer = |file| WriterThread::start(Sink::File(file)).unwrap();
        let output = SplitOutput::new(writer(answers), errors.map(writer));
        let mut config = self.config.clone();
        config.ordered = self.ordered;
        let (stop, progress) = (Stop::new(), ());
        let calls = Arc::clone(&caller);
        let summary =
            run_with_journal(source, caller, output, journal, config, stop, progress).await;
        Came {
            summary,
            continued,
            calls: calls.calls(),
        }
    }

    fn compact(&self) -> bool {
        let (answers, errors) = (self.path("out.jsonl"), self.path("errors.jsonl"));
        let errors = self.errors.then_some(&*errors);
        Journal::compact(&self.path("out.journal"), &answers, errors, self.ordered).unwrap()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines only");
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn has_each_row_once_in_order(&self, n: u64) {
        assert_eq!(
            indexes(&self.lines("out.jsonl")),
            (0..n).collect::<Vec<_>>()
        );
    }

    /// Changes bytes of a file.
    fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(name)).unwrap();
        edit(&mut bytes);
        fs::write(self.path(name), bytes).unwrap();
    }
}

fn answers() -> Arc<Fake> {
    Fake::new(|_, _| at_once(End::Answer))
}

/// Answers the first rows; then no key is left.
fn answers_until(end: u64) -> Arc<Fake> {
    Fake::new(move |index, _| at_once(if index < end { End::Answer } else { End::Dead }))
}

#[tokio::test]
async fn a_run_that_ended_goes_on_with_what_is_missing() {
    for ordered in [true, false] {
        let mut desk = Desk::new();
        desk.ordered = ordered;
        let first = desk.run(rows(300), answers_until(120)).await;
        assert!(matches!(
            first.summary.stopped,
            Some(Stopped::KeysOut { .. })
        ));
        assert_eq!(first.summary.rows.written, 120);
        let second = desk.run(rows(300), answers()).await;
        assert!(second.summary.is_complete(), "{:?}", second.summary);
        assert_eq!(second.calls, 180);
        assert_eq!(second.continued.lines, 120);
        assert_eq!(second.summary.rows.kept, 120);
        assert_eq!(second.summary.rows.answered, 300);
        let mut there = indexes(&desk.lines("out.jsonl"));
        if !ordered {
            there.sort_unstable();
        }
        assert_eq!(there, (0..300).collect::<Vec<_>>());
        let third = desk.run(rows(300), answers()).await;
        assert!(third.summary.is_complete());
        assert_eq!((third.calls, third.continued.lines), (0, 300));
    }
}

#[tokio::test]
async fn rows_behind_one_that_never_ended_are_kept_and_stand_in_order_at_last() {
    let desk = Desk::new();
    let caller = Fake::new(|index, _| match index {
        5 => Step {
            takes: Duration::from_secs(600),
            ends: End::Answer,
        },
        40.. => at_once(End::Dead),
        _ => at_once(End::Answer),
    });
    let first = desk.run(rows(60), caller).await;
    assert_eq!(first.summary.rows.written, 39);
    let second = desk.run(rows(60), answers()).await;
    assert_eq!(second.calls, 21);
    assert_eq!(second.continued.lines, 5, "up to the gap");
    assert!(second.continued.cut > 0 && second.continued.adopted == 0);
    desk.has_each_row_once_in_order(60);
}

#[tokio::test]
async fn appended_rows_are_sent_and_rows_that_are_alike_are_rows_of_their_own() {
    let desk = Desk::new();
    let alike = |n: u64| {
        let mut source = rows(n);
        for row in &mut source.rows {
            row.custom_id = None;
            row.request.as_mut().unwrap().body = Bytes::from_static(b"7");
        }
        source
    };
    assert_eq!(desk.run(alike(10), answers()).await.calls, 10);
    let more = desk.run(alike(15), answers()).await;
    assert_eq!((more.calls, more.summary.rows.kept), (5, 10));
    desk.has_each_row_once_in_order(15);
}

#[tokio::test]
async fn failures_are_done_unless_they_are_to_be_sent_again() {
    let mut desk = Desk::new();
    let failing = || {
        let ends = |index: u64| {
            if index.is_multiple_of(10) {
                End::Fail
            } else {
                End::Answer
            }
        };
        Fake::new(move |index, _| at_once(ends(index)))
    };
    let mut source = rows(50);
    source.rows[7] = bad_row(7);
    assert_eq!(desk.run(source, failing()).await.summary.rows.failed, 6);
    let mut source = rows(50);
    source.rows[7] = bad_row(7);
    let again = desk.run(source, answers()).await;
    assert_eq!((again.calls, again.summary.rows.failed), (0, 6));
    desk.retry_failed = true;
    // The line that was no request was mended meanwhile.
    let third = desk.run(rows(50), answers()).await;
    assert_eq!((third.calls, third.summary.rows.kept), (6, 44));
    assert!(third.summary.is_complete());
    desk.has_each_row_once_in_order(50);
    let errors = |line: &String| !line.contains("\"error\":null");
    assert!(!desk.lines("out.jsonl").iter().any(errors));
}

#[tokio::test]
async fn failures_can_stand_in_a_file_of_their_own() {
    let mut desk = Desk::new();
    desk.errors = true;
    let failing = || {
        let ends = |index: u64| {
            if index.is_multiple_of(3) {
                End::Fail
            } else {
                End::Answer
            }
        };
        Fake::new(move |index, _| at_once(ends(index)))
    };
    let first = desk.run(rows(30), failing()).await;
    assert_eq!(first.summary.rows.written, 30);
    let thirds: Vec<u64> = (0..30).filter(|index| index % 3 == 0).collect();
    assert_eq!(indexes(&desk.lines("errors.jsonl")), thirds);
    assert!(desk.compact());
    let second = desk.run(rows(31), answers()).await;
    assert_eq!((second.calls, second.continued.lines), (1, 30));
    desk.retry_failed = true;
    let third = desk.run(rows(31), answers()).await;
    assert_eq!(third.calls, 10);
    assert_eq!(desk.lines("errors.jsonl").len(), 0);
    desk.has_each_row_once_in_order(31);
}

#[tokio::test]
async fn a_changed_row_is_an_error_before_anything_is_sent() {
    let desk = Desk::new();
    desk.run(rows(100), answers_until(60)).await;
    let before = fs::read(desk.path("out.jsonl")).unwrap();
    let mut source = rows(100);
    source.rows[59].request.as_mut().unwrap().body = Bytes::from_static(b"5959");
    let came = desk.run(source, answers()).await;
    let Some(Stopped::InputChanged(change)) = &came.summary.stopped else {
        panic!("{:?}", came.summary.stopped)
    };
    assert!(matches!(change, InputChange::Row { place, .. } if place.line == 60));
    assert!(change.to_string().contains("\"id-59\""), "{change}");
    assert_eq!(came.calls, 0);
    assert_eq!(fs::read(desk.path("out.jsonl")).unwrap(), before);
    // Rows of another name are other rows.
    let mut source = rows(100);
    source.rows[3].custom_id = Some("other".to_owned());
    let came = desk.run(source, answers()).await;
    assert_eq!(came.calls, 0);
    assert!(matches!(
        came.summary.stopped,
        Some(Stopped::InputChanged(_))
    ));
    assert_eq!(desk.run(rows(100), answers()).await.calls, 40);
    desk.has_each_row_once_in_order(100);
}

#[tokio::test]
async fn rows_that_are_gone_are_noticed() {
    let desk = Desk::new();
    desk.run(rows(20), answers()).await;
    let came = desk.run(rows(15), answers()).await;
    let gone = InputChange::Gone {
        rows: 15,
        known: 20,
    };
    assert_eq!(came.summary.stopped, Some(Stopped::InputChanged(gone)));
    desk.has_each_row_once_in_order(20);
}

#[tokio::test]
async fn other_parameters_other_users_and_other_files_are_refused() {
    let mut desk = Desk::new();
    desk.parameters.set("model", "a");
    desk.run(rows(5), answers()).await;
    desk.parameters.set("model", "b");
    let error = desk.open().unwrap_err();
    assert!(
        error.to_string().contains("model was \"a\", and is \"b\""),
        "{error}"
    );
    desk.parameters.set("model", "a");
    let open = desk.open().unwrap();
    assert!(matches!(desk.open(), Err(JournalError::Locked)));
    drop(open);
    desk.edit("out.journal", |bytes| bytes[16] = 9);
    let error = desk.open().unwrap_err();
    assert!(
        matches!(error, JournalError::Newer { version: 9 }),
        "{error}"
    );
    desk.edit("out.journal", |bytes| bytes[0] = b'x');
    assert!(matches!(desk.open(), Err(JournalError::NotAJournal)));
    assert_eq!(fs::read(desk.path("out.journal")).unwrap()[0], b'x');
}

/// Ends row 0 when all others have begun.
struct SlowFirst {
    others: Semaphore,
    n: u32,
}

impl Caller for SlowFirst {
    async fn call(&self, request: &Request, _: Allowance) -> Result<Reply, Failure> {
        if request.body == "0" {
            let _ = self.others.acquire_many(self.n - 1).await.unwrap();
        } else {
            self.others.add_permits(1);
        }
        Ok(Reply {
            status: 200,
            request_id: None,
            body: Bytes::from(format!("\"{}\"", "x".repeat(1_000))),
            key: "a".into(),
            cost: None,
            attempts: vec![Attempt::good("a".into(), None)],
            waited: Duration::ZERO,
        })
    }

    fn state(&self) -> &dyn CallerState {
        &()
    }
}

#[tokio::test]
async fn one_slow_row_holds_nothing_back_and_what_waits_takes_no_memory() {
    let mut desk = Desk::new();
    // Without a journal, rows would stop at either of them.
    desk.config.window_rows = 32;
    desk.config.window_bytes = 10_000;
    let n = 3_000;
    let caller = SlowFirst {
        others: Semaphore::new(0),
        n,
    };
    let output = WriterThread::start(Sink::File(desk.output("out.jsonl"))).unwrap();
    let journal = desk.open().unwrap();
    let (source, config) = (rows(n.into()), desk.config.clone());
    let run = run_with_journal(
        source,
        Arc::new(caller),
        output,
        journal,
        config,
        Stop::new(),
        (),
    );
    let run = tokio::time::timeout(Duration::from_secs(60), run);
    let summary = run.await.expect("rows go past the slow one");
    assert!(summary.is_complete());
    desk.has_each_row_once_in_order(n.into());
}

#[tokio::test]
async fn a_row_past_its_wait_fails_and_can_be_sent_again() {
    let mut desk = Desk::new();
    desk.config.row_wait = Some(Duration::from_millis(20));
    let caller = Fake::new(|index, _| Step {
        takes: Duration::from_secs(if index == 3 { 600 } else { 0 }),
        ends: End::Answer,
    });
    let first = desk.run(rows(50), caller).await;
    assert_eq!(first.summary.rows.failed, 1);
    desk.has_each_row_once_in_order(50);
    assert!(desk.lines("out.jsonl")[3].contains("\"overdue\""));
    desk.retry_failed = true;
    let second = desk.run(rows(50), answers()).await;
    assert_eq!((second.calls, second.summary.rows.answered), (1, 50));
    desk.has_each_row_once_in_order(50);
}

#[tokio::test]
async fn a_torn_end_is_forgotten_and_sent_again() {
    let desk = Desk::new();
    desk.run(rows(40), answers_until(30)).await;
    desk.edit("out.journal", |bytes| bytes.truncate(bytes.len() - 10));
    desk.edit("out.jsonl", |bytes| {
        // Two lines less, and half of the third.
        let ends: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect();
        bytes.truncate(ends[27] - 20);
    });
    let came = desk.run(rows(40), answers()).await;
    assert_eq!(came.calls, 11);
    assert_eq!(came.continued.lines, 27);
    desk.has_each_row_once_in_order(40);
}

#[tokio::test]
async fn a_damaged_journal_loses_nothing_that_stands_among_the_results() {
    let desk = Desk::new();
    desk.run(rows(40), answers()).await;
    let line = desk.lines("out.jsonl")[5].clone();
    desk.edit("out.journal", |journal| {
        let find = |bytes: &[u8]| {
            bytes
                .windows(40)
                .position(|part| part == &line.as_bytes()[..40])
        };
        let at = find(journal).unwrap();
        journal[at + 50] ^= 4;
    });
    let journal = desk.open().unwrap();
    assert!(journal.known().damaged_bytes > 0);
    assert_eq!(journal.known().answered, 39, "the others stand");
    let came = desk.run_with(rows(40), answers(), journal).await;
    assert_eq!((came.calls, came.continued.adopted), (0, 1));
    desk.has_each_row_once_in_order(40);
    assert_eq!(desk.lines("out.jsonl")[5], line);
    // What was taken from the results goes by its name.
    let mut source = rows(40);
    source.rows[5].custom_id = Some("other".to_owned());
    let came = desk.run(source, answers()).await;
    assert!(matches!(
        came.summary.stopped,
        Some(Stopped::InputChanged(_))
    ));
}

#[tokio::test]
async fn what_is_no_result_is_moved_and_not_lost() {
    let desk = Desk::new();
    desk.run(rows(20), answers()).await;
    desk.edit("out.jsonl", |bytes| {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        bytes.splice(..=end, *b"my own notes\n");
    });
    let came = desk.run(rows(20), answers()).await;
    assert_eq!((came.calls, came.continued.lines), (0, 0));
    assert_eq!(came.continued.rescued, came.continued.cut);
    assert!(desk.lines("out.rest")[0].contains("my own notes"));
    desk.has_each_row_once_in_order(20);
}

#[tokio::test]
async fn the_journal_of_a_complete_run_is_small_and_serves_as_well() {
    for ordered in [true, false] {
        let mut desk = Desk::new();
        desk.ordered = ordered;
        let failing = Fake::new(|index, _| match index {
            9 => at_once(End::Fail),
            _ => at_once(End::Answer),
        });
        desk.run(rows(100), failing).await;
        let large = fs::metadata(desk.path("out.journal")).unwrap().len();
        assert!(desk.compact());
        let small = fs::metadata(desk.path("out.journal")).unwrap().len();
        assert!(small < large && small < 100 * 80, "{small} of {large}");
        let more = desk.run(rows(105), answers()).await;
        assert_eq!((more.calls, more.continued.lines), (5, 100));
        assert!(desk.compact());
        desk.retry_failed = true;
        let again = desk.run(rows(105), answers()).await;
        assert_eq!(again.calls, 1);
        assert!(again.summary.is_complete());
        let mut there = indexes(&desk.lines("out.jsonl"));
        if !ordered {
            there.sort_unstable();
        }
        assert_eq!(there, (0..105).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_small_journal_without_its_results_is_an_error() {
    let desk = Desk::new();
    desk.run(rows(10), answers()).await;
    assert!(desk.compact());
    fs::write(desk.path("out.jsonl"), "").unwrap();
    let mut journal = desk.open().unwrap();
    let mut file = desk.output("out.jsonl");
    let error = journal.continue_output(&mut file, None, &desk.path("rest"), true);
    assert!(matches!(error, Err(JournalError::OutputChanged)));
}

/// A disk with so much room.
struct Quota {
    file: File,
    room: Arc<AtomicU64>,
    reserves: bool,
}

impl JournalFile for Quota {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst) as usize;
        let fits = bytes.len().min(room);
        // As a disk does: a part is written.
        self.file.append(&bytes[..fits])?;
        self.room.fetch_sub(fits as u64, Ordering::SeqCst);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        self.room
            .fetch_add(before.saturating_sub(len), Ordering::SeqCst);
        self.file.truncate(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reserve(&mut self, _: u64, ahead: u64) -> io::Result<()> {
        if self.reserves && self.room.load(Ordering::SeqCst) < ahead {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_run_and_loses_nothing_that_the_output_can_take() {
    let desk = Desk::new();
    let room = Arc::new(AtomicU64::new(10_000));
    let theirs = Arc::clone(&room);
    let journal = Journal::open_with(
        &desk.path("out.journal"),
        &desk.parameters,
        JournalConfig::default(),
        |file| {
            Box::new(Quota {
                file,
                room: theirs,
                reserves: false,
            })
        },
    );
    let came = desk
        .run_with(rows(5_000), answers(), journal.unwrap())
        .await;
    let Some(Stopped::JournalFailed(error)) = &came.summary.stopped else {
        panic!("{:?}", came.summary.stopped)
    };
    assert!(error.is_full());
    let done = came.summary.rows.written;
    assert!(came.calls < 100, "{} calls", came.calls);
    assert_eq!(came.calls as u64, done, "every answer was written");
    let second = desk.run(rows(5_000), answers()).await;
    assert_eq!(second.calls as u64, 5_000 - done);
    desk.has_each_row_once_in_order(5_000);
}

#[tokio::test]
async fn a_disk_that_fills_up_stops_the_run_while_there_is_room_for_what_is_in_flight() {
    let desk = Desk::new();
    // A little more than is asked for at first, and less than what is kept.
    let room = Arc::new(AtomicU64::new((8 << 20) + 1_000));
    let theirs = Arc::clone(&room);
    let journal = Journal::open_with(
        &desk.path("out.journal"),
        &desk.parameters,
        JournalConfig::default(),
        |file| {
            Box::new(Quota {
                file,
                room: theirs,
                reserves: true,
            })
        },
    );
    let caller = Fake::new(|_, _| at_once(End::Long));
    let came = desk.run_with(rows(5_000), caller, journal.unwrap()).await;
    assert!(
        matches!(&came.summary.stopped, Some(Stopped::JournalFailed(error)) if error.is_full()),
        "{:?}",
        came.summary.stopped
    );
    let rows_read = came.summary.rows;
    assert_eq!(
        (rows_read.unkept, rows_read.unwritten, rows_read.left),
        (0, 0, 0)
    );
    assert!(room.load(Ordering::SeqCst) > 1 << 20, "room was left");
    assert!(came.calls < 1_000, "{} calls", came.calls);
    let known = desk.open().unwrap().known();
    assert_eq!(known.answered, came.calls as u64, "all are in the journal");
}

#[tokio::test]
async fn a_row_on_which_the_process_fails_is_kept_as_any_other() {
    let desk = Desk::new();
    let caller = Fake::new(|index, _| {
        if index == 1 {
            step(End::Panic)
        } else {
            step(End::Answer)
        }
    });
    let came = desk.run(rows(3), caller).await;
    assert_eq!(came.summary.rows.failed, 1);
    let again = desk.run(rows(3), answers()).await;
    assert_eq!((again.calls, again.summary.rows.failed), (0, 1));
}
