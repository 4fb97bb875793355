//! What only breakers must obey.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use fairkey_core::{Ask, Gate, Outcome};
use proptest::collection::vec;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::Strategy as Generator;

use super::door::{Door, fault_of, outcomes};
use crate::Step;
use crate::generate::{durations, plain_keys};
use crate::law::{Verdict, ensure, for_all};

/// When the time of an open breaker is over, one call is admitted and no second until that one has
/// ended; if it is given up, the next is the probe; from many threads at once, too.
///
/// # Errors
///
/// How the law is broken.
pub fn at_most_one_probe(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let inputs = (1_u16..4, any::<u8>(), vec(2_usize..6, 1..4), any::<bool>());
    for_all("at_most_one_probe", &inputs, |(keys, n, tries, threads)| {
        let n = usize::from(*n) % usize::from(*keys);
        let mut door = Door::new(&plain_keys(*keys), &make);
        let until = door.trip(n)?;
        ensure(door.stage.enter(n).is_err(), || {
            format!("key {n} is open until {until:?}, and a call got it before")
        })?;
        door.stage.clock().advance_to(until);
        for tries in tries {
            let admitted = if *threads {
                admitted_at_once(&door, n, *tries)
            } else {
                (0..*tries).filter(|_| door.stage.enter(n).is_ok()).count()
            };
            ensure(admitted == 1, || {
                format!("of {tries} calls, {admitted} were let through as the one probe")
            })?;
            // Given up: the permit goes back.
            door.stage.end_all(Outcome::Neutral);
        }
        let fault = fault_of(door.gate.hears())?;
        (door.stage.call(n, fault)).map_err(|refused| format!("no probe: {refused}"))?;
        let denied = door.check(n).err().and_then(|denied| denied.until);
        ensure(denied.is_some_and(|until| until > door.stage.now()), || {
            format!("the probe failed, and the key says {:?}", door.check(n))
        })
    })
}

/// Counts how many of so many threads get the key at the same time. All leases end after the last
/// try.
fn admitted_at_once(door: &Door, n: usize, tries: usize) -> usize {
    let (pool, admitted, barrier) = (door.stage.pool(), AtomicUsize::new(0), Barrier::new(tries));
    std::thread::scope(|scope| {
        for _ in 0..tries {
            scope.spawn(|| {
                barrier.wait();
                let lease = pool.select(&Ask::new().with_affinity(n as u64));
                admitted.fetch_add(usize::from(lease.is_ok()), Ordering::SeqCst);
                barrier.wait();
            });
        }
    });
    admitted.into_inner()
}

/// One step of the life of a breaker after it has tripped.
#[derive(Clone, Debug)]
enum Act {
    /// A call that ends at once.
    Call(Outcome),
    /// A call that stays.
    Hold,
    /// The oldest call that stayed ends.
    Release(Outcome),
    /// Time passes.
    Advance(std::time::Duration),
    /// Time passes until the key opens.
    Wait,
    /// A call that began before the trip ends.
    Straggler(Outcome),
}

/// A call that began before the breaker tripped says nothing after it: neither that the key is
/// well, nor that it is not; not while it is open, not during the probe or after it. The breaker
/// goes on as if the call had not ended yet.
///
/// # Errors
///
/// How the law is broken.
pub fn stragglers_change_nothing(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let heard = make().hears();
    let act = prop_oneof![
        3 => Just(Act::Call(Outcome::Success)),
        2 => outcomes(heard).prop_map(Act::Call),
        1 => Just(Act::Hold),
        1 => outcomes(heard).prop_map(Act::Release),
        1 => durations().prop_map(Act::Advance),
        2 => Just(Act::Wait),
        3 => outcomes(heard).prop_map(Act::Straggler),
    ];
    let inputs = (1_usize..6, vec(act, 1..40));
    for_all(
        "stragglers_change_nothing",
        &inputs,
        |(stragglers, acts)| {
            let specs = plain_keys(1);
            let (mut with, mut without) = (Door::new(&specs, &make), Door::new(&specs, &make));
            for door in [&mut with, &mut without] {
                for _ in 0..*stragglers {
                    let entered = door.stage.enter(0);
                    entered.map_err(|refused| format!("a new breaker says {refused}"))?;
                }
                door.trip(0)?;
            }
            let mut left = *stragglers;
            for act in acts {
                if let Act::Straggler(outcome) = act {
                    if left > 0 {
                        with.stage.end(0, *outcome);
                        left -= 1;
                    }
                } else {
                    let one = carry_out(&mut with, act, left);
                    let other = carry_out(&mut without, act, *stragglers);
                    ensure(one == other, || {
                        format!("{act:?} came to {one:?} after stragglers, to {other:?} without")
                    })?;
                }
                let (one, other) = (with.profile(), without.profile());
                ensure(one == other, || {
                    format!("after {act:?} it says {one:?} with stragglers, {other:?} without")
                })?;
            }
            Ok(())
        },
    )
}

/// Carries out an act; the first `stragglers` of the live leases are not its.
fn carry_out(door: &mut Door, act: &Act, stragglers: usize) -> Step {
    let refused = |call: Result<(), _>| call.map_or_else(Step::Refused, |()| Step::Done);
    match act {
        Act::Call(outcome) => return refused(door.stage.call(0, *outcome)),
        Act::Hold => return refused(door.stage.enter(0)),
        Act::Release(outcome) => {
            if door.stage.live().len() > stragglers {
                door.stage.end(stragglers, *outcome);
            }
        }
        Act::Advance(by) => door.stage.clock().advance(*by),
        Act::Wait => {
            if let Some(until) = door.check(0).err().and_then(|denied| denied.until) {
                door.stage.clock().advance_to(until);
            }
        }
        Act::Straggler(_) => {}
    }
    Step::Done
}
