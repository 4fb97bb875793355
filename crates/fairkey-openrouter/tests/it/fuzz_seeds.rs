//! The seeds of the fuzz targets, replayed where no fuzzer is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fairkey_openrouter::fuzzing::{TARGETS, Target};

#[test]
fn every_seed_of_every_target_passes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    if !seeds.exists() {
        // The published crate comes without the fuzz workspace.
        assert!(
            !Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../fuzz/Cargo.toml")
                .exists()
        );
        return;
    }
    for Target(name, run) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(seeds.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")) {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                panic!("{name} fails on {}", path.display());
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn every_target_has_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let files: BTreeSet<String> = entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for Target(name, _) in TARGETS {
        assert!(
            files.contains(*name),
            "fuzz/fuzz_targets/{name}.rs is missing"
        );
    }
}
