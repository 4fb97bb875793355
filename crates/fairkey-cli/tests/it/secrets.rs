//! No key in anything that is printed or written, whatever goes wrong.

use std::fs;

use fairkey_mock::{Fault, Key, MockOpenRouter, On, Reply, Step};

use crate::program::{Mock, Said, Stage};

/// In every key of these tests, and in no other text.
const CANARY: &str = "canary";
/// One key looks like OpenRouter's, the other like nothing.
const KEYS: &str = "sk-or-v1-canary-0123456789abcdef,plain-canary-secret-of-a-proxy";

fn stage() -> Stage {
    Stage::new()
        .env("OPENROUTER_API_KEYS", KEYS)
        .env("RUST_BACKTRACE", "1")
}

#[track_caller]
fn is_clean(stage: &Stage, said: &Said) {
    assert!(!said.stdout.contains(CANARY), "{}", said.stdout);
    assert!(!said.stderr.contains(CANARY), "{}", said.stderr);
    for name in stage.names().iter().filter(|name| name.contains("out")) {
        let bytes = fs::read(stage.path(name)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(CANARY), "{name}: {text}");
    }
}

/// Runs, asks and lists against a mock, and finds no key in what comes of it.
#[track_caller]
fn everything_is_clean(mock: &Mock) {
    let stage = stage();
    stage.prompts("in.jsonl", 30);
    let url = mock.url();
    for (n, args) in [
        &["run", "in.jsonl", "-o", "out-1.jsonl", "--patience", "1s"][..],
        &[
            "run",
            "in.jsonl",
            "-o",
            "out-2.jsonl",
            "--patience",
            "1s",
            "--json",
        ],
        &["run", "in.jsonl", "-o", "-", "--patience", "1s"],
        &["ask", "x"],
        &["ask", "x", "--json"],
        &["keys"],
        &["keys", "--json"],
    ]
    .iter()
    .enumerate()
    {
        let said = stage.run(args.iter().copied().chain(["--base-url", &url]));
        assert!(said.code.is_some_and(|code| code < 100), "{n}: {said:?}");
        is_clean(&stage, &said);
    }
}

/// An upstream that repeats the keys in its errors.
fn echo(status: u16) -> Step {
    let text = KEYS.replace(',', " and ");
    let body = format!("{{\"error\":{{\"code\":{status},\"message\":\"Bad key {text}\"}}}}");
    Step::reply(Reply::bytes(status, body).header("content-type", "application/json")).forever()
}

#[test]
fn where_all_is_well() {
    everything_is_clean(&Mock::start(MockOpenRouter::open()));
}

#[test]
fn where_every_key_is_revoked() {
    let other = Key::new("sk-or-v1-another-0123456789");
    everything_is_clean(&Mock::start(MockOpenRouter::builder().key(other)));
}

#[test]
fn where_the_upstream_repeats_keys_in_its_errors() {
    for status in [400, 401, 402, 403, 404] {
        let mock = Mock::start(MockOpenRouter::open().script(On::any(), [echo(status)]));
        everything_is_clean(&mock);
    }
}

#[test]
fn where_connections_break() {
    let reset = Step::reset_before_head().times(40);
    let fault = Step::reply(Fault::provider_rate_limited("OpenAI")).times(10);
    everything_is_clean(&Mock::start(
        MockOpenRouter::open().script(On::any(), [reset, fault]),
    ));
}

#[test]
fn where_nobody_listens() {
    let stage = stage();
    for args in [&["ask", "x"][..], &["keys"]] {
        let args = args
            .iter()
            .copied()
            .chain(["--base-url", "http://127.0.0.1:1/api/v1"]);
        let said = stage.run(args);
        said.ends_with(1);
        is_clean(&stage, &said);
    }
}

#[test]
fn where_the_command_line_or_the_configuration_is_wrong() {
    let stage = stage();
    let key = "sk-or-v1-canary-0123456789abcdef";
    stage.write(
        "a.toml",
        format!("[[keys]]\nid = \"a\"\nsecret = \"{key}\" oops\n"),
    );
    stage.write(
        "b.toml",
        format!("[[keys]]\nid = \"a\"\nsecert = \"{key}\"\n"),
    );
    stage.write(
        "c.toml",
        format!("[[keys]]\nid = \"a\"\nweight = \"{key}\"\nsecret = \"x\"\n"),
    );
    stage.write(
        "d.toml",
        format!("[[keys]]\nid = \"a\"\nsecret = {{ file = \"{key}\" }}\n"),
    );
    stage.write(
        "e.toml",
        format!("[[keys]]\nid = \"a\"\nsecret = \"{key}\\u0007\"\n"),
    );
    let mut commands: Vec<Vec<&str>> = ["a.toml", "b.toml", "c.toml", "d.toml", "e.toml"]
        .iter()
        .map(|file| vec!["keys", "--config", file])
        .collect();
    let flag = format!("--key={key}");
    commands.push(vec!["ask", "x", &flag]);
    commands.push(vec!["ask", "x", key]);
    commands.push(vec!["run", "x", "--concurrency", key]);
    commands.push(vec![key]);
    let url = format!("https://user:{key}@openrouter.ai/api/v1");
    commands.push(vec!["ask", "x", "--base-url", &url]);
    for args in commands {
        let said = stage.run(&args);
        assert_eq!(said.code, Some(2), "{args:?} {said:?}");
        is_clean(&stage, &said);
    }
}

#[test]
fn where_the_same_key_is_given_twice() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = stage().env("OPENROUTER_API_KEY", "sk-or-v1-canary-0123456789abcdef");
    let said = stage.run(["keys", "--base-url", &mock.url()]);
    said.says("is the same as");
    is_clean(&stage, &said);
}
