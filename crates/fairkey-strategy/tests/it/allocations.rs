//! No strategy and no gate allocates on the path of a call.

use fairkey_core::{Ask, Gate, Outcome, Pool, Strategy};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, Group, HotColdLexicographic, MaxInFlight,
    ModelBreaker, ModelBreakerConfig, PeakEwma, PowerOfTwo, RoundRobin, SlidingWindowBreaker,
    SmoothWeighted, Sticky, Switch, WeightedLeastInFlight,
};

use crate::support::{failed, keys};

fn strategies() -> [(&'static str, Box<dyn Strategy>); 7] {
    [
        ("round robin", Box::new(RoundRobin::new())),
        ("smooth weighted", Box::new(SmoothWeighted::new())),
        ("least in flight", Box::new(WeightedLeastInFlight::new())),
        ("power of two", Box::new(PowerOfTwo::new())),
        ("sticky", Box::new(Sticky::new(RoundRobin::new()))),
        ("peak ewma", Box::new(PeakEwma::new())),
        ("hot cold", Box::new(HotColdLexicographic::new())),
    ]
}

fn gated(strategy: Box<dyn Strategy>) -> Box<dyn Strategy> {
    let gated = SlidingWindowBreaker::new(BreakerConfig::default())
        .guarding(strategy)
        .gate(Cooldown::per_key(CooldownConfig::default()))
        .gate(Cooldown::per_account(CooldownConfig::default()))
        .gate(Cooldown::per(Group::Service, CooldownConfig::default()))
        .gate(Cooldown::of_free_models(CooldownConfig::default()))
        .gate(ModelBreaker::new(ModelBreakerConfig::default()))
        .gate(Switch::new())
        .gate(MaxInFlight::per_key(2));
    Box::new(gated)
}

fn pool(n: u32, strategy: Box<dyn Strategy>) -> Pool {
    Pool::builder()
        .keys(keys(n))
        .strategy(strategy)
        .build()
        .unwrap()
}

#[test]
fn a_call_allocates_nothing_with_any_strategy_bare_or_gated() {
    for n in [3, 300, 10_000] {
        for (name, bare) in strategies() {
            let is_scan = name == "smooth weighted" || name == "sticky";
            if n > 300 && is_scan {
                continue;
            }
            check(name, &pool(n, bare));
        }
        for (name, strategy) in strategies() {
            check(name, &pool(n, gated(strategy)));
        }
    }
}

/// Calls that succeed, that fail until keys are closed, and that are refused.
fn check(name: &str, pool: &Pool) {
    drop(pool.select(&Ask::new()).unwrap());
    let info = allocation_counter::measure(|| {
        for n in 0..60 {
            let ask = Ask::new().with_affinity(n % 7);
            if let Ok(lease) = pool.select(&ask) {
                lease.finish(if n % 3 == 0 {
                    failed()
                } else {
                    Outcome::Success
                });
            }
            drop(pool.select(&Ask::new()));
        }
    });
    assert_eq!(info.count_total, 0, "{name}, {} keys", pool.len());
}

#[test]
fn a_call_allocates_nothing_while_a_model_and_a_provider_are_on_trial() {
    let gate = std::sync::Arc::new(ModelBreaker::new(ModelBreakerConfig::default()));
    let pool = Pool::builder()
        .keys(keys(3))
        .shared_gate(std::sync::Arc::clone(&gate) as _)
        .build()
        .unwrap();
    let providers = ["p".to_owned()];
    let ask = Ask::new().with_model("m").with_providers(&providers);
    drop(pool.select(&ask).unwrap());
    let now = pool.now();
    for provider in [None, Some("p")] {
        gate.close_until(
            "m",
            provider,
            now + crate::support::secs(60),
            fairkey_core::FaultKind::Failed,
            now,
        );
        gate.confirm("m", provider, pool.now());
    }
    let info = allocation_counter::measure(|| {
        for _ in 0..60 {
            let mut lease = pool.select(&ask).unwrap();
            lease.note_first_content();
            lease.finish(Outcome::Success);
        }
    });
    assert_eq!(info.count_total, 0);
}
