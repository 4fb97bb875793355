//! Other keys under the same calls: what stays, what goes, who gets whose slot.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fairkey_core::{Ask, BuildError, Key, Outcome, Pool, Reload, Slot, Tried};
use fairkey_testkit::{Spy, SpyGate};

use crate::support::{behind, in_flight, keys, pick, pool_of, strategy};

fn slot(pool: &Pool, id: &str) -> Slot {
    pool.with_keys(|keys| keys.find(id).unwrap().slot())
}

fn labels(ids: &[&str]) -> Vec<fairkey_core::KeyId> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// Selects the key `id`.
fn wanted(pool: &Pool, id: &str) -> fairkey_core::Lease {
    let n = pool.with_keys(|keys| keys.iter().position(|key| key.id().as_str() == id).unwrap());
    pool.select(&Ask::new().with_affinity(n as u64)).unwrap()
}

fn wanting(builder: fairkey_core::PoolBuilder) -> Pool {
    builder.strategy(fairkey_testkit::Wanted).build().unwrap()
}

#[test]
fn a_reload_tells_what_it_changed() {
    let pool = pool_of(3).build().unwrap();
    let reload = pool
        .reload([
            Key::new("new", "sk-new"),
            Key::new("k1", "sk-another"),
            Key::new("k0", "sk-test-0").weight(9).account("acme"),
        ])
        .unwrap();
    assert_eq!(
        reload,
        Reload {
            added: labels(&["new"]),
            removed: labels(&["k2"]),
            kept: labels(&["k0"]),
            replaced: labels(&["k1"]),
        }
    );
    pool.with_keys(|keys| {
        let kept = keys.find("k0").unwrap();
        assert_eq!(
            (kept.weight(), kept.account_id().unwrap().as_str()),
            (9, "acme")
        );
        assert_eq!(keys.fresh().len(), 2);
        assert!(!keys.fresh().contains(&kept.slot()));
    });
    assert_eq!(pool.expose_key("k1").unwrap().expose(), "sk-another");
}

#[test]
fn a_key_that_stays_keeps_its_slot_and_its_calls_whatever_else_changes() {
    let pool = wanting(pool_of(3));
    let lease = wanted(&pool, "k1");
    let before = slot(&pool, "k1");
    pool.reload([
        Key::new("x", "sk-x"),
        Key::new("k1", "sk-test-1").weight(5).account("acme"),
    ])
    .unwrap();
    assert_eq!(slot(&pool, "k1"), before);
    assert_eq!((in_flight(&pool, "k1"), pool.in_flight()), (1, 1));
    // The lease still sees the key as it was when the call began.
    assert_eq!((lease.key().weight(), lease.key().account_id()), (1, None));
    let second = wanted(&pool, "k1");
    assert_eq!((in_flight(&pool, "k1"), lease.key().in_flight()), (2, 2));
    lease.finish(Outcome::Success);
    assert_eq!(in_flight(&pool, "k1"), 1);
    drop(second);
    assert_eq!((in_flight(&pool, "k1"), pool.in_flight()), (0, 0));
}

#[test]
fn another_secret_makes_another_key() {
    let pool = wanting(pool_of(1));
    let lease = wanted(&pool, "k0");
    let before = slot(&pool, "k0");
    pool.reload([Key::new("k0", "sk-rotated")]).unwrap();
    assert_ne!(
        slot(&pool, "k0"),
        before,
        "the old key's calls still need its slot"
    );
    assert_eq!((in_flight(&pool, "k0"), pool.in_flight()), (0, 1));
    assert_eq!(
        lease.expose_key().expose(),
        "sk-test-0",
        "the call goes on with the old one"
    );
    assert_eq!(wanted(&pool, "k0").expose_key().expose(), "sk-rotated");
    lease.finish(Outcome::Success);
    assert_eq!((in_flight(&pool, "k0"), pool.in_flight()), (0, 0));
}

#[test]
fn a_slot_is_given_to_another_key_only_when_its_last_lease_is_gone() {
    let pool = wanting(pool_of(2));
    let (one, two) = (wanted(&pool, "k1"), wanted(&pool, "k1"));
    let freed = slot(&pool, "k1");
    pool.reload(keys([0])).unwrap();
    pool.reload(keys([0, 5])).unwrap();
    assert_ne!(slot(&pool, "k5"), freed);
    assert_eq!(
        pool.in_flight(),
        2,
        "calls of a key that is gone still count"
    );
    one.finish(Outcome::Success);
    pool.reload(keys([0, 5, 6])).unwrap();
    assert_ne!(slot(&pool, "k6"), freed, "one call of the old key is left");
    two.finish(Outcome::Success);
    pool.reload(keys([0, 5, 6, 7])).unwrap();
    assert_eq!(slot(&pool, "k7"), freed);
    assert_eq!((in_flight(&pool, "k7"), pool.in_flight()), (0, 0));
    pool.with_keys(|keys| assert_eq!(keys.fresh(), [freed]));
}

#[test]
fn a_key_that_went_and_came_back_starts_afresh() {
    let pool = wanting(pool_of(2));
    let lease = wanted(&pool, "k1");
    let before = slot(&pool, "k1");
    pool.reload(keys([0])).unwrap();
    let reload = pool.reload(keys([0, 1])).unwrap();
    assert_eq!(
        (reload.added, reload.kept),
        (labels(&["k1"]), labels(&["k0"]))
    );
    assert_ne!(slot(&pool, "k1"), before);
    assert_eq!((in_flight(&pool, "k1"), pool.in_flight()), (0, 1));
    lease.finish(Outcome::Success);
    assert_eq!((in_flight(&pool, "k1"), pool.in_flight()), (0, 0));
}

#[test]
fn what_a_call_has_tried_is_not_held_against_who_comes_into_the_slot() {
    let pool = pool_of(2).build().unwrap();
    let mut tried = Tried::new();
    pool.with_keys(|keys| {
        tried.add_key(keys.find("k1").unwrap());
        tried.add_account(keys.find("k1").unwrap());
    });
    let before = slot(&pool, "k1");
    pool.reload(keys([0])).unwrap();
    pool.reload(keys([0, 9])).unwrap();
    assert_eq!(
        slot(&pool, "k9"),
        before,
        "the slot of the key that was tried"
    );
    let ask = Ask::new().with_tried(&tried);
    let explanation = pool.explain(&ask);
    assert!(explanation.keys.iter().all(|key| !key.tried));
    let held: HashSet<String> = (0..50).map(|_| pick(&pool, &ask).unwrap()).collect();
    assert_eq!(held.len(), 2, "{held:?}");
    // What stays is what was tried still, under whatever weight.
    let mut tried = Tried::new();
    pool.with_keys(|keys| tried.add_key(keys.find("k9").unwrap()));
    pool.reload(keys([9, 0]).into_iter().map(|key| key.weight(3)))
        .unwrap();
    let ask = Ask::new().with_tried(&tried);
    assert!((0..50).all(|_| pick(&pool, &ask).unwrap() == "k0"));
}

#[test]
fn a_removed_key_is_never_selected_again_on_any_thread() {
    let pool = pool_of(4).build().unwrap();
    let removed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let gone = removed.load(Ordering::SeqCst);
                    let picked = pick(&pool, &Ask::new()).unwrap();
                    if gone {
                        assert_ne!(picked, "k3");
                        break;
                    }
                }
            });
        }
        pool.reload(keys(0..3)).unwrap();
        removed.store(true, Ordering::SeqCst);
    });
}

#[test]
fn accounts_stay_while_any_of_their_keys_does() {
    let account = |pool: &Pool, id: &str| pool.with_keys(|keys| keys.find(id).unwrap().account());
    let key = |n: u16, owner: &str| keys([n]).remove(0).account(owner);
    let pool = Pool::builder()
        .keys([key(0, "one"), key(1, "one"), key(2, "two")])
        .build()
        .unwrap();
    let (one, two) = (account(&pool, "k0"), account(&pool, "k2"));
    assert_ne!(one, two);
    // One key leaves the account, one moves into it, one is left alone.
    pool.reload([key(0, "one"), key(2, "one"), keys([1]).remove(0)])
        .unwrap();
    assert_eq!((account(&pool, "k0"), account(&pool, "k2")), (one, one));
    assert_ne!(account(&pool, "k1"), one);
    pool.with_keys(|keys| {
        assert_eq!(
            keys.members(one)
                .iter()
                .map(|(_, bits)| bits.count_ones())
                .sum::<u32>(),
            2
        );
        assert_eq!(keys.fresh_accounts(), [keys.find("k1").unwrap().account()]);
        assert!(keys.fresh().is_empty());
    });
}

#[test]
fn another_secret_of_a_key_that_is_alone_makes_another_account() {
    let account = |pool: &Pool, id: &str| pool.with_keys(|keys| keys.find(id).unwrap().account());
    let pool = pool_of(2).build().unwrap();
    let (alone, other) = (account(&pool, "k0"), account(&pool, "k1"));
    pool.reload([Key::new("k0", "sk-rotated"), keys([1]).remove(0)])
        .unwrap();
    assert_ne!(
        account(&pool, "k0"),
        alone,
        "what closed the old one is not its business"
    );
    assert_eq!(account(&pool, "k1"), other);
    pool.with_keys(|keys| assert_eq!(keys.fresh_accounts(), [account(&pool, "k0")]));
}

#[test]
fn a_set_that_is_refused_changes_nothing() {
    let spy = Spy::new();
    let pool = pool_of(2).strategy(spy.clone()).build().unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(pool.reload([]), Err(BuildError::NoKey));
    let same = [Key::new("a", "x"), Key::new("b", "x")];
    assert_eq!(
        pool.reload(same),
        Err(BuildError::SameSecret("a".into(), "b".into()))
    );
    assert_eq!((pool.len(), pool.in_flight(), spy.rekeyed()), (2, 1, 1));
    drop(lease);
}

#[test]
fn strategy_and_gates_know_a_key_before_it_can_be_picked() {
    // A gate that has not made room for a slot would have to guess; it never sees one.
    #[derive(Debug, Default)]
    struct Known(std::sync::Mutex<usize>);
    impl fairkey_core::Gate for Known {
        fn check(&self, at: &fairkey_core::At<'_>) -> Result<(), fairkey_core::Denied> {
            assert!(at.key.slot().index() < *self.0.lock().unwrap());
            Ok(())
        }
        fn rekey(&self, keys: &fairkey_core::KeySet) {
            let mut known = self.0.lock().unwrap();
            *known = (*known).max(keys.slots());
        }
    }
    let pool = pool_of(1).gate(Known::default()).build().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let _ = pick(&pool, &Ask::new());
                }
            });
        }
        for n in [60, 70, 200, 500, 10, 1_000] {
            pool.reload(keys(0..n)).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn reloads_from_several_threads_come_one_after_the_other() {
    let gate = Arc::new(SpyGate::new());
    let pool = behind(pool_of(4), &[Arc::clone(&gate)]).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3_u16 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..20 {
                    pool.reload(keys(0..3 + (n + thread) % 4)).unwrap();
                    pool.select(&Ask::new()).unwrap().finish(Outcome::Success);
                }
            });
        }
    });
    assert_eq!(gate.rekeyed(), 61);
    assert_eq!((pool.in_flight(), gate.inside()), (0, 0));
    let slots: std::collections::HashSet<usize> =
        pool.with_keys(|keys| keys.iter().map(|key| key.slot().index()).collect());
    assert_eq!(slots.len(), pool.len());
}

#[test]
fn slots_do_not_pile_up_over_many_reloads() {
    let pool = pool_of(2).build().unwrap();
    for n in 0..1_000 {
        pool.reload(keys([n, n + 1])).unwrap();
        drop(pool.select(&Ask::new()).unwrap());
    }
    assert_eq!(pool.with_keys(fairkey_core::KeySet::slots), 64);
    assert!(pool.with_keys(fairkey_core::KeySet::account_slots) <= 64);
}

#[test]
fn ten_thousand_keys_reload_and_keep_their_calls() {
    let pool = Pool::builder()
        .keys(keys(0..10_000))
        .strategy(strategy(|turn| turn.least_loaded()))
        .build()
        .unwrap();
    let leases: Vec<_> = (0..500)
        .map(|_| pool.select(&Ask::new()).unwrap())
        .collect();
    let busy: Vec<(String, Slot)> = (leases.iter())
        .map(|lease| (lease.key().id().to_string(), lease.key().slot()))
        .collect();
    // Every other key goes, as many new ones come.
    let next = (0..10_000).filter(|n| n % 2 == 0).chain(10_000..15_000);
    let reload = pool.reload(keys(next)).unwrap();
    assert_eq!(
        (reload.kept.len(), reload.removed.len(), reload.added.len()),
        (5_000, 5_000, 5_000)
    );
    assert_eq!((pool.len(), pool.in_flight()), (10_000, 500));
    for (id, old) in &busy {
        if let Some(now) = pool.with_keys(|keys| keys.find(id).map(|key| key.slot())) {
            assert_eq!(now, *old);
        }
    }
    drop(leases);
    assert_eq!(pool.in_flight(), 0);
    let more: Vec<_> = (0..10_000)
        .map(|_| pool.select(&Ask::new()).unwrap())
        .collect();
    pool.with_keys(|keys| assert!(keys.iter().all(|key| key.in_flight() == 1)));
    drop(more);
}

#[test]
fn every_label_is_found_and_no_other_over_reloads() {
    let label = |n: usize| format!("key-{n}");
    let keys_of = |range: std::ops::Range<usize>| {
        let key = move |n| Key::new(label(n), format!("secret-{n}"));
        range.map(key).collect::<Vec<_>>()
    };
    let pool = wanting(Pool::builder().keys(keys_of(0..300)));
    for range in [0..300, 100..500, 499..500] {
        pool.reload(keys_of(range.clone())).unwrap();
        pool.with_keys(|set| {
            for n in 0..600 {
                let found = set.find(&label(n)).map(|key| key.id().to_string());
                assert_eq!(found, range.contains(&n).then(|| label(n)));
            }
            assert!(set.find("").is_none());
        });
    }
}
