//! One probe, none lost, and nothing from before a transition changes what came after it.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Gate, Outcome};
use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};
use loom::thread;

use crate::broken::{Breaker, Flaw};
use crate::support::{Rig, Seen, ending, failed, model};

/// Trips at the first failure, for 10 s, and closes at once after a probe.
fn real() -> SlidingWindowBreaker {
    ramping(0)
}

fn ramping(ramp: u32) -> SlidingWindowBreaker {
    let config = BreakerConfig {
        consecutive: Some(1),
        ratio: None,
        open_for: Duration::from_secs(10),
        jitter: 0.0,
        ramp,
        ..BreakerConfig::default()
    };
    SlidingWindowBreaker::per_account(config).seed(1)
}

/// Whether that is what a gate says during a probe: wait for its end, at most for its timeout. (The
/// copies with a flaw have none.)
fn is_probing(until: Result<(), Option<u64>>) -> bool {
    matches!(until, Err(None | Some(60)))
}

/// Makes a breaker whose time is over: the next call is the probe.
fn waiting_for_a_probe<G: Gate + 'static>(gate: G) -> Arc<Rig<G>> {
    let rig = Rig::new(gate);
    assert!(rig.call(failed()));
    rig.advance(10);
    rig
}

/// Two calls want to be the probe.
fn two_want_to_probe<G: Gate + 'static>(make: impl Fn() -> G + Send + Sync + 'static) -> [Seen; 2] {
    let seen: [Seen; 2] = Default::default();
    let [first, second] = seen.clone();
    model(2, move || {
        let rig = waiting_for_a_probe(make());
        let (one, two) = (rig.selecting(), rig.selecting());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        first.note_if(one.is_some());
        second.note_if(two.is_some());
        let probes = usize::from(one.is_some()) + usize::from(two.is_some());
        assert_eq!(probes, 1, "there is one probe");
        assert!(is_probing(rig.until()));
    });
    seen
}

#[test]
fn one_of_two_is_the_probe() {
    let [first, second] = two_want_to_probe(real);
    first.assert("the one call as the probe");
    second.assert("the other call as the probe");
}

#[test]
fn the_copy_without_a_flaw_passes_every_model() {
    let sound = || Breaker::new(None);
    two_want_to_probe(sound);
    a_probe_is_given_up(sound);
    a_straggler_meets_the_trip(sound, Outcome::Success);
    a_straggler_meets_the_trip(sound, failed());
}

#[test]
#[should_panic(expected = "there is one probe")]
fn looking_at_the_state_and_changing_it_later_is_caught() {
    two_want_to_probe(|| Breaker::new(Some(Flaw::LooksThenChanges)));
}

/// The probe is given up while another call begins.
fn a_probe_is_given_up<G: Gate + 'static>(
    make: impl Fn() -> G + Send + Sync + 'static,
) -> [Seen; 2] {
    let seen: [Seen; 2] = Default::default();
    let [before, after] = seen.clone();
    model(3, move || {
        let rig = waiting_for_a_probe(make());
        let probe = rig.select().unwrap();
        let dropping = thread::spawn(move || drop(probe));
        let selecting = rig.selecting();
        dropping.join().unwrap();
        let next = selecting.join().unwrap();
        before.note_if(next.is_none());
        after.note_if(next.is_some());
        if next.is_some() {
            assert!(rig.select().is_none(), "there is one probe");
        }
        drop(next);
        let probe = rig.select();
        assert!(probe.is_some(), "the permit of the probe is lost");
        assert!(rig.select().is_none(), "there is one probe");
        probe.unwrap().finish(Outcome::Success);
        assert_eq!(rig.until(), Ok(()));
    });
    seen
}

#[test]
fn a_probe_that_is_given_up_leaves_its_permit_to_one_other() {
    let [before, after] = a_probe_is_given_up(real);
    before.assert("a call before the permit was back");
    after.assert("a call that took the permit");
}

#[test]
#[should_panic(expected = "the permit of the probe is lost")]
fn a_probe_that_is_waited_for_in_vain_is_caught() {
    a_probe_is_given_up(|| Breaker::new(Some(Flaw::LosesTheProbe)));
}

/// A call that began before the trip ends while another one trips the breaker.
fn a_straggler_meets_the_trip<G: Gate + 'static>(
    make: impl Fn() -> G + Send + Sync + 'static,
    outcome: Outcome,
) -> [Seen; 2] {
    let seen: [Seen; 2] = Default::default();
    let [open, closed] = seen.clone();
    model(3, move || {
        let rig = Rig::new(make());
        let (straggler, failing) = (rig.select().unwrap(), rig.select().unwrap());
        let trip = ending(failing, failed());
        let late = {
            let (rig, open, closed) = (Arc::clone(&rig), open.clone(), closed.clone());
            thread::spawn(move || {
                let is_open = rig.until().is_err();
                open.note_if(is_open);
                closed.note_if(!is_open);
                straggler.finish(outcome);
            })
        };
        trip.join().unwrap();
        late.join().unwrap();
        assert_eq!(rig.until(), Err(Some(10)), "it opened once, and stays open");
    });
    seen
}

#[test]
fn a_late_success_does_not_close_and_a_late_failure_does_not_trip_again() {
    for outcome in [Outcome::Success, failed(), Outcome::Neutral] {
        let [open, closed] = a_straggler_meets_the_trip(real, outcome);
        open.assert("the straggler after the trip");
        closed.assert("the straggler before the trip");
    }
}

#[test]
#[should_panic(expected = "it opened once, and stays open")]
fn a_straggler_that_closes_is_caught() {
    a_straggler_meets_the_trip(
        || Breaker::new(Some(Flaw::StragglersClose)),
        Outcome::Success,
    );
}

#[test]
#[should_panic(expected = "it opened once, and stays open")]
fn a_straggler_that_trips_again_is_caught() {
    a_straggler_meets_the_trip(|| Breaker::new(Some(Flaw::StragglersTrip)), failed());
}

#[test]
fn a_call_that_begins_during_the_trip_changes_nothing() {
    let (admitted, refused) = (Seen::default(), Seen::default());
    let (saw_admitted, saw_refused) = (admitted.clone(), refused.clone());
    model(3, move || {
        let rig = Rig::new(real());
        let failing = rig.select().unwrap();
        let trip = ending(failing, failed());
        let selecting = rig.selecting();
        trip.join().unwrap();
        let lease = selecting.join().unwrap();
        saw_admitted.note_if(lease.is_some());
        saw_refused.note_if(lease.is_none());
        assert_eq!(rig.until(), Err(Some(10)));
        if let Some(lease) = lease {
            // It began before the trip, so it is a straggler.
            lease.finish(Outcome::Success);
        }
        assert_eq!(rig.until(), Err(Some(10)));
        rig.advance(10);
        let probe = rig.select();
        assert!(probe.is_some() && rig.select().is_none());
    });
    admitted.assert("a call before the trip");
    refused.assert("a call after the trip");
}

#[test]
fn a_straggler_does_not_decide_for_the_probe() {
    for (late, probed, closes) in [
        (Outcome::Success, failed(), false),
        (failed(), Outcome::Success, true),
    ] {
        let (during, after) = (Seen::default(), Seen::default());
        let (saw_during, saw_after) = (during.clone(), after.clone());
        model(3, move || {
            let rig = Rig::new(real());
            let straggler = rig.select().unwrap();
            assert!(rig.call(failed()));
            rig.advance(10);
            let probe = rig.select().unwrap();
            let end = ending(probe, probed);
            let late_end = {
                let (rig, during, after) =
                    (Arc::clone(&rig), saw_during.clone(), saw_after.clone());
                thread::spawn(move || {
                    let probing = is_probing(rig.until());
                    during.note_if(probing);
                    after.note_if(!probing);
                    straggler.finish(late);
                })
            };
            end.join().unwrap();
            late_end.join().unwrap();
            let expected = if closes { Ok(()) } else { Err(Some(20)) };
            assert_eq!(rig.until(), expected);
        });
        during.assert("the straggler during the probe");
        after.assert("the straggler after the probe");
    }
}

#[test]
fn two_failures_at_once_trip_it_once() {
    let (one_first, other_first) = (Seen::default(), Seen::default());
    let (saw_one, saw_other) = (one_first.clone(), other_first.clone());
    model(3, move || {
        let rig = Rig::new(real());
        let (one, two) = (rig.select().unwrap(), rig.select().unwrap());
        let end = |lease: fairkey_core::Lease, seen: &Seen| {
            let (rig, seen) = (Arc::clone(&rig), seen.clone());
            thread::spawn(move || {
                lease.finish(failed());
                seen.note_if(rig.until() == Err(Some(10)));
            })
        };
        let ends = [end(one, &saw_one), end(two, &saw_other)];
        for end in ends {
            end.join().unwrap();
        }
        assert_eq!(rig.until(), Err(Some(10)), "for 10 s, not for 20");
    });
    one_first.assert("open after the one");
    other_first.assert("open after the other");
}

#[test]
fn a_probe_that_fails_while_an_operator_clears_leaves_it_clear() {
    let (failed_first, cleared_first) = (Seen::default(), Seen::default());
    let (saw_failed, saw_cleared) = (failed_first.clone(), cleared_first.clone());
    model(3, move || {
        let rig = waiting_for_a_probe(real());
        let probe = rig.select().unwrap();
        let end = ending(probe, failed());
        let clearing = {
            let (rig, failed, cleared) =
                (Arc::clone(&rig), saw_failed.clone(), saw_cleared.clone());
            thread::spawn(move || {
                let before = rig.until();
                failed.note_if(before == Err(Some(20)));
                cleared.note_if(is_probing(before));
                rig.pool
                    .with_keys(|keys| rig.gate.clear(keys.iter().next().unwrap()));
            })
        };
        end.join().unwrap();
        clearing.join().unwrap();
        assert_eq!(rig.until(), Ok(()));
        let calls: Vec<_> = std::iter::from_fn(|| rig.select()).take(3).collect();
        assert_eq!(calls.len(), 3, "as many as like");
    });
    failed_first.assert("the failure before the clearing");
    cleared_first.assert("the clearing before the failure");
}

#[test]
fn the_ramp_lets_two_through_and_no_third() {
    let (third_out, third_in) = (Seen::default(), Seen::default());
    let (saw_out, saw_in) = (third_out.clone(), third_in.clone());
    model(2, move || {
        let rig = waiting_for_a_probe(ramping(4));
        assert!(rig.call(Outcome::Success));
        let first = rig.select().unwrap();
        let (one, two) = (rig.selecting(), rig.selecting());
        let end = ending(first, Outcome::Neutral);
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        end.join().unwrap();
        let admitted = usize::from(one.is_some()) + usize::from(two.is_some());
        assert!((1..=2).contains(&admitted));
        saw_out.note_if(admitted == 1);
        saw_in.note_if(admitted == 2);
        drop((one, two));
        let both: Vec<_> = std::iter::from_fn(|| rig.select()).take(3).collect();
        assert_eq!(both.len(), 2, "every place came back");
    });
    third_out.assert("a third call before the first had ended");
    third_in.assert("a third call after the first had ended");
}
