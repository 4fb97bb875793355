//! What one row may cost, and how long a run goes on when nothing succeeds.

use fairkey_mock::{Fault, MockOpenRouter, On, Step};
use serde_json::Value;

use crate::program::{Mock, Running, Stage, results};

/// Quick, so that no test waits for real backoffs.
const QUICK: &str = "[retry]\nbase = \"1ms\"\ncap = \"5ms\"\n[breaker]\nopen_for = \"10ms\"\n";

fn always(fault: Fault) -> Mock {
    Mock::start(MockOpenRouter::open().script(On::any(), [Step::reply(fault).forever()]))
}

fn stage() -> Stage {
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000");
    stage.write("quick.toml", QUICK);
    stage
}

#[test]
fn an_upstream_that_always_fails_costs_each_row_its_ledger_and_no_more() {
    let mock = always(Fault::provider_error_502("OpenAI"));
    let stage = stage();
    stage.prompts("in.jsonl", 2);
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "-o", "out.jsonl"];
    let said = stage.run(args.into_iter().chain(["--config", "quick.toml", "--json"]));
    said.ends_with(1);
    for result in results(&stage.read("out.jsonl")) {
        assert_eq!(result["fairkey"]["attempts"], 8, "{result}");
    }
    assert_eq!(mock.posts(), 16);
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["attempts"]["max"], 8);
    assert_eq!(
        (&summary["rows"]["failed"], &summary["rows"]["lost"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn patience_ends_a_run_in_which_nothing_succeeds_and_the_rows_left_are_told() {
    let mock = always(Fault::provider_error_502("OpenAI"));
    let stage = stage();
    stage.prompts("in.jsonl", 5_000);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "--config",
        "quick.toml",
    ];
    let said = stage.run(args.into_iter().chain(["--patience", "2s"]));
    said.ends_with(3)
        .says("stopped early: nothing was answered for 2 s")
        .says("provider_error")
        .says("left without a result")
        .says("0 lost");
}

#[test]
fn words_that_this_version_does_not_know_are_told_at_the_end() {
    let mock = always(Fault::provider_error_502("OpenAI").metadata("error_type", "lunar_eclipse"));
    let stage = stage();
    stage.prompts("in.jsonl", 1);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "--config",
        "quick.toml",
    ];
    stage
        .run(args)
        .ends_with(1)
        .says("error_type \"lunar_eclipse\" 8; a newer fairkey may know them");
    let said = stage.run(args.into_iter().chain(["--json", "--retry-failed"]));
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["unknown_words"][0]["word"], "lunar_eclipse");
}

#[test]
fn a_short_run_asks_about_no_key_that_is_well() {
    let secret = "sk-or-v1-any-00000000";
    let builder = MockOpenRouter::builder().key(fairkey_mock::Key::new(secret));
    let mock = Mock::start(builder);
    let stage = stage();
    stage.prompts("in.jsonl", 20);
    let url = mock.url();
    stage
        .run(["run", "in.jsonl", "--base-url", &url])
        .ends_with(0);
    assert_eq!(mock.posts(), 20);
}

#[cfg(unix)]
#[test]
fn a_refused_key_is_asked_about_itself_while_a_run_goes_on_without_a_state_file() {
    use std::time::Duration;

    use fairkey_mock::{EventKind, Latency};

    let secret = "sk-or-v1-any-00000000";
    let key = fairkey_mock::Key::new(secret);
    let slow = Latency::new(Duration::from_millis(200), Duration::ZERO);
    let mock = Mock::start(MockOpenRouter::builder().key(key).latency(slow));
    let stage = stage().env("OPENROUTER_KEY_1", "sk-or-v1-dead-00000000");
    stage.prompts("in.jsonl", 5_000);
    let url = mock.url();
    let args = ["run", "in.jsonl", "--base-url", &url, "--concurrency", "4"];
    let log = mock.server.log();
    let running = Running::start(&mut stage.command(args));
    let asked = log.wait_for(
        |event| matches!(&event.kind, EventKind::Received { method, .. } if method == "GET"),
    );
    mock.runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .expect("the key is asked");
    });
    running.signal("INT");
    running.end().ends_with(130);
}
