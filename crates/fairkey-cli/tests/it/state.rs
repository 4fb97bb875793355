//! What is remembered of keys between two runs, and told by another process.

use fairkey_mock::{Account, Key, MockOpenRouter};
use serde_json::Value;

use crate::program::{Mock, Running, Stage};

const GOOD: &str = "sk-or-v1-good-canary-0123456789";
const POOR: &str = "sk-or-v1-poor-canary-0123456789";
const REVOKED: &str = "sk-or-v1-revoked-canary-0123456789";

fn mock() -> Mock {
    Mock::start(
        MockOpenRouter::builder()
            .now(std::time::SystemTime::UNIX_EPOCH + now())
            .account(Account::new("rich"))
            .account(Account::new("poor").balance_usd(0.0))
            .key(Key::new(GOOD).account("rich"))
            .key(Key::new(POOR).account("poor")),
    )
}

fn now() -> std::time::Duration {
    fairkey_core::WallClock::since_epoch(&fairkey_core::SystemWallClock)
}

/// Three keys, one of which is well, and a state file.
fn stage(mock: &Mock) -> Stage {
    let stage = Stage::new()
        .env("GOOD", GOOD)
        .env("POOR", POOR)
        .env("REVOKED", REVOKED);
    let key = |id: &str, account: &str, variable: &str| {
        format!(
            "[[keys]]\nid = \"{id}\"\naccount = \"{account}\"\nsecret = {{ env = \"{variable}\" }}\n"
        )
    };
    stage.write(
        "fairkey.toml",
        format!(
            "[upstream]\nbase_url = \"{}\"\n[state]\npath = \"fairkey.state\"\n{}{}{}",
            mock.url(),
            key("good", "rich", "GOOD"),
            key("poor", "poor", "POOR"),
            key("revoked", "gone", "REVOKED"),
        ),
    );
    stage
}

#[test]
fn what_a_run_has_learned_is_told_by_keys_and_used_by_the_next_run() {
    let mock = mock();
    let stage = stage(&mock);
    stage.prompts("in.jsonl", 60);
    stage.run(["run", "in.jsonl", "-o", "1.jsonl"]).ends_with(0);
    let state = stage.read("fairkey.state");
    assert!(!state.contains("canary"), "{state}");

    let said = stage.run(["keys"]);
    said.ends_with(1);
    for (key, reason) in [
        ("poor", "balance exhausted (account, typed, 402) since "),
        ("revoked", "key invalid ("),
    ] {
        let line = format!("key \"{key}\" is out: {reason}");
        assert!(
            said.stdout.contains(&line),
            "no {line:?} in {}",
            said.stdout
        );
    }
    assert!(
        !said.stdout.contains("key \"good\" is out"),
        "{}",
        said.stdout
    );
    let said = stage.run(["keys", "--json"]);
    said.ends_with(1);
    let keys: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(keys[0]["standing"]["in"], true);
    assert_eq!(
        (&keys[0]["usable"], &keys[1]["usable"]),
        (&true.into(), &false.into())
    );
    let out = &keys[1]["standing"]["out"][0];
    assert_eq!(
        (&out["cause"], &out["by"]),
        (&"balance_exhausted".into(), &"account".into())
    );
    assert_eq!(
        (&out["proof"], &out["status"]),
        (&"typed".into(), &402.into())
    );
    assert!(out["since"].as_str().unwrap().ends_with('Z'), "{out}");
    assert!(!said.stdout.contains("canary"), "{}", said.stdout);

    // Known from the beginning: nobody has to be refused again.
    let refused = || {
        let total = mock.server.counters().total;
        total.status(402)
    };
    let before = refused();
    stage.run(["run", "in.jsonl", "-o", "2.jsonl"]).ends_with(0);
    assert_eq!(refused(), before);
}

#[test]
#[cfg(unix)]
fn keys_reads_what_a_run_that_goes_on_has_written() {
    let mock = mock();
    let stage = stage(&mock);
    let mut command = stage.command(["run", "-", "-o", "-"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let running = Running::start(command.stdin(reader));
    // Dropped, its end is the program's alone.
    drop(command);
    let prompts: String = (0..60).map(|n| format!("Question {n}\n")).collect();
    std::io::Write::write_all(&mut writer, prompts.as_bytes()).unwrap();
    running.wait_for("\"custom_id\":\"line-60\"");
    // It waits for more input, and has written its state in the background, or will soon.
    let mut said = stage.run(["keys"]);
    for _ in 0..200 {
        if said.stdout.contains("is out: balance exhausted") {
            break;
        }
        said = stage.run(["keys"]);
    }
    said.ends_with(1).does_not_say("another process");
    assert!(
        said.stdout
            .contains("key \"poor\" is out: balance exhausted"),
        "{}",
        said.stdout
    );
    drop(writer);
    running.end().ends_with(0);
}

#[test]
fn a_state_file_that_is_none_is_told_of_and_replaced() {
    let mock = mock();
    let stage = stage(&mock);
    stage.write("fairkey.state", "{\"version\":");
    stage
        .run(["ask", "x"])
        .ends_with(0)
        .says("warning: the state file fairkey.state: ");
    stage
        .run(["ask", "x"])
        .ends_with(0)
        .does_not_say("state file");
}

#[test]
fn a_learned_limit_is_told_as_learned_and_how_old_it_is() {
    let second = std::time::Duration::from_secs(1);
    let limit = fairkey_mock::Limit::requests(10, second).hidden();
    let mock = Mock::start(
        MockOpenRouter::builder()
            .now(std::time::SystemTime::UNIX_EPOCH + now())
            .account(Account::new("rich").limit(limit))
            .account(Account::new("poor").balance_usd(0.0))
            .key(Key::new(GOOD).account("rich"))
            .key(Key::new(POOR).account("poor")),
    );
    let stage = stage(&mock);
    let config = stage.read("fairkey.toml");
    stage.write(
        "fairkey.toml",
        format!("[learning]\nwindow = \"1s\"\n{config}"),
    );
    stage.prompts("in.jsonl", 40);
    stage.run(["run", "in.jsonl", "-o", "1.jsonl"]).ends_with(0);

    let said = stage.run(["keys"]).stdout;
    let line = said
        .lines()
        .find(|line| line.starts_with("account \"rich\" has used "));
    let line = line.unwrap_or_else(|| panic!("no limit in {said}"));
    assert!(
        line.contains(" (learned ") && line.contains(" s ago)"),
        "{line}"
    );
    let said = stage.run(["keys", "--json"]).stdout;
    let keys: Value = serde_json::from_str(&said).unwrap();
    let limits = |at: usize| keys[at]["limits"].as_array().unwrap().iter();
    let is_told = |limit: &&Value| limit["dimension"] == "quota";
    assert!(limits(0).any(|limit| !is_told(&limit)), "{said}");
    for limit in limits(0).filter(|limit| !is_told(limit)) {
        assert_eq!(limit["learned"]["told"], false, "{limit}");
        assert!(limit["learned"]["age_seconds"].is_u64(), "{limit}");
    }
    // What an account says of itself is not learned from refusals.
    assert!(limits(1).all(|limit| limit["learned"].is_null()), "{said}");

    // Who does not learn has no such limit.
    stage.write(
        "fairkey.toml",
        format!("[learning]\nenabled = false\n{config}"),
    );
    let said = stage.run(["keys"]).stdout;
    assert!(!said.contains("learned"), "{said}");
}
