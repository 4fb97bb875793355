//! In flight is the number of live leases, whoever selects and drops at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fairkey_core::{Ask, Candidate, Outcome, Pool, Strategy, Turn};
use loom::thread;

use crate::support::{Seen, keys, model, pool_of};

#[test]
fn a_lease_that_ends_while_another_begins_is_counted_off_once() {
    /// Picks the first key, and notes what it counts.
    #[derive(Debug, Default)]
    struct Counts(Arc<AtomicU32>);
    impl Strategy for Counts {
        fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
            let key = turn.nth(0)?;
            self.0.store(key.in_flight(), Ordering::Relaxed);
            Some(key)
        }
    }
    let (before, after) = (Seen::default(), Seen::default());
    let (saw_before, saw_after) = (before.clone(), after.clone());
    model(3, move || {
        let counted = Arc::new(AtomicU32::new(0));
        let pool = Pool::builder()
            .keys(keys(&["a"]))
            .strategy(Counts(Arc::clone(&counted)))
            .build()
            .unwrap();
        let pool = Arc::new(pool);
        let first = pool.select(&Ask::new()).unwrap();
        let ending = thread::spawn(move || first.finish(Outcome::Success));
        let other = Arc::clone(&pool);
        let beginning = thread::spawn(move || other.select(&Ask::new()).unwrap());
        ending.join().unwrap();
        let second = beginning.join().unwrap();
        match counted.load(Ordering::Relaxed) {
            0 => saw_after.note(),
            1 => saw_before.note(),
            n => panic!("{n} calls in flight of at most one"),
        }
        assert_eq!((pool.in_flight(), second.key().in_flight()), (1, 1));
        drop(second);
        assert_eq!(pool.in_flight(), 0);
    });
    before.assert("a selection that still counts the lease");
    after.assert("a selection after its end");
}

#[test]
fn two_selections_at_once_are_two() {
    let (same, different) = (Seen::default(), Seen::default());
    let (saw_same, saw_different) = (same.clone(), different.clone());
    model(3, move || {
        let pool = Arc::new(pool_of(&["a", "b"]));
        let select = || {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.select(&Ask::new()).unwrap())
        };
        let (one, two) = (select(), select());
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        // Each may have looked before the other was counted.
        let met = one.key().slot() == two.key().slot();
        saw_same.note_if(met);
        saw_different.note_if(!met);
        assert_eq!(pool.in_flight(), 2);
        assert_eq!(one.key().in_flight(), if met { 2 } else { 1 });
        drop((one, two));
        assert_eq!(pool.in_flight(), 0);
    });
    same.assert("two calls with one key");
    different.assert("a key each");
}
