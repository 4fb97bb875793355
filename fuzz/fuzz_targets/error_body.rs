//! Error bodies: reading faults is total, each has one scope, and none shows a key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::error_body(input));
