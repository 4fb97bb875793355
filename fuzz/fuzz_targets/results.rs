//! Lines of results in every shape: one line of text, the same fields always.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_batch::fuzzing::results(input));
