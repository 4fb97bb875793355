//! Models and providers that are out, for all keys.

mod escalation;
mod laws;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, FaultKind, Lease, Outcome, Retry, Scope, Unavailable};
use fairkey_strategy::{
    BreakerConfig, Health, ModelBreaker, ModelBreakerConfig, ModelBreakerConfigError,
};

use crate::support::{Rig, at, keys, secs};

/// Trips at the second failure in a row, for 10 s, and closes at once after a probe.
fn config() -> ModelBreakerConfig {
    ModelBreakerConfig {
        rules: BreakerConfig {
            consecutive: Some(2),
            open_for: secs(10),
            jitter: 0.0,
            ramp: 0,
            ..BreakerConfig::default()
        },
        ..ModelBreakerConfig::default()
    }
}

fn rig() -> Rig<ModelBreaker> {
    with(config())
}

fn with(config: ModelBreakerConfig) -> Rig<ModelBreaker> {
    Rig::with(ModelBreaker::new(config).seed(1), keys(2), |builder| {
        builder
    })
}

const FAILED: (FaultKind, Retry) = (FaultKind::Failed, Retry::Unknown);

fn slow_down(seconds: u64) -> (FaultKind, Retry) {
    (FaultKind::Throttled, Retry::After(secs(seconds)))
}

impl Rig<ModelBreaker> {
    fn ask(&self, model: &str, providers: &[String]) -> Result<Lease, Unavailable> {
        let ask = Ask::new().with_model(model).with_providers(providers);
        self.pool.select(&ask)
    }

    fn admits(&self, model: &str, providers: &[String]) -> bool {
        self.ask(model, providers).is_ok()
    }

    /// Hears of a fault of a call that began now.
    fn fault(&self, model: &str, provider: Option<&str>, (kind, retry): (FaultKind, Retry)) {
        let now = self.pool.now();
        self.gate.fault(model, provider, kind, retry, now, now);
    }

    /// Makes a call that fails, as a client does: it tells of the fault, then ends the lease.
    #[track_caller]
    fn fails(&self, model: &str, provider: Option<&str>) {
        let lease = self.ask(model, &[]).unwrap();
        let (kind, retry) = FAILED;
        let (begun, now) = (lease.begun(), self.pool.now());
        self.gate.fault(model, provider, kind, retry, begun, now);
        lease.finish(Outcome::fault(Scope::Model, FaultKind::Failed));
    }

    #[track_caller]
    fn succeeds(&self, model: &str, providers: &[String]) {
        self.ask(model, providers).unwrap().finish(Outcome::Success);
    }

    fn health(&self, model: &str, provider: Option<&str>) -> Health {
        self.gate.status(model, provider, self.pool.now()).health
    }
}

fn only(providers: &[&str]) -> Vec<String> {
    providers.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_hint_closes_the_model_for_every_key_and_no_other_model() {
    let rig = rig();
    rig.fault("m/out", None, slow_down(20));
    let refused = rig.ask("m/out", &[]).unwrap_err();
    assert_eq!(
        (refused.by, refused.retry_at),
        (Some(Scope::Model), Some(at(20)))
    );
    assert!(rig.admits("m/well", &[]));
    assert!(rig.pool.select(&Ask::new()).is_ok(), "no model is named");
    let explanation = rig.pool.explain(&Ask::new().with_model("m/out"));
    let denial = explanation.keys[1].denied[0];
    assert_eq!(denial.denied.by, Scope::Model);
    assert_eq!(denial.detail.since, Some(at(0)));
    assert!(rig.pool.explain(&Ask::new()).keys[1].is_admitted());
}

#[test]
fn hints_are_capped_by_kind_and_a_stamp_in_the_past_closes_nothing() {
    for (kind, retry, expected) in [
        (FaultKind::Throttled, Retry::After(secs(9_999)), Some(300)),
        (FaultKind::Throttled, Retry::Never, Some(300)),
        (FaultKind::Throttled, Retry::At(at(0)), None),
        (FaultKind::Throttled, Retry::Unknown, None),
        (
            FaultKind::Exhausted,
            Retry::After(Duration::MAX),
            Some(86_400),
        ),
        (FaultKind::Exhausted, Retry::Never, Some(86_400)),
        (FaultKind::Exhausted, Retry::Unknown, Some(10)),
        (FaultKind::Exhausted, Retry::At(at(0)), None),
        (FaultKind::Refused, Retry::Never, Some(10)),
        (FaultKind::Failed, Retry::After(secs(9_999)), Some(60)),
        (FaultKind::Failed, Retry::Never, None),
    ] {
        let rig = rig();
        rig.fault("m", None, (kind, retry));
        let refused = rig.ask("m", &[]).err().and_then(|refused| refused.retry_at);
        assert_eq!(refused, expected.map(at), "{kind:?} with {retry:?}");
    }
}

#[test]
fn failures_trip_by_the_rules_and_successes_of_its_calls_count() {
    let rig = rig();
    rig.fails("m", None);
    rig.succeeds("m", &[]);
    rig.fails("m", None);
    assert!(rig.admits("m", &[]), "the run was broken");
    rig.fails("m", None);
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(10)));
    // By the ratio: half of ten.
    let rig = with(ModelBreakerConfig {
        rules: BreakerConfig {
            consecutive: None,
            ..config().rules
        },
        ..config()
    });
    rig.fails("m", None);
    for _ in 0..5 {
        rig.succeeds("m", &[]);
    }
    for n in 0..4 {
        assert!(rig.admits("m", &[]), "{n} more");
        rig.fails("m", None);
    }
    assert!(!rig.admits("m", &[]), "5 of 10");
}

#[test]
fn one_call_with_any_key_is_the_probe() {
    let rig = with(ModelBreakerConfig {
        rules: BreakerConfig {
            ramp: 4,
            ..config().rules
        },
        ..config()
    });
    rig.fault("m", None, slow_down(5));
    rig.advance(secs(5));
    let probe = rig.ask("m", &[]).unwrap();
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(refused.by, Some(Scope::Model));
    assert_eq!(
        refused.retry_at,
        Some(at(65)),
        "however long the probe takes"
    );
    // Given up: the next one. Failed: out again, for longer.
    drop(probe);
    let probe = rig.ask("m", &[]).unwrap();
    let (kind, retry) = FAILED;
    rig.gate
        .fault("m", Some("p"), kind, retry, probe.begun(), rig.pool.now());
    drop(probe);
    let refused = rig.ask("m", &[]).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(25)), "the second time in a row");
    // Its first content: the ramp.
    rig.advance_to(at(25));
    let mut probe = rig.ask("m", &[]).unwrap();
    probe.note_first_content();
    let ramp: Vec<_> = (0..9).filter_map(|_| rig.ask("m", &[]).ok()).collect();
    assert_eq!(ramp.len(), 2);
    ramp.into_iter()
        .for_each(|lease| lease.finish(Outcome::Success));
    for _ in 0..4 {
        rig.succeeds("m", &[]);
    }
    assert_eq!(rig.health("m", None), Health::Well);
    // The probe ends long after: it belongs to another generation.
    probe.finish(Outcome::Success);
}

#[test]
fn what_began_before_the_closing_neither_opens_nor_closes() {
    let rig = rig();
    rig.fault("m", None, FAILED);
    let straggler = rig.ask("m", &[]).unwrap();
    let failing = rig.ask("m", &[]).unwrap();
    rig.advance(secs(1));
    rig.fault("m", None, slow_down(5));
    rig.advance(secs(5));
    let probe = rig.ask("m", &[]).unwrap();
    straggler.finish(Outcome::Success);
    let (kind, retry) = FAILED;
    let now = rig.pool.now();
    rig.gate.fault("m", None, kind, retry, failing.begun(), now);
    drop(failing);
    assert_eq!(rig.health("m", None), Health::Probing);
    probe.finish(Outcome::Success);
    assert_eq!(rig.health("m", None), Health::Well);
}

#[test]
fn a_provider_that_is_out_bars_only_asks_that_are_pinned_to_it() {
    let rig = rig();
    rig.fault("m", Some("full"), slow_down(20));
    assert!(rig.admits("m", &[]), "the upstream routes around it");
    assert!(rig.admits("other", &only(&["full"])), "at another model");
    assert!(rig.admits("m", &only(&["full", "well"])));
    assert!(rig.admits("m", &only(&["well"])));
    let refused = rig.ask("m", &only(&["full"])).unwrap_err();
    assert_eq!(
        (refused.by, refused.retry_at),
        (Some(Scope::Provider), Some(at(20)))
    );
    let now = rig.pool.now();
    assert_eq!(rig.gate.closed_providers("m", now), ["full"]);
    assert_eq!(rig.gate.closed_providers("other", now), [""; 0]);
    // Pinned to several: all of them, and the first that comes back.
    rig.fault("m", Some("worse"), slow_down(30));
    for pinned in [["full", "worse"], ["worse", "full"]] {
        let refused = rig.ask("m", &only(&pinned)).unwrap_err();
        assert_eq!(refused.retry_at, Some(at(20)), "{pinned:?}");
    }
    rig.advance(secs(20));
    assert!(rig.admits("m", &only(&["full", "worse"])));
    assert!(!rig.admits("m", &only(&["worse"])));
}

#[test]
fn a_provider_comes_back_by_a_call_pinned_to_it_or_by_word_of_one_it_served() {
    let rig = rig();
    rig.fault("m", Some("p"), slow_down(5));
    rig.advance(secs(5));
    let pinned = only(&["p"]);
    let probe = rig.ask("m", &pinned).unwrap();
    assert!(!rig.admits("m", &pinned), "one probe");
    assert!(rig.admits("m", &[]), "who is not pinned does not care");
    probe.finish(Outcome::Success);
    assert_eq!(rig.health("m", Some("p")), Health::Well);
    // A call that the upstream routed there.
    rig.fault("m", Some("p"), slow_down(500));
    rig.advance(secs(1));
    let now = rig.pool.now();
    rig.gate.success("m", "p", at(0), now);
    assert_eq!(rig.health("m", Some("p")), Health::Out, "from before");
    rig.gate.success("m", "p", now, now);
    assert_eq!(rig.health("m", Some("p")), Health::Well);
}

#[test]
fn a_probe_of_several_providers_tries_the_one_that_is_due() {
    let rig = rig();
    rig.fault("m", Some("p"), slow_down(5));
    rig.fault("m", Some("q"), slow_down(50));
    rig.advance(secs(5));
    let both = only(&["q", "p"]);
    let probe = rig.ask("m", &both).unwrap();
    assert!(!rig.admits("m", &both));
    probe.finish(Outcome::Success);
    assert_eq!(rig.health("m", Some("p")), Health::Well);
    assert_eq!(rig.health("m", Some("q")), Health::Out);
}

#[test]
fn operators_and_snapshots_may_close_confirm_and_clear() {
    let rig = rig();
    rig.advance(secs(5));
    let now = rig.pool.now();
    rig.gate
        .close_until("m", None, at(50), FaultKind::Failed, now);
    rig.gate
        .close_until("m", Some("p"), at(70), FaultKind::Throttled, now);
    let listed = rig.gate.list(now);
    assert_eq!(listed.len(), 2);
    let of_provider = listed.iter().find(|of| of.provider.is_some()).unwrap();
    assert_eq!(
        (of_provider.model.as_str(), of_provider.provider.as_deref()),
        ("m", Some("p"))
    );
    assert_eq!(of_provider.status.until, Some(at(70)));
    assert_eq!(of_provider.status.cause, Some(FaultKind::Throttled));
    rig.advance(secs(1));
    assert!(!rig.gate.confirm("m", None, at(4)), "asked before");
    assert!(rig.gate.confirm("m", None, rig.pool.now()));
    assert_eq!(rig.health("m", None), Health::HalfOpen);
    rig.gate.clear("m", None);
    assert_eq!(rig.health("m", None), Health::Well);
    assert!(rig.gate.confirm("unknown", None, now));
    rig.gate.clear("m", Some("p"));
    assert_eq!(rig.gate.list(now), []);
    assert!(fairkey_core::Gate::closed(&*rig.gate).unwrap().is_empty());
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let check = |change: fn(&mut ModelBreakerConfig)| {
        let mut config = ModelBreakerConfig::default();
        change(&mut config);
        config.check().map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|config| config.entries = 2_047), Ok(()));
    let entries = ModelBreakerConfigError::Entries.to_string();
    assert_eq!(entries, "model breaker entries is not between 2 and 2047");
    assert_eq!(check(|config| config.entries = 2_048), Err(entries.clone()));
    assert_eq!(check(|config| config.entries = 1), Err(entries));
    let rules = check(|config| config.rules.min_calls = 0).unwrap_err();
    assert!(
        rules.starts_with("of a model's rules, breaker min_calls is 0"),
        "{rules}"
    );
}

#[test]
fn the_same_object_stands_in_a_pool_and_is_told_from_outside() {
    let _: Arc<dyn fairkey_core::Gate> = Arc::new(ModelBreaker::new(config()));
}
