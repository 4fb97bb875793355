//! How what was closed until a time comes back: a probe, a ramp, longer rests without a stamp.

use std::time::Duration;

use fairkey_core::{FaultKind, Key, Outcome, Retry, Scope};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, Group, Health, SlidingWindowBreaker,
};

use crate::support::{Rig, at, failed, keys, secs};

fn exact() -> CooldownConfig {
    CooldownConfig {
        jitter: 0.0,
        ..CooldownConfig::default()
    }
}

fn throttled(retry: Retry) -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Throttled).with_retry(retry)
}

/// A key whose cooldown of 5 s is over.
fn over(config: CooldownConfig) -> Rig<Cooldown> {
    let rig = Rig::new(Cooldown::per_key(config).seed(1));
    rig.calls(1, throttled(Retry::After(secs(5))));
    rig.advance(secs(5));
    rig
}

impl Rig<Cooldown> {
    fn health(&self) -> Health {
        let now = self.pool.now();
        self.key(0, |key| self.gate.status(key, now)).health
    }

    /// How many calls at a time it lets through, up to 100; they are given up.
    fn room(&self) -> usize {
        let leases: Vec<_> = (0..100).map_while(|_| self.select(0).ok()).collect();
        leases.len()
    }

    /// For how long it is closed.
    fn closed_for(&self) -> Duration {
        let until = self.until(0).flatten().expect("it is closed until a time");
        until.since(self.pool.now())
    }
}

#[test]
fn one_probe_then_two_then_four_and_then_all() {
    let rig = over(CooldownConfig { ramp: 4, ..exact() });
    assert_eq!((rig.room(), rig.health()), (1, Health::HalfOpen));
    let probe = rig.select(0).unwrap();
    assert_eq!((rig.room(), rig.health()), (0, Health::Probing));
    probe.finish(Outcome::Success);
    assert_eq!((rig.room(), rig.health()), (2, Health::Ramping));
    rig.calls(2, Outcome::Success);
    assert_eq!((rig.room(), rig.health()), (4, Health::Ramping));
    rig.calls(4, Outcome::Success);
    assert_eq!((rig.room(), rig.health()), (100, Health::Well));
}

#[test]
fn a_thousand_who_waited_for_the_same_stamp_come_as_one() {
    let rig = over(exact());
    let mut waiting = 1_000;
    let mut most = 0;
    while waiting > 0 {
        let round: Vec<_> = (0..waiting).map_while(|_| rig.select(0).ok()).collect();
        waiting -= round.len();
        most = most.max(if rig.health() == Health::Well {
            0
        } else {
            round.len()
        });
        round
            .into_iter()
            .for_each(|lease| lease.finish(Outcome::Success));
    }
    assert!(most <= 16, "{most} at once before it was well");
}

#[test]
fn how_it_comes_back_is_a_setting() {
    let at_once = over(CooldownConfig { ramp: 0, ..exact() });
    assert_eq!(at_once.room(), 100, "as of old");
    let probe_only = over(CooldownConfig { ramp: 1, ..exact() });
    assert_eq!(probe_only.room(), 1);
    probe_only.calls(1, Outcome::Success);
    assert_eq!(probe_only.room(), 100);
}

#[test]
fn the_first_content_of_the_probe_lets_the_next_in() {
    let rig = over(exact());
    let mut stream = rig.select(0).unwrap();
    assert_eq!(rig.room(), 0);
    stream.note_first_content();
    assert_eq!(rig.room(), 2);
}

#[test]
fn a_probe_that_is_lost_bars_for_its_timeout() {
    let rig = over(CooldownConfig {
        probe_timeout: secs(7),
        ..exact()
    });
    let lost = rig.select(0).unwrap();
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.retry_at, Some(rig.pool.now() + secs(7)));
    rig.advance(secs(7));
    assert_eq!(rig.room(), 1);
    drop(lost);
}

#[test]
fn a_probe_that_says_nothing_hands_its_permit_on() {
    for outcome in [
        Outcome::Neutral,
        // A breaker's work: it says nothing of the limit.
        failed(),
        Outcome::fault(Scope::Provider, FaultKind::Throttled),
    ] {
        let rig = over(exact());
        rig.calls(3, outcome);
        assert_eq!(rig.room(), 1, "{outcome:?}");
        assert_eq!(rig.health(), Health::HalfOpen, "{outcome:?}");
    }
}

#[test]
fn without_a_stamp_each_rest_is_twice_the_last_up_to_the_longest() {
    for (kind, first, longest) in [
        (FaultKind::Throttled, 60, 300),
        (FaultKind::Exhausted, 60, 3_600),
    ] {
        let rig = Rig::new(Cooldown::per_key(exact()));
        let mut expected = secs(first);
        for n in 0..10 {
            rig.calls(1, Outcome::fault(Scope::Key, kind));
            assert_eq!(rig.closed_for(), expected, "{kind:?}, rest {n}");
            rig.advance(rig.closed_for());
            expected = (expected * 2).min(secs(longest));
        }
        // A success in between, and it begins anew.
        rig.calls(1, Outcome::Success);
        rig.calls(1, Outcome::fault(Scope::Key, kind));
        assert_eq!(rig.closed_for(), secs(first), "{kind:?} after a success");
    }
}

#[test]
fn a_stamp_is_taken_at_its_word_however_often() {
    let rig = Rig::new(Cooldown::per_key(CooldownConfig::default()));
    for n in 0..10 {
        rig.calls(1, throttled(Retry::After(secs(5))));
        assert_eq!(rig.closed_for(), secs(5), "time {n}");
        rig.advance(secs(5));
    }
}

#[test]
fn all_at_once_rests_get_longer_too() {
    let rig = Rig::new(Cooldown::per_key(CooldownConfig { ramp: 0, ..exact() }));
    rig.calls(1, throttled(Retry::Unknown));
    rig.advance(secs(60));
    rig.calls(1, throttled(Retry::Unknown));
    assert_eq!(rig.closed_for(), secs(120));
    rig.advance(secs(120));
    rig.calls(1, Outcome::Success);
    rig.calls(1, throttled(Retry::Unknown));
    assert_eq!(rig.closed_for(), secs(60));
}

#[test]
fn calls_that_were_under_way_together_are_one_closing() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    let calls: Vec<_> = (0..8).map(|_| rig.select(0).unwrap()).collect();
    for call in calls {
        call.finish(throttled(Retry::Unknown));
    }
    assert_eq!(rig.closed_for(), secs(60));
}

#[test]
fn a_fault_of_a_call_from_before_closes_again_and_doubles_nothing() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    let straggler = rig.select(0).unwrap();
    rig.calls(1, throttled(Retry::Unknown));
    rig.advance(secs(60));
    let probe = rig.select(0).unwrap();
    straggler.finish(throttled(Retry::Unknown));
    assert_eq!(rig.closed_for(), secs(60));
    // The probe began before that: it opens nothing.
    probe.finish(Outcome::Success);
    assert_eq!(rig.health(), Health::Out);
}

#[test]
fn a_success_of_a_call_from_before_does_not_end_the_probing() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    let stragglers: Vec<_> = (0..20).map(|_| rig.select(0).unwrap()).collect();
    rig.calls(1, throttled(Retry::Unknown));
    rig.advance(secs(60));
    let _probe = rig.select(0).unwrap();
    stragglers
        .into_iter()
        .for_each(|lease| lease.finish(Outcome::Success));
    assert_eq!((rig.room(), rig.health()), (0, Health::Probing));
}

#[test]
fn chance_shortens_what_no_stamp_gave_and_follows_the_seed() {
    let rest = |seed| {
        let rig = Rig::new(Cooldown::per_key(CooldownConfig::default()).seed(seed));
        rig.calls(1, throttled(Retry::Unknown));
        rig.closed_for()
    };
    let rests: Vec<_> = (0..50).map(rest).collect();
    assert!(
        rests
            .iter()
            .all(|rest| (secs(48)..=secs(60)).contains(rest))
    );
    assert!(rests.iter().any(|rest| *rest != rests[0]));
    assert_eq!(rest(7), rest(7));
}

/// Three keys in two accounts, for gates that are for all of them.
fn fleet() -> Vec<Key> {
    let mut keys = keys(3);
    keys[0] = keys[0].clone().account("acme");
    keys[1] = keys[1].clone().account("acme");
    keys
}

#[test]
fn a_dead_service_trips_one_breaker_for_all_and_has_one_probe() {
    for (group, scope) in [
        (Group::Service, Scope::Service),
        (Group::Network, Scope::Network),
    ] {
        let breaker = SlidingWindowBreaker::per(
            group,
            BreakerConfig {
                consecutive: Some(5),
                open_for: secs(10),
                jitter: 0.0,
                ..BreakerConfig::default()
            },
        );
        let rig = Rig::with(breaker, fleet(), |builder| builder);
        // Faults of others are nothing to it.
        for n in 0..30 {
            rig.call_of(n, failed());
        }
        let dead = Outcome::fault(scope, FaultKind::Failed);
        for n in 0..5 {
            assert_eq!(rig.admitted().len(), 3, "{scope}: {n} faults");
            assert!(rig.call_of(n, dead));
        }
        let refused = rig.select(0).unwrap_err();
        assert_eq!(
            (refused.by, refused.retry_at),
            (Some(scope), Some(at(10))),
            "the turn was closed"
        );
        assert_eq!(rig.admitted().len(), 0);
        rig.advance(secs(10));
        let probe = rig.select(2).unwrap();
        assert!((0..3).all(|n| rig.select(n).is_err()), "one for all keys");
        probe.finish(Outcome::Success);
        let ramp: Vec<_> = (0..9).filter_map(|n| rig.select(n).ok()).collect();
        assert_eq!(ramp.len(), 2);
    }
}

#[test]
fn what_all_keys_share_comes_first_whatever_closes_the_keys() {
    // Whether to wait, to fall back or to give up does not depend on the keys.
    let per_key = std::sync::Arc::new(Cooldown::per_key(exact()));
    let rig = Rig::with(Cooldown::per(Group::Network, exact()), fleet(), |builder| {
        builder.shared_gate(std::sync::Arc::clone(&per_key) as _)
    });
    let leases: Vec<_> = (0..3).map(|n| rig.select(n).unwrap()).collect();
    let last = rig.select(0).unwrap();
    for lease in leases {
        lease.finish(throttled(Retry::After(secs(100))));
    }
    let unreachable = Outcome::fault(Scope::Network, FaultKind::Failed);
    last.finish(unreachable.with_retry(Retry::After(secs(20))));
    let refused = rig.select(0).unwrap_err();
    assert_eq!(
        (refused.by, refused.retry_at),
        (Some(Scope::Network), Some(at(20)))
    );
}

#[test]
fn a_service_that_says_when_is_left_alone_until_then() {
    let rig = Rig::with(Cooldown::per(Group::Service, exact()), fleet(), |builder| {
        builder
    });
    let busy = Outcome::fault(Scope::Service, FaultKind::Failed);
    rig.call_of(1, busy.with_retry(Retry::After(secs(20))));
    assert!((0..3).all(|n| rig.select(n).is_err()));
    let explanation = rig.pool.explain(&fairkey_core::Ask::new());
    assert!(
        explanation
            .to_string()
            .contains("denied by Cooldown(service) (service, since 0ns ago, for 20s)"),
        "{explanation}"
    );
    // A reload changes nothing about it: what all keys share is older than any of them.
    rig.pool.reload(keys(5)).unwrap();
    assert!(rig.admitted().is_empty());
    rig.advance(secs(20));
    assert_eq!(
        (0..5).filter_map(|n| rig.select(n).ok()).count(),
        5,
        "one after the other"
    );
    let leases: Vec<_> = (0..5).filter_map(|n| rig.select(n).ok()).collect();
    assert_eq!(leases.len(), 1, "and one at a time");
}
