//! Every law of gates, on a sound gate and on flawed ones.

use std::sync::Arc;

use fairkey_core::{Gate, Scope, Scopes};
use fairkey_testkit::law::gate as law;
use fairkey_testkit::wrong::{Cap, CapFlaw, Prober, ProberFlaw, Rest, RestFlaw};
use fairkey_testkit::{assert_broken, assert_holds};

fn cap(flaw: Option<CapFlaw>) -> impl Fn() -> Arc<dyn Gate> {
    move || Arc::new(Cap::new(2, flaw))
}

fn rest(flaw: Option<RestFlaw>) -> impl Fn() -> Arc<dyn Gate> {
    move || Arc::new(Rest::new(flaw))
}

fn prober(flaw: Option<ProberFlaw>) -> impl Fn() -> Arc<dyn Gate> {
    move || Arc::new(Prober::new(flaw))
}

#[test]
fn a_sound_cap_obeys_every_law() {
    assert_holds(law::check(cap(None)));
    assert_holds(law::only_own_scope_is_heard(cap(None), Scopes::NONE));
    assert_holds(law::never_more_than(cap(None), 2));
}

#[test]
fn a_sound_cooldown_obeys_every_law() {
    assert_holds(law::check(rest(None)));
    assert_holds(law::only_own_scope_is_heard(
        rest(None),
        Scopes::of(Scope::Key),
    ));
    assert_holds(law::never_shrinks_without_evidence(rest(None)));
    assert_holds(law::closes_its_key_and_no_other(rest(None)));
}

#[test]
fn a_sound_breaker_obeys_every_law() {
    assert_holds(law::check_breaker(prober(None)));
    assert_holds(law::only_own_scope_is_heard(
        prober(None),
        Scopes::of(Scope::Key),
    ));
    assert_holds(law::closes_its_key_and_no_other(prober(None)));
}

#[test]
fn a_permit_that_an_abandoned_call_keeps_is_missed() {
    let flawed = cap(Some(CapFlaw::LeaksOnNeutral));
    let law = "enter_and_leave_balance";
    assert_broken(law::enter_and_leave_balance(&flawed), law);
    let law = "enter_and_leave_balance_across_threads";
    assert_broken(law::enter_and_leave_balance_across_threads(&flawed), law);
    let law = "picks_twice_loses_no_permit";
    assert_broken(law::picks_twice_loses_no_permit(&flawed), law);
}

#[test]
fn a_check_that_reserves_is_caught() {
    let flawed = cap(Some(CapFlaw::ChecksReserve));
    assert_broken(law::check_has_no_effect(&flawed), "check_has_no_effect");
}

#[test]
fn a_gate_that_lets_check_decide_is_caught() {
    let flawed = cap(Some(CapFlaw::EntersUnchecked));
    let law = "enter_agrees_with_check";
    assert_broken(law::enter_agrees_with_check(&flawed), law);
}

#[test]
fn looking_first_and_taking_later_lets_two_threads_through() {
    let flawed = cap(Some(CapFlaw::LooksThenTakes));
    assert_broken(law::never_more_than(&flawed, 2), "never_more_than");
}

#[test]
fn a_cap_per_key_is_no_cap_per_account() {
    let law = "never_more_than_per_account";
    assert_broken(law::never_more_than_per_account(cap(None), 2), law);
}

#[test]
fn a_short_rest_that_cuts_off_a_long_one_is_caught() {
    let flawed = rest(Some(RestFlaw::Shrinks));
    let law = "never_shrinks_without_evidence";
    assert_broken(law::never_shrinks_without_evidence(&flawed), law);
}

#[test]
fn a_time_that_is_too_late_or_too_early_is_caught() {
    for flaw in [RestFlaw::OpensEarly, RestFlaw::OpensLate] {
        assert_broken(law::until_is_honest(rest(Some(flaw))), "until_is_honest");
    }
}

#[test]
fn a_narrow_that_says_something_else_than_check_is_caught() {
    for flaw in [
        RestFlaw::NarrowsNothing,
        RestFlaw::NarrowsTooMuch,
        RestFlaw::SaysNothingIsClosed,
    ] {
        let law = "narrow_agrees_with_check";
        assert_broken(law::narrow_agrees_with_check(rest(Some(flaw))), law);
    }
}

#[test]
fn blaming_a_key_for_everything_is_caught() {
    let flawed = rest(Some(RestFlaw::HearsEverything));
    let law = "only_own_scope_is_heard";
    assert_broken(
        law::only_own_scope_is_heard(&flawed, Scopes::of(Scope::Key)),
        law,
    );
}

#[test]
fn closing_too_many_or_too_few_keys_is_caught() {
    let flawed = rest(Some(RestFlaw::ClosesAll));
    let law = "closes_its_key_and_no_other";
    assert_broken(law::closes_its_key_and_no_other(&flawed), law);
    let law = "closes_its_account_and_no_other";
    assert_broken(law::closes_its_account_and_no_other(&flawed), law);
    assert_broken(law::closes_its_account_and_no_other(rest(None)), law);
}

#[test]
fn forgetting_at_a_reload_is_caught() {
    let flawed = rest(Some(RestFlaw::ForgetsOnReload));
    assert_broken(law::survives_reload(&flawed), "survives_reload");
}

#[test]
fn a_new_key_that_inherits_a_cooldown_is_caught() {
    let flawed = rest(Some(RestFlaw::Inherits));
    let law = "a_new_key_inherits_nothing";
    assert_broken(law::a_new_key_inherits_nothing(&flawed), law);
}

#[test]
fn a_herd_of_probes_is_caught() {
    let flawed = prober(Some(ProberFlaw::ProbesWithMany));
    assert_broken(law::at_most_one_probe(&flawed), "at_most_one_probe");
}

#[test]
fn a_probe_that_is_waited_for_in_vain_is_caught() {
    let flawed = prober(Some(ProberFlaw::LosesTheProbe));
    assert_broken(law::opens_again(&flawed), "opens_again");
    assert_broken(law::at_most_one_probe(&flawed), "at_most_one_probe");
}

#[test]
fn a_straggler_that_closes_or_trips_a_breaker_is_caught() {
    for flaw in [ProberFlaw::StragglersClose, ProberFlaw::StragglersTrip] {
        let law = "stragglers_change_nothing";
        assert_broken(law::stragglers_change_nothing(prober(Some(flaw))), law);
    }
    let flawed = prober(Some(ProberFlaw::StragglersClose));
    let law = "never_shrinks_without_evidence";
    assert_broken(law::never_shrinks_without_evidence(&flawed), law);
    assert_broken(law::check_breaker(&flawed), law);
}
