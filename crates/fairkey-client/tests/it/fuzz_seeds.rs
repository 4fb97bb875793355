//! The seeds of the fuzz target `snapshot`, replayed where no fuzzer is.

use std::fs;
use std::path::Path;

use fairkey_client::fuzzing::snapshot;

fn seeds() -> Vec<Vec<u8>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/snapshot");
    // The published crate comes without the fuzz workspace.
    let Ok(entries) = fs::read_dir(seeds) else {
        return Vec::new();
    };
    let seeds: Vec<_> = entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(seeds.len() >= 3, "{} seeds", seeds.len());
    seeds
}

#[test]
fn every_seed_of_the_state_file_passes() {
    seeds().iter().for_each(|seed| snapshot(seed));
}

/// A short fuzz for machines without a fuzzer: bytes of the seeds changed and cut out.
#[test]
fn a_state_file_with_its_bytes_changed_is_read_with_suspicion() {
    let mut random = fairkey_core::Random::new(7);
    for seed in seeds() {
        for _ in 0..1_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u32) as usize;
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at] = b"\"[]{},:0e9-"[random.below(11) as usize],
                    _ => drop(bytes.drain(at..(at + 1 + at % 5).min(bytes.len()))),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            snapshot(&bytes);
        }
    }
}
