//! The laws of gates and of limiters.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::Gate;
use fairkey_strategy::{Limit, LimitSet, Limits, LimitsConfig};
use fairkey_testkit::law::gate::{self as law, Limited};
use fairkey_testkit::{assert_broken, assert_holds};

const MINUTE: Duration = Duration::from_secs(60);

/// Makes a gate whose every key, or every account, has these limits.
fn limits(set: LimitSet, per_account: bool) -> impl Fn() -> Arc<dyn Gate> {
    let config = LimitsConfig {
        every_key: if per_account { LimitSet::NONE } else { set },
        every_account: if per_account { set } else { LimitSet::NONE },
        margin: Duration::ZERO,
        ..LimitsConfig::default()
    };
    move || Arc::new(Limits::new(config.clone()))
}

/// Small limits, so that random calls reach them; one for each dimension, and all together.
fn sets() -> Vec<LimitSet> {
    let requests = Some(Limit::per_minute(5));
    let tokens = Some(Limit::per_minute(3_000));
    vec![
        LimitSet {
            requests,
            ..LimitSet::NONE
        },
        LimitSet {
            tokens,
            ..LimitSet::NONE
        },
        LimitSet {
            in_flight: Some(2),
            ..LimitSet::NONE
        },
        LimitSet {
            in_flight_micro_usd: Some(30_000),
            ..LimitSet::NONE
        },
        LimitSet {
            credit: Some(Limit::per(50_000, 60 * MINUTE)),
            ..LimitSet::NONE
        },
        LimitSet {
            quota: Some(Limit::per(40, 5 * MINUTE)),
            ..LimitSet::NONE
        },
        LimitSet {
            requests: Some(Limit::per(200, MINUTE)),
            tokens,
            in_flight: Some(3),
            in_flight_micro_usd: Some(30_000),
            credit: Some(Limit::per(200_000, 60 * MINUTE)),
            quota: Some(Limit::per(100, 5 * MINUTE)),
        },
    ]
}

#[test]
fn limits_obey_the_laws_of_gates() {
    for (set, per_account) in sets().into_iter().zip([true, false].into_iter().cycle()) {
        println!("{set:?}, per account: {per_account}");
        assert_holds(law::check(limits(set, per_account)));
    }
}

#[test]
fn a_limit_of_calls_at_a_time_is_a_cap() {
    for cap in [1, 3] {
        let set = LimitSet {
            in_flight: Some(cap.into()),
            ..LimitSet::NONE
        };
        assert_holds(law::never_more_than(limits(set, false), cap));
        assert_holds(law::never_more_than_per_account(limits(set, true), cap));
    }
}

/// What the laws of limiters are to hold it to.
fn limited(set: LimitSet, per_account: bool) -> Limited {
    let window = |limit: Limit| (limit.amount, limit.per);
    Limited {
        per_account,
        requests: set.requests.map(window),
        tokens: set.tokens.map(window),
        in_flight: set.in_flight,
        in_flight_micro_usd: set.in_flight_micro_usd,
        slack: if set.tokens.is_some() {
            // Rounded up, as in the log.
            MINUTE / 126 + Duration::from_nanos(1)
        } else {
            Duration::ZERO
        },
    }
}

#[test]
fn limits_are_kept_and_used_up() {
    for mut set in sets() {
        // The laws of limiters know no credit.
        set.credit = None;
        for per_account in [false, true] {
            println!("{set:?}, per account: {per_account}");
            let (make, limited) = (limits(set, per_account), limited(set, per_account));
            assert_holds(law::keeps_its_limits(&make, limited));
            assert_holds(law::admits_what_fits(&make, limited));
        }
    }
}

#[test]
fn the_laws_see_a_limit_that_is_one_too_high() {
    for (set, over) in [
        (
            LimitSet {
                requests: Some(Limit::per_minute(6)),
                ..LimitSet::NONE
            },
            LimitSet {
                requests: Some(Limit::per_minute(5)),
                ..LimitSet::NONE
            },
        ),
        (
            LimitSet {
                tokens: Some(Limit::per(3_000, MINUTE - Duration::from_nanos(1))),
                ..LimitSet::NONE
            },
            LimitSet {
                tokens: Some(Limit::per_minute(3_000)),
                ..LimitSet::NONE
            },
        ),
        (
            LimitSet {
                in_flight_micro_usd: Some(31_000),
                ..LimitSet::NONE
            },
            LimitSet {
                in_flight_micro_usd: Some(30_000),
                ..LimitSet::NONE
            },
        ),
    ] {
        let (make, limited) = (limits(set, true), limited(over, true));
        assert_broken(law::keeps_its_limits(make, limited), "keeps_its_limits");
    }
}
