//! What closes keys or accounts until a time.

use std::sync::Arc;

use fairkey_core::{Denied, Gate, Outcome, Timestamp};
use proptest::collection::vec;
use proptest::prelude::any;

use super::door::{Door, outcomes};
use crate::generate::{KeySpec, key_specs, plain_keys};
use crate::law::{Verdict, ensure, for_all, once};

/// While a key is closed until a time, nothing that ends makes that time come sooner: neither the
/// success of a call that began before, nor a fault that asks for a shorter rest.
///
/// # Errors
///
/// How the law is broken.
pub fn never_shrinks_without_evidence(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let law = "never_shrinks_without_evidence";
    let ends = vec((any::<u8>(), outcomes(make().hears()), 0_u32..100), 1..16);
    let inputs = (key_specs(1..4), vec(any::<u8>(), 1..16), any::<u8>(), ends);
    for_all(law, &inputs, |(specs, calls, closed, ends)| {
        let mut door = Door::new(specs, &make);
        for n in calls {
            // Stragglers to be: calls that begin while all is well.
            let _ = door.stage.enter(usize::from(*n) % specs.len());
        }
        door.trip(usize::from(*closed) % specs.len())?;
        for (n, outcome, part) in ends {
            let before = closed_until(&door);
            // A part of the time to the first opening, so that none is reached.
            let now = door.stage.now();
            if let Some(first) = before.iter().flatten().min() {
                let wait = first.since(now).mul_f64(f64::from(*part) / 100.0);
                door.stage.clock().advance(wait);
            }
            door.stage.end(usize::from(*n), *outcome);
            for (key, (before, after)) in before.iter().zip(closed_until(&door)).enumerate() {
                let Some(before) = before else {
                    continue;
                };
                if *before <= door.stage.now() {
                    continue;
                }
                ensure(after.is_some_and(|after| after >= *before), || {
                    format!(
                        "key {key} was closed until {before:?}, after {outcome:?} until {after:?}"
                    )
                })?;
            }
        }
        Ok(())
    })
}

/// Returns for each key until when it is closed: for good counts as for ever.
fn closed_until(door: &Door) -> Vec<Option<Timestamp>> {
    let until = |denied: Denied| denied.until.unwrap_or(Timestamp::MAX);
    (0..door.keys())
        .map(|n| door.check(n).err().map(until))
        .collect()
}

/// A key's own failures close it, and no other key.
///
/// # Errors
///
/// How the law is broken.
pub fn closes_its_key_and_no_other(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mut specs = plain_keys(4);
    // Two keys of one account: a key's fault is not its account's.
    specs[0].account = Some(0);
    specs[1].account = Some(0);
    once("closes_its_key_and_no_other", || {
        only_closes(&make, &specs, 0, &[true, false, false, false])
    })
}

/// The failures of an account's key close all keys of the account, and no other key.
///
/// # Errors
///
/// How the law is broken.
pub fn closes_its_account_and_no_other(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mut specs = plain_keys(5);
    for (n, account) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
        specs[n].account = Some(account);
    }
    once("closes_its_account_and_no_other", || {
        only_closes(&make, &specs, 2, &[true, false, true, false, false])?;
        // A key without an account is one by itself.
        only_closes(&make, &specs, 4, &[false, false, false, false, true])
    })
}

/// The failures of one key's calls close all keys: what is out is what they share.
///
/// # Errors
///
/// How the law is broken.
pub fn closes_everything(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mut specs = plain_keys(4);
    specs[0].account = Some(0);
    specs[1].account = Some(0);
    once("closes_everything", || {
        only_closes(&make, &specs, 2, &[true; 4])
    })
}

fn only_closes(
    make: super::door::Make<'_>,
    specs: &[KeySpec],
    tripped: usize,
    expected: &[bool],
) -> Result<(), String> {
    let mut door = Door::new(specs, make);
    let until = door.trip(tripped)?;
    let closed: Vec<bool> = (0..specs.len()).map(|n| door.check(n).is_err()).collect();
    ensure(closed == expected, || {
        format!("failures of key {tripped} closed {closed:?} where {expected:?} is right")
    })?;
    for n in (0..specs.len()).filter(|n| expected[*n]) {
        ensure(
            door.check(n).err().and_then(|denied| denied.until) == Some(until),
            || {
                format!(
                    "key {tripped} is closed until {until:?}, key {n} says {:?}",
                    door.check(n)
                )
            },
        )?;
        ensure(door.stage.call(n, Outcome::Success).is_err(), || {
            format!("key {n} is closed, and a call got it")
        })?;
    }
    Ok(())
}
