//! The laws of fairkey-testkit on everything here, bare and behind one another.

use std::sync::Arc;

use fairkey_core::{Gate, Scope, Scopes, Strategy};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, Group, HotColdLexicographic, MaxInFlight, PeakEwma,
    PowerOfTwo, RoundRobin, SlidingWindowBreaker, SmoothWeighted, Sticky, WeightedLeastInFlight,
};
use fairkey_testkit::law::{gate, strategy as law};
use fairkey_testkit::{Twice, assert_broken, assert_holds};

type MakeStrategy = fn() -> Box<dyn Strategy>;

const STRATEGIES: [(&str, MakeStrategy); 9] = [
    ("round robin", || Box::new(RoundRobin::new())),
    ("smooth weighted", || Box::new(SmoothWeighted::new())),
    ("least in flight", || Box::new(WeightedLeastInFlight::new())),
    ("power of two", || Box::new(PowerOfTwo::new())),
    ("sticky round robin", || {
        Box::new(Sticky::new(RoundRobin::new()))
    }),
    ("sticky least", || {
        Box::new(Sticky::new(WeightedLeastInFlight::new()))
    }),
    ("sticky sticky", || {
        Box::new(Sticky::new(Sticky::new(SmoothWeighted::new())))
    }),
    ("peak ewma", || Box::new(PeakEwma::new())),
    ("hot cold", || Box::new(HotColdLexicographic::new())),
];

fn breaker(config: BreakerConfig) -> SlidingWindowBreaker {
    SlidingWindowBreaker::new(config).seed(3)
}

/// All three gates before a strategy; they close nothing while calls succeed.
fn gated(strategy: Box<dyn Strategy>) -> Box<dyn Strategy> {
    let guarded = breaker(BreakerConfig::default())
        .guarding(strategy)
        .gate(Cooldown::per_account(CooldownConfig::default()).seed(3))
        .gate(MaxInFlight::per_key(1_000));
    Box::new(
        Cooldown::per_key(CooldownConfig::default())
            .seed(3)
            .guarding(guarded),
    )
}

#[test]
fn every_strategy_obeys_the_laws_of_all() {
    for (name, make) in STRATEGIES {
        println!("{name}");
        assert_holds(law::check(make));
    }
}

#[test]
fn every_strategy_obeys_the_laws_of_all_behind_every_gate() {
    for (name, make) in STRATEGIES {
        println!("{name}");
        assert_holds(law::check(|| gated(make())));
        assert_holds(law::check_decliner(|| {
            Box::new(MaxInFlight::per_account(1).guarding(Twice(make())))
        }));
    }
}

#[test]
fn what_rotates_shares_evenly() {
    for make in [STRATEGIES[0].1, STRATEGIES[1].1, STRATEGIES[4].1] {
        assert_holds(law::even_share(make));
        assert_holds(law::even_share(|| gated(make())));
        assert_holds(law::one_key_down_leaves_the_others_even(make, 0.0));
    }
}

#[test]
fn what_draws_lots_shares_evenly_on_the_whole() {
    for make in [2, 3, 5, 7, 8].map(|at: usize| STRATEGIES[at].1) {
        assert_holds(law::one_key_down_leaves_the_others_even(make, 0.2));
        assert_holds(law::one_key_down_leaves_the_others_even(
            || gated(make()),
            0.2,
        ));
        assert_broken(law::even_share(make), "even_share");
    }
}

#[test]
fn an_idle_pool_is_shared_by_all() {
    for (name, make) in STRATEGIES {
        println!("{name}");
        assert_holds(law::ties_are_broken_evenly(make));
        assert_holds(law::ties_are_broken_evenly(|| gated(make())));
    }
}

#[test]
fn what_heeds_weights_shares_by_weight() {
    assert_holds(law::share_follows_weight(STRATEGIES[1].1, 0.01));
    assert_holds(law::share_follows_weight(STRATEGIES[2].1, 0.2));
    assert_holds(law::share_follows_weight(STRATEGIES[3].1, 0.3));
    assert_holds(law::share_follows_weight(STRATEGIES[7].1, 0.2));
    assert_broken(
        law::share_follows_weight(STRATEGIES[0].1, 0.3),
        "share_follows_weight",
    );
}

#[test]
fn sticky_sessions_keep_their_key() {
    let law = "sessions_keep_their_key";
    for (_, make) in &STRATEGIES[4..7] {
        assert_holds(law::sessions_keep_their_key(make));
        assert_holds(law::sessions_keep_their_key(|| gated(make())));
    }
    assert_broken(law::sessions_keep_their_key(STRATEGIES[0].1), law);
}

#[test]
fn sticky_and_guards_pass_everything_on() {
    assert_holds(law::wrapper_forwards(|inner| Box::new(Sticky::new(inner))));
    let guard = |inner| -> Box<dyn Strategy> {
        Box::new(breaker(BreakerConfig::default()).guarding(inner))
    };
    assert_holds(law::wrapper_loses_no_permit(guard));
    assert_holds(law::wrapper_loses_no_permit(gated));
}

#[test]
fn gates_inside_sticky_stand_before_asks_without_affinity_only() {
    // Documented: they belong before it.
    let law = "wrapper_loses_no_permit";
    assert_broken(
        law::wrapper_loses_no_permit(|inner| Box::new(Sticky::new(inner))),
        law,
    );
}

/// Settings of breakers: what comes out of the box, the classic, and the ends of every range.
fn breakers() -> Vec<BreakerConfig> {
    let seconds = std::time::Duration::from_secs;
    let default = BreakerConfig::default();
    let touchy = BreakerConfig {
        consecutive: Some(1),
        ..default.clone()
    };
    vec![
        default.clone(),
        BreakerConfig {
            count: Some(3),
            ratio: None,
            consecutive: None,
            open_for: seconds(60),
            jitter: 0.0,
            ramp: 0,
            ..default
        },
        BreakerConfig {
            ramp: 2,
            jitter: 1.0,
            window: seconds(1),
            ..touchy.clone()
        },
        BreakerConfig {
            ramp: 5,
            open_cap: seconds(5),
            ..touchy
        },
    ]
}

#[test]
fn every_breaker_obeys_the_laws_of_breakers() {
    for config in breakers() {
        println!("{config:?}");
        assert_holds(gate::check_breaker(|| Arc::new(breaker(config.clone()))));
    }
}

#[test]
fn a_breaker_per_account_obeys_them_too() {
    let config = &breakers()[2];
    let make =
        || -> Arc<dyn Gate> { Arc::new(SlidingWindowBreaker::per_account(config.clone()).seed(3)) };
    assert_holds(gate::check_breaker(make));
    assert_holds(gate::closes_its_account_and_no_other(make));
    assert_broken(
        gate::closes_its_key_and_no_other(make),
        "closes_its_key_and_no_other",
    );
    assert_holds(gate::only_own_scope_is_heard(
        make,
        Scopes::of(Scope::Account),
    ));
}

#[test]
fn a_breaker_hears_what_it_is_told_to() {
    let touchy = || breaker(breakers().remove(3));
    let law = "only_own_scope_is_heard";
    let key = Scopes::of(Scope::Key);
    assert_holds(gate::only_own_scope_is_heard(|| Arc::new(touchy()), key));
    assert_holds(gate::closes_its_key_and_no_other(|| Arc::new(touchy())));
    let provider = || Arc::new(touchy().hearing(Scopes::of(Scope::Provider))) as Arc<dyn Gate>;
    assert_holds(gate::only_own_scope_is_heard(
        provider,
        Scopes::of(Scope::Provider),
    ));
    assert_broken(gate::only_own_scope_is_heard(provider, key), law);
    let everything = || Arc::new(touchy().hearing(Scopes::ALL)) as Arc<dyn Gate>;
    assert_holds(gate::check_breaker(everything));
    assert_broken(gate::only_own_scope_is_heard(everything, key), law);
}

/// Settings of cooldowns: what comes out of the box, all at once as of old, and the ends of every
/// range.
fn cooldowns() -> [CooldownConfig; 4] {
    let seconds = std::time::Duration::from_secs;
    let default = CooldownConfig::default;
    [
        default(),
        CooldownConfig {
            ramp: 0,
            ..default()
        },
        CooldownConfig {
            ramp: 1,
            jitter: 1.0,
            refused: Some(seconds(900)),
            ..default()
        },
        CooldownConfig {
            ramp: 5,
            check_wait: seconds(3),
            probe_timeout: seconds(1),
            ..default()
        },
    ]
}

#[test]
fn every_cooldown_obeys_the_laws_of_gates() {
    for config in cooldowns() {
        println!("{config:?}");
        let make = || -> Arc<dyn Gate> { Arc::new(Cooldown::per_key(config.clone()).seed(3)) };
        assert_holds(gate::check(make));
        assert_holds(gate::never_shrinks_without_evidence(make));
        assert_holds(gate::closes_its_key_and_no_other(make));
        let scopes = Scopes::of(Scope::Key).and(Scope::Budget);
        assert_holds(gate::only_own_scope_is_heard(make, scopes));
        if config.ramp == 0 {
            assert_broken(gate::at_most_one_probe(make), "at_most_one_probe");
        } else {
            assert_holds(gate::at_most_one_probe(make));
        }
    }
}

#[test]
fn a_cooldown_of_accounts_obeys_them_too() {
    for config in cooldowns() {
        let make = || -> Arc<dyn Gate> { Arc::new(Cooldown::per_account(config.clone()).seed(3)) };
        assert_holds(gate::check(make));
        assert_holds(gate::closes_its_account_and_no_other(make));
        assert_holds(gate::only_own_scope_is_heard(
            make,
            Scopes::of(Scope::Account),
        ));
    }
}

#[test]
fn what_stands_for_all_keys_closes_all_of_them() {
    for group in [Group::Service, Group::Network] {
        let makes: [Box<dyn Fn() -> Arc<dyn Gate>>; 2] = [
            Box::new(move || {
                Arc::new(Cooldown::per(group, CooldownConfig::default()).seed(3)) as Arc<dyn Gate>
            }),
            Box::new(move || {
                Arc::new(SlidingWindowBreaker::per(group, breakers().remove(2)).seed(3))
            }),
        ];
        for make in &makes {
            assert_holds(gate::check_of_all(make));
            assert_holds(gate::closes_everything(make));
            assert_holds(gate::never_shrinks_without_evidence(make));
            assert_holds(gate::at_most_one_probe(make));
            let scopes = Scopes::of(group.scope());
            assert_holds(gate::only_own_scope_is_heard(make, scopes));
            // A key that joins a service that is out finds it out.
            let law = "a_new_key_inherits_nothing";
            assert_broken(gate::check(make), law);
        }
    }
    let per_key = || -> Arc<dyn Gate> { Arc::new(Cooldown::per_key(CooldownConfig::default())) };
    assert_broken(gate::closes_everything(per_key), "closes_everything");
}

#[test]
fn every_cap_obeys_the_laws_of_gates() {
    for cap in [1, 3] {
        let per_key = || Arc::new(MaxInFlight::per_key(cap)) as Arc<dyn Gate>;
        assert_holds(gate::check(per_key));
        assert_holds(gate::only_own_scope_is_heard(per_key, Scopes::NONE));
        assert_holds(gate::never_more_than(per_key, cap));
        let per_account = || Arc::new(MaxInFlight::per_account(cap)) as Arc<dyn Gate>;
        assert_holds(gate::check(per_account));
        assert_holds(gate::never_more_than_per_account(per_account, cap));
    }
}
