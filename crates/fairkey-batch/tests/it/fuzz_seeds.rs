//! The seeds of the fuzz targets, replayed where no fuzzer is.

use std::fs;
use std::path::Path;

use fairkey_batch::fuzzing::TARGETS;
use fairkey_core::Random;

#[test]
fn every_seed_passes_and_so_does_what_it_is_turned_into() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    // The published crate comes without the fuzz workspace.
    if !seeds.exists() {
        return;
    }
    let mut random = Random::new(7);
    for (name, target) in TARGETS {
        let seeds: Vec<_> = fs::read_dir(seeds.join(name)).unwrap().collect();
        assert!(seeds.len() >= 5, "{name}");
        for seed in seeds {
            let seed = fs::read(seed.unwrap().path()).unwrap();
            target(&seed);
            for _ in 0..200 {
                let mut bytes = seed.clone();
                for _ in 0..=random.below(4) {
                    let at = random.below(bytes.len() as u32) as usize;
                    match random.below(4) {
                        0 => bytes[at] = random.below(256) as u8,
                        1 => bytes[at] = b"\"\\{}[],:\n\r\t 0"[random.below(13) as usize],
                        2 => bytes.truncate(at + 1),
                        _ => bytes.extend_from_within(at..(at + 20).min(bytes.len())),
                    }
                }
                target(&bytes);
            }
        }
    }
}
