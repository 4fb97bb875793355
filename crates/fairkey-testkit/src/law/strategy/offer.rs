//! What may be picked, and that something is.

use std::sync::{Arc, Mutex, PoisonError};

use fairkey_core::{
    Ask, Candidate, Denied, Gate, KeySet, Outcome, Registry, Report, Scope, Strategy, Turn,
};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::Strategy as Generator;

use crate::generate::{AskSpec, KeySpec, asks, key_specs};
use crate::law::{Verdict, ensure, for_all};
use crate::{SpyGate, Stage};

/// A strategy picks only what the turn offers: nothing that a gate has taken out, nothing that
/// the call has tried, and nothing that was refused a moment ago.
///
/// # Errors
///
/// How the law is broken.
pub fn only_offered_keys(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    for_all("only_offered_keys", &inputs(), |(specs, rounds)| {
        let seen = play(&make, specs, rounds)?;
        (seen.strange).map_or(Ok(()), |key| {
            Err(format!("{key:?} was picked and is not offered"))
        })
    })
}

/// A strategy picks some key whenever at least one is offered. Not for strategies that decline on
/// purpose.
///
/// # Errors
///
/// How the law is broken.
pub fn some_key_whenever_one_is_offered(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let law = "some_key_whenever_one_is_offered";
    for_all(law, &inputs(), |(specs, rounds)| {
        let seen = play(&make, specs, rounds)?;
        (seen.declined).map_or(Ok(()), |offered| {
            Err(format!("nothing was picked of {offered:?}"))
        })
    })
}

/// When all keys but one are refused at the door, the strategy is asked again and again, and the
/// call gets the one that is left. Not for strategies that decline on purpose.
///
/// # Errors
///
/// How the law is broken.
pub fn asks_again_after_a_refusal(make: impl Fn() -> Box<dyn Strategy>) -> Verdict {
    let inputs = (key_specs(1..9), any::<u8>(), vec(asks(), 1..9));
    for_all(
        "asks_again_after_a_refusal",
        &inputs,
        |(specs, free, asks)| {
            let gate = Arc::new(SpyGate::new());
            let free = specs[usize::from(*free) % specs.len()].label();
            for spec in specs.iter().filter(|spec| spec.label() != free) {
                gate.refuse(&spec.label());
            }
            let mut stage = Stage::new(specs, make(), &[gate]);
            for ask in asks {
                let ask = AskSpec {
                    tried_keys: Vec::new(),
                    tried_accounts: Vec::new(),
                    ..ask.clone()
                };
                let got = stage.select(&ask)?;
                ensure(got.as_ref() == Ok(&free), || {
                    format!("only {free:?} is free, and the call got {got:?}")
                })?;
                stage.end_all(Outcome::Success);
            }
            Ok(())
        },
    )
}

/// One selection: which keys are barred before it and refused at the door, and what it asks.
#[derive(Clone, Debug)]
struct Round {
    barred: Vec<u8>,
    refused: Vec<u8>,
    ask: AskSpec,
    keep: bool,
}

fn inputs() -> impl Generator<Value = (Vec<KeySpec>, Vec<Round>)> {
    let some = || vec(any::<u8>(), 0..4);
    let round =
        (some(), some(), asks(), any::<bool>()).prop_map(|(barred, refused, ask, keep)| Round {
            barred,
            refused,
            ask,
            keep,
        });
    (key_specs(1..9), vec(round, 1..24))
}

fn play(
    make: &dyn Fn() -> Box<dyn Strategy>,
    specs: &[KeySpec],
    rounds: &[Round],
) -> Result<Seen, String> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let gate = Arc::new(SpyGate::new());
    let watch = Watch {
        inner: make(),
        seen: Arc::clone(&seen),
    };
    let door = Arc::clone(&gate) as Arc<dyn Gate>;
    let mut stage = Stage::new(specs, watch, &[door]);
    let nth = |n: &u8| specs[usize::from(*n) % specs.len()].label();
    for round in rounds {
        gate.admit_all();
        for key in round.barred.iter().map(nth) {
            gate.bar(&key, Denied::for_good(Scope::Key));
        }
        for key in round.refused.iter().map(nth) {
            gate.refuse(&key);
        }
        let _ = stage.select(&round.ask)?;
        if !round.keep {
            stage.end_all(Outcome::Success);
        }
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(seen.clone())
}

/// What was wrong, the first time it was.
#[derive(Clone, Debug, Default)]
struct Seen {
    strange: Option<String>,
    declined: Option<Vec<String>>,
}

/// Stands between gate and strategy, and compares the answer with the offer.
#[derive(Debug)]
struct Watch {
    inner: Box<dyn Strategy>,
    seen: Arc<Mutex<Seen>>,
}

impl Strategy for Watch {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        let offered: Vec<Candidate<'a>> = turn.iter().collect();
        let picked = self.inner.pick(turn);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = picked else {
            if !offered.is_empty() {
                let labels = offered.iter().map(|key| key.id().to_string()).collect();
                seen.declined.get_or_insert(labels);
            }
            return None;
        };
        if offered.iter().all(|offer| offer.slot() != key.slot()) {
            seen.strange.get_or_insert(key.id().to_string());
            // The pool would complain, or ask for ever.
            return None;
        }
        Some(key)
    }

    fn attach(&mut self, registry: &mut Registry) {
        self.inner.attach(registry);
    }

    fn rekey(&self, keys: &KeySet) {
        self.inner.rekey(keys);
    }

    fn settle(&self, key: Candidate<'_>, report: &Report) {
        self.inner.settle(key, report);
    }

    fn score(&self, key: Candidate<'_>, ask: &Ask<'_>) -> Option<f64> {
        self.inner.score(key, ask)
    }
}
