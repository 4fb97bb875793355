//! Route profiles: what a name becomes, and whose word counts.

use fairkey_openrouter::endpoint::{CHAT_COMPLETIONS, EMBEDDINGS};
use fairkey_openrouter::profile::{Profile, ProfileError, Profiles};
use fairkey_openrouter::{ProviderPreferences, SortBy};
use proptest::prelude::*;
use serde_json::{Value, json};

fn preferences(json: &Value) -> ProviderPreferences {
    serde_json::from_value(json.clone()).unwrap()
}

fn profiles(provider: &Value) -> Profiles {
    let fast = Profile::new(["a/1", "a/2", "a/3", "a/4", "a/5"])
        .provider(preferences(provider))
        .with_default("max_tokens", 500)
        .with_default("temperature", 0.5)
        .with_default("reasoning", json!({"effort": "low"}));
    let other = Profile::new(["b/1"]).allow(["team-a"]);
    Profiles::new([("fast", fast), ("other", other)]).unwrap()
}

fn applied(body: &str) -> Option<(Vec<String>, String)> {
    let routed = profiles(&json!({"zdr": true})).apply(CHAT_COMPLETIONS, body.as_bytes());
    let routed = routed.unwrap()?;
    let body = String::from_utf8(routed.body.to_vec()).unwrap();
    Some((routed.models, body))
}

const ADDED: &str =
    r#","provider":{"zdr":true},"max_tokens":500,"reasoning":{"effort":"low"},"temperature":0.5"#;

#[test]
fn a_name_becomes_its_models_and_no_other_byte_changes() {
    for name in ["fast", "route:fast"] {
        let body =
            format!("\u{feff}{{ \"n\" : 1.00e3, \"model\":\"{name}\",\"x\":\"\\u00e9\" }}\n");
        let (models, new) = applied(&body).unwrap();
        assert_eq!(models, ["a/1", "a/2", "a/3", "a/4", "a/5"]);
        let expected = body
            .replace(name, "a/1")
            .replace(" }\n", &format!("{ADDED} }}\n"));
        assert_eq!(new, expected);
    }
}

#[test]
fn a_name_among_others_is_expanded_where_it_stands() {
    let (models, body) = applied(r#"{"models":["x/y","fast","a/2","z/z"]}"#).unwrap();
    assert_eq!(models, ["x/y", "a/1", "a/2", "a/3", "a/4", "a/5", "z/z"]);
    assert!(body.starts_with(r#"{"model":"x/y","provider""#), "{body}");
    let (models, _) = applied(r#"{"model":"fast","models":["fast","q/r"]}"#).unwrap();
    assert_eq!(models, ["a/1", "a/2", "a/3", "a/4", "a/5", "q/r"]);
}

#[test]
fn what_names_no_profile_is_left_alone() {
    for body in [
        r#"{"model":"a/1"}"#,
        r#"{"model":"faster"}"#,
        r#"{"model":7,"models":"fast"}"#,
        r#"{"messages":[{"role":"user","content":"fast"}]}"#,
        r#"{"model":null}"#,
        "fast",
        "",
        "[\"fast\"]",
    ] {
        assert_eq!(applied(body), None, "{body}");
    }
}

#[test]
fn defaults_stand_back_and_fields_that_say_the_same_count_as_one() {
    for (said, gone) in [
        (r#""temperature":null"#, vec!["temperature"]),
        (r#""max_completion_tokens":7"#, vec!["max_tokens"]),
        (r#""max_tokens":7"#, vec!["max_tokens"]),
        (r#""reasoning_effort":"high""#, vec!["reasoning"]),
        (r#""reasoning":{"max_tokens":9}"#, vec!["reasoning"]),
    ] {
        let body = format!(r#"{{"model":"fast",{said}}}"#);
        let (_, new) = applied(&body).unwrap();
        let head = format!(r#"{{"model":"a/1",{said},"#);
        let added = new.strip_prefix(&head).unwrap_or_else(|| panic!("{new}"));
        let added: Value = serde_json::from_str(&format!("{{{added}")).unwrap();
        for field in gone {
            assert!(added.get(field).is_none(), "{new}");
        }
        assert_eq!(added.as_object().unwrap().len(), 3, "{new}");
    }
}

#[test]
fn elsewhere_than_in_chats_no_defaults_are_set() {
    let profiles = profiles(&json!({"zdr": true}));
    let routed = profiles.apply(EMBEDDINGS, br#"{"model":"fast","input":"x"}"#);
    let routed = routed.unwrap().unwrap();
    assert_eq!(
        routed.body,
        r#"{"model":"a/1","input":"x","provider":{"zdr":true}}"#
    );
    assert_eq!(routed.at_once, 1);
}

/// The profile's `provider`, the request's, and what is sent.
#[track_caller]
fn merges(profile: &Value, request: &Value, expected: &Value) {
    let body = json!({"model": "fast", "provider": request}).to_string();
    let routed = profiles(profile).apply(CHAT_COMPLETIONS, body.as_bytes());
    let routed = routed.unwrap().unwrap();
    let sent: Value = serde_json::from_slice(&routed.body).unwrap();
    assert_eq!(sent["provider"], *expected, "{profile} and {request}");
}

#[test]
fn what_a_profile_demands_no_request_relaxes() {
    merges(
        &json!({"zdr": true}),
        &json!({"zdr": false}),
        &json!({"zdr": true}),
    );
    merges(
        &json!({"zdr": false}),
        &json!({"zdr": true}),
        &json!({"zdr": true}),
    );
    merges(&json!({"zdr": true}), &Value::Null, &json!({"zdr": true}));
    merges(
        &json!({"data_collection": "deny"}),
        &json!({"data_collection": "allow"}),
        &json!({"data_collection": "deny"}),
    );
    for (field, strict) in [
        ("allow_fallbacks", false),
        ("require_parameters", true),
        ("enforce_distillable_text", true),
    ] {
        for (ours, theirs) in [(strict, !strict), (!strict, strict), (strict, strict)] {
            merges(
                &json!({field: ours}),
                &json!({field: theirs}),
                &json!({field: strict}),
            );
        }
        merges(
            &json!({field: !strict}),
            &json!({field: !strict}),
            &json!({field: !strict}),
        );
    }
    merges(
        &json!({"ignore": ["a", "b"]}),
        &json!({"ignore": ["c", "a"]}),
        &json!({"ignore": ["c", "a", "b"]}),
    );
    merges(
        &json!({"only": ["google-vertex", "openai", "groq"]}),
        &json!({"only": ["azure", "google-vertex/europe", "groq"]}),
        &json!({"only": ["google-vertex/europe", "groq"]}),
    );
    for list in ["only", "quantizations"] {
        merges(
            &json!({list: ["x"]}),
            &json!({list: []}),
            &json!({list: ["x"]}),
        );
    }
    merges(
        &json!({"only": ["deepinfra/turbo"]}),
        &json!({"only": ["deepinfra"]}),
        &json!({"only": ["deepinfra/turbo"]}),
    );
    merges(
        &json!({"quantizations": ["fp8", "bf16"]}),
        &json!({"quantizations": ["bf16", "fp4"]}),
        &json!({"quantizations": ["bf16"]}),
    );
    merges(
        &json!({"max_price": {"prompt": 1.0, "completion": "2", "image": 1.0}}),
        &json!({"max_price": {"prompt": "3", "completion": 1.5, "audio": 0.5, "image": "?"}}),
        &json!({"max_price": {"prompt": 1.0, "completion": 1.5, "audio": 0.5, "image": 1.0}}),
    );
}

#[test]
fn what_a_profile_prefers_every_request_may_say_otherwise() {
    merges(
        &json!({"sort": "price", "order": ["a"], "preferred_max_latency": 2.0, "later": 1}),
        &json!({"sort": {"by": "latency"}, "order": ["b"], "later": 2}),
        &json!({"sort": {"by": "latency"}, "order": ["b"], "preferred_max_latency": 2.0, "later": 2}),
    );
    merges(
        &json!({"options": {"a": {"x": 1}, "b": {"x": 1}}}),
        &json!({"options": {"a": {"y": 2}}}),
        &json!({"options": {"a": {"y": 2}, "b": {"x": 1}}}),
    );
}

#[test]
fn of_preferences_only_what_changes_is_written_anew() {
    let body = r#"{"model":"fast","provider":{ "order" : ["x"],"max_price":{"prompt":1.50}, "sort":"price" }}"#;
    let provider = json!({"max_price": {"prompt": 9.0}, "sort": "latency", "zdr": true});
    let routed = profiles(&provider).apply(CHAT_COMPLETIONS, body.as_bytes());
    let new = String::from_utf8(routed.unwrap().unwrap().body.to_vec()).unwrap();
    let kept =
        r#""provider":{ "order" : ["x"],"max_price":{"prompt":1.50}, "sort":"price","zdr":true }"#;
    assert!(new.contains(kept), "{new}");
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    let fails = |provider: &Value, body: &str| {
        let profiles = profiles(provider);
        profiles
            .apply(CHAT_COMPLETIONS, body.as_bytes())
            .unwrap_err()
    };
    let none = json!({});
    let error = fails(&none, r#"{"model":"route:fsat"}"#);
    assert_eq!(
        error.to_string(),
        "there is no route \"fsat\"; those there are: fast, other"
    );
    assert_eq!(
        fails(&none, r#"{"model":"fast","models":["other"]}"#),
        ProfileError::Two
    );
    let only = json!({"only": ["openai"]});
    for own in [r#"["groq"]"#, r#"["openai/priority"]"#] {
        let error = fails(
            &only,
            &format!(r#"{{"model":"fast","provider":{{"only":{own}}}}}"#),
        );
        assert!(
            error.to_string().contains("leave nothing of provider.only"),
            "{error}"
        );
    }
    let both = json!({"quantizations": ["fp8"]});
    fails(
        &both,
        r#"{"model":"fast","provider":{"quantizations":["fp4"]}}"#,
    );
    for own in ["7", "[]", "\"groq\"", r#"{"only":7}"#] {
        let error = fails(&only, &format!(r#"{{"model":"fast","provider":{own}}}"#));
        assert_eq!(error, ProfileError::Provider, "{own}");
    }
    for (name, profile) in [
        ("", Profile::new(["a/b"])),
        ("a/b", Profile::new(["a/b"])),
        ("a b", Profile::new(["a/b"])),
        ("x", Profile::new(Vec::<String>::new())),
        ("x", Profile::new(["x"])),
        ("x", Profile::new(["route:y"])),
    ] {
        assert!(Profiles::new([(name, profile)]).is_err(), "{name}");
    }
}

#[test]
fn a_profile_is_for_those_that_it_allows() {
    let profiles = profiles(&json!({}));
    let body = br#"{"model":"other"}"#;
    let apply = |tenant| profiles.apply_for(tenant, CHAT_COMPLETIONS, body);
    assert!(apply(Some("team-a")).unwrap().is_some());
    for tenant in [Some("team-b"), None] {
        assert_eq!(
            apply(tenant),
            Err(ProfileError::NotAllowed("other".to_owned()))
        );
    }
    assert!(profiles.apply(CHAT_COMPLETIONS, body).unwrap().is_some());
    let body = br#"{"model":"fast"}"#;
    assert!(
        profiles
            .apply_for(None, CHAT_COMPLETIONS, body)
            .unwrap()
            .is_some()
    );
}

#[test]
fn without_profiles_only_a_name_that_asks_for_one_is_looked_at() {
    let none = Profiles::new(Vec::<(&str, Profile)>::new()).unwrap();
    assert!(none.passes(["a/b", "fast"].into_iter()));
    assert!(none.passes([].into_iter()));
    assert!(!none.passes(["a/b", "route:fast"].into_iter()));
    assert!(!profiles(&json!({})).passes(["a/b"].into_iter()));
}

#[test]
fn debug_output_shows_no_prompt() {
    let body = br#"{"model":"fast","messages":[{"role":"user","content":"canary"}]}"#;
    let profiles = profiles(&json!({}));
    let routed = profiles.apply(CHAT_COMPLETIONS, body).unwrap().unwrap();
    assert!(!format!("{routed:?}").contains("canary"));
}

fn any_preferences() -> impl Strategy<Value = ProviderPreferences> {
    let slugs = proptest::option::of(proptest::sample::subsequence(
        vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        1..=3,
    ));
    let bools = proptest::option::of(any::<bool>());
    (slugs.clone(), slugs, bools.clone(), bools, any::<bool>()).prop_map(
        |(only, ignore, zdr, allow_fallbacks, sorted)| ProviderPreferences {
            only,
            ignore,
            zdr,
            allow_fallbacks,
            sort: sorted.then(|| SortBy::Price.into()),
            ..ProviderPreferences::default()
        },
    )
}

proptest! {
    /// Nothing that a profile excludes is let in by any request, and nothing that the request
    /// excludes by the profile.
    #[test]
    fn a_merge_is_as_strict_as_both(ours in any_preferences(), theirs in any_preferences()) {
        let profile = Profile::new(["a/b"]).provider(ours.clone());
        let profiles = Profiles::new([("p", profile)]).unwrap();
        let body = json!({"model": "p", "provider": theirs}).to_string();
        let Ok(routed) = profiles.apply(CHAT_COMPLETIONS, body.as_bytes()) else {
            let common = |own: &String| theirs.only.as_ref().unwrap().contains(own);
            prop_assert!(!ours.only.unwrap().iter().any(common));
            return Ok(());
        };
        let sent: Value = serde_json::from_slice(&routed.unwrap().body).unwrap();
        let sent = preferences(&sent["provider"]);
        let lets = |own: &ProviderPreferences, slug: &String| {
            own.only.as_ref().is_none_or(|only| only.contains(slug))
                && !own.ignore.as_ref().is_some_and(|ignore| ignore.contains(slug))
        };
        for slug in ["a", "b", "c", "d"].map(str::to_owned) {
            prop_assert_eq!(lets(&sent, &slug), lets(&ours, &slug) && lets(&theirs, &slug));
        }
        let says = |value: Option<bool>, strict| value == Some(strict);
        prop_assert_eq!(says(sent.zdr, true), says(ours.zdr, true) || says(theirs.zdr, true));
        let alone = [ours.allow_fallbacks, theirs.allow_fallbacks].contains(&Some(false));
        prop_assert_eq!(says(sent.allow_fallbacks, false), alone);
    }
}
