//! Answers to calls that began before a transition, and an operator who knows better.

use fairkey_core::Outcome;
use fairkey_strategy::BreakerConfig;

use super::{rig, touchy};
use crate::support::{failed, secs};

#[test]
fn a_late_success_does_not_close_what_opened_after_it_began() {
    let rig = rig(touchy());
    let stragglers: Vec<_> = (0..3).map(|_| rig.select(0).unwrap()).collect();
    rig.calls(1, failed());
    let mut stragglers = stragglers.into_iter();
    stragglers.next().unwrap().finish(Outcome::Success);
    assert_eq!(rig.open_for(), Some(secs(10)), "while it is open");
    rig.wait();
    stragglers.next().unwrap().finish(Outcome::Success);
    assert_eq!(rig.capacity(), 1, "while it waits for a probe");
    let probe = rig.select(0).unwrap();
    stragglers.next().unwrap().finish(Outcome::Success);
    assert!(
        !rig.is_closed() && rig.select(0).is_err(),
        "while the probe is out"
    );
    probe.finish(failed());
    assert_eq!(rig.open_for(), Some(secs(20)));
}

#[test]
fn a_late_failure_does_not_trip_what_has_recovered_since_it_began() {
    let rig = rig(BreakerConfig {
        ramp: 2,
        ..touchy()
    });
    let stragglers: Vec<_> = (0..5).map(|_| rig.select(0).unwrap()).collect();
    rig.calls(1, failed());
    let mut stragglers = stragglers.into_iter();
    stragglers.next().unwrap().finish(failed());
    assert_eq!(
        rig.open_for(),
        Some(secs(10)),
        "while it is open, nothing doubles"
    );
    rig.wait();
    stragglers.next().unwrap().finish(failed());
    assert_eq!(rig.capacity(), 1, "while it waits for a probe");
    let probe = rig.select(0).unwrap();
    stragglers.next().unwrap().finish(failed());
    probe.finish(Outcome::Success);
    assert_eq!(rig.capacity(), 2, "while the probe was out");
    stragglers.next().unwrap().finish(failed());
    assert_eq!(rig.capacity(), 2, "during the ramp");
    rig.calls(2, Outcome::Success);
    assert!(rig.is_closed());
    stragglers.next().unwrap().finish(failed());
    assert!(rig.is_closed(), "and when it is over");
}

#[test]
fn a_probe_that_ends_after_the_breaker_was_cleared_changes_nothing() {
    for outcome in [Outcome::Success, failed(), Outcome::Neutral] {
        let rig = rig(touchy());
        rig.trip_and_wait();
        let probe = rig.select(0).unwrap();
        rig.key(0, |key| rig.gate.clear(key));
        assert!(rig.is_closed());
        assert_eq!(rig.capacity(), 100);
        probe.finish(outcome);
        assert!(rig.is_closed(), "{outcome:?}");
        assert_eq!(rig.capacity(), 100);
    }
}

#[test]
fn clearing_closes_it_at_once_whatever_it_did() {
    let rig = rig(BreakerConfig {
        ramp: 16,
        ..touchy()
    });
    let clear = || rig.key(0, |key| rig.gate.clear(key));
    clear();
    assert!(rig.is_closed(), "it was closed");
    rig.calls(1, failed());
    clear();
    assert_eq!(rig.capacity(), 100, "it was open");
    rig.trip_and_wait();
    rig.calls(1, Outcome::Success);
    assert_eq!(rig.capacity(), 2);
    clear();
    assert_eq!(rig.capacity(), 100, "it was ramping up");
    rig.calls(1, failed());
    assert_eq!(
        rig.open_for(),
        Some(secs(10)),
        "and earlier trips are forgotten"
    );
}

#[test]
fn clearing_forgets_the_failures_counted_so_far() {
    let rig = rig(BreakerConfig {
        consecutive: Some(3),
        count: Some(5),
        ..touchy()
    });
    rig.calls(2, failed());
    rig.key(0, |key| rig.gate.clear(key));
    rig.calls(2, failed());
    rig.calls(1, Outcome::Success);
    rig.calls(2, failed());
    assert!(rig.is_closed(), "four failures since, two of them in a row");
    rig.calls(1, failed());
    assert!(!rig.is_closed());
}

#[test]
fn calls_that_began_before_a_clear_do_not_count_after_it() {
    let rig = rig(touchy());
    let straggler = rig.select(0).unwrap();
    rig.key(0, |key| rig.gate.clear(key));
    straggler.finish(failed());
    assert!(rig.is_closed());
}

#[test]
fn a_call_of_an_earlier_ramp_is_a_straggler_too() {
    for outcome in [Outcome::Success, failed(), Outcome::Neutral] {
        let rig = rig(BreakerConfig {
            ramp: 16,
            ..touchy()
        });
        rig.trip_and_wait();
        rig.calls(1, Outcome::Success);
        let straggler = rig.select(0).unwrap();
        rig.calls(1, failed());
        rig.wait();
        let probe = rig.select(0).unwrap();
        straggler.finish(outcome);
        assert_eq!(
            rig.capacity(),
            0,
            "{outcome:?} of the first ramp decided for the probe"
        );
        assert!(!rig.is_closed());
        probe.finish(Outcome::Success);
        assert_eq!(rig.capacity(), 2, "{outcome:?}");
    }
}

#[test]
fn a_straggler_takes_nothing_from_what_was_counted_since() {
    let rig = rig(BreakerConfig {
        consecutive: None,
        count: Some(3),
        ..touchy()
    });
    let stragglers = [rig.select(0).unwrap(), rig.select(0).unwrap()];
    rig.calls(3, failed());
    rig.wait();
    rig.calls(1, Outcome::Success);
    assert!(rig.is_closed());
    rig.calls(2, failed());
    for (straggler, outcome) in stragglers.into_iter().zip([Outcome::Success, failed()]) {
        straggler.finish(outcome);
    }
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(!rig.is_closed(), "three failures since it closed");
}
