//! What a reload keeps, and what it must not hand on.

use std::sync::Arc;

use fairkey_core::{Gate, Outcome};
use proptest::collection::vec;
use proptest::prelude::any;

use super::door::{Door, mix};
use crate::generate::{Change, KeySpec, Mix, key_specs, ops};
use crate::law::{Verdict, ensure, for_all};

/// A reload that changes nothing is not noticed: what belongs to keys that stay, stays.
///
/// # Errors
///
/// How the law is broken.
pub fn survives_reload(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mix = Mix {
        reloads: false,
        ..mix(make().hears())
    };
    let inputs = (key_specs(1..6), vec((ops(&mix, 0..8), any::<bool>()), 1..8));
    for_all("survives_reload", &inputs, |(specs, parts)| {
        let (mut plain, mut reloaded) = (Door::new(specs, &make), Door::new(specs, &make));
        for (ops, with_one_more) in parts {
            for op in ops {
                let (one, other) = (plain.stage.apply(op)?, reloaded.stage.apply(op)?);
                ensure(one == other, || {
                    format!("{op:?} came to {one:?}, and after a reload without a change {other:?}")
                })?;
            }
            if *with_one_more {
                let last = u8::try_from(specs.len()).unwrap_or(u8::MAX);
                let more = KeySpec::plain(99);
                reloaded.stage.reload(&[Change::Add(more)])?;
                reloaded.stage.reload(&[Change::Remove(last)])?;
            } else {
                reloaded.stage.reload(&[])?;
            }
            let (one, other) = (plain.profile(), reloaded.profile());
            ensure(one == other, || {
                format!("a reload without a change made {other:?} of {one:?}")
            })?;
        }
        Ok(())
    })
}

/// A new key starts as every new key does, although its slot, and the slot of its account, were
/// another key's before.
///
/// # Errors
///
/// How the law is broken.
pub fn a_new_key_inherits_nothing(make: impl Fn() -> Arc<dyn Gate>) -> Verdict {
    let mix = Mix {
        reloads: false,
        ..mix(make().hears())
    };
    let inputs = (key_specs(2..5), ops(&mix, 0..60));
    for_all("a_new_key_inherits_nothing", &inputs, |(specs, ops)| {
        let mut door = Door::new(specs, &make);
        for op in ops {
            door.stage.apply(op)?;
        }
        door.stage.end_all(Outcome::Neutral);
        // The last key, and whatever account it alone was in, go; a new one comes.
        let last = u8::try_from(specs.len() - 1).unwrap_or(u8::MAX);
        door.stage.reload(&[Change::Remove(last)])?;
        door.stage.reload(&[Change::Add(KeySpec::plain(99))])?;
        let fresh = {
            let mut fresh = Door::new(&[KeySpec::plain(99)], &make);
            fresh.stage.clock().advance_to(door.stage.now());
            (
                fresh.profile().pop(),
                fresh.stage.capacity(0, super::door::MANY),
            )
        };
        let at = door.stage.pool().with_keys(|keys| {
            let found = keys.iter().position(|key| key.id().as_str() == "k99");
            found.ok_or("the new key is not there")
        })?;
        let profile = door.profile().into_iter().nth(at);
        let seen = (profile, door.stage.capacity(at, super::door::MANY));
        ensure(seen == fresh, || {
            format!("a new key starts with {seen:?}, and one in an empty pool with {fresh:?}")
        })
    })
}
