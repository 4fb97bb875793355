//! From the providers of a model to the model.

use fairkey_core::{FaultKind, Outcome, Retry, Scope};
use fairkey_strategy::{Health, ModelBreakerConfig};

use super::{config, only, rig, slow_down, with};
use crate::support::{at, secs};

#[test]
fn providers_that_fail_one_after_the_other_close_the_model() {
    let rig = rig();
    rig.fails("m", Some("p"));
    rig.fails("m", Some("q"));
    rig.fails("m", Some("q"));
    assert!(rig.admits("m", &[]), "two of them");
    rig.fails("m", Some("r"));
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(refused.by, Some(Scope::Model));
    // The providers of another model are others.
    rig.fails("n", Some("p"));
    rig.fails("n", Some("q"));
    assert!(rig.admits("n", &[]));
}

#[test]
fn a_success_of_the_model_in_between_begins_anew() {
    let rig = rig();
    rig.fails("m", Some("p"));
    rig.fails("m", Some("q"));
    rig.succeeds("m", &[]);
    rig.fails("m", Some("r"));
    rig.fails("m", Some("p"));
    assert!(rig.admits("m", &[]));
    let now = rig.pool.now();
    rig.gate.success("m", "s", now, now);
    rig.fails("m", Some("q"));
    assert!(rig.admits("m", &[]), "it was told of another provider's");
    rig.fails("m", Some("r"));
    assert!(rig.admits("m", &[]), "q and r");
    rig.fails("m", Some("p"));
    assert!(!rig.admits("m", &[]), "q, r and p");
}

#[test]
fn the_model_comes_back_with_the_first_of_its_providers() {
    let rig = rig();
    for (provider, seconds) in [("p", 40), ("q", 20), ("r", 60)] {
        rig.fault("m", Some(provider), slow_down(seconds));
    }
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(
        (refused.by, refused.retry_at),
        (Some(Scope::Model), Some(at(20)))
    );
    assert!(!rig.admits("m", &only(&["s"])), "the model is out");
    rig.advance(secs(20));
    rig.ask("m", &[]).unwrap().finish(Outcome::Success);
    assert_eq!(rig.health("m", None), Health::Well);
}

#[test]
fn how_many_providers_make_a_model_is_a_setting() {
    for (most, closes) in [(2, true), (3, false), (0, false)] {
        let rig = with(ModelBreakerConfig {
            failing_providers: most,
            ..config()
        });
        rig.fails("m", Some("p"));
        rig.fails("m", Some("q"));
        assert_eq!(!rig.admits("m", &[]), closes, "{most}");
    }
}

#[test]
fn calls_from_before_anything_was_known_close_no_model() {
    // Of a hundred calls under way three fail, each by another provider: the others may well
    // succeed, and nobody hears of it, since nothing was known when they began.
    let rig = rig();
    let calls: Vec<_> = (0..100).map(|_| rig.ask("m", &[]).unwrap()).collect();
    rig.advance(secs(1));
    for (call, provider) in calls.iter().zip(["p", "q", "r", "s"]) {
        let now = rig.pool.now();
        let (kind, retry) = (FaultKind::Failed, Retry::Unknown);
        rig.gate
            .fault("m", Some(provider), kind, retry, call.begun(), now);
    }
    assert!(rig.admits("m", &[]));
    // Those that began since count.
    for provider in ["p", "q", "r"] {
        rig.fails("m", Some(provider));
    }
    assert!(!rig.admits("m", &[]));
}

#[test]
fn a_model_that_escalates_again_stays_out_for_longer() {
    let rig = rig();
    for provider in ["p", "q", "r"] {
        rig.fails("m", Some(provider));
    }
    let first = rig.ask("m", &[]).unwrap_err().retry_at.unwrap();
    assert_eq!(first, at(10));
    rig.advance(secs(10));
    // The probe meets a fourth.
    rig.fails("m", Some("s"));
    let second = rig.ask("m", &[]).unwrap_err().retry_at.unwrap();
    assert_eq!(second, at(30));
}

#[test]
fn a_closed_provider_that_is_met_again_closes_the_model() {
    let rig = rig();
    let early = rig.ask("m", &[]).unwrap();
    rig.advance(secs(1));
    rig.fault("m", Some("p"), slow_down(20));
    // It began before the provider was closed, and says nothing of ways around it.
    let begun = early.begun();
    let (kind, retry) = slow_down(20);
    rig.advance(secs(1));
    rig.gate.fault("m", Some("p"), kind, retry, begun, at(2));
    early.finish(Outcome::Neutral);
    assert!(rig.admits("m", &[]));
    rig.advance(secs(1));
    rig.fails("m", Some("p"));
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(
        (refused.by, refused.retry_at),
        (Some(Scope::Model), Some(at(22)))
    );
    rig.advance_to(at(22));
    rig.ask("m", &[]).unwrap().finish(Outcome::Success);
    assert_eq!(rig.health("m", None), Health::Well);
}

#[test]
fn a_success_in_between_shows_a_way_around_a_closed_provider() {
    let rig = rig();
    rig.fault("m", Some("p"), slow_down(20));
    rig.advance(secs(1));
    rig.succeeds("m", &[]);
    rig.fails("m", Some("p"));
    assert!(rig.admits("m", &[]), "another provider served a call");
    rig.fails("m", Some("p"));
    assert!(!rig.admits("m", &[]));
}
