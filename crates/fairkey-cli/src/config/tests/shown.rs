//! What is shown of a configuration: everything that it can say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::keyring::Keyring;

/// Says everything that there is to say.
const EVERYTHING: &str = r#"
[[accounts]]
id = "acme"
management_key = { env = "SET" }
limits = { requests_per_minute = 1, tokens_per_minute = 1, requests_per_day = 1, in_flight = 1, in_flight_usd = 1 }
free_models = { requests = { limit = 2, per = "6s" }, tokens = { limit = 2, per = "6s" } }
models = [{ id = "a/b", limits = { requests = { limit = 2, per = "6s" } } }]
[[keys]]
id = "a"
account = "acme"
weight = 2
secret = { env = "OTHER" }
limits = { in_flight = 9 }
[routes.fast]
models = ["a/b"]
allow = ["team-a"]
[routes.fast.provider]
order = ["groq"]
only = ["groq"]
ignore = ["azure"]
allow_fallbacks = true
require_parameters = true
data_collection = "deny"
zdr = true
enforce_distillable_text = true
quantizations = ["fp8"]
sort = "price"
preferred_min_throughput = 50
preferred_max_latency = 2.5
max_price = { prompt = 1, completion = 1, request = 1, image = 1, audio = 1 }
options = { groq = { x = 1 } }
[routes.fast.defaults]
max_tokens = 500
max_completion_tokens = 500
temperature = 0.2
top_p = 0.5
top_k = 1
min_p = 0.5
top_a = 0.5
frequency_penalty = 1
presence_penalty = 1
repetition_penalty = 1
seed = 1
stop = ["END"]
verbosity = "low"
reasoning = { effort = "low" }
reasoning_effort = "low"
service_tier = "auto"
[queue]
length_per_class = { interactive = 1, normal = 1, batch = 1 }
[gateway]
departures = { chat = "drain" }
tls = { cert = "cert.pem", key = "key.pem" }
[[clients]]
id = "team-a"
token = [{ env = "TOKEN" }, { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }]
models = ["a/*"]
routes = ["chat"]
class = "batch"
weight = 3
keys = ["a"]
accounts = ["acme"]
limits = { requests_per_minute = 1, tokens_per_minute = 1, usd_per_hour = 1, usd_per_day = 1, usd_per_week = 1, usd_per_month = 1, usd_in_all = 1, usd_unpriced = 1, in_flight = 1 }
[[clients]]
id = "team-b"
token = { env = "SECOND" }
limits = { requests = { limit = 1, per = "6s" }, tokens = { limit = 1, per = "6s" } }
[admin]
listen = "127.0.0.1:0"
token = { env = "THIRD" }
"#;

/// What a program says besides that was built with the feature.
const OTLP: &str = r#"
[otlp]
endpoint = "http://127.0.0.1:4318"
headers = { authorization = { env = "FOURTH" }, x-more = "of-canary" }
"#;

fn shown(text: &str) -> Value {
    let sources = Sources {
        env: &|name| Some(format!("{CANARY}-{name}")),
        file: &|path| fs::read_to_string(path),
    };
    let config = Config::parse(text, Path::new("fairkey.toml"), &sources).unwrap();
    let ring = Keyring::collect(config.keys.clone(), std::iter::empty(), &config.variables);
    Shown::new(&config, &ring, None, 8).to_json()
}

fn names(object: &Value) -> BTreeSet<String> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Compares what the schema has with what is shown; `values`: each with where it comes from.
fn compare(path: &str, schema: &Value, values: &[&Value], defs: &Value) {
    let schema = match schema["$ref"].as_str() {
        // These stand at four places, of which none says all: see below.
        Some("#/$defs/limits") => {
            assert!(
                values.iter().all(|value| !names(value).is_empty()),
                "{path}"
            );
            return;
        }
        Some(name) => &defs[name.rsplit('/').next().unwrap()],
        None => schema,
    };
    let schema = if schema["items"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    // What is free in its form has no names to compare.
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let values: Vec<&Value> = values
        .iter()
        .flat_map(|value| match value {
            Value::Array(all) => all.iter().collect(),
            one => vec![*one],
        })
        .collect();
    let shown: BTreeSet<_> = values.iter().flat_map(|value| names(value)).collect();
    // Each operation could have a departure of its own: one stands for all.
    if path != "settings.gateway.departures" {
        let known: BTreeSet<_> = properties.keys().cloned().collect();
        assert_eq!(known, shown, "{path}: what there is, and what is shown");
    }
    for (name, property) in properties {
        let inner: Vec<&Value> = values
            .iter()
            .filter_map(|value| value.get(name))
            .map(|value| match value.get("from") {
                Some(_) => &value["value"],
                None => value,
            })
            .filter(|value| !value.is_null())
            .collect();
        if !inner.is_empty() {
            compare(&format!("{path}.{name}"), property, &inner, defs);
        }
    }
}

#[test]
fn every_setting_that_the_schema_has_is_shown() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let more = if cfg!(feature = "otlp") { OTLP } else { "" };
    let (defs, shown) = (&schema["$defs"], shown(&format!("{EVERYTHING}{more}")));
    assert!(!shown.to_string().contains("canary"), "{shown}");
    for (name, table) in schema["properties"].as_object().unwrap() {
        match &*name.clone() {
            "accounts" | "keys" | "clients" => {
                let all: Vec<_> = shown[name].as_array().unwrap().iter().collect();
                compare(name, table, &all, defs);
            }
            "routes" => compare(name, &defs["route"], &[&shown["routes"]["fast"]], defs),
            _ => compare(
                &format!("settings.{name}"),
                table,
                &[&shown["settings"][name]],
                defs,
            ),
        }
    }
}

#[test]
fn every_limit_that_the_schema_has_is_shown() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let shown = shown(EVERYTHING);
    let account = &shown["accounts"][0];
    let mut all = names(&account["limits"]["value"]);
    all.extend(names(&account["free_models"]["value"]));
    assert_eq!(all, names(&schema["$defs"]["limits"]["properties"]));
}

#[test]
fn what_is_not_said_is_shown_with_its_default() {
    let shown = shown("");
    let value = |name: &str| &shown["settings"]["gateway"][name]["value"];
    assert_eq!(value("grace"), "30s");
    assert_eq!(value("watch"), "2s");
    assert_eq!(value("limits")["connections"], 8_192);
    assert!(value("tls").is_null());
    assert!(shown["settings"]["admin"]["token"]["value"].is_null());
    assert!(shown["settings"]["otlp"]["endpoint"]["value"].is_null());
}
