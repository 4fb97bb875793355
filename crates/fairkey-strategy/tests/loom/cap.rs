//! A cap is never passed, and no room is lost.

use std::sync::Arc;

use fairkey_core::{Gate, Outcome};
use fairkey_strategy::MaxInFlight;

use crate::broken::LooksThenTakes;
use crate::support::{Rig, Seen, ending, model};

/// Two calls begin while one ends, with room for one.
fn two_begin_while_one_ends<G: Gate + 'static>(
    make: impl Fn() -> G + Send + Sync + 'static,
) -> [Seen; 3] {
    let seen: [Seen; 3] = Default::default();
    let [none, first, second] = seen.clone();
    model(2, move || {
        let rig = Rig::new(make());
        let held = rig.select().unwrap();
        let (one, two) = (rig.selecting(), rig.selecting());
        let end = ending(held, Outcome::Success);
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        end.join().unwrap();
        none.note_if(one.is_none() && two.is_none());
        first.note_if(one.is_some());
        second.note_if(two.is_some());
        assert!(
            one.is_none() || two.is_none(),
            "two calls where there is room for one"
        );
        drop((one, two));
        let next = rig.select();
        assert!(next.is_some(), "there is room, and nobody gets it");
        assert!(rig.select().is_none(), "there is room for more than one");
    });
    seen
}

#[test]
fn the_last_room_goes_to_one_of_two() {
    let [none, first, second] = two_begin_while_one_ends(|| MaxInFlight::per_account(1));
    none.assert("both before the end");
    first.assert("the one after the end");
    second.assert("the other after the end");
}

#[test]
#[should_panic(expected = "two calls where there is room for one")]
fn looking_first_and_taking_later_is_caught() {
    two_begin_while_one_ends(LooksThenTakes::default);
}

#[test]
fn calls_that_end_while_others_begin_leave_the_cap_as_it_was() {
    let (full, free) = (Seen::default(), Seen::default());
    let (saw_full, saw_free) = (full.clone(), free.clone());
    model(2, move || {
        let rig = Rig::new(MaxInFlight::per_account(2));
        let (one, two) = (rig.select().unwrap(), rig.select().unwrap());
        let ends = [ending(one, Outcome::Success), ending(two, Outcome::Neutral)];
        let begin = rig.selecting();
        for end in ends {
            end.join().unwrap();
        }
        let third = begin.join().unwrap();
        saw_full.note_if(third.is_none());
        saw_free.note_if(third.is_some());
        let more: Vec<_> = std::iter::from_fn(|| rig.select()).take(3).collect();
        assert_eq!(more.len() + usize::from(third.is_some()), 2);
        drop((third, more));
        assert_eq!(Arc::strong_count(&rig), 1);
    });
    full.assert("the third call before any end");
    free.assert("the third call after an end");
}
