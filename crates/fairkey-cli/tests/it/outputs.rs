//! Outputs that are in the way, full, or gone.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use fairkey_mock::{Latency, MockOpenRouter};

use crate::program::{Mock, Running, Stage, results};

const KEY: &str = "sk-or-v1-any-00000000";

#[test]
fn results_that_are_there_are_not_touched_unless_told() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 3);
    stage.write("out.jsonl", "precious\n");
    let run = ["run", "in.jsonl", "--mock", "-o", "out.jsonl"];
    stage
        .run(run)
        .ends_with(2)
        .says("out.jsonl exists")
        .says("--overwrite");
    assert_eq!(stage.read("out.jsonl"), "precious\n");
    stage
        .run(run.into_iter().chain(["--overwrite"]))
        .ends_with(0);
    assert_eq!(results(&stage.read("out.jsonl")).len(), 3);
}

#[test]
fn the_input_is_never_the_output() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 3);
    let before = stage.read("in.jsonl");
    let said = stage.run([
        "run",
        "in.jsonl",
        "--mock",
        "-o",
        "./in.jsonl",
        "--overwrite",
    ]);
    said.ends_with(2).says("is the input");
    assert_eq!(stage.read("in.jsonl"), before);
}

#[test]
fn no_file_is_two_things() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 3);
    let before = stage.read("in.jsonl");
    for (flag, file, says) in [
        ("--errors", "in.jsonl", "name another file for the errors"),
        ("--journal", "in.jsonl", "name another file for the journal"),
        (
            "--errors",
            "./out.jsonl",
            "for the results and for the errors: name two files",
        ),
        (
            "--journal",
            "out.jsonl",
            "for the results and for the journal: name two files",
        ),
        (
            "--errors",
            "out.jsonl.journal",
            "for the errors and for the journal: name two files",
        ),
    ] {
        let run = [
            "run",
            "in.jsonl",
            "--mock",
            "-o",
            "out.jsonl",
            "--overwrite",
            flag,
            file,
        ];
        stage.run(run).ends_with(2).says(says);
    }
    assert_eq!(stage.read("in.jsonl"), before);
    assert!(!stage.path("out.jsonl").exists());
    // A device takes all that comes.
    let run = [
        "run",
        "in.jsonl",
        "--mock",
        "-o",
        "/dev/null",
        "--errors",
        "/dev/null",
    ];
    stage.run(run).ends_with(0);
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_anything_is_sent() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 3);
    let said = stage.run([
        "run",
        "in.jsonl",
        "--base-url",
        &mock.url(),
        "-o",
        "no/such/folder/out.jsonl",
    ]);
    said.ends_with(2)
        .says("results cannot be written to no/such/folder/out.jsonl");
    assert_eq!(mock.posts(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_the_run_and_is_told() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 20_000);
    let said = stage.run([
        "run",
        "in.jsonl",
        "--base-url",
        &mock.url(),
        "-o",
        "/dev/full",
    ]);
    said.ends_with(3)
        .says("stopped early: the results cannot be written")
        .says("No space left on device")
        .says("0 written to /dev/full")
        .says("0 lost");
    let sent = mock.posts();
    assert!(sent < 20_000, "{sent} requests for a full disk");
}

#[test]
#[cfg(target_os = "linux")]
fn rows_whose_results_cannot_be_written_are_counted_once() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 20_000);
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "/dev/full"];
    let said = stage.run(args.into_iter().chain(["--json"]));
    said.ends_with(3).says(" done but not written (");
    let summary: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let rows = |name: &str| summary["rows"][name].as_u64().unwrap();
    assert_eq!(
        (rows("answered"), rows("failed"), rows("written")),
        (0, 0, 0)
    );
    assert!(rows("unwritten_answers") > 0, "{summary}");
    assert_eq!(rows("read"), rows("unwritten") + rows("left"), "{summary}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_may_not_grow_any_more_ends_with_a_whole_line() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 5_000);
    // Ten kilobytes, and an error instead of a signal beyond them.
    let shell = "trap '' XFSZ; ulimit -f 20; exec \"$0\" \"$@\"";
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"];
    let program = stage.command(args.into_iter().chain(["--no-journal"]));
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", shell])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(stage.path(""))
        .env_clear()
        .env("OPENROUTER_API_KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let said = Running::start(&mut limited).end();
    let text = stage.read("out.jsonl");
    assert!(
        text.len() > 8_000 && text.len() <= 10_240,
        "{} bytes",
        text.len()
    );
    let lines = results(&text).len();
    said.ends_with(3)
        .says("stopped early: the results cannot be written: File too large")
        .says(&format!("{lines} written to out.jsonl"))
        .says("0 lost");
}

#[test]
fn a_reader_that_goes_away_stops_the_run_without_a_panic() {
    let slow = Latency::new(Duration::from_millis(20), Duration::ZERO);
    let mock = Mock::start(MockOpenRouter::open().latency(slow));
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 5_000);
    let url = mock.url();
    let mut command = stage.command([
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "-",
        "--concurrency",
        "8",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(results(&line)[0]["custom_id"], "q0");
    drop(stdout);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{stderr}");
    assert!(stderr.contains("Broken pipe"), "{stderr}");
    assert!(!stderr.contains("this is a bug"), "{stderr}");
    assert!(mock.posts() < 5_000);
}

#[test]
fn nobody_who_reads_standard_output_is_no_failure_of_short_commands() {
    let stage = Stage::new();
    for args in [
        &["keys", "--mock"][..],
        &["--help"],
        &["ask", "x", "--mock"],
    ] {
        // The reading end is closed before the program writes.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = Running::start(stage.command(args).stdout(writer)).end();
        said.ends_with(0).does_not_say("this is a bug");
    }
}

#[test]
fn results_on_standard_output_leave_the_summary_to_standard_error() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 3);
    let said = stage.run(["run", "in.jsonl", "--mock", "-o", "-", "--json", "--quiet"]);
    said.ends_with(0);
    assert_eq!(results(&said.stdout).len(), 3);
    let summary: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(summary["rows"]["written"], 3);
}

#[test]
fn results_can_come_as_they_are_done() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 200);
    stage
        .run([
            "run",
            "in.jsonl",
            "--mock",
            "--unordered",
            "-o",
            "out.jsonl",
        ])
        .ends_with(0);
    let mut lines: Vec<u64> = results(&stage.read("out.jsonl"))
        .iter()
        .map(|result| result["fairkey"]["line"].as_u64().unwrap())
        .collect();
    assert_ne!(
        lines,
        (1..=200).collect::<Vec<_>>(),
        "some answer was quicker than one before it"
    );
    lines.sort_unstable();
    assert_eq!(lines, (1..=200).collect::<Vec<_>>(), "each is there once");
}
