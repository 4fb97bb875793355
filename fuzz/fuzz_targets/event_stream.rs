//! Streams that are not chat: the same items however the bytes are cut, and one end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::event_stream(input));
