//! Keys: none, twice, revoked, dead; and what is said about them.

use std::time::Duration;

use fairkey_mock::{Account, EventKind, Key, MockOpenRouter};
use serde_json::Value;

use crate::program::{Mock, Stage, results};

const GOOD: &str = "sk-or-v1-good-0123456789";
const OTHER: &str = "sk-or-v1-other-0123456789";
const REVOKED: &str = "sk-or-v1-revoked-0123456789";

fn two_keys() -> Mock {
    Mock::start(
        MockOpenRouter::builder()
            .account(Account::new("acme").balance_usd(12.5))
            .key(Key::new(GOOD).account("acme").limit_usd(4.0))
            .key(Key::new(OTHER).account("acme"))
            .key(Key::management("sk-or-v1-management-0123456789").account("acme")),
    )
}

#[test]
fn no_key_at_all_says_what_to_set_and_that_there_is_a_mock() {
    let stage = Stage::new().env("OPENROUTER_API_KEY", " ");
    stage.prompts("in.jsonl", 1);
    for args in [&["run", "in.jsonl"][..], &["ask", "x"], &["keys"]] {
        stage
            .run(args)
            .ends_with(2)
            .says("OPENROUTER_API_KEY")
            .says("--mock")
            .says("fairkey.toml");
    }
    assert_eq!(stage.names(), ["in.jsonl"], "no output was made");
}

#[test]
fn the_same_key_twice_is_used_once_and_told() {
    let mock = two_keys();
    let stage = Stage::new()
        .env("OPENROUTER_API_KEY", GOOD)
        .env("OPENROUTER_KEY_1", GOOD);
    stage.prompts("in.jsonl", 10);
    let said = stage.run(["run", "in.jsonl", "--base-url", &mock.url()]);
    said.ends_with(0)
        .says("warning: key \"key-1\", from OPENROUTER_KEY_1, is the same as \"api-key\"")
        .says("1 key in 1 account");
}

#[test]
fn a_revoked_key_is_out_at_once_and_the_run_goes_on() {
    let mock = two_keys();
    let stage = Stage::new().env("OPENROUTER_API_KEYS", &format!("{GOOD},{REVOKED}, {OTHER}"));
    stage.prompts("in.jsonl", 100);
    let said = stage.run([
        "run",
        "in.jsonl",
        "--base-url",
        &mock.url(),
        "--concurrency",
        "1",
    ]);
    said.ends_with(0)
        .says("warning: key \"api-keys-2\" is out: key_invalid (401); the others go on")
        .says("100 answered");
    // A run that takes longer asks about the key itself, too.
    let events = mock.server.log().events();
    let refused = events.iter().filter(|event| event.status() == Some(401));
    let posted = |call: Option<u64>| {
        events.iter().any(|event| {
            let is_post =
                matches!(&event.kind, EventKind::Received { method, .. } if method == "POST");
            is_post && event.request == call
        })
    };
    let tried = refused.filter(|event| posted(event.request)).count();
    assert_eq!(tried, 1, "it was tried once");
}

#[test]
fn every_key_dead_stops_early_with_the_reasons_and_keeps_the_results() {
    let mock = two_keys();
    let stage = Stage::new()
        .env("OPENROUTER_KEY_1", GOOD)
        .env("OPENROUTER_KEY_2", REVOKED);
    stage.prompts("in.jsonl", 500);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "4",
    ];
    let mut builder = stage.command(args);
    mock.server.apply(fairkey_mock::Action::revoke_key(GOOD));
    let said = crate::program::Running::start(&mut builder).end();
    said.ends_with(3)
        .says("stopped early: no key can be used any more")
        .says("\"key-1\": key, key_invalid (401)")
        .says("\"key-2\": key, key_invalid (401)")
        .says("0 lost");
    let go_on = said.stderr.matches("; the others go on").count();
    assert_eq!(go_on, 1, "of the last key there are no others");
    assert!(mock.server.counters().total.requests < 50);
}

#[test]
fn keys_that_die_midway_leave_the_results_so_far() {
    let mock = Mock::start(
        MockOpenRouter::builder()
            .key(Key::new(GOOD).label("good"))
            .after_calls(20, fairkey_mock::Action::revoke_key("good")),
    );
    let stage = Stage::new().env("OPENROUTER_API_KEY", GOOD);
    stage.prompts("in.jsonl", 500);
    let url = mock.url();
    let args = [
        "run",
        "in.jsonl",
        "--base-url",
        &url,
        "-o",
        "out.jsonl",
        "--concurrency",
        "4",
    ];
    stage
        .run(args)
        .ends_with(3)
        .says("no key can be used any more")
        .says("20 answered");
    let results = results(&stage.read("out.jsonl"));
    assert_eq!(results.len(), 20);
    assert!(results.iter().all(|result| result["error"].is_null()));
}

#[test]
fn the_configuration_names_keys_accounts_and_the_upstream() {
    let mock = two_keys();
    let stage = Stage::new().env("GOOD_KEY", GOOD);
    stage.write("other.secret", format!("{OTHER}\n"));
    let config = format!(
        "[upstream]\nbase_url = \"{}\"\n\
         [[keys]]\nid = \"good\"\naccount = \"acme\"\nsecret = {{ env = \"GOOD_KEY\" }}\n\
         [[keys]]\nid = \"other\"\naccount = \"acme\"\nsecret = {{ file = \"other.secret\" }}\n\
         [strategy]\nuse = \"round-robin\"\n",
        mock.url()
    );
    stage.write("fairkey.toml", config);
    stage.prompts("in.jsonl", 10);
    let said = stage.run(["run", "in.jsonl", "--json"]);
    said.ends_with(0).says("2 keys in 1 account");
    let summary: Value = serde_json::from_str(&said.stdout).unwrap();
    for at in 0..2 {
        assert_eq!(summary["keys"][at]["calls"], 5, "{summary}");
        assert_eq!(summary["keys"][at]["account"], "acme");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_its_place() {
    let stage = Stage::new();
    stage.prompts("in.jsonl", 1);
    stage.write(
        "bad.toml",
        format!("[[keys]]\nid = \"a\"\nsecert = \"{GOOD}\"\n"),
    );
    for args in [&["run", "in.jsonl"][..], &["ask", "x"], &["keys"]] {
        let said = stage.run(args.iter().copied().chain(["--config", "bad.toml"]));
        said.ends_with(2)
            .says("bad.toml, line 3 column 1: unknown field `secert`");
    }
    stage
        .run(["keys", "--config", "none.toml"])
        .ends_with(2)
        .says("none.toml");
    stage.write("fairkey.toml", "[[keys]]\nid = 5\n");
    stage
        .run(["keys"])
        .ends_with(2)
        .says("fairkey.toml, line 2 column 6");
}

#[test]
fn an_upstream_that_is_no_place_for_keys_is_refused() {
    let stage = Stage::new().env("OPENROUTER_API_KEY", GOOD);
    for url in [
        "http://example.com/api/v1",
        "ftp://127.0.0.1/",
        "https://u:p@example.com",
        "x",
    ] {
        let said = stage.run(["ask", "x", "--base-url", url]);
        said.ends_with(2).does_not_say("u:p");
    }
}

#[test]
fn keys_shows_caps_budgets_free_quota_and_a_balance_where_it_may_be_read() {
    let mock = two_keys();
    let stage = Stage::new().env("MANAGEMENT", "sk-or-v1-management-0123456789");
    let config = format!(
        "[upstream]\nbase_url = \"{}\"\n\
         [[accounts]]\nid = \"acme\"\nmanagement_key = {{ env = \"MANAGEMENT\" }}\n\
         [[keys]]\nid = \"good\"\naccount = \"acme\"\nsecret = \"{GOOD}\"\n\
         [[keys]]\nid = \"revoked\"\nsecret = \"{REVOKED}\"\n",
        mock.url()
    );
    stage.write("fairkey.toml", config);
    let said = stage.run(["keys"]);
    said.ends_with(1)
        .says("warning: the secret of key \"good\" stands in the configuration");
    let line = |key: &str| {
        said.stdout
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap()
    };
    for part in ["acme", "$4.00 of $4.00", "$12.50", "ok"] {
        assert!(
            line("good").contains(part),
            "no {part:?} in {}",
            said.stdout
        );
    }
    assert!(line("revoked").contains("key_invalid"), "{}", said.stdout);
    let said = stage.run(["keys", "--json"]);
    let keys: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(keys[0]["usable"], true);
    assert_eq!(keys[0]["balance_usd"], 12.5);
    assert_eq!(keys[0]["balance_from"], "management_key");
    assert_eq!(keys[0]["info"]["limit"], 4.0);
    assert_eq!(
        keys[0]["info"]["label"],
        Value::Null,
        "it is a part of the key"
    );
    assert_eq!(keys[1]["usable"], false);
    assert_eq!(keys[1]["balance_usd"], Value::Null);
}

#[test]
fn a_free_quota_without_an_end_is_called_so() {
    let mock = Mock::start(MockOpenRouter::open());
    let stage = Stage::new().env("OPENROUTER_API_KEY", GOOD);
    let said = stage.run(["keys", "--base-url", &mock.url()]);
    said.ends_with(0);
    assert!(said.stdout.contains("unlimited"), "{}", said.stdout);
    assert!(!said.stdout.contains("4294967295"), "{}", said.stdout);
}

#[test]
fn keys_of_one_account_that_nobody_named_are_told() {
    let mock = two_keys();
    let stage = Stage::new().env("OPENROUTER_API_KEYS", &format!("{GOOD},{OTHER}"));
    let said = stage.run(["keys", "--base-url", &mock.url()]);
    said.ends_with(0)
        .says("keys \"api-keys-1\" and \"api-keys-2\" belong to one account");
}

#[test]
fn limits_hold_a_run_back_and_are_shown_with_what_is_used() {
    let mock = Mock::start(
        MockOpenRouter::builder()
            .account(Account::new("acme").requests_per_window(20, Duration::from_secs(1)))
            .key(Key::new(GOOD).account("acme"))
            .key(Key::new(OTHER).account("acme")),
    );
    let stage = Stage::new().env("ONE", GOOD).env("TWO", OTHER);
    stage.write(
        "fairkey.toml",
        "[[accounts]]\nid = \"acme\"\nlimits = { requests = { limit = 20, per = \"1s\" }, in_flight = 9 }\n\
         [[keys]]\nid = \"a\"\naccount = \"acme\"\nsecret = { env = \"ONE\" }\n\
         [[keys]]\nid = \"b\"\naccount = \"acme\"\nlimits.in_flight = 5\nsecret = { env = \"TWO\" }\n",
    );
    stage.prompts("in.jsonl", 50);
    let url = mock.url();
    let said = stage.run(["run", "in.jsonl", "--concurrency", "50", "--base-url", &url]);
    said.ends_with(0);
    let total = mock.server.counters().total;
    assert_eq!((mock.posts(), total.status(429)), (50, 0));
    let said = stage.run(["keys", "--base-url", &url]);
    said.ends_with(0);
    for line in [
        "account \"acme\" has used 0 of 20 requests a second, 0 of 9 calls at a time\n",
        "key \"b\" has used 0 of 5 calls at a time\n",
    ] {
        assert!(said.stdout.contains(line), "{}", said.stdout);
    }
    let said = stage.run(["keys", "--json", "--base-url", &url]);
    let keys: Value = serde_json::from_str(&said.stdout).unwrap();
    let limits = |at: usize| keys[at]["limits"].as_array().unwrap().len();
    assert_eq!((limits(0), limits(1)), (2, 3));
    assert_eq!(keys[0]["limits"][0]["limit"], 20);
    let said = stage.run(["config", "show"]);
    said.ends_with(0);
    let shown = "limits = { in_flight = 9, requests = { limit = 20, per = \"1s\" } }";
    assert!(said.stdout.contains(shown), "{}", said.stdout);
    // What is shown is a file that says the same.
    stage.write("shown.toml", &said.stdout);
    stage
        .run(["config", "check", "--config", "shown.toml"])
        .ends_with(0);
}
