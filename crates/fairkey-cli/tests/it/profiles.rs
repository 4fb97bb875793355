//! Route profiles, from the configuration to what is sent.

use fairkey_mock::{EventKind, MockOpenRouter, Model, Provider};
use serde_json::{Value, json};

use crate::program::{Mock, Stage, results};

const KEY: &str = "sk-or-v1-canary-0123456789";

const ROUTES: &str = r#"
[routes.fast]
models = ["acme/1", "acme/2", "acme/3", "acme/4", "acme/5"]
provider = { ignore = ["other"] }
defaults = { max_tokens = 3, temperature = 0.5 }

[routes.plain]
models = ["acme/5"]
"#;

/// Five models, of which only the last is served.
fn mock() -> Mock {
    let mut builder = MockOpenRouter::builder().key(fairkey_mock::Key::new(KEY));
    for n in 1..=4 {
        builder = builder.model(Model::new(format!("acme/{n}")).unserved());
    }
    let served = Model::new("acme/5").provider(Provider::new("Acme"));
    Mock::start(builder.model(served).any_model(false))
}

fn stage(mock: &Mock) -> Stage {
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    let upstream = format!("[upstream]\nbase_url = \"{}\"\n", mock.url());
    stage.write("fairkey.toml", format!("{upstream}{ROUTES}"));
    stage
}

fn calls(mock: &Mock) -> usize {
    let events = mock.server.log().events();
    let is_call = |kind: &EventKind| matches!(kind, EventKind::Received { path, .. } if path == "/chat/completions");
    events.iter().filter(|event| is_call(&event.kind)).count()
}

#[test]
fn a_chain_longer_than_three_is_sent_three_at_a_time_to_its_end() {
    let mock = mock();
    let stage = stage(&mock);
    for (nth, args) in [
        &["--model", "fast"][..],
        &["--model", "route:fast"],
        &["--route", "fast"],
    ]
    .into_iter()
    .enumerate()
    {
        let said = stage.run(["ask", "x", "--json"].iter().chain(args));
        said.ends_with(0);
        let answer: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(answer["model"], "acme/5");
        assert_eq!(answer["attempts"], 2, "acme/1 to 3, then 4 and 5");
        assert_eq!(calls(&mock), 2 * (nth + 1));
    }
}

#[test]
fn rows_of_a_file_name_routes_and_get_what_stands_for_them() {
    let mock = mock();
    let stage = stage(&mock);
    let row = |id: &str, body: Value| {
        json!({"custom_id": id, "url": "/v1/chat/completions", "body": body}).to_string()
    };
    let messages = json!([{"role": "user", "content": "Tell me a lot of things."}]);
    let lines = [
        row("default", json!({"messages": messages})),
        row(
            "own",
            json!({"model": "acme/5", "messages": messages, "max_tokens": 5}),
        ),
        row(
            "alias",
            json!({"model": "plain", "messages": messages, "max_tokens": 4}),
        ),
        row(
            "wrong",
            json!({"model": "route:fsat", "messages": messages}),
        ),
        row(
            "two",
            json!({"models": ["fast", "plain"], "messages": messages}),
        ),
    ];
    stage.write("in.jsonl", lines.join("\n"));
    let said = stage.run(["run", "in.jsonl", "--route", "fast", "-o", "-", "--quiet"]);
    said.ends_with(1);
    let rows = results(&said.stdout);
    let model = |at: usize| rows[at]["response"]["body"]["model"].as_str();
    let tokens = |at: usize| &rows[at]["response"]["body"]["usage"]["completion_tokens"];
    assert_eq!([model(0), model(1), model(2)], [Some("acme/5"); 3]);
    assert_eq!([tokens(0), tokens(1), tokens(2)], [3, 5, 4]);
    for (at, what) in [
        (3, "there is no route \\\"fsat\\\""),
        (4, "names two routes"),
    ] {
        assert_eq!(rows[at]["error"]["code"], "bad_route");
        let message = rows[at]["error"]["message"].to_string();
        assert!(message.contains(what), "{message}");
    }
    assert_eq!(calls(&mock), 4, "nothing is sent of a row that cannot be");
}

#[test]
fn a_route_that_there_is_not_is_refused_before_anything_is_sent() {
    let mock = mock();
    let stage = stage(&mock);
    stage.prompts("in.jsonl", 1);
    for args in [
        &["ask", "x", "--route", "fsat"][..],
        &["ask", "x", "--model", "route:fsat"],
        &["run", "in.jsonl", "--route", "fsat"],
        &["route", "--prompt", "x", "--route", "fsat"],
    ] {
        let said = stage.run(args);
        said.ends_with(2)
            .says("there is no route \"fsat\"; those there are: fast, plain");
    }
    stage
        .run(["ask", "x", "--route", "fast", "--model", "a/b"])
        .ends_with(2)
        .says("cannot be used with");
    assert_eq!((calls(&mock), stage.names().len()), (0, 2));
}

#[test]
fn a_dry_run_shows_what_a_route_makes_of_a_request() {
    let stage = Stage::new();
    stage.write(
        "fairkey.toml",
        r#"[routes.cheap]
models = ["openai/gpt-4o-mini", "openai/gpt-4o", "google/gemini-2.5-flash",
    "meta-llama/llama-3.3-70b-instruct"]
provider = { max_price = { prompt = 0.2 }, ignore = ["azure"] }
"#,
    );
    let said = stage.run(["route", "--route", "cheap", "--prompt", "x", "--mock"]);
    said.ends_with(0)
        .says("route cheap: openai/gpt-4o-mini, openai/gpt-4o, google/gemini-2.5-flash; then")
        .does_not_say("error:");
    let body = json!({
        "model": "cheap", "messages": [],
        "provider": {"ignore": ["openai"], "max_price": {"prompt": 5}},
    });
    stage.write("request.json", body.to_string());
    let said = stage.run([
        "route",
        "request.json",
        "--mock",
        "--json",
        "--check",
        "warn",
    ]);
    let shown: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    assert_eq!(shown["route"], "cheap");
    assert_eq!(shown["models"].as_array().unwrap().len(), 4);
    assert_eq!(shown["request"]["models"].as_array().unwrap().len(), 3);
    let provider = &shown["request"]["provider"];
    assert_eq!(provider["ignore"], json!(["openai", "azure"]));
    assert_eq!(provider["max_price"]["prompt"], 0.2);
    let tag = |one: &Value| one["tag"].clone();
    let tags: Vec<Value> = shown["plan"]["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(tag)
        .collect();
    assert_eq!(tags, ["deepinfra"]);
}

#[test]
fn check_counts_routes_and_show_tells_them_so_that_they_can_be_read_again() {
    let mock = mock();
    let stage = stage(&mock);
    let said = stage.run(["config", "check"]);
    said.ends_with(0);
    assert!(
        said.stdout.ends_with("0 declared accounts, 2 routes\n"),
        "{}",
        said.stdout
    );
    let said = stage.run(["config", "check", "--json"]);
    let found: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(found["routes"], json!(["fast", "plain"]));
    let said = stage.run(["config", "show"]);
    said.ends_with(0);
    assert!(said.stdout.contains("\n[routes.fast]\n"), "{}", said.stdout);
    let again = stage.write("again.toml", &said.stdout);
    let args = ["config", "show", "--json", "--config"];
    let shown = |file: &str| -> Value {
        let said = stage.run(args.into_iter().chain([file]));
        serde_json::from_str(&said.ends_with(0).stdout).unwrap()
    };
    let (before, after) = (shown("fairkey.toml"), shown(again.to_str().unwrap()));
    for field in ["models", "provider", "defaults"] {
        let value = |of: &Value| of["routes"]["fast"][field]["value"].clone();
        assert_eq!(value(&before), value(&after));
        assert!(!value(&before).is_null());
    }
    assert_eq!(before["routes"]["fast"]["models"]["from"], "line 5");

    stage.write(
        "bad.toml",
        "[routes.x]\nmodels = [\"a/b\"]\nprovider = { only = [] }\n",
    );
    stage
        .run(["config", "check", "--config", "bad.toml"])
        .ends_with(2)
        .says("bad.toml, line 3 column 21: route \"x\", provider.only: no provider may serve");
}

#[test]
fn with_the_mock_a_route_works_without_a_key() {
    let stage = Stage::new();
    stage.write(
        "fairkey.toml",
        "[routes.fast]\nmodels = [\"openai/gpt-4o-mini\"]\n",
    );
    let said = stage.run(["ask", "x", "--route", "fast", "--mock", "--json"]);
    let answer: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    assert_eq!(answer["model"], "openai/gpt-4o-mini");
}
