//! All gates before one strategy: every failure is charged to whoever caused it.

use std::sync::Arc;

use fairkey_core::{Ask, FaultKind, Gate, Key, ManualClock, Outcome, Pool, Retry, Scope};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, MaxInFlight, SlidingWindowBreaker,
    WeightedLeastInFlight,
};

use crate::support::{at, secs};

/// Two accounts with two keys each, everything on.
fn pool() -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    let strategy = SlidingWindowBreaker::new(BreakerConfig::default())
        .guarding(WeightedLeastInFlight::new())
        .gate(Cooldown::per_key(CooldownConfig::default()))
        .gate(Cooldown::per_account(CooldownConfig::default()))
        .gate(MaxInFlight::per_key(4));
    let key = |id: &str, account: &str| Key::new(id, format!("sk-{id}")).account(account);
    let pool = Pool::builder()
        .keys([
            key("a1", "a"),
            key("a2", "a"),
            key("b1", "b"),
            key("b2", "b"),
        ])
        .strategy(strategy)
        .clock(clock.clone())
        .seed(1)
        .build()
        .unwrap();
    (pool, clock)
}

fn admitted(pool: &Pool) -> Vec<String> {
    let explanation = pool.explain(&Ask::new());
    let admitted = explanation.keys.iter().filter(|key| key.is_admitted());
    admitted.map(|key| key.id.to_string()).collect()
}

#[test]
fn a_storm_of_foreign_faults_closes_no_key() {
    let (pool, _) = pool();
    for scope in [
        Scope::Request,
        Scope::Model,
        Scope::Provider,
        Scope::Service,
        Scope::Network,
        Scope::Caller,
        Scope::Local,
    ] {
        for kind in [
            FaultKind::Throttled,
            FaultKind::Failed,
            FaultKind::Exhausted,
        ] {
            for _ in 0..100 {
                let fault = Outcome::fault(scope, kind).with_retry(Retry::After(secs(600)));
                pool.select(&Ask::new()).unwrap().finish(fault);
            }
        }
    }
    assert_eq!(admitted(&pool), ["a1", "a2", "b1", "b2"]);
}

#[test]
fn a_revoked_key_is_out_at_once_and_alone() {
    let (pool, clock) = pool();
    let lease = pool.select(&Ask::new()).unwrap();
    let revoked = lease.key().id().to_string();
    lease.finish(Outcome::fault(Scope::Key, FaultKind::Refused));
    clock.advance(secs(86_400));
    let left = admitted(&pool);
    assert!(left.len() == 3 && !left.contains(&revoked), "{left:?}");
}

#[test]
fn an_account_out_of_credit_takes_its_keys_with_it_until_it_is_looked_at_again() {
    let (pool, clock) = pool();
    let lease = pool.select(&Ask::new()).unwrap();
    let account = lease.key().account_id().unwrap().to_string();
    lease.finish(Outcome::fault(Scope::Account, FaultKind::Exhausted));
    let left = admitted(&pool);
    assert!(
        left.len() == 2 && left.iter().all(|id| !id.starts_with(&account)),
        "{left:?}"
    );
    clock.advance_to(at(60));
    assert_eq!(admitted(&pool).len(), 4);
}

#[test]
fn a_pool_that_is_full_says_that_it_is_our_own_cap() {
    let (pool, _) = pool();
    let leases: Vec<_> = (0..16).map(|_| pool.select(&Ask::new()).unwrap()).collect();
    let full = pool.select(&Ask::new()).unwrap_err();
    assert_eq!((full.retry_at, full.by), (None, Some(Scope::Local)));
    drop(leases);
    assert!(pool.select(&Ask::new()).is_ok());
}

#[test]
fn a_key_that_is_out_for_two_reasons_opens_with_the_later() {
    let (pool, clock) = pool();
    let fault = |scope, wait| {
        Outcome::fault(scope, FaultKind::Throttled).with_retry(Retry::After(secs(wait)))
    };
    // Every key for 10 s, account a for 30 s, account b for 20 s.
    let leases: Vec<_> = (0..8).map(|_| pool.select(&Ask::new()).unwrap()).collect();
    let mut seen: Vec<String> = Vec::new();
    for lease in leases {
        let (id, account) = (
            lease.key().id().to_string(),
            lease.key().account_id().cloned(),
        );
        if seen.contains(&id) {
            let wait = if account.is_some_and(|account| account.as_str() == "a") {
                30
            } else {
                20
            };
            lease.finish(fault(Scope::Account, wait));
        } else {
            lease.finish(fault(Scope::Key, 10));
            seen.push(id);
        }
    }
    let refused = pool.select(&Ask::new()).unwrap_err();
    assert_eq!(
        (refused.retry_at, refused.by),
        (Some(at(20)), Some(Scope::Account))
    );
    clock.advance_to(at(20));
    assert_eq!(admitted(&pool), ["b1", "b2"]);
    clock.advance_to(at(30));
    assert_eq!(admitted(&pool).len(), 4);
}

#[test]
fn one_gate_may_stand_before_two_strategies_of_a_pool() {
    let cap = Arc::new(MaxInFlight::per_account(3));
    let inner = fairkey_core::Gated::new(WeightedLeastInFlight::new())
        .shared_gate(Arc::clone(&cap) as Arc<dyn Gate>);
    let pool = Pool::builder()
        .keys([Key::new("a", "1")])
        .strategy(inner)
        .shared_gate(cap)
        .build()
        .unwrap();
    let leases: Vec<_> = (0..3).map(|_| pool.select(&Ask::new()).unwrap()).collect();
    assert!(
        pool.select(&Ask::new()).is_err(),
        "entered once per call, so three fit"
    );
    drop(leases);
    assert!(pool.select(&Ask::new()).is_ok());
}

#[test]
fn threads_that_call_fail_and_reload_leave_nothing_behind() {
    let (pool, clock) = pool();
    let ends = [
        Outcome::Success,
        Outcome::Neutral,
        Outcome::fault(Scope::Key, FaultKind::Failed),
        Outcome::fault(Scope::Account, FaultKind::Throttled),
        Outcome::fault(Scope::Provider, FaultKind::Throttled),
    ];
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (pool, clock) = (&pool, &clock);
            scope.spawn(move || {
                for n in 0..2_000_usize {
                    if let Ok(lease) = pool.select(&Ask::new()) {
                        lease.finish(ends[(n * 7 + thread) % ends.len()]);
                    } else {
                        clock.advance(secs(1));
                    }
                }
            });
        }
        scope.spawn(|| {
            for n in 0..20 {
                let key = |id: &str, account: &str| {
                    Key::new(id, format!("sk-{id}"))
                        .account(account)
                        .weight(1 + n % 3)
                };
                let keys = [
                    key("a1", "a"),
                    key("a2", "a"),
                    key("b1", "b"),
                    key("b2", "b"),
                ];
                pool.reload(keys.into_iter().skip(n as usize % 2)).unwrap();
            }
        });
    });
    assert_eq!(pool.in_flight(), 0);
    // Time, and calls that succeed, open everything again.
    for _ in 0..200 {
        clock.advance(secs(300));
        while let Ok(lease) = pool.select(&Ask::new()) {
            let enough = pool.in_flight() > 10;
            lease.finish(Outcome::Success);
            if enough || pool.in_flight() == 0 {
                break;
            }
        }
    }
    clock.advance(secs(300));
    assert_eq!(admitted(&pool).len(), pool.len());
    let leases: Vec<_> = (0..4 * pool.len())
        .filter_map(|_| pool.select(&Ask::new()).ok())
        .collect();
    assert!(leases.len() >= pool.len(), "{}", leases.len());
}
