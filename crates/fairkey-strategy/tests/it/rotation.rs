//! Round robin and smooth weighted round robin: exact, whatever is out.

use std::collections::HashSet;
use std::sync::Arc;

use fairkey_core::{Ask, Outcome, Pool};
use fairkey_strategy::{MaxInFlight, RoundRobin, SmoothWeighted};
use fairkey_testkit::SpyGate;
use fairkey_testkit::prelude::*;

use crate::support::{keys, pick, pool, shares, weighted};

/// Bars the keys in every so many slots: in words, fast enough for ten thousand keys.
#[derive(Debug)]
struct EverySo {
    every: usize,
    open: Vec<u64>,
}

impl EverySo {
    fn new(every: usize) -> Self {
        let bit = |slot: usize| u64::from(slot % every != 1) << (slot % 64);
        let word = |word: usize| (0..64).map(|at| bit(word * 64 + at)).sum();
        let open = (0..160).map(word).collect();
        Self { every, open }
    }
}

impl Gate for EverySo {
    fn check(&self, at: &fairkey_core::At<'_>) -> Result<(), fairkey_core::Denied> {
        if at.key.slot().index() % self.every == 1 {
            Err(fairkey_core::Denied::for_good(fairkey_core::Scope::Key))
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        for (word, open) in self.open.iter().enumerate() {
            turn.mask(word, *open);
        }
    }
}

#[test]
fn each_key_gets_its_turn_in_order() {
    let pool = pool(keys(3), RoundRobin::new());
    let turns: Vec<String> = (0..7).map(|_| pick(&pool, &Ask::new())).collect();
    assert_eq!(turns, ["k0", "k1", "k2", "k0", "k1", "k2", "k0"]);
}

#[test]
fn shares_are_exactly_even_up_to_a_thousand_keys_with_or_without_some_out() {
    for n in [1, 2, 3, 63, 64, 65, 128, 1_000, 1_024] {
        for out in [None, Some(2), Some(3), Some(7), Some(64)] {
            let builder = Pool::builder().keys(keys(n)).strategy(RoundRobin::new());
            let builder = match out {
                Some(every) => builder.gate(EverySo::new(every)),
                None => builder,
            };
            let pool = builder.build().unwrap();
            let is_out = |slot: u32| out.is_some_and(|every| slot as usize % every == 1);
            let open = (0..n).filter(|slot| !is_out(*slot)).count() as u64;
            // Not from the start of a round.
            shares(&pool, 17);
            let shares = shares(&pool, 3 * open);
            assert_eq!(shares.len() as u64, open, "{n} keys, every {out:?} out");
            assert!(
                shares.values().all(|turns| *turns == 3),
                "{n} keys, every {out:?} out"
            );
        }
    }
}

#[test]
fn shares_are_even_for_ten_thousand_keys_too() {
    for out in [usize::MAX, 2, 3] {
        let pool = Pool::builder()
            .keys(keys(10_000))
            .strategy(RoundRobin::new())
            .gate(EverySo::new(out))
            .build()
            .unwrap();
        let open = (0..10_000).filter(|slot| slot % out != 1).count() as u64;
        let shares = shares(&pool, 2 * open);
        assert_eq!(shares.len() as u64, open);
        // Within a hundredth would do. It is exact.
        assert!(shares.values().all(|turns| *turns == 2));
    }
}

#[test]
fn turns_of_a_key_that_is_out_are_shared_by_all_others() {
    let gate = Arc::new(SpyGate::new());
    let pool = Pool::builder()
        .keys(keys(5))
        .strategy(RoundRobin::new())
        .shared_gate(Arc::clone(&gate) as _)
        .build()
        .unwrap();
    gate.bar(
        "k2",
        fairkey_core::Denied::for_good(fairkey_core::Scope::Key),
    );
    let during = shares(&pool, 400);
    assert_eq!(during.len(), 4);
    assert!(during.values().all(|turns| *turns == 100), "{during:?}");
    gate.admit_all();
    let after = shares(&pool, 500);
    assert!(after.values().all(|turns| *turns == 100), "{after:?}");
}

#[test]
fn many_threads_share_one_rotation() {
    let pool = pool(keys(5), RoundRobin::new());
    let labels: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..500)
                        .map(|_| pick(&pool, &Ask::new()))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    for key in 0..5 {
        let turns = labels
            .iter()
            .filter(|label| **label == format!("k{key}"))
            .count();
        assert_eq!(turns, 400);
    }
}

#[test]
fn a_key_that_is_full_is_passed_over_and_costs_nobody_a_turn() {
    let pool = Pool::builder()
        .keys(keys(3))
        .strategy(RoundRobin::new())
        .gate(MaxInFlight::per_key(1))
        .build()
        .unwrap();
    let held = pool.select(&Ask::new()).unwrap();
    assert_eq!(held.key().id().as_str(), "k0");
    let shares = shares(&pool, 100);
    assert_eq!((shares["k1"], shares["k2"]), (50, 50));
    held.finish(Outcome::Success);
}

#[test]
fn weights_of_five_one_and_one_are_spread_out() {
    let pool = pool(weighted(&[5, 1, 1]), SmoothWeighted::new());
    for round in 0..3 {
        let turns: Vec<String> = (0..7).map(|_| pick(&pool, &Ask::new())).collect();
        // nginx's sequence: a a b a c a a.
        assert_eq!(
            turns,
            ["k0", "k0", "k1", "k0", "k2", "k0", "k0"],
            "round {round}"
        );
    }
}

#[test]
fn the_score_of_smooth_weighted_says_who_is_next() {
    let pool = pool(weighted(&[5, 1, 1]), SmoothWeighted::new());
    for _ in 0..20 {
        let explanation = pool.explain(&Ask::new());
        let next = (explanation.keys.iter())
            .min_by(|a, b| a.score.partial_cmp(&b.score).expect("scores are numbers"))
            .map(|key| key.id.to_string());
        assert_eq!(Some(pick(&pool, &Ask::new())), next);
    }
}

#[test]
fn a_key_that_comes_in_a_reload_takes_its_share_at_once() {
    let pool = pool(weighted(&[2, 1]), SmoothWeighted::new());
    shares(&pool, 31);
    pool.reload(weighted(&[2, 1, 3])).unwrap();
    let shares = shares(&pool, 600);
    for (id, expected) in [("k0", 200), ("k1", 100), ("k2", 300)] {
        assert!(
            shares[id].abs_diff(expected) <= 3,
            "{id}: {} of {expected}",
            shares[id]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn smooth_weighted_is_exact_over_every_round(
        weights in proptest::collection::vec(1_u32..20, 1..8),
        rounds in 1_u64..4,
    ) {
        let pool = pool(weighted(&weights), SmoothWeighted::new());
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for _ in 0..rounds {
            let shares = shares(&pool, total);
            for (n, weight) in weights.iter().enumerate() {
                prop_assert_eq!(shares[&format!("k{n}")], u64::from(*weight));
            }
        }
    }

    #[test]
    fn smooth_weighted_never_repeats_a_light_key(
        heavy in 2_u32..50,
    ) {
        // A key of weight 1 among heavier ones is never picked twice in a row.
        let pool = pool(weighted(&[heavy, 1]), SmoothWeighted::new());
        let turns: Vec<String> = (0..3 * heavy).map(|_| pick(&pool, &Ask::new())).collect();
        prop_assert!(turns.windows(2).all(|two| two != ["k1", "k1"]));
    }

    #[test]
    fn round_robin_serves_all_before_it_serves_one_twice(
        n in 1_u32..70,
        start in 0_u64..200,
    ) {
        let pool = pool(keys(n), RoundRobin::new());
        shares(&pool, start);
        let turns: HashSet<String> = (0..n).map(|_| pick(&pool, &Ask::new())).collect();
        prop_assert_eq!(turns.len(), n as usize);
    }
}
