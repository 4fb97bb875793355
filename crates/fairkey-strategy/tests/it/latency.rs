//! Peak EWMA and hot-cold: what is fast is preferred, within bounds.

use std::time::Duration;

use fairkey_core::{
    Ask, FaultKind, Key, Lease, ManualClock, Outcome, Pool, Retry, Scope, Strategy,
};
use fairkey_strategy::{HotColdLexicographic, PeakEwma};

use crate::support::{keys, secs};

fn pool(n: u32, strategy: impl Strategy + 'static) -> (Pool, ManualClock) {
    let clock = ManualClock::new();
    let pool = Pool::builder()
        .keys(keys(n))
        .strategy(strategy)
        .clock(clock.clone())
        .seed(5)
        .build();
    (pool.unwrap(), clock)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn select(pool: &Pool) -> Lease {
    pool.select(&Ask::new()).unwrap()
}

fn label(lease: &Lease) -> String {
    lease.key().id().to_string()
}

/// Makes one call with each key of an unheard pool; `k0` takes 10 ms, `k1` 20 ms, and so on.
fn meet(pool: &Pool, clock: &ManualClock) {
    let mut leases: Vec<Lease> = (0..pool.len()).map(|_| select(pool)).collect();
    leases.sort_by_key(|lease| lease.key().slot());
    for lease in leases {
        clock.advance(millis(10));
        lease.finish(Outcome::Success);
    }
}

fn both() -> [Box<dyn Strategy>; 2] {
    [
        Box::new(PeakEwma::new()),
        Box::new(HotColdLexicographic::new()),
    ]
}

#[test]
fn a_key_that_was_not_heard_of_gets_one_call_until_it_is() {
    for strategy in both() {
        let (pool, clock) = pool(3, strategy);
        let first: Vec<Lease> = (0..3).map(|_| select(&pool)).collect();
        let mut labels: Vec<String> = first.iter().map(label).collect();
        labels.sort();
        assert_eq!(labels, ["k0", "k1", "k2"]);
        clock.advance(millis(10));
        drop(first);
        // They were given up: nothing is known yet, and they are free again.
        meet(&pool, &clock);
        pool.reload(keys(4)).unwrap();
        let new = select(&pool);
        assert_eq!(label(&new), "k3");
        for _ in 0..20 {
            let lease = select(&pool);
            assert_ne!(label(&lease), "k3", "it has not answered yet");
            lease.finish(Outcome::Success);
        }
    }
}

#[test]
fn the_fastest_key_is_picked_while_it_has_no_more_than_its_load() {
    let (pool, clock) = pool(3, PeakEwma::new());
    meet(&pool, &clock);
    // 10, 20 and 30 ms: the loads at which the products are even.
    let leases: Vec<Lease> = (0..8).map(|_| select(&pool)).collect();
    let of = |key| leases.iter().filter(|lease| label(lease) == key).count();
    assert!((4..=6).contains(&of("k0")), "{}", of("k0"));
    assert!((1..=3).contains(&of("k1")), "{}", of("k1"));
}

#[test]
fn the_fastest_cold_key_is_picked_until_it_is_hot() {
    let (pool, clock) = pool(3, HotColdLexicographic::new());
    meet(&pool, &clock);
    let leases: Vec<Lease> = (0..6).map(|_| select(&pool)).collect();
    let labels: Vec<String> = leases.iter().map(label).collect();
    // With more calls than the second fullest of three it is hot.
    assert_eq!(labels, ["k0", "k1", "k0", "k1", "k0", "k1"]);
}

#[test]
fn the_quantile_goes_from_load_alone_to_latency_alone() {
    let (by_load, clock) = pool(3, HotColdLexicographic::new().quantile(0.0));
    meet(&by_load, &clock);
    let leases: Vec<Lease> = (0..6).map(|_| select(&by_load)).collect();
    let labels: Vec<String> = leases.iter().map(label).collect();
    assert_eq!(labels, ["k0", "k1", "k2", "k0", "k1", "k2"]);
    let (by_latency, clock) = pool(3, HotColdLexicographic::new().quantile(7.0));
    meet(&by_latency, &clock);
    let leases: Vec<Lease> = (0..6).map(|_| select(&by_latency)).collect();
    assert!(leases.iter().all(|lease| label(lease) == "k0"));
}

/// Makes a call with a key that is the only one not tried.
fn call(pool: &Pool, key: &str, end: impl FnOnce(&mut Lease) -> Outcome) {
    let mut tried = fairkey_core::Tried::new();
    pool.with_keys(|keys| {
        for other in keys.iter().filter(|other| other.id().as_str() != key) {
            tried.add_key(other);
        }
    });
    let mut lease = pool.select(&Ask::new().with_tried(&tried)).unwrap();
    let outcome = end(&mut lease);
    lease.finish(outcome);
}

/// The share of `k0` among a hundred calls one after the other that take no time.
fn share_of_first(pool: &Pool) -> usize {
    let mut picks = (0..100).map(|_| {
        let lease = select(pool);
        let label = label(&lease);
        // Given up: nothing is learned.
        drop(lease);
        label
    });
    picks.by_ref().filter(|label| label == "k0").count()
}

#[test]
fn one_slow_call_counts_at_once_for_peak_ewma_and_little_for_the_other() {
    for (strategy, share) in both().into_iter().zip([0, 100]) {
        let (pool, clock) = pool(2, strategy);
        meet(&pool, &clock);
        assert_eq!(share_of_first(&pool), 100);
        call(&pool, "k0", |_| {
            clock.advance(millis(50));
            Outcome::Success
        });
        assert_eq!(share_of_first(&pool), share);
    }
}

#[test]
fn what_was_slow_fades_and_is_looked_at_again() {
    for strategy in both() {
        let (pool, clock) = pool(2, strategy);
        meet(&pool, &clock);
        call(&pool, "k0", |_| {
            clock.advance(secs(60));
            Outcome::Success
        });
        for _ in 0..10 {
            call(&pool, "k1", |_| {
                clock.advance(millis(20));
                Outcome::Success
            });
        }
        assert_eq!(share_of_first(&pool), 0);
        // 60 s fade below 20 ms, which are kept up, in 80 s.
        for _ in 0..100 {
            clock.advance(secs(1));
            call(&pool, "k1", |_| {
                clock.advance(millis(20));
                Outcome::Success
            });
        }
        assert_eq!(share_of_first(&pool), 100);
    }
}

#[test]
fn what_fails_at_once_is_not_what_is_fast() {
    for strategy in both() {
        let (pool, clock) = pool(2, strategy);
        meet(&pool, &clock);
        call(&pool, "k0", |_| {
            Outcome::fault(Scope::Request, FaultKind::Failed)
        });
        assert_eq!(share_of_first(&pool), 100, "the request's own fault");
        call(&pool, "k0", |_| {
            Outcome::fault(Scope::Provider, FaultKind::Failed)
        });
        assert_eq!(share_of_first(&pool), 0);
        clock.advance(secs(20));
        call(&pool, "k1", |_| {
            clock.advance(secs(1));
            Outcome::Success
        });
        assert_eq!(
            share_of_first(&pool),
            100,
            "five seconds have faded below one"
        );
        let later = Outcome::fault(Scope::Provider, FaultKind::Throttled)
            .with_retry(Retry::After(secs(100)));
        call(&pool, "k0", |_| later);
        clock.advance(secs(20));
        assert_eq!(share_of_first(&pool), 0, "a hundred have not");
    }
}

#[test]
fn the_time_is_that_until_the_first_content() {
    for strategy in both() {
        let (pool, clock) = pool(2, strategy);
        meet(&pool, &clock);
        // A long answer that began soon.
        call(&pool, "k0", |lease| {
            clock.advance(millis(10));
            lease.note_first_content();
            clock.advance(secs(60));
            Outcome::Success
        });
        call(&pool, "k1", |_| {
            clock.advance(millis(20));
            Outcome::Success
        });
        assert_eq!(share_of_first(&pool), 100);
    }
}

#[test]
fn a_slot_with_a_new_key_knows_nothing_of_the_old_one() {
    for strategy in both() {
        let (pool, clock) = pool(2, strategy);
        meet(&pool, &clock);
        call(&pool, "k0", |_| {
            Outcome::fault(Scope::Key, FaultKind::Failed)
        });
        // Of the same label, and with another secret: a new key.
        let new = [Key::new("k0", "sk-test-new"), keys(2).remove(1)];
        pool.reload(new).unwrap();
        let lease = select(&pool);
        assert_eq!(label(&lease), "k0", "it gets a call to be known by");
    }
}

#[test]
fn among_hundreds_of_keys_the_slow_ones_get_few_calls() {
    for strategy in both() {
        let (pool, clock) = pool(200, strategy);
        // The first fifty take 100 ms, the others 10.
        for _ in 0..3 {
            for key in 0..200 {
                call(&pool, &format!("k{key}"), |_| {
                    clock.advance(millis(if key < 50 { 100 } else { 10 }));
                    Outcome::Success
                });
            }
        }
        let slow = (0..1_000).filter(|_| {
            let lease = select(&pool);
            lease.key().slot().index() < 50
        });
        let slow = slow.count();
        assert!(slow < 120, "{slow} of 1,000, and 250 by chance");
    }
}

#[test]
fn scores_order_as_picks_do_in_an_idle_pool() {
    for strategy in both() {
        let (pool, clock) = pool(3, strategy);
        assert_eq!(pool.explain(&Ask::new()).keys[0].score, None);
        meet(&pool, &clock);
        let scores: Vec<f64> = (pool.explain(&Ask::new()).keys.iter())
            .map(|key| key.score.unwrap().round())
            .collect();
        assert_eq!(scores, [10.0, 20.0, 30.0]);
    }
}
