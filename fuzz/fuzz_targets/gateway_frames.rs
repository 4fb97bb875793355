//! Streams of events: the same bytes however they are cut, and whole events never wait.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_gateway::fuzzing::frames(input));
