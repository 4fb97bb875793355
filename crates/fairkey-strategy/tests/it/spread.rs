//! Weighted least in flight and power of two: load goes where there is least of it.

use fairkey_core::{Ask, Lease, Outcome, Pool, Random, Strategy};
use fairkey_strategy::{PowerOfTwo, WeightedLeastInFlight};

use crate::support::{keys, pool, weighted};

/// Takes `n` leases and keeps them.
fn fill(pool: &Pool, n: usize) -> Vec<Lease> {
    (0..n).map(|_| pool.select(&Ask::new()).unwrap()).collect()
}

fn loads(pool: &Pool) -> Vec<u32> {
    pool.with_keys(|keys| keys.iter().map(|key| key.in_flight()).collect())
}

#[test]
fn least_in_flight_fills_all_keys_evenly() {
    for n in [1, 3, 64, 65, 1_000] {
        let pool = pool(keys(n), WeightedLeastInFlight::new());
        let leases = fill(&pool, 3 * n as usize);
        assert!(loads(&pool).iter().all(|load| *load == 3), "{n} keys");
        drop(leases);
    }
}

#[test]
fn least_in_flight_fills_by_weight() {
    let pool = pool(weighted(&[4, 2, 1]), WeightedLeastInFlight::new());
    let leases = fill(&pool, 7 * 5);
    assert_eq!(loads(&pool), [20, 10, 5]);
    drop(leases);
}

#[test]
fn least_in_flight_takes_the_key_whose_load_would_be_least() {
    // (leases + 1) / weight: 1/3 and 1/2, then 2/3 and 1/2, then 2/3 and 2/2.
    let pool = pool(weighted(&[3, 2]), WeightedLeastInFlight::new());
    let leases = fill(&pool, 3);
    let labels: Vec<&str> = leases
        .iter()
        .map(|lease| lease.key().id().as_str())
        .collect();
    assert_eq!(labels, ["k0", "k1", "k0"]);
}

#[test]
fn the_score_is_the_load_with_one_more_call() {
    for strategy in [
        Box::new(WeightedLeastInFlight::new()) as Box<dyn Strategy>,
        Box::new(PowerOfTwo::new()),
    ] {
        let pool = pool(weighted(&[4]), strategy);
        let _leases = fill(&pool, 2);
        assert_eq!(pool.explain(&Ask::new()).keys[0].score, Some(0.75));
    }
}

#[test]
fn power_of_two_takes_the_better_of_two() {
    // With two keys it always sees both.
    let pool = pool(keys(2), PowerOfTwo::new());
    let mut leases = Vec::new();
    for n in 1..100 {
        leases.extend(fill(&pool, 1));
        let loads = loads(&pool);
        assert!(loads[0].abs_diff(loads[1]) <= 1, "{loads:?} after {n}");
    }
}

#[test]
fn power_of_two_heeds_weights() {
    let pool = pool(weighted(&[3, 1]), PowerOfTwo::new());
    let leases = fill(&pool, 40);
    assert_eq!(loads(&pool), [30, 10]);
    drop(leases);
}

#[test]
fn power_of_two_with_one_key_takes_it() {
    let pool = pool(keys(1), PowerOfTwo::new());
    assert_eq!(fill(&pool, 3).len(), 3);
}

#[test]
fn the_fullest_key_of_power_of_two_is_hardly_fuller_than_the_mean() {
    // Chance alone puts about 35 calls on the fullest of 1,000 keys with 20 on average; the better
    // of two about 22 (a few more than the mean, whatever the mean).
    let pool = pool(keys(1_000), PowerOfTwo::new());
    let leases = fill(&pool, 20_000);
    let fullest = loads(&pool).into_iter().max().unwrap();
    assert!((21..=25).contains(&fullest), "{fullest}");
    drop(leases);
}

#[test]
fn calls_that_end_at_random_leave_the_load_even() {
    for strategy in [
        Box::new(WeightedLeastInFlight::new()) as Box<dyn Strategy>,
        Box::new(PowerOfTwo::new()),
    ] {
        let pool = pool(keys(10), strategy);
        let (mut leases, mut random) = (fill(&pool, 100), Random::new(1));
        for _ in 0..5_000 {
            let at = random.below(100) as usize;
            leases.swap_remove(at).finish(Outcome::Success);
            leases.extend(fill(&pool, 1));
        }
        let loads = loads(&pool);
        assert!(
            loads.iter().all(|load| (6..=14).contains(load)),
            "{loads:?}"
        );
    }
}
