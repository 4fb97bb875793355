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

/// What the parsers look for: put where they do not expect it.
const PIECES: [&[u8]; 16] = [
    b"\n",
    b"\r\n\r\n",
    b"\"",
    b"{",
    b"}",
    b"[]",
    b"null",
    b"\\u0000",
    b"\xff",
    b"data: ",
    b"event: error\n",
    b"[DONE]",
    b"\"error\":",
    b"1e309",
    b"sk-or-v1-0123456789abcdef",
    b"retry after 99999999999999999999 days",
];

#[test]
fn seeds_changed_at_random_pass_as_well() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    if !seeds.exists() {
        return;
    }
    let mut random = fairkey_core::Random::new(11);
    for Target(name, run) in TARGETS {
        for entry in fs::read_dir(seeds.join(name)).unwrap() {
            let seed = fs::read(entry.unwrap().path()).unwrap();
            // A change of a long input costs more, and shows no more.
            let rounds = if seed.len() > 2000 { 2 } else { 12 };
            for _ in 0..rounds {
                let input = changed(seed.clone(), &mut random);
                if std::panic::catch_unwind(|| run(&input)).is_err() {
                    panic!("{name} fails on {:?}", String::from_utf8_lossy(&input));
                }
            }
        }
    }
}

/// Changes up to four places: another byte, one less, a piece more, or the end cut off.
fn changed(mut input: Vec<u8>, random: &mut fairkey_core::Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() as u32 + 1) as usize;
        match random.below(4) {
            0 if at < input.len() => input[at] = random.below(256) as u8,
            1 if at < input.len() => drop(input.remove(at)),
            2 => input.truncate(at.max(input.len() / 2)),
            _ => {
                let piece = PIECES[random.below(PIECES.len() as u32) as usize];
                drop(input.splice(at..at, piece.iter().copied()));
            }
        }
    }
    input
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
