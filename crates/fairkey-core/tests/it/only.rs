//! Calls that only some keys may serve.

use std::collections::BTreeSet;
use std::time::Duration;

use fairkey_core::{Ask, At, Denied, Gate, Key, Only, Pool, Scope, Timestamp};
use proptest::prelude::*;

use crate::support::{first, keys, pick, pool_of, strategy};

/// Takes any of what is on offer, by chance.
fn any() -> impl fairkey_core::Strategy {
    strategy(|turn| turn.random())
}

fn pool_with_accounts(n: u16, accounts: u16) -> Pool {
    let keys = (0..n).map(|n| {
        Key::new(format!("k{n}"), format!("sk-test-{n}")).account(format!("a{}", n % accounts))
    });
    let builder = Pool::builder().keys(keys).seed(1).strategy(any());
    builder.build().unwrap()
}

proptest! {
    /// A restricted call is served by what it allows, by each of those, and by nothing else; what
    /// the pool does not have is no harm.
    #[test]
    fn a_restricted_call_is_served_by_every_key_it_allows_and_by_no_other(
        n in 1..150u16,
        wanted in prop::collection::btree_set(0..200u16, 0..6),
        accounts in prop::collection::btree_set(0..9u16, 0..3),
    ) {
        let pool = pool_with_accounts(n, 7);
        let only = Only::keys(wanted.iter().map(|n| format!("k{n}")))
            .and_accounts(accounts.iter().map(|n| format!("a{n}")));
        let allowed: BTreeSet<String> = (0..n)
            .filter(|key| wanted.contains(key) || accounts.contains(&(key % 7)))
            .map(|key| format!("k{key}"))
            .collect();
        let ask = Ask::new().with_only(&only);
        let explained = pool.explain(&ask).keys;
        let explained: BTreeSet<String> =
            explained.iter().map(|key| key.id.as_str().to_owned()).collect();
        prop_assert_eq!(&explained, &allowed);
        let mut served = BTreeSet::new();
        for _ in 0..allowed.len() * 20 {
            served.insert(pick(&pool, &ask).expect("some key is allowed"));
        }
        prop_assert!(served.is_subset(&allowed), "{:?} of {:?}", served, allowed);
        if allowed.len() <= 2 {
            prop_assert_eq!(&served, &allowed);
        }
        if allowed.is_empty() {
            let refused = pool.select(&ask).unwrap_err();
            prop_assert_eq!((refused.retry_at, refused.by), (None, None));
        }
    }
}

/// Closes `k0` until 5 s, and all others until 9 s.
#[derive(Debug)]
struct Closed;

impl Gate for Closed {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let s = if at.key.id().as_str() == "k0" { 5 } else { 9 };
        let until = Timestamp::ZERO + Duration::from_secs(s);
        Err(Denied::until(Scope::Key, until))
    }
}

#[test]
fn the_time_to_come_again_is_that_of_the_keys_it_may_use() {
    let builder = pool_of(3).strategy(first()).gate(Closed);
    let pool = builder
        .clock(fairkey_core::ManualClock::new())
        .build()
        .unwrap();
    let seconds = |ask: &Ask<'_>| {
        let at = pool.select(ask).unwrap_err().retry_at;
        at.map(|at| at.since(Timestamp::ZERO).as_secs())
    };
    assert_eq!(seconds(&Ask::new()), Some(5));
    let only = Only::keys(["k2"]);
    assert_eq!(seconds(&Ask::new().with_only(&only)), Some(9));
}

#[test]
fn a_key_that_a_reload_brings_serves_those_who_are_restricted_to_it() {
    let pool = pool_of(2).strategy(first()).build().unwrap();
    let only = Only::keys(["k7"]);
    let ask = Ask::new().with_only(&only);
    assert!(pool.select(&ask).is_err());
    pool.reload(keys([1, 7])).unwrap();
    assert_eq!(pick(&pool, &ask).as_deref(), Ok("k7"));
    pool.reload(keys([1])).unwrap();
    assert!(pool.select(&ask).is_err());
}

#[test]
fn what_was_tried_is_not_allowed_again() {
    let pool = pool_of(3).strategy(first()).build().unwrap();
    let only = Only::keys(["k1", "k2"]);
    let ask = Ask::new().with_only(&only);
    let mut tried = fairkey_core::Tried::new();
    tried.add_key(pool.select(&ask).unwrap().key());
    let ask = ask.with_tried(&tried);
    assert_eq!(pick(&pool, &ask).as_deref(), Ok("k2"));
    tried.add_key(
        pool.select(&Ask::new().with_only(&only).with_tried(&tried))
            .unwrap()
            .key(),
    );
    assert!(
        pool.select(&Ask::new().with_only(&only).with_tried(&tried))
            .is_err()
    );
}
