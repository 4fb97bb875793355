//! For how long it is open.

use std::time::Duration;

use fairkey_core::{Outcome, Scope};
use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};

use super::{rig, touchy};
use crate::support::{Rig, at, failed, secs};

#[test]
fn each_probe_that_fails_doubles_the_time_up_to_the_cap() {
    let rig = rig(BreakerConfig {
        open_for: secs(5),
        open_cap: secs(300),
        ..touchy()
    });
    for expected in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
        rig.calls(1, failed());
        assert_eq!(rig.open_for(), Some(secs(expected)));
        rig.wait();
    }
}

#[test]
fn a_hundred_trips_do_not_overflow() {
    let rig = rig(BreakerConfig {
        open_for: Duration::from_nanos(1),
        open_cap: Duration::MAX,
        ..touchy()
    });
    for _ in 0..100 {
        rig.calls(1, failed());
        let open_for = rig.open_for().expect("it is open");
        assert!(open_for >= Duration::from_nanos(1));
        rig.wait();
    }
    assert_eq!(rig.capacity(), 1);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let rig = rig(BreakerConfig {
        open_for: Duration::MAX,
        open_cap: Duration::MAX,
        ..touchy()
    });
    rig.advance_to(fairkey_core::Timestamp::MAX - secs(1));
    rig.calls(1, failed());
    assert_eq!(rig.open_for(), Some(secs(1) - Duration::from_nanos(1)));
}

#[test]
fn when_it_has_closed_the_first_time_counts_again() {
    let rig = rig(touchy());
    for _ in 0..3 {
        rig.trip_and_wait();
        rig.trip_and_wait();
        rig.calls(1, Outcome::Success);
        assert!(rig.is_closed());
        rig.calls(1, failed());
        assert_eq!(rig.open_for(), Some(secs(10)));
        rig.wait();
        rig.calls(1, Outcome::Success);
    }
}

#[test]
fn it_denies_until_its_time_and_not_a_moment_longer() {
    let rig = rig(touchy());
    rig.advance(secs(3));
    rig.calls(1, failed());
    let refused = rig.select(0).unwrap_err();
    assert_eq!(
        (refused.retry_at, refused.by),
        (Some(at(13)), Some(Scope::Key))
    );
    rig.advance_to(at(13) - Duration::from_nanos(1));
    assert_eq!(rig.select(0).unwrap_err(), refused);
    rig.advance(Duration::from_nanos(1));
    assert!(rig.select(0).is_ok());
}

#[test]
fn jitter_takes_up_to_its_part_off() {
    for (jitter, least) in [(0.0, 1.0), (0.2, 0.8), (0.5, 0.5), (1.0, 0.0)] {
        let times: Vec<f64> = (0..400)
            .map(|seed| {
                let config = BreakerConfig {
                    open_for: secs(8),
                    jitter,
                    ..touchy()
                };
                let rig = Rig::new(SlidingWindowBreaker::new(config).seed(seed));
                rig.calls(1, failed());
                rig.open_for().expect("it is open").as_secs_f64() / 8.0
            })
            .collect();
        let low = times.iter().copied().fold(f64::MAX, f64::min);
        let high = times.iter().copied().fold(f64::MIN, f64::max);
        let mean = times.iter().sum::<f64>() / 400.0;
        assert!(low >= least && high <= 1.0, "{jitter}: {low} to {high}");
        assert!(
            low < least + 0.03 && high > 0.97,
            "{jitter}: {low} to {high}"
        );
        assert!(
            (mean - (1.0 + least) / 2.0).abs() < 0.05,
            "{jitter}: {mean}"
        );
    }
}

#[test]
fn the_cap_holds_before_the_jitter() {
    let config = BreakerConfig {
        open_for: secs(8),
        open_cap: secs(10),
        jitter: 0.5,
        ..touchy()
    };
    let rig = rig(config);
    for _ in 0..50 {
        rig.calls(1, failed());
        let open_for = rig.open_for().expect("it is open");
        assert!((secs(4)..=secs(10)).contains(&open_for), "{open_for:?}");
        rig.wait();
    }
}

#[test]
fn the_same_seed_makes_the_same_times_and_another_others() {
    let times = |seed| -> Vec<Duration> {
        let config = BreakerConfig {
            jitter: 0.5,
            ..touchy()
        };
        let rig = Rig::new(SlidingWindowBreaker::new(config).seed(seed));
        let trip = |_| {
            rig.calls(1, failed());
            let open_for = rig.open_for().expect("it is open");
            rig.wait();
            open_for
        };
        (0..5).map(trip).collect()
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
}

#[test]
fn a_clock_that_jumps_over_the_time_finds_it_ready_for_a_probe() {
    let rig = rig(touchy());
    rig.calls(1, failed());
    rig.advance(secs(86_400 * 365));
    assert_eq!(rig.capacity(), 1);
}

#[test]
fn while_it_is_open_the_pool_takes_other_keys() {
    let breaker = SlidingWindowBreaker::new(touchy());
    let rig = Rig::with(breaker, crate::support::keys(3), |builder| builder);
    assert!(rig.call_of(1, failed()));
    for _ in 0..50 {
        let lease = rig.pool.select(&fairkey_core::Ask::new()).unwrap();
        assert_ne!(lease.key().id().as_str(), "k1");
    }
}
