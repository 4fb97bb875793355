//! The most room first, and what stands against it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, Cost, Key, ManualClock, Outcome, Pool, Strategy};
use fairkey_strategy::{
    Dimension, Headroom, Limit, LimitGroup, LimitSet, Limits, LimitsConfig, WeightedLeastInFlight,
};
use fairkey_testkit::law::strategy as law;
use fairkey_testkit::{assert_broken, assert_holds};

use crate::support::{keys, secs};

fn requests(amount: u64) -> LimitSet {
    LimitSet {
        requests: Some(Limit::per_minute(amount)),
        ..LimitSet::NONE
    }
}

fn pool(config: LimitsConfig, keys: Vec<Key>) -> (Pool, Arc<Limits>, ManualClock) {
    let (limits, clock) = (Arc::new(Limits::new(config)), ManualClock::new());
    let pool = Pool::builder()
        .keys(keys)
        .strategy(Headroom::guarded(Arc::clone(&limits)))
        .clock(clock.clone())
        .seed(5)
        .build()
        .unwrap();
    (pool, limits, clock)
}

fn call(pool: &Pool) -> String {
    let lease = pool.select(&Ask::new()).unwrap();
    let label = lease.key().id().to_string();
    lease.finish(Outcome::Success);
    label
}

fn calls(pool: &Pool, n: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for _ in 0..n {
        *counts.entry(call(pool)).or_default() += 1;
    }
    counts
}

fn bare() -> Box<dyn Strategy> {
    Box::new(Headroom::new(Arc::new(
        Limits::new(LimitsConfig::default()),
    )))
}

/// Under limits that no law reaches.
fn roomy() -> Box<dyn Strategy> {
    let config = LimitsConfig {
        every_key: LimitSet {
            requests: Some(Limit::per_minute(1 << 30)),
            tokens: Some(Limit::per_minute(1 << 36)),
            in_flight: Some(1 << 20),
            ..LimitSet::NONE
        },
        ..LimitsConfig::default()
    };
    Box::new(Headroom::guarded(Arc::new(Limits::new(config))))
}

#[test]
fn headroom_obeys_the_laws_of_strategies() {
    for make in [bare, roomy] {
        assert_holds(law::check(make));
        assert_holds(law::one_key_down_leaves_the_others_even(make, 0.2));
        assert_holds(law::ties_are_broken_evenly(make));
        assert_holds(law::share_follows_weight(make, 0.2));
        assert_holds(law::sessions_keep_their_key(make));
    }
    assert_broken(law::even_share(bare), "even_share");
}

#[test]
fn a_strategy_that_declines_where_limits_bar_obeys_the_laws_of_those() {
    assert_holds(law::check_decliner(|| {
        let config = LimitsConfig {
            every_account: LimitSet {
                in_flight: Some(2),
                ..requests(7)
            },
            ..LimitsConfig::default()
        };
        Box::new(Headroom::guarded(Arc::new(Limits::new(config))))
    }));
}

#[test]
fn calls_go_where_most_is_left() {
    let config = LimitsConfig::default()
        .key("k0", requests(100))
        .key("k1", requests(300));
    let (pool, ..) = pool(config, keys(2));
    // Equal parts of unequal limits, give or take a step.
    let counts = calls(&pool, 200);
    assert!((35..=65).contains(&counts["k0"]), "{counts:?}");
    let mut lease = pool.select(&Ask::new()).unwrap();
    lease.record(Outcome::Success);
    drop(lease);
    assert_eq!(calls(&pool, 199).values().sum::<u32>(), 199);
    assert!(pool.select(&Ask::new()).is_err());
}

#[test]
fn the_scarcest_dimension_counts_and_so_does_the_call_itself() {
    let set = |tokens, in_flight| LimitSet {
        tokens: Some(Limit::per_minute(tokens)),
        in_flight: Some(in_flight),
        ..LimitSet::NONE
    };
    let config = LimitsConfig::default()
        .key("k0", set(10_000, 100))
        .key("k1", set(100_000, 4));
    let (pool, limits, _) = pool(config, keys(2));
    let mut small = Ask::new();
    small.cost.tokens = 100;
    let mut large = small;
    large.cost.tokens = 6_000;
    let pick = |ask: &Ask<'_>| pool.select(ask).unwrap().key().id().to_string();
    assert_eq!(
        pick(&small),
        "k0",
        "one of four is more than one of a hundred"
    );
    assert_eq!(pick(&large), "k1");
    let headroom = |n, ask: &Ask<'_>| {
        let now = pool.now();
        pool.with_keys(|keys| limits.headroom(keys.iter().nth(n).unwrap(), ask, now))
    };
    // What was given up in the same moment has left nothing behind.
    assert!((headroom(0, &small) - 0.99).abs() < 0.001);
    assert!((headroom(1, &small) - 0.75).abs() < 0.001);
    assert!((headroom(0, &large) - 0.4).abs() < 0.001);
}

#[test]
fn an_allowance_for_a_day_counts_when_its_last_fifth_is_used() {
    let credit = LimitSet {
        credit: Some(Limit::per(1_000, secs(86_400))),
        ..LimitSet::NONE
    };
    let (pool, limits, _) = pool(LimitsConfig::default().key("k0", credit), keys(2));
    let mut headroom = Vec::new();
    for left in [1_000, 500, 210, 150, 100, 0] {
        let now = pool.now();
        headroom.push(pool.with_keys(|keys| {
            let key = keys.find("k0").unwrap();
            limits.told(key, LimitGroup::Key, Dimension::Credit, left, now, None);
            (limits.headroom(key, &Ask::new(), now) * 100.0).round()
        }));
    }
    assert_eq!(headroom, [100.0, 100.0, 100.0, 75.0, 50.0, 0.0]);
}

#[test]
fn room_comes_back_with_time_although_nobody_calls() {
    let config = LimitsConfig::default()
        .key("k0", requests(100))
        .key("k1", requests(10_000));
    let (pool, _, clock) = pool(config, keys(2));
    assert!(
        calls(&pool, 300)["k0"] < 10,
        "the small one is soon a step behind"
    );
    clock.advance(secs(61));
    let counts = calls(&pool, 8);
    assert!(counts.len() == 2, "{counts:?}");
}

#[test]
fn a_session_stays_while_a_fifth_is_left() {
    let config = LimitsConfig {
        every_key: requests(100),
        ..LimitsConfig::default()
    };
    let (pool, ..) = pool(config, keys(4));
    let ask = Ask::new().with_affinity(42);
    let label = || {
        let lease = pool.select(&ask).unwrap();
        let label = lease.key().id().to_string();
        lease.finish(Outcome::Success);
        label
    };
    let home = label();
    // 79 more leave 20 after the last of them; one more would leave 19.
    for n in 2..=80 {
        assert_eq!(label(), home, "call {n}");
    }
    assert_ne!(label(), home);
}

#[test]
fn a_new_key_gets_no_more_than_its_share_for_half_a_minute() {
    let config = LimitsConfig {
        every_key: requests(100_000),
        ..LimitsConfig::default()
    };
    let (pool, _, clock) = pool(config, keys(4));
    // The old ones are half used up.
    calls(&pool, 200_000);
    pool.reload(keys(5)).unwrap();
    let counts = calls(&pool, 5_000);
    let new = counts["k4"];
    assert!((800..=1_200).contains(&new), "{counts:?}");
    clock.advance(secs(31));
    assert_eq!(calls(&pool, 1_000)["k4"], 1_000);
}

#[test]
fn a_new_key_gets_every_call_where_no_other_is_left() {
    let (pool, ..) = pool(LimitsConfig::default(), keys(1));
    pool.reload(vec![Key::new("n", "sk-n")]).unwrap();
    assert_eq!(calls(&pool, 50)["n"], 50);
    // And all are alike that came at the start.
    let (pool, ..) = self::pool(LimitsConfig::default(), keys(3));
    assert_eq!(calls(&pool, 300).len(), 3);
}

#[test]
fn among_thousands_it_avoids_those_with_little_room() {
    let config = LimitsConfig {
        every_key: requests(20),
        ..LimitsConfig::default()
    };
    let (pool, limits, clock) = pool(config, keys(1_000));
    let now = pool.now();
    pool.with_keys(|keys| {
        for key in keys.iter().take(500) {
            limits.told(key, LimitGroup::Key, Dimension::Requests, 5, now, None);
        }
    });
    let counts = calls(&pool, 2_000);
    let used = |n: &String| n.trim_start_matches('k').parse::<u32>().unwrap() < 500;
    let poor: u32 = counts.iter().filter(|(n, _)| used(n)).map(|(_, c)| c).sum();
    // By chance all of eight draws are poor once in 256 times.
    assert!(poor < 60, "{poor} of 2,000");
    clock.advance(Duration::from_secs(61));
    assert!(call(&pool).starts_with('k'));
}

#[test]
fn explanations_rank_as_picks_do() {
    let config = LimitsConfig::default()
        .key("k0", requests(10))
        .key("k1", requests(100))
        .key("k2", requests(100));
    let (pool, _, clock) = pool(config, keys(3));
    clock.advance(secs(100));
    let held: Vec<_> = (0..40).map(|_| pool.select(&Ask::new()).unwrap()).collect();
    for _ in 0..20 {
        let scores = pool.explain(&Ask::new());
        let best = (scores.keys.iter().filter(|key| key.is_admitted()))
            .map(|key| key.score.unwrap())
            .fold(f64::MAX, f64::min);
        let lease = pool.select(&Ask::new()).unwrap();
        let picked = scores.keys.iter().find(|key| key.id == *lease.key().id());
        let picked = picked.unwrap().score.unwrap();
        assert!(picked <= best, "picked {picked}, best {best}");
        lease.finish(Outcome::Success);
    }
    drop(held);
    // A window later all are as good as new, and the score knows.
    clock.advance(secs(61));
    let scores = pool.explain(&Ask::new());
    for key in &scores.keys {
        assert!(key.score.unwrap() < 3.0, "{scores}");
    }
}

#[test]
fn without_limits_it_picks_as_least_in_flight_does() {
    let least = Pool::builder()
        .keys(keys(5))
        .strategy(WeightedLeastInFlight::new())
        .seed(5)
        .build()
        .unwrap();
    let (pool, ..) = pool(LimitsConfig::default(), keys(5));
    let mut held = Vec::new();
    for _ in 0..200 {
        let (one, other) = (
            least.select(&Ask::new()).unwrap(),
            pool.select(&Ask::new()).unwrap(),
        );
        assert_eq!(one.key().id(), other.key().id());
        held.push((one, other));
    }
}

#[test]
fn a_call_allocates_nothing_under_limits() {
    let config = LimitsConfig {
        every_key: requests(1_000),
        every_account: LimitSet {
            requests: Some(Limit::per_minute(40)),
            tokens: Some(Limit::per_minute(5_000)),
            in_flight: Some(64),
            in_flight_micro_usd: Some(5_000_000),
            credit: Some(Limit::per(10_000_000, secs(86_400))),
            quota: Some(Limit::per(100_000, secs(86_400))),
        },
        every_free_models: requests(20),
        every_model: HashMap::from([("maker/large".to_owned(), requests(30))]),
        ..LimitsConfig::default()
    };
    for n in [3, 300, 10_000] {
        let (pool, _, clock) = pool(config.clone(), keys(n));
        drop(pool.select(&Ask::new()).unwrap());
        let info = allocation_counter::measure(|| {
            for n in 0..1_000_u64 {
                let model = ["maker/large", "maker/small:free", "other"][n as usize % 3];
                let mut ask = Ask::new().with_model(model);
                ask.affinity = (n % 5 == 0).then_some(n % 7);
                ask.cost = Cost {
                    requests: 1,
                    tokens: 40,
                    micro_usd: 100,
                };
                if let Ok(mut lease) = pool.select(&ask) {
                    lease.note_actual(Cost {
                        tokens: 10 + n % 60,
                        ..ask.cost
                    });
                    clock.advance(Duration::from_millis(n % 50));
                    lease.finish(Outcome::Success);
                } else {
                    clock.advance(Duration::from_secs(1));
                }
            }
        });
        assert_eq!(info.count_total, 0, "{n} keys");
    }
}

#[test]
fn an_ask_that_yields_leaves_a_third_to_others() {
    let config = LimitsConfig {
        every_key: requests(60),
        ..LimitsConfig::default()
    };
    let (pool, _, _) = pool(config, keys(2));
    let yields = Ask {
        yields: true,
        ..Ask::new()
    };
    let mut served = 0;
    while let Ok(lease) = pool.select(&yields) {
        lease.finish(Outcome::Success);
        served += 1;
    }
    assert!((76..=84).contains(&served), "{served} of 120");
    assert_eq!(calls(&pool, 120 - served).len(), 2, "others get the rest");
    assert!(pool.select(&Ask::new()).is_err());
}
