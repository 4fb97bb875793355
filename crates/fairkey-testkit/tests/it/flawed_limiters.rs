//! The laws of limiters, on a sound one and on flawed ones.

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::Gate;
use fairkey_testkit::law::gate as law;
use fairkey_testkit::law::gate::Limited;
use fairkey_testkit::wrong::{Limiter, LimiterFlaw};
use fairkey_testkit::{assert_broken, assert_holds};

const WINDOW: Duration = Duration::from_secs(60);
const LIMITED: Limited = Limited {
    per_account: false,
    requests: Some((5, WINDOW)),
    tokens: Some((1_000, WINDOW)),
    in_flight: Some(3),
    in_flight_micro_usd: None,
    slack: Duration::ZERO,
};

fn limiter(flaw: Option<LimiterFlaw>) -> impl Fn() -> Arc<dyn Gate> {
    move || Arc::new(Limiter::new(5, 1_000, 3, WINDOW, flaw))
}

#[test]
fn a_sound_limiter_obeys_every_law() {
    assert_holds(law::check(limiter(None)));
    assert_holds(law::keeps_its_limits(limiter(None), LIMITED));
    assert_holds(law::admits_what_fits(limiter(None), LIMITED));
}

#[test]
fn a_limiter_that_lets_too_much_through_is_caught() {
    for flaw in [
        LimiterFlaw::FixedWindow,
        LimiterFlaw::ForgetsWhatEnded,
        LimiterFlaw::ForgivesDebt,
        LimiterFlaw::LetsGiantsThrough,
    ] {
        println!("{flaw:?}");
        let verdict = law::keeps_its_limits(limiter(Some(flaw)), LIMITED);
        assert_broken(verdict, "keeps_its_limits");
    }
}

#[test]
fn a_limiter_that_refuses_what_fits_is_caught() {
    for flaw in [
        LimiterFlaw::RefundsNothing,
        LimiterFlaw::LeaksOnNeutral,
        LimiterFlaw::ReservesInParts,
    ] {
        println!("{flaw:?}");
        let flawed = limiter(Some(flaw));
        assert_holds(law::keeps_its_limits(&flawed, LIMITED));
        let verdict = law::admits_what_fits(&flawed, LIMITED);
        assert_broken(verdict, "admits_what_fits");
    }
}
