//! How a run is told to programs, and as a page.

use serde_json::Value;

use crate::program::{Said, Stage};

/// Every line of standard error is an object of JSON.
fn events(said: &Said) -> Vec<Value> {
    let lines = said.stderr.lines();
    let events = lines.map(|line| serde_json::from_str(line).expect(line));
    events.collect()
}

#[test]
fn a_page_tells_what_came_of_a_run_and_loads_nothing() {
    let stage = Stage::new();
    let prompts: String = (0..200)
        .map(|n| format!("{{\"custom_id\":\"q{n}\",\"prompt\":\"<script>{n}\"}}\n"))
        .collect();
    stage.write("a&b.jsonl", prompts + "{\"neither\":1}\n");
    let run = [
        "run",
        "a&b.jsonl",
        "--mock",
        "--seed",
        "3",
        "--report",
        "r.html",
    ];
    stage.run(run).ends_with(1).says("report    r.html");
    let page = stage.read("r.html");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("<h1>a&amp;b.jsonl</h1>"));
    for absent in ["<script", "http:", "https:", "src=", "sk-or-", "NaN"] {
        assert!(!page.contains(absent), "{absent}");
    }
    for present in [
        "Rows per second",
        "<b>201</b><span class=\"soft\">rows read",
        "<b>200</b><span class=\"soft\">answered",
        "<p class=\"bad\">1 row failed.</p>",
        "<td>north-a<td>north",
        "<td>north-b<td>north",
        "key_invalid",
    ] {
        assert!(page.contains(present), "{present} in {page}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_sent() {
    let stage = Stage::new();
    let input = stage.prompts("in.jsonl", 3);
    for (report, why) in [
        ("no/such/r.html", "there is no folder no/such"),
        (".", "is a folder"),
        ("./in.jsonl", "is the input"),
    ] {
        let said = stage.run(["run", "in.jsonl", "--mock", "--report", report]);
        said.ends_with(2).says(why);
        assert!(!stage.path("in.results.jsonl").exists(), "{report}");
    }
    assert!(
        std::fs::read_to_string(input)
            .unwrap()
            .contains("Question 2")
    );
}

#[test]
fn programs_are_told_events_and_a_summary() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 120);
    let run = ["run", "in.jsonl", "--mock", "--seed", "3", "--json"];
    let said = stage.run(run);
    said.ends_with(0);
    let events = events(&said);
    let kinds: Vec<&str> = events
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "info", "what is sent where");
    let refused = events
        .iter()
        .find(|it| it["event"] == "key_refused")
        .unwrap();
    assert_eq!(refused["key"], "north-b");
    assert_eq!(refused["account"], "north");
    assert_eq!(
        (&refused["scope"], &refused["status"]),
        (&"key".into(), &401.into())
    );
    let last = events.iter().rfind(|it| it["event"] == "progress").unwrap();
    assert_eq!(last["done"], 120);
    assert_eq!(last["in_flight"], 0);
    assert!(last["tokens"].as_u64().unwrap() > 0 && last["spent_usd"].as_f64().unwrap() > 0.0);
    let lanes = last["lanes"].as_array().unwrap();
    let answered: u64 = lanes
        .iter()
        .map(|it| it["answered"].as_u64().unwrap())
        .sum();
    assert_eq!(answered, 120, "{lanes:?}");
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(summary["rows"]["answered"], 120);
}

#[test]
fn programs_are_told_errors_as_events_too() {
    let stage = Stage::new();
    let said = stage.run(["run", "absent.jsonl", "--mock", "--json"]);
    said.ends_with(2);
    let events = events(&said);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "error");
    assert!(
        events[0]["message"]
            .as_str()
            .unwrap()
            .contains("absent.jsonl")
    );
}
