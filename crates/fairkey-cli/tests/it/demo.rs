//! What the first command of the project's README promises.

use serde_json::Value;

use crate::program::{Stage, answer, in_repository, results};

#[test]
fn the_example_is_answered_row_by_row_in_order_on_a_bad_day() {
    let stage = Stage::new();
    let input = in_repository("examples/prompts.jsonl");
    let said = stage.run(["run", input.to_str().unwrap(), "--mock", "-o", "out.jsonl"]);
    said.ends_with(0)
        .says("the embedded mock OpenRouter, 4 keys in 3 accounts")
        .says("warning: key \"north-b\" is out: key_invalid (401); the others go on")
        .says("warning: key \"south\" (account \"south\") is out for a while: balance_exhausted (402)")
        .says("500 read, 500 answered, 0 failed, 0 lost")
        .says("out: key_invalid (401)")
        .says("key_invalid")
        .says("account_rate_limited")
        .says("provider_")
        .says("network");
    assert_eq!(said.stdout, "");
    let results = results(&stage.read("out.jsonl"));
    let lines: Vec<u64> = results
        .iter()
        .map(|result| result["fairkey"]["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, (1..=500).collect::<Vec<_>>());
    for result in &results {
        assert_eq!(result["error"], Value::Null, "{result}");
        assert_eq!(result["response"]["status_code"], 200);
        assert!(!answer(result).is_empty(), "{result}");
    }
}

#[test]
fn the_same_command_again_has_nothing_to_do_and_keeps_the_first_results() {
    let stage = Stage::new();
    stage.prompts("prompts.jsonl", 5);
    let run = ["run", "prompts.jsonl", "--mock"];
    stage.run(run).ends_with(0).says("prompts.results.jsonl");
    let first = stage.read("prompts.results.jsonl");
    stage.run(run).ends_with(0).says("nothing was left to do");
    assert_eq!(stage.read("prompts.results.jsonl"), first);
    let anew = stage.run(run.into_iter().chain(["--overwrite"]));
    anew.ends_with(0).does_not_say("nothing was left");
    // Without a journal there is nothing to go on with, and nothing is replaced.
    let second = stage.run(run.into_iter().chain(["--no-journal"]));
    second.ends_with(0).says("prompts.results-2.jsonl");
    assert_eq!(results(&stage.read("prompts.results.jsonl")).len(), 5);
    assert_eq!(results(&stage.read("prompts.results-2.jsonl")).len(), 5);
}

#[test]
fn the_summary_can_be_read_by_programs() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 40);
    let said = stage.run([
        "run", "in.jsonl", "--mock", "--json", "--quiet", "--seed", "3",
    ]);
    said.ends_with(0);
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["rows"]["read"], 40);
    assert_eq!(summary["rows"]["lost"], 0);
    assert_eq!(summary["stopped"], Value::Null);
    assert_eq!(summary["output"], "in.results.jsonl");
    assert_eq!(summary["keys"].as_array().unwrap().len(), 4);
    assert_eq!(summary["accounts"].as_array().unwrap().len(), 3);
    let answered: u64 = (0..4)
        .map(|at| summary["keys"][at]["answered"].as_u64().unwrap())
        .sum();
    assert_eq!(answered, 40);
    assert!(summary["cost_usd"].as_f64().unwrap() > 0.0);
}

#[test]
fn progress_is_told_in_lines_where_there_is_no_terminal_and_not_at_all_when_quiet() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 300);
    let said = stage.run(["run", "in.jsonl", "--mock"]);
    said.ends_with(0)
        .says(" done, ")
        .says("in flight")
        .says("refused, $")
        .does_not_say("\x1b");
    let said = stage.run(["run", "in.jsonl", "--mock", "--quiet"]);
    said.ends_with(0)
        .does_not_say(" done, ")
        .does_not_say("rows ");
}

#[test]
fn every_subcommand_explains_itself() {
    let stage = Stage::new();
    for command in ["run", "ask", "keys", "mock", "config"] {
        let said = stage.run([command, "--help"]);
        said.ends_with(0);
        assert!(said.stdout.contains("Examples:"), "{command}");
        assert!(said.stdout.contains("Exit codes"), "{command}");
    }
    stage.run(["--version"]).ends_with(0);
    stage.run(["walk"]).ends_with(2).says("walk");
    stage.run(["run"]).ends_with(2).says("<IN>");
    stage
        .run(["run", "x", "--concurrency", "0"])
        .ends_with(2)
        .says("auto");
}
