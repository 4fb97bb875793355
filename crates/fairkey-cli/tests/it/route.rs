//! `fairkey route`.

use serde_json::{Value, json};

use crate::program::{Said, Stage, in_repository};

fn request(provider: &Value) -> String {
    json!({
        "model": "meta-llama/llama-3.3-70b-instruct",
        "messages": [{"role": "user", "content": "Why is the sky blue? canary-prompt"}],
        "max_tokens": 100,
        "provider": provider,
    })
    .to_string()
}

fn shown(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:#?}"))
}

fn tags(candidates: &Value) -> Vec<&str> {
    let all = candidates.as_array().unwrap().iter();
    all.map(|one| one["tag"].as_str().unwrap()).collect()
}

#[test]
fn a_request_is_planned_with_odds_and_a_price() {
    let stage = Stage::new();
    stage.write("request.json", request(&json!({})));
    let said = stage.run(["route", "request.json", "--mock"]);
    said.ends_with(0);
    assert!(
        said.stdout
            .contains("3 of 3 endpoints may serve, balanced by price")
    );
    assert!(said.stdout.contains("100 completion tokens"));
    assert!(!said.stdout.contains("canary"), "no prompt is repeated");
    let said = stage.run(["route", "request.json", "--mock", "--json"]);
    let shown = shown(said.ends_with(0));
    assert_eq!(shown["eligible"], true);
    let candidates = &shown["plan"]["candidates"];
    assert_eq!(tags(candidates)[0], "deepinfra");
    let odds = |at: usize| candidates[at]["odds"].as_f64().unwrap();
    assert!(odds(0) > 0.7 && (odds(0) + odds(1) + odds(2) - 1.0).abs() < 1e-6);
    assert!(shown["plan"]["expected_usd"].as_f64().unwrap() > 0.0);
}

#[test]
fn order_and_fallbacks_decide_in_place_of_chance() {
    let stage = Stage::new();
    let provider = json!({"order": ["groq", "together"], "allow_fallbacks": false});
    let said = stage.run_with_input(["route", "-", "--mock", "--json"], request(&provider));
    let shown = shown(said.ends_with(0));
    assert_eq!(shown["plan"]["ordering"], "order");
    assert_eq!(tags(&shown["plan"]["candidates"]), ["groq", "together"]);
    let removed = &shown["plan"]["removed"][0];
    assert_eq!(removed["reasons"][0]["field"], "provider.allow_fallbacks");
}

#[test]
fn everything_filtered_out_says_by_what_and_what_would_help() {
    let stage = Stage::new();
    let provider = json!({"only": ["groq"], "max_price": {"prompt": 0.2}});
    stage.write("request.json", request(&provider));
    let said = stage.run(["route", "request.json", "--mock"]);
    said.ends_with(1);
    for text in [
        "0 of 3 endpoints may serve",
        "provider.only: together is not in it",
        "provider.max_price.prompt: groq costs",
        "to have an endpoint left:",
        "raise provider.max_price.prompt from 0.2 to 0.59",
    ] {
        assert!(said.stdout.contains(text), "no {text:?} in {}", said.stdout);
    }
    let said = stage.run(["route", "request.json", "--mock", "--json"]);
    let shown = shown(said.ends_with(1));
    assert_eq!(shown["eligible"], false);
    assert!(!shown["plan"]["cures"].as_array().unwrap().is_empty());
}

#[test]
fn findings_are_refused_told_or_not_looked_for() {
    let stage = Stage::new();
    let provider = json!({"order": ["Deep Infra"]});
    let mut body: Value = serde_json::from_str(&request(&provider)).unwrap();
    body["temperature"] = 7.into();
    stage.write("request.json", body.to_string());
    let route = ["route", "request.json", "--mock"];
    stage
        .run(route)
        .ends_with(1)
        .says("error: temperature = 7")
        .says("warning: provider.order[0]")
        .says("--check warn plans it all the same");
    let said = stage.run(route.iter().chain(&["--check", "warn"]));
    said.ends_with(0).says("error: temperature = 7");
    let said = stage.run(route.iter().chain(&["--check", "off"]));
    said.ends_with(0).does_not_say("temperature");
    let said = stage.run(route.iter().chain(&["--json"]));
    let shown = shown(said.ends_with(1));
    assert_eq!(
        (&shown["refused"], &shown["eligible"]),
        (&true.into(), &false.into())
    );
    assert_eq!(shown["findings"][0]["field"], "temperature");
}

#[test]
fn a_prompt_and_a_model_are_a_request() {
    let stage = Stage::new();
    let said = stage.run([
        "route",
        "--model",
        "openai/gpt-4o",
        "--prompt",
        "Why?",
        "--max-tokens",
        "50",
        "--mock",
    ]);
    said.ends_with(0);
    assert!(
        said.stdout.contains("50 completion tokens"),
        "{}",
        said.stdout
    );
    stage
        .run(["route", "--prompt", "Why?", "--mock"])
        .ends_with(2)
        .says("names no model");
    stage.run(["route", "--mock"]).ends_with(2).says("REQUEST");
}

#[test]
fn every_model_of_a_request_is_looked_at() {
    let stage = Stage::new();
    let body = json!({
        "models": ["openai/gpt-4o", "acme/nobody", "openai/gpt-4o-mini"],
        "messages": [{"role": "user", "content": "x"}],
    });
    stage.write("request.json", body.to_string());
    let said = stage.run(["route", "request.json", "--mock", "--json"]);
    said.ends_with(0)
        .says("warning: there is no model acme/nobody");
    let shown = shown(&said);
    let models: Vec<&Value> = shown["plan"]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["model"])
        .collect();
    assert_eq!(models[0], "openai/gpt-4o");
    assert_eq!(models[3], "openai/gpt-4o-mini");
    assert!(shown["plan"]["unknown"].to_string().contains("acme/nobody"));
}

#[test]
fn an_unknown_model_is_answered_with_those_that_may_be_meant() {
    let args = ["route", "--mock", "--prompt", "x", "--model"];
    let said = Stage::new().run(args.into_iter().chain(["openai/gpt4o"]));
    said.ends_with(1).says("did you mean openai/gpt-4o");
}

#[test]
fn endpoints_of_a_file_need_no_network() {
    let stage = Stage::new();
    let shown = stage.run(["models", "show", "openai/gpt-4o", "--mock", "--json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    stage.write("whole.json", json!({"data": shown["model"]}).to_string());
    stage.write("many.json", json!([shown["model"]]).to_string());
    for file in ["whole.json", "many.json"] {
        let args = ["route", "--model", "openai/gpt-4o", "--endpoints", file];
        let said = stage.run(args);
        said.ends_with(0);
        assert!(said.stdout.contains("2 of 2 endpoints"), "{}", said.stdout);
    }
    let other = [
        "route",
        "--model",
        "openai/other",
        "--endpoints",
        "whole.json",
    ];
    let said = stage.run(other);
    said.ends_with(1);
    assert!(
        said.stdout
            .contains("the endpoints of openai/other were not given")
    );
}

#[test]
fn what_is_no_request_is_told_with_its_place_and_without_its_text() {
    let stage = Stage::new();
    for (text, what) in [
        ("", "request.json is empty"),
        (" \n", "request.json is empty"),
        (
            "canary garbage",
            "no JSON at line 1 column 1; for a plain prompt use --prompt",
        ),
        ("{\"model\": \"canary\"", "no JSON at line 1 column 18"),
        ("[1]", "JSON, and no object"),
        ("\"canary\"", "JSON, and no object"),
        ("{\"model\": 7}", "no chat request: invalid type: integer"),
        (
            "{\"messages\": \"canary\"}",
            "no chat request: invalid type",
        ),
        ("{}", "names no model"),
        ("{\"body\": [\"canary\"]}", "JSON, and no object"),
    ] {
        stage.write("request.json", text);
        let said = stage.run(["route", "request.json", "--mock"]);
        said.ends_with(2).says(what).does_not_say("canary");
        assert_eq!(said.stdout, "");
    }
    stage.write("request.json", b"\xff\xfe\x00");
    stage.run(["route", "request.json", "--mock"]).ends_with(2);
    std::fs::create_dir(stage.path("folder")).unwrap();
    stage
        .run(["route", "folder", "--mock"])
        .ends_with(2)
        .says("folder is a folder");
    stage
        .run(["route", "missing.json", "--mock"])
        .ends_with(2)
        .says("there is no file missing.json");
    stage
        .run(["route", "-", "--mock"])
        .ends_with(2)
        .says("standard input is empty");
    for text in [
        "",
        "garbage",
        "[]",
        "{}",
        "[7]",
        "{\"data\":[]}",
        "{\"endpoints\":[]}",
    ] {
        stage.write("endpoints.json", text);
        let args = ["route", "--model", "a/b", "--endpoints", "endpoints.json"];
        stage.run(args).ends_with(2).says("endpoints.json ");
    }
}

#[test]
fn a_line_of_a_batch_file_and_one_with_a_byte_order_mark_are_read() {
    let stage = Stage::new();
    let body: Value = serde_json::from_str(&request(&json!({}))).unwrap();
    let line = json!({"custom_id": "a", "url": "/v1/chat/completions", "body": body});
    stage.write("line.json", format!("\u{feff}{line}"));
    stage.run(["route", "line.json", "--mock"]).ends_with(0);
}

#[test]
fn the_book_shows_what_the_program_says() {
    // The published crate comes without the book.
    let Ok(chapter) = std::fs::read_to_string(in_repository("docs/src/routing.md")) else {
        return;
    };
    let block = |language: &str, start: &str| {
        let fence = format!("```{language}\n{start}");
        let from = chapter.find(&fence).expect(start) + "```".len() + language.len() + 1;
        let text = &chapter[from..];
        text[..text.find("\n```").unwrap() + 1].to_owned()
    };
    let stage = Stage::new();
    stage.write("request.json", block("json", "{"));
    stage.write("fairkey.toml", block("toml", "[routes"));
    let shown = block("text", "$ fairkey route");
    let (_, shown) = shown.split_once('\n').unwrap();
    let said = stage.run(["route", "request.json", "--mock"]);
    assert_eq!(said.ends_with(1).stdout, shown);
    let route = ["route", "--route", "cheap-and-private", "--mock"];
    stage.run(route).ends_with(0);
}
