//! Gates before strategies: order, nesting, sharing, asking twice.

use std::sync::{Arc, Mutex};

use fairkey_core::{
    Ask, At, BuildError, Candidate, Denied, FaultKind, Gate, Gated, Outcome, Pool, Scope, Scopes,
    Strategy, Ticket, Timestamp, Turn, Unavailable,
};
use fairkey_testkit::law::{gate, strategy as law};
use fairkey_testkit::wrong::Cap;
use fairkey_testkit::{Spy, SpyGate, Stage, Twice, assert_holds, generate};

use crate::support::{behind, first, in_flight, pick, pool_of, strategy};

fn spies<const N: usize>() -> [Arc<SpyGate>; N] {
    std::array::from_fn(|_| Arc::new(SpyGate::new()))
}

#[test]
fn gated_and_pointers_forward_everything() {
    assert_holds(law::wrapper_forwards(|inner| Box::new(Gated::new(inner))));
    assert_holds(law::wrapper_forwards(|inner| Box::new(Box::new(inner))));
    assert_holds(law::wrapper_forwards(|inner| Box::new(Arc::new(inner))));
    assert_holds(law::wrapper_loses_no_permit(|inner| {
        Box::new(Gated::new(inner))
    }));
    assert_holds(law::wrapper_loses_no_permit(|inner| {
        Box::new(Twice(Twice(inner)))
    }));
    let gated = |inner| Box::new(Gated::new(inner).gate(Cap::new(2, None))) as Box<dyn Strategy>;
    assert_holds(law::wrapper_loses_no_permit(gated));
}

#[test]
fn a_gate_with_only_check_obeys_the_laws() {
    #[derive(Debug)]
    struct FirstTwo;
    impl Gate for FirstTwo {
        fn check(&self, at: &At<'_>) -> Result<(), Denied> {
            let low = at.key.slot().index() < 2;
            if low {
                Ok(())
            } else {
                Err(Denied::for_good(Scope::Local))
            }
        }
    }
    assert_holds(gate::narrow_agrees_with_check(|| Arc::new(FirstTwo)));
    assert_holds(gate::enter_agrees_with_check(|| Arc::new(FirstTwo)));
    assert_holds(gate::enter_and_leave_balance(|| Arc::new(FirstTwo)));
    assert_eq!(FirstTwo.name(), "FirstTwo");
    assert_eq!(FirstTwo.hears(), Scopes::of(Scope::Key));
}

#[test]
fn every_gate_is_entered_and_left_once_whatever_their_number() {
    // Up to 8 tickets lie in place; more go elsewhere.
    for n in [1, 2, 7, 8, 9, 20] {
        let gates: Vec<Arc<SpyGate>> = (0..n).map(|_| Arc::new(SpyGate::new())).collect();
        let pool = behind(pool_of(3), &gates).build().unwrap();
        let leases: Vec<_> = (0..4).map(|_| pool.select(&Ask::new()).unwrap()).collect();
        assert!(
            gates
                .iter()
                .all(|gate| gate.inside() == 4 && gate.entered() == 4)
        );
        drop(leases);
        for gate in &gates {
            assert_eq!(
                (gate.inside(), gate.strangers(), gate.left().len()),
                (0, 0, 4)
            );
        }
    }
}

#[test]
fn a_refusal_by_any_gate_leaves_the_others_and_tries_another_key() {
    for n in [2, 8, 9, 20] {
        for refusing in [0, n / 2, n - 1] {
            let gates: Vec<Arc<SpyGate>> = (0..n).map(|_| Arc::new(SpyGate::new())).collect();
            gates[refusing].refuse("k0");
            let pool = behind(pool_of(2), &gates)
                .strategy(first())
                .build()
                .unwrap();
            let lease = pool.select(&Ask::new()).unwrap();
            assert_eq!(lease.key().id().as_str(), "k1");
            for (at, gate) in gates.iter().enumerate() {
                assert_eq!(gate.inside(), 1, "gate {at} of {n}");
                let rolled_back = gate.left();
                assert_eq!(
                    rolled_back.len(),
                    usize::from(at < refusing),
                    "gate {at} of {n}"
                );
                assert!(
                    rolled_back
                        .iter()
                        .all(|left| left.outcome == Outcome::Neutral)
                );
            }
            lease.finish(Outcome::Success);
            assert!(
                gates
                    .iter()
                    .all(|gate| gate.inside() == 0 && gate.strangers() == 0)
            );
        }
    }
}

#[test]
fn gates_of_a_builder_are_asked_in_the_order_they_were_added() {
    #[derive(Debug)]
    struct Noting(u8, Arc<Mutex<Vec<u8>>>);
    impl Gate for Noting {
        fn check(&self, _: &At<'_>) -> Result<(), Denied> {
            self.1.lock().unwrap().push(self.0);
            Ok(())
        }
        fn narrow(&self, _: &mut Turn<'_>) {
            self.1.lock().unwrap().push(10 + self.0);
        }
    }
    let order: Arc<Mutex<Vec<u8>>> = Arc::default();
    let gate = |n| Noting(n, Arc::clone(&order));
    let inner = gate(3).guarding(first());
    let pool = pool_of(1)
        .strategy(inner)
        .gate(gate(1))
        .gate(gate(2))
        .build()
        .unwrap();
    let _lease = pool.select(&Ask::new()).unwrap();
    // Outer gates narrow first; the inner strategy's gates enter first.
    assert_eq!(*order.lock().unwrap(), [11, 12, 13, 3, 1, 2]);
}

#[test]
fn nested_gates_all_hold_and_all_roll_back() {
    let [outer, inner] = spies();
    let strategy = Gated::new(Gated::new(first()).shared_gate(Arc::clone(&inner) as _))
        .shared_gate(Arc::clone(&outer) as _);
    let pool = pool_of(3).strategy(strategy).build().unwrap();
    outer.refuse("k0");
    inner.refuse("k1");
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(lease.key().id().as_str(), "k2");
    assert_eq!((outer.inside(), inner.inside()), (1, 1));
    assert_eq!(
        inner.left().len(),
        1,
        "k0 was let in by the inner gate and left again"
    );
    drop(lease);
    assert_eq!((outer.inside(), inner.inside()), (0, 0));
}

#[test]
fn a_gate_in_two_places_is_entered_once() {
    let gate = Arc::new(SpyGate::new());
    let inner = Gated::new(first())
        .shared_gate(Arc::clone(&gate) as _)
        .shared_gate(Arc::clone(&gate) as _);
    let strategy = Gated::new(inner).shared_gate(Arc::clone(&gate) as _);
    let pool = behind(pool_of(2), &[Arc::clone(&gate)])
        .strategy(strategy)
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!((gate.entered(), gate.inside()), (1, 1));
    lease.finish(Outcome::Success);
    assert_eq!(
        (gate.left().len(), gate.inside(), gate.strangers()),
        (1, 0, 0)
    );
    assert_eq!(gate.rekeyed(), 1);
    assert_eq!(pool.explain(&Ask::new()).keys[0].denied, []);
    gate.bar("k0", Denied::for_good(Scope::Key));
    assert_eq!(
        pool.explain(&Ask::new()).keys[0].denied.len(),
        1,
        "and named once"
    );
}

#[test]
fn a_strategy_that_asks_twice_may_take_its_first_answer() {
    // The second question finds the first key full, by the turn's own permit. That must not make
    // the first answer a key that is not offered.
    let twice = strategy(|turn| turn.nth(0));
    let inner = Gated::new(twice).gate(Cap::new(1, None));
    #[derive(Debug)]
    struct First<S>(S);
    impl<S: Strategy> Strategy for First<S> {
        fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<fairkey_core::Candidate<'a>> {
            let first = self.0.pick(turn)?;
            let second = self.0.pick(turn);
            assert_ne!(second.map(|key| key.slot()), Some(first.slot()));
            Some(first)
        }
        fn attach(&mut self, registry: &mut fairkey_core::Registry) {
            self.0.attach(registry);
        }
        fn rekey(&self, keys: &fairkey_core::KeySet) {
            self.0.rekey(keys);
        }
    }
    let pool = pool_of(2).strategy(First(inner)).build().unwrap();
    let one = pool.select(&Ask::new()).unwrap();
    assert_eq!(one.key().id().as_str(), "k0");
    // The permit of k1 went back: it is free for the next call.
    let other = pool.select(&Ask::new()).unwrap();
    assert_eq!(other.key().id().as_str(), "k1");
    assert!(pool.select(&Ask::new()).is_err());
    drop((one, other));
    assert!(pool.select(&Ask::new()).is_ok());
}

#[test]
fn asking_twice_holds_with_any_number_of_gates() {
    for n in [1, 8, 9, 20] {
        let gates: Vec<Arc<SpyGate>> = (0..n).map(|_| Arc::new(SpyGate::new())).collect();
        let inner = (gates.iter()).fold(Gated::new(Spy::new()), |gated, gate| {
            gated.shared_gate(Arc::clone(gate) as _)
        });
        let mut stage = Stage::new(&generate::plain_keys(4), Twice(inner), &[]);
        for round in 0..100_u64 {
            gates[round as usize % n].refuse("k2");
            let _ = stage.select(&generate::AskSpec::default()).unwrap();
            gates[round as usize % n].admit_all();
            if stage.live().len() > 5 {
                stage.end(round as usize, Outcome::Success);
            }
            assert!(gates.iter().all(|gate| gate.inside() == stage.live().len()));
        }
        stage.end_all(Outcome::Neutral);
        assert!(
            gates
                .iter()
                .all(|gate| gate.inside() == 0 && gate.strangers() == 0)
        );
    }
}

#[test]
fn a_gate_may_close_a_whole_ask() {
    #[derive(Debug)]
    struct ModelOut(Option<Timestamp>);
    impl ModelOut {
        fn denied(&self) -> Denied {
            self.0.map_or(Denied::for_good(Scope::Model), |until| {
                Denied::until(Scope::Model, until)
            })
        }
    }
    impl Gate for ModelOut {
        fn check(&self, at: &At<'_>) -> Result<(), Denied> {
            match at.ask.model {
                Some("maker/out") => Err(self.denied()),
                _ => Ok(()),
            }
        }
        fn narrow(&self, turn: &mut Turn<'_>) {
            if turn.ask().model == Some("maker/out") {
                turn.close(self.denied());
                // The first reason counts, also within one gate.
                turn.close(Denied::for_good(Scope::Service));
                assert!(turn.is_empty() && turn.closed().is_some());
            }
        }
    }
    let until = Timestamp::from_nanos(5_000);
    let full = Arc::new(SpyGate::new());
    let pool = pool_of(3)
        .gate(ModelOut(Some(until)))
        .gate(ModelOut(None))
        .shared_gate(Arc::clone(&full) as _)
        .build()
        .unwrap();
    let out = Ask::new().with_model("maker/out");
    // The model is out: no key is asked for, and another key is no cure. The first reason counts.
    let refused = Unavailable {
        retry_at: Some(until),
        by: Some(Scope::Model),
        by_limit: false,
    };
    assert_eq!(pool.select(&out).map(drop), Err(refused));
    assert_eq!(
        refused.to_string(),
        "no key is available, barred by model, soonest at 5µs"
    );
    assert_eq!(full.entered(), 0);
    assert!(pool.select(&Ask::new().with_model("maker/in")).is_ok());
    assert!(!pool.explain(&out).keys[0].is_admitted());
}

#[test]
fn a_gate_hears_only_of_its_scopes_and_the_strategy_of_all() {
    let (key, account) = (
        Arc::new(SpyGate::hearing(Scopes::of(Scope::Key))),
        Arc::new(SpyGate::hearing(
            Scopes::of(Scope::Account).and(Scope::Budget),
        )),
    );
    let (none, all) = (
        Arc::new(SpyGate::hearing(Scopes::NONE)),
        Arc::new(SpyGate::new()),
    );
    let spy = Spy::new();
    let gates = [&key, &account, &none, &all].map(Arc::clone);
    let pool = behind(pool_of(1), &gates)
        .strategy(spy.clone())
        .build()
        .unwrap();
    let fault = |scope| Outcome::fault(scope, FaultKind::Failed);
    let mut ends: Vec<Outcome> = Scope::ALL.map(fault).to_vec();
    ends.extend([Outcome::Success, Outcome::Neutral]);
    for end in &ends {
        pool.select(&Ask::new()).unwrap().finish(*end);
    }
    let heard = |gate: &SpyGate| -> Vec<Outcome> {
        gate.left().into_iter().map(|left| left.outcome).collect()
    };
    let only = |scopes: &[Scope]| -> Vec<Outcome> {
        let told = |end: &Outcome| match end.scope() {
            Some(scope) if !scopes.contains(&scope) => Outcome::Neutral,
            _ => *end,
        };
        ends.iter().map(told).collect()
    };
    assert_eq!(heard(&key), only(&[Scope::Key]));
    assert_eq!(heard(&account), only(&[Scope::Account, Scope::Budget]));
    assert_eq!(heard(&none), only(&[]));
    assert_eq!(heard(&all), ends);
    let settled: Vec<Outcome> = spy.settled().into_iter().map(|seen| seen.outcome).collect();
    assert_eq!(settled, ends);
}

#[test]
fn a_wrapper_that_forgets_its_gates_gets_no_key_and_loses_no_permit() {
    use fairkey_testkit::wrong::{Wrapper, WrapperFlaw};

    let gate = Arc::new(SpyGate::new());
    let inner = Gated::new(first()).shared_gate(Arc::clone(&gate) as _);
    let wrapper = Wrapper::new(Box::new(inner), Some(WrapperFlaw::ForgetsAttach));
    let pool = pool_of(2).strategy(wrapper).build().unwrap();
    // Debug builds say so.
    let select = std::panic::AssertUnwindSafe(|| pool.select(&Ask::new()).map(drop));
    assert!(!matches!(std::panic::catch_unwind(select), Ok(Ok(()))));
    assert_eq!((gate.inside(), pool.in_flight()), (0, 0));
}

#[test]
fn a_shared_strategy_keeps_its_gates() {
    // An `Arc` is attached while nobody else holds it, and may be shared from then on.
    let gate = Arc::new(SpyGate::new());
    let strategy = Arc::new(Gated::new(first()).shared_gate(Arc::clone(&gate) as _));
    let pool = pool_of(2).strategy(strategy).build().unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(gate.inside(), 1);
    drop(lease);
    assert_eq!(gate.inside(), 0);
}

#[test]
fn a_strategy_of_which_there_is_another_handle_is_refused_at_build() {
    // Its gates would have no numbers: every selection would end without a key.
    let gate = Arc::new(SpyGate::new());
    let strategy = Arc::new(Gated::new(first()).shared_gate(gate as _));
    let kept = Arc::clone(&strategy);
    let built = pool_of(2).strategy(strategy).build().map(drop);
    assert_eq!(built, Err(BuildError::SharedStrategy));
    // Inside another one, too.
    let outer = Gated::new(Arc::clone(&kept)).shared_gate(Arc::new(SpyGate::new()));
    let built = pool_of(2).strategy(outer).build().map(drop);
    assert_eq!(built, Err(BuildError::SharedStrategy));
    assert!(pool_of(2).strategy(kept).build().is_ok(), "the last handle");
}

#[test]
fn gates_that_were_entered_hear_once_that_the_first_content_has_come() {
    #[derive(Debug, Default)]
    struct Listens(std::sync::Mutex<Vec<(String, Ticket, Timestamp)>>);
    impl Gate for Listens {
        fn check(&self, _: &At<'_>) -> Result<(), Denied> {
            Ok(())
        }
        fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
            Ok(Ticket(40 + at.key.slot().index() as u64))
        }
        fn first_content(&self, key: Candidate<'_>, ticket: Ticket, at: Timestamp) {
            let mut heard = self.0.lock().unwrap();
            heard.push((key.id().to_string(), ticket, at));
        }
    }
    // More gates than there is room for in place.
    let gates: Vec<Arc<Listens>> = (0..10).map(|_| Arc::default()).collect();
    let clock = fairkey_core::ManualClock::new();
    let mut builder = pool_of(1).clock(clock.clone());
    for gate in &gates {
        builder = builder.shared_gate(Arc::clone(gate) as _);
    }
    let pool = builder.build().unwrap();
    let mut lease = pool.select(&Ask::new()).unwrap();
    clock.advance(std::time::Duration::from_secs(3));
    lease.note_first_content();
    lease.note_first_content();
    drop(lease);
    for gate in gates {
        let expected = ("k0".to_owned(), Ticket(40), pool.now());
        assert_eq!(*gate.0.lock().unwrap(), [expected]);
    }
}

#[test]
fn the_last_permit_goes_to_one_of_many_threads() {
    let pool: Pool = pool_of(2).gate(Cap::new(1, None)).build().unwrap();
    for _ in 0..200 {
        let barrier = std::sync::Barrier::new(4);
        let (barrier, pool) = (&barrier, &pool);
        let admitted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        barrier.wait();
                        let lease = pool.select(&Ask::new());
                        barrier.wait();
                        usize::from(lease.is_ok())
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(admitted, 2, "two keys, one call each");
        assert_eq!(pool.in_flight(), 0);
    }
    assert_eq!(in_flight(&pool, "k0"), 0);
    assert!(pick(&pool, &Ask::new()).is_ok());
}
