//! What only caps must obey.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fairkey_core::{Ask, Gate};

use super::door::{Door, Make};
use crate::generate::{KeySpec, plain_keys};
use crate::law::{Verdict, ensure, once};

/// Exactly `cap` calls at a time get each key: that many do, and one more does not, from however
/// many threads.
///
/// # Errors
///
/// How the law is broken.
pub fn never_more_than(make: impl Fn() -> Arc<dyn Gate>, cap: u32) -> Verdict {
    once("never_more_than", || {
        holds_for_one(&make, &plain_keys(3), cap)?;
        holds_under_threads(&make, &plain_keys(1), cap)
    })
}

/// Exactly `cap` calls at a time get the keys of each account, together.
///
/// # Errors
///
/// How the law is broken.
pub fn never_more_than_per_account(make: impl Fn() -> Arc<dyn Gate>, cap: u32) -> Verdict {
    let mut specs = plain_keys(3);
    for spec in &mut specs {
        spec.account = Some(0);
    }
    once("never_more_than_per_account", || {
        holds_for_one(&make, &specs, cap)?;
        let mut door = Door::new(&specs, &make);
        let admitted = (0..3 * cap as usize)
            .filter(|n| door.stage.enter(*n).is_ok())
            .count();
        ensure(admitted == cap as usize, || {
            format!("{admitted} calls at a time got the keys of an account, {cap} may")
        })?;
        holds_under_threads(&make, &specs, cap)
    })
}

fn holds_for_one(make: Make<'_>, specs: &[KeySpec], cap: u32) -> Result<(), String> {
    let mut door = Door::new(specs, make);
    for n in 0..specs.len() {
        let capacity = door.stage.capacity(n, cap + 1);
        ensure(capacity == cap, || {
            format!("key {n} takes {capacity} calls at a time, {cap} are right")
        })?;
    }
    Ok(())
}

fn holds_under_threads(make: Make<'_>, specs: &[KeySpec], cap: u32) -> Result<(), String> {
    let door = Door::new(specs, make);
    let (pool, inside, most) = (door.stage.pool(), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..cap + 3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    // Counted after the gate is entered and before it is left: never more than it
                    // has let in.
                    if let Ok(lease) = pool.select(&Ask::new()) {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                }
            });
        }
    });
    let most = most.into_inner();
    ensure(most <= cap, || {
        format!("{most} calls at a time got through from several threads, {cap} may")
    })
}
