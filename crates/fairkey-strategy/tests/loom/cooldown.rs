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
