//! A gate means what it says.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Ask, At, Gate, Outcome, Report, Timestamp};
use proptest::collection::vec;

use super::door::{Door, mix};
use crate::generate::{asks, key_specs, ops};
use crate::law::{Verdict, ensure, for_all};

/// Looking changes nothing: whoever asks `check` and `narrow` between calls, as often as they
/// like, gets the same from the gate as somebody who never does.
///
/// # Errors
///
/// How the law is broken.
pub fn check_has_no_effect(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let looks = vec(asks(), 0..3);
    let inputs = (
        key_specs(1..6),
        vec((ops(&mix(make().hears()), 1), looks), 0..40),
    );
    for_all("check_has_no_effect", &inputs, |(specs, ops)| {
        let (mut alone, mut watched) = (Door::new(specs, &make), Door::new(specs, &make));
        for (op, looks) in ops {
            for ask in looks {
                let _ = watched.look(ask);
                let _ = watched.profile();
                let _ = watched.stage.pool().explain(&Ask::new());
            }
            for op in op {
                let (one, other) = (alone.stage.apply(op)?, watched.stage.apply(op)?);
                ensure(one == other, || {
                    format!("{op:?} came to {one:?}, and for a gate that is watched to {other:?}")
                })?;
            }
        }
        let (one, other) = (alone.profile(), watched.profile());
        ensure(one == other, || {
            format!("it ends with {one:?}, and a gate that is watched with {other:?}")
        })
    })
}

/// `narrow` leaves exactly the keys that `check` admits, whatever is on offer; and while the set
/// that `closed` shows is empty, there is nothing to narrow.
///
/// # Errors
///
/// How the law is broken.
pub fn narrow_agrees_with_check(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let inputs = (
        key_specs(1..6),
        vec((ops(&mix(make().hears()), 1), asks()), 0..40),
    );
    for_all("narrow_agrees_with_check", &inputs, |(specs, ops)| {
        let mut door = Door::new(specs, &make);
        for (op, ask) in ops {
            for op in op {
                door.stage.apply(op)?;
            }
            door.look(ask)?;
            if door.gate.closed().is_some_and(|closed| closed.is_empty()) {
                for n in 0..door.keys() {
                    ensure(door.check(n).is_ok(), || {
                        format!("`check` denies key {n}, and `closed` shows nothing")
                    })?;
                }
            }
        }
        Ok(())
    })
}

/// `enter` decides as `check` did, when nothing happens in between: it admits nobody whom `check`
/// denies, and denies nobody whom `check` admits, for whom the pool would tell the caller to ask
/// again at once.
///
/// # Errors
///
/// How the law is broken.
pub fn enter_agrees_with_check(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let inputs = (key_specs(1..6), ops(&mix(make().hears()), 0..40));
    for_all("enter_agrees_with_check", &inputs, |(specs, ops)| {
        let mut door = Door::new(specs, &make);
        for op in ops {
            door.stage.apply(op)?;
            for n in 0..door.keys() {
                let (checked, entered) = (door.check(n), enters(&door, n));
                ensure(checked.is_ok() == entered, || {
                    let enter = if entered { "admits" } else { "denies" };
                    format!("`check` says {checked:?} of key {n}, and `enter` {enter} it")
                })?;
            }
        }
        Ok(())
    })
}

/// Enters the gate for the `n`th key, past the pool, and leaves at once.
fn enters(door: &Door, n: usize) -> bool {
    let (ask, now) = (Ask::new(), door.stage.now());
    door.stage.pool().with_keys(|keys| {
        let Some(key) = keys.iter().nth(n) else {
            return false;
        };
        let entered = door.gate.enter(&At {
            key,
            ask: &ask,
            now,
        });
        let Ok(ticket) = entered else {
            return false;
        };
        let report = Report {
            outcome: Outcome::Neutral,
            begun: now,
            first_content: None,
            ended: now,
            reserved: ask.cost,
            actual: None,
        };
        door.gate.leave(key, ticket, &report);
        true
    })
}

/// A time in a denial lies ahead; just before it the key is still denied, and at it, if nothing
/// has happened in between, it is admitted.
///
/// # Errors
///
/// How the law is broken.
pub fn until_is_honest(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let inputs = (key_specs(1..6), ops(&mix(make().hears()), 0..40));
    for_all("until_is_honest", &inputs, |(specs, ops)| {
        let mut door = Door::new(specs, &make);
        for op in ops {
            door.stage.apply(op)?;
            for n in 0..door.keys() {
                if let Err(denied) = door.check(n)
                    && let Some(until) = denied.until
                {
                    is_honest(&door, n, until)
                        .map_err(|what| format!("at {:?}: {what}", door.stage.now()))?;
                }
            }
        }
        Ok(())
    })
}

fn is_honest(door: &Door, n: usize, until: Timestamp) -> Result<(), String> {
    let now = door.stage.now();
    ensure(until > now, || {
        format!("key {n} is denied until {until:?}, which is over")
    })?;
    let before = door.check_at(n, until - Duration::from_nanos(1));
    ensure(before.is_err(), || {
        format!("key {n} is denied until {until:?}, and admitted just before")
    })?;
    let at = door.check_at(n, until);
    ensure(at.is_ok(), || {
        format!("key {n} is denied until {until:?}, and then it says {at:?}")
    })
}
