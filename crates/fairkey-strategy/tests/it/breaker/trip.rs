//! When it trips.

use fairkey_core::{FaultKind, Outcome, Retry, Scope, Scopes};
use fairkey_strategy::{BreakerConfig, SlidingWindowBreaker};

use super::{rig, without_rules};
use crate::support::{Rig, at, failed, keys, secs, throttled};

fn consecutive(n: u32) -> BreakerConfig {
    BreakerConfig {
        consecutive: Some(n),
        ..without_rules()
    }
}

#[test]
fn a_run_of_failures_trips_it_at_its_length() {
    for n in [1, 2, 5] {
        let rig = rig(consecutive(n));
        rig.calls(n - 1, failed());
        assert!(rig.is_closed(), "{} of {n}", n - 1);
        rig.calls(1, failed());
        assert!(!rig.is_closed(), "{n} of {n}");
        assert!(!rig.call(Outcome::Success));
    }
}

#[test]
fn a_success_ends_the_run() {
    let rig = rig(consecutive(3));
    rig.calls(2, failed());
    rig.calls(1, Outcome::Success);
    rig.calls(2, failed());
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(!rig.is_closed());
}

#[test]
fn slow_down_neither_lengthens_nor_ends_the_run() {
    let rig = rig(consecutive(3));
    rig.calls(100, throttled());
    assert!(rig.is_closed(), "not lengthened");
    rig.calls(2, failed());
    rig.calls(5, throttled());
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(!rig.is_closed(), "not ended");
}

#[test]
fn what_says_nothing_about_the_key_neither_lengthens_nor_ends_the_run() {
    let used_up = Outcome::fault(Scope::Key, FaultKind::Exhausted).with_retry(Retry::Never);
    let mut silent: Vec<Outcome> = (Scope::ALL.into_iter())
        .filter(|scope| *scope != Scope::Key)
        .map(|scope| Outcome::fault(scope, FaultKind::Failed))
        .collect();
    silent.extend([Outcome::Neutral, used_up]);
    for outcome in silent {
        let rig = rig(consecutive(2));
        rig.calls(10, outcome);
        assert!(rig.is_closed(), "{outcome:?} does not lengthen it");
        rig.calls(1, failed());
        rig.calls(10, outcome);
        assert!(rig.is_closed());
        rig.calls(1, failed());
        assert!(!rig.is_closed(), "{outcome:?} does not end it");
    }
}

#[test]
fn a_refused_credential_is_a_failure() {
    let rig = rig(consecutive(1));
    rig.calls(1, Outcome::fault(Scope::Key, FaultKind::Refused));
    assert!(!rig.is_closed());
}

#[test]
fn a_run_does_not_end_with_the_window() {
    let rig = rig(consecutive(3));
    for _ in 0..2 {
        rig.calls(1, failed());
        rig.advance(secs(600));
    }
    rig.calls(1, failed());
    assert!(!rig.is_closed(), "few calls are why this rule is there");
}

/// "Three errors in sixty seconds, then a minute off": the classic.
fn classic() -> BreakerConfig {
    BreakerConfig {
        count: Some(3),
        window: secs(60),
        open_for: secs(60),
        ..without_rules()
    }
}

#[test]
fn three_errors_in_a_minute_trip_the_classic_however_many_calls_succeed() {
    let rig = rig(classic());
    for _ in 0..2 {
        rig.calls(1, failed());
        rig.calls(1_000, Outcome::Success);
        rig.advance(secs(20));
    }
    assert!(rig.is_closed(), "two errors");
    rig.calls(1, failed());
    assert_eq!(rig.open_for(), Some(secs(60)), "three errors in 40 s");
}

#[test]
fn three_errors_in_more_than_a_minute_do_not() {
    // One every 30.5 s: never three in 60 s.
    let rig = rig(classic());
    for _ in 0..20 {
        rig.calls(1, failed());
        rig.advance(secs(30) + secs(1) / 2);
    }
    assert!(rig.is_closed());
}

#[test]
fn the_window_moves_in_steps_of_a_tenth() {
    // An error leaves the window of 60 s at the end of the 6 s it came in, one window later: it
    // counts for 54 to 60 s.
    for (first, last, trips) in [(0, 59, true), (0, 60, false), (5, 59, true), (5, 60, false)] {
        let rig = rig(classic());
        rig.advance_to(at(first));
        rig.calls(2, failed());
        rig.advance_to(at(last));
        rig.calls(1, failed());
        assert_eq!(!rig.is_closed(), trips, "errors at {first} s and {last} s");
    }
}

#[test]
fn slow_down_counts_for_the_classic() {
    let rig = rig(classic());
    rig.calls(3, throttled());
    assert!(!rig.is_closed());
}

fn ratio(ratio: f64, min_calls: u32) -> BreakerConfig {
    BreakerConfig {
        ratio: Some(ratio),
        min_calls,
        ..without_rules()
    }
}

#[test]
fn a_bad_ratio_trips_it_from_the_least_number_of_calls_on() {
    let rig = rig(ratio(0.5, 10));
    rig.calls(9, failed());
    assert!(rig.is_closed(), "nine calls say nothing");
    rig.calls(1, failed());
    assert!(!rig.is_closed(), "ten do");
}

#[test]
fn the_ratio_trips_it_at_its_value_and_not_below() {
    let below = rig(ratio(0.5, 10));
    below.calls(6, Outcome::Success);
    below.calls(5, failed());
    assert!(below.is_closed(), "5 of 11");
    below.calls(1, failed());
    assert!(!below.is_closed(), "6 of 12");
    let all = rig(ratio(1.0, 3));
    all.calls(1, Outcome::Success);
    all.calls(50, failed());
    assert!(all.is_closed(), "50 of 51 are not all");
}

#[test]
fn a_success_never_trips_it() {
    let rig = rig(ratio(0.5, 10));
    rig.calls(9, failed());
    rig.calls(1, Outcome::Success);
    assert!(
        rig.is_closed(),
        "9 of 10 failed, and the last was a success"
    );
    rig.calls(1, failed());
    assert!(!rig.is_closed());
}

#[test]
fn what_says_nothing_about_the_key_is_no_call_for_the_ratio() {
    let rig = rig(ratio(0.5, 10));
    rig.calls(9, failed());
    rig.calls(50, Outcome::Neutral);
    rig.calls(50, Outcome::fault(Scope::Provider, FaultKind::Throttled));
    rig.calls(50, Outcome::fault(Scope::Key, FaultKind::Exhausted));
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(!rig.is_closed(), "10 of 10, not 10 of 160");
}

#[test]
fn slow_down_counts_for_the_ratio() {
    let rig = rig(ratio(0.5, 4));
    rig.calls(2, Outcome::Success);
    rig.calls(2, throttled());
    assert!(!rig.is_closed());
}

#[test]
fn the_ratio_forgets_what_has_left_the_window() {
    let rig = rig(ratio(0.5, 10));
    rig.calls(1_000, Outcome::Success);
    rig.advance(secs(60));
    rig.calls(9, failed());
    assert!(rig.is_closed());
    rig.calls(1, failed());
    assert!(
        !rig.is_closed(),
        "a thousand good calls of the minute before do not hide it"
    );
}

#[test]
fn without_a_rule_it_never_trips() {
    let rig = rig(without_rules());
    rig.calls(10_000, failed());
    assert!(rig.is_closed());
}

#[test]
fn a_clock_that_stands_still_does_not_stop_the_rules() {
    let rig = rig(classic());
    rig.calls(3, failed());
    assert!(!rig.is_closed());
    for _ in 0..100 {
        assert!(!rig.call(Outcome::Success), "and the time off does not end");
    }
}

#[test]
fn a_clock_that_jumps_empties_the_window() {
    for jump in [secs(61), secs(3_600), secs(86_400 * 400)] {
        let rig = rig(classic());
        rig.calls(2, failed());
        rig.advance(jump);
        rig.calls(2, failed());
        assert!(rig.is_closed(), "{jump:?}");
        rig.calls(1, failed());
        assert!(!rig.is_closed(), "{jump:?}");
    }
}

#[test]
fn one_key_does_not_count_for_another() {
    let breaker = SlidingWindowBreaker::new(consecutive(2));
    let rig = Rig::with(breaker, keys(2), |builder| builder);
    assert!(rig.call_of(0, failed()) && rig.call_of(1, failed()));
    assert_eq!(rig.admitted(), ["k0", "k1"]);
    assert!(rig.call_of(1, failed()));
    assert_eq!(rig.admitted(), ["k0"]);
}

#[test]
fn the_keys_of_an_account_count_together_for_a_breaker_of_the_account() {
    let breaker = SlidingWindowBreaker::per_account(consecutive(2));
    let mut owned = keys(3);
    owned[0] = owned[0].clone().account("acme");
    owned[2] = owned[2].clone().account("acme");
    let rig = Rig::with(breaker, owned, |builder| builder);
    let fault = Outcome::fault(Scope::Account, FaultKind::Failed);
    assert!(
        rig.call_of(0, failed()) && rig.call_of(0, failed()),
        "a key's fault is not heard"
    );
    assert!(rig.call_of(0, fault) && rig.call_of(1, fault));
    assert_eq!(rig.admitted(), ["k0", "k1", "k2"]);
    assert!(rig.call_of(2, fault));
    assert_eq!(rig.admitted(), ["k1"]);
    assert_eq!(rig.select(0).unwrap_err().by, Some(Scope::Account));
}

#[test]
fn the_breaker_of_old_blames_the_key_for_everything() {
    let breaker = SlidingWindowBreaker::new(consecutive(3)).hearing(Scopes::ALL);
    let rig = Rig::new(breaker);
    rig.calls(1, Outcome::fault(Scope::Provider, FaultKind::Failed));
    rig.calls(1, Outcome::fault(Scope::Network, FaultKind::Failed));
    rig.calls(1, Outcome::fault(Scope::Request, FaultKind::Failed));
    assert!(!rig.is_closed());
}

#[test]
fn many_threads_trip_it_once() {
    for _ in 0..50 {
        let rig = rig(consecutive(2));
        let leases: Vec<_> = (0..4).map(|_| rig.select(0).unwrap()).collect();
        std::thread::scope(|scope| {
            for lease in leases {
                scope.spawn(|| lease.finish(failed()));
            }
        });
        assert_eq!(rig.open_for(), Some(secs(5)), "once, not doubled");
    }
}
