//! When somebody's code panics, what was reserved is given back and everybody else still hears.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fairkey_core::{
    Ask, At, Candidate, Denied, Gate, Gated, KeySet, Observer, Outcome, Pool, Registry, Report,
    Strategy, Ticket, Turn, Unavailable,
};
use fairkey_testkit::{Spy, SpyGate};

use crate::support::{Notes, behind, first, keys, pool_of, strategy};

/// Where a [`Bomb`] goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fuse {
    Check,
    Narrow,
    Enter,
    Leave,
    Rekey,
    Settle,
    Selected,
    Refused,
    Settled,
}

/// Panics at one of the methods that a pool calls.
#[derive(Debug)]
struct Bomb(Fuse);

impl Bomb {
    fn at(&self, fuse: Fuse) {
        assert!(self.0 != fuse, "somebody else's bug at {fuse:?}");
    }
}

impl Gate for Bomb {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        self.at(Fuse::Check);
        Ok(())
    }
    fn narrow(&self, turn: &mut Turn<'_>) {
        self.at(Fuse::Narrow);
        if self.0 == Fuse::Check {
            turn.retain(|at| self.check(at).is_ok());
        }
    }
    fn enter(&self, _: &At<'_>) -> Result<Ticket, Denied> {
        self.at(Fuse::Enter);
        Ok(Ticket::default())
    }
    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {
        self.at(Fuse::Leave);
    }
    fn rekey(&self, keys: &KeySet) {
        if keys.len() == 3 {
            self.at(Fuse::Rekey);
        }
    }
}

impl Strategy for Bomb {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.nth(0)
    }
    fn settle(&self, _: Candidate<'_>, _: &Report) {
        self.at(Fuse::Settle);
    }
}

impl Observer for Bomb {
    fn selected(&self, _: Candidate<'_>, _: &Ask<'_>) {
        self.at(Fuse::Selected);
    }
    fn refused(&self, _: &Ask<'_>, _: &Unavailable) {
        self.at(Fuse::Refused);
    }
    fn settled(&self, _: Candidate<'_>, _: &Report) {
        self.at(Fuse::Settled);
    }
}

fn select(pool: &Pool) -> std::thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| drop(pool.select(&Ask::new()))))
}

#[test]
fn a_gate_that_panics_during_a_selection_keeps_no_other_gate() {
    for fuse in [Fuse::Check, Fuse::Narrow, Fuse::Enter] {
        let (before, behind) = (Arc::new(SpyGate::new()), Arc::new(SpyGate::new()));
        let pool = pool_of(2)
            .shared_gate(Arc::clone(&before) as _)
            .gate(Bomb(fuse))
            .shared_gate(Arc::clone(&behind) as _)
            .build()
            .unwrap();
        assert!(
            select(&pool).is_err(),
            "{fuse:?}: the caller is told by the panic itself"
        );
        assert_eq!(
            (before.inside(), behind.inside(), pool.in_flight()),
            (0, 0, 0),
            "{fuse:?}"
        );
        assert_eq!(
            before.left().len(),
            usize::from(fuse == Fuse::Enter),
            "{fuse:?}"
        );
    }
}

#[test]
fn a_strategy_that_panics_keeps_no_gate() {
    #[derive(Debug)]
    struct PanicsAfter<S>(S);
    impl<S: Strategy> Strategy for PanicsAfter<S> {
        fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
            self.0.pick(turn)?;
            panic!("a strategy's bug");
        }
        fn attach(&mut self, registry: &mut Registry) {
            self.0.attach(registry);
        }
    }
    let gate = Arc::new(SpyGate::new());
    let inner = Gated::new(first()).shared_gate(Arc::clone(&gate) as _);
    let pool = pool_of(2).strategy(PanicsAfter(inner)).build().unwrap();
    assert!(select(&pool).is_err());
    assert_eq!((gate.entered(), gate.inside(), pool.in_flight()), (1, 0, 0));
    // The panic went through the thread's own memory of the pool: it still works.
    assert!(select(&pool).is_err());
    assert_eq!((gate.entered(), gate.inside()), (2, 0));
}

#[test]
fn a_gate_that_panics_when_it_is_left_does_not_keep_the_others() {
    for fuse in [Fuse::Leave, Fuse::Settle, Fuse::Settled] {
        let (before, behind) = (Arc::new(SpyGate::new()), Arc::new(SpyGate::new()));
        let notes = Arc::new(Notes::default());
        let pool = pool_of(1)
            .strategy(Bomb(fuse))
            .shared_gate(Arc::clone(&before) as _)
            .gate(Bomb(fuse))
            .shared_gate(Arc::clone(&behind) as _)
            .observer(Arc::new(Bomb(fuse)))
            .observer(Arc::clone(&notes) as _)
            .build()
            .unwrap();
        let lease = pool.select(&Ask::new()).unwrap();
        notes.take();
        let end = catch_unwind(AssertUnwindSafe(|| lease.finish(Outcome::Success)));
        assert!(end.is_ok(), "{fuse:?}: the end of a call never panics");
        assert_eq!(
            (before.inside(), behind.inside(), pool.in_flight()),
            (0, 0, 0),
            "{fuse:?}"
        );
        assert_eq!(notes.outcomes(), [Outcome::Success], "{fuse:?}");
    }
}

#[test]
fn a_strategy_hears_the_end_although_a_gate_panics() {
    let spy = Spy::new();
    let pool = pool_of(1)
        .strategy(spy.clone())
        .gate(Bomb(Fuse::Leave))
        .build()
        .unwrap();
    drop(pool.select(&Ask::new()).unwrap());
    assert_eq!(spy.settled().len(), 1);
}

#[test]
fn a_lease_that_is_dropped_by_a_panic_does_not_abort() {
    // Two panics at once would abort the process, and this test with it.
    for fuse in [Fuse::Leave, Fuse::Settle, Fuse::Settled] {
        let pool = pool_of(1)
            .strategy(Bomb(fuse))
            .gate(Bomb(fuse))
            .observer(Arc::new(Bomb(fuse)))
            .build()
            .unwrap();
        let call = catch_unwind(AssertUnwindSafe(|| {
            let _lease = pool.select(&Ask::new()).unwrap();
            panic!("the call's own bug");
        }));
        assert!(call.is_err());
        assert_eq!(pool.in_flight(), 0, "{fuse:?}");
    }
}

#[test]
fn a_rollback_whose_gate_panics_reaches_every_other_gate() {
    // The last gate refuses; the ones before it are left, and one of them panics at that.
    let spies: [Arc<SpyGate>; 2] = std::array::from_fn(|_| Arc::new(SpyGate::new()));
    let refusing = Arc::new(SpyGate::new());
    refusing.refuse("k0");
    let pool = pool_of(2)
        .strategy(first())
        .shared_gate(Arc::clone(&spies[0]) as _)
        .gate(Bomb(Fuse::Leave))
        .shared_gate(Arc::clone(&spies[1]) as _)
        .shared_gate(Arc::clone(&refusing) as _)
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(lease.key().id().as_str(), "k1");
    assert!(
        spies
            .iter()
            .all(|spy| spy.inside() == 1 && spy.left().len() == 1)
    );
    drop(lease);
    assert!(spies.iter().all(|spy| spy.inside() == 0));
}

#[test]
fn a_rollback_during_a_panic_does_not_abort_although_its_gate_panics_too() {
    let spy = Arc::new(SpyGate::new());
    let pool = pool_of(2)
        .strategy(first())
        .shared_gate(Arc::clone(&spy) as _)
        .gate(Bomb(Fuse::Leave))
        .gate(Bomb(Fuse::Enter))
        .build()
        .unwrap();
    assert!(select(&pool).is_err());
    assert_eq!((spy.entered(), spy.inside(), pool.in_flight()), (1, 0, 0));
}

#[test]
fn an_observer_that_panics_at_a_selection_gives_the_key_back() {
    let gate = Arc::new(SpyGate::new());
    let pool = behind(pool_of(1), &[Arc::clone(&gate)])
        .observer(Arc::new(Bomb(Fuse::Selected)))
        .build()
        .unwrap();
    assert!(select(&pool).is_err());
    assert_eq!((gate.entered(), gate.inside(), pool.in_flight()), (1, 0, 0));
}

#[test]
fn an_observer_that_panics_at_a_refusal_harms_nobody() {
    let gate = Arc::new(SpyGate::new());
    gate.refuse("k0");
    let pool = behind(pool_of(1), &[Arc::clone(&gate)])
        .observer(Arc::new(Bomb(Fuse::Refused)))
        .build()
        .unwrap();
    assert!(select(&pool).is_err());
    gate.admit_all();
    assert!(select(&pool).is_ok());
    assert_eq!((gate.inside(), pool.in_flight()), (0, 0));
}

#[test]
fn a_reload_that_panics_leaves_the_old_keys_in_use() {
    let pool = pool_of(2).gate(Bomb(Fuse::Rekey)).build().unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    let reload = catch_unwind(AssertUnwindSafe(|| pool.reload(keys(0..3)).map(drop)));
    assert!(reload.is_err());
    assert_eq!((pool.len(), pool.in_flight()), (2, 1));
    assert!(pool.select(&Ask::new()).is_ok());
    let reload = pool.reload(keys(0..4)).unwrap();
    assert_eq!((reload.kept.len(), reload.added.len()), (2, 2));
    drop(lease);
    assert_eq!((pool.len(), pool.in_flight()), (4, 0));
}

#[test]
fn a_poisoned_thread_does_not_poison_the_pool() {
    let pool = Arc::new(pool_of(2).build().unwrap());
    let other = Arc::clone(&pool);
    let thread = std::thread::spawn(move || {
        let _lease = other.select(&Ask::new()).unwrap();
        other.with_keys(|_| panic!("in a caller's closure"));
    });
    assert!(thread.join().is_err());
    assert_eq!(pool.in_flight(), 0);
    assert!(pool.reload(keys(0..5)).is_ok());
    assert!(pool.select(&Ask::new()).is_ok());
}

#[test]
fn a_function_that_declines_is_no_panic() {
    let pool = pool_of(1).strategy(strategy(|_| None)).build().unwrap();
    assert!(pool.select(&Ask::new()).is_err());
}
