//! Whole answers: reading status, headers and body is total, and everything kept is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::answer(input));
