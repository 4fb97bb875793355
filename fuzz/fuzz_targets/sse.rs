//! Server-sent events: the whole input against its halves, cut at every byte, and its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::sse(input));
