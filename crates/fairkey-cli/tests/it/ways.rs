//! Rows in batches of the upstream, and through a running gateway.
#![cfg(unix)]

use std::time::Duration;

use fairkey_mock::{
    Account, BatchPlan, Builder, Event, EventKind, Key, Latency, Log, MockOpenRouter, On, Step,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::program::{Mock, Running, Stage, results};

const KEY: &str = "sk-or-v1-canary-0001";
const BATCHES: &str = "/api/beta/batches";
const LIMIT: Duration = Duration::from_secs(60);

fn mock() -> Builder {
    MockOpenRouter::builder()
        .account(Account::new("one").balance_usd(100.0))
        .key(Key::new(KEY).label("a").account("one"))
        .any_model(true)
}

fn stage() -> Stage {
    Stage::new().env("OPENROUTER_API_KEY", KEY)
}

/// A run in batches of four, which are looked at often.
fn in_batches<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "in.jsonl", "-o", "out.jsonl", "--base-url", url];
    args.extend(["--mode", "upstream-batch", "--model", "acme/small"]);
    args.extend(["--batch-rows", "4", "--look-every", "50ms"]);
    args.extend(more);
    args
}

/// How often something was asked for.
fn calls(log: &Log, method: &str, path: &str) -> usize {
    let is_meant = |event: &&Event| {
        matches!(&event.kind, EventKind::Received { method: by, path: at, .. }
            if by == method && at.starts_with(path))
    };
    log.events().iter().filter(is_meant).count()
}

fn wait_for(mock: &Mock, what: impl Fn(&Event) -> bool) {
    let log = mock.server.log();
    mock.runtime.block_on(async {
        timeout(LIMIT, log.wait_for(what))
            .await
            .expect("it happens");
    });
}

fn ids(lines: &[Value]) -> Vec<&str> {
    (lines.iter())
        .map(|line| line["custom_id"].as_str().unwrap())
        .collect()
}

#[test]
fn a_file_goes_in_batches_and_nothing_is_left_beside_its_results() {
    let (stage, mock) = (stage(), Mock::start(mock()));
    stage.prompts("in.jsonl", 10);
    let url = mock.url();
    let said = stage.run(in_batches(&url, &["--json"]));
    said.ends_with(0).does_not_say("canary");
    let summary: Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(summary["rows"]["answered"], 10);
    let batches = summary["batches"].as_array().unwrap();
    assert_eq!(batches.len(), 3);
    assert!(batches.iter().all(|batch| batch["state"] == "collected"));
    let lines = results(&stage.read("out.jsonl"));
    let expected: Vec<String> = (0..10).map(|n| format!("q{n}")).collect();
    assert_eq!(ids(&lines), expected);
    assert!(lines[0]["fairkey"]["cost_usd"].as_f64().unwrap() > 0.0);
    assert_eq!(calls(&mock.server.log(), "POST", "/chat/completions"), 0);
    assert_eq!(
        stage.names(),
        ["in.jsonl", "out.jsonl", "out.jsonl.journal"]
    );
}

#[test]
fn a_run_that_is_killed_goes_on_with_the_batches_that_it_made() {
    let mock = Mock::start(mock().job_duration(Duration::from_secs(3_600)));
    let stage = stage();
    stage.prompts("in.jsonl", 10);
    let url = mock.url();
    let running = Running::start(&mut stage.command(in_batches(&url, &[])));
    // All are submitted, and one was looked at.
    let log = mock.server.log();
    wait_for(&mock, |_| {
        calls(&log, "POST", BATCHES) == 3 && calls(&log, "GET", BATCHES) > 0
    });
    running.wait_for("batch 3 (");
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    mock.server.advance(Duration::from_secs(3_600));
    stage.run(in_batches(&url, &[])).ends_with(0);
    assert_eq!(results(&stage.read("out.jsonl")).len(), 10);
    assert_eq!(calls(&log, "POST", BATCHES), 3, "nothing was paid twice");
}

#[test]
fn a_kill_while_a_batch_is_submitted_leaves_that_one_in_doubt() {
    let mock = Mock::start(mock());
    mock.server
        .script(On::path(BATCHES), [Step::pass(), Step::stall_before_head()]);
    let stage = stage();
    stage.prompts("in.jsonl", 12);
    let url = mock.url();
    let running = Running::start(&mut stage.command(in_batches(&url, &[])));
    wait_for(&mock, Event::is_stalled);
    running.signal("KILL");
    running.end();
    let said = stage.run(in_batches(&url, &[]));
    said.ends_with(3).says("4 rows may have been submitted");
    said.says("--resubmit").says("4 left without a result");
    assert_eq!(results(&stage.read("out.jsonl")).len(), 8);
    let log = mock.server.log();
    assert_eq!(
        calls(&log, "POST", BATCHES),
        3,
        "the first, the one in doubt, the last"
    );
    stage.run(in_batches(&url, &["--resubmit"])).ends_with(0);
    let lines = results(&stage.read("out.jsonl"));
    let expected: Vec<String> = (0..12).map(|n| format!("q{n}")).collect();
    assert_eq!(ids(&lines), expected, "in their order, each once");
    assert_eq!(calls(&log, "POST", BATCHES), 4);
}

#[test]
fn ctrl_c_says_that_batches_go_on_and_an_expired_one_is_sent_live() {
    let plans = [
        BatchPlan::completes().after(Duration::from_secs(60)),
        BatchPlan::expires(),
    ];
    let mock = Mock::start(mock().batches(plans));
    let stage = stage();
    stage.prompts("in.jsonl", 8);
    let url = mock.url();
    let running = Running::start(&mut stage.command(in_batches(&url, &[])));
    running.wait_for("batch 2 (");
    running.signal("INT");
    let said = running.end();
    said.ends_with(130);
    said.says("2 batches are with 8 rows upstream")
        .says("the same command collects them");
    mock.server.advance(Duration::from_secs(25 * 3_600));
    let said = stage.run(in_batches(&url, &[]));
    said.ends_with(3)
        .says("expired")
        .says("4 left without a result");
    assert_eq!(results(&stage.read("out.jsonl")).len(), 4);
    // Whichever way: what is done is done.
    let mut live = vec!["run", "in.jsonl", "-o", "out.jsonl", "--base-url", &url];
    live.extend(["--model", "acme/small"]);
    stage.run(live).ends_with(0);
    assert_eq!(results(&stage.read("out.jsonl")).len(), 8);
    let log = mock.server.log();
    assert_eq!(calls(&log, "POST", "/chat/completions"), 4);
}

#[test]
fn what_does_not_go_with_batches_is_said_before_anything_is_sent() {
    let stage = stage();
    stage.prompts("in.jsonl", 1);
    for (args, what) in [
        (vec!["run", "in.jsonl", "-o", "-", "--mock"], "name a file"),
        (vec!["run", "-", "--mock"], "reads its input twice"),
        (
            vec!["run", "in.jsonl", "--mock", "--max-cost", "1"],
            "--max-cost cannot hold",
        ),
        (
            vec!["run", "in.jsonl", "--via", "http://127.0.0.1:9"],
            "leave out --via",
        ),
    ] {
        let args = args.into_iter().chain(["--mode", "upstream-batch"]);
        stage.run(args).ends_with(2).says(what);
    }
    assert_eq!(stage.names(), ["in.jsonl"]);
}

/// A gateway of this program, and where it is.
fn gateway(stage: &Stage, mock: &Mock, config: &str, listen: &str) -> (Running, String) {
    stage.write("gateway.toml", config);
    let url = mock.url();
    let mut args = vec!["serve", "--config", "gateway.toml", "--listen", listen];
    args.extend(["--base-url", &url]);
    let serving = Running::start(&mut stage.command(args));
    let line = serving.wait_for("listening on ");
    let address = line.split("listening on ").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap().to_owned();
    (serving, address)
}

fn via<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "in.jsonl", "-o", "out.jsonl", "--via", address];
    args.extend(["--model", "acme/small"]);
    args.extend(more);
    args
}

#[test]
fn rows_go_through_a_gateway_with_a_token_and_no_key() {
    let mock = Mock::start(mock());
    let serving = stage();
    let config = "[[clients]]\nid = \"team\"\ntoken = \"tok-canary-0002\"\n\
                  limits = { requests = { limit = 20, per = \"1s\" } }\n";
    let (gateway, address) = gateway(&serving, &mock, config, "127.0.0.1:0");
    let stage = Stage::new().env("FAIRKEY_TOKEN", "tok-canary-0002");
    stage.prompts("in.jsonl", 50);
    let said = stage.run(via(&address, &["--json"]));
    said.ends_with(0).does_not_say("canary");
    let summary: Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!(
        (&summary["rows"]["answered"], &summary["rows"]["failed"]),
        (&50.into(), &0.into())
    );
    let keys: Vec<&str> = (summary["keys"].as_array().unwrap().iter())
        .map(|key| key["key"].as_str().unwrap())
        .collect();
    assert!(keys.contains(&"api-key"), "the gateway's own: {keys:?}");
    let state = summary["keys"].to_string();
    assert!(state.contains("over_rate"), "it was asked to wait: {state}");
    assert_eq!(summary["attempts"]["max"], 1, "to wait is no attempt");
    let stranger = Stage::new().env("FAIRKEY_TOKEN", "tok-of-nobody");
    stranger.prompts("in.jsonl", 3);
    stranger
        .run(via(&address, &[]))
        .ends_with(3)
        .says("the gateway refuses the token");
    let file = Stage::new();
    file.prompts("in.jsonl", 3);
    file.write("token", "tok-canary-0002\n");
    file.run(via(&address, &["--via-token", "token"]))
        .ends_with(0);
    gateway.signal("TERM");
    gateway.end();
}

#[test]
fn a_gateway_that_is_not_there_is_named() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 3);
    let said = stage.run(via("http://127.0.0.1:1", &["--patience", "300ms"]));
    said.ends_with(3)
        .says("the network cannot be used for now")
        .says("of the time by the gateway cannot be reached: http://127.0.0.1:1");
    assert!(!said.stderr.contains("  ok"), "{}", said.stderr);
}

#[test]
fn rows_go_through_a_socket_and_yield_to_those_who_wait() {
    // Two calls at a time, each of which takes a moment.
    let latency = Latency::new(Duration::from_millis(30), Duration::ZERO);
    let mock = Mock::start(mock().latency(latency));
    let serving = stage();
    let socket = serving.path("gateway.sock");
    let listen = format!("unix:{}", socket.display());
    let config = "[[keys]]\nid = \"only\"\naccount = \"one\"\n\
                  secret = { env = \"OPENROUTER_API_KEY\" }\n\
                  [[accounts]]\nid = \"one\"\nlimits = { in_flight = 2 }\n";
    let (gateway, _) = gateway(&serving, &mock, config, &listen);
    let stage = Stage::new();
    stage.prompts("in.jsonl", 120);
    let batch = via(&listen, &["--concurrency", "20"]);
    let batch = Running::start(&mut stage.command(batch));
    let log = mock.server.log();
    wait_for(&mock, |_| calls(&log, "POST", "/chat/completions") >= 10);
    let before = calls(&log, "POST", "/chat/completions");
    // Somebody who waits, in the middle of it: as fast as through an idle gateway.
    for n in 0..20 {
        let body = format!(
            "{{\"model\":\"acme/large\",\"messages\":[{{\"role\":\"user\",\"content\":\"{n}\"}}]}}"
        );
        post(&socket, &body);
    }
    let events = mock.server.log().events();
    let received = events.iter().filter(|event| {
        matches!(&event.kind, EventKind::Received { path, .. } if path == "/chat/completions")
    });
    let models: Vec<&str> = received.filter_map(|it| it.model.as_deref()).collect();
    let last = models
        .iter()
        .rposition(|model| *model == "acme/large")
        .unwrap();
    let between = models[before..=last]
        .iter()
        .filter(|it| **it == "acme/small")
        .count();
    // Each of the twenty finds both places taken by rows, and is the next: a row or two later.
    assert!(
        between <= 4 * 20,
        "{between} rows went before 20 calls, of {}",
        models.len()
    );
    batch.end().ends_with(0);
    assert_eq!(results(&stage.read("out.jsonl")).len(), 120);
    gateway.signal("TERM");
    gateway.end();
}

/// Makes one call through a socket, and reads its answer.
fn post(socket: &std::path::Path, body: &str) {
    use std::io::{Read, Write};

    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json";
    write!(
        stream,
        "{head}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
