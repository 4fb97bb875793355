//! `fairkey mock`.

use crate::program::{Running, Stage, results};

fn url(line: &str) -> String {
    line.trim()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned()
}

#[test]
fn it_serves_any_key_at_the_address_that_it_prints() {
    let stage = Stage::new().env(
        "OPENROUTER_API_KEY",
        "anything goes".replace(' ', "-").as_str(),
    );
    stage.prompts("in.jsonl", 20);
    let mock =
        Running::start(&mut stage.command(["mock", "--listen", "127.0.0.1:0", "--seed", "5"]));
    let url = url(&mock.wait_for("listening on http://127.0.0.1:"));
    assert!(url.ends_with("/api/v1"), "{url}");
    let said = stage.run(["run", "in.jsonl", "--base-url", &url, "-o", "-", "--quiet"]);
    said.ends_with(0);
    assert_eq!(results(&said.stdout).len(), 20);
}

#[test]
fn a_scenario_brings_accounts_keys_and_faults() {
    let stage = Stage::new()
        .env("OPENROUTER_KEY_1", "sk-or-v1-mock-a")
        .env("OPENROUTER_KEY_2", "x");
    stage.write(
        "day.toml",
        "[[accounts]]\nid = \"acme\"\nrequests = { limit = 30, per = \"300ms\" }\n\
         [[keys]]\nsecret = \"sk-or-v1-mock-a\"\naccount = \"acme\"\n",
    );
    stage.prompts("in.jsonl", 60);
    let args = ["mock", "--listen", "127.0.0.1:0", "--scenario", "day.toml"];
    let mock = Running::start(&mut stage.command(args));
    let url = url(&mock.wait_for("listening on "));
    stage.write(
        "fast.toml",
        "[retry]\ncap = \"300ms\"\n[cooldown]\nthrottled = \"300ms\"\n",
    );
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "--config",
        "fast.toml",
    ];
    stage
        .run(args)
        .ends_with(0)
        .says("key \"key-2\" is out")
        .says("60 answered");
}

#[test]
fn what_it_cannot_do_is_told() {
    let stage = Stage::new();
    stage.write("bad.toml", "[[accounts]]\nid = \"a\"\nbalanec = 1\n");
    stage
        .run(["mock", "--scenario", "bad.toml"])
        .ends_with(2)
        .says("bad.toml")
        .says("balanec");
    stage
        .run(["mock", "--scenario", "none.toml"])
        .ends_with(2)
        .says("none.toml");
    stage
        .run(["mock", "--listen", "here"])
        .ends_with(2)
        .says("--listen");
    stage
        .run(["mock", "--now", "noon"])
        .ends_with(2)
        .says("--now");
    stage
        .run(["mock", "--now", "1969-12-31T00:00:00Z"])
        .ends_with(2)
        .says("1970");
    stage
        .run(["mock", "--latency", "-1s"])
        .ends_with(2)
        .says("not negative");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    stage
        .run(["mock", "--listen", &address])
        .ends_with(2)
        .says("cannot listen on")
        .says(&address);
}
