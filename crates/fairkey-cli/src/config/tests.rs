//! What a configuration may say, and what is refused, with its place.

mod clients;
mod limits;
mod routes;
mod shown;

use std::time::Duration;

use fairkey_client::{QueueConfig, RetryConfig};
use fairkey_strategy::{CeilingsConfig, Limit};

use super::*;

const CANARY: &str = "sk-or-v1-canary0000000000";

fn parse(text: &str) -> Result<Config, ConfigError> {
    let sources = Sources {
        env: &|name| match name {
            "SET" => Some(CANARY.to_owned()),
            "BLANK" => Some(" ".to_owned()),
            _ => None,
        },
        file: &|path| fs::read_to_string(path),
    };
    Config::parse(text, Path::new("fairkey.toml"), &sources)
}

#[track_caller]
fn refused(text: &str, position: &str, what: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("fairkey.toml, {position}")),
        "{error}"
    );
    assert!(error.contains(what), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn the_smallest_useful_file_is_read() {
    let config = parse("[[keys]]\nid = \"a\"\nsecret = { env = \"SET\" }\n").unwrap();
    assert_eq!(config.keys[0].id().as_str(), "a");
    assert_eq!(config.keys[0].secret().expose(), CANARY);
    assert_eq!(config.variables, ["SET"]);
    assert!(config.warnings.is_empty());
}

#[test]
fn everything_that_can_be_said_is_read() {
    let config = parse(
        r#"
[upstream]
base_url = "http://127.0.0.1:1/api/v1"
app = { url = "https://a.example", title = "A", categories = ["x"] }
[[accounts]]
id = "acme"
management_key = { env = "SET" }
[[keys]]
id = "a"
account = "acme"
weight = 2
secret = "sk-or-v1-literal"
[strategy]
use = "round-robin"
[timeouts]
connect = "3s"
first_content = "1.5m"
[retry]
attempts = 2
failovers = 3
budget = 0.5
base = "10ms"
cap = "1s"
[breaker]
open_for = "1s"
consecutive = 3
[cooldown]
throttled = "2s"
[queue]
length = 100
max_wait = { interactive = "5s", batch = "none" }
weights = { batch = 1 }
ageing = "none"
"#,
    )
    .unwrap();
    assert_eq!(config.management_keys["acme"].expose(), CANARY);
    assert_eq!(config.keys[0].weight_value().get(), 2);
    assert_eq!(config.strategy, StrategyName::RoundRobin);
    assert_eq!(config.deadlines.first_content, Duration::from_secs(90));
    assert_eq!(config.deadlines.idle, Deadlines::default().idle);
    let retry = config.retry.over(RetryConfig::default());
    assert_eq!(retry.budget.ratio, 0.5);
    assert_eq!(config.breaker.unwrap().consecutive, Some(3));
    assert_eq!(config.cooldown.unwrap().throttled, Duration::from_secs(2));
    let queue = config.queue.over(QueueConfig::default());
    let mut expected = QueueConfig {
        length: 100,
        ageing: None,
        ..QueueConfig::default()
    };
    expected.max_wait.interactive = Some(Duration::from_secs(5));
    expected.weights.batch = 1;
    assert_eq!(queue, expected);
    assert_eq!(config.warnings.len(), 1, "the literal secret");
    assert!(
        !config.warnings[0].contains("literal"),
        "{:?}",
        config.warnings
    );
}

#[test]
fn an_unknown_field_is_named_with_its_place() {
    refused(
        "[[keys]]\nid = \"a\"\nsecert = \"x\"\n",
        "line 3 column 1",
        "`secert`",
    );
    refused("[retry]\nattempt = 5\n", "line 2 column 1", "`attempt`");
    refused("[upstraem]\n", "line 1 column 2", "`upstraem`");
    refused(
        "[strategy]\nuse = \"fastest\"\n",
        "line 2 column 7",
        "unknown variant",
    );
}

#[test]
fn no_error_repeats_a_value() {
    let text = format!("[[keys]]\nid = \"a\"\nweight = \"{CANARY}\"\nsecret = \"x\"\n");
    refused(&text, "line 3 column 10", "invalid type");
    let text = format!("[[keys]]\nid = \"a\"\nsecret = \"{CANARY}\" x\n");
    refused(&text, "line 3", "");
    let text = format!("[[keys]]\nid = \"a\"\nsecret = {{ evn = \"{CANARY}\" }}\n");
    refused(&text, "line 3", "env");
    let text = format!("[[keys]]\nid = \"a\"\nsecret = [\"{CANARY}\"]\n");
    refused(&text, "line 3", "");
    let text = format!("[retry]\nbase = \"{CANARY}\"\n");
    refused(&text, "line 2 column 8", "duration");
    let text = format!("[strategy]\nuse = \"{CANARY}\"\n");
    refused(&text, "line 2 column 7", "");
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let key = "[[keys]]\nid = \"a\"\nsecret = { env = \"SET\" }\n";
    refused(&format!("{key}{key}"), "line 5 column 6", "declared twice");
    refused(
        &format!("{key}weight = 0\n"),
        "line 4 column 10",
        "between 1 and 65535",
    );
    refused(
        "[[keys]]\nid = \"\"\nsecret = { env = \"SET\" }\n",
        "line 2",
        "empty",
    );
    refused(
        "[[keys]]\nid = \"a\"\nsecret = { env = \"UNSET\" }\n",
        "line 3",
        "UNSET",
    );
    refused("[[keys]]\nid = \"a\"\nsecret = \" \"\n", "line 3", "empty");
    refused(
        "[[keys]]\nid = \"a\"\nsecret = { file = \"/no/such\" }\n",
        "line 3",
        "/no/such",
    );
    refused("[breaker]\nratio = 2.0\n", "line 2", "between 0 and 1");
    refused("[breaker]\nopen_cap = \"1s\"\n", "line 1", "open_for");
}

#[test]
fn hedging_is_off_until_it_is_turned_on() {
    let config = parse("[hedge]\nenabled = true\nmax_share = 0.05\nmax_usd = 0.5\n").unwrap();
    let hedge = config.hedge.unwrap();
    assert_eq!((hedge.max_share, hedge.max_micro_usd), (0.05, 500_000));
    let config = parse("[hedge]\nmax_share = 0.05\n").unwrap();
    assert_eq!(config.hedge, None);
    assert!(config.warnings[0].contains("enabled = true"));
    refused(
        "[hedge]\nquantile = 0.4\n",
        "line 1",
        "between 0.5 and 0.999",
    );
    refused(
        "[hedge]\nmax_share = 1.5\n",
        "line 2 column 13",
        "between 0 and 1",
    );
    refused(
        "[hedge]\nmax_usd = -1.0\n",
        "line 2 column 11",
        "between 0 and",
    );
    refused(
        "[hedge]\nmin_streams = 200\n",
        "line 1",
        "between 1 and 128",
    );
}

#[test]
fn limits_are_learned_unless_that_is_turned_off() {
    let config = parse("").unwrap();
    assert_eq!(config.learning.config(), Some(CeilingsConfig::default()));
    let config = parse("[learning]\nenabled = false\npatience = 8.0\n").unwrap();
    assert_eq!(config.learning.config(), None);
    let config = parse(
        "[learning]\nwindow = \"10s\"\npatience = 8\nleast_requests = 3\nforget = \"2h\"\n\
         hint_cap = \"1m\"\n",
    );
    let expected = CeilingsConfig {
        window: Duration::from_secs(10),
        patience: 8.0,
        least_requests: 3,
        forget: Duration::from_secs(7_200),
        hint_cap: Duration::from_secs(60),
    };
    assert_eq!(config.unwrap().learning.config(), Some(expected));
    for (setting, column, what) in [
        ("window = \"0s\"", 10, "at least 1ms"),
        ("patience = 0.0", 12, "between 0.1 and 1000"),
        ("least_requests = 0", 18, "between 1 and 1000000"),
        ("forget = \"soon\"", 10, ""),
        ("hint_cap = 7", 12, ""),
        ("ceiling = 7", 1, "ceiling"),
    ] {
        let place = format!("line 2 column {column}");
        refused(&format!("[learning]\n{setting}\n"), &place, what);
    }
}

#[test]
fn the_schema_knows_every_setting_of_learning_with_its_default() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let table = &schema["properties"]["learning"]["properties"];
    let default = CeilingsConfig::default();
    assert_eq!(table["enabled"]["default"], true);
    assert_eq!(table["patience"]["default"], default.patience);
    assert_eq!(table["least_requests"]["default"], default.least_requests);
    for (name, time) in [
        ("window", default.window),
        ("forget", default.forget),
        ("hint_cap", default.hint_cap),
    ] {
        let says = table[name]["description"].as_str().unwrap();
        let end = format!("Default {}.", duration_text(time));
        assert!(says.ends_with(&end), "{name}: {says:?}, not {end:?}");
    }
    assert_eq!(table.as_object().unwrap().len(), 6);
}

#[test]
fn a_state_file_without_a_name_is_refused() {
    for nothing in ["", "..", "/"] {
        let text = format!("[state]\npath = \"{nothing}\"\n");
        refused(&text, "line 2 column 8", "names no file");
    }
}

#[test]
fn the_configuration_of_the_readme_holds() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (toml, _) = rest.split_once("```").unwrap();
    let file: File = toml::from_str(toml).unwrap();
    assert_eq!((file.keys.len(), file.accounts.len()), (2, 1));
    let retry = file
        .retry
        .unwrap()
        .into_inner()
        .over(RetryConfig::default());
    assert_eq!(retry.attempts, 6);
    assert_eq!(retry.failovers, RetryConfig::default().failovers);
}

#[test]
fn a_number_out_of_bounds_is_refused_with_its_place_and_what_is_allowed() {
    for (line, place, allowed) in [
        ("attempts = 0", "line 2 column 12", "between 1 and 100"),
        ("attempts = -1", "line 2 column 12", "between 1 and 100"),
        (
            "attempts = 4_000_000_000_000",
            "line 2 column 12",
            "between 1 and 100",
        ),
        ("failovers = -3", "line 2 column 13", "between 0 and 1000"),
        ("budget = -0.1", "line 2 column 10", "between 0 and 10"),
        ("budget = nan", "line 2 column 10", "between 0 and 10"),
        ("budget = inf", "line 2 column 10", "between 0 and 10"),
        ("budget = 1e9", "line 2 column 10", "between 0 and 10"),
        ("base = \"0s\"", "line 2 column 8", "at least 1ms"),
        ("cap = \"-1s\"", "line 2 column 7", "not negative"),
        ("cap = \"1000d\"", "line 2 column 7", "at most 366d"),
        ("cap = \"1ns\"", "line 2 column 7", "number with its unit"),
        ("cap = 5", "line 2 column 7", "string"),
        ("base = \"1h\"", "line 1 column 1", "longer than cap"),
    ] {
        refused(&format!("[retry]\n{line}\n"), place, allowed);
    }
    for (line, place, allowed) in [
        ("length = -1", "line 2 column 10", "between 0 and 10000000"),
        (
            "max_wait = { batch = \"soon\" }",
            "line 2 column 22",
            "number with its unit",
        ),
        (
            "max_wait = { urgent = \"1s\" }",
            "line 2 column 14",
            "`urgent`",
        ),
        (
            "weights = { normal = 0 }",
            "line 2 column 22",
            "between 1 and 65535",
        ),
        ("hold = \"0s\"", "line 2 column 8", "at least 1ms"),
    ] {
        refused(&format!("[queue]\n{line}\n"), place, allowed);
    }
    refused(
        "[timeouts]\ntotal = \"0s\"\n",
        "line 2 column 9",
        "at least 1ms",
    );
    refused(
        "[timeouts]\nidle = \"0.1ms\"\n",
        "line 2 column 8",
        "at least 1ms",
    );
    refused(
        "[cooldown]\nthrottled = \"0s\"\n",
        "line 2 column 13",
        "at least 1ms",
    );
    refused(
        "[breaker]\nratio = nan\n",
        "line 2 column 9",
        "between 0 and 1",
    );
    refused(
        "[breaker]\nmin_calls = 0\n",
        "line 2 column 13",
        "between 1 and",
    );
    refused(
        "[breaker]\njitter = 2.0\n",
        "line 2 column 10",
        "between 0 and 1",
    );
    parse("[retry]\nbudget = 1\nfailovers = 0\n").unwrap();
}

#[test]
fn a_base_url_that_cannot_be_is_refused_with_its_place_and_an_odd_one_gets_a_hint() {
    let with = |url: &str| format!("[upstream]\nbase_url = \"{url}\"\n");
    refused(
        &with("https://openrouter.ai:99999/api/v1"),
        "line 2 column 12",
        "port",
    );
    refused(&with("https:///api/v1"), "line 2 column 12", "no host");
    refused(
        &with("https://u:canary@openrouter.ai"),
        "line 2 column 12",
        "user",
    );
    let warnings = |url: &str| parse(&with(url)).unwrap().warnings;
    assert!(warnings("https://openrouter.ai")[0].contains("/api/v1"));
    assert!(warnings("https://openrouter.ai/api/v1").is_empty());
}

#[test]
fn an_account_that_is_not_declared_is_warned_about_with_the_nearest_name() {
    let account = |id: &str| format!("[[accounts]]\nid = \"{id}\"\n");
    let key = "[[keys]]\nid = \"a\"\naccount = \"amce\"\nsecret = { env = \"SET\" }\n";
    let warnings = |text: &str| parse(text).unwrap().warnings;
    let both = format!("{}{}{key}", account("other"), account("acme"));
    let said = warnings(&both);
    assert!(
        said[0].contains("key \"a\" names account \"amce\""),
        "{said:?}"
    );
    assert!(said[0].ends_with("did you mean \"acme\"?"), "{said:?}");
    let said = warnings(&format!("{}{key}", account("elsewhere")));
    assert!(
        said[0].ends_with("declare it with [[accounts]]"),
        "{said:?}"
    );
    assert!(
        warnings(key).is_empty(),
        "where none is declared, keys say which there are"
    );
    assert!(warnings(&format!("{}{key}", account("amce"))).is_empty());
    refused(
        &format!("{0}{0}", account("acme")),
        "line 4 column 6",
        "declared twice",
    );
    refused(&account(" "), "line 2 column 6", "empty");
}

#[test]
fn what_was_pasted_around_a_secret_is_left_out_and_told_without_it() {
    let text = format!("[[keys]]\nid = \"a\"\nsecret = \" 'Bearer {CANARY}' \"\n");
    let config = parse(&text).unwrap();
    assert_eq!(config.keys[0].secret().expose(), CANARY);
    let said = config.warnings.join("\n");
    assert!(said.contains("the secret of key \"a\" had"), "{said}");
    assert!(
        said.contains("Bearer") && !said.contains("canary"),
        "{said}"
    );
}

#[test]
fn the_schema_names_every_field_that_is_read_and_no_other() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let names = |properties: &serde_json::Value| -> Vec<String> {
        properties.as_object().unwrap().keys().cloned().collect()
    };
    // What the reader itself says is expected there.
    let expected = |text: &str| -> Vec<String> {
        let error = parse(text).unwrap_err().to_string();
        let (_, list) = error
            .split_once("expected ")
            .unwrap_or_else(|| panic!("{error}"));
        let mut names: Vec<_> = list
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    let top = &schema["properties"];
    assert_eq!(names(top), expected("unknown = 1\n"));
    let route = &schema["$defs"]["route"]["properties"];
    let whole = "[routes.x]\nmodels = [\"a/b\"]\n";
    assert_eq!(names(route), expected(&format!("{whole}unknown = 1\n")));
    for part in ["provider", "defaults"] {
        let text = format!("{whole}[routes.x.{part}]\nunknown = 1\n");
        assert_eq!(names(&route[part]["properties"]), expected(&text));
    }
    let limits = &schema["$defs"]["limits"]["properties"];
    for place in ["limits", "free_models"] {
        let text = format!("[[accounts]]\nid = \"a\"\n{place} = {{ unknown = 1 }}\n");
        assert_eq!(names(limits), expected(&text), "{place}");
    }
    let model = &top["accounts"]["items"]["properties"]["models"]["items"]["properties"];
    let text = "[[accounts]]\nid = \"a\"\nmodels = [{ unknown = 1 }]\n";
    assert_eq!(names(model), expected(text));
    let others = top.as_object().unwrap().iter();
    for (name, table) in others.filter(|(name, _)| *name != "routes") {
        let (text, properties) = match &table["items"] {
            serde_json::Value::Null => (format!("[{name}]\nunknown = 1\n"), &table["properties"]),
            items => (format!("[[{name}]]\nunknown = 1\n"), &items["properties"]),
        };
        assert_eq!(names(properties), expected(&text), "{name}");
    }
}
