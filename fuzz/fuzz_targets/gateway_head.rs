//! Heads of requests: nothing administrative gets a key, and paths pass as they came.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_gateway::fuzzing::head(input));
