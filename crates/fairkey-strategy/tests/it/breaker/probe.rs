//! Exactly one probe.

use std::time::Duration;

use fairkey_core::{FaultKind, Gated, Outcome, Pool, Scope, Timestamp};
use fairkey_strategy::{BreakerConfig, RoundRobin, SlidingWindowBreaker};
use fairkey_testkit::SpyGate;

use super::{rig, touchy};
use crate::support::{Rig, failed, keys, secs, throttled};

#[test]
fn one_call_is_the_probe_and_nobody_else_gets_in() {
    let rig = rig(touchy());
    rig.trip_and_wait();
    let probe = rig.select(0).unwrap();
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.by, Some(Scope::Key));
    let deadline = rig.pool.now() + secs(60);
    assert_eq!(refused.retry_at, Some(deadline), "or sooner");
    let denied = rig.pool.explain(&fairkey_core::Ask::new()).keys[0].denied[0];
    assert!(denied.denied.may_open_sooner);
    assert_eq!(denied.detail.what, Some("a probe is under way"));
    assert_eq!(denied.detail.since, Some(Timestamp::ZERO));
    rig.advance_to(deadline - Duration::from_nanos(1));
    assert!(rig.select(0).is_err());
    probe.finish(Outcome::Success);
    assert!(rig.is_closed());
    assert_eq!(rig.capacity(), 100);
}

#[test]
fn a_probe_that_is_never_heard_of_bars_for_its_timeout_and_no_longer() {
    let rig = rig(touchy());
    rig.trip_and_wait();
    let lost = rig.select(0).unwrap();
    rig.advance(secs(60));
    let second = rig.select(0).unwrap();
    assert!(rig.select(0).is_err(), "one more, and not everybody");
    rig.advance(secs(60));
    let third = rig.select(0).unwrap();
    // One that gives up leaves the deadline of the last one.
    drop(second);
    assert!(rig.select(0).is_err());
    drop(third);
    assert!(
        rig.select(0).is_err(),
        "the first one may still be heard of"
    );
    // And so it is: it began after the trip, so it counts.
    lost.finish(Outcome::Success);
    assert!(rig.is_closed());
}

#[test]
fn a_late_probe_that_fails_opens_it_again() {
    for late_is_first in [true, false] {
        let rig = rig(BreakerConfig {
            ramp: 16,
            ..touchy()
        });
        rig.trip_and_wait();
        let lost = rig.select(0).unwrap();
        rig.advance(secs(60));
        let second = rig.select(0).unwrap();
        let (one, other) = if late_is_first {
            (lost, second)
        } else {
            (second, lost)
        };
        one.finish(Outcome::Success);
        assert_eq!(
            rig.capacity(),
            2,
            "the ramp, on which neither holds a place"
        );
        other.finish(failed());
        assert_eq!(rig.open_for(), Some(secs(20)));
    }
}

#[test]
fn the_first_content_of_a_probe_is_success_enough_to_go_on() {
    let rig = rig(BreakerConfig {
        ramp: 4,
        ..touchy()
    });
    rig.trip_and_wait();
    let mut probe = rig.select(0).unwrap();
    probe.note_first_content();
    assert_eq!(rig.capacity(), 2, "its ten minutes keep nobody waiting");
    // On the ramp the same: what streams holds no place.
    let mut streams: Vec<_> = (0..2).map(|_| rig.select(0).unwrap()).collect();
    assert!(rig.select(0).is_err());
    streams
        .iter_mut()
        .for_each(|stream| stream.note_first_content());
    assert_eq!(rig.capacity(), 4);
    streams.extend((0..4).map(|_| rig.select(0).unwrap()));
    streams
        .iter_mut()
        .for_each(|stream| stream.note_first_content());
    assert!(rig.is_closed());
    // What ends after that belongs to another generation.
    drop((probe, streams));
    assert_eq!(rig.capacity(), 100);
}

#[test]
fn a_stream_that_breaks_behind_its_first_content_ends_the_ramp() {
    let rig = rig(BreakerConfig {
        ramp: 16,
        ..touchy()
    });
    rig.trip_and_wait();
    let mut probe = rig.select(0).unwrap();
    probe.note_first_content();
    let mut other = rig.select(0).unwrap();
    other.note_first_content();
    other.finish(Outcome::Success);
    let counted_once = rig.capacity();
    assert_eq!(counted_once, 2, "one success of two, not two");
    probe.finish(failed());
    assert_eq!(rig.open_for(), Some(secs(20)));
}

#[test]
fn a_probe_that_fails_opens_it_again_for_longer() {
    for fault in [
        failed(),
        throttled(),
        Outcome::fault(Scope::Key, FaultKind::Refused),
    ] {
        let rig = rig(touchy());
        rig.trip_and_wait();
        rig.calls(1, fault);
        assert_eq!(rig.open_for(), Some(secs(20)), "{fault:?}");
    }
}

#[test]
fn a_probe_that_says_nothing_gives_its_permit_back() {
    let silent = [
        Outcome::Neutral,
        Outcome::fault(Scope::Provider, FaultKind::Failed),
        Outcome::fault(Scope::Account, FaultKind::Throttled),
        Outcome::fault(Scope::Caller, FaultKind::Failed),
        Outcome::fault(Scope::Key, FaultKind::Exhausted),
    ];
    for outcome in silent {
        let rig = rig(touchy());
        rig.trip_and_wait();
        for _ in 0..5 {
            rig.calls(1, outcome);
            assert!(!rig.is_closed(), "{outcome:?} has shown nothing");
            assert_eq!(rig.capacity(), 1, "{outcome:?}: the next call is the probe");
        }
        rig.calls(1, failed());
        assert_eq!(
            rig.open_for(),
            Some(secs(20)),
            "{outcome:?} doubled nothing"
        );
    }
}

#[test]
fn a_probe_that_is_dropped_gives_its_permit_back() {
    let rig = rig(touchy());
    rig.trip_and_wait();
    drop(rig.select(0).unwrap());
    assert_eq!(rig.capacity(), 1);
    let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _probe = rig.select(0).unwrap();
        panic!("in the middle of the probe");
    }));
    assert!(panicking.is_err());
    assert_eq!(rig.capacity(), 1);
}

#[test]
fn a_probe_that_another_gate_refuses_gives_its_permit_back() {
    let spy = std::sync::Arc::new(SpyGate::new());
    let behind = std::sync::Arc::clone(&spy);
    let rig = Rig::with(SlidingWindowBreaker::new(touchy()), keys(1), |builder| {
        builder.shared_gate(behind as _)
    });
    rig.trip_and_wait();
    spy.refuse("k0");
    for _ in 0..3 {
        assert!(rig.select(0).is_err());
    }
    spy.admit_all();
    assert_eq!(rig.capacity(), 1);
}

#[test]
fn probes_of_two_keys_are_two() {
    let rig = Rig::with(SlidingWindowBreaker::new(touchy()), keys(2), |builder| {
        builder
    });
    assert!(rig.call_of(0, failed()) && rig.call_of(1, failed()));
    rig.advance(secs(10));
    let (one, two) = (rig.select(0).unwrap(), rig.select(1).unwrap());
    assert!(rig.select(0).is_err() && rig.select(1).is_err());
    one.finish(failed());
    two.finish(Outcome::Success);
    assert_eq!(rig.admitted(), ["k1"]);
}

#[test]
fn an_account_has_one_probe_for_all_its_keys() {
    let owned: Vec<_> = keys(3).into_iter().map(|key| key.account("acme")).collect();
    let rig = Rig::with(
        SlidingWindowBreaker::per_account(touchy()),
        owned,
        |builder| builder,
    );
    let fault = Outcome::fault(Scope::Account, FaultKind::Failed);
    assert!(rig.call_of(2, fault));
    rig.advance(secs(10));
    let probe = rig.select(1).unwrap();
    assert!((0..3).all(|n| rig.select(n).is_err()));
    probe.finish(Outcome::Success);
    assert_eq!(rig.admitted(), ["k0", "k1", "k2"]);
}

#[test]
fn a_herd_of_threads_sends_one_probe() {
    let rig = rig(touchy());
    for _ in 0..100 {
        rig.trip_and_wait();
        let barrier = std::sync::Barrier::new(4);
        let admitted: usize = std::thread::scope(|scope| {
            let herd: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let lease = rig.select(0);
                        barrier.wait();
                        usize::from(lease.is_ok())
                    })
                })
                .collect();
            herd.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(admitted, 1);
        rig.calls(1, Outcome::Success);
        assert!(rig.is_closed());
    }
}

#[test]
fn it_guards_any_strategy() {
    let config = BreakerConfig {
        consecutive: Some(2),
        ..touchy()
    };
    let gated: Gated<RoundRobin> =
        fairkey_core::Gate::guarding(SlidingWindowBreaker::new(config), RoundRobin::new());
    let pool = Pool::builder()
        .keys(keys(2))
        .strategy(gated)
        .build()
        .unwrap();
    let call = |outcome| {
        let lease = pool.select(&fairkey_core::Ask::new()).unwrap();
        let label = lease.key().id().to_string();
        lease.finish(outcome);
        label
    };
    for _ in 0..4 {
        call(failed());
    }
    assert!(
        pool.select(&fairkey_core::Ask::new()).is_err(),
        "both have failed twice"
    );
}
