//! Limits of accounts, models and keys.

use super::*;

#[test]
fn limits_are_read_of_accounts_free_models_models_and_keys() {
    let text = r#"
[limits]
margin = "250ms"
[[accounts]]
id = "acme"
limits = { requests_per_minute = 600, tokens_per_minute = 400_000, in_flight = 64, in_flight_usd = 5 }
free_models = { requests_per_minute = 20, requests_per_day = 1000 }
models = [{ id = "x/y", limits = { tokens = { limit = 9, per = "6s" } } }]
[[accounts]]
id = "other"
[[accounts.models]]
id = "x/y"
limits.in_flight = 2
[[keys]]
id = "a"
limits = { requests = { limit = 60, per = "6s" } }
secret = { env = "SET" }
"#;
    let limits = parse(text).unwrap().limits;
    let acme = AccountId::from("acme");
    assert_eq!(limits.margin, Duration::from_millis(250));
    let set = LimitSet {
        requests: Some(Limit::per_minute(600)),
        tokens: Some(Limit::per_minute(400_000)),
        in_flight: Some(64),
        in_flight_micro_usd: Some(5_000_000),
        ..LimitSet::NONE
    };
    assert_eq!(limits.accounts[&acme], set);
    let free = LimitSet {
        requests: Some(Limit::per_minute(20)),
        quota: Some(Limit::per(1_000, Duration::from_secs(86_400))),
        ..LimitSet::NONE
    };
    assert_eq!(limits.free_models[&acme], free);
    let six = Duration::from_secs(6);
    assert_eq!(limits.models[&acme]["x/y"].tokens, Some(Limit::per(9, six)));
    let other = AccountId::from("other");
    assert_eq!(limits.models[&other]["x/y"].in_flight, Some(2));
    let key = fairkey_core::KeyId::from("a");
    assert_eq!(limits.keys[&key].requests, Some(Limit::per(60, six)));
    let nothing = parse("").unwrap();
    assert_eq!(nothing.limits, LimitsConfig::default());
    assert_eq!(nothing.strategy, StrategyName::Headroom);
}

#[test]
fn limits_that_cannot_be_are_refused_with_their_place_and_a_cure() {
    for (limits, column, what) in [
        ("{}", 10, "say nothing"),
        ("{ requests_per_minute = 0 }", 34, "give 1 or more"),
        ("{ in_flight = -1 }", 24, "between 1 and 1099511627776"),
        ("{ in_flight_usd = 0.0 }", 28, "in US dollars, between"),
        ("{ in_flight_usd = nan }", 28, "in US dollars, between"),
        ("{ requests_per_hour = 1 }", 12, "`requests_per_hour`"),
        ("{ tokens = { limit = 5 } }", 21, "`per`"),
        (
            "{ tokens = { limit = 5, per = \"0s\" } }",
            40,
            "at least 1ms",
        ),
        ("{ tokens = 5 }", 21, "invalid type"),
        (
            "{ requests_per_minute = 1, requests = { limit = 5, per = \"6s\" } }",
            48,
            "either requests_per_minute, or requests",
        ),
    ] {
        let text = format!("[[accounts]]\nid = \"a\"\nlimits = {limits}\n");
        refused(&text, &format!("line 3 column {column}"), what);
    }
    let model = "[[accounts.models]]\nid = \"x/y\"\nlimits.in_flight = 2\n";
    let account = "[[accounts]]\nid = \"a\"\n";
    let twice = format!("{account}{model}{model}");
    refused(&twice, "line 7 column 6", "one entry");
    let unlimited = format!("{account}models = [{{ id = \"x/y\" }}]\n");
    refused(&unlimited, "line 3", "`limits`");
    let mut many = account.to_owned();
    for n in 0..1_025 {
        many.push_str(&format!(
            "[[accounts.models]]\nid = \"m/{n}\"\nlimits.in_flight = 2\n"
        ));
    }
    refused(&many, "line 3076 column 6", "1024 models");
    refused(
        "[limits]\nmargin = \"-1s\"\n",
        "line 2 column 10",
        "negative",
    );
}
