//! What an operator says holds at once and over reloads; what a pin overrules, and what not.

use std::sync::Arc;

use fairkey_core::{Ask, FaultKind, Gate, Key, Outcome, Retry, Scope};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, MaxInFlight, Pinnable, SlidingWindowBreaker, Switch,
};
use fairkey_testkit::assert_holds;
use fairkey_testkit::law::gate;

use crate::support::{Rig, failed, keys};

fn fleet() -> Vec<Key> {
    let mut keys = keys(3);
    keys[0] = keys[0].clone().account("acme");
    keys[1] = keys[1].clone().account("acme");
    keys
}

fn rig() -> Rig<Switch> {
    Rig::with(Switch::new(), fleet(), |builder| builder)
}

#[test]
fn a_disabled_key_gets_no_call_and_those_under_way_go_on() {
    let rig = rig();
    let under_way = rig.select(0).unwrap();
    assert!(rig.gate.disable_key("k0"));
    assert!(!rig.gate.disable_key("k0"), "it was already");
    assert_eq!(rig.admitted(), ["k1", "k2"]);
    let refused = rig.select(0).unwrap_err();
    assert_eq!((refused.by, refused.retry_at), (Some(Scope::Key), None));
    let explanation = rig.pool.explain(&Ask::new()).to_string();
    assert!(
        explanation.contains("disabled by an operator"),
        "{explanation}"
    );
    under_way.finish(Outcome::Success);
    assert!(rig.gate.enable_key("k0") && !rig.gate.enable_key("k0"));
    assert_eq!(rig.admitted().len(), 3);
    assert!(rig.gate.closed().unwrap().is_empty(), "no call has to look");
}

#[test]
fn a_disabled_account_takes_all_its_keys_and_later_ones() {
    let rig = rig();
    rig.gate.disable_account("acme");
    rig.gate.disable_key("k1");
    assert_eq!(rig.admitted(), ["k2"]);
    let by = |n: usize| rig.pool.explain(&Ask::new()).keys[n].denied[0].denied.by;
    assert_eq!((by(0), by(1)), (Scope::Account, Scope::Key));
    let mut more = fleet();
    more.push(Key::new("late", "x").account("acme"));
    rig.pool.reload(more).unwrap();
    assert_eq!(rig.admitted(), ["k2"]);
    rig.gate.enable_account("acme");
    assert_eq!(rig.admitted(), ["k0", "k2", "late"]);
    assert_eq!(rig.gate.disabled_keys(), ["k1".into()]);
    assert_eq!(rig.gate.disabled_accounts(), []);
}

#[test]
fn a_label_stays_disabled_while_its_key_is_gone_and_hands_nothing_on() {
    let rig = rig();
    rig.gate.disable_key("k2");
    rig.pool.reload(fleet().into_iter().take(2)).unwrap();
    rig.pool
        .reload(fleet().into_iter().take(2).chain([Key::new("other", "x")]))
        .unwrap();
    assert_eq!(rig.admitted(), ["k0", "k1", "other"], "in the same slot");
    rig.pool.reload(fleet()).unwrap();
    assert_eq!(rig.admitted(), ["k0", "k1"]);
    // Another secret under the label is the same label.
    let mut rotated = fleet();
    rotated[2] = Key::new("k2", "sk-rotated");
    rig.pool.reload(rotated).unwrap();
    assert_eq!(rig.admitted(), ["k0", "k1"]);
    // A label that is not there yet may be disabled, too.
    rig.gate.disable_key("k7");
    rig.pool.reload(keys(8)).unwrap();
    assert!(!rig.admitted().contains(&"k7".to_owned()));
}

#[test]
fn a_disabled_key_that_goes_is_picked_by_nobody_meanwhile() {
    /// Looks, when the pool is about to change, whether the old keys are closed still.
    #[derive(Debug)]
    struct Looks(Arc<Switch>, std::sync::Mutex<Vec<bool>>);
    impl Gate for Looks {
        fn check(&self, _: &fairkey_core::At<'_>) -> Result<(), fairkey_core::Denied> {
            Ok(())
        }
        fn rekey(&self, _: &fairkey_core::KeySet) {
            let bits = self.0.closed().unwrap();
            self.1.lock().unwrap().push(bits.contains(2));
        }
    }
    let switch = Arc::new(Switch::new());
    let looks = Arc::new(Looks(Arc::clone(&switch), Default::default()));
    let pool = fairkey_core::Pool::builder()
        .keys(fleet())
        .shared_gate(Arc::clone(&switch) as _)
        .shared_gate(Arc::clone(&looks) as _)
        .build()
        .unwrap();
    switch.disable_key("k2");
    pool.reload(fleet().into_iter().take(2)).unwrap();
    pool.reload(fleet().into_iter().take(2)).unwrap();
    assert_eq!(*looks.1.lock().unwrap(), [false, true, false]);
}

/// A pool with everything that may close a key, and a switch.
struct Everything {
    switch: Arc<Switch>,
    rig: Rig<Cooldown>,
}

fn everything() -> Everything {
    let switch = Arc::new(Switch::new());
    let touchy = BreakerConfig {
        consecutive: Some(1),
        ..BreakerConfig::default()
    };
    let account = Cooldown::per_account(CooldownConfig::default());
    let rig = Rig::with(
        Cooldown::per(fairkey_strategy::Group::Service, CooldownConfig::default()),
        fleet(),
        |builder| {
            let breaker = Arc::new(SlidingWindowBreaker::new(touchy));
            builder
                .shared_gate(Arc::clone(&switch) as _)
                .gate(Pinnable::new(breaker, &switch))
                .gate(Pinnable::new(Arc::new(account), &switch))
                .gate(MaxInFlight::per_key(2))
        },
    );
    Everything { switch, rig }
}

#[test]
fn a_pinned_key_passes_breakers_and_cooldowns() {
    let Everything { switch, rig } = everything();
    rig.call_of(0, failed());
    rig.call_of(1, Outcome::fault(Scope::Account, FaultKind::Exhausted));
    assert_eq!(rig.admitted(), ["k2"]);
    assert!(switch.pin_key("k0") && !switch.pin_key("k0"));
    assert_eq!(rig.admitted(), ["k0", "k2"]);
    assert_eq!(switch.pinned_keys(), ["k0".into()]);
    for outcome in [Outcome::Success, failed(), Outcome::Neutral] {
        assert!(rig.call_of(0, outcome), "{outcome:?}");
    }
    // Over reloads, and until the pin is taken back; what was known is known still.
    rig.pool.reload(fleet()).unwrap();
    assert_eq!(rig.admitted(), ["k0", "k2"]);
    assert!(switch.unpin_key("k0") && !switch.unpin_key("k0"));
    assert_eq!(rig.admitted(), ["k2"]);
}

#[test]
fn a_pin_overrules_nothing_else() {
    let Everything { switch, rig } = everything();
    switch.pin_key("k0");
    // A cap on calls at a time.
    let held = [rig.select(0).unwrap(), rig.select(0).unwrap()];
    assert_eq!(rig.select(0).unwrap_err().by, Some(Scope::Local));
    drop(held);
    // A disabled key, and a disabled account.
    switch.disable_key("k0");
    assert!(rig.select(0).is_err());
    switch.enable_key("k0");
    switch.disable_account("acme");
    assert!(rig.select(0).is_err());
    switch.enable_account("acme");
    // The service.
    rig.call_of(2, Outcome::fault(Scope::Service, FaultKind::Throttled));
    assert_eq!(rig.select(0).unwrap_err().by, Some(Scope::Service));
}

#[test]
fn a_pinned_key_hands_nothing_to_gates_it_has_overruled() {
    let Everything { switch, rig } = everything();
    rig.call_of(0, failed());
    switch.pin_key("k0");
    let mut passed_by_pin = rig.select(0).unwrap();
    passed_by_pin.note_first_content();
    switch.unpin_key("k0");
    passed_by_pin.finish(Outcome::Success);
    assert!(
        !rig.admitted().contains(&"k0".to_owned()),
        "no probe has succeeded"
    );
}

#[test]
fn what_a_call_meets_that_passed_by_its_pin_moves_no_end() {
    let switch = Arc::new(Switch::new());
    let cooldown = Arc::new(Cooldown::per_key(CooldownConfig::default()));
    let pinnable = Pinnable::new(Arc::clone(&cooldown), &switch);
    let rig = Rig::with(Switch::new(), keys(1), |builder| {
        builder.shared_gate(Arc::clone(&switch) as _).gate(pinnable)
    });
    let throttled = |seconds| {
        let retry = Retry::After(crate::support::secs(seconds));
        Outcome::fault(Scope::Key, FaultKind::Throttled).with_retry(retry)
    };
    switch.pin_key("k0");
    // It was open, so the call passed by itself.
    rig.calls(1, throttled(5));
    let until = rig.key(0, |key| cooldown.until(key));
    assert!(until.is_some());
    rig.calls(1, throttled(50));
    assert_eq!(rig.key(0, |key| cooldown.until(key)), until);
}

#[test]
fn switch_and_pinnable_obey_the_laws_of_gates() {
    assert_holds(gate::check(|| Arc::new(Switch::new())));
    let disabled = || -> Arc<dyn Gate> {
        let switch = Switch::new();
        switch.disable_key("k0");
        switch.disable_key("k99");
        Arc::new(switch)
    };
    assert_holds(gate::check_has_no_effect(disabled));
    assert_holds(gate::narrow_agrees_with_check(disabled));
    assert_holds(gate::enter_agrees_with_check(disabled));
    let pinnable = |pinned: &'static [&'static str]| {
        move || -> Arc<dyn Gate> {
            let switch = Arc::new(Switch::new());
            for id in pinned {
                switch.pin_key(*id);
            }
            let touchy = BreakerConfig {
                consecutive: Some(1),
                ramp: 4,
                ..BreakerConfig::default()
            };
            let gate = Arc::new(SlidingWindowBreaker::new(touchy).seed(3));
            Arc::new(Twin(Pinnable::new(gate, &switch), switch))
        }
    };
    assert_holds(gate::check_breaker(pinnable(&[])));
    assert_holds(gate::check(pinnable(&["k1"])));
}

/// A pinnable gate and its switch, which must know the keys.
#[derive(Debug)]
struct Twin<G>(Pinnable<G>, Arc<Switch>);

impl<G: Gate + 'static> Gate for Twin<G> {
    fn check(&self, at: &fairkey_core::At<'_>) -> Result<(), fairkey_core::Denied> {
        self.0.check(at)
    }
    fn narrow(&self, turn: &mut fairkey_core::Turn<'_>) {
        self.0.narrow(turn);
    }
    fn closed(&self) -> Option<Arc<fairkey_core::SlotBits>> {
        self.0.closed()
    }
    fn enter(
        &self,
        at: &fairkey_core::At<'_>,
    ) -> Result<fairkey_core::Ticket, fairkey_core::Denied> {
        self.0.enter(at)
    }
    fn leave(
        &self,
        key: fairkey_core::Candidate<'_>,
        ticket: fairkey_core::Ticket,
        report: &fairkey_core::Report,
    ) {
        self.0.leave(key, ticket, report);
    }
    fn hears(&self) -> fairkey_core::Scopes {
        self.0.hears()
    }
    fn rekey(&self, keys: &fairkey_core::KeySet) {
        self.1.rekey(keys);
        self.0.rekey(keys);
    }
}
