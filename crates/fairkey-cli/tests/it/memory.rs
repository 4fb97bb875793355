//! Memory does not grow with the input.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use fairkey_mock::MockOpenRouter;

use crate::program::{Mock, Stage};

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
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "-", "--quiet"];
    let mut command = stage.command(args);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let results = BufReader::new(child.stdout.take().unwrap());
    let (mut peak, mut count) = (0, 0);
    for line in results.lines() {
        line.unwrap();
        count += 1;
        // The pipe holds little: as long as results come, the program is at work.
        if count % 1_000 == 0 {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
            peak = peak.max(
                value
                    .and_then(|value| value.trim().parse().ok())
                    .unwrap_or(0),
            );
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(count, lines);
    peak
}

#[test]
fn a_hundred_thousand_lines_take_no_more_memory_than_ten_thousand() {
    let few = peak_kb(10_000);
    let many = peak_kb(100_000);
    assert!(few > 0);
    // Less than 160 bytes for a line: no line is kept, nor what became of it.
    assert!(
        many < few + 14_000,
        "{many} kB for 100,000 lines, {few} kB for 10,000"
    );
}
