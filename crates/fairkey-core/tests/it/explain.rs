//! Why a key would or would not be picked.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    Ask, Candidate, Denied, Gate, Key, ManualClock, Pool, Scope, Strategy, Timestamp, Tried, Turn,
};
use fairkey_testkit::SpyGate;

/// Ranks keys by their slots.
#[derive(Debug)]
struct BySlot;

impl Strategy for BySlot {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.nth(0)
    }
    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        Some(key.slot().index() as f64 / 2.0)
    }
}

#[test]
fn an_explanation_says_for_each_key_who_denies_it_until_when_and_its_score() {
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(60));
    let (one, other) = (Arc::new(SpyGate::new()), Arc::new(SpyGate::new()));
    let pool = Pool::builder()
        .keys([
            Key::new("a", "1").account("acme").weight(3),
            Key::new("b", "2").account("acme"),
            Key::new("c", "3"),
            Key::new("d", "4"),
        ])
        .strategy(BySlot)
        .shared_gate(Arc::clone(&one) as Arc<dyn Gate>)
        .shared_gate(Arc::clone(&other) as Arc<dyn Gate>)
        .clock(clock)
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    let until = Timestamp::ZERO + Duration::from_secs(75);
    one.bar("b", Denied::until(Scope::Account, until));
    other.bar("b", Denied::for_good(Scope::Key));
    other.bar("d", Denied::for_good(Scope::Local));
    let mut tried = Tried::new();
    pool.with_keys(|keys| {
        tried.add_key(keys.find("c").unwrap());
        tried.add_account(keys.find("d").unwrap());
    });

    let explanation = pool.explain(&Ask::new().with_tried(&tried));
    assert_eq!(explanation.now, Timestamp::ZERO + Duration::from_secs(60));
    let [a, b, c, d] = &explanation.keys[..] else {
        panic!("{explanation:?}");
    };
    assert!(a.is_admitted() && !b.is_admitted() && !c.is_admitted() && !d.is_admitted());
    assert_eq!((a.weight, a.in_flight, a.score), (3, 1, Some(0.0)));
    assert_eq!(
        a.account.as_ref().map(|account| account.as_str()),
        Some("acme")
    );
    let names: Vec<_> = b
        .denied
        .iter()
        .map(|denial| (denial.gate, denial.denied.by))
        .collect();
    assert_eq!(
        names,
        [("SpyGate", Scope::Account), ("SpyGate", Scope::Key)]
    );
    assert!(c.tried && d.tried && !b.tried);

    assert_eq!(
        explanation.to_string(),
        "a (acme): 1 in flight, admitted, score 0.000\n\
         b (acme): 0 in flight, denied by SpyGate (account, for 15s), \
         denied by SpyGate (key, until something changes), score 0.500\n\
         c: 0 in flight, tried by this call, score 1.000\n\
         d: 0 in flight, tried by this call, denied by SpyGate (local, until something changes), \
         score 1.500\n"
    );

    // It has reserved nothing and told nobody.
    assert_eq!((one.inside(), other.inside(), pool.in_flight()), (1, 1, 1));
    drop(lease);
}

#[test]
fn a_strategy_that_does_not_rank_has_no_score() {
    let pool = crate::support::pool_of(1)
        .strategy(crate::support::first())
        .build()
        .unwrap();
    let explanation = pool.explain(&Ask::new());
    assert_eq!(explanation.keys[0].score, None);
    assert_eq!(explanation.to_string(), "k0: 0 in flight, admitted\n");
}

#[test]
fn keys_are_explained_in_the_order_of_their_slots() {
    let pool = crate::support::pool_of(70).build().unwrap();
    let explanation = pool.explain(&Ask::new());
    let labels: Vec<&str> = explanation.keys.iter().map(|key| key.id.as_str()).collect();
    let expected: Vec<String> = (0..70).map(|n| format!("k{n}")).collect();
    assert_eq!(labels, expected);
}
