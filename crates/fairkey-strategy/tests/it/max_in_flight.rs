//! A cap is a cap.

use fairkey_core::{FaultKind, Outcome, Scope, Unavailable};
use fairkey_strategy::MaxInFlight;

use crate::support::{Rig, keys};

#[test]
fn so_many_calls_at_a_time_and_not_one_more() {
    for cap in [1, 2, 5] {
        let rig = Rig::new(MaxInFlight::per_key(cap));
        let mut leases: Vec<_> = (0..cap).map(|_| rig.select(0).unwrap()).collect();
        let full = Unavailable {
            retry_at: None,
            by: Some(Scope::Local),
            by_limit: true,
        };
        assert_eq!(rig.select(0).map(drop), Err(full));
        drop(leases.pop());
        assert!(rig.select(0).is_ok());
    }
}

#[test]
fn zero_counts_as_one() {
    let rig = Rig::new(MaxInFlight::per_key(0));
    let lease = rig.select(0).unwrap();
    assert!(rig.select(0).is_err());
    drop(lease);
    assert!(rig.select(0).is_ok());
}

#[test]
fn any_end_makes_room() {
    let rig = Rig::new(MaxInFlight::per_key(1));
    let mut ends: Vec<Outcome> = (Scope::ALL.into_iter())
        .map(|scope| Outcome::fault(scope, FaultKind::Failed))
        .collect();
    ends.extend([Outcome::Success, Outcome::Neutral]);
    for end in ends {
        let lease = rig.select(0).unwrap();
        assert!(rig.select(0).is_err());
        lease.finish(end);
    }
    assert!(rig.select(0).is_ok());
}

#[test]
fn each_key_has_its_own_room() {
    let rig = Rig::with(MaxInFlight::per_key(1), keys(3), |builder| builder);
    let leases: Vec<_> = (0..3).map(|n| rig.select(n).unwrap()).collect();
    assert!(rig.admitted().is_empty());
    drop(leases);
    assert_eq!(rig.admitted().len(), 3);
}

#[test]
fn the_keys_of_an_account_share_its_room() {
    let mut owned = keys(4);
    for n in [0, 2] {
        owned[n] = owned[n].clone().account("acme");
    }
    let rig = Rig::with(MaxInFlight::per_account(2), owned, |builder| builder);
    let (one, two) = (rig.select(0).unwrap(), rig.select(2).unwrap());
    assert_eq!(rig.admitted(), ["k1", "k3"]);
    let others: Vec<_> = [1, 1, 3, 3].map(|n| rig.select(n).unwrap()).into();
    assert!(
        rig.admitted().is_empty(),
        "a key alone has room for as many"
    );
    drop(two);
    assert_eq!(rig.admitted(), ["k0", "k2"]);
    drop((one, others));
}

#[test]
fn a_key_that_stays_keeps_its_calls_and_a_new_one_starts_empty() {
    let rig = Rig::with(MaxInFlight::per_key(1), keys(2), |builder| builder);
    let (kept, removed) = (rig.select(0).unwrap(), rig.select(1).unwrap());
    rig.pool
        .reload([keys(1).remove(0), fairkey_core::Key::new("new", "x")])
        .unwrap();
    assert_eq!(rig.admitted(), ["new"]);
    removed.finish(Outcome::Success);
    assert_eq!(
        rig.admitted(),
        ["new"],
        "the end of a removed key's call makes no room elsewhere"
    );
    kept.finish(Outcome::Success);
    assert_eq!(rig.admitted(), ["k0", "new"]);
}

#[test]
fn a_call_counts_for_the_account_it_began_in() {
    let owned = |owner: &str| {
        vec![
            keys(1).remove(0).account(owner),
            keys(2).remove(1).account(owner),
        ]
    };
    let rig = Rig::with(MaxInFlight::per_account(1), owned("one"), |builder| builder);
    let lease = rig.select(0).unwrap();
    // Both keys move to another account, which has had no call.
    rig.pool.reload(owned("two")).unwrap();
    let second = rig.select(1).unwrap();
    assert!(rig.admitted().is_empty());
    lease.finish(Outcome::Success);
    assert!(
        rig.admitted().is_empty(),
        "its end makes no room in the new account"
    );
    second.finish(Outcome::Success);
    assert_eq!(rig.admitted().len(), 2);
    assert!(rig.select(0).is_ok());
}
