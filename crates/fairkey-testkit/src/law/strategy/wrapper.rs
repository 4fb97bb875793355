//! What a strategy that wraps another one must pass on.

use std::sync::Arc;

use fairkey_core::{Ask, FaultKind, Gate, Gated, Outcome, Pool, Registry, Scope, Strategy};

use crate::generate::{AskSpec, Mix, key_specs, keys_of, ops, plain_keys};
use crate::law::{Verdict, ensure, for_all, once};
use crate::{Spy, SpyGate, Stage};

/// A wrapper forwards `attach`, `rekey`, `settle` and `score` to what it wraps: a spy inside is
/// told of all of them, of each once, and of the outcome as it was.
///
/// # Errors
///
/// How the law is broken.
pub fn wrapper_forwards(wrap: impl Fn(Box<dyn Strategy>) -> Box<dyn Strategy>) -> Verdict {
    once("wrapper_forwards", || {
        let (spy, gate) = (Spy::new(), Arc::new(SpyGate::new()));
        let door = Arc::clone(&gate) as Arc<dyn Gate>;
        let mut strategy = wrap(Box::new(Gated::new(spy.clone()).shared_gate(door)));
        let gates = Registry::of(&mut *strategy);
        ensure(gates.len() == 1 && spy.attached() == 1, || {
            let (gates, attached) = (gates.len(), spy.attached());
            format!("`attach` reached the inside {attached} times and {gates} of 1 gates is known")
        })?;
        let pool = Pool::builder()
            .strategy(strategy)
            .keys(keys_of(&plain_keys(3)))
            .build()
            .map_err(|error| error.to_string())?;
        ensure(spy.rekeyed() == 1 && gate.rekeyed() == 1, || {
            let (inside, gate) = (spy.rekeyed(), gate.rekeyed());
            format!("`rekey` of the start reached the inside {inside} times, its gate {gate}")
        })?;
        (pool.reload(keys_of(&plain_keys(4)))).map_err(|error| error.to_string())?;
        ensure(spy.rekeyed() == 2 && gate.rekeyed() == 2, || {
            let (inside, gate) = (spy.rekeyed(), gate.rekeyed());
            format!("`rekey` of a reload reached the inside {inside} times, its gate {gate}")
        })?;
        let fault = Outcome::fault(Scope::Provider, FaultKind::Throttled);
        let mut expected = Vec::new();
        for outcome in [Outcome::Success, fault, Outcome::Neutral] {
            let lease = pool
                .select(&Ask::new())
                .map_err(|error| error.to_string())?;
            expected.push((lease.key().id().clone(), outcome));
            lease.finish(outcome);
        }
        let settled: Vec<_> = (spy.settled().into_iter())
            .map(|seen| (seen.key, seen.outcome))
            .collect();
        ensure(settled == expected, || {
            format!("calls ended as {expected:?}, and the inside was told {settled:?}")
        })?;
        let _ = pool.explain(&Ask::new());
        ensure(spy.scored() == 4, || {
            format!(
                "`score` of 4 keys reached the inside {} times",
                spy.scored()
            )
        })
    })
}

/// Whatever a wrapper does with the answers of what it wraps (asks twice, takes another), each
/// call holds the permits of its own key and of no other, and when it has ended none.
///
/// # Errors
///
/// How the law is broken.
pub fn wrapper_loses_no_permit(wrap: impl Fn(Box<dyn Strategy>) -> Box<dyn Strategy>) -> Verdict {
    let inputs = (key_specs(1..7), ops(&Mix::everything(), 0..60));
    for_all("wrapper_loses_no_permit", &inputs, |(specs, ops)| {
        let gate = Arc::new(SpyGate::new());
        let door = Arc::clone(&gate) as Arc<dyn Gate>;
        let inner = Gated::new(Spy::new()).shared_gate(door);
        let mut stage = Stage::new(specs, wrap(Box::new(inner)), &[]);
        let first = stage.select(&AskSpec::default())?;
        ensure(first.is_ok(), || {
            format!("everything is free, and the first call gets {first:?}")
        })?;
        for op in ops {
            stage.apply(op)?;
            ensure(gate.inside() == stage.live().len(), || {
                let (inside, live) = (gate.inside(), stage.live().len());
                format!("after {op:?}, {inside} permits are out and {live} leases live")
            })?;
        }
        stage.end_all(Outcome::Success);
        ensure(gate.inside() == 0 && gate.strangers() == 0, || {
            let (inside, strangers) = (gate.inside(), gate.strangers());
            format!("{inside} permits are lost, and {strangers} came back twice")
        })
    })
}
