//! What a strategy can do with its turn.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use fairkey_core::{Ask, At, Candidate, Denied, Gate, Outcome, Pool, Scope, Strategy};
use fairkey_testkit::SpyGate;

use crate::support::{behind, pick, pool_of, strategy};

/// Sizes around the borders of words, and which keys are out.
fn offers() -> impl Iterator<Item = (u16, Vec<u16>)> {
    [1_u16, 2, 63, 64, 65, 130].into_iter().flat_map(|keys| {
        let some = (0..keys).filter(|n| n % 3 == 1).collect();
        let most = (0..keys).filter(|n| *n != keys / 2).collect();
        // So few are left that guesses miss.
        let few = (0..keys).filter(|n| n % 40 != 7).collect();
        [(keys, Vec::new()), (keys, some), (keys, most), (keys, few)]
    })
}

/// Bars the keys in some slots.
#[derive(Debug)]
struct Out(Vec<bool>);

impl Gate for Out {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.0[at.key.slot().index()] {
            Err(Denied::for_good(Scope::Key))
        } else {
            Ok(())
        }
    }
}

/// Makes a pool in which the keys `out` are barred.
fn pool_with(keys: u16, out: &[u16], strategy: impl Strategy + 'static) -> Pool {
    let gate = Out((0..keys).map(|n| out.contains(&n)).collect());
    pool_of(keys).gate(gate).strategy(strategy).build().unwrap()
}

#[test]
fn all_views_of_an_offer_agree() {
    for (keys, out) in offers() {
        let expected: Vec<String> = (0..keys)
            .filter(|n| !out.contains(n))
            .map(|n| format!("k{n}"))
            .collect();
        let look = strategy(move |turn| {
            let listed: Vec<String> = turn.iter().map(|key| key.id().to_string()).collect();
            let mut walked = Vec::new();
            turn.for_each(|key| walked.push(key.id().to_string()));
            let counted: Vec<String> = (0..turn.len())
                .map(|n| turn.nth(n).expect("n is below len").id().to_string())
                .collect();
            let bits: u32 = turn.words().iter().map(|word| word.count_ones()).sum();
            assert_eq!(listed, expected, "{keys} keys");
            assert_eq!(walked, expected, "{keys} keys");
            assert_eq!(counted, expected, "{keys} keys");
            assert_eq!(bits as usize, turn.len());
            assert!(turn.nth(turn.len()).is_none());
            assert_eq!(turn.is_empty(), expected.is_empty());
            for key in turn.keys().iter() {
                let offered = expected.contains(&key.id().to_string());
                assert_eq!(turn.offers(key.slot()), offered);
            }
            turn.nth(0)
        });
        let pool = pool_with(keys, &out, look);
        assert_eq!(
            pool.select(&Ask::new()).is_ok(),
            out.len() < usize::from(keys)
        );
    }
}

/// Draws often, and checks by chi-square that all of `expected` came equally often.
fn assert_even(pool: &Pool, expected: usize, what: &str) {
    let each = 200;
    let mut counts: HashMap<String, u32> = HashMap::new();
    for _ in 0..each * expected {
        *counts.entry(pick(pool, &Ask::new()).unwrap()).or_default() += 1;
    }
    assert_eq!(counts.len(), expected, "{what}");
    let square = |n: &u32| (f64::from(*n) - each as f64).powi(2) / each as f64;
    let chi_square: f64 = counts.values().map(square).sum();
    // Mean plus eight deviations: once in far more than a million times by chance.
    let degrees = expected as f64 - 1.0;
    let most = degrees + 8.0 * (2.0 * degrees).sqrt() + 8.0;
    assert!(
        chi_square < most,
        "{what}: {chi_square} above {most}: {counts:?}"
    );
}

#[test]
fn chance_and_ties_are_even_over_any_offer() {
    for (keys, out) in offers() {
        let open = usize::from(keys) - out.len();
        if open == 0 {
            continue;
        }
        let what = format!("{open} of {keys} keys");
        let random = pool_with(keys, &out, strategy(|turn| turn.random()));
        assert_even(&random, open, &format!("random, {what}"));
        let least = pool_with(keys, &out, strategy(|turn| turn.least(|_| 7)));
        assert_even(&least, open, &format!("least, {what}"));
        let loaded = pool_with(keys, &out, strategy(|turn| turn.least_loaded()));
        assert_even(&loaded, open, &format!("least loaded, {what}"));
        for first in [0, 7] {
            let by = strategy(move |turn| turn.least_loaded_by(|_| first));
            let by = pool_with(keys, &out, by);
            assert_even(&by, open, &format!("least loaded by {first}, {what}"));
        }
        let one = pool_with(keys, &out, strategy(|turn| Some(turn.random_two()?.0)));
        assert_even(&one, open, &format!("one of two, {what}"));
        let other = pool_with(keys, &out, strategy(|turn| Some(turn.random_two()?.1)));
        assert_even(&other, open, &format!("the other of two, {what}"));
    }
}

#[test]
fn what_comes_first_counts_before_the_load() {
    for n in [5_u16, 200] {
        // Three in the midst come first, and share the load.
        let first = |key: Candidate<'_>| u64::from(!(1..4).contains(&key.slot().index()));
        let pool = pool_with(n, &[], strategy(move |turn| turn.least_loaded_by(first)));
        let held: Vec<_> = (0..6).map(|_| pool.select(&Ask::new()).unwrap()).collect();
        let mut slots: Vec<_> = held
            .iter()
            .map(|lease| lease.key().slot().index())
            .collect();
        slots.sort_unstable();
        assert_eq!(slots, [1, 1, 2, 2, 3, 3], "{n} keys");
    }
}

#[test]
fn two_keys_by_chance_are_two_and_every_pair_comes_as_often() {
    let pairs: Arc<Mutex<HashMap<(String, String), u32>>> = Arc::default();
    let seen = Arc::clone(&pairs);
    let draw = strategy(move |turn| {
        let (one, other) = turn.random_two()?;
        let pair = (one.id().to_string(), other.id().to_string());
        *seen.lock().unwrap().entry(pair).or_default() += 1;
        Some(one)
    });
    let pool = pool_with(5, &[2], draw);
    for _ in 0..12 * 400 {
        pool.select(&Ask::new()).unwrap().finish(Outcome::Success);
    }
    let pairs = pairs.lock().unwrap();
    assert_eq!(pairs.len(), 12, "ordered pairs of four keys");
    assert!(pairs.keys().all(|(one, other)| one != other));
    assert!(pairs.values().all(|n| (250..550).contains(n)), "{pairs:?}");
}

#[test]
fn two_of_one_are_the_same_twice() {
    let pool = pool_with(
        3,
        &[0, 2],
        strategy(|turn| {
            let (one, other) = turn.random_two()?;
            assert_eq!((one.id().as_str(), other.id().as_str()), ("k1", "k1"));
            Some(other)
        }),
    );
    assert_eq!(pick(&pool, &Ask::new()).unwrap(), "k1");
}

#[test]
fn the_least_is_the_least() {
    for (keys, out) in offers() {
        let open: Vec<u16> = (0..keys).filter(|n| !out.contains(n)).collect();
        let Some(last) = open.last() else {
            continue;
        };
        let highest = strategy(|turn| turn.least(|key| u64::MAX - key.slot().index() as u64));
        let pool = pool_with(keys, &out, highest);
        assert_eq!(pick(&pool, &Ask::new()).unwrap(), format!("k{last}"));
        let pool = pool_with(keys, &out, strategy(|turn| turn.least(|_| u64::MAX)));
        assert!(
            pick(&pool, &Ask::new()).is_ok(),
            "the greatest cost is a cost, too"
        );
    }
}

#[test]
fn the_least_loaded_is_the_one_with_the_least_load_for_its_weight() {
    let weights = [5_u32, 1, 3, 2];
    let keys = weights
        .iter()
        .enumerate()
        .map(|(n, weight)| fairkey_core::Key::new(format!("k{n}"), format!("{n}")).weight(*weight));
    let pool = Pool::builder().keys(keys).seed(3).build().unwrap();
    let mut leases = Vec::new();
    let mut counts = [0_u32; 4];
    for _ in 0..11 * 6 {
        let load = |n: usize| f64::from(counts[n] + 1) / f64::from(weights[n]);
        let least = (0..4).map(load).fold(f64::MAX, f64::min);
        let lease = pool.select(&Ask::new()).unwrap();
        let n = usize::from(lease.key().slot().index() as u8);
        assert!(
            (load(n) - least).abs() < 1e-9,
            "{counts:?}: {n} is not a least one"
        );
        counts[n] += 1;
        leases.push(lease);
    }
    assert_eq!(counts, [30, 6, 18, 12], "shares by weight");
}

#[test]
fn an_offer_never_grows() {
    let pool = pool_with(
        70,
        &[3],
        strategy(|turn| {
            let before = turn.len();
            turn.mask(0, u64::MAX);
            turn.mask(1, u64::MAX);
            turn.mask(9, 0);
            assert_eq!(
                turn.len(),
                before,
                "keeping all takes nothing out and brings nothing back"
            );
            turn.retain(|at| at.key.slot().index() % 2 == 0);
            let even = turn.len();
            assert_eq!(even, 35);
            turn.retain_among(0, 0b1111, |_| false);
            assert_eq!(turn.len(), even - 2, "of slots 0 to 3, 0 and 2 were left");
            let key = turn.nth(0)?;
            turn.exclude(key);
            turn.exclude(key);
            assert_eq!(turn.len(), even - 3);
            assert!(!turn.offers(key.slot()));
            turn.nth(0)
        }),
    );
    assert_eq!(pick(&pool, &Ask::new()).unwrap(), "k6");
}

#[test]
fn a_key_that_is_not_offered_is_not_leased() {
    // Debug builds say which strategy it was; release builds refuse the call.
    let gate = Arc::new(SpyGate::new());
    gate.bar("k0", Denied::for_good(Scope::Key));
    let stale = strategy(|turn| turn.keys().iter().next());
    let pool = behind(pool_of(2), &[Arc::clone(&gate)])
        .strategy(stale)
        .build()
        .unwrap();
    let picked = catch_unwind(AssertUnwindSafe(|| pool.select(&Ask::new()).map(drop)));
    assert!(!matches!(picked, Ok(Ok(()))), "the key was leased");
    assert_eq!((pool.in_flight(), gate.inside()), (0, 0));
}

#[test]
fn a_strategy_that_insists_on_a_refused_key_does_not_hang_the_pool() {
    let gate = Arc::new(SpyGate::new());
    gate.refuse("k0");
    let stale = strategy(|turn| turn.keys().iter().next());
    let pool = behind(pool_of(2), &[Arc::clone(&gate)])
        .strategy(stale)
        .build()
        .unwrap();
    let picked = catch_unwind(AssertUnwindSafe(|| pool.select(&Ask::new()).map(drop)));
    assert!(!matches!(picked, Ok(Ok(()))), "the key was leased");
    assert_eq!((pool.in_flight(), gate.inside()), (0, 0));
}

#[test]
fn the_time_of_a_turn_is_read_once() {
    use std::sync::atomic::{AtomicU64, Ordering};

    use fairkey_core::{Clock, Timestamp};

    #[derive(Debug, Default)]
    struct Counting(AtomicU64);
    impl Clock for Counting {
        fn now(&self) -> Timestamp {
            Timestamp::from_nanos(self.0.fetch_add(1, Ordering::Relaxed))
        }
    }
    let clock = Arc::new(Counting::default());
    let pool = pool_of(3)
        .clock(Arc::clone(&clock))
        .strategy(strategy(|turn| {
            let now = turn.now();
            turn.retain(|at| at.now == now);
            turn.nth(0)
        }))
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(clock.0.load(Ordering::Relaxed), 1, "once for the selection");
    assert_eq!(lease.begun(), Timestamp::ZERO);
    lease.finish(Outcome::Success);
    assert_eq!(clock.0.load(Ordering::Relaxed), 2, "and once for the end");
}
