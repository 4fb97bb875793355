//! Settings that make no sense are named.

use std::time::Duration;

use fairkey_core::Gate;
use fairkey_strategy::{BreakerConfig, Group, SlidingWindowBreaker};

type Change = fn(&mut BreakerConfig);

#[test]
fn each_setting_out_of_its_range_is_refused_by_name() {
    let wrong: [(Change, &str); 12] = [
        (
            |c| c.window = Duration::from_nanos(9),
            "breaker window is shorter than 10 ns",
        ),
        (
            |c| c.min_calls = 0,
            "breaker min_calls is 0: at least 1 call makes a ratio",
        ),
        (
            |c| c.ratio = Some(0.0),
            "breaker ratio is not above 0 and at most 1",
        ),
        (
            |c| c.ratio = Some(1.001),
            "breaker ratio is not above 0 and at most 1",
        ),
        (
            |c| c.ratio = Some(f64::NAN),
            "breaker ratio is not above 0 and at most 1",
        ),
        (
            |c| c.consecutive = Some(0),
            "breaker consecutive and count are at least 1, or off",
        ),
        (
            |c| c.count = Some(0),
            "breaker consecutive and count are at least 1, or off",
        ),
        (|c| c.jitter = -0.1, "breaker jitter is not between 0 and 1"),
        (|c| c.jitter = 1.1, "breaker jitter is not between 0 and 1"),
        (
            |c| c.jitter = f64::NAN,
            "breaker jitter is not between 0 and 1",
        ),
        (
            |c| c.open_for = Duration::ZERO,
            "breaker open_for is not above 0 and at most open_cap",
        ),
        (
            |c| c.open_for = Duration::from_secs(301),
            "breaker open_for is not above 0 and at most open_cap",
        ),
    ];
    for (change, text) in wrong {
        let mut config = BreakerConfig::default();
        change(&mut config);
        assert_eq!(
            config.check().map_err(|error| error.to_string()),
            Err(text.to_owned())
        );
    }
}

#[test]
fn the_ends_of_each_range_are_in_it() {
    let right: [Change; 9] = [
        |_| {},
        |c| c.window = Duration::from_nanos(10),
        |c| c.min_calls = 1,
        |c| c.ratio = Some(1.0),
        |c| c.ratio = None,
        |c| (c.consecutive, c.count) = (Some(1), Some(1)),
        |c| (c.consecutive, c.count) = (None, None),
        |c| (c.jitter, c.ramp) = (1.0, u32::MAX),
        |c| (c.jitter, c.ramp, c.open_for) = (0.0, 0, c.open_cap),
    ];
    for change in right {
        let mut config = BreakerConfig::default();
        change(&mut config);
        assert_eq!(config.check(), Ok(()));
        let _ = SlidingWindowBreaker::per(Group::Account, config);
    }
}

#[test]
#[should_panic(expected = "breaker min_calls is 0")]
fn a_breaker_of_settings_that_make_no_sense_is_not_made() {
    let config = BreakerConfig {
        min_calls: 0,
        ..BreakerConfig::default()
    };
    let _ = SlidingWindowBreaker::new(config);
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let config = BreakerConfig::default();
    let seconds = Duration::from_secs;
    assert_eq!((config.window, config.min_calls), (seconds(60), 10));
    assert_eq!(
        (config.ratio, config.consecutive, config.count),
        (Some(0.5), Some(5), None)
    );
    assert_eq!(
        (config.open_for, config.open_cap),
        (seconds(5), seconds(300))
    );
    assert_eq!((config.jitter, config.ramp), (0.5, 16));
    assert_eq!(config.probe_timeout, seconds(60));
}

#[test]
fn explanations_call_it_by_its_name() {
    for (group, name) in [
        (Group::Key, "SlidingWindowBreaker(key)"),
        (Group::Account, "SlidingWindowBreaker(account)"),
        (Group::Service, "SlidingWindowBreaker(service)"),
        (Group::Network, "SlidingWindowBreaker(network)"),
    ] {
        let breaker = SlidingWindowBreaker::per(group, BreakerConfig::default());
        assert_eq!(breaker.name(), name);
    }
}
