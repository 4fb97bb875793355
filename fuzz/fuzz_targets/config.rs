//! Configuration files: total, errors have a place, no secret is shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| fairkey_cli::config::fuzz(input));
