//! What is counted, and what a reload leaves alone.

use std::sync::Arc;

use fairkey_core::{Ask, Gate, Outcome, Pool, Strategy};
use proptest::collection::vec;
use proptest::prelude::any;

use crate::generate::{Change, KeySpec, Mix, Op, key_specs, keys_of, ops};
use crate::law::{Verdict, ensure, for_all, for_one_in};
use crate::{SpyGate, Stage, Step};

/// In flight is the number of live leases, after every step of any sequence of selections, ends,
/// drops and reloads, on one thread and on many; and nothing is left when all have ended.
///
/// # Errors
///
/// How the law is broken.
pub fn counts_return_to_zero(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let law = "counts_return_to_zero";
    let inputs = (key_specs(1..7), ops(&Mix::everything(), 0..60));
    for_all(law, &inputs, |(specs, ops)| {
        let gate = Arc::new(SpyGate::new());
        let mut stage = Stage::new(specs, make(), &[Arc::clone(&gate) as Arc<dyn Gate>]);
        for op in ops {
            stage.apply(op)?;
            ensure(gate.inside() == stage.live().len(), || {
                let (inside, live) = (gate.inside(), stage.live().len());
                format!("{inside} are behind a gate and {live} leases live")
            })?;
        }
        stage.end_all(Outcome::Success);
        is_idle(stage.pool(), &gate)
    })?;
    let inputs = (key_specs(1..5), vec(any::<u8>(), 64), any::<bool>());
    for_one_in(4, law, &inputs, |(specs, script, reload)| {
        let gate = Arc::new(SpyGate::new());
        let pool = Pool::builder()
            .strategy(make())
            .shared_gate(Arc::clone(&gate) as Arc<dyn Gate>)
            .keys(keys_of(specs))
            .build()
            .map_err(|error| error.to_string())?;
        std::thread::scope(|scope| {
            for part in script.chunks(script.len() / 4) {
                scope.spawn(|| call_often(&pool, part));
            }
            if *reload {
                scope.spawn(|| reload_often(&pool, specs));
            }
        });
        is_idle(&pool, &gate)
    })
}

/// Holds up to four leases at a time, and ends them in every way there is.
fn call_often(pool: &Pool, script: &[u8]) {
    let mut held = Vec::new();
    for what in script.iter().cycle().take(4 * script.len()) {
        held.extend(pool.select(&Ask::new().with_affinity(u64::from(what % 8))));
        if held.len() > usize::from(what % 4) {
            let lease = held.swap_remove(usize::from(what / 4) % held.len());
            match what % 3 {
                0 => lease.finish(Outcome::Success),
                1 => lease.finish(Outcome::Neutral),
                _ => drop(lease),
            }
        }
    }
}

fn reload_often(pool: &Pool, specs: &[KeySpec]) {
    let mut specs = specs.to_vec();
    for n in 0..8 {
        let changes = [
            Change::Add(KeySpec::plain(100 + u16::from(n))),
            Change::Remove(n),
            Change::Weigh(n, u32::from(n) + 1),
            Change::Replace(n + 1),
        ];
        changes[usize::from(n % 4)].apply(&mut specs);
        // Labels differ and none is empty, so nothing is refused.
        let _ = pool.reload(keys_of(&specs));
    }
}

fn is_idle(pool: &Pool, gate: &SpyGate) -> Result<(), String> {
    let counts: Vec<(String, u32)> = pool.with_keys(|keys| {
        let busy = keys.iter().filter(|key| key.in_flight() > 0);
        busy.map(|key| (key.id().to_string(), key.in_flight()))
            .collect()
    });
    ensure(counts.is_empty() && pool.in_flight() == 0, || {
        format!(
            "no lease lives and {} are in flight: {counts:?}",
            pool.in_flight()
        )
    })?;
    ensure(gate.inside() == 0 && gate.strangers() == 0, || {
        let (inside, strangers) = (gate.inside(), gate.strangers());
        format!("a gate was not left {inside} times, and {strangers} times too often")
    })
}

/// A reload that changes nothing is not noticed: neither one with the same keys, nor one that
/// adds a key and one that takes it away again. The choices after it are those of a pool without
/// it.
///
/// # Errors
///
/// How the law is broken.
pub fn survives_reload(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let mix = Mix {
        reloads: false,
        ..Mix::everything()
    };
    let inputs = (key_specs(1..7), vec((ops(&mix, 0..8), any::<bool>()), 1..8));
    for_all("survives_reload", &inputs, |(specs, parts)| {
        let mut plain = Stage::new(specs, make(), &[]);
        let mut reloaded = Stage::new(specs, make(), &[]);
        for (ops, with_one_more) in parts {
            for op in ops {
                let (one, other) = (plain.apply(op)?, reloaded.apply(op)?);
                same(op, &one, &other)?;
            }
            if *with_one_more {
                let last = u8::try_from(specs.len()).unwrap_or(u8::MAX);
                reloaded.reload(&[Change::Add(KeySpec::plain(99))])?;
                reloaded.reload(&[Change::Remove(last)])?;
            } else {
                reloaded.reload(&[])?;
            }
        }
        Ok(())
    })
}

fn same(op: &Op, plain: &Step, reloaded: &Step) -> Result<(), String> {
    ensure(plain == reloaded, || {
        format!("{op:?} came to {plain:?}, and after a reload without a change to {reloaded:?}")
    })
}
