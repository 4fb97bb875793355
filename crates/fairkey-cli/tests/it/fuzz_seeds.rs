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

/// A short fuzz for machines without a fuzzer: bytes of the seeds changed, cut out and repeated.
#[test]
fn a_seed_with_its_bytes_changed_is_read_or_refused() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/config");
    let Ok(entries) = fs::read_dir(seeds) else {
        return;
    };
    let mut random = fairkey_core::Random::new(7);
    for entry in entries {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        for _ in 0..2_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u32) as usize;
                match random.below(4) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at] = b"\"'[]{}=.,#\n 0"[random.below(13) as usize],
                    2 => drop(bytes.drain(at..(at + 1 + at % 7).min(bytes.len()))),
                    _ => bytes
                        .extend_from_within(at..(at + 20).min(seed.len()).max(at).min(bytes.len())),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            fairkey_cli::config::fuzz(&bytes);
        }
    }
}
