//! For how long a cooldown closes, whom, and what ends it.

use std::time::Duration;

use fairkey_core::{FaultKind, Gate, Key, Outcome, Retry, Scope, Timestamp};
use fairkey_strategy::{Cooldown, CooldownConfig, Group};

use crate::support::{Rig, at, keys, secs};

const NOW: u64 = 1_000;
const DAY: u64 = 86_400;

/// What a fault does to a key that was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It stays open.
    Open,
    /// It is closed until this second.
    At(u64),
    /// It is closed until somebody changes something.
    Never,
}

fn fault(kind: FaultKind, retry: Retry) -> Outcome {
    Outcome::fault(Scope::Key, kind).with_retry(retry)
}

/// The defaults, with nothing left to chance.
fn exact() -> CooldownConfig {
    CooldownConfig {
        jitter: 0.0,
        ..CooldownConfig::default()
    }
}

fn rig(config: CooldownConfig) -> Rig<Cooldown> {
    let rig = Rig::new(Cooldown::per_key(config));
    rig.advance_to(at(NOW));
    rig
}

impl Rig<Cooldown> {
    fn ends(&self) -> Ends {
        match self.until(0) {
            None => Ends::Open,
            Some(None) => Ends::Never,
            Some(Some(until)) => Ends::At(until.since(Timestamp::ZERO).as_secs()),
        }
    }
}

#[track_caller]
fn check(kind: FaultKind, cases: &[(Retry, Ends)]) {
    for (retry, expected) in cases {
        let rig = rig(exact());
        rig.calls(1, fault(kind, *retry));
        assert_eq!(rig.ends(), *expected, "{kind:?} with {retry:?}");
    }
}

#[test]
fn slow_down_closes_for_as_long_as_it_says_up_to_five_minutes() {
    check(
        FaultKind::Throttled,
        &[
            (Retry::Unknown, Ends::At(NOW + 60)),
            (Retry::After(secs(5)), Ends::At(NOW + 5)),
            (Retry::After(secs(299)), Ends::At(NOW + 299)),
            (Retry::After(secs(301)), Ends::At(NOW + 300)),
            (Retry::After(Duration::MAX), Ends::At(NOW + 300)),
            (Retry::After(Duration::ZERO), Ends::Open),
            (Retry::At(at(NOW + 7)), Ends::At(NOW + 7)),
            (Retry::At(at(NOW + DAY)), Ends::At(NOW + 300)),
            (Retry::At(at(NOW)), Ends::Open),
            (Retry::At(at(NOW - 1)), Ends::Open),
            (Retry::At(Timestamp::ZERO), Ends::Open),
            // Nobody knows when: as long as the longest hint, unless there is evidence before.
            (Retry::Never, Ends::At(NOW + 300)),
        ],
    );
}

#[test]
fn used_up_closes_until_the_stamp_up_to_a_month() {
    check(
        FaultKind::Exhausted,
        &[
            (Retry::Unknown, Ends::At(NOW + 60)),
            (Retry::At(at(NOW + 5 * DAY)), Ends::At(NOW + 5 * DAY)),
            (Retry::At(at(NOW + 31 * DAY)), Ends::At(NOW + 31 * DAY)),
            (Retry::At(at(NOW + 31 * DAY + 1)), Ends::At(NOW + 31 * DAY)),
            (Retry::At(Timestamp::MAX), Ends::At(NOW + 31 * DAY)),
            (Retry::After(secs(3_600)), Ends::At(NOW + 3_600)),
            (Retry::At(at(NOW - 500)), Ends::Open),
            (Retry::Never, Ends::At(NOW + 31 * DAY)),
        ],
    );
}

#[test]
fn a_refused_credential_closes_for_good_whatever_the_hint() {
    check(
        FaultKind::Refused,
        &[
            (Retry::Unknown, Ends::Never),
            (Retry::After(secs(5)), Ends::Never),
            (Retry::At(at(NOW + 5)), Ends::Never),
            (Retry::Never, Ends::Never),
        ],
    );
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Refused, Retry::Unknown));
    rig.advance(secs(365 * DAY));
    let refused = rig.select(0).unwrap_err();
    assert_eq!((refused.retry_at, refused.by), (None, Some(Scope::Key)));
    assert_eq!(rig.key(0, |key| rig.gate.until(key)), Some(Timestamp::MAX));
}

#[test]
fn a_refused_credential_may_be_looked_at_again_after_a_time() {
    let rig = rig(CooldownConfig {
        refused: Some(secs(900)),
        ..exact()
    });
    rig.calls(1, fault(FaultKind::Refused, Retry::Never));
    assert_eq!(rig.ends(), Ends::At(NOW + 900));
}

#[test]
fn an_ordinary_failure_closes_only_if_it_says_for_how_long() {
    check(
        FaultKind::Failed,
        &[
            (Retry::Unknown, Ends::Open),
            (Retry::Never, Ends::Open),
            (Retry::After(secs(5)), Ends::At(NOW + 5)),
            (Retry::After(secs(61)), Ends::At(NOW + 60)),
            (Retry::At(at(NOW + 30)), Ends::At(NOW + 30)),
            (Retry::At(at(NOW - 30)), Ends::Open),
        ],
    );
}

#[test]
fn every_time_is_a_setting() {
    let config = CooldownConfig {
        throttled: secs(1),
        throttled_cap: secs(2),
        exhausted: secs(3),
        exhausted_cap: secs(4),
        refused: Some(secs(5)),
        failed_cap: secs(6),
        ..exact()
    };
    let long = Retry::After(secs(DAY));
    for (kind, retry, expected) in [
        (FaultKind::Throttled, Retry::Unknown, 1),
        (FaultKind::Throttled, long, 2),
        (FaultKind::Exhausted, Retry::Unknown, 3),
        (FaultKind::Exhausted, long, 4),
        (FaultKind::Refused, long, 5),
        (FaultKind::Failed, long, 6),
    ] {
        let rig = rig(config.clone());
        rig.calls(1, fault(kind, retry));
        assert_eq!(
            rig.ends(),
            Ends::At(NOW + expected),
            "{kind:?} with {retry:?}"
        );
    }
}

#[test]
fn of_two_reasons_the_later_end_counts() {
    let throttled = |seconds| fault(FaultKind::Throttled, Retry::After(secs(seconds)));
    for (first, second, expected) in [(10, 100, 100), (100, 10, 100), (50, 50, 50)] {
        let rig = rig(exact());
        let (one, two) = (rig.select(0).unwrap(), rig.select(0).unwrap());
        one.finish(throttled(first));
        two.finish(throttled(second));
        assert_eq!(
            rig.ends(),
            Ends::At(NOW + expected),
            "{first} s, then {second} s"
        );
    }
}

#[test]
fn for_good_stays_for_good() {
    let rig = rig(exact());
    let calls: Vec<_> = (0..3).map(|_| rig.select(0).unwrap()).collect();
    let ends = [
        fault(FaultKind::Throttled, Retry::After(secs(5))),
        fault(FaultKind::Refused, Retry::Never),
        fault(FaultKind::Throttled, Retry::After(secs(5))),
    ];
    for (call, end) in calls.into_iter().zip(ends) {
        call.finish(end);
    }
    assert_eq!(rig.ends(), Ends::Never);
}

#[test]
fn a_success_of_a_call_that_began_before_ends_nothing() {
    let rig = rig(exact());
    let straggler = rig.select(0).unwrap();
    rig.calls(1, fault(FaultKind::Throttled, Retry::Unknown));
    straggler.finish(Outcome::Success);
    assert_eq!(rig.ends(), Ends::At(NOW + 60));
}

#[test]
fn it_opens_at_its_time_and_not_a_moment_before() {
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Throttled, Retry::After(secs(5))));
    let refused = rig.select(0).unwrap_err();
    assert_eq!(
        (refused.retry_at, refused.by),
        (Some(at(NOW + 5)), Some(Scope::Key))
    );
    rig.advance(secs(5) - Duration::from_nanos(1));
    assert_eq!(rig.select(0).unwrap_err(), refused);
    rig.advance(Duration::from_nanos(1));
    let probe = rig.select(0).unwrap();
    assert!(rig.select(0).is_err(), "and for one call");
    probe.finish(Outcome::Success);
    assert!(rig.select(0).is_ok(), "then for more");
}

#[test]
fn when_it_has_opened_a_shorter_rest_closes_it_again() {
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Throttled, Retry::After(secs(300))));
    rig.advance(secs(300));
    rig.calls(1, fault(FaultKind::Throttled, Retry::After(secs(1))));
    assert_eq!(rig.ends(), Ends::At(NOW + 301));
    rig.advance(secs(1));
    assert_eq!(rig.ends(), Ends::Open);
}

#[test]
fn clearing_opens_at_once_and_a_later_fault_closes_again() {
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Refused, Retry::Never));
    rig.key(0, |key| rig.gate.clear(key));
    assert_eq!(rig.ends(), Ends::Open);
    assert_eq!(rig.key(0, |key| rig.gate.until(key)), None);
    rig.calls(1, fault(FaultKind::Throttled, Retry::Unknown));
    assert_eq!(
        rig.ends(),
        Ends::At(NOW + 60),
        "what was cleared is forgotten"
    );
}

#[test]
fn a_clock_that_stands_still_or_jumps_is_believed() {
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Throttled, Retry::Unknown));
    assert!((0..100).all(|_| rig.select(0).is_err()));
    rig.advance(secs(1_000 * DAY));
    assert!(rig.select(0).is_ok());
    rig.advance_to(Timestamp::MAX - secs(1));
    rig.calls(1, fault(FaultKind::Throttled, Retry::Unknown));
    assert!(rig.select(0).is_err());
}

/// Two keys of one account, and one alone.
fn two_and_one() -> Vec<Key> {
    let mut keys = keys(3);
    keys[0] = keys[0].clone().account("acme");
    keys[1] = keys[1].clone().account("acme");
    keys
}

#[test]
fn only_faults_of_its_scopes_close_a_key() {
    for scope in Scope::ALL {
        let rig = Rig::with(Cooldown::per_key(exact()), two_and_one(), |b| b);
        rig.call_of(0, Outcome::fault(scope, FaultKind::Refused));
        let closes = matches!(scope, Scope::Key | Scope::Budget);
        let expected: &[&str] = if closes {
            &["k1", "k2"]
        } else {
            &["k0", "k1", "k2"]
        };
        assert_eq!(rig.admitted(), expected, "{scope}");
    }
}

#[test]
fn only_faults_of_the_account_close_all_its_keys_and_no_other() {
    for scope in Scope::ALL {
        let gate = Cooldown::per_account(exact());
        let rig = Rig::with(gate, two_and_one(), |b| b);
        rig.call_of(1, Outcome::fault(scope, FaultKind::Throttled));
        let expected: &[&str] = match scope {
            Scope::Account => &["k2"],
            _ => &["k0", "k1", "k2"],
        };
        assert_eq!(rig.admitted(), expected, "{scope}");
    }
    let gate = Cooldown::per_account(exact());
    let rig = Rig::with(gate, two_and_one(), |b| b);
    rig.call_of(2, Outcome::fault(Scope::Account, FaultKind::Throttled));
    assert_eq!(
        rig.admitted(),
        ["k0", "k1"],
        "a key alone is an account of its own"
    );
    assert_eq!(rig.select(2).unwrap_err().by, Some(Scope::Account));
}

#[test]
fn what_belongs_to_keys_that_stay_stays() {
    let rig = rig(exact());
    rig.calls(1, fault(FaultKind::Refused, Retry::Never));
    rig.pool
        .reload([keys(1).remove(0).weight(3), Key::new("new", "x")])
        .unwrap();
    assert_eq!(rig.admitted(), ["new"]);
    // A new secret is why a refused key is worth another try.
    rig.pool
        .reload([Key::new("k0", "sk-rotated"), Key::new("new", "x")])
        .unwrap();
    assert_eq!(rig.admitted().len(), 2);
}

#[test]
fn a_key_in_the_slot_of_another_starts_open() {
    let rig = Rig::with(Cooldown::per_key(exact()), keys(2), |b| b);
    rig.call_of(1, fault(FaultKind::Refused, Retry::Never));
    let slot = rig.key(1, |key| key.slot());
    rig.pool.reload(keys(1)).unwrap();
    rig.pool
        .reload([keys(1).remove(0), Key::new("other", "x")])
        .unwrap();
    assert_eq!(rig.key(1, |key| key.slot()), slot);
    assert_eq!(rig.admitted(), ["k0", "other"]);
}

#[test]
fn an_account_stays_closed_while_it_has_a_key() {
    let gate = Cooldown::per_account(exact());
    let rig = Rig::with(gate, two_and_one(), |b| b);
    rig.call_of(0, Outcome::fault(Scope::Account, FaultKind::Exhausted));
    // The key that said so is gone; another joins.
    let mut next = two_and_one().split_off(1);
    next.push(Key::new("joined", "x").account("acme"));
    rig.pool.reload(next).unwrap();
    assert_eq!(rig.admitted(), ["k2"]);
    // The account goes, and comes back as a new one.
    rig.pool.reload(keys(3).split_off(2)).unwrap();
    rig.pool.reload(two_and_one()).unwrap();
    assert_eq!(rig.admitted().len(), 3);
}

#[test]
fn explanations_call_it_by_its_name() {
    let name = |group| Cooldown::per(group, exact()).name();
    assert_eq!(
        (name(Group::Key), name(Group::Account)),
        ("Cooldown(key)", "Cooldown(account)")
    );
}
