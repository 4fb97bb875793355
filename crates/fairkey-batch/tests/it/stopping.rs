//! How a run ends before its input does, under paused time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fairkey_batch::{MemoryOutput, Notice, Stop, Stopped, Summary, run};
use tokio::time::{Instant, sleep};

use crate::fake::{End, Fake, Limited, Rows, Step, answer, barred, indexes, rows, step};
use crate::runner::Watcher;
use crate::runner::config;

/// Runs, and stops after a while. Returns how long the run went on after that.
async fn stopped_after(
    millis: u64,
    source: Rows,
    caller: Arc<Fake>,
    output: MemoryOutput,
) -> (Summary, Duration) {
    let stop = Stop::new();
    let running = tokio::spawn(run(source, caller, output, config(10), stop.clone(), ()));
    sleep(Duration::from_millis(millis)).await;
    stop.stop();
    let stopped = Instant::now();
    let summary = running.await.unwrap();
    (summary, stopped.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_finishes_what_is_in_flight_and_begins_nothing_more() {
    let caller = Fake::new(|_, _| answer(1_000));
    let output = MemoryOutput::new();
    let (summary, after) =
        stopped_after(2_500, rows(100), Arc::clone(&caller), output.clone()).await;
    assert_eq!(summary.stopped, Some(Stopped::Interrupted));
    assert_eq!(caller.calls(), 30);
    assert_eq!(indexes(&output.lines()), (0..30).collect::<Vec<_>>());
    assert_eq!(
        (summary.rows.read, summary.rows.left, summary.rows.lost),
        (30, 0, 0)
    );
    assert_eq!(after.as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_in_time_is_abandoned_and_what_lies_behind_it_is_kept() {
    let caller = Fake::new(|index, _| answer(if index == 3 { 600_000 } else { 1_000 }));
    let output = MemoryOutput::new();
    let (summary, after) = stopped_after(1_500, rows(100), caller, output.clone()).await;
    assert_eq!(after.as_secs(), 10, "as long as the configuration says");
    let expected: Vec<u64> = (0..19).filter(|index| *index != 3).collect();
    assert_eq!(indexes(&output.lines()), expected);
    assert_eq!((summary.rows.read, summary.rows.written), (19, 18));
    assert_eq!((summary.rows.left, summary.rows.lost), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn rows_that_only_wait_are_not_waited_for() {
    let caller = Fake::new(|_, _| step(End::Wait(Some(Duration::from_secs(50)), Vec::new())));
    let (summary, after) = stopped_after(5_000, rows(100), caller, MemoryOutput::new()).await;
    assert!(after < Duration::from_millis(10), "{after:?}");
    assert_eq!(
        (summary.rows.read, summary.rows.left, summary.rows.lost),
        (10, 10, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_key_inside_the_caller_are_not_waited_for_either() {
    let caller = Fake::new(|_, _| answer(600_000));
    caller.upstream.store(0, Ordering::SeqCst);
    let (summary, after) = stopped_after(5_000, rows(100), caller, MemoryOutput::new()).await;
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert_eq!(summary.rows.left, 10);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_run_ends_at_once() {
    let caller = Fake::new(|_, _| answer(600_000));
    let stop = Stop::new();
    let output = MemoryOutput::new();
    let running = tokio::spawn(run(rows(100), caller, output, config(10), stop.clone(), ()));
    sleep(Duration::from_secs(1)).await;
    let stopped = Instant::now();
    stop.abandon();
    let summary = running.await.unwrap();
    assert_eq!(stopped.elapsed(), Duration::ZERO);
    assert_eq!(summary.stopped, Some(Stopped::Interrupted));
    assert_eq!(summary.rows.left, 10);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_keys_are_all_dead_ends_with_the_reasons_and_keeps_its_results() {
    let caller = Fake::new(|index, _| {
        if index < 25 {
            answer(10)
        } else {
            step(End::Dead)
        }
    });
    let output = MemoryOutput::new();
    let summary = run(
        rows(1_000),
        Arc::clone(&caller),
        output.clone(),
        config(10),
        Stop::new(),
        (),
    )
    .await;
    assert_eq!(
        summary.stopped,
        Some(Stopped::KeysOut {
            keys: barred(),
            retry_after: None
        })
    );
    assert_eq!(indexes(&output.lines()), (0..25).collect::<Vec<_>>());
    assert_eq!((summary.rows.failed, summary.rows.lost), (0, 0));
    assert_eq!(summary.rows.left, summary.rows.read - 25);
    assert!(caller.calls() < 50, "{} calls", caller.calls());
    let text = summary.stopped.unwrap().to_string();
    assert!(text.contains("\"a\": balance_exhausted (402)"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_when_every_key_is_barred_and_nothing_was_answered() {
    let caller = Fake::new(|index, _| match index {
        0 => answer(60_000),
        _ => step(End::Wait(Some(Duration::from_secs(3_600)), barred())),
    });
    let mut config = config(2);
    config.patience = Duration::from_secs(300);
    let watcher = Watcher::default();
    let summary = run(
        rows(10),
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        watcher.clone(),
    )
    .await;
    let seconds = summary.elapsed.as_secs();
    assert!(
        (360..=361).contains(&seconds),
        "counted from the last answer: {seconds} s"
    );
    let Some(Stopped::KeysOut { keys, retry_after }) = summary.stopped else {
        panic!("{:?}", summary.stopped)
    };
    assert_eq!(keys, barred());
    assert!(
        retry_after.unwrap() > Duration::from_secs(3_000),
        "{retry_after:?}"
    );
    assert_eq!((summary.rows.written, summary.rows.lost), (1, 0));
    // It was told before: once after the beginning, and once after the last answer.
    let notices = watcher.0.lock().unwrap().1.clone();
    let silent = |notice: &&Notice| {
        matches!(notice, Notice::Silent { why: Stopped::KeysOut { keys, .. }, .. }
            if *keys == barred())
    };
    assert_eq!(notices.iter().filter(silent).count(), 2, "{notices:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_when_attempts_are_made_and_nothing_is_answered() {
    let caller = Fake::new(|index, _| match index {
        0 => answer(60_000),
        _ => step(End::Failing(1)),
    });
    caller.upstream.store(2, Ordering::SeqCst);
    let mut config = config(2);
    config.patience = Duration::from_secs(300);
    let output = MemoryOutput::new();
    let summary = run(rows(1_000), caller, output, config, Stop::new(), ()).await;
    let seconds = summary.elapsed.as_secs();
    assert!(
        (360..=370).contains(&seconds),
        "counted from the last answer: {seconds} s"
    );
    let why = summary.stopped.unwrap();
    assert!(matches!(why, Stopped::NothingAnswered { .. }), "{why:?}");
    let text = "nothing was answered for 300 s, at last: provider_error (429)";
    assert_eq!(why.to_string(), text);
    assert!(summary.rows.left > 0);
    let rows = summary.rows;
    assert_eq!((rows.read, rows.lost), (rows.written + rows.left, 0));
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_at_fault_themselves_do_not_end_the_patience() {
    let caller = Fake::new(|_, _| Step {
        takes: Duration::from_secs(2),
        ends: End::Bad,
    });
    let mut config = config(1);
    config.patience = Duration::from_secs(5);
    let output = MemoryOutput::new();
    let summary = run(rows(50), caller, output, config, Stop::new(), ()).await;
    assert_eq!((summary.stopped, summary.rows.failed), (None, 50));
}

#[tokio::test(start_paused = true)]
async fn patience_does_not_end_while_a_call_is_under_way() {
    let caller = Fake::new(|index, before| match (index, before) {
        (0, _) => answer(1_000_000),
        (_, 0) => step(End::Wait(Some(Duration::from_secs(1)), barred())),
        _ => answer(1_000_000),
    });
    caller.upstream.store(1, Ordering::SeqCst);
    let mut config = config(2);
    config.patience = Duration::from_secs(300);
    let summary = run(
        rows(2),
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        (),
    )
    .await;
    assert!(summary.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_broken_output_ends_the_run_at_once_and_counts_what_is_written() {
    let caller = Fake::new(|_, _| answer(10));
    let output = Limited::new(7, true);
    let lines = Arc::clone(&output.lines);
    let summary = run(
        rows(1_000),
        Arc::clone(&caller),
        output,
        config(4),
        Stop::new(),
        (),
    )
    .await;
    assert!(matches!(&summary.stopped, Some(Stopped::OutputFailed(e)) if e.is_broken_pipe()));
    assert_eq!(lines.lock().unwrap().len(), 7);
    assert_eq!(summary.rows.written, 7);
    let rows = summary.rows;
    assert_eq!((rows.answered, rows.failed, rows.lost), (7, 0, 0));
    assert!(rows.unwritten > 0, "{rows:?}");
    assert_eq!(rows.unwritten_answers, rows.unwritten);
    assert_eq!(
        rows.read,
        7 + rows.unwritten + rows.left,
        "each row once: {rows:?}"
    );
    assert!(caller.calls() < 20, "{} calls", caller.calls());
}

#[tokio::test(start_paused = true)]
async fn a_broken_input_lets_everything_that_was_read_finish() {
    let caller = Fake::new(|_, before| match before {
        0 => step(End::Wait(Some(Duration::from_secs(40)), Vec::new())),
        _ => answer(20_000),
    });
    let source = Rows {
        breaks: true,
        ..rows(25)
    };
    let output = MemoryOutput::new();
    let summary = run(source, caller, output.clone(), config(10), Stop::new(), ()).await;
    let Some(Stopped::InputFailed(why)) = &summary.stopped else {
        panic!("{:?}", summary.stopped)
    };
    assert!(why.contains("the disk is gone"));
    assert_eq!(output.lines().len(), 25);
    assert_eq!((summary.rows.left, summary.rows.lost), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_broken_input_can_still_be_stopped() {
    let caller = Fake::new(|_, _| answer(600_000));
    let source = Rows {
        breaks: true,
        ..rows(5)
    };
    let (summary, after) = stopped_after(1_000, source, caller, MemoryOutput::new()).await;
    assert_eq!(after.as_secs(), 10);
    assert!(matches!(summary.stopped, Some(Stopped::InputFailed(_))));
    assert_eq!(summary.rows.left, 5);
}
