//! What checkers and operators say of closed keys, and what is said of keys.

use std::sync::Arc;

use fairkey_core::{Ask, FaultKind, Key, ManualClock, Outcome, Pool, Retry, Scope, Timestamp};
use fairkey_strategy::{Cooldown, CooldownConfig, Health, Status, Why, is_free_model};

use crate::support::{Rig, at, keys, secs};

fn exact() -> CooldownConfig {
    CooldownConfig {
        jitter: 0.0,
        ..CooldownConfig::default()
    }
}

fn used_up(retry: Retry) -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Exhausted).with_retry(retry)
}

fn revoked() -> Outcome {
    Outcome::fault(Scope::Key, FaultKind::Refused).with_retry(Retry::Never)
}

impl Rig<Cooldown> {
    fn due(&self) -> Vec<(String, Why)> {
        let now = self.pool.now();
        self.pool.with_keys(|keys| {
            let due = self.gate.due(keys, now);
            due.iter()
                .map(|due| (due.key.id().to_string(), due.why))
                .collect()
        })
    }

    fn status(&self, n: usize) -> Status {
        let now = self.pool.now();
        self.key(n, |key| self.gate.status(key, now))
    }
}

#[test]
fn what_is_worth_a_look_is_what_ended_and_what_nobody_stamped() {
    let rig = Rig::with(Cooldown::per_key(exact()), keys(5), |builder| builder);
    rig.call_of(0, used_up(Retry::At(at(100))));
    rig.call_of(1, used_up(Retry::Unknown));
    rig.call_of(2, revoked());
    rig.call_of(3, used_up(Retry::Never));
    let due = |expected: &[(&str, Why)]| {
        let expected: Vec<_> = (expected.iter())
            .map(|(id, why)| ((*id).to_owned(), *why))
            .collect();
        assert_eq!(rig.due(), expected, "at {:?}", rig.pool.now());
    };
    let others = [("k2", Why::ForGood), ("k3", Why::Unproven)];
    due(&[("k1", Why::Unproven), others[0], others[1]]);
    rig.advance_to(at(100));
    due(&[("k0", Why::Over), ("k1", Why::Over), others[0], others[1]]);
    // The probe of a call is a look itself.
    let probe = rig.select(0).unwrap();
    due(&[("k1", Why::Over), others[0], others[1]]);
    probe.finish(Outcome::Success);
    due(&[("k1", Why::Over), others[0], others[1]]);
}

#[test]
fn of_an_account_one_key_is_asked_about() {
    let owned: Vec<_> = keys(70)
        .into_iter()
        .map(|key| key.account("acme"))
        .collect();
    let rig = Rig::with(Cooldown::per_account(exact()), owned, |builder| builder);
    let fault = Outcome::fault(Scope::Account, FaultKind::Exhausted);
    rig.call_of(69, fault);
    assert_eq!(rig.due(), [("k0".to_owned(), Why::Unproven)]);
}

#[test]
fn what_is_confirmed_is_probed_before_its_time() {
    for outcome in [
        used_up(Retry::At(at(86_400))),
        used_up(Retry::Never),
        used_up(Retry::Unknown),
        revoked(),
    ] {
        let rig = Rig::new(Cooldown::per_key(exact()));
        rig.calls(1, outcome);
        rig.advance(secs(10));
        assert!(
            rig.key(0, |key| rig.gate.confirm(key, at(9))),
            "{outcome:?}"
        );
        assert_eq!(rig.status(0).health, Health::HalfOpen, "{outcome:?}");
        let _probe = rig.select(0).unwrap();
        assert!(rig.select(0).is_err(), "{outcome:?}: it is one call's word");
    }
}

#[test]
fn an_answer_from_before_the_closing_confirms_nothing() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    rig.advance(secs(10));
    rig.calls(1, used_up(Retry::Unknown));
    assert!(!rig.key(0, |key| rig.gate.confirm(key, at(9))));
    assert_eq!(rig.status(0).health, Health::Out);
    // Nor does one from before the last word to the same effect.
    let rig = Rig::new(Cooldown::per_key(exact()));
    let straggler = rig.select(0).unwrap();
    rig.calls(1, used_up(Retry::Unknown));
    rig.advance(secs(10));
    straggler.finish(used_up(Retry::At(at(20))));
    assert!(!rig.key(0, |key| rig.gate.confirm(key, at(9))));
}

#[test]
fn evidence_of_a_later_end_moves_it_out_and_never_in() {
    let close = |rig: &Rig<Cooldown>, until| {
        let now = rig.pool.now();
        let kind = FaultKind::Exhausted;
        rig.key(0, |key| rig.gate.close_until(key, at(until), kind, now));
    };
    let rig = Rig::new(Cooldown::per_key(exact()));
    rig.calls(1, used_up(Retry::Unknown));
    close(&rig, 500);
    assert_eq!(rig.until(0), Some(Some(at(500))));
    assert_eq!(rig.due(), [], "somebody named a time");
    close(&rig, 400);
    assert_eq!(rig.until(0), Some(Some(at(500))));
    // What is open closes; what is over already does nothing; the cap holds.
    let rig = Rig::new(Cooldown::per_key(exact()));
    rig.advance(secs(10));
    close(&rig, 10);
    assert_eq!(rig.until(0), None);
    close(&rig, u64::from(u32::MAX));
    assert_eq!(rig.until(0), Some(Some(at(10 + 31 * 86_400))));
    let status = rig.status(0);
    assert_eq!(status.since, Some(at(10)));
    assert_eq!(status.cause, Some(FaultKind::Exhausted));
    // A refused credential is out for good.
    let rig = Rig::new(Cooldown::per_key(exact()));
    let now = rig.pool.now();
    rig.key(0, |key| {
        rig.gate
            .close_until(key, Timestamp::MAX, FaultKind::Refused, now);
    });
    assert_eq!(rig.until(0), Some(None));
    assert_eq!(rig.due(), [("k0".to_owned(), Why::ForGood)]);
}

#[test]
fn a_checker_that_never_comes_is_waited_for_no_longer_than_allowed() {
    let rig = Rig::new(Cooldown::per_key(CooldownConfig {
        check_wait: secs(30),
        ..exact()
    }));
    rig.calls(1, used_up(Retry::At(at(100))));
    assert_eq!(rig.status(0).until, Some(at(100)));
    rig.advance_to(at(100));
    let status = rig.status(0);
    assert_eq!(
        (status.health, status.until),
        (Health::AwaitingCheck, Some(at(130)))
    );
    assert_eq!(rig.due(), [("k0".to_owned(), Why::Over)]);
    let refused = rig.select(0).unwrap_err();
    assert_eq!(refused.retry_at, Some(at(130)), "honest, whoever comes");
    let explanation = rig.pool.explain(&Ask::new()).to_string();
    assert!(explanation.contains("awaiting a check"), "{explanation}");
    rig.advance_to(at(130));
    assert!(rig.select(0).is_ok());
    // One that comes opens it sooner, or says until when.
    let rig = Rig::new(Cooldown::per_key(CooldownConfig {
        check_wait: secs(30),
        ..exact()
    }));
    rig.calls(1, used_up(Retry::At(at(100))));
    rig.advance_to(at(101));
    assert!(rig.key(0, |key| rig.gate.confirm(key, at(101))));
    assert!(rig.select(0).is_ok());
}

#[test]
fn clearing_asks_for_no_probe() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    rig.calls(1, revoked());
    rig.key(0, |key| rig.gate.clear(key));
    assert_eq!(rig.status(0), Status::WELL);
    let leases: Vec<_> = (0..50).map_while(|_| rig.select(0).ok()).collect();
    assert_eq!(leases.len(), 50);
}

#[test]
fn every_state_says_since_when_and_until_when() {
    let rig = Rig::new(Cooldown::per_key(exact()));
    assert_eq!(rig.status(0), Status::WELL);
    rig.advance_to(at(10));
    rig.calls(1, used_up(Retry::At(at(100))));
    rig.advance_to(at(20));
    let expected = |health, until| Status {
        health,
        since: Some(at(10)),
        until,
        cause: Some(FaultKind::Exhausted),
    };
    assert_eq!(rig.status(0), expected(Health::Out, Some(at(100))));
    rig.advance_to(at(100));
    assert_eq!(rig.status(0), expected(Health::HalfOpen, None));
    let probe = rig.select(0).unwrap();
    assert_eq!(rig.status(0), expected(Health::Probing, Some(at(160))));
    probe.finish(Outcome::Success);
    assert_eq!(rig.status(0), expected(Health::Ramping, None));
    // Out again before it was well: since the beginning.
    rig.calls(1, used_up(Retry::At(at(200))));
    assert_eq!(rig.status(0), expected(Health::Out, Some(at(200))));
}

#[test]
fn only_free_models_of_the_account_are_closed_and_only_until_the_reset() {
    let (gate, clock) = (
        Arc::new(Cooldown::of_free_models(exact())),
        ManualClock::new(),
    );
    let pool = Pool::builder()
        .keys([
            Key::new("a1", "1").account("a"),
            Key::new("a2", "2").account("a"),
        ])
        .key(Key::new("b", "3"))
        .shared_gate(Arc::clone(&gate) as _)
        .clock(clock.clone())
        .build()
        .unwrap();
    for end in [60, 5] {
        pool.with_keys(|keys| {
            let key = keys.find("a1").unwrap();
            let retry = Retry::At(at(end));
            let now = pool.now();
            gate.fault(key, FaultKind::Exhausted, retry, now, now);
        });
    }
    let admitted = |model: &str| {
        let explanation = pool.explain(&Ask::new().with_model(model));
        let admitted = explanation.keys.iter().filter(|key| key.is_admitted());
        admitted.count()
    };
    assert_eq!(admitted("m/a:free"), 1);
    assert_eq!((admitted("m/a"), admitted("openrouter/free")), (3, 1));
    for _ in 0..3 {
        let lease = pool.select(&Ask::new().with_model("m/a:free")).unwrap();
        assert_eq!(lease.key().id().as_str(), "b");
    }
    // Paid calls and reports of any scope neither open nor close it.
    for scope in Scope::ALL {
        let lease = pool.select(&Ask::new().with_model("m/a")).unwrap();
        lease.finish(Outcome::fault(scope, FaultKind::Exhausted));
    }
    assert_eq!(admitted("m/a:free"), 1);
    clock.advance(secs(60));
    assert_eq!(admitted("m/a:free"), 3);
    let free = Ask::new().with_model("m/a:free").with_affinity(0);
    for _ in 0..100 {
        pool.select(&free).unwrap().finish(Outcome::Success);
    }
    assert!(
        fairkey_core::Gate::closed(&*gate).unwrap().is_empty(),
        "no later call has to look"
    );
}

#[test]
fn free_is_what_the_name_says() {
    for free in ["a/b:free", "openrouter/free", "a/b:free@preset/x"] {
        assert!(is_free_model(free), "{free}");
    }
    for paid in ["a/b", "a/free", "a/b:freedom", "@preset/x:free", ""] {
        assert!(!is_free_model(paid), "{paid}");
    }
}
