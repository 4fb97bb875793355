//! What observers are told, and what they may do.

use std::sync::{Arc, OnceLock, Weak};

use fairkey_core::{
    Ask, Candidate, Denied, Lease, Observer, Outcome, Pool, Report, Scope, Unavailable,
};
use fairkey_testkit::SpyGate;
use fairkey_testkit::wrong::Cap;

use crate::support::{Heard, Notes, behind, first, keys, pool_of};

#[test]
fn every_selection_and_every_end_is_told_in_order() {
    let (notes, gate) = (Arc::new(Notes::default()), Arc::new(SpyGate::new()));
    let pool = behind(pool_of(2), &[Arc::clone(&gate)])
        .strategy(first())
        .observer(Arc::clone(&notes) as _)
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert_eq!(notes.take(), [Heard::Selected("k0".to_owned())]);
    lease.finish(Outcome::Success);
    let heard = notes.take();
    assert!(
        matches!(&heard[..], [Heard::Settled(key, _)] if key == "k0"),
        "{heard:?}"
    );
    gate.bar("k0", Denied::for_good(Scope::Key));
    gate.bar("k1", Denied::for_good(Scope::Key));
    let refused = pool.select(&Ask::new()).unwrap_err();
    assert_eq!(notes.take(), [Heard::Refused(refused)]);
    pool.reload(keys(0..3)).unwrap();
    assert_eq!(notes.take(), [Heard::Reloaded(3)]);
    assert!(pool.reload([]).is_err());
    assert_eq!(notes.take(), [], "a reload that is refused is none");
}

#[test]
fn each_of_several_observers_hears() {
    let notes: [Arc<Notes>; 3] = std::array::from_fn(|_| Arc::default());
    let builder = notes.iter().fold(pool_of(1), |builder, notes| {
        builder.observer(Arc::clone(notes) as _)
    });
    let pool = builder.build().unwrap();
    drop(pool.select(&Ask::new()).unwrap());
    assert!(notes.iter().all(|notes| notes.take().len() == 2));
}

/// Selects again as soon as a call has ended: what a queue does that wakes a waiter.
#[derive(Debug, Default)]
struct Waiter {
    pool: OnceLock<Weak<Pool>>,
    got: std::sync::Mutex<Vec<Result<Lease, Unavailable>>>,
}

impl Observer for Waiter {
    fn settled(&self, _: Candidate<'_>, _: &Report) {
        let pool = self.pool.get().and_then(Weak::upgrade);
        let mut got = self.got.lock().unwrap();
        if let (Some(pool), true) = (pool, got.is_empty()) {
            got.push(pool.select(&Ask::new()));
        }
    }
}

#[test]
fn what_a_call_held_is_free_when_observers_hear_of_its_end() {
    let waiter = Arc::new(Waiter::default());
    let pool = Arc::new(
        pool_of(1)
            .gate(Cap::new(1, None))
            .observer(Arc::clone(&waiter) as _)
            .build()
            .unwrap(),
    );
    waiter.pool.set(Arc::downgrade(&pool)).unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    assert!(pool.select(&Ask::new()).is_err());
    lease.finish(Outcome::Success);
    let next = waiter.got.lock().unwrap().remove(0);
    assert_eq!(pool.in_flight(), 1);
    assert!(next.is_ok(), "{next:?}");
    waiter.got.lock().unwrap().push(Err(Unavailable {
        retry_at: None,
        by: None,
        by_limit: false,
    }));
    drop(next);
    assert_eq!(pool.in_flight(), 0);
}
