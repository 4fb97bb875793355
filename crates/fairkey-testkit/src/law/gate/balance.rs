//! What goes in comes out.

use std::sync::Arc;

use fairkey_core::{Ask, Gate, Gated, Outcome, Scopes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::strategy::{BoxedStrategy, Strategy as Generator};
use std::time::Duration;

use super::door::{Door, Make};
use crate::generate::{
    KeySpec, Mix, Op, curable_kinds, durations, faults, key_specs, ops, others, timely_retries,
};
use crate::law::{Verdict, ensure, for_all, for_one_in};
use crate::{SpyGate, Stage, Twice, Wanted};

/// Longer than anything closes by itself.
const LONG: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Calls that say nothing (given up, at somebody else's fault, or refused by another gate at the
/// last moment) leave nothing behind: when they have ended, the gate admits as many at a time as
/// one that has seen none of them.
///
/// # Errors
///
/// How the law is broken.
pub fn enter_and_leave_balance(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mix = Mix::of(silent(make().hears()));
    let refusals = option::of(any::<u8>());
    let inputs = (key_specs(1..6), vec((ops(&mix, 1), refusals), 0..60));
    for_all("enter_and_leave_balance", &inputs, |(specs, ops)| {
        let behind = Arc::new(SpyGate::new());
        let also = Arc::clone(&behind) as Arc<dyn Gate>;
        let mut door = Door::with(specs, &make, |inner| inner.shared_gate(also));
        for (op, refused) in ops {
            behind.admit_all();
            if let Some(n) = refused {
                behind.refuse(&specs[usize::from(*n) % specs.len()].label());
            }
            for op in op {
                door.stage.apply(op)?;
            }
        }
        behind.admit_all();
        as_good_as_new(&mut door, specs, &make)
    })
}

/// The same, with calls on four threads at once.
///
/// # Errors
///
/// How the law is broken.
pub fn enter_and_leave_balance_across_threads(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let law = "enter_and_leave_balance_across_threads";
    let inputs = (
        key_specs(1..4),
        vec((any::<u8>(), silent(make().hears())), 40),
    );
    for_one_in(4, law, &inputs, |(specs, script)| {
        let mut door = Door::new(specs, &make);
        let pool = door.stage.pool();
        std::thread::scope(|scope| {
            for part in script.chunks(10) {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for (what, outcome) in part.iter().cycle().take(100) {
                        held.extend(pool.select(&Ask::new()));
                        if held.len() > usize::from(what % 3) {
                            let lease = held.swap_remove(usize::from(*what) % held.len());
                            lease.finish(*outcome);
                        }
                    }
                });
            }
        });
        as_good_as_new(&mut door, specs, &make)
    })
}

/// A strategy that asks twice and takes either answer costs no permit: neither while the call
/// lasts nor after it.
///
/// # Errors
///
/// How the law is broken.
pub fn picks_twice_loses_no_permit(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mix = Mix::of(silent(make().hears()));
    let inputs = (key_specs(1..6), ops(&mix, 0..60));
    for_all("picks_twice_loses_no_permit", &inputs, |(specs, ops)| {
        let (gate, spy) = (make(), Arc::new(SpyGate::new()));
        let inner = Gated::new(Wanted)
            .shared_gate(Arc::clone(&gate))
            .shared_gate(Arc::clone(&spy) as Arc<dyn Gate>);
        let mut stage = Stage::new(specs, Twice(inner), &[]);
        for op in ops {
            stage.apply(op)?;
            ensure(spy.inside() == stage.live().len(), || {
                let (inside, live) = (spy.inside(), stage.live().len());
                format!("{inside} are behind the gate and {live} leases live")
            })?;
        }
        stage.end_all(Outcome::Neutral);
        stage.clock().advance(LONG);
        let left: Vec<u32> = (0..specs.len())
            .map(|n| stage.capacity(n, super::door::MANY))
            .collect();
        let mut fresh = Door::new(specs, &make);
        fresh.stage.clock().advance_to(stage.now());
        compare(&left, &fresh.capacities())
    })
}

/// Whatever calls ended with, short of a refusal of the credential: time and successful calls
/// open every key again, fully. Nothing is stuck, no probe is waited for that nobody makes.
///
/// # Errors
///
/// How the law is broken.
pub fn opens_again(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mix = Mix::of(curable(make().hears()));
    let inputs = (key_specs(1..5), ops(&mix, 0..60));
    for_all("opens_again", &inputs, |(specs, ops)| {
        let mut door = Door::new(specs, &make);
        for op in ops {
            door.stage.apply(op)?;
        }
        door.stage.end_all(Outcome::Neutral);
        for _ in 0..200 {
            for n in 0..door.keys() {
                match door.check(n) {
                    Ok(()) => {
                        let call = door.stage.call(n, Outcome::Success);
                        call.map_err(|refused| format!("{refused}, and `check` admits it"))?;
                    }
                    Err(denied) => {
                        let until = denied.until.ok_or_else(|| {
                            format!("key {n} is idle, and it says {denied}: nothing ends that")
                        })?;
                        door.stage.clock().advance_to(until);
                    }
                }
            }
        }
        as_good_as_new(&mut door, specs, &make)
    })
}

/// Only faults of `scopes` count: one of any other scope is the same to the gate as a call that
/// was given up.
///
/// # Errors
///
/// How the law is broken.
pub fn only_own_scope_is_heard(make: impl Fn() -> Arc<dyn Gate>, scopes: Scopes) -> Verdict {
    let outcomes = prop_oneof![
        1 => Just(Outcome::Success),
        1 => faults(scopes),
        4 => faults(others(scopes)),
    ];
    let inputs = (key_specs(1..6), ops(&Mix::of(outcomes.boxed()), 0..60));
    for_all("only_own_scope_is_heard", &inputs, |(specs, ops)| {
        let (mut blamed, mut spared) = (Door::new(specs, &make), Door::new(specs, &make));
        for op in ops {
            let neutral = match op {
                Op::End(n, outcome) => Op::End(*n, outcome.heard_by(scopes)),
                other => other.clone(),
            };
            let (one, other) = (blamed.stage.apply(op)?, spared.stage.apply(&neutral)?);
            ensure(one == other, || {
                format!("{op:?} came to {one:?} after foreign faults, to {other:?} without them")
            })?;
        }
        let (one, other) = (blamed.profile(), spared.profile());
        ensure(one == other, || {
            format!("foreign faults made {one:?} of {other:?}")
        })
    })
}

fn as_good_as_new(door: &mut Door, specs: &[KeySpec], make: Make<'_>) -> Result<(), String> {
    door.stage.end_all(Outcome::Neutral);
    door.stage.clock().advance(LONG);
    let left = door.capacities();
    compare(&left, &door.fresh_capacities(specs, make))
}

fn compare(left: &[u32], fresh: &[u32]) -> Result<(), String> {
    ensure(left == fresh, || {
        format!("when all is over the keys admit {left:?} calls at a time, and new ones {fresh:?}")
    })
}

/// Ends of calls that tell a gate which hears `scopes` nothing.
fn silent(scopes: Scopes) -> BoxedStrategy<Outcome> {
    if others(scopes) == Scopes::NONE {
        return Just(Outcome::Neutral).boxed();
    }
    prop_oneof![Just(Outcome::Neutral), faults(others(scopes))].boxed()
}

/// Ends of calls after which waiting helps.
fn curable(scopes: Scopes) -> BoxedStrategy<Outcome> {
    let fault = (faults(scopes), curable_kinds(), timely_retries());
    let fault = fault.prop_map(|(fault, kind, retry)| match fault {
        Outcome::Fault { scope, .. } => Outcome::Fault { scope, kind, retry },
        other => other,
    });
    prop_oneof![
        2 => Just(Outcome::Success),
        1 => Just(Outcome::Neutral),
        4 => fault,
        1 => durations().prop_map(|_| Outcome::Neutral),
    ]
    .boxed()
}
