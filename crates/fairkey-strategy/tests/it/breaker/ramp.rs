//! Back in steps.

use fairkey_core::{FaultKind, Outcome, Scope};
use fairkey_strategy::BreakerConfig;

use super::{rig, touchy};
use crate::support::{Rig, failed, secs};

fn ramping(ramp: u32) -> Rig<fairkey_strategy::SlidingWindowBreaker> {
    let rig = rig(BreakerConfig { ramp, ..touchy() });
    rig.trip_and_wait();
    rig.calls(1, Outcome::Success);
    rig
}

#[test]
fn two_four_eight_sixteen_and_closed() {
    let rig = ramping(16);
    for stage in [2, 4, 8, 16] {
        assert_eq!(rig.capacity(), stage);
        rig.calls(stage as u32 - 1, Outcome::Success);
        assert_eq!(rig.capacity(), stage, "one success before the next stage");
        assert!(!rig.is_closed());
        rig.calls(1, Outcome::Success);
    }
    assert!(rig.is_closed());
    assert_eq!(rig.capacity(), 100);
}

#[test]
fn a_ramp_to_nothing_or_one_is_none() {
    for ramp in [0, 1] {
        assert!(ramping(ramp).is_closed(), "{ramp}");
    }
}

#[test]
fn the_last_stage_is_the_greatest_that_the_setting_allows() {
    for (ramp, stages) in [
        (2, &[2][..]),
        (3, &[2]),
        (4, &[2, 4]),
        (7, &[2, 4]),
        (8, &[2, 4, 8]),
    ] {
        let rig = ramping(ramp);
        for stage in stages {
            assert_eq!(rig.capacity(), *stage as usize, "ramp {ramp}");
            rig.calls(*stage, Outcome::Success);
        }
        assert!(rig.is_closed(), "ramp {ramp}");
    }
}

#[test]
fn a_call_more_than_the_stage_allows_waits_for_an_end_not_for_a_time() {
    let rig = ramping(16);
    let (one, _two) = (rig.select(0).unwrap(), rig.select(0).unwrap());
    let refused = rig.select(0).unwrap_err();
    assert_eq!((refused.retry_at, refused.by), (None, Some(Scope::Key)));
    one.finish(Outcome::Success);
    assert!(rig.select(0).is_ok());
}

#[test]
fn a_failure_during_the_ramp_opens_it_again_for_longer() {
    let rig = ramping(16);
    rig.calls(3, Outcome::Success);
    rig.calls(1, failed());
    assert_eq!(rig.open_for(), Some(secs(20)));
    rig.wait();
    assert_eq!(rig.capacity(), 1, "and it starts with a probe");
    rig.calls(1, Outcome::Success);
    assert_eq!(rig.capacity(), 2, "and with the first stage");
}

#[test]
fn calls_that_say_nothing_free_their_place_and_do_not_count() {
    let rig = ramping(16);
    for outcome in [
        Outcome::Neutral,
        Outcome::fault(Scope::Provider, FaultKind::Failed),
    ] {
        rig.calls(50, outcome);
        assert_eq!(rig.capacity(), 2);
    }
    rig.calls(2, Outcome::Success);
    assert_eq!(rig.capacity(), 4);
}

#[test]
fn calls_in_flight_take_their_place_in_the_next_stage() {
    let rig = ramping(16);
    let held = rig.select(0).unwrap();
    rig.calls(2, Outcome::Success);
    assert_eq!(rig.capacity(), 3, "of four, one is taken");
    held.finish(Outcome::Success);
    assert_eq!(rig.capacity(), 4);
}

#[test]
fn the_end_of_calls_that_outlast_the_ramp_takes_nothing_from_anybody() {
    let rig = ramping(4);
    let held = rig.select(0).unwrap();
    rig.calls(6, Outcome::Success);
    assert!(rig.is_closed());
    held.finish(failed());
    assert!(rig.is_closed(), "it began before the breaker closed");
    assert_eq!(rig.capacity(), 100);
}

#[test]
fn failures_from_before_do_not_count_when_it_has_closed() {
    let rig = rig(BreakerConfig {
        consecutive: None,
        count: Some(3),
        ..touchy()
    });
    rig.calls(3, failed());
    rig.wait();
    rig.calls(1, Outcome::Success);
    assert!(rig.is_closed());
    rig.calls(2, failed());
    assert!(
        rig.is_closed(),
        "three before the trip and two after it are not five"
    );
    rig.calls(1, failed());
    assert!(!rig.is_closed());
}
