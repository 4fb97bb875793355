//! Configurations that are wrong, odd, or only to be looked at.

use fairkey_mock::MockOpenRouter;

use crate::program::{Mock, Stage};

const KEY: &str = "sk-or-v1-canary-0123456789";

#[test]
fn nonsense_is_refused_with_line_and_column_and_what_is_allowed() {
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    for (text, place, allowed) in [
        (
            "[retry]\nattempts = 0\n",
            "line 2 column 12",
            "between 1 and 100",
        ),
        (
            "[retry]\nbudget = nan\n",
            "line 2 column 10",
            "between 0 and 10",
        ),
        (
            "[retry]\nbudget = -1\n",
            "line 2 column 10",
            "between 0 and 10",
        ),
        (
            "[timeouts]\ntotal = \"0s\"\n",
            "line 2 column 9",
            "at least 1ms",
        ),
        (
            "[upstream]\nbase_url = \"https://127.0.0.1:99999\"\n",
            "line 2 column 12",
            "between 1 and 65535",
        ),
    ] {
        stage.write("bad.toml", text);
        for args in [&["ask", "x"][..], &["keys"]] {
            let said = stage.run(args.iter().copied().chain(["--config", "bad.toml"]));
            said.ends_with(2)
                .says(&format!("bad.toml, {place}: "))
                .says(allowed);
        }
    }
}

#[test]
fn a_base_url_that_cannot_be_is_refused_before_any_row() {
    let stage = Stage::new().env("OPENROUTER_API_KEY", KEY);
    stage.prompts("in.jsonl", 3);
    for (url, what) in [
        ("https://127.0.0.1:99999/api/v1", "port"),
        ("https:///api/v1", "no host"),
        ("http://:8080/api/v1", "no host"),
    ] {
        stage
            .run(["run", "in.jsonl", "--base-url", url])
            .ends_with(2)
            .says(what);
    }
    assert_eq!(stage.names(), ["in.jsonl"], "no output was made");
    let mock = Mock::start(MockOpenRouter::open());
    let url = mock.url();
    let bare = url.strip_suffix("/api/v1").unwrap();
    stage
        .run(["ask", "x", "--base-url", bare])
        .ends_with(1)
        .says("warning: the base URL does not end with /api/v1");
}

#[test]
fn a_pasted_key_works_and_is_warned_about() {
    let mock = Mock::start(MockOpenRouter::builder().key(fairkey_mock::Key::new(KEY)));
    let url = mock.url();
    for pasted in [
        format!("\"{KEY}\""),
        format!("Bearer {KEY}"),
        format!(" {KEY}\r\n"),
        format!("'Authorization: bearer {KEY}'"),
    ] {
        let stage = Stage::new().env("OPENROUTER_API_KEY", &pasted);
        let said = stage.run(["ask", "x", "--base-url", &url]);
        said.ends_with(0)
            .says("warning: OPENROUTER_API_KEY had ")
            .does_not_say("canary");
    }
}

#[test]
fn an_account_that_nobody_declared_is_warned_about() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("K", KEY);
    let text = format!(
        "[upstream]\nbase_url = \"{}\"\n[[accounts]]\nid = \"acme\"\n[[keys]]\nid = \"a\"\n\
         account = \"amce\"\nsecret = {{ env = \"K\" }}\n",
        mock.url()
    );
    stage.write("fairkey.toml", text);
    stage
        .run(["ask", "x"])
        .ends_with(0)
        .says("no [[accounts]] declares: did you mean \"acme\"?");
}

/// Every kind of secret, and settings from everywhere.
fn full() -> Stage {
    let stage = Stage::new()
        .env("IN_ENV", KEY)
        .env("OPENROUTER_API_KEYS", "sk-or-v1-canary-2,sk-or-v1-canary-3");
    stage.write("key.secret", "sk-or-v1-canary-4\n");
    stage.write(
        "fairkey.toml",
        "[retry]\nattempts = 6\n[timeouts]\ntotal = \"900s\"\n\
         [[accounts]]\nid = \"acme\"\nmanagement_key = { env = \"IN_ENV\" }\n\
         [[keys]]\nid = \"literal\"\naccount = \"acme\"\nsecret = \"sk-or-v1-canary-5\"\n\
         [[keys]]\nid = \"filed\"\nweight = 3\nsecret = { file = \"key.secret\" }\n",
    );
    stage
}

#[test]
fn check_says_whether_the_configuration_can_be_used() {
    let stage = full();
    let said = stage.run(["config", "check"]);
    said.ends_with(0)
        .says("the secret of key \"literal\" stands in");
    assert_eq!(
        said.stdout,
        "fairkey.toml can be used: 4 keys, 1 declared account\n"
    );
    let said = stage.run(["config", "check", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&found["ok"], &found["keys"]), (&true.into(), &4.into()));
    assert_eq!(found["warnings"].as_array().unwrap().len(), 1);
    assert!(!said.stdout.contains("canary"), "{}", said.stdout);

    stage.write("bad.toml", "[retry]\nattempts = 0\n");
    let check = ["config", "check", "--config", "bad.toml"];
    stage
        .run(check)
        .ends_with(2)
        .says("bad.toml, line 2 column 12");
    let said = stage.run(check.into_iter().chain(["--json"]));
    said.ends_with(2);
    let found: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (&found["ok"], &found["error"]["line"]),
        (&false.into(), &2.into())
    );
    assert_eq!(found["error"]["column"], 12);

    stage.write(
        "plain.toml",
        "[upstream]\nbase_url = \"http://example.com/api/v1\"\n",
    );
    stage
        .run(["config", "check", "--config", "plain.toml"])
        .ends_with(2)
        .says("plain http");
    let said = Stage::new().run(["config", "check"]);
    said.ends_with(0).says("OPENROUTER_API_KEY");
    assert!(said.stdout.starts_with("there is no configuration file"));
}

#[test]
fn show_tells_every_value_and_where_it_comes_from_and_no_secret() {
    let stage = full();
    let said = stage.run(["config", "show", "--base-url", "http://127.0.0.1:1/api/v1"]);
    said.ends_with(0).does_not_say("canary");
    let line = |start: &str| {
        let mut lines = said.stdout.lines();
        lines
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start:?} in {}", said.stdout))
    };
    for (start, from) in [
        ("base_url = \"http://127.0.0.1:1/api/v1\"", "# --base-url"),
        ("attempts = 6", "# line 2"),
        ("failovers = 16", "# default"),
        ("total = \"15m\"", "# line 4"),
        ("connect = \"10s\"", "# default"),
        ("use = \"headroom\"", "# default"),
        ("# count: off", "# default"),
        ("management_key = { env = \"IN_ENV\" }", "# line 7"),
        ("secret = \"[hidden]\"", "# line 11"),
        ("weight = 3", "# line 14"),
        ("secret = { file = \"key.secret\" }", "# line 15"),
        ("# id = \"api-keys-2\"", "# environment"),
        ("# secret: entry 2 of OPENROUTER_API_KEYS", "# environment"),
    ] {
        assert!(line(start).ends_with(from), "{}", line(start));
    }
    assert!(!said.stdout.contains("canary"), "{}", said.stdout);
    // What is shown can be read again.
    stage.write("again.toml", &said.stdout);
    stage
        .run(["config", "check", "--config", "again.toml"])
        .ends_with(0);

    let said = stage.run(["config", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(shown["settings"]["retry"]["attempts"]["value"], 6);
    assert_eq!(shown["settings"]["retry"]["attempts"]["from"], "line 2");
    assert_eq!(shown["keys"][0]["secret"]["value"], "[hidden]");
    assert_eq!(shown["keys"][3]["secret"]["value"]["entry"], 2);
    assert_eq!(
        shown["accounts"][0]["management_key"]["value"]["env"],
        "IN_ENV"
    );
    assert!(!said.stdout.contains("canary"), "{}", said.stdout);
}

#[test]
fn the_schema_is_printed() {
    let said = Stage::new().run(["config", "schema"]);
    said.ends_with(0);
    let schema: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(schema["title"], "fairkey.toml");
}
