//! State files: total, bounded, and believed again once believed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_client::fuzzing::snapshot(input));
