//! Memory does not grow with the input.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::fs;

use fairkey_mock::MockOpenRouter;

use crate::program::{Mock, Running, Stage};

/// Runs an input of so many lines, and returns the most memory that took, in kB.
fn peak_kb(lines: usize) -> u64 {
    let mock = Mock::start(MockOpenRouter::open().log_capacity(0));
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000");
    let mut input = String::new();
    for n in 0..lines {
        // One in twenty is sent; the others are refused here, and have a result all the same.
        let _ = if n % 20 == 0 {
            writeln!(input, "{{\"prompt\":\"Question {n}\",\"max_tokens\":4}}")
        } else {
            writeln!(
                input,
                "line {n} is no request, and long enough to be noticed if it were kept"
            )
        };
    }
    stage.write("in.jsonl", input);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--quiet",
    ];
    let mut running = Running::start(&mut stage.command(args));
    let status = format!("/proc/{}/status", running.child.id());
    let mut peak = 0;
    while running.child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = peak.max(value.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.end().ends_with(1);
    assert_eq!(stage.read("out.jsonl").lines().count(), lines);
    peak
}

#[test]
fn two_hundred_thousand_lines_take_no_more_memory_than_ten_thousand() {
    let few = peak_kb(10_000);
    let many = peak_kb(200_000);
    assert!(few > 0);
    assert!(
        many < few + 30_000,
        "{many} kB for 200,000 lines, {few} kB for 10,000"
    );
}
