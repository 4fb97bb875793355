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
