//! Signals.
#![cfg(unix)]

use std::time::Duration;

use fairkey_mock::{Latency, MockOpenRouter};

use crate::program::{Mock, Running, Stage, is_post, results};

fn slow(millis: u64) -> Mock {
    let latency = Latency::new(Duration::from_millis(millis), Duration::ZERO);
    Mock::start(MockOpenRouter::open().latency(latency))
}

/// Starts a run of many rows, and waits until calls are in flight.
fn start(stage: &Stage, mock: &Mock) -> Running {
    stage.prompts("in.jsonl", 1_000);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "10",
    ];
    let running = Running::start(&mut stage.command(args));
    let begun = mock.server.log();
    mock.runtime.block_on(async {
        let received = begun.wait_for(is_post);
        tokio::time::timeout(Duration::from_secs(60), received)
            .await
            .expect("a call arrives");
    });
    running
}

fn stage() -> Stage {
    Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000")
}

#[test]
fn the_first_ctrl_c_finishes_what_is_in_flight_and_says_what_is_done() {
    let (stage, mock) = (stage(), slow(300));
    let running = start(&stage, &mock);
    running.signal("INT");
    let said = running.end();
    said.ends_with(130)
        .says("another Ctrl-C leaves at once")
        .says("0 left without a result")
        .says("0 failed, 0 lost");
    let results = results(&stage.read("out.jsonl"));
    assert!(
        !results.is_empty() && results.len() < 1_000,
        "{}",
        results.len()
    );
    assert!(results.iter().all(|result| result["error"].is_null()));
    assert_eq!(mock.posts(), results.len() as u64, "none was sent in vain");
}

#[test]
fn the_second_ctrl_c_leaves_at_once() {
    let (stage, mock) = (stage(), slow(60_000));
    let running = start(&stage, &mock);
    running.signal("INT");
    running.wait_for("another Ctrl-C leaves at once");
    running.signal("INT");
    let said = running.end();
    said.ends_with(130).says("left at once");
    assert_eq!(stage.read("out.jsonl"), "");
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_that_still_waits_for_its_input_can_be_interrupted() {
    let stage = stage();
    let mut command = stage.command(["run", "-", "--mock"]);
    // Nobody ever writes.
    let (reader, writer) = std::io::pipe().unwrap();
    let running = Running::start(command.stdin(reader));
    // Signals are heard before the input is opened; there is nothing else to wait for.
    while !hears_interrupts(running.child.id()) {
        std::thread::yield_now();
    }
    running.signal("INT");
    running
        .end()
        .ends_with(130)
        .says("interrupted before anything was sent");
    drop(writer);
}

/// Returns whether the process has a handler for SIGINT.
#[cfg(target_os = "linux")]
fn hears_interrupts(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 2 != 0)
}

#[test]
fn a_question_can_be_interrupted() {
    let (stage, mock) = (stage(), slow(60_000));
    let url = mock.url();
    let running = Running::start(&mut stage.command(["ask", "Why?", "--base-url", &url]));
    mock.runtime.block_on(async {
        let log = mock.server.log();
        let received = log.wait_for(|event| event.key().is_some());
        tokio::time::timeout(Duration::from_secs(60), received)
            .await
            .expect("a call arrives");
    });
    running.signal("INT");
    running.end().ends_with(130).says("interrupted");
}

#[test]
fn the_mock_ends_on_each_signal() {
    for signal in ["INT", "TERM", "HUP"] {
        let running =
            Running::start(&mut Stage::new().command(["mock", "--listen", "127.0.0.1:0"]));
        running.wait_for("listening on http://127.0.0.1:");
        running.signal(signal);
        running.end().ends_with(0);
    }
}
