//! Typed fields beat the status, the status beats the words, whatever else the answer says.

use fairkey_core::Scope;
use fairkey_openrouter::{Cause, ErrorType, Evidence, Fault, LimitSource};
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Every phrase that decides something where nothing better does, and some that decide nothing.
const PHRASES: [&str; 20] = [
    "",
    "Something happened",
    "Key limit exceeded (daily limit)",
    "can only afford 12",
    "Insufficient credits",
    "Rate limit exceeded: free-models-per-day",
    "Rate limit exceeded: limit_rpm/a/b/c",
    "too many requests upstream",
    "The model is overloaded",
    "timed out",
    "maximum context length is 9 tokens",
    "content policy",
    "Workspace monthly budget of $5 exceeded",
    "Guardrail budget exceeded",
    "Only management keys can perform this operation",
    "Management keys cannot be used",
    "not available in your region",
    "the key has expired",
    "No endpoints found matching your data policy",
    "is not a valid model ID",
];

fn phrase() -> impl Strategy<Value = &'static str> {
    prop::sample::select(PHRASES.to_vec())
}

fn read(status: u16, error: &Value) -> Fault {
    let body = json!({ "error": error }).to_string();
    let status = StatusCode::from_u16(status).unwrap();
    Fault::from_response(status, &HeaderMap::new(), body.as_bytes())
}

/// Whose limit it is, by its source alone.
fn owners(source: &LimitSource) -> &'static [Scope] {
    match source {
        LimitSource::KeyLimit => &[Scope::Key],
        // What is too large for the account is the request's.
        LimitSource::Credits => &[Scope::Account, Scope::Request],
        LimitSource::GuardrailBudget | LimitSource::WorkspaceBudget => &[Scope::Budget],
        LimitSource::SharedCapacity => &[Scope::Model],
        LimitSource::ProviderPool => &[Scope::Provider],
        _ => &[Scope::Account],
    }
}

proptest! {
    #[test]
    fn the_source_of_a_limit_beats_type_status_and_words(
        source in prop::sample::select(LimitSource::KNOWN.to_vec()),
        kind in prop::option::of(prop::sample::select(ErrorType::KNOWN.to_vec())),
        provider in prop::option::of(Just("Acme")),
        status in 400u16..600,
        message in phrase(),
    ) {
        let kind = kind.as_ref().map(ErrorType::as_str);
        let fault = read(status, &json!({"code": status, "message": message, "metadata": {
            "limit_source": source.as_str(), "error_type": kind, "provider_name": provider,
        }}));
        prop_assert!(owners(&source).contains(&fault.scope()), "{fault:?}");
        prop_assert_eq!(fault.limit_source(), Some(&source));
    }

    #[test]
    fn the_type_beats_the_status(
        kind in prop::sample::select(ErrorType::KNOWN.to_vec()),
        one in 400u16..600,
        other in 400u16..600,
    ) {
        let error = json!({"message": "Something", "metadata": {"error_type": kind.as_str()}});
        let (one, other) = (read(one, &error), read(other, &error));
        prop_assert_eq!(one.cause(), other.cause());
        prop_assert_eq!(one.scope(), other.scope());
    }

    #[test]
    fn a_status_that_says_enough_beats_the_words(
        status in prop::sample::select(vec![
            (408u16, Cause::RequestTimeout), (409, Cause::Conflict), (410, Cause::Gone),
            (412, Cause::Conflict), (413, Cause::TooLarge), (500, Cause::ServerError),
            (502, Cause::ProviderError), (504, Cause::ProviderTimeout),
            (524, Cause::ProviderTimeout), (529, Cause::Overloaded),
        ]),
        message in phrase(),
    ) {
        let fault = read(status.0, &json!({"code": status.0, "message": message}));
        prop_assert_eq!(fault.cause(), status.1);
        prop_assert_eq!(fault.evidence(), Evidence::Status);
    }

    #[test]
    fn words_move_a_fault_only_within_what_its_status_can_mean(
        message in phrase(), provider in prop::option::of(Just("Acme")),
    ) {
        for (status, scopes) in [
            (400, &[Scope::Request][..]),
            (401, &[Scope::Key, Scope::Provider]),
            (402, &[Scope::Account, Scope::Key, Scope::Request, Scope::Provider]),
            (404, &[Scope::Request]),
            (422, &[Scope::Request]),
            (429, &[Scope::Account, Scope::Model, Scope::Provider]),
            (503, &[Scope::Model, Scope::Provider]),
        ] {
            let error = json!({"code": status, "message": message,
                "metadata": {"provider_name": provider}});
            let fault = read(status, &error);
            prop_assert!(scopes.contains(&fault.scope()), "{status} {message}: {fault:?}");
        }
    }

    #[test]
    fn a_named_provider_never_costs_a_key_or_an_account_anything(
        status in 400u16..600, message in phrase(),
    ) {
        let fault = read(status, &json!({"code": status, "message": "Provider returned error",
            "metadata": {"provider_name": "Acme", "raw": message}}));
        prop_assert!(
            !matches!(fault.scope(), Scope::Key | Scope::Account | Scope::Budget),
            "{fault:?}"
        );
    }

    #[test]
    fn words_alone_are_evidence_of_the_weakest_kind(message in phrase()) {
        let inside = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        let fault = Fault::in_body(inside.as_bytes()).unwrap();
        let decided = fault.cause() != Cause::ErrorIn200;
        prop_assert_eq!(fault.evidence() == Evidence::Phrase, decided, "{:?}", fault);
    }

    #[test]
    fn new_words_are_listed_and_change_nothing(
        word in "later_[a-z]{1,8}", status in 400u16..600, message in phrase(),
    ) {
        let plain = read(status, &json!({"message": message, "metadata": {}}));
        let fault = read(status, &json!({"message": message, "code": word, "metadata": {
            "limit_source": word, "error_type": word, "reason": word, "scope": word,
        }}));
        prop_assert_eq!(fault.cause(), plain.cause());
        prop_assert_eq!(fault.retry(), plain.retry());
        for field in ["limit_source", "error_type", "reason", "scope", "code"] {
            prop_assert!(
                fault.unknown_words().iter().any(|u| u.field == field && u.word == word),
                "{field}"
            );
        }
    }
}
