//! Inputs of every format: the same rows however they arrive, and every body an object.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_batch::fuzzing::rows(input));
