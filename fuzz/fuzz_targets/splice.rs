//! Splicing a body: the edit on its parsed members, and no other byte changed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_openrouter::fuzzing::splice(input));
