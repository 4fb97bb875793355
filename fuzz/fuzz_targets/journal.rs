//! The journal of a run: whatever is in it, no record is invented.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_batch::fuzzing::journal(input));
