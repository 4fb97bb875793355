//! What a broken law says.

use std::sync::Arc;

use fairkey_testkit::law;
use fairkey_testkit::wrong::{Rest, RestFlaw, Rotation, RotationFlaw};

#[test]
fn a_broken_law_shows_the_smallest_input_and_how_to_see_it_again() {
    let flawed = || Box::new(Rotation::new(Some(RotationFlaw::Declines))) as _;
    let broken = law::strategy::some_key_whenever_one_is_offered(flawed).unwrap_err();
    assert_eq!(broken.law(), "some_key_whenever_one_is_offered");
    assert!(
        broken.reason().contains("nothing was picked of"),
        "{broken}"
    );
    // It declines at every fifth question: shrunk to so many calls, and hardly a key.
    let input = broken.input().unwrap();
    assert!(input.matches("KeySpec {").count() <= 2, "{input}");
    assert!(input.matches("Round {").count() <= 5, "{input}");
    let shown = format!("{broken:?}");
    assert!(shown.contains("FAIRKEY_LAW_SEED=0"), "{shown}");
    assert_eq!(shown, broken.to_string());
}

#[test]
fn the_same_seed_finds_the_same() {
    let run = || {
        let flawed = || Arc::new(Rest::new(Some(RestFlaw::Shrinks))) as _;
        let broken = law::gate::never_shrinks_without_evidence(flawed).unwrap_err();
        broken.to_string()
    };
    assert_eq!(run(), run());
}

#[test]
#[should_panic(expected = "holds for something that is wrong on purpose")]
fn a_law_that_should_be_broken_and_holds_is_a_failure() {
    let sound = || Box::new(Rotation::new(None)) as _;
    fairkey_testkit::assert_broken(law::strategy::even_share(sound), "even_share");
}

#[test]
#[should_panic(expected = "law `even_share` is broken")]
fn a_law_that_should_hold_and_is_broken_is_a_failure() {
    let flawed = || Box::new(Rotation::new(Some(RotationFlaw::FavorsTheFirst))) as _;
    fairkey_testkit::assert_holds(law::strategy::even_share(flawed));
}
