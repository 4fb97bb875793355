//! The same key for the same session.

use std::collections::HashMap;
use std::sync::Arc;

use fairkey_core::{Ask, Denied, Key, Pool, Scope};
use fairkey_strategy::{
    BreakerConfig, RoundRobin, SlidingWindowBreaker, Sticky, WeightedLeastInFlight,
};
use fairkey_testkit::SpyGate;

use crate::support::{failed, keys, pick, pool, shares, weighted};

fn homes(pool: &Pool, sessions: u64) -> HashMap<u64, String> {
    let home = |session| (session, pick(pool, &Ask::new().with_affinity(session)));
    (0..sessions).map(home).collect()
}

fn counts(homes: &HashMap<u64, String>) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for home in homes.values() {
        *counts.entry(home.clone()).or_default() += 1;
    }
    counts
}

#[test]
fn sessions_spread_evenly_over_equal_keys() {
    let homes = homes(&pool(keys(5), Sticky::new(RoundRobin::new())), 5_000);
    let counts = counts(&homes);
    assert!(
        counts.values().all(|n| (850..1_150).contains(n)),
        "{counts:?}"
    );
}

#[test]
fn sessions_spread_by_weight() {
    let homes = homes(
        &pool(weighted(&[3, 1, 1]), Sticky::new(RoundRobin::new())),
        5_000,
    );
    let counts = counts(&homes);
    for (id, expected) in [("k0", 3_000_u32), ("k1", 1_000), ("k2", 1_000)] {
        assert!(counts[id].abs_diff(expected) < 200, "{counts:?}");
    }
}

#[test]
fn the_ranking_hangs_on_labels_alone() {
    // Another process, other slots, other secrets: the same homes.
    let one = pool(keys(4), Sticky::new(RoundRobin::new()));
    let mut reversed: Vec<Key> = (0..4)
        .rev()
        .map(|n| Key::new(format!("k{n}"), format!("sk-other-{n}")))
        .collect();
    let other = Pool::builder()
        .keys(reversed.clone())
        .strategy(Sticky::new(WeightedLeastInFlight::new()))
        .seed(99)
        .build()
        .unwrap();
    assert_eq!(homes(&one, 200), homes(&other, 200));
    // Weights that are all the same are no weights.
    reversed = reversed.into_iter().map(|key| key.weight(7)).collect();
    assert_eq!(
        homes(&pool(reversed, Sticky::new(RoundRobin::new())), 200),
        homes(&one, 200)
    );
}

#[test]
fn a_key_that_is_out_moves_only_its_sessions_and_gets_them_back() {
    for weights in [&[1, 1, 1, 1][..], &[4, 1, 2, 1]] {
        let gate = Arc::new(SpyGate::new());
        let pool = Pool::builder()
            .keys(weighted(weights))
            .strategy(Sticky::new(RoundRobin::new()))
            .shared_gate(Arc::clone(&gate) as _)
            .build()
            .unwrap();
        let before = homes(&pool, 500);
        gate.bar("k0", Denied::for_good(Scope::Key));
        let during = homes(&pool, 500);
        let moved: Vec<_> = (0..500)
            .filter(|session| before[session] != during[session])
            .collect();
        assert!(moved.iter().all(|session| before[session] == "k0"));
        assert_eq!(moved.len() as u32, counts(&before)["k0"]);
        let takers: HashMap<u64, String> = moved
            .iter()
            .map(|session| (*session, during[session].clone()))
            .collect();
        assert_eq!(counts(&takers).len(), 3, "they spread over all others");
        gate.admit_all();
        assert_eq!(homes(&pool, 500), before);
    }
}

#[test]
fn a_new_key_takes_its_share_and_moves_nobody_else() {
    let pool = pool(keys(4), Sticky::new(RoundRobin::new()));
    let before = homes(&pool, 1_000);
    pool.reload(keys(5)).unwrap();
    let after = homes(&pool, 1_000);
    for session in 0..1_000 {
        assert!(after[&session] == before[&session] || after[&session] == "k4");
    }
    assert!((120..280).contains(&counts(&after)["k4"]));
}

#[test]
fn asks_without_affinity_go_to_the_strategy_inside() {
    let pool = pool(keys(3), Sticky::new(RoundRobin::new()));
    homes(&pool, 50);
    let turns: Vec<String> = (0..3).map(|_| pick(&pool, &Ask::new())).collect();
    assert_eq!(turns, ["k0", "k1", "k2"], "sessions take no turns");
    assert!(shares(&pool, 30).values().all(|turns| *turns == 10));
}

#[test]
fn affinity_is_a_preference_that_yields_to_health() {
    let breaker = BreakerConfig {
        consecutive: Some(1),
        ..BreakerConfig::default()
    };
    let strategy = fairkey_core::Gate::guarding(
        SlidingWindowBreaker::new(breaker),
        Sticky::new(RoundRobin::new()),
    );
    let pool = pool(keys(3), strategy);
    let ask = Ask::new().with_affinity(42);
    let home = pick(&pool, &ask);
    pool.select(&ask).unwrap().finish(failed());
    let refuge = pick(&pool, &ask);
    assert_ne!(refuge, home);
    assert_eq!(
        pick(&pool, &ask),
        refuge,
        "and stays there while its home is out"
    );
}

#[test]
fn the_score_ranks_keys_as_the_pick_does() {
    for weights in [&[1, 1, 1][..], &[5, 1, 2]] {
        let pool = pool(weighted(weights), Sticky::new(RoundRobin::new()));
        for session in 0..100 {
            let ask = Ask::new().with_affinity(session);
            let explanation = pool.explain(&ask);
            let best = (explanation.keys.iter())
                .min_by(|a, b| a.score.partial_cmp(&b.score).expect("scores are numbers"))
                .map(|key| key.id.to_string());
            assert_eq!(Some(pick(&pool, &ask)), best);
        }
    }
}
