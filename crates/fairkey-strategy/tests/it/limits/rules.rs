//! Each documented rule, at its edge.

use std::time::Duration;

use fairkey_core::{
    Ask, Cost, Denied, FaultKind, Key, Lease, Outcome, Scope, Timestamp, Unavailable,
};
use fairkey_strategy::{
    Dimension, Limit, LimitError, LimitGroup, LimitSet, Limits, LimitsConfig, Usage,
};

use crate::support::{Rig, at, secs};

const MARGIN: Duration = Duration::from_millis(100);

/// Keys `a` and `b` of `acme`, and `c` alone.
fn rig(config: LimitsConfig) -> Rig<Limits> {
    let keys = vec![
        Key::new("a", "sk-a").account("acme"),
        Key::new("b", "sk-b").account("acme"),
        Key::new("c", "sk-c"),
    ];
    Rig::with(Limits::new(config), keys, |builder| builder)
}

fn acme(set: LimitSet) -> Rig<Limits> {
    rig(LimitsConfig::default().account("acme", set))
}

fn requests(limit: Limit) -> LimitSet {
    LimitSet {
        requests: Some(limit),
        ..LimitSet::NONE
    }
}

fn tokens(limit: Limit) -> LimitSet {
    LimitSet {
        tokens: Some(limit),
        ..LimitSet::NONE
    }
}

fn cost(tokens: u64, micro_usd: u64) -> Cost {
    Cost {
        requests: 1,
        tokens,
        micro_usd,
    }
}

/// Calls with the `n`th key, for so much.
fn call(rig: &Rig<Limits>, n: u64, cost: Cost) -> Result<Lease, Unavailable> {
    let mut ask = Ask::new().with_affinity(n);
    ask.cost = cost;
    rig.pool.select(&ask)
}

fn used(rig: &Rig<Limits>, group: LimitGroup<'_>, dimension: Dimension) -> Option<u64> {
    let now = rig.pool.now();
    let usage = rig.key(0, |key| rig.gate.usage(key, group, dimension, now));
    usage.map(|Usage { used, .. }| used)
}

#[test]
fn a_whole_limit_goes_at_once_and_the_next_call_a_window_later() {
    let rig = acme(requests(Limit::per_minute(20)));
    rig.advance(secs(7));
    rig.calls(20, Outcome::Success);
    let refused = rig.select(1).unwrap_err();
    let opens = at(67) + MARGIN;
    assert_eq!(refused.retry_at, Some(opens));
    assert_eq!(refused.by, Some(Scope::Account));
    rig.advance_to(opens - Duration::from_nanos(1));
    assert!(rig.select(1).is_err());
    rig.advance_to(opens);
    rig.calls(20, Outcome::Success);
    assert!(rig.select(0).is_err());
    assert!(rig.select(2).is_ok(), "another account has no limit");
}

#[test]
fn the_margin_can_be_set() {
    let config = LimitsConfig {
        margin: secs(2),
        ..LimitsConfig::default()
    };
    let rig = rig(config.account("acme", requests(Limit::per(1, secs(6)))));
    rig.calls(1, Outcome::Success);
    assert_eq!(rig.select(0).unwrap_err().retry_at, Some(at(8)));
}

#[test]
fn a_limit_too_great_to_remember_every_call_loses_less_than_a_hundredth() {
    let rig = acme(requests(Limit::per(6_000, secs(60))));
    // All at once: nothing is smoothed.
    rig.calls(6_000, Outcome::Success);
    assert_eq!(rig.select(0).unwrap_err().retry_at, Some(at(60) + MARGIN));
    rig.advance_to(at(60) + MARGIN);
    // As fast as it admits, for ten windows.
    let mut calls = 0;
    while rig.pool.now() < at(660) {
        match rig.select(0) {
            Ok(lease) => {
                calls += 1;
                lease.finish(Outcome::Success);
                rig.advance(Duration::from_millis(10));
            }
            Err(refused) => rig.advance_to(refused.retry_at.unwrap()),
        }
    }
    assert!((59_000..=60_000).contains(&calls), "{calls}");
}

#[test]
fn tokens_are_corrected_by_what_was_used() {
    let rig = acme(tokens(Limit::per_minute(1_000)));
    let used = || used(&rig, LimitGroup::Account, Dimension::Tokens).unwrap();
    let mut lease = call(&rig, 0, cost(800, 0)).unwrap();
    assert_eq!(used(), 800);
    assert!(call(&rig, 1, cost(201, 0)).is_err());
    lease.note_actual(cost(300, 0));
    lease.finish(Outcome::Success);
    assert_eq!(used(), 300);
    // What fell short is a debt, and bars even what needs nothing.
    let mut lease = call(&rig, 1, cost(700, 0)).unwrap();
    rig.advance(secs(10));
    lease.note_actual(cost(750, 0));
    lease.finish(Outcome::Success);
    assert_eq!(used(), 1_050);
    let refused = call(&rig, 0, cost(0, 0)).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(60) + MARGIN));
    // The debt came ten seconds later, and is paid ten seconds later.
    rig.advance_to(at(60) + MARGIN);
    assert_eq!(used(), 50);
    rig.advance_to(at(70) + MARGIN);
    assert_eq!(used(), 0);
}

#[test]
fn a_call_larger_than_its_limit_goes_alone() {
    let rig = acme(tokens(Limit::per_minute(1_000)));
    let small = call(&rig, 0, cost(1, 0)).unwrap();
    let refused = call(&rig, 0, cost(5_000, 0)).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(60) + MARGIN));
    small.finish(Outcome::Success);
    rig.advance_to(at(60) + MARGIN);
    let large = call(&rig, 1, cost(5_000, 0)).unwrap();
    assert!(call(&rig, 0, cost(0, 0)).is_err());
    large.finish(Outcome::Success);
    rig.advance(secs(60));
    assert!(call(&rig, 0, cost(0, 0)).is_err());
    rig.advance(MARGIN);
    assert!(call(&rig, 0, cost(0, 0)).is_ok());
}

#[test]
fn how_a_call_ended_says_what_it_costs() {
    let set = LimitSet {
        requests: Some(Limit::per_minute(100)),
        tokens: Some(Limit::per_minute(100_000)),
        in_flight: Some(10),
        in_flight_micro_usd: Some(1_000_000),
        credit: Some(Limit::per(10_000_000, secs(3_600))),
        quota: Some(Limit::per(1_000, secs(3_600))),
    };
    let refused = Outcome::fault(Scope::Account, FaultKind::Throttled);
    let failed = Outcome::fault(Scope::Provider, FaultKind::Failed);
    for (outcome, later, expected) in [
        (Outcome::Success, 0, [1, 500, 0, 0, 70, 1]),
        (Outcome::Neutral, 1, [1, 500, 0, 0, 70, 1]),
        // Refused by another gate before it was sent.
        (Outcome::Neutral, 0, [0, 0, 0, 0, 0, 0]),
        (refused, 0, [1, 0, 0, 0, 0, 1]),
        (failed, 0, [1, 500, 0, 0, 70, 1]),
    ] {
        let rig = acme(set);
        let lease = call(&rig, 0, cost(500, 70)).unwrap();
        let used =
            || Dimension::ALL.map(|dimension| used(&rig, LimitGroup::Account, dimension).unwrap());
        assert_eq!(used(), [1, 500, 1, 70, 70, 1]);
        rig.advance(secs(later));
        lease.finish(outcome);
        assert_eq!(used(), expected, "{outcome:?} after {later} s");
    }
}

#[test]
fn a_refusal_after_the_first_content_has_cost_its_estimate() {
    let rig = acme(tokens(Limit::per_minute(1_000)));
    let mut lease = call(&rig, 0, cost(400, 0)).unwrap();
    lease.note_first_content();
    lease.finish(Outcome::fault(Scope::Account, FaultKind::Throttled));
    let used = used(&rig, LimitGroup::Account, Dimension::Tokens);
    assert_eq!(used, Some(400));
}

#[test]
fn what_a_release_opens_names_no_time() {
    let set = LimitSet {
        in_flight: Some(2),
        in_flight_micro_usd: Some(100),
        ..requests(Limit::per_minute(3))
    };
    let rig = acme(set);
    let (one, two) = (rig.select(0).unwrap(), rig.select(1).unwrap());
    let refused = rig.select(0).unwrap_err();
    assert_eq!((refused.retry_at, refused.by), (None, Some(Scope::Local)));
    rig.advance(secs(1));
    drop((one, two));
    let _third = call(&rig, 0, cost(0, 60)).unwrap();
    rig.advance(secs(60));
    let refused = call(&rig, 0, cost(0, 60)).unwrap_err();
    assert_eq!((refused.retry_at, refused.by), (None, Some(Scope::Local)));
}

#[test]
fn a_denial_says_that_the_end_of_a_call_may_open_it_sooner() {
    let rig = acme(tokens(Limit::per_minute(1_000)));
    let lease = call(&rig, 0, cost(1_000, 0)).unwrap();
    let denied = |rig: &Rig<Limits>| -> Denied {
        let mut ask = Ask::new();
        ask.cost = cost(10, 0);
        rig.pool.explain(&ask).keys[0].denied[0].denied
    };
    assert!(denied(&rig).may_open_sooner);
    lease.finish(Outcome::Success);
    assert!(!denied(&rig).may_open_sooner);
}

#[test]
fn every_group_of_a_call_is_counted_or_none() {
    let config = LimitsConfig::default()
        .key("a", requests(Limit::per_minute(3)))
        .account("acme", requests(Limit::per_minute(5)))
        .free_models("acme", requests(Limit::per_minute(2)))
        .model("acme", "maker/large", requests(Limit::per_minute(1)));
    let rig = rig(config);
    let of = |model: &'static str, n| {
        rig.pool
            .select(&Ask::new().with_model(model).with_affinity(n))
    };
    let used = |group| used(&rig, group, Dimension::Requests).unwrap();
    let all = || {
        [
            used(LimitGroup::Key),
            used(LimitGroup::Account),
            used(LimitGroup::FreeModels),
            used(LimitGroup::Model("maker/large")),
        ]
    };
    rig.advance(secs(1));
    of("maker/large", 0).unwrap().finish(Outcome::Success);
    assert_eq!(all(), [1, 1, 0, 1]);
    assert!(of("maker/large", 1).is_err(), "the model is the account's");
    assert!(of("maker/large", 2).is_ok(), "another account has its own");
    assert_eq!(all(), [1, 1, 0, 1]);
    for _ in 0..2 {
        of("maker/small:free", 0).unwrap().finish(Outcome::Success);
    }
    assert_eq!(all(), [3, 3, 2, 1]);
    assert!(of("maker/small:free", 1).is_err());
    assert!(of("maker/small", 0).is_err(), "the key has had its three");
    of("maker/small", 1).unwrap().finish(Outcome::Success);
    assert_eq!(all(), [3, 4, 2, 1]);
}

#[test]
fn what_one_group_refuses_another_does_not_keep() {
    let config = LimitsConfig::default()
        .key("a", tokens(Limit::per_minute(1_000_000)))
        .account("acme", tokens(Limit::per_minute(1_000)));
    let rig = rig(config);
    drop(call(&rig, 0, cost(100, 0)).unwrap());
    let _live = call(&rig, 0, cost(100, 0)).unwrap();
    // Neither is nearly full, so it is the entry that refuses.
    for _ in 0..3 {
        let refused = call(&rig, 0, cost(950, 0)).unwrap_err();
        assert_eq!(refused.retry_at, Some(at(60) + MARGIN));
    }
    let used = |group| used(&rig, group, Dimension::Tokens);
    assert_eq!(used(LimitGroup::Key), Some(100));
    assert_eq!(used(LimitGroup::Account), Some(100));
}

#[test]
fn a_denial_names_the_group_that_opens_last() {
    let config = LimitsConfig::default()
        .key("a", requests(Limit::per(1, secs(10))))
        .account("acme", requests(Limit::per(2, secs(60))));
    let rig = rig(config);
    rig.calls(1, Outcome::Success);
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(10) + MARGIN));
    assert_eq!(refused.by, Some(Scope::Key));
    assert!(rig.call_of(1, Outcome::Success));
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(60) + MARGIN));
    assert_eq!(refused.by, Some(Scope::Account));
}

#[test]
fn credit_is_new_at_its_reset() {
    let credit = LimitSet {
        credit: Some(Limit::per(100, secs(3_600))),
        ..LimitSet::NONE
    };
    let rig = acme(credit);
    rig.advance(secs(100));
    let mut lease = call(&rig, 0, cost(0, 60)).unwrap();
    // What is under way may still be under way at the reset.
    let refused = call(&rig, 0, cost(0, 50)).unwrap_err();
    assert_eq!(refused.retry_at, None);
    lease.note_actual(cost(0, 40));
    lease.finish(Outcome::Success);
    // The first period began with the first call.
    let refused = call(&rig, 0, cost(0, 70)).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(3_700)));
    let over = call(&rig, 0, cost(0, 50)).unwrap();
    rig.advance_to(at(3_700));
    // What is under way is charged to the new period: nobody knows when it is billed.
    assert_eq!(used(&rig, LimitGroup::Account, Dimension::Credit), Some(50));
    drop(over);
    assert_eq!(used(&rig, LimitGroup::Account, Dimension::Credit), Some(50));
    rig.advance(secs(2 * 3_600));
    assert!(call(&rig, 0, cost(0, 100)).is_ok());
}

#[test]
fn what_the_other_side_says_is_believed_where_it_is_less() {
    let rig = acme(LimitSet {
        credit: Some(Limit::per(1_000, Duration::ZERO)),
        ..requests(Limit::per_minute(10))
    });
    let told = |dimension, left, resets: Option<Timestamp>| {
        let now = rig.pool.now();
        rig.key(1, |key| {
            (rig.gate).told(key, LimitGroup::Account, dimension, left, now, resets);
        });
    };
    let used = |dimension| used(&rig, LimitGroup::Account, dimension);
    rig.advance(secs(5));
    rig.calls(4, Outcome::Success);
    told(Dimension::Requests, 9, None);
    assert_eq!(used(Dimension::Requests), Some(4));
    rig.advance(secs(5));
    told(Dimension::Requests, 2, None);
    assert_eq!(used(Dimension::Requests), Some(8));
    rig.advance_to(at(65) + MARGIN);
    assert_eq!(used(Dimension::Requests), Some(4));
    told(Dimension::Credit, 100, Some(at(500)));
    assert_eq!(used(Dimension::Credit), Some(900));
    let refused = call(&rig, 0, cost(0, 200)).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(500)));
    rig.advance_to(at(500));
    assert_eq!(used(Dimension::Credit), Some(0));
}

#[test]
fn a_daily_quota_is_new_at_midnight_and_counts_what_was_refused() {
    let day = secs(86_400);
    let quota = LimitSet {
        quota: Some(Limit::per(3, day)),
        ..requests(Limit::per_minute(2))
    };
    // Midnight is an hour away, and was a day before that.
    for midnight in [at(3_600), at(3_600) + day * 7] {
        let limits = Limits::new(LimitsConfig::default().account("acme", quota));
        let keys = vec![Key::new("a", "sk-a").account("acme")];
        let rig = Rig::with(limits.periods_from(midnight), keys, |builder| builder);
        rig.calls(1, Outcome::Success);
        rig.calls(1, Outcome::fault(Scope::Account, FaultKind::Throttled));
        rig.advance(secs(100));
        rig.calls(1, Outcome::Success);
        let refused = rig.select(0).unwrap_err();
        assert_eq!(refused.retry_at, Some(at(3_600)));
        rig.advance_to(at(3_600));
        rig.calls(2, Outcome::Success);
        rig.advance(secs(100));
        rig.calls(1, Outcome::Success);
        let refused = rig.select(0).unwrap_err();
        assert_eq!(refused.retry_at, Some(at(3_600) + day));
    }
}

#[test]
fn a_limit_that_is_told_holds_where_it_is_lower_until_it_is_taken_back() {
    let rig = acme(requests(Limit::per_minute(10)));
    let group = LimitGroup::Account;
    let take = |dimension, told| rig.key(0, |key| rig.gate.take(key, group, dimension, told));
    let limit = |dimension| {
        let now = rig.pool.now();
        let usage = rig.key(0, |key| rig.gate.usage(key, group, dimension, now));
        usage.map(|usage| usage.limit)
    };
    let of = Dimension::Requests;
    for (told, holds) in [(20, 10), (4, 4), (7, 7), (30, 10), (3, 3)] {
        take(of, Some(Limit::per_minute(told))).unwrap();
        assert_eq!(limit(of), Some(holds), "told {told}");
    }
    // Ten in six seconds are more than ten in a minute, and ten in an hour less.
    take(of, Some(Limit::per(10, secs(6)))).unwrap();
    assert_eq!(limit(of), Some(10));
    take(of, Some(Limit::per(9, secs(3_600)))).unwrap();
    assert_eq!(limit(of), Some(9));
    take(of, None).unwrap();
    assert_eq!(limit(of), Some(10), "the configuration's");
    assert_eq!(limit(Dimension::Credit), None);
    take(Dimension::Credit, None).unwrap();
    take(Dimension::Credit, Some(Limit::per(5, secs(60)))).unwrap();
    assert_eq!(limit(Dimension::Credit), Some(5));
    take(Dimension::Credit, None).unwrap();
    assert_eq!(limit(Dimension::Credit), None);
    // An operator's word is not replaced by a higher one.
    let set = |limit| rig.key(0, |key| rig.gate.set(key, group, of, limit));
    set(Some(Limit::per_minute(5))).unwrap();
    take(of, Some(Limit::per_minute(8))).unwrap();
    assert_eq!(limit(of), Some(5));
    take(of, None).unwrap();
    assert_eq!(limit(of), Some(5));
}

#[test]
fn credit_without_a_reset_opens_by_a_change_only() {
    let rig = acme(LimitSet {
        credit: Some(Limit::per(100, Duration::ZERO)),
        ..LimitSet::NONE
    });
    let mut lease = call(&rig, 0, cost(0, 100)).unwrap();
    lease.note_actual(cost(0, 100));
    lease.finish(Outcome::Success);
    let refused = call(&rig, 0, cost(0, 1)).unwrap_err();
    assert_eq!((refused.retry_at, refused.by), (None, Some(Scope::Account)));
}

#[test]
fn a_limit_of_zero_admits_nothing() {
    let rig = acme(requests(Limit::per_minute(0)));
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.retry_at, None);
    assert!(rig.select(2).is_ok());
}

#[test]
fn a_limit_that_changes_loses_no_counts() {
    let rig = acme(requests(Limit::per_minute(10)));
    let set = |dimension, limit| {
        rig.key(0, |key| {
            rig.gate.set(key, LimitGroup::Account, dimension, limit)
        })
    };
    rig.calls(6, Outcome::Success);
    set(Dimension::Requests, Some(Limit::per_minute(5))).unwrap();
    assert!(!rig.call(Outcome::Success));
    set(Dimension::Requests, None).unwrap();
    rig.calls(3, Outcome::Success);
    set(Dimension::Requests, Some(Limit::per_minute(10))).unwrap();
    rig.calls(1, Outcome::Success);
    assert!(!rig.call(Outcome::Success));
    // Of what was not counted, nothing is given back.
    let before = rig.select(2).unwrap();
    rig.key(2, |key| {
        let limit = Some(Limit::at_a_time(1));
        (rig.gate).set(key, LimitGroup::Key, Dimension::InFlight, limit)
    })
    .unwrap();
    let after = rig.select(2).unwrap();
    assert!(rig.select(2).is_err());
    drop(before);
    assert!(rig.select(2).is_err());
    drop(after);
    assert!(rig.select(2).is_ok());
}

#[test]
fn calls_without_a_limit_leave_its_window_as_ever() {
    let rig = acme(requests(Limit::per_minute(2)));
    let set = |limit| {
        rig.key(0, |key| {
            rig.gate
                .set(key, LimitGroup::Account, Dimension::Requests, limit)
        })
    };
    set(None).unwrap();
    for _ in 0..60 {
        rig.calls(1, Outcome::Success);
        rig.advance(secs(5));
    }
    set(Some(Limit::per_minute(100))).unwrap();
    // The last minute's, and what came next to its begin.
    let used = used(&rig, LimitGroup::Account, Dimension::Requests).unwrap();
    assert!((11..=13).contains(&used), "{used}");
}

#[test]
fn a_new_configuration_changes_what_it_changes() {
    let rig = acme(requests(Limit::per_minute(10)));
    rig.calls(6, Outcome::Success);
    rig.key(0, |key| {
        let learned = Some(Limit::at_a_time(3));
        (rig.gate).set(key, LimitGroup::Account, Dimension::InFlight, learned)
    })
    .unwrap();
    let config = LimitsConfig::default()
        .account("acme", requests(Limit::per_minute(7)))
        .model("acme", "maker/large", requests(Limit::per_minute(1)));
    rig.pool
        .with_keys(|keys| rig.gate.configure(config, keys))
        .unwrap();
    rig.calls(1, Outcome::Success);
    assert!(!rig.call(Outcome::Success));
    assert_eq!(
        used(&rig, LimitGroup::Account, Dimension::InFlight),
        Some(0)
    );
    let model = LimitGroup::Model("maker/large");
    assert_eq!(used(&rig, model, Dimension::Requests), Some(0));
    let nothing = LimitsConfig::default();
    rig.pool
        .with_keys(|keys| rig.gate.configure(nothing, keys))
        .unwrap();
    rig.calls(20, Outcome::Success);
}

#[test]
fn a_reload_keeps_counts_and_gives_new_keys_their_limits() {
    let config = LimitsConfig {
        every_key: requests(Limit::per_minute(3)),
        ..LimitsConfig::default()
    };
    let rig = rig(config);
    rig.calls(3, Outcome::Success);
    let key = |label: &str| Key::new(label, format!("sk-{label}"));
    let keys = [key("a").account("acme"), key("d"), key("e").account("acme")];
    rig.pool.reload(keys).unwrap();
    assert!(!rig.call_of(0, Outcome::Success));
    for n in [1, 2] {
        for _ in 0..3 {
            assert!(rig.call_of(n, Outcome::Success));
        }
        assert!(!rig.call_of(n, Outcome::Success));
    }
}

#[test]
fn models_with_limits_are_bounded() {
    let rig = acme(LimitSet::NONE);
    let set = |model: &str| {
        rig.key(0, |key| {
            let limit = Some(Limit::per_minute(1));
            (rig.gate).set(key, LimitGroup::Model(model), Dimension::Requests, limit)
        })
    };
    for n in 0..1_024 {
        set(&format!("maker/model-{n}")).unwrap();
    }
    assert_eq!(set("one/more"), Err(LimitError::TooManyModels));
    assert_eq!(set("maker/model-7"), Ok(()));
    let call = |model: &str| {
        rig.pool
            .select(&Ask::new().with_affinity(0).with_model(model))
    };
    for model in ["maker/model-0", "maker/model-1023"] {
        call(model).unwrap().finish(Outcome::Success);
        assert!(call(model).is_err());
    }
    assert!(call("one/more").is_ok());
}

#[test]
fn a_clock_that_jumps_ahead_or_stands_still_stops_nothing() {
    let rig = acme(LimitSet {
        tokens: Some(Limit::per_minute(1_000)),
        ..requests(Limit::per_minute(3))
    });
    let spend = || {
        let mut calls = 0;
        while let Ok(lease) = call(&rig, 0, cost(100, 0)) {
            lease.finish(Outcome::Success);
            calls += 1;
        }
        calls
    };
    assert_eq!((spend(), spend()), (3, 0));
    rig.advance(secs(400 * 24 * 60 * 60));
    assert_eq!((spend(), spend()), (3, 0));
    rig.advance_to(Timestamp::MAX - secs(61));
    assert_eq!((spend(), spend()), (3, 0));
}
