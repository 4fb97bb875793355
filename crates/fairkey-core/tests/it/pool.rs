//! Building a pool, and selecting from it.

use std::collections::HashSet;
use std::sync::Arc;

use fairkey_core::{Ask, BuildError, Cost, Key, KeyId, Outcome, Pool, Tried, Unavailable};
use fairkey_testkit::assert_holds;
use fairkey_testkit::law::strategy as law;

use crate::support::{Notes, in_flight, keys, pick, pool_of, strategy};

#[test]
fn the_strategy_of_a_pool_without_one_obeys_the_laws() {
    // It has no name; the same choice is made by a strategy that asks the turn for it.
    let least = || Box::new(strategy(|turn| turn.least_loaded())) as _;
    assert_holds(law::check(least));
    assert_holds(law::ties_are_broken_evenly(least));
    assert_holds(law::one_key_down_leaves_the_others_even(least, 0.2));
    assert_holds(law::share_follows_weight(least, 0.2));
    let pool = pool_of(3).build().unwrap();
    let leases: Vec<_> = (0..6).map(|_| pool.select(&Ask::new()).unwrap()).collect();
    for id in ["k0", "k1", "k2"] {
        assert_eq!(in_flight(&pool, id), 2);
    }
    drop(leases);
}

#[test]
fn sets_of_keys_that_make_no_pool_are_refused_by_name() {
    let build = |keys: Vec<Key>| Pool::builder().keys(keys).build().map(drop);
    let refused: [(Vec<Key>, BuildError, &str); 6] = [
        (vec![], BuildError::NoKey, "a pool needs at least one key"),
        (
            vec![Key::new("a", "1"), Key::new("a", "2")],
            BuildError::SameId("a".into()),
            "two keys are called \"a\": give each its own label",
        ),
        (
            vec![Key::new("a", "1"), Key::new("b", " 1\n")],
            BuildError::SameSecret("a".into(), "b".into()),
            "keys \"a\" and \"b\" have the same secret: leave one out",
        ),
        (
            vec![Key::new("a", " \n")],
            BuildError::EmptySecret("a".into()),
            "key \"a\" has an empty secret",
        ),
        (
            vec![Key::new("", "1")],
            BuildError::BadId("".into()),
            "key label \"\" is empty or has control characters",
        ),
        (
            vec![Key::new("a\nb", "1")],
            BuildError::BadId("a\nb".into()),
            "key label \"a\\nb\" is empty or has control characters",
        ),
    ];
    for (keys, error, text) in refused {
        assert_eq!(build(keys), Err(error.clone()));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn what_was_tried_is_not_offered_again() {
    let accounts = [
        ("a", Some("one")),
        ("b", Some("one")),
        ("c", None),
        ("d", Some("two")),
    ];
    let key = |(id, account): (&str, Option<&str>)| match account {
        Some(account) => Key::new(id, id).account(account),
        None => Key::new(id, id),
    };
    let pool = Pool::builder().keys(accounts.map(key)).build().unwrap();
    let slot = |id: &str| pool.with_keys(|keys| keys.find(id).unwrap().tenure());
    let account = |id: &str| pool.with_keys(|keys| keys.find(id).unwrap().account_tenure());
    let offered = |tried: &Tried| -> HashSet<String> {
        let ask = Ask::new().with_tried(tried);
        (0..100).filter_map(|_| pick(&pool, &ask).ok()).collect()
    };
    let labels = |ids: &[&str]| {
        ids.iter()
            .map(|id| (*id).to_string())
            .collect::<HashSet<_>>()
    };

    let mut tried = Tried::new();
    assert_eq!(offered(&tried), labels(&["a", "b", "c", "d"]));
    tried.add_key(slot("c"));
    assert_eq!(offered(&tried), labels(&["a", "b", "d"]));
    tried.add_account(account("b"));
    assert_eq!(offered(&tried), labels(&["d"]));
    tried.add_key(slot("d"));
    assert_eq!(offered(&tried), labels(&[]));
    let nobody = Unavailable {
        retry_at: None,
        by: None,
        by_limit: false,
    };
    assert_eq!(pick(&pool, &Ask::new().with_tried(&tried)), Err(nobody));
    assert_eq!(nobody.to_string(), "no key is left to try");
    tried.clear();
    assert!(tried.is_empty());
    assert_eq!(offered(&tried).len(), 4);
}

#[test]
fn what_was_tried_in_a_larger_pool_is_ignored() {
    let large = pool_of(200).build().unwrap();
    let mut tried = Tried::new();
    large.with_keys(|keys| {
        for key in keys.iter().skip(64) {
            tried.add_key(key);
            tried.add_account(key);
        }
    });
    let small = pool_of(3).build().unwrap();
    assert!(small.select(&Ask::new().with_tried(&tried)).is_ok());
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = |seed| -> Vec<String> {
        let pool = pool_of(10).seed(seed).build().unwrap();
        (0..50).map(|_| pick(&pool, &Ask::new()).unwrap()).collect()
    };
    assert_eq!(choices(1), choices(1));
    assert_ne!(choices(1), choices(2));
}

#[test]
fn pools_without_a_seed_choose_differently() {
    let choices = || -> Vec<String> {
        let pool = Pool::builder().keys(keys(0..10)).build().unwrap();
        (0..50).map(|_| pick(&pool, &Ask::new()).unwrap()).collect()
    };
    assert_ne!(choices(), choices());
}

#[test]
fn a_strategy_may_select_from_another_pool() {
    let inner = Arc::new(pool_of(2).build().unwrap());
    let other = Arc::clone(&inner);
    let outer = pool_of(2)
        .strategy(strategy(move |turn| {
            let lease = other.select(&Ask::new()).ok()?;
            let n = usize::from(lease.key().id().as_str() == "k1");
            turn.nth(n)
        }))
        .build()
        .unwrap();
    for _ in 0..100 {
        let lease = outer.select(&Ask::new()).unwrap();
        assert_eq!((outer.in_flight(), inner.in_flight()), (1, 0));
        lease.finish(Outcome::Success);
    }
    assert_eq!(outer.in_flight(), 0);
}

#[test]
fn calls_of_several_pools_on_one_thread_do_not_mix() {
    // A thread keeps what a lease pointed at for its next call, in whichever pool that is.
    let (one, other) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let first = pool_of(2).observer(Arc::clone(&one) as _).build().unwrap();
    let second = Pool::builder()
        .keys([Key::new("x", "x")])
        .observer(Arc::clone(&other) as _)
        .build()
        .unwrap();
    let cost = Cost {
        requests: 1,
        tokens: 7,
        micro_usd: 9,
    };
    let mut lease = first.select(&Ask { cost, ..Ask::new() }).unwrap();
    lease.note_first_content();
    lease.note_actual(cost);
    lease.finish(Outcome::Success);
    assert_eq!(one.reports()[0].actual, Some(cost));

    let lease = second.select(&Ask::new()).unwrap();
    assert_eq!(lease.key().id().as_str(), "x");
    assert_eq!(lease.reserved(), Cost::ONE);
    drop(lease);
    let report = other.reports()[0];
    assert_eq!(report.outcome, Outcome::Neutral);
    assert_eq!((report.first_content, report.actual), (None, None));
    assert_eq!(report.reserved, Cost::ONE);
    assert_eq!(one.reports(), []);
}

#[test]
fn a_key_is_exposed_by_its_label_only() {
    let pool = pool_of(2).build().unwrap();
    assert_eq!(pool.expose_key("k1").unwrap().expose(), "sk-test-1");
    assert!(pool.expose_key("k2").is_none());
    assert_eq!((pool.len(), pool.is_empty()), (2, false));
}

#[test]
fn keys_are_found_by_slot_and_by_label() {
    let pool = pool_of(130).build().unwrap();
    pool.with_keys(|keys| {
        assert_eq!(keys.iter().count(), 130);
        assert!(keys.slots() >= 130 && keys.account_slots() >= 130);
        for key in keys.iter() {
            assert_eq!(keys.get(key.slot()).unwrap().id(), key.id());
            assert_eq!(keys.find(key.id().as_str()).unwrap().slot(), key.slot());
            assert_eq!(key.account_id(), None);
            assert_eq!(keys.account_id(key.account()), None);
            let members = keys.members(key.account());
            assert_eq!(
                members
                    .iter()
                    .map(|(_, bits)| bits.count_ones())
                    .sum::<u32>(),
                1
            );
        }
        assert!(keys.find("k130").is_none());
        assert_eq!(keys.fresh().len(), 130, "at the start, every key is new");
    });
}

#[test]
fn weights_are_uniform_only_where_all_are_the_same() {
    let uniform = |weights: &[u32]| {
        let key =
            |(n, weight): (usize, &u32)| Key::new(format!("k{n}"), format!("{n}")).weight(*weight);
        let pool = Pool::builder()
            .keys(weights.iter().enumerate().map(key))
            .build()
            .unwrap();
        pool.with_keys(fairkey_core::KeySet::is_uniform)
    };
    assert!(uniform(&[1]) && uniform(&[3, 3, 3]));
    assert!(!uniform(&[3, 3, 1]) && !uniform(&[1, 3, 3]));
}

#[test]
fn an_account_and_a_key_of_the_same_label_are_two() {
    let pool = Pool::builder()
        .key(Key::new("acme", "1"))
        .key(Key::new("b", "2").account("acme"))
        .build()
        .unwrap();
    pool.with_keys(|keys| {
        let (alone, owned) = (keys.find("acme").unwrap(), keys.find("b").unwrap());
        assert_ne!(alone.account(), owned.account());
        assert_eq!(alone.account_id(), None);
        assert_eq!(owned.account_id().map(|id| id.as_str()), Some("acme"));
        assert_eq!(KeyId::from("acme"), *alone.id());
    });
}
