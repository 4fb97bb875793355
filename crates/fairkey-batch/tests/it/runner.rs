//! The run, under paused time.

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairkey_batch::{
    AttemptCount, Bottleneck, Checked, Concurrency, MemoryOutput, Metered, Notice, Progress,
    RunConfig, Snapshot, Stop, Stopped, run,
};
use fairkey_core::FaultKind;
use serde_json::Value;
use tokio::time::Instant;

use crate::fake::{End, Fake, Limited, answer, bad_row, indexes, rows, step};

pub(crate) fn config(n: usize) -> RunConfig {
    let mut config = RunConfig::default();
    config.concurrency = Concurrency::Fixed(NonZeroUsize::new(n).unwrap());
    config
}

#[tokio::test(start_paused = true)]
async fn every_row_gets_one_result_in_order() {
    // The later the row, the sooner its answer.
    let caller = Fake::new(|index, _| answer(1_000 - index));
    let output = MemoryOutput::new();
    let summary = run(
        rows(500),
        Arc::clone(&caller),
        output.clone(),
        config(50),
        Stop::new(),
        (),
    )
    .await;
    assert_eq!(indexes(&output.lines()), (0..500).collect::<Vec<_>>());
    assert!(summary.is_complete());
    assert_eq!(
        (
            summary.rows.read,
            summary.rows.answered,
            summary.rows.written
        ),
        (500, 500, 500)
    );
    assert_eq!((summary.rows.left, summary.rows.lost), (0, 0));
    assert_eq!(summary.peak_in_flight, 50);
    assert_eq!(caller.peak.load(Ordering::SeqCst), 50);
    assert_eq!(summary.cost.micro_usd, 2_500);
}

#[tokio::test(start_paused = true)]
async fn without_order_results_come_as_they_are_done() {
    let caller = Fake::new(|index, _| answer(100 - index));
    let output = MemoryOutput::new();
    let mut config = config(10);
    config.ordered = false;
    let summary = run(rows(10), caller, output.clone(), config, Stop::new(), ()).await;
    assert_eq!(indexes(&output.lines()), (0..10).rev().collect::<Vec<_>>());
    assert!(summary.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_slow_row_stops_the_ones_behind_it_at_the_edge_of_the_window() {
    let caller = Fake::new(|index, _| answer(if index == 0 { 60_000 } else { 1 }));
    let source = rows(1_000);
    let taken = Arc::clone(&source.taken);
    let mut config = config(5);
    config.window_rows = 40;
    let output = MemoryOutput::new();
    let watched = output.clone();
    let running = tokio::spawn(run(source, caller, output, config, Stop::new(), ()));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(taken.load(Ordering::SeqCst), 40);
    assert!(watched.lines().is_empty());
    let summary = running.await.unwrap();
    assert!(summary.is_complete());
    assert_eq!(indexes(&watched.lines()), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_window_full_of_bytes_stops_rows_too() {
    let caller = Fake::new(|index, _| answer(if index == 0 { 60_000 } else { 1 }));
    let source = rows(1_000);
    let taken = Arc::clone(&source.taken);
    let mut config = config(5);
    config.window_bytes = 1_000;
    let running = tokio::spawn(run(
        source,
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        (),
    ));
    tokio::time::sleep(Duration::from_secs(59)).await;
    // Each result is longer than a hundred bytes.
    let taken = taken.load(Ordering::SeqCst);
    assert!((5..20).contains(&taken), "{taken}");
    assert!(running.await.unwrap().is_complete());
}

#[tokio::test(start_paused = true)]
async fn an_output_that_takes_nothing_stops_rows_and_loses_none_of_them_silently() {
    let caller = Fake::new(|_, _| answer(1));
    let output = Limited::new(3, false);
    let source = rows(1_000);
    let taken = Arc::clone(&source.taken);
    let stop = Stop::new();
    let running = tokio::spawn(run(source, caller, output, config(5), stop.clone(), ()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let at_rest = taken.load(Ordering::SeqCst);
    assert!(
        at_rest < 20,
        "{at_rest} rows were begun although nobody takes results"
    );
    stop.stop();
    let summary = running.await.unwrap();
    assert_eq!(summary.rows.written, 3);
    let rows = summary.rows;
    assert_eq!(rows.unwritten + rows.left, rows.read - 3);
    assert_eq!((rows.answered, rows.lost), (3, 0));
    assert_eq!(summary.stopped, Some(Stopped::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn a_failed_row_and_a_bad_line_are_results_like_any_other() {
    let caller = Fake::new(|index, _| {
        if index == 1 {
            step(End::Fail)
        } else {
            answer(1)
        }
    });
    let mut source = rows(4);
    source.rows[2] = bad_row(2);
    let output = MemoryOutput::new();
    let summary = run(source, caller, output.clone(), config(2), Stop::new(), ()).await;
    assert_eq!(
        (
            summary.rows.answered,
            summary.rows.failed,
            summary.rows.written
        ),
        (2, 2, 4)
    );
    assert!(summary.stopped.is_none() && !summary.is_complete());
    let lines: Vec<Value> = output
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["custom_id"], "id-1");
    assert_eq!(lines[1]["response"]["status_code"], 502);
    assert_eq!(lines[1]["error"]["code"], "failed");
    assert_eq!(lines[1]["error"]["scope"], "provider");
    assert_eq!(lines[1]["error"]["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(lines[1]["error"]["attempts"][0]["cause"], "provider_error");
    assert_eq!(lines[2]["custom_id"], "line-3");
    assert_eq!(lines[2]["error"]["code"], "bad_line");
    assert_eq!(lines[2]["error"]["message"], "line 3 column 3: bad");
    assert_eq!(lines[2]["response"], Value::Null);
    assert_eq!(lines[3]["error"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_row_without_a_key_waits_as_long_as_it_was_told_and_is_answered() {
    let caller = Fake::new(|_, before| match before {
        0 => step(End::Wait(Some(Duration::from_secs(30)), Vec::new())),
        1 => step(End::Wait(None, Vec::new())),
        _ => answer(1),
    });
    let output = MemoryOutput::new();
    let summary = run(
        rows(1),
        Arc::clone(&caller),
        output,
        config(1),
        Stop::new(),
        (),
    )
    .await;
    assert!(summary.is_complete());
    let begun: Vec<Instant> = caller
        .begun
        .lock()
        .unwrap()
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!((begun[1] - begun[0]).as_secs(), 30);
    assert_eq!((begun[2] - begun[1]).as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_every_key_refuses_for_its_size_fails_in_the_end() {
    let refused = End::Refused("key_cap_too_small", FaultKind::Throttled);
    let caller = Fake::new(move |index, _| {
        if index == 0 {
            step(refused.clone())
        } else {
            answer(1)
        }
    });
    let output = MemoryOutput::new();
    let summary = run(
        rows(3),
        Arc::clone(&caller),
        output.clone(),
        config(2),
        Stop::new(),
        (),
    )
    .await;
    assert_eq!((summary.rows.answered, summary.rows.failed), (2, 1));
    let first: Value = serde_json::from_str(&output.lines()[0]).unwrap();
    assert_eq!(first["fairkey"]["attempts"], 16);
    assert_eq!(summary.attempts.max(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_row_has_one_ledger_however_often_it_is_sent_again() {
    let caller = Fake::new(|index, _| step(End::Failing(if index == 0 { 5 } else { 1 })));
    let output = MemoryOutput::new();
    let mut config = config(2);
    config.attempts = 7;
    let summary = run(
        rows(2),
        Arc::clone(&caller),
        output.clone(),
        config,
        Stop::new(),
        (),
    )
    .await;
    assert_eq!((summary.rows.failed, summary.rows.left), (2, 0));
    for line in output.lines() {
        let result: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(result["fairkey"]["attempts"], 7, "{line}");
        let message = result["error"]["message"].as_str().unwrap();
        assert!(
            message.ends_with("the row has used its attempts (7)"),
            "{message}"
        );
    }
    // Five and two in one call each, and seven times one.
    assert_eq!(caller.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_row_and_no_other() {
    let caller = Fake::new(|index, _| {
        if index == 3 {
            step(End::Panic)
        } else {
            answer(1)
        }
    });
    let output = MemoryOutput::new();
    let summary = run(rows(10), caller, output.clone(), config(4), Stop::new(), ()).await;
    assert_eq!(
        (
            summary.rows.answered,
            summary.rows.failed,
            summary.rows.lost
        ),
        (9, 1, 0)
    );
    assert_eq!(output.lines().len(), 10);
    assert!(output.lines()[3].contains("\"internal\""));
}

#[tokio::test(start_paused = true)]
async fn answers_that_take_a_minute_do_not_hold_automatic_concurrency_down() {
    let caller = Fake::new(|_, _| answer(60_000));
    let mut config = RunConfig::default();
    config.concurrency = Concurrency::Auto {
        max: NonZeroUsize::new(64).unwrap(),
    };
    let summary = run(
        rows(500),
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        (),
    )
    .await;
    assert_eq!(summary.peak_in_flight, 64);
    // 32, and then 64 at a time.
    assert!(
        summary.elapsed < Duration::from_secs(12 * 60),
        "{:?}",
        summary.elapsed
    );
}

#[tokio::test(start_paused = true)]
async fn requests_to_slow_down_hold_automatic_concurrency_down() {
    let caller = Fake::new(|_, before| match before {
        0 => step(End::Refused("provider_pool", FaultKind::Throttled)),
        _ => answer(100),
    });
    let summary = run(
        rows(500),
        caller,
        MemoryOutput::new(),
        RunConfig::default(),
        Stop::new(),
        (),
    )
    .await;
    assert!(summary.is_complete());
    assert_eq!(summary.peak_in_flight, 32, "it never grew");
}

#[tokio::test(start_paused = true)]
async fn what_accounts_refuse_is_waited_for_and_does_not_hold_concurrency_down() {
    let caller = Fake::new(|_, before| match before {
        0 => step(End::Refused("account_rate_limited", FaultKind::Throttled)),
        _ => answer(500),
    });
    let config = RunConfig::default();
    let summary = run(
        rows(4_000),
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        (),
    )
    .await;
    assert!(summary.is_complete());
    assert!(summary.peak_in_flight > 500, "{}", summary.peak_in_flight);
}

#[tokio::test(start_paused = true)]
async fn no_more_rows_wait_for_keys_than_are_sent() {
    let caller = Fake::new(|_, _| answer(500));
    caller.upstream.store(12, Ordering::SeqCst);
    // As the program sends rows: whoever stands around a caller passes on what it says.
    let caller = Arc::new(Checked::new(Metered::new(caller, None), None));
    let config = RunConfig::default();
    let summary = run(
        rows(4_000),
        caller,
        MemoryOutput::new(),
        config,
        Stop::new(),
        (),
    )
    .await;
    assert_eq!(summary.peak_in_flight, 32, "it never grew");
    let (what, share) = &summary.bottlenecks[0];
    let acme = Bottleneck::Keys(Some("account \"acme\": 60 requests a minute".to_owned()));
    assert_eq!(*what, acme);
    assert!(*share > 0.9, "{share}");
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_of_requests_are_held_than_may_be() {
    let caller = Fake::new(|_, _| answer(500));
    let mut config = RunConfig::default();
    // The indices of the rows, as text.
    config.request_bytes = 10;
    let output = MemoryOutput::new();
    let summary = run(rows(200), caller, output, config, Stop::new(), ()).await;
    assert!(summary.is_complete());
    assert_eq!(summary.peak_in_flight, 10);
    assert_eq!(summary.bottlenecks[0].0, Bottleneck::Memory);
}

#[tokio::test(start_paused = true)]
async fn automatic_concurrency_steps_back_before_any_row_has_ended() {
    let caller = Fake::new(|_, _| answer(60_000));
    *caller.attempts.lock().unwrap() = Some(AttemptCount::default());
    let watcher = Watcher::default();
    let stop = Stop::new();
    let running = run(
        rows(500),
        Arc::clone(&caller),
        MemoryOutput::new(),
        RunConfig::default(),
        stop.clone(),
        watcher.clone(),
    );
    let running = tokio::spawn(running);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let limit = || watcher.0.lock().unwrap().0.last().unwrap().limit;
    assert_eq!(limit(), 32);
    *caller.attempts.lock().unwrap() = Some(AttemptCount {
        made: 30,
        slow_downs: 20,
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(limit(), 16);
    *caller.attempts.lock().unwrap() = Some(AttemptCount {
        made: 60,
        slow_downs: 50,
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        limit(),
        16,
        "what is in flight from before says nothing new"
    );
    stop.abandon();
    running.await.unwrap();
}

/// Remembers everything.
#[derive(Clone, Default)]
pub(crate) struct Watcher(pub(crate) Arc<Mutex<(Vec<Snapshot>, Vec<Notice>)>>);

impl Progress for Watcher {
    fn snapshot(&mut self, snapshot: &Snapshot) {
        self.0.lock().unwrap().0.push(snapshot.clone());
    }

    fn notice(&mut self, notice: &Notice) {
        self.0.lock().unwrap().1.push(notice.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn progress_knows_how_far_it_is_and_how_long_it_will_take() {
    let caller = Fake::new(|_, _| answer(1_000));
    let mut source = rows(100);
    source.total_bytes = Some(1_000);
    let watcher = Watcher::default();
    run(
        source,
        caller,
        MemoryOutput::new(),
        config(10),
        Stop::new(),
        watcher.clone(),
    )
    .await;
    let (snapshots, _) = watcher.0.lock().unwrap().clone();
    let half = snapshots
        .iter()
        .find(|snapshot| snapshot.done == 50)
        .unwrap();
    assert_eq!(half.rows_expected, Some(100));
    assert_eq!((half.in_flight, half.limit, half.failed), (10, 10, 0));
    assert_eq!(half.micro_usd, 250);
    assert!((9.0..11.0).contains(&half.rate), "{half:?}");
    let eta = half.eta.unwrap().as_secs_f64();
    assert!((4.0..6.0).contains(&eta), "{half:?}");
    assert!(!half.all_read);
    let last = snapshots.last().unwrap();
    assert_eq!((last.done, last.all_read), (100, true));
}

#[tokio::test(start_paused = true)]
async fn rows_of_one_name_are_told_once_with_their_lines() {
    let caller = Fake::new(|_, _| answer(1));
    let mut source = rows(6);
    for at in [1, 3, 5] {
        source.rows[at].custom_id = Some("same".to_owned());
    }
    source.rows[2].custom_id = None;
    let watcher = Watcher::default();
    let output = MemoryOutput::new();
    let summary = run(
        source,
        caller,
        output,
        config(2),
        Stop::new(),
        watcher.clone(),
    )
    .await;
    assert!(summary.is_complete(), "it is a warning");
    assert_eq!(summary.rows.repeated_names, 2);
    let (_, notices) = watcher.0.lock().unwrap().clone();
    let expected = Notice::NameRepeated {
        custom_id: "same".to_owned(),
        places: (crate::fake::place(2), crate::fake::place(4)),
    };
    assert_eq!(notices, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_out_is_told_once() {
    let caller = Fake::new(|_, before| match before {
        0 => step(End::Refused("key_invalid", FaultKind::Refused)),
        1 => step(End::Refused("balance_exhausted", FaultKind::Exhausted)),
        _ => answer(1),
    });
    let watcher = Watcher::default();
    let summary = run(
        rows(20),
        caller,
        MemoryOutput::new(),
        config(5),
        Stop::new(),
        watcher.clone(),
    )
    .await;
    let (_, notices) = watcher.0.lock().unwrap().clone();
    let refused = |notice: &&Notice| matches!(notice, Notice::KeyRefused { .. });
    let exhausted = |notice: &&Notice| matches!(notice, Notice::KeyExhausted { .. });
    assert_eq!(notices.iter().filter(refused).count(), 1);
    assert_eq!(notices.iter().filter(exhausted).count(), 1);
    let key = &summary.keys[0];
    assert_eq!((key.calls, key.answered), (60, 20));
    assert_eq!(key.refusals["key_invalid"], 20);
    assert_eq!(summary.accounts()[0].refusals["balance_exhausted"], 20);
    assert_eq!(summary.attempts.mean(), 3.0);
}
