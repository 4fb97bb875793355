//! `fairkey models`, and the cache it shares with `fairkey route`.

use fairkey_mock::{MockOpenRouter, Model};
use serde_json::Value;

use crate::program::{Mock, Said, Stage};

fn ids(said: &Said) -> Vec<&str> {
    let lines = said.stdout.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn the_models_of_the_mock_are_a_table() {
    let said = Stage::new().run(["models", "--mock"]);
    said.ends_with(0).says("9 of 9 models, 0 s old");
    assert!(said.stdout.starts_with("model "), "{}", said.stdout);
    let line = said
        .stdout
        .lines()
        .find(|line| line.starts_with("openai/gpt-4o-mini "));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[1..5], ["$0.15", "$0.60", "131,072", "16,384"]);
}

#[test]
fn each_flag_narrows_or_orders_them() {
    let stage = Stage::new();
    let found = |args: &[&str]| {
        let said = stage.run(["models", "--mock"].iter().chain(args));
        said.ends_with(0);
        ids(&said).join(" ")
    };
    assert_eq!(found(&["gpt", "MINI"]), "openai/gpt-4o-mini");
    assert_eq!(
        found(&[
            "--max-price",
            "0.15",
            "--min-context",
            "100k",
            "--sort",
            "price"
        ]),
        "meta-llama/llama-3.3-70b-instruct:free meta-llama/llama-3.3-70b-instruct openai/gpt-4o-mini"
    );
    assert_eq!(
        found(&["--min-context", "1m", "--sort", "context"]),
        "google/gemini-2.5-flash anthropic/claude-sonnet-4.5"
    );
    assert_eq!(
        found(&["--provider", "groq"]),
        "meta-llama/llama-3.3-70b-instruct"
    );
    assert_eq!(
        found(&["--author", "anthropic"]),
        "anthropic/claude-sonnet-4.5"
    );
    assert_eq!(found(&["--free"]), "meta-llama/llama-3.3-70b-instruct:free");
    assert_eq!(
        found(&["--output", "embeddings"]),
        "openai/text-embedding-3-small"
    );
    assert_eq!(
        found(&[
            "--input",
            "image",
            "--supports",
            "tools,seed",
            "--sort",
            "created",
            "--limit",
            "2"
        ]),
        "openai/gpt-4o-mini openai/gpt-4o"
    );
    assert_eq!(
        found(&["gpt", "--max-completion-price", "1"]),
        "openai/gpt-4o-mini"
    );
}

#[test]
fn json_has_what_the_upstream_says_and_how_many_there_are() {
    let args = ["models", "gpt", "--mock", "--json", "--limit", "1"];
    let said = Stage::new().run(args);
    said.ends_with(0);
    let found: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&found["found"], &found["stale"]),
        (&2.into(), &false.into())
    );
    assert_eq!(found["models"].as_array().unwrap().len(), 1);
    assert_eq!(found["models"][0]["pricing"]["prompt"], "0.0000025");
}

#[test]
fn nothing_found_is_told_and_is_no_success() {
    let stage = Stage::new();
    let said = stage.run(["models", "nothing-like-it", "--mock"]);
    said.ends_with(1).says("none of 9 models is like that");
    assert_eq!(said.stdout, "");
    let said = stage.run(["models", "nothing-like-it", "--mock", "--json"]);
    said.ends_with(1);
    let found: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(found["models"], Value::Array(Vec::new()));
    stage
        .run(["models", "--mock", "--provider", "groc"])
        .ends_with(1)
        .says("there is no provider groc: did you mean groq?");
    stage
        .run(["models", "--mock", "--provider", "nobody-knows-it"])
        .ends_with(1)
        .says("those there are: amazon-bedrock, ");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (args, what) in [
        (["--max-price", "-1"], "0 or more"),
        (["--max-price", "nan"], "0 or more"),
        (["--min-context", "many"], "128000, 128k or 1m"),
        (["--limit", "0"], "--limit"),
        (["--sort", "fame"], "created"),
        (
            ["--config", "missing.toml"],
            "missing.toml: the configuration cannot be read",
        ),
        (["--base-url", "http://example.com/api/v1"], "plain http"),
    ] {
        let said = Stage::new().run(["models"].iter().chain(&args));
        said.ends_with(2).says(what);
    }
    Stage::new()
        .run(["models", "--offline", "--refresh"])
        .ends_with(2)
        .says("cannot be used with");
}

#[test]
fn a_model_is_shown_with_every_endpoint() {
    let stage = Stage::new();
    let said = stage.run(["models", "show", "openai/gpt-4o", "--mock"]);
    said.ends_with(0);
    assert!(said.stdout.contains("3 endpoints"), "{}", said.stdout);
    let line = said
        .stdout
        .lines()
        .find(|line| line.starts_with("openai/priority "));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[1..3], ["$4.25", "$17.00"]);
    assert_eq!(
        words[8..],
        ["350", "110", "no", "ok"],
        "it is asked with a key"
    );
    let said = stage.run(["models", "show", "openai/gpt-4o", "--mock", "--json"]);
    let shown: Value = serde_json::from_str(&said.ends_with(0).stdout).unwrap();
    assert_eq!(shown["model"]["endpoints"][1]["zdr"], true);
}

#[test]
fn an_unknown_model_is_answered_with_those_that_may_be_meant() {
    let stage = Stage::new();
    for (name, what) in [
        ("openai/gpt-4o-mnii", "did you mean openai/gpt-4o-mini?"),
        (
            "gpt-4o",
            "did you mean openai/gpt-4o or openai/gpt-4o-mini?",
        ),
        (
            "acme/nothing-like-it",
            "fairkey models lists those there are",
        ),
        ("a b", "there is no model a b"),
    ] {
        let said = stage.run(["models", "show", name, "--mock"]);
        said.ends_with(1).says(what);
        assert_eq!(said.stdout, "");
    }
}

#[test]
fn a_model_that_nobody_serves_is_told() {
    let mock = Mock::start(
        MockOpenRouter::builder().model(Model::new("acme/ghost").name("Ghost").unserved()),
    );
    let said = Stage::new().run(["models", "show", "acme/ghost", "--base-url", &mock.url()]);
    said.ends_with(1).says("nobody serves acme/ghost");
    assert!(said.stdout.contains("acme/ghost: Ghost"), "{}", said.stdout);
    Stage::new()
        .run(["route", "--model", "acme/ghost", "--base-url", &mock.url()])
        .ends_with(1);
}

#[test]
fn lists_are_kept_for_the_next_time_and_a_dead_upstream_is_told() {
    let mut stage = Stage::new();
    let cache = stage.path("cache");
    stage = stage.env("XDG_CACHE_HOME", cache.to_str().unwrap());
    let mock = Mock::start(MockOpenRouter::open());
    let url = mock.url();
    let models = |more: &[&str]| {
        let args = ["models", "--base-url", &url];
        stage.run(args.iter().chain(more))
    };
    let lists = || {
        let events = mock.server.log().events();
        let is_list = |event: &&fairkey_mock::Event| matches!(&event.kind, fairkey_mock::EventKind::Received { path, .. } if path == "/models");
        events.iter().filter(is_list).count()
    };
    models(&["--offline"])
        .ends_with(1)
        .says("offline, and /models");
    models(&[]).ends_with(0);
    models(&["gpt"]).ends_with(0);
    models(&["--offline"]).ends_with(0);
    assert_eq!(lists(), 1);
    models(&["--refresh"]).ends_with(0);
    assert_eq!(lists(), 2);
    drop(mock);
    models(&["--refresh"])
        .ends_with(0)
        .says("warning: the models are ")
        .says("since the upstream cannot be asked");
    let folder = std::fs::read_dir(cache.join("fairkey"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let file = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(file.path(), "garbage").unwrap();
    models(&["--offline"])
        .ends_with(1)
        .says("warning: the cache file ")
        .says("is left out");
}

#[test]
fn no_key_is_needed_and_none_is_shown() {
    let mock = Mock::start(MockOpenRouter::open());
    let said = Stage::new().run(["models", "--base-url", &mock.url()]);
    said.ends_with(0).does_not_say("OPENROUTER_API_KEY");
    let stage = Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-canary-0123456789");
    let show = ["models", "show", "openai/gpt-4o", "--json", "--base-url"];
    let said = stage.run(show.into_iter().chain([mock.url().as_str()]));
    said.ends_with(0).does_not_say("canary");
    assert!(!said.stdout.contains("canary"));
}
