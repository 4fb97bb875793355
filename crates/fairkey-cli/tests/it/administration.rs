//! `fairkey keys create`, `list`, `disable`, `enable`, `rotate` and `delete`.

use std::fs;

use fairkey_mock::{Account, Key, MockOpenRouter};
use serde_json::Value;

use crate::program::{Mock, Running, Said, Stage};

/// In every secret that these tests hand in.
const CANARY: &str = "canary";
const MANAGEMENT: &str = "sk-or-v1-management-canary-0123456789";
const INFERENCE: &str = "sk-or-v1-inference-canary-0123456789";

fn mock() -> Mock {
    Mock::start(
        MockOpenRouter::builder()
            .account(Account::new("acme").balance_usd(9.0))
            .account(Account::new("other"))
            .key(Key::new(INFERENCE).label("inference").account("acme"))
            .key(Key::management(MANAGEMENT).account("acme"))
            .key(Key::management("sk-or-v1-other-canary-0123456789").account("other")),
    )
}

/// A stage with the management key of one account, in the configuration.
fn stage(mock: &Mock) -> Stage {
    let stage = Stage::new().env("ACME_MANAGEMENT", MANAGEMENT);
    stage.write("fairkey.toml", acme(mock));
    stage
}

fn acme(mock: &Mock) -> String {
    format!(
        "[upstream]\nbase_url = \"{}\"\n[[accounts]]\nid = \"acme\"\n\
         management_key = {{ env = \"ACME_MANAGEMENT\" }}\n",
        mock.url()
    )
}

impl Said {
    /// No secret of ours, and, beside the one that is shown on purpose, none at all.
    #[track_caller]
    fn is_clean(&self) -> &Self {
        assert!(!self.stderr.contains(CANARY), "{self:#?}");
        assert!(!self.stdout.contains(CANARY), "{self:#?}");
        assert!(!self.stderr.contains("sk-or-v1-"), "{self:#?}");
        self
    }

    /// The same, and none is shown on purpose either.
    #[track_caller]
    fn has_no_secret(&self) -> &Self {
        assert!(!self.stdout.contains("sk-or-v1-"), "{self:#?}");
        self.is_clean()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

fn list(stage: &Stage) -> Vec<Value> {
    let said = stage.run(["keys", "list", "--all", "--json"]);
    said.ends_with(0).has_no_secret();
    said.json().as_array().unwrap().clone()
}

fn named(keys: &[Value], name: &str) -> Vec<Value> {
    let mut found = keys.to_vec();
    found.retain(|key| key["name"] == name);
    found
}

/// Asks a question with a secret. Returns the exit code.
fn ask(mock: &Mock, secret: &str) -> Option<i32> {
    let stage = Stage::new().env("OPENROUTER_API_KEY", secret);
    stage.run(["ask", "x", "--base-url", &mock.url()]).code
}

#[test]
fn a_key_is_made_and_its_secret_shown_once_on_standard_output() {
    let mock = mock();
    let stage = stage(&mock);
    let said = stage.run([
        "keys",
        "create",
        "--name",
        "search",
        "--limit",
        "50",
        "--reset",
        "monthly",
        "--expires",
        "2999-01-01",
    ]);
    said.ends_with(0)
        .is_clean()
        .says("made key \"search\" (hash ")
        .says("of account \"acme\": cap $50.00 monthly, expires 2999-01-01T00:00:00")
        .says("nowhere else: keep it");
    let secret = said.stdout.trim_end();
    assert!(secret.starts_with("sk-or-v1-") && !secret.contains(char::is_whitespace));
    assert_eq!(ask(&mock, secret), Some(0), "it works");
    let keys = list(&stage);
    let key = &named(&keys, "search")[0];
    assert_eq!(
        (&key["limit"], &key["limit_reset"]),
        (&50.0.into(), &"monthly".into())
    );
    assert_eq!(
        (&key["account"], &key["state"]),
        (&"acme".into(), &"enabled".into())
    );
    assert_eq!(key["label"], Value::Null, "it is a part of the secret");
    // The name is taken now.
    let again = stage.run(["keys", "create", "--name", "search"]);
    again
        .ends_with(2)
        .says("there is a key \"search\" already")
        .has_no_secret();
    assert_eq!(list(&stage).len(), keys.len());
}

#[test]
fn a_secret_goes_to_a_new_file_that_only_its_owner_can_read() {
    let mock = mock();
    let stage = stage(&mock);
    let create = ["keys", "create", "--name", "search", "--out", "search.key"];
    let said = stage.run(create);
    said.ends_with(0)
        .has_no_secret()
        .says("its secret is in search.key")
        .says("secret = { file = \"search.key\" }");
    assert_eq!(said.stdout, "");
    #[cfg(unix)]
    {
        let metadata = fs::metadata(stage.path("search.key")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let secret = stage.read("search.key");
    assert_eq!(ask(&mock, secret.trim_end()), Some(0));
    // Nothing is ever written over, and then nothing is made either.
    let create = ["keys", "create", "--name", "second", "--out", "search.key"];
    stage
        .run(create)
        .ends_with(2)
        .has_no_secret()
        .says("search.key exists");
    assert_eq!(stage.read("search.key"), secret);
    let create = [
        "keys",
        "create",
        "--name",
        "second",
        "--out",
        "no/such/folder/x.key",
    ];
    stage.run(create).ends_with(2).says("cannot be written");
    assert!(named(&list(&stage), "second").is_empty());
    // As JSON, the secret is either in the file or in the JSON.
    let create = [
        "keys",
        "create",
        "--name",
        "third",
        "--out",
        "third.key",
        "--json",
    ];
    let said = stage.run(create);
    said.ends_with(0).has_no_secret();
    assert_eq!(
        (&said.json()["secret"], &said.json()["secret_file"]),
        (&Value::Null, &"third.key".into())
    );
    let said = stage.run(["keys", "create", "--name", "fourth", "--json"]);
    said.ends_with(0).is_clean();
    assert_eq!(ask(&mock, said.json()["secret"].as_str().unwrap()), Some(0));
    assert_eq!(said.json()["key"]["label"], Value::Null);
}

#[test]
fn a_refused_key_leaves_no_file_behind() {
    let mock = mock();
    let stage = stage(&mock);
    let fault = fairkey_mock::Fault::new(403, "not today");
    let create_is_refused = fairkey_mock::Step::reply(fault).forever();
    // The list before it passes.
    let steps = [fairkey_mock::Step::pass().times(2), create_is_refused];
    mock.server.script(fairkey_mock::On::path("/keys"), steps);
    let create = ["keys", "create", "--name", "search", "--out", "search.key"];
    stage
        .run(create)
        .ends_with(1)
        .says("not today")
        .has_no_secret();
    assert_eq!(stage.names(), ["fairkey.toml"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_secret_that_cannot_be_printed_is_taken_back() {
    let mock = mock();
    let stage = stage(&mock);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = stage.command(["keys", "create", "--name", "search"]);
    let said = Running::start(command.stdout(writer)).end();
    said.ends_with(1)
        .says("cannot be written")
        .says("the key was deleted again");
    assert!(named(&list(&stage), "search").is_empty());
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    let mock = mock();
    let stage = stage(&mock);
    for args in [
        &["--name", " "][..],
        &["--name", "a", "--limit", "-1"],
        &["--name", "a", "--limit", "nan"],
        &["--name", "a", "--expires", "soon"],
        &["--name", "a", "--limit", "1", "--reset", "yearly"],
        &["--name", "a", "--reset", "daily"],
        &[],
    ] {
        let said = stage.run(["keys", "create"].iter().chain(args));
        said.ends_with(2).has_no_secret();
    }
    assert_eq!(mock.server.counters().total.requests, 0);
}

#[test]
fn a_key_is_turned_off_and_on_and_deleted_and_only_after_a_yes() {
    let mock = mock();
    let stage = stage(&mock);
    let secret = stage.run(["keys", "create", "--name", "search"]).stdout;
    let secret = secret.trim_end();
    // Nobody is there to answer.
    for command in ["disable", "delete"] {
        let said = stage.run(["keys", command, "search"]);
        said.ends_with(2).says("say --yes").has_no_secret();
    }
    assert_eq!(ask(&mock, secret), Some(0));
    let said = stage.run(["keys", "disable", "search", "--yes"]);
    said.ends_with(0)
        .has_no_secret()
        .says("disabled key \"search\" (hash ");
    assert_eq!(ask(&mock, secret), Some(1));
    let shown = stage.run(["keys", "list"]);
    shown.ends_with(0).has_no_secret();
    assert!(!shown.stdout.contains("search"), "{}", shown.stdout);
    assert!(
        stage
            .run(["keys", "list", "--all"])
            .stdout
            .contains("disabled")
    );
    let said = stage.run(["keys", "enable", "search", "--json"]);
    said.ends_with(0).has_no_secret();
    assert_eq!(said.json()["state"], "enabled");
    assert_eq!(ask(&mock, secret), Some(0));
    let hash = named(&list(&stage), "search")[0]["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = stage.run(["keys", "delete", &hash[..8], "--yes", "--json"]);
    said.ends_with(0).has_no_secret();
    assert_eq!(
        (&said.json()["state"], &said.json()["key"]["hash"]),
        (&"deleted".into(), &(*hash).into())
    );
    assert!(named(&list(&stage), "search").is_empty());
    assert_eq!(ask(&mock, secret), Some(1));
}

#[test]
fn a_name_that_is_no_keys_or_several_keys_is_refused_with_the_candidates() {
    let mock = mock();
    let stage = stage(&mock);
    stage
        .run(["keys", "create", "--name", "search"])
        .ends_with(0);
    stage
        .run(["keys", "disable", "saerch", "--yes"])
        .ends_with(2)
        .says("no key is called \"saerch\"; did you mean \"search\"?");
    stage
        .run(["keys", "rotate", "search", "--out", "2.key"])
        .ends_with(0);
    let both = named(&list(&stage), "search");
    assert_eq!(both.len(), 2);
    let hashes: Vec<&str> = both
        .iter()
        .map(|key| key["hash"].as_str().unwrap())
        .collect();
    for command in ["disable", "delete", "rotate"] {
        let said = stage.run(["keys", command, "search", "--yes"]);
        said.ends_with(2)
            .says("2 keys are called \"search\"")
            .says(hashes[0])
            .says(hashes[1]);
    }
    assert_eq!(named(&list(&stage), "search").len(), 2);
    // Once one is off, the name means the other.
    stage
        .run(["keys", "disable", hashes[1], "--yes"])
        .ends_with(0);
    stage
        .run(["keys", "disable", "search", "--yes"])
        .ends_with(0);
    let states = named(&list(&stage), "search");
    assert!(
        states.iter().all(|key| key["state"] == "disabled"),
        "{states:?}"
    );
}

#[test]
fn a_rotated_key_serves_until_the_new_one_is_there_and_its_time_is_over() {
    let mock = mock();
    let stage = stage(&mock);
    let create = [
        "keys", "create", "--name", "search", "--limit", "5", "--reset", "daily",
    ];
    let old = stage.run(create).stdout;
    let hash = named(&list(&stage), "search")[0]["hash"].clone();
    let rotate = [
        "keys", "rotate", "search", "--out", "new.key", "--drain", "400ms",
    ];
    stage.run(rotate).ends_with(2).says("say --yes");
    assert!(!stage.path("new.key").exists(), "nothing was made");
    let running = Running::start(&mut stage.command(rotate.into_iter().chain(["--yes"])));
    running.wait_for("goes on serving for 0.4 s");
    assert_eq!(
        ask(&mock, stage.read("new.key").trim_end()),
        Some(0),
        "no gap"
    );
    let said = running.end();
    said.ends_with(0)
        .has_no_secret()
        .says("let whoever uses the old key take the new one")
        .says("disabled the old key \"search\"");
    assert_eq!(ask(&mock, old.trim_end()), Some(1));
    assert_eq!(ask(&mock, stage.read("new.key").trim_end()), Some(0));
    let keys = named(&list(&stage), "search");
    let (off, on): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key["disabled"] == true);
    assert_eq!((off.len(), on.len(), &off[0]["hash"]), (1, 1, &hash));
    assert_eq!(
        (&on[0]["limit"], &on[0]["limit_reset"]),
        (&5.0.into(), &"daily".into())
    );

    // Deleted instead, as JSON: one line when the new key is there, and one at the end.
    let rotate = [
        "keys",
        "rotate",
        "search",
        "--delete-old-after",
        "10ms",
        "--yes",
        "--json",
    ];
    let said = stage.run(rotate);
    said.ends_with(0).is_clean();
    let lines: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["old"]["hash"], on[0]["hash"]);
    assert_eq!(lines[0]["old"]["will_be"], "deleted");
    assert_eq!(lines[1]["old"]["state"], "deleted");
    assert_eq!(ask(&mock, lines[0]["secret"].as_str().unwrap()), Some(0));
    assert!(list(&stage).iter().all(|key| key["hash"] != on[0]["hash"]));
}

#[test]
fn without_a_time_the_old_key_stays_and_what_to_do_is_told() {
    let mock = mock();
    let stage = stage(&mock);
    let old = stage.run(["keys", "create", "--name", "search"]).stdout;
    let said = stage.run(["keys", "rotate", "search", "--out", "new.key"]);
    said.ends_with(0)
        .has_no_secret()
        .says("goes on serving; when nobody uses it any more: fairkey keys disable ");
    assert_eq!(said.stdout, "");
    assert_eq!(ask(&mock, old.trim_end()), Some(0));
    assert_eq!(ask(&mock, stage.read("new.key").trim_end()), Some(0));
}

#[test]
#[cfg(unix)]
fn an_interrupted_rotation_leaves_both_keys() {
    let mock = mock();
    let stage = stage(&mock);
    let old = stage.run(["keys", "create", "--name", "search"]).stdout;
    let rotate = [
        "keys", "rotate", "search", "--out", "new.key", "--drain", "1h", "--yes",
    ];
    let running = Running::start(&mut stage.command(rotate));
    running.wait_for("goes on serving for 3600 s");
    running.signal("INT");
    let said = running.end();
    said.ends_with(130)
        .has_no_secret()
        .says("fairkey keys disable ");
    assert_eq!(ask(&mock, old.trim_end()), Some(0));
    assert_eq!(ask(&mock, stage.read("new.key").trim_end()), Some(0));
}

#[test]
fn a_key_that_still_spends_is_not_taken_away() {
    let mock = mock();
    let stage = stage(&mock);
    let old = stage.run(["keys", "create", "--name", "search"]).stdout;
    let client = fairkey_client::Client::builder()
        .key("old", old.trim_end())
        .base_url(mock.url())
        .build()
        .unwrap();
    // Somebody uses it all the time.
    let using = mock.runtime.spawn(async move {
        let question = fairkey_openrouter::ChatRequest::default().user("x");
        while client.chat(&question).await.is_ok() {}
    });
    let rotate = [
        "keys", "rotate", "search", "--out", "new.key", "--drain", "2s", "--yes",
    ];
    let running = Running::start(&mut stage.command(rotate));
    let said = running.end();
    said.ends_with(1)
        .has_no_secret()
        .says("the old key still spends");
    using.abort();
    assert_eq!(ask(&mock, old.trim_end()), Some(0));
}

#[test]
fn only_a_management_key_administers_and_it_does_nothing_else() {
    let mock = mock();
    // None at all.
    let stage = Stage::new().env("OPENROUTER_API_KEY", INFERENCE);
    let url = mock.url();
    let list = ["keys", "list", "--base-url", &url];
    let said = stage.run(list);
    said.ends_with(2)
        .says("OPENROUTER_MANAGEMENT_KEY")
        .says("--mock")
        .has_no_secret();
    assert_eq!(
        mock.server.counters().total.requests,
        0,
        "the other key was not tried"
    );
    // From the environment, pasted.
    let stage = Stage::new().env("OPENROUTER_MANAGEMENT_KEY", &format!(" \"{MANAGEMENT}\""));
    stage
        .run(list)
        .ends_with(0)
        .has_no_secret()
        .says("OPENROUTER_MANAGEMENT_KEY had");
    stage
        .run(["ask", "x", "--base-url", &url])
        .ends_with(2)
        .says("there is no key");
    // One and the same for both.
    let stage = Stage::new()
        .env("OPENROUTER_MANAGEMENT_KEY", MANAGEMENT)
        .env("OPENROUTER_API_KEY", MANAGEMENT);
    for args in [
        &list[..],
        &["ask", "x", "--base-url", &url],
        &["keys", "--base-url", &url],
    ] {
        let said = stage.run(args);
        said.ends_with(2)
            .says("key \"api-key\" is a management key at the same time")
            .is_clean();
    }
    // An inference key in its place.
    let stage = Stage::new().env("OPENROUTER_MANAGEMENT_KEY", INFERENCE);
    stage.run(list).ends_with(1).has_no_secret();
}

#[test]
fn where_several_accounts_have_a_management_key_one_is_to_be_named() {
    let mock = mock();
    let stage = stage(&mock).env("OTHER_MANAGEMENT", "sk-or-v1-other-canary-0123456789");
    let both = format!(
        "{}[[accounts]]\nid = \"other\"\nmanagement_key = {{ env = \"OTHER_MANAGEMENT\" }}\n\
         [[accounts]]\nid = \"bare\"\n",
        acme(&mock)
    );
    stage.write("fairkey.toml", both);
    let create = ["keys", "create", "--name", "search"];
    stage
        .run(create)
        .ends_with(2)
        .says("--account acme or --account other");
    let said = stage.run(create.into_iter().chain(["--account", "other"]));
    said.ends_with(0).says("of account \"other\"");
    stage
        .run(create.into_iter().chain(["--account", "bare"]))
        .ends_with(2)
        .says("account \"bare\" has no management key: the configuration has those of \"acme\"");
    // A list has them all.
    let accounts: Vec<Value> = list(&stage)
        .iter()
        .map(|key| key["account"].clone())
        .collect();
    assert_eq!(accounts, ["acme", "other"]);
    // Which of two is meant is nobody's guess.
    let stage = stage.env(
        "OPENROUTER_MANAGEMENT_KEY",
        "sk-or-v1-third-canary-0123456789",
    );
    stage
        .run(["keys", "list"])
        .ends_with(2)
        .says("both OPENROUTER_MANAGEMENT_KEY and the configuration")
        .has_no_secret();
}

#[test]
fn all_of_it_can_be_tried_on_the_embedded_mock() {
    let stage = Stage::new();
    let said = stage.run([
        "keys", "create", "--name", "search", "--limit", "50", "--reset", "monthly", "--mock",
    ]);
    said.ends_with(0).is_clean();
    assert!(said.stdout.starts_with("sk-or-v1-"));
    let said = stage.run(["keys", "list", "--mock"]);
    said.ends_with(0).has_no_secret();
    let name = said
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    for args in [
        &["disable", "--yes"][..],
        &["rotate", "--drain", "1ms", "--yes"],
        &["delete", "--yes"],
    ] {
        let said = stage.run(["keys", args[0], name, "--mock"].iter().chain(&args[1..]));
        said.ends_with(0).is_clean();
    }
}

#[test]
fn every_command_explains_itself() {
    let stage = Stage::new();
    for command in ["create", "list", "disable", "enable", "rotate", "delete"] {
        let said = stage.run(["keys", command, "--help"]);
        said.ends_with(0);
        assert!(said.stdout.contains("Examples:"), "{command}");
        assert!(said.stdout.contains("Exit codes:"), "{command}");
    }
}
