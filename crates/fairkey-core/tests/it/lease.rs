//! One call's hold on one key: from the selection to the drop, on every path.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use fairkey_core::{Ask, Cost, FaultKind, Lease, ManualClock, Outcome, Retry, Scope, Timestamp};
use fairkey_testkit::{Spy, SpyGate};

use crate::support::{Notes, behind, first, in_flight, pool_of};

#[test]
fn a_lease_counts_until_it_is_gone() {
    let pool = pool_of(1).build().unwrap();
    let (one, two) = (
        pool.select(&Ask::new()).unwrap(),
        pool.select(&Ask::new()).unwrap(),
    );
    assert_eq!(
        (
            pool.in_flight(),
            in_flight(&pool, "k0"),
            one.key().in_flight()
        ),
        (2, 2, 2)
    );
    one.finish(Outcome::Success);
    assert_eq!(pool.in_flight(), 1);
    drop(two);
    assert_eq!(pool.in_flight(), 0);
}

#[test]
fn the_last_word_counts_and_silence_is_neutral() {
    let notes = Arc::new(Notes::default());
    let pool = pool_of(1)
        .observer(Arc::clone(&notes) as _)
        .build()
        .unwrap();
    let fault = Outcome::fault(Scope::Key, FaultKind::Refused).with_retry(Retry::Never);

    drop(pool.select(&Ask::new()).unwrap());
    assert_eq!(notes.outcomes(), [Outcome::Neutral]);

    let mut lease = pool.select(&Ask::new()).unwrap();
    lease.record(Outcome::Success);
    lease.record(fault);
    drop(lease);
    assert_eq!(notes.outcomes(), [fault]);

    let mut lease = pool.select(&Ask::new()).unwrap();
    lease.record(fault);
    lease.finish(Outcome::Success);
    assert_eq!(notes.outcomes(), [Outcome::Success]);
}

#[test]
fn a_report_says_when_and_how_much() {
    let (notes, clock) = (Arc::new(Notes::default()), ManualClock::new());
    let pool = pool_of(1)
        .clock(clock.clone())
        .observer(Arc::clone(&notes) as _)
        .build()
        .unwrap();
    let second = Duration::from_secs(1);
    let cost = Cost {
        requests: 1,
        tokens: 1_000,
        micro_usd: 30,
    };
    let actual = Cost {
        requests: 1,
        tokens: 700,
        micro_usd: 21,
    };

    clock.advance(second);
    let mut lease = pool.select(&Ask { cost, ..Ask::new() }).unwrap();
    assert_eq!(lease.begun(), Timestamp::ZERO + second);
    assert_eq!(lease.reserved(), cost);
    clock.advance(second);
    lease.note_first_content();
    clock.advance(second);
    lease.note_first_content();
    lease.note_actual(cost);
    lease.note_actual(actual);
    clock.advance(second);
    lease.finish(Outcome::Success);

    let report = notes.reports()[0];
    assert_eq!(report.begun, Timestamp::ZERO + second);
    assert_eq!(
        report.first_content,
        Some(Timestamp::ZERO + 2 * second),
        "the first note counts"
    );
    assert_eq!(report.ended, Timestamp::ZERO + 4 * second);
    assert_eq!((report.reserved, report.actual), (cost, Some(actual)));
}

#[test]
fn a_lease_may_end_on_another_thread() {
    let gate = Arc::new(SpyGate::new());
    let pool = Arc::new(behind(pool_of(2), &[Arc::clone(&gate)]).build().unwrap());
    let (send, receive) = mpsc::channel::<Lease>();
    let ending = std::thread::spawn(move || {
        for lease in receive {
            lease.finish(Outcome::Success);
        }
    });
    let selecting: Vec<_> = (0..3)
        .map(|_| {
            let (pool, send) = (Arc::clone(&pool), send.clone());
            std::thread::spawn(move || {
                for _ in 0..500 {
                    send.send(pool.select(&Ask::new()).unwrap()).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    for thread in selecting {
        thread.join().unwrap();
    }
    ending.join().unwrap();
    assert_eq!(
        (pool.in_flight(), gate.inside(), gate.strangers()),
        (0, 0, 0)
    );
    assert_eq!(gate.left().len(), 1_500);
}

#[test]
fn more_leases_than_a_thread_keeps_room_for_end_well() {
    let gate = Arc::new(SpyGate::new());
    let pool = behind(pool_of(3), &[Arc::clone(&gate)]).build().unwrap();
    for _ in 0..3 {
        let leases: Vec<_> = (0..300)
            .map(|_| pool.select(&Ask::new()).unwrap())
            .collect();
        assert_eq!(pool.in_flight(), 300);
        drop(leases);
        assert_eq!((pool.in_flight(), gate.inside()), (0, 0));
    }
}

#[test]
fn a_lease_outlives_its_pool() {
    let (spy, gate, notes) = (
        Spy::new(),
        Arc::new(SpyGate::new()),
        Arc::new(Notes::default()),
    );
    let pool = behind(pool_of(1), &[Arc::clone(&gate)])
        .strategy(spy.clone())
        .observer(Arc::clone(&notes) as _)
        .build()
        .unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    drop(pool);
    assert_eq!(lease.expose_key().expose(), "sk-test-0");
    lease.finish(Outcome::Success);
    assert_eq!((gate.inside(), spy.settled().len()), (0, 1));
    assert_eq!(notes.outcomes(), [Outcome::Success]);
}

#[test]
fn a_pool_that_is_gone_leaves_nothing_behind() {
    // What a thread remembers of the last pool it used does not keep that pool alive.
    let gate = Arc::new(SpyGate::new());
    let pool = behind(pool_of(1), &[Arc::clone(&gate)]).build().unwrap();
    drop(pool.select(&Ask::new()).unwrap());
    drop(pool);
    assert_eq!(Arc::strong_count(&gate), 1);
}

#[test]
fn the_label_is_in_the_debug_output_of_a_lease() {
    let pool = pool_of(1).strategy(first()).build().unwrap();
    let lease = pool.select(&Ask::new()).unwrap();
    let shown = format!("{lease:?}");
    assert!(shown.starts_with("Lease { key: \"k0\""), "{shown}");
}
