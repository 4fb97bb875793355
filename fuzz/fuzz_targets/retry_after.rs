//! Hints on when to retry: bounded, in whatever form they come.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::retry_after(input));
