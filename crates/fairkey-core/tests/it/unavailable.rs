//! The soonest honest time at which asking again makes sense, and who bars.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fairkey_core::{
    Ask, At, Denied, Gate, ManualClock, Pool, Scope, Ticket, Timestamp, Tried, Turn, Unavailable,
};
use fairkey_testkit::SpyGate;
use fairkey_testkit::generate::keys_of;
use fairkey_testkit::generate::plain_keys;
use fairkey_testkit::prelude::*;

use crate::support::{behind, pool_of, strategy};

const SCOPES: [Scope; 3] = [Scope::Key, Scope::Account, Scope::Local];

fn seconds(n: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(n)
}

/// Makes a pool with a gate for each scope, at second 10, in which each of `bars` holds: for each
/// key, for each gate, nothing, or until when.
fn pool_with(bars: &[[Option<Option<u64>>; 3]]) -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    clock.advance_to(seconds(10));
    let gates: [Arc<SpyGate>; 3] = std::array::from_fn(|_| Arc::new(SpyGate::new()));
    for (n, bars) in bars.iter().enumerate() {
        for (gate, (bar, by)) in gates.iter().zip(bars.iter().zip(SCOPES)) {
            if let Some(until) = bar {
                let until = until.map(seconds);
                gate.bar(
                    &format!("k{n}"),
                    Denied {
                        by,
                        until,
                        may_open_sooner: false,
                        by_limit: by == Scope::Local,
                    },
                );
            }
        }
    }
    let keys = keys_of(&plain_keys(u16::try_from(bars.len()).unwrap()));
    let pool = behind(Pool::builder(), &gates)
        .keys(keys)
        .clock(clock.clone())
        .build()
        .unwrap();
    (pool, clock)
}

#[track_caller]
fn check(bars: &[[Option<Option<u64>>; 3]], retry_at: Option<u64>, by: Option<Scope>) {
    let (pool, _) = pool_with(bars);
    let retry_at = retry_at.map(seconds);
    let is_limited = |bars: &[_; 3]| matches!(bars, [None, None, Some(_)]);
    let by_limit = bars.iter().any(is_limited);
    assert_eq!(
        pool.select(&Ask::new()).map(drop),
        Err(Unavailable {
            retry_at,
            by,
            by_limit
        })
    );
}

#[test]
fn a_key_opens_when_its_last_gate_does_and_the_first_such_key_counts() {
    let at = |seconds| Some(Some(seconds));
    let good = Some(None);
    // One key: the last of its gates, and that gate's scope.
    check(&[[at(20), None, None]], Some(20), Some(Scope::Key));
    check(&[[at(20), at(30), None]], Some(30), Some(Scope::Account));
    check(&[[at(40), at(30), None]], Some(40), Some(Scope::Key));
    // A bar without an end outlasts every time.
    check(&[[at(20), at(30), good]], None, Some(Scope::Local));
    check(&[[good, at(30), None]], None, Some(Scope::Key));
    // Several keys: the one that opens first.
    check(
        &[[at(20), at(30), None], [at(25), None, None]],
        Some(25),
        Some(Scope::Key),
    );
    check(
        &[[good, None, None], [None, at(25), None]],
        Some(25),
        Some(Scope::Account),
    );
    check(
        &[[None, at(25), None], [good, None, None]],
        Some(25),
        Some(Scope::Account),
    );
    check(
        &[[good, None, None], [None, None, good]],
        None,
        Some(Scope::Key),
    );
}

#[test]
fn a_pool_of_which_one_key_is_used_up_by_limits_alone_is_not_failing() {
    let limit = Denied::until(Scope::Account, seconds(20)).of_limit();
    let failure = Denied::until(Scope::Account, seconds(15));
    for (bars, by_limit) in [
        (vec![("k0", limit), ("k1", failure)], true),
        (vec![("k0", failure), ("k1", failure)], false),
        // Used up, and failing, too: when the limit opens, nobody knows what comes.
        (vec![("k0", limit), ("k0", failure), ("k1", failure)], false),
        (
            vec![("k0", limit), ("k1", Denied::for_good(Scope::Local))],
            true,
        ),
    ] {
        let gates = [(); 2].map(|()| Arc::new(SpyGate::new()));
        for (key, denied) in &bars {
            gates[usize::from(*denied == failure)].bar(key, *denied);
        }
        let pool = behind(Pool::builder(), &gates)
            .keys(keys_of(&plain_keys(2)))
            .build()
            .unwrap();
        let refused = pool.select(&Ask::new()).unwrap_err();
        assert_eq!(refused.by_limit, by_limit, "{bars:?}");
    }
}

#[test]
fn keys_that_were_tried_are_not_waited_for() {
    let (pool, _) = pool_with(&[[Some(Some(20)), None, None], [None, Some(Some(30)), None]]);
    let mut tried = Tried::new();
    let slot = |id| pool.with_keys(|keys| keys.find(id).unwrap().tenure());
    tried.add_key(slot("k0"));
    let refused = pool.select(&Ask::new().with_tried(&tried)).unwrap_err();
    assert_eq!(refused.retry_at, Some(seconds(30)));
    tried.add_account(pool.with_keys(|keys| keys.find("k1").unwrap().account_tenure()));
    let refused = pool.select(&Ask::new().with_tried(&tried)).unwrap_err();
    assert_eq!(
        refused,
        Unavailable {
            retry_at: None,
            by: None,
            by_limit: false
        }
    );
}

#[test]
fn a_strategy_that_declines_is_nobody_who_bars() {
    let pool = pool_of(2).strategy(strategy(|_| None)).build().unwrap();
    let refused = pool.select(&Ask::new()).unwrap_err();
    assert_eq!(
        refused,
        Unavailable {
            retry_at: None,
            by: None,
            by_limit: false
        }
    );
}

/// Says that it is full when the offer is narrowed, and opens right after: another thread's call
/// has ended in between.
#[derive(Debug, Default)]
struct OpensWhileAsked(AtomicU32);

impl Gate for OpensWhileAsked {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        if self.0.load(Ordering::Relaxed) > 0 {
            Ok(())
        } else {
            Err(Denied::for_good(Scope::Local))
        }
    }
    fn narrow(&self, turn: &mut Turn<'_>) {
        turn.retain(|at| self.check(at).is_ok());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_key_that_opens_while_it_is_asked_for_is_worth_asking_again_at_once() {
    // "No time, and nobody bars" would make the caller give up; "no time, a local cap" would make
    // it wait for an end that has come already.
    let pool = pool_of(1).gate(OpensWhileAsked::default()).build().unwrap();
    let now = pool.now();
    let refused = pool.select(&Ask::new()).unwrap_err();
    assert!(refused.retry_at.is_some_and(|at| at >= now), "{refused:?}");
    assert_eq!(refused.by, Some(Scope::Local));
    assert!(pool.select(&Ask::new()).is_ok());
}

/// Knows only when it is entered that there is not enough left, and then says until when.
#[derive(Debug)]
struct Short(Option<u64>);

impl Gate for Short {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        Ok(())
    }
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        match self.0 {
            // Each key a little later than the one before.
            Some(first) => {
                let until = seconds(first + at.key.slot().index() as u64);
                Err(Denied::until(Scope::Account, until))
            }
            None => Err(Denied::for_good(Scope::Account)),
        }
    }
}

#[test]
fn what_is_refused_when_it_is_entered_is_waited_for_until_the_time_that_is_named() {
    // "At once" would make a caller that waits ask a thousand times a second.
    for (until, retry_at) in [(Some(20), Some(seconds(20))), (None, None)] {
        let pool = pool_of(3).gate(Short(until)).build().unwrap();
        let refused = pool.select(&Ask::new()).unwrap_err();
        assert_eq!(refused.retry_at, retry_at);
        assert_eq!(refused.by, Some(Scope::Account));
    }
    // Beside keys that a gate closes: whatever is sooner.
    for (closed, retry_at, by) in [(15, 15, Scope::Key), (40, 21, Scope::Account)] {
        let gate = Arc::new(SpyGate::new());
        gate.bar("k0", Denied::until(Scope::Key, seconds(closed)));
        let pool = behind(Pool::builder(), &[gate])
            .keys(keys_of(&plain_keys(2)))
            .gate(Short(Some(20)))
            .build()
            .unwrap();
        let expected = Unavailable {
            retry_at: Some(seconds(retry_at)),
            by: Some(by),
            by_limit: false,
        };
        assert_eq!(pool.select(&Ask::new()).map(drop), Err(expected));
    }
}

#[test]
fn a_strategy_that_takes_everything_out_of_the_turn_is_nobody_who_bars() {
    let nobody = Unavailable {
        retry_at: None,
        by: None,
        by_limit: false,
    };
    let empty = strategy(|turn| {
        turn.retain(|_| false);
        None
    });
    let gate = Arc::new(SpyGate::new());
    let pool = behind(Pool::builder(), std::slice::from_ref(&gate))
        .keys(keys_of(&plain_keys(2)))
        .strategy(empty)
        .build()
        .unwrap();
    assert_eq!(pool.select(&Ask::new()).map(drop), Err(nobody));
    // What a gate closes beside that opens at its time.
    gate.bar("k0", Denied::until(Scope::Key, seconds(5)));
    let refused = pool.select(&Ask::new()).unwrap_err();
    assert_eq!(refused.retry_at, Some(seconds(5)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_time_named_is_the_first_at_which_a_key_is_free(
        bars in proptest::collection::vec(
            [(); 3].map(|()| proptest::option::of(proptest::option::of(11_u64..30))),
            1..5,
        ),
    ) {
        let (pool, clock) = pool_with(&bars);
        let opens = |bars: &[Option<Option<u64>>; 3]| {
            // For how long the key is closed: 0 for open, the most for good.
            bars.iter().flatten().map(|until| until.unwrap_or(u64::MAX)).max().unwrap_or(0)
        };
        let first = bars.iter().map(opens).min().expect("there is a key");
        let selected = pool.select(&Ask::new()).map(drop);
        match first {
            0 => prop_assert_eq!(selected, Ok(())),
            u64::MAX => {
                let refused = selected.unwrap_err();
                prop_assert_eq!(refused.retry_at, None);
                prop_assert!(refused.by.is_some());
            }
            at => {
                let refused = selected.unwrap_err();
                prop_assert_eq!(refused.retry_at, Some(seconds(at)));
                clock.advance_to(seconds(at) - Duration::from_nanos(1));
                let still = pool.select(&Ask::new()).unwrap_err();
                prop_assert_eq!((still.retry_at, still.by), (refused.retry_at, refused.by));
                clock.advance_to(seconds(at));
                prop_assert_eq!(pool.select(&Ask::new()).map(drop), Ok(()));
            }
        }
    }
}
