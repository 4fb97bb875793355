//! The seeds of the fuzz target `config`, replayed where no fuzzer is.

use std::fs;
use std::path::Path;

#[test]
fn every_seed_of_the_configuration_passes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/config");
    // The published crate comes without the fuzz workspace.
    let Ok(entries) = fs::read_dir(seeds) else {
        return;
    };
    let mut count = 0;
    for entry in entries {
        fairkey_cli::config::fuzz(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{count} seeds");
}
