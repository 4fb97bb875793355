//! Batches: what comes back of one is read whatever it is, and what goes out reads as it should.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::batch(input));
