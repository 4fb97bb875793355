//! `fairkey ask`.

use fairkey_mock::{Fault, MockOpenRouter, On, Step};
use serde_json::Value;

use crate::program::{Mock, Stage};

fn stage() -> Stage {
    Stage::new().env("OPENROUTER_API_KEY", "sk-or-v1-any-00000000")
}

#[test]
fn an_answer_is_printed_with_who_served_it_and_what_it_cost() {
    let said = Stage::new().run(["ask", "Why is the sky blue?", "--mock"]);
    said.ends_with(0)
        .says("served by key \"")
        .says("of account \"")
        .says("tokens, $0.0");
    assert!(
        said.stdout.starts_with("On \"Why is the sky blue?\""),
        "{said:?}"
    );
    assert!(said.stdout.ends_with(".\n"), "{said:?}");
}

#[test]
fn the_prompt_can_come_from_standard_input() {
    let said = Stage::new().run_with_input(["ask", "-", "--mock"], "From a pipe?\n");
    said.ends_with(0);
    assert!(said.stdout.contains("From a pipe?"), "{said:?}");
    Stage::new()
        .run_with_input(["ask", "-", "--mock"], " \n")
        .ends_with(2)
        .says("empty");
}

#[test]
fn an_answer_as_json_has_everything_in_it() {
    let args = [
        "ask",
        "x",
        "--mock",
        "--json",
        "--model",
        "acme/large",
        "--max-tokens",
        "4",
    ];
    let said = Stage::new().run(args);
    said.ends_with(0);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["model"], "acme/large");
    assert_eq!(answer["complete"], true);
    assert_eq!(answer["finish_reason"], "length");
    assert!(answer["tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_failure_is_an_error_and_no_answer() {
    let refused = Fault::bad_request("temperature is out of range");
    let mock = Mock::start(MockOpenRouter::open().script(On::any(), [Step::reply(refused)]));
    let said = stage().run(["ask", "x", "--base-url", &mock.url()]);
    said.ends_with(1).says("temperature is out of range");
    assert_eq!(said.stdout, "");
}

#[test]
fn keys_that_are_out_are_named_with_the_reason() {
    let other = fairkey_mock::Key::new("sk-or-v1-another-0123456789");
    let mock = Mock::start(MockOpenRouter::builder().key(other));
    let stage = Stage::new()
        .env("OPENROUTER_KEY_1", "sk-or-v1-dead-0123456789")
        .env("OPENROUTER_KEY_2", "sk-or-v1-gone-0123456789");
    let said = stage.run(["ask", "x", "--base-url", &mock.url()]);
    said.ends_with(1)
        .says("error: not answered: no key can be used any more\n")
        .says("key \"key-1\" is out for good: ")
        .says("key \"key-2\" is out for good: ")
        .says("key_invalid (401)")
        .says("`fairkey keys`")
        .does_not_say("no key was free within");
}

#[test]
fn an_answer_that_breaks_off_says_so_after_what_came() {
    let mock = Mock::start(MockOpenRouter::open().script(On::any(), [Step::reset_after_chunks(3)]));
    let said = stage().run(["ask", "x", "--base-url", &mock.url()]);
    said.ends_with(1).says("the answer broke off");
    assert!(said.stdout.starts_with("On \"x\""), "{said:?}");
    assert_eq!(
        mock.server.counters().total.requests,
        1,
        "nothing is told twice"
    );
}
