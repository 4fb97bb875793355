//! What a reload keeps and what it does not.

use fairkey_core::{FaultKind, Key, Outcome, Scope};
use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};

use super::{rig, touchy};
use crate::support::{Rig, failed, keys, secs};

#[test]
fn a_key_that_stays_stays_out() {
    let rig = rig(touchy());
    rig.calls(1, failed());
    let before = rig.open_for();
    rig.pool
        .reload([
            keys(1).remove(0).weight(7).account("acme"),
            Key::new("new", "x"),
        ])
        .unwrap();
    assert_eq!(rig.open_for(), before);
    assert_eq!(rig.admitted(), ["new"]);
    rig.advance(secs(10));
    let _probe = rig.select(0).unwrap();
    rig.pool.reload(keys(1)).unwrap();
    assert!(rig.select(0).is_err(), "and its probe is out still");
}

#[test]
fn counts_survive_a_reload() {
    let rig = rig(BreakerConfig {
        consecutive: Some(3),
        ..touchy()
    });
    rig.calls(2, failed());
    rig.pool.reload(keys(2)).unwrap();
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(!rig.is_closed());
}

#[test]
fn a_new_secret_is_a_new_chance() {
    let rig = rig(touchy());
    rig.calls(1, failed());
    rig.pool.reload([Key::new("k0", "sk-rotated")]).unwrap();
    assert!(rig.is_closed());
    assert_eq!(rig.capacity(), 100);
}

#[test]
fn a_key_in_the_slot_of_another_starts_closed() {
    let rig = Rig::with(SlidingWindowBreaker::new(touchy()), keys(2), |builder| {
        builder
    });
    assert!(rig.call_of(1, failed()));
    let slot = rig.key(1, |key| key.slot());
    rig.pool.reload(keys(1)).unwrap();
    rig.pool
        .reload([keys(1).remove(0), Key::new("other", "x")])
        .unwrap();
    assert_eq!(rig.key(1, |key| key.slot()), slot);
    assert_eq!(rig.admitted(), ["k0", "other"]);
    assert!(rig.call_of(1, failed()));
    assert_eq!(
        rig.until(1).flatten().unwrap().since(rig.pool.now()),
        secs(10),
        "not doubled"
    );
}

#[test]
fn a_call_of_a_key_that_is_gone_counts_for_nobody() {
    let rig = Rig::with(SlidingWindowBreaker::new(touchy()), keys(2), |builder| {
        builder
    });
    let lease = rig.select(1).unwrap();
    rig.pool.reload(keys(1)).unwrap();
    rig.pool
        .reload([keys(1).remove(0), Key::new("other", "x")])
        .unwrap();
    lease.finish(failed());
    assert_eq!(rig.admitted(), ["k0", "other"]);
}

#[test]
fn an_account_stays_out_for_a_key_that_joins_it() {
    let owned = |n: usize| keys(3).remove(n).account("acme");
    let breaker = SlidingWindowBreaker::per_account(touchy());
    let rig = Rig::with(breaker, vec![owned(0), keys(2).remove(1)], |builder| {
        builder
    });
    assert!(rig.call_of(0, Outcome::fault(Scope::Account, FaultKind::Failed)));
    rig.pool
        .reload([owned(0), owned(1), keys(3).remove(2)])
        .unwrap();
    assert_eq!(rig.admitted(), ["k2"]);
    rig.pool.reload([owned(1), keys(1).remove(0)]).unwrap();
    assert_eq!(
        rig.admitted(),
        ["k0"],
        "who leaves it is free, who stays is not"
    );
}

#[test]
fn many_keys_have_a_breaker_each() {
    let rig = Rig::with(
        SlidingWindowBreaker::new(touchy()),
        keys(10_000),
        |builder| builder,
    );
    for n in [0_u64, 63, 64, 4_095, 9_999] {
        assert!(rig.call_of(n, failed()));
        assert!(rig.select(n).is_err());
    }
    assert_eq!(rig.admitted().len(), 9_995);
    rig.pool.reload(keys(10)).unwrap();
    assert_eq!(rig.admitted().len(), 9);
    rig.pool.reload(keys(10_000)).unwrap();
    assert_eq!(
        rig.admitted().len(),
        9_999,
        "what went and came back starts afresh"
    );
}
