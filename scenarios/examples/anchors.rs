//! Prints published results next to what the real policy code does in simulation. Exits with 1
//! where a gate is broken.
//!
//! `cargo run --release -p fairkey-scenarios --example anchors`, with the names of some anchors to
//! see only those.

use std::process::ExitCode;

use fairkey_scenarios::anchors::{ANCHORS, HEAD, Length};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    println!("{HEAD}");
    let mut all_hold = true;
    for (name, rows) in ANCHORS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            for row in rows(Length::Full) {
                println!("{row}");
                all_hold &= row.holds();
            }
        }
    }
    if all_hold {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
