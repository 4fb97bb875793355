//! Runs that end before their input does, and the same command after that.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use fairkey_core::Random;
use fairkey_mock::{Fault, Latency, MockOpenRouter, On, Step};

use crate::program::{Mock, Running, Said, Stage, is_post, results};

fn stage() -> Stage {
    Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000")
}

fn slow(millis: u64) -> Mock {
    let latency = Latency::new(Duration::from_millis(millis), Duration::ZERO);
    Mock::start(MockOpenRouter::open().latency(latency))
}

/// The arguments of a run with ten rows in flight.
fn args(url: &str) -> [&str; 8] {
    [
        "run",
        "in.jsonl",
        "--base-url",
        url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "10",
    ]
}

fn ids(text: &str) -> Vec<String> {
    let id = |result: &serde_json::Value| result["custom_id"].as_str().unwrap().to_owned();
    results(text).iter().map(id).collect()
}

#[track_caller]
fn has_all(stage: &Stage, n: usize) {
    let expected: Vec<String> = (0..n).map(|n| format!("q{n}")).collect();
    assert_eq!(ids(&stage.read("out.jsonl")), expected);
}

/// Waits until the mock has got so many calls in all.
fn wait_for_calls(mock: &Mock, n: usize) {
    let log = mock.server.log();
    mock.runtime.block_on(async {
        let received = log.wait_for_nth(n, is_post);
        tokio::time::timeout(Duration::from_secs(60), received)
            .await
            .expect("calls arrive");
    });
}

fn calls(mock: &Mock) -> u64 {
    mock.posts()
}

#[test]
fn a_run_that_is_killed_again_and_again_pays_for_no_row_twice_but_what_was_in_flight() {
    let (stage, mock) = (stage(), slow(30));
    let (rows, kills) = (400_usize, 8);
    stage.prompts("in.jsonl", rows);
    let url = mock.url();
    let mut random = Random::new(11);
    let mut moments: Vec<usize> = (0..kills)
        .map(|_| 1 + random.below(rows as u32 - 40) as usize)
        .collect();
    moments.sort_unstable();
    for moment in moments {
        let mut running = Running::start(&mut stage.command(args(&url)));
        wait_for_calls(&mock, moment.max(calls(&mock) as usize + 1));
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        // What is there is whole, but for the end of the last line.
        let text = fs::read_to_string(stage.path("out.jsonl")).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let found = ids(whole);
        let first: Vec<String> = (0..found.len()).map(|n| format!("q{n}")).collect();
        assert_eq!(found, first);
    }
    stage.run(args(&url)).ends_with(0).says("going on: ");
    has_all(&stage, rows);
    let (calls, most) = (calls(&mock), (rows + kills * 10) as u64);
    assert!(calls <= most, "{calls} calls, {most} at most");
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    let (stage, mock) = (stage(), slow(50));
    stage.prompts("in.jsonl", 200);
    let url = mock.url();
    let running = Running::start(&mut stage.command(args(&url)));
    wait_for_calls(&mock, 30);
    running.signal("INT");
    let said = running.end();
    said.ends_with(130)
        .says("the same command goes on where it ended");
    let sent = calls(&mock);
    stage
        .run(args(&url))
        .ends_with(0)
        .says(&format!("going on: {sent} rows done"));
    assert_eq!(calls(&mock), 200);
    has_all(&stage, 200);
}

#[test]
fn a_finished_run_has_nothing_left_to_do_and_ends_as_it_did() {
    let bad = || Step::reply(Fault::bad_request("no"));
    let server = MockOpenRouter::open().script(On::any(), [bad()]);
    let (stage, mock) = (stage(), Mock::start(server));
    stage.prompts("in.jsonl", 20);
    let url = mock.url();
    stage.run(args(&url)).ends_with(1).says("1 row failed");
    let first = stage.read("out.jsonl");
    let sent = calls(&mock);
    let journal = fs::metadata(stage.path("out.jsonl.journal")).unwrap().len();
    assert!(journal < first.len() as u64 / 2, "it is small by now");
    stage
        .run(args(&url))
        .ends_with(1)
        .says("nothing was left to do")
        .does_not_say("held back")
        .says("--retry-failed sends them again");
    assert_eq!(calls(&mock), sent);
    assert!(stage.read("out.jsonl") == first, "not a byte is another");
    stage
        .run(args(&url).into_iter().chain(["--retry-failed"]))
        .ends_with(0)
        .says("1 failed and sent again");
    assert_eq!(calls(&mock), sent + 1);
    has_all(&stage, 20);
}

#[test]
fn appended_rows_are_sent_and_changed_ones_are_an_error() {
    let (stage, mock) = (stage(), slow(0));
    stage.prompts("in.jsonl", 20);
    let url = mock.url();
    stage.run(args(&url)).ends_with(0);
    stage.prompts("in.jsonl", 25);
    stage.run(args(&url)).ends_with(0).says("20 done before");
    assert_eq!(calls(&mock), 25);
    has_all(&stage, 25);
    let before = stage.read("out.jsonl");
    let changed = |from: &str, to: &str| {
        stage.prompts("in.jsonl", 30);
        stage.write("in.jsonl", stage.read("in.jsonl").replace(from, to));
        stage.run(args(&url))
    };
    changed("\"Question 7\"", "\"Why?\"")
        .ends_with(2)
        .says("the input was changed: line 8 (\"q7\")")
        .says("--overwrite");
    changed("\"q3\"", "\"other\"")
        .ends_with(2)
        .says("line 4 (\"other\")");
    stage.prompts("in.jsonl", 10);
    stage
        .run(args(&url))
        .ends_with(2)
        .says("it has 10 rows now, and results for 25");
    assert_eq!(stage.read("out.jsonl"), before);
    assert_eq!(calls(&mock), 25, "nothing was sent");
}

#[test]
fn other_parameters_are_an_error_before_anything_is_sent() {
    let (stage, mock) = (stage(), slow(0));
    stage.prompts("in.jsonl", 5);
    let url = mock.url();
    stage.run(args(&url)).ends_with(0);
    let with = |more: [&str; 2]| -> Said { stage.run(args(&url).into_iter().chain(more)) };
    with(["--model", "a/b"])
        .ends_with(2)
        .says("model was nothing, and is \"a/b\"")
        .says("--overwrite");
    with(["--system", "You are a poet."])
        .ends_with(2)
        .says("system was nothing")
        .does_not_say("poet");
    with(["--set", "temperature=0"])
        .ends_with(2)
        .says("set was nothing");
    with(["--concurrency", "3"]).ends_with(2);
    let other = stage.run(["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"]);
    other.ends_with(0).says("nothing was left to do");
    assert_eq!(calls(&mock), 5);
}

#[test]
fn two_runs_cannot_write_to_one_place() {
    let (stage, mock) = (stage(), slow(60_000));
    stage.prompts("in.jsonl", 5);
    let url = mock.url();
    let first = Running::start(&mut stage.command(args(&url)));
    wait_for_calls(&mock, 1);
    for more in [&[][..], &["--overwrite"], &["--journal", "other.journal"]] {
        let said = stage.run(args(&url).iter().chain(more));
        said.ends_with(2).says("out.jsonl");
    }
    stage.run(args(&url)).says("another run is writing to");
    first.signal("INT");
    first.signal("INT");
    first.end().ends_with(130);
}

#[test]
fn a_journal_of_a_newer_version_is_refused() {
    let (stage, mock) = (stage(), slow(0));
    stage.prompts("in.jsonl", 5);
    let url = mock.url();
    stage.run(args(&url)).ends_with(0);
    let mut journal = fs::read(stage.path("out.jsonl.journal")).unwrap();
    journal[16] = 2;
    stage.write("out.jsonl.journal", &journal);
    stage
        .run(args(&url))
        .ends_with(2)
        .says("out.jsonl.journal")
        .says("a newer version has written it (format 2)");
    assert_eq!(fs::read(stage.path("out.jsonl.journal")).unwrap(), journal);
}

#[test]
fn failures_go_to_a_file_of_their_own() {
    let bad = || Step::reply(Fault::bad_request("no"));
    let server = MockOpenRouter::open().script(On::any(), [bad(), bad()]);
    let (stage, mock) = (stage(), Mock::start(server));
    stage.prompts("in.jsonl", 20);
    let url = mock.url();
    let more = ["--errors", "errors.jsonl"];
    stage.run(args(&url).into_iter().chain(more)).ends_with(1);
    let errors = results(&stage.read("errors.jsonl"));
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0]["error"]["scope"], "request");
    assert_eq!(errors[0]["fairkey"]["attempts"], 1);
    assert_eq!(results(&stage.read("out.jsonl")).len(), 18);
    let more = ["--errors", "errors.jsonl", "--retry-failed"];
    stage.run(args(&url).into_iter().chain(more)).ends_with(0);
    assert_eq!(stage.read("errors.jsonl"), "");
    has_all(&stage, 20);
}

#[test]
fn a_pipe_can_have_a_journal_and_gets_every_result_again() {
    let (stage, mock) = (stage(), slow(20));
    stage.prompts("in.jsonl", 300);
    let url = mock.url();
    let args = [
        "run",
        "-",
        "--base-url",
        &url,
        "-o",
        "-",
        "--journal",
        "kept",
        "--concurrency",
        "10",
    ];
    let input = stage.read("in.jsonl");
    let mut command = stage.command(args);
    let from = fs::File::open(stage.path("in.jsonl")).unwrap();
    let mut child = command.stdin(from).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    // The reader leaves.
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let sent = calls(&mock);
    assert!(sent < 300, "{sent}");
    let said = stage.run_with_input(args, &input);
    said.ends_with(0);
    let expected: Vec<String> = (0..300).map(|n| format!("q{n}")).collect();
    assert_eq!(ids(&said.stdout), expected);
    assert_eq!(calls(&mock), 300, "what was in flight was kept, too");
}

#[test]
fn other_shapes_are_made_again_from_the_journal() {
    let (stage, mock) = (stage(), slow(20));
    stage.prompts("in.jsonl", 100);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.csv",
        "--concurrency",
        "10",
    ];
    let mut running = Running::start(&mut stage.command(args));
    wait_for_calls(&mock, 50);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    stage.run(args).ends_with(0).says("going on");
    let text = stage.read("out.csv");
    assert_eq!(text.matches("custom_id,").count(), 1, "{text}");
    assert_eq!(text.lines().count(), 101);
    assert!(calls(&mock) <= 110);
}

#[test]
#[cfg(target_os = "linux")]
fn a_journal_that_may_not_grow_stops_the_run_and_loses_no_answer() {
    let (stage, mock) = (stage(), slow(0));
    stage.prompts("in.jsonl", 600);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "4",
    ];
    // A hundred kilobytes a file, and an error instead of a signal beyond them.
    let shell = "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\"";
    let program = stage.command(args);
    let mut limited = std::process::Command::new("/bin/sh");
    limited
        .args(["-c", shell])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(stage.path(""))
        .env_clear()
        .env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let said = Running::start(&mut limited).end();
    said.ends_with(3)
        .says("the journal cannot be kept: File too large")
        .says("free some room; the same command goes on where it ended");
    let sent = calls(&mock);
    assert!(sent < 400, "{sent}");
    stage.run(args).ends_with(0);
    assert_eq!(
        calls(&mock),
        600,
        "what the journal lacked stood in the results"
    );
    has_all(&stage, 600);
}
