//! The laws of gates, and that whatever the limit is, it is found.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    At, Candidate, Cost, Denied, Gate, KeySet, Report, Scopes, Ticket, Timestamp, Turn,
};
use fairkey_strategy::{
    Ceilings, CeilingsConfig, Excess, LimitGroup, Limits, LimitsConfig, Refusal,
};
use fairkey_testkit::assert_holds;
use fairkey_testkit::law::gate as law;
use proptest::prelude::*;

use super::sim::{Hidden, Kind, Policy, Scene, play};

/// A gate whose first account has refused before anybody asks.
#[derive(Debug)]
struct Taught(Ceilings);

impl Gate for Taught {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        self.0.check(at)
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        self.0.narrow(turn);
    }

    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        self.0.enter(at)
    }

    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        self.0.leave(key, ticket, report);
    }

    fn hears(&self) -> Scopes {
        self.0.hears()
    }

    fn rekey(&self, keys: &KeySet) {
        self.0.rekey(keys);
        let Some(first) = keys.iter().next() else {
            return;
        };
        if keys.fresh_accounts().contains(&first.account()) {
            let refusal = Refusal {
                group: LimitGroup::Account,
                excess: Excess::Unsaid,
                told: Some(3),
                wait: Some(Duration::from_secs(7)),
                begun: Timestamp::ZERO,
                cost: Cost::ONE,
            };
            self.0.refused(first, &refusal, Timestamp::from_nanos(1));
        }
    }
}

fn ceilings() -> Ceilings {
    let limits = Arc::new(Limits::new(LimitsConfig::default()));
    Ceilings::new(CeilingsConfig::default(), limits)
}

#[test]
fn ceilings_obey_the_laws_of_gates() {
    assert_holds(law::check(|| Arc::new(ceilings())));
}

#[test]
fn ceilings_that_hold_back_obey_the_laws_that_hold_for_them() {
    let make = || Arc::new(Taught(ceilings())) as Arc<dyn Gate>;
    assert_holds(law::check_has_no_effect(make));
    assert_holds(law::narrow_agrees_with_check(make));
    assert_holds(law::enter_agrees_with_check(make));
    assert_holds(law::until_is_honest(make));
    assert_holds(law::opens_again(make));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Rolling,
        Kind::Fixed,
        Kind::Bucket,
        Kind::Tokens,
        Kind::InFlight,
        Kind::CountsRefused,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the limit is and however it is counted: after four windows it is used, and rarely
    /// met.
    #[test]
    fn a_hidden_limit_is_found(
        kind in kinds(),
        limit in 20_u64..400,
        hints: bool,
        seed: u64,
        load in 1.2_f64..2.0,
    ) {
        let at_a_time = kind == Kind::InFlight;
        let scene = Scene {
            accounts: vec![Hidden {
                kind,
                limit: if at_a_time { 2 + limit / 10 } else { limit },
                hints: hints && !at_a_time,
            }],
            load,
            window: Duration::from_secs(60),
            windows: 8,
            latency: Duration::from_secs(1),
            seed,
        };
        let came = play(&scene, &Policy::Learned(CeilingsConfig::default()));
        let second = came.halves[1];
        prop_assert!(second.refusals() <= 8.0, "{second:?} of {scene:?}");
        prop_assert!(second.goodput() >= 80.0, "{second:?} of {scene:?}");
    }
}
