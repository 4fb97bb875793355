//! Selecting and settling allocate nothing.

use std::sync::Arc;

use fairkey_core::{Ask, At, Denied, Gate, Lease, Outcome, Pool, Scope, Tried, Turn, Unavailable};

use crate::support::{keys, strategy};

/// Admits all keys but those in the first two slots.
#[derive(Debug)]
struct NotTheFirstTwo;

impl Gate for NotTheFirstTwo {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        let first = at.key.slot().index() < 2;
        if first {
            Err(Denied::for_good(Scope::Key))
        } else {
            Ok(())
        }
    }
}

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

fn pool(n: u16) -> Pool {
    let gate = Arc::new(NotTheFirstTwo);
    let builder = Pool::builder().keys(keys(0..n)).seed(1);
    (0..8)
        .fold(builder, |builder, _| builder.gate(NotTheFirstTwo))
        .shared_gate(gate)
        .strategy(strategy(|turn: &mut Turn<'_>| turn.least_loaded()))
        .build()
        .unwrap()
}

#[test]
fn a_selection_and_its_end_allocate_nothing() {
    // Up to eight gates; up to 16,384 slots.
    for n in [3, 64, 65, 300, 1_000, 10_000] {
        let builder = Pool::builder().keys(keys(0..n)).seed(1);
        let pool = (0..8)
            .fold(builder, |builder, _| builder.gate(NotTheFirstTwo))
            .build()
            .unwrap();
        let mut tried = Tried::new();
        pool.with_keys(|keys| tried.add_key(keys.iter().nth(2).unwrap()));
        let ask = Ask::new().with_affinity(3);
        // The thread's first call makes room for its next ones.
        drop(pool.select(&ask).unwrap());
        let count = allocations(|| {
            for _ in 0..100 {
                pool.select(&ask).unwrap().finish(Outcome::Success);
                drop(pool.select(&ask).unwrap());
                let _: Result<Lease, Unavailable> = pool.select(&ask.with_tried(&tried));
            }
        });
        assert_eq!(count, 0, "{n} keys");
    }
}

#[test]
fn a_refusal_allocates_nothing() {
    for n in [2, 64] {
        let pool = Pool::builder()
            .keys(keys(0..2.min(n)))
            .gate(NotTheFirstTwo)
            .build()
            .unwrap();
        assert!(pool.select(&Ask::new()).is_err());
        let count = allocations(|| {
            for _ in 0..100 {
                assert!(pool.select(&Ask::new()).is_err());
            }
        });
        assert_eq!(count, 0);
    }
}

#[test]
fn calls_at_the_same_time_allocate_only_until_there_is_room_for_them() {
    let pool = pool(10);
    let run = |leases: &mut Vec<Lease>| {
        leases.extend((0..50).map(|_| pool.select(&Ask::new()).unwrap()));
        leases.clear();
    };
    let mut leases = Vec::with_capacity(50);
    run(&mut leases);
    assert_eq!(allocations(|| run(&mut leases)), 0);
}

#[test]
fn the_measure_measures() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
