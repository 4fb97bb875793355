//! The gateway and who may use it.

use std::time::Duration;

use fairkey_core::Class;
use fairkey_gateway::{Budget, Departure, Operation, Per, Rate, TokenHash};

use super::*;
use crate::config::gateway::AccessLogTo;

const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn everything_that_can_be_said_of_the_gateway_is_read() {
    let config = parse(
        r#"
[gateway]
listen = "127.0.0.1:8000"
hosts = ["host.docker.internal"]
origins = ["https://app.example"]
max_body = "1MiB"
max_upload = 1048576
pass_unknown_paths = true
departure = "drain"
departures = { images = { within = "5s", bytes = "1MiB" }, chat = "cancel" }
comment_after = "5s"
head_timeout = "3s"
class = "interactive"
spend = "spend.log"
metrics = false
access_log = "access.log"
"#,
    )
    .unwrap();
    let gateway = &config.gateway;
    assert_eq!(gateway.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(gateway.hosts, ["host.docker.internal"]);
    let settings = &gateway.settings;
    assert_eq!(settings.max_body_bytes, 1 << 20);
    assert_eq!(settings.max_upload_bytes, 1 << 20);
    assert!(settings.pass_unknown_paths);
    assert_eq!(settings.departure, Departure::drain());
    let images = Departure::drain_within(Duration::from_secs(5), 1 << 20);
    assert_eq!(settings.departures[&Operation::Images], images);
    assert_eq!(settings.departures[&Operation::Chat], Departure::Cancel);
    assert_eq!(settings.comment_after, Duration::from_secs(5));
    assert_eq!(settings.limits.head_time, Duration::from_secs(3));
    assert_eq!(gateway.class, Class::Interactive);
    assert_eq!(gateway.spend.as_deref(), Some(Path::new("spend.log")));
    assert!(!settings.metrics);
    let log = AccessLogTo::File("access.log".into());
    assert_eq!(gateway.access_log, log);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn metrics_are_told_where_no_token_is_asked_for_unless_the_file_says_so() {
    let client = "[[clients]]\nid = \"a\"\ntoken = \"tok-0123456789abcdef\"\n";
    for (text, expected) in [
        (String::new(), true),
        (client.to_owned(), false),
        (format!("[gateway]\nmetrics = true\n{client}"), true),
    ] {
        assert_eq!(
            parse(&text).unwrap().gateway.settings.metrics,
            expected,
            "{text}"
        );
    }
}

#[test]
fn everything_that_can_be_said_of_a_client_is_read() {
    let config = parse(&format!(
        r#"
[gateway]
listen = "0.0.0.0:4210"
class = "batch"
[[keys]]
id = "k1"
account = "acme"
secret = "sk-or-v1-other"
[[clients]]
id = "team-a"
token = [{{ env = "SET" }}, {{ sha256 = "{SHA}" }}]
models = ["anthropic/*"]
routes = ["chat", "audio_*"]
class = "interactive"
weight = 3
keys = ["k1"]
accounts = ["acme", "acne"]
[clients.limits]
requests_per_minute = 60
tokens = {{ limit = 1000, per = "10s" }}
usd_per_day = 5.0
usd_in_all = 100
usd_unpriced = 0.01
in_flight = 4
[[clients]]
id = "team-b"
token = "tok-literal-0123456789"
"#
    ))
    .unwrap();
    let team = &config.clients[0].tenant;
    assert_eq!(&*team.id, "team-a");
    assert_eq!(team.tokens, [TokenHash::of(CANARY), TokenHash::of("abc")]);
    assert!(team.models.allow("anthropic/x") && !team.models.allow("openai/x"));
    assert!(team.routes.allow("audio_speech") && !team.routes.allow("files"));
    assert_eq!((team.class, team.weight), (Class::Interactive, 3));
    assert_eq!(team.keys[0].as_str(), "k1");
    let limits = &team.limits;
    let rate = |limit, seconds| {
        Some(Rate {
            limit,
            per: Duration::from_secs(seconds),
        })
    };
    assert_eq!(
        (limits.requests, limits.tokens),
        (rate(60, 60), rate(1000, 10))
    );
    let budget = |micro_usd, per| Budget { micro_usd, per };
    let money = [budget(5_000_000, Per::Day), budget(100_000_000, Per::Total)];
    assert_eq!(limits.money, money);
    assert_eq!(
        (limits.in_flight, limits.unpriced_micro_usd),
        (Some(4), 10_000)
    );
    let other = &config.clients[1].tenant;
    assert_eq!(other.class, Class::Batch, "that of the gateway");
    assert!(other.models.is_any() && other.routes.is_any());
    let warnings = config.warnings.join("\n");
    assert!(warnings.contains("the account \"acne\""), "{warnings}");
    let literal = "the token of client \"team-b\" stands in the configuration itself";
    assert!(warnings.contains(literal), "{warnings}");
    let all = format!("{config:?} {warnings}");
    assert!(
        !all.contains("canary") && !all.contains("tok-literal"),
        "{all}"
    );
    assert!(
        config.variables.contains(&"SET".to_owned()),
        "no key is taken from it"
    );
}

#[test]
fn a_gateway_that_cannot_be_is_refused_with_its_place_and_a_cure() {
    for (line, at, what) in [
        ("listen = \"example:1\"", 10, "an address and a port"),
        (
            "listen = \"0.0.0.0:4210\"",
            10,
            "add [[clients]] with a token",
        ),
        ("hosts = [\"http://x\"]", 10, "no scheme"),
        ("origins = [\"app.example/x\"]", 12, "as a browser does"),
        ("origins = [\"*\"]", 12, "name the origins"),
        ("max_body = \"1\"", 12, "a number with its unit"),
        ("max_body = 10", 12, "between 1KiB and"),
        ("departure = \"wait\"", 13, "`cancel`, `drain`"),
        (
            "departures = { chats = \"drain\" }",
            24,
            "chat, completions",
        ),
        ("comment_after = \"0s\"", 17, "at least 1ms"),
        ("class = \"urgent\"", 9, "expected one of"),
        ("spend = \"/\"", 9, "names no file"),
        ("access_log = \"/\"", 14, "to a file"),
        ("spent = \"x\"", 1, "`spent`"),
    ] {
        let place = format!("line 2 column {at}");
        refused(&format!("[gateway]\n{line}\n"), &place, what);
    }
}

#[test]
fn a_client_that_cannot_be_is_refused_with_its_place_and_a_cure() {
    let key = format!("[[keys]]\nid = \"k\"\nsecret = \"{CANARY}\"\n");
    for (line, at, what) in [
        ("", 0, "missing field `token`"),
        (
            "token = { sha256 = \"canary\" }",
            20,
            "64 hexadecimal digits",
        ),
        (
            "token = { sha257 = \"canary\" }",
            9,
            "exactly one of `env`, `file` and `sha256`",
        ),
        ("token = { env = \"UNSET\" }", 9, "UNSET, which is not set"),
        ("token = { env = \"BLANK\" }", 9, "BLANK, which is empty"),
        ("token = []", 9, "has no token"),
        ("token = \"\"", 9, "is empty"),
        ("token = { env = \"SET\" }", 9, "is one of the keys"),
        ("token = \"tok-canary-0\"\nmodels = []", 10, "allow nothing"),
        (
            "token = \"tok-canary-0\"\nroutes = [\"chats\"]",
            11,
            "no such operation",
        ),
        (
            "token = \"tok-canary-0\"\nweight = 0",
            10,
            "between 1 and 1000",
        ),
        ("token = \"tok-canary-0\"\nlimits = {}", 10, "say nothing"),
        (
            "token = \"tok-canary-0\"\nlimits = { usd_unpriced = 1 }",
            10,
            "usd_per_day",
        ),
        (
            "token = \"tok-canary-0\"\nlimits = { in_flight = 0 }",
            24,
            "let nothing through",
        ),
        (
            "token = \"tok-canary-0\"\n\
             limits = { requests_per_minute = 1, requests = { limit = 1, per = \"1s\" } }",
            48,
            "limited twice",
        ),
    ] {
        let first = 6 + line.matches('\n').count();
        let place = match at {
            0 => "line 4 column 1".to_owned(),
            // What is wrong with one as a whole is said at its name.
            _ if what == "has no token" => "line 5 column 6".to_owned(),
            at => format!("line {first} column {at}"),
        };
        let text = format!("{key}[[clients]]\nid = \"team\"\n{line}\n");
        refused(&text, &place, what);
    }
    let two = |id: &str, token: &str| {
        format!(
            "[[clients]]\nid = \"a\"\ntoken = \"tok-canary-0\"\n\
             [[clients]]\nid = \"{id}\"\ntoken = \"{token}\"\n"
        )
    };
    refused(
        &two("a", "tok-canary-1"),
        "line 5 column 6",
        "declared twice",
    );
    refused(
        &two("b", "tok-canary-0"),
        "line 6 column 9",
        "there already",
    );
    refused(
        &two("a b", "tok-canary-1"),
        "line 5 column 6",
        "cannot be a client's id",
    );
}

#[test]
fn what_is_read_of_clients_is_in_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let text = "[[clients]]\nid = \"a\"\ntoken = \"x\"\nlimits = { unknown = 1 }\n";
    let error = parse(text).unwrap_err().to_string();
    let limits = schema["$defs"]["client_limits"]["properties"].as_object();
    for name in limits.unwrap().keys() {
        assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
    }
    let operations = &schema["properties"]["gateway"]["properties"]["departures"]["properties"];
    let operations = operations.as_object().unwrap();
    assert_eq!(operations.len(), Operation::ALL.len());
    let all = Operation::ALL.iter();
    assert!(all.clone().all(|it| operations.contains_key(it.as_str())));
}
