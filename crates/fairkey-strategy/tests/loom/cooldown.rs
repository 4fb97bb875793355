//! A cooldown that closes while it opens is closed, and the later end counts.

use fairkey_core::{FaultKind, Outcome, Retry, Scope};
use fairkey_strategy::{Cooldown, CooldownConfig};
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Rig, Seen, ending, model};

fn throttled(seconds: u64) -> Outcome {
    Outcome::fault(Scope::Account, FaultKind::Throttled)
        .with_retry(Retry::After(Duration::from_secs(seconds)))
}

fn rig() -> Arc<Rig<Cooldown>> {
    Rig::new(Cooldown::per_account(CooldownConfig::default()))
}

#[test]
fn a_fault_that_comes_while_the_last_rest_ends_closes_again() {
    let (before, after) = (Seen::default(), Seen::default());
    let (saw_before, saw_after) = (before.clone(), after.clone());
    model(3, move || {
        let rig = rig();
        let straggler = rig.select().unwrap();
        assert!(rig.call(throttled(5)));
        rig.advance(5);
        // It is over, and the next selection takes note of that.
        let selecting = rig.selecting();
        let end = ending(straggler, throttled(7));
        let lease = selecting.join().unwrap();
        end.join().unwrap();
        saw_before.note_if(lease.is_some());
        saw_after.note_if(lease.is_none());
        assert_eq!(rig.until(), Err(Some(7)));
        assert!(rig.select().is_none(), "closed, and a call gets it");
        rig.advance(7);
        assert!(rig.select().is_some());
    });
    before.assert("a call before the new rest");
    after.assert("a call that met the new rest");
}

#[test]
fn of_two_faults_at_once_the_later_end_counts() {
    let (short, long) = (Seen::default(), Seen::default());
    let (saw_short, saw_long) = (short.clone(), long.clone());
    model(3, move || {
        let rig = rig();
        let (one, two) = (rig.select().unwrap(), rig.select().unwrap());
        let watching = {
            let rig = Arc::clone(&rig);
            loom::thread::spawn(move || rig.until())
        };
        let ends = [ending(one, throttled(20)), ending(two, throttled(10))];
        for end in ends {
            end.join().unwrap();
        }
        let seen = watching.join().unwrap();
        saw_short.note_if(seen == Err(Some(10)));
        saw_long.note_if(seen == Err(Some(20)));
        assert_eq!(rig.until(), Err(Some(20)));
        assert!(rig.select().is_none());
    });
    short.assert("the shorter rest first");
    long.assert("the longer rest");
}

#[test]
fn a_fault_that_comes_while_an_operator_clears_is_either_cleared_or_not() {
    let (cleared, closed) = (Seen::default(), Seen::default());
    let (saw_cleared, saw_closed) = (cleared.clone(), closed.clone());
    model(3, move || {
        let rig = rig();
        let straggler = rig.select().unwrap();
        assert!(rig.call(throttled(5)));
        let clearing = {
            let rig = Arc::clone(&rig);
            loom::thread::spawn(move || {
                rig.pool
                    .with_keys(|keys| rig.gate.clear(keys.iter().next().unwrap()));
            })
        };
        let end = ending(straggler, throttled(7));
        clearing.join().unwrap();
        end.join().unwrap();
        let until = rig.until();
        saw_cleared.note_if(until == Ok(()));
        saw_closed.note_if(until == Err(Some(7)));
        assert!(matches!(until, Ok(()) | Err(Some(7))), "{until:?}");
        // What it says of itself is what calls find.
        assert_eq!(rig.select().is_some(), until.is_ok());
    });
    cleared.assert("the clearing last");
    closed.assert("the fault last");
}

#[test]
fn when_a_rest_is_over_one_of_two_is_the_probe() {
    let (first, second) = (Seen::default(), Seen::default());
    let (saw_first, saw_second) = (first.clone(), second.clone());
    model(2, move || {
        let rig = rig();
        assert!(rig.call(throttled(5)));
        rig.advance(5);
        let (one, two) = (rig.selecting(), rig.selecting());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        saw_first.note_if(one.is_some());
        saw_second.note_if(two.is_some());
        assert!(one.is_some() ^ two.is_some(), "there is one probe");
    });
    first.assert("the one call as the probe");
    second.assert("the other call as the probe");
}

#[test]
fn a_probe_whose_content_comes_while_another_call_begins_lets_it_in_or_not() {
    let (before, after) = (Seen::default(), Seen::default());
    let (saw_before, saw_after) = (before.clone(), after.clone());
    model(3, move || {
        let rig = rig();
        assert!(rig.call(throttled(5)));
        rig.advance(5);
        let mut probe = rig.select().unwrap();
        let streaming = loom::thread::spawn(move || {
            probe.note_first_content();
            probe
        });
        let next = rig.selecting().join().unwrap();
        let probe = streaming.join().unwrap();
        saw_before.note_if(next.is_none());
        saw_after.note_if(next.is_some());
        // Two at a time, of those that wait for content: the probe waits no longer.
        let more = rig.select();
        assert!(more.is_some());
        assert_eq!(rig.select().is_some(), next.is_none());
        drop((probe, next, more));
    });
    before.assert("a call before the content");
    after.assert("a call after the content");
}

#[test]
fn a_confirmation_that_races_with_a_fault_never_opens_what_the_fault_closed() {
    let (half_open, closed) = (Seen::default(), Seen::default());
    let (saw_half_open, saw_closed) = (half_open.clone(), closed.clone());
    model(3, move || {
        let rig = rig();
        let straggler = rig.select().unwrap();
        assert!(rig.call(throttled(50)));
        rig.advance(5);
        let confirming = {
            let rig = Arc::clone(&rig);
            loom::thread::spawn(move || {
                let now = rig.pool.now();
                rig.pool
                    .with_keys(|keys| rig.gate.confirm(keys.iter().next().unwrap(), now))
            })
        };
        let end = ending(straggler, throttled(100));
        let confirmed = confirming.join().unwrap();
        end.join().unwrap();
        let until = rig.until();
        assert!(confirmed, "nothing was said after it asked");
        saw_half_open.note_if(until == Ok(()));
        saw_closed.note_if(until == Err(Some(100)));
        assert_eq!(rig.select().is_some(), until.is_ok());
    });
    half_open.assert("the confirmation last");
    closed.assert("the fault last");
}
