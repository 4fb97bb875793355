//! Every law of strategies, on a sound strategy and on flawed ones.

use fairkey_core::Strategy;
use fairkey_testkit::law::strategy as law;
use fairkey_testkit::wrong::{
    Least, LeastFlaw, Rotation, RotationFlaw, Sessions, SessionsFlaw, Wrapper, WrapperFlaw,
};
use fairkey_testkit::{Twice, assert_broken, assert_holds};

fn rotation(flaw: Option<RotationFlaw>) -> impl Fn() -> Box<dyn Strategy> {
    move || Box::new(Rotation::new(flaw))
}

fn least(flaw: Option<LeastFlaw>) -> impl Fn() -> Box<dyn Strategy> {
    move || Box::new(Least(flaw))
}

fn sessions(flaw: Option<SessionsFlaw>) -> impl Fn() -> Box<dyn Strategy> {
    move || Box::new(Sessions(flaw))
}

fn wrapper(flaw: Option<WrapperFlaw>) -> impl Fn(Box<dyn Strategy>) -> Box<dyn Strategy> {
    move |inner| Box::new(Wrapper::new(inner, flaw))
}

#[test]
fn sound_strategies_obey_every_law() {
    assert_holds(law::check(rotation(None)));
    assert_holds(law::even_share(rotation(None)));
    assert_holds(law::one_key_down_leaves_the_others_even(
        rotation(None),
        0.0,
    ));
    assert_holds(law::ties_are_broken_evenly(rotation(None)));

    assert_holds(law::check(least(None)));
    assert_holds(law::one_key_down_leaves_the_others_even(least(None), 0.2));
    assert_holds(law::ties_are_broken_evenly(least(None)));
    assert_holds(law::share_follows_weight(least(None), 0.2));

    assert_holds(law::check(sessions(None)));
    assert_holds(law::sessions_keep_their_key(sessions(None)));

    assert_holds(law::wrapper_forwards(wrapper(None)));
    assert_holds(law::wrapper_loses_no_permit(wrapper(None)));
    assert_holds(law::wrapper_forwards(|inner| Box::new(Twice(inner))));
    assert_holds(law::wrapper_loses_no_permit(|inner| Box::new(Twice(inner))));
}

#[test]
fn walking_on_from_a_key_that_is_out_feeds_its_neighbor() {
    let flawed = rotation(Some(RotationFlaw::FeedsTheNeighbor));
    assert_holds(law::check(&flawed));
    let law = "one_key_down_leaves_the_others_even";
    assert_broken(law::one_key_down_leaves_the_others_even(&flawed, 0.2), law);
    assert_broken(law::even_share(&flawed), "even_share");
}

#[test]
fn two_turns_for_one_key_are_uneven() {
    let flawed = rotation(Some(RotationFlaw::FavorsTheFirst));
    assert_broken(law::even_share(&flawed), "even_share");
    assert_broken(
        law::ties_are_broken_evenly(&flawed),
        "ties_are_broken_evenly",
    );
}

#[test]
fn the_first_of_all_that_tie_gets_everything() {
    let flawed = least(Some(LeastFlaw::TakesTheFirst));
    assert_holds(law::check(&flawed));
    assert_broken(
        law::ties_are_broken_evenly(&flawed),
        "ties_are_broken_evenly",
    );
}

#[test]
fn a_key_that_is_not_offered_is_caught() {
    let flawed = rotation(Some(RotationFlaw::PicksUnoffered));
    assert_broken(law::only_offered_keys(&flawed), "only_offered_keys");
    assert_broken(law::check(&flawed), "only_offered_keys");
    let flawed = sessions(Some(SessionsFlaw::HoldsOn));
    assert_broken(law::only_offered_keys(&flawed), "only_offered_keys");
}

#[test]
fn declining_is_caught_unless_it_is_on_purpose() {
    let flawed = rotation(Some(RotationFlaw::Declines));
    let law = "some_key_whenever_one_is_offered";
    assert_broken(law::some_key_whenever_one_is_offered(&flawed), law);
    assert_broken(law::check(&flawed), law);
    assert_holds(law::check_decliner(&flawed));
}

#[test]
fn giving_up_after_a_refusal_is_caught() {
    let flawed = rotation(Some(RotationFlaw::WantsTwo));
    let law = "asks_again_after_a_refusal";
    assert_broken(law::asks_again_after_a_refusal(&flawed), law);
}

#[test]
fn a_panic_at_a_key_that_came_later_is_caught() {
    let flawed = rotation(Some(RotationFlaw::NoRoomForMore));
    assert_broken(law::counts_return_to_zero(&flawed), "counts_return_to_zero");
}

#[test]
fn starting_over_at_a_reload_is_caught() {
    let flawed = rotation(Some(RotationFlaw::RestartsOnReload));
    assert_broken(law::survives_reload(&flawed), "survives_reload");
    assert_broken(law::check(&flawed), "survives_reload");
}

#[test]
fn ignored_weights_are_caught() {
    let flawed = least(Some(LeastFlaw::IgnoresWeight));
    assert_broken(
        law::share_follows_weight(&flawed, 0.2),
        "share_follows_weight",
    );
}

#[test]
fn sessions_that_move_without_need_are_caught() {
    let flawed = sessions(Some(SessionsFlaw::CountsModulo));
    assert_broken(
        law::sessions_keep_their_key(&flawed),
        "sessions_keep_their_key",
    );
}

#[test]
fn a_wrapper_that_forgets_one_method_is_caught_for_each_method() {
    for flaw in [
        WrapperFlaw::ForgetsAttach,
        WrapperFlaw::ForgetsRekey,
        WrapperFlaw::ForgetsSettle,
        WrapperFlaw::ForgetsScore,
    ] {
        assert_broken(
            law::wrapper_forwards(wrapper(Some(flaw))),
            "wrapper_forwards",
        );
    }
    let flawed = wrapper(Some(WrapperFlaw::ForgetsAttach));
    assert_broken(
        law::wrapper_loses_no_permit(flawed),
        "wrapper_loses_no_permit",
    );
}
