//! What is known is bounded, and forgotten when it is of no use.

use fairkey_core::{Ask, FaultKind, Outcome, Retry, Ticket};
use fairkey_strategy::{BreakerConfig, Health, ModelBreakerConfig};

use super::{FAILED, config, only, rig, slow_down, with};
use crate::support::secs;

#[test]
fn a_flood_of_names_displaces_what_is_well_before_what_is_closed() {
    let rig = with(ModelBreakerConfig {
        entries: 8,
        ..config()
    });
    for n in 0..4 {
        rig.fault(&format!("closed/{n}"), None, slow_down(300));
    }
    for n in 0..1_000 {
        rig.fault(&format!("flood/{n}"), None, FAILED);
    }
    for n in 0..4 {
        assert!(!rig.admits(&format!("closed/{n}"), &[]), "{n}");
    }
    // When all are closed, the one that mattered to nobody for longest.
    rig.advance(secs(1));
    assert!(!rig.admits("closed/0", &[]));
    for n in 4..11 {
        rig.fault(&format!("closed/{n}"), None, slow_down(300));
        rig.advance(secs(1));
    }
    let now = rig.pool.now();
    assert_eq!(rig.gate.list(now).len(), 8);
    assert!(!rig.admits("closed/10", &[]));
}

#[test]
fn who_comes_into_the_place_of_another_starts_well_and_hears_no_old_tickets() {
    let rig = with(ModelBreakerConfig {
        entries: 2,
        ..config()
    });
    rig.fault("a", None, slow_down(5));
    rig.advance(secs(5));
    let probe = rig.ask("a", &[]).unwrap();
    for n in 0..20 {
        rig.fault(&format!("b/{n}"), None, slow_down(5));
        rig.advance(secs(1));
    }
    rig.advance(secs(10));
    let other = rig.ask("b/19", &[]).unwrap();
    probe.finish(Outcome::Success);
    assert_eq!(rig.health("b/19", None), Health::Probing);
    drop(other);
    assert_eq!(rig.health("a", None), Health::Well, "it is forgotten");
}

#[test]
fn a_model_and_its_provider_fit_where_only_two_do() {
    let rig = with(ModelBreakerConfig {
        entries: 2,
        failing_providers: 1,
        ..config()
    });
    for n in 0..50 {
        let (model, provider) = (format!("m/{n}"), format!("p/{n}"));
        rig.fault(&model, Some(&provider), slow_down(5));
        assert!(!rig.admits(&model, &[]), "{n}: escalated at once");
        assert_eq!(rig.health(&model, Some(&provider)), Health::Out, "{n}");
    }
}

#[test]
fn names_without_end_are_not_remembered() {
    let rig = rig();
    let long = "m".repeat(257);
    rig.fault(&long, None, slow_down(5));
    rig.fault("m", Some(&long), slow_down(5));
    assert!(rig.admits(&long, &[]) && rig.admits("m", &only(&[&long])));
    rig.fault(&long[..256], None, slow_down(5));
    assert!(!rig.admits(&long[..256], &[]));
}

/// The ticket of a call that would begin now.
fn ticket(rig: &crate::support::Rig<fairkey_strategy::ModelBreaker>, model: &str) -> Ticket {
    let now = rig.pool.now();
    let ask = Ask::new().with_model(model);
    rig.key(0, |key| {
        let at = fairkey_core::At {
            key,
            ask: &ask,
            now,
        };
        fairkey_core::Gate::enter(&*rig.gate, &at).unwrap()
    })
}

#[test]
fn what_has_been_well_for_a_window_is_forgotten_and_costs_nothing() {
    let rig = rig();
    assert_eq!(ticket(&rig, "m"), Ticket::default());
    for n in 0..5 {
        rig.fault(&format!("m/{n}"), None, FAILED);
    }
    assert_ne!(ticket(&rig, "m/0"), Ticket::default());
    rig.advance(secs(61));
    for _ in 0..5 {
        // Whoever calls sweeps.
        ticket(&rig, "other");
    }
    assert_eq!(ticket(&rig, "m/0"), Ticket::default());
    // What is closed is not forgotten.
    let kind = FaultKind::Exhausted;
    rig.fault("m/0", None, (kind, Retry::After(secs(3_600))));
    rig.advance(secs(600));
    for _ in 0..5 {
        ticket(&rig, "other");
    }
    assert!(!rig.admits("m/0", &[]));
}

#[test]
fn a_run_of_failures_of_long_ago_is_no_run() {
    let rig = with(ModelBreakerConfig {
        rules: BreakerConfig {
            ratio: None,
            ..config().rules
        },
        ..config()
    });
    rig.fails("m", None);
    rig.advance(secs(61));
    ticket(&rig, "other");
    rig.fails("m", None);
    assert!(rig.admits("m", &[]));
}
