//! A reload while calls begin and end.

use std::sync::Arc;

use fairkey_core::sync::{AtomicU64, Ordering};
use fairkey_core::{Ask, At, Candidate, Denied, Gate, KeySet, Outcome, Pool, Report, Ticket};
use loom::thread;

use crate::support::{Seen, keys, model};

/// Knows which slots it has been told of, and who is inside.
#[derive(Debug, Default)]
struct Watch {
    known: AtomicU64,
    inside: AtomicU64,
}

impl Gate for Watch {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let known = self.known.load(Ordering::Relaxed);
        let slot = at.key.slot().index();
        assert!(
            known >> slot & 1 == 1,
            "a key is picked that the gate was not told of"
        );
        Ok(())
    }
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.check(at)?;
        self.inside.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket::default())
    }
    fn leave(&self, _: Candidate<'_>, _: Ticket, _: &Report) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }
    fn rekey(&self, keys: &KeySet) {
        let bits = keys.iter().map(|key| 1 << key.slot().index()).sum::<u64>();
        self.known.fetch_or(bits, Ordering::Relaxed);
    }
}

fn watched(labels: &[&str]) -> (Arc<Pool>, Arc<Watch>) {
    let gate = Arc::new(Watch::default());
    let builder = Pool::builder().keys(keys(labels)).seed(1);
    let pool = builder.shared_gate(Arc::clone(&gate) as _).build().unwrap();
    (Arc::new(pool), gate)
}

#[test]
fn a_call_that_begins_during_a_reload_gets_an_old_key_or_a_new_one_and_is_counted() {
    let (old, new) = (Seen::default(), Seen::default());
    let (saw_old, saw_new) = (old.clone(), new.clone());
    model(3, move || {
        let (pool, gate) = watched(&["a"]);
        let other = Arc::clone(&pool);
        let reloading = thread::spawn(move || drop(other.reload(keys(&["b"])).unwrap()));
        let other = Arc::clone(&pool);
        let selecting = thread::spawn(move || other.select(&Ask::new()).unwrap());
        reloading.join().unwrap();
        let lease = selecting.join().unwrap();
        match lease.key().id().as_str() {
            "a" => saw_old.note(),
            _ => saw_new.note(),
        }
        // Whichever it is, its call is counted, and another one gets the new key.
        assert_eq!(
            (pool.in_flight(), gate.inside.load(Ordering::Relaxed)),
            (1, 1)
        );
        let next = pool.select(&Ask::new()).unwrap();
        assert_eq!(next.key().id().as_str(), "b");
        let shared = next.key().id() == lease.key().id();
        assert_eq!(next.key().slot() == lease.key().slot(), shared);
        lease.finish(Outcome::Success);
        drop(next);
        assert_eq!(
            (pool.in_flight(), gate.inside.load(Ordering::Relaxed)),
            (0, 0)
        );
    });
    old.assert("a call with the old key");
    new.assert("a call with the new key");
}

/// Counts who is inside for each slot, and expects that of a new key to be nobody.
#[derive(Debug, Default)]
struct PerSlot([AtomicU64; 3]);

impl Gate for PerSlot {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        Ok(())
    }
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.0[at.key.slot().index()].fetch_add(1, Ordering::Relaxed);
        Ok(Ticket::default())
    }
    fn leave(&self, key: Candidate<'_>, _: Ticket, _: &Report) {
        self.0[key.slot().index()].fetch_sub(1, Ordering::Relaxed);
    }
    fn rekey(&self, keys: &KeySet) {
        for slot in keys.fresh() {
            // An addition of nothing, which sees the last value. (That a plain load sees it, too,
            // hangs on the counts of std's `Arc`, which loom does not know of.)
            let inside = self.0[slot.index()].fetch_add(0, Ordering::Relaxed);
            assert_eq!(inside, 0, "a slot changes hands during a call");
        }
    }
}

#[test]
fn a_slot_changes_hands_only_after_its_last_call() {
    let (reused, spared) = (Seen::default(), Seen::default());
    let (saw_reused, saw_spared) = (reused.clone(), spared.clone());
    model(3, move || {
        let builder = Pool::builder().keys(keys(&["a", "b"])).seed(1);
        let pool = Arc::new(builder.gate(PerSlot::default()).build().unwrap());
        let slot = |id: &str| pool.with_keys(|keys| keys.find(id).unwrap().slot());
        let of_b = slot("b");
        let lease = loop {
            let lease = pool.select(&Ask::new()).unwrap();
            if lease.key().slot() == of_b {
                break lease;
            }
        };
        pool.reload(keys(&["a"])).unwrap();
        let ending = thread::spawn(move || lease.finish(Outcome::Success));
        let other = Arc::clone(&pool);
        let reloading = thread::spawn(move || drop(other.reload(keys(&["a", "c"])).unwrap()));
        ending.join().unwrap();
        reloading.join().unwrap();
        saw_reused.note_if(slot("c") == of_b);
        saw_spared.note_if(slot("c") != of_b);
        assert_eq!(pool.in_flight(), 0);
    });
    reused.assert("the slot taken over, the call being over");
    spared.assert("another slot taken, the call being not over");
}

#[test]
fn two_reloads_at_once_come_one_after_the_other() {
    let (first, second) = (Seen::default(), Seen::default());
    let (saw_first, saw_second) = (first.clone(), second.clone());
    model(3, move || {
        let (pool, _) = watched(&["a"]);
        let reload = |labels: &'static [&'static str]| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || pool.reload(keys(labels)).unwrap())
        };
        let (one, two) = (reload(&["a", "b"]), reload(&["a", "c"]));
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert_eq!((one.kept.len(), two.kept.len()), (1, 1));
        let last = pool.with_keys(|keys| keys.iter().nth(1).unwrap().id().to_string());
        saw_first.note_if(last == "b");
        saw_second.note_if(last == "c");
        // Who came second removed what the first had added.
        let removed = one.removed.len() + two.removed.len();
        assert_eq!((removed, pool.len()), (1, 2));
        assert!(pool.select(&Ask::new()).is_ok());
    });
    first.assert("the one reload last");
    second.assert("the other reload last");
}
