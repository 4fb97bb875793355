//! Hidden limits of many kinds, under 1.5 times the load they let through, against several
//! policies: what is answered, of what could be, and how often the other side refuses.
//!
//! `cargo run --example ceilings -p fairkey-strategy` prints the table.

#[path = "../tests/it/ceilings/sim.rs"]
#[allow(unreachable_pub, dead_code)]
mod sim;

use std::time::Duration;

use fairkey_strategy::CeilingsConfig;
use sim::{Came, Half, Hidden, Kind, Policy, Rule, Scene, name, play};

const SEEDS: u64 = 4;

fn main() {
    let learned = Policy::Learned(CeilingsConfig::default());
    let policies = [
        Policy::Known,
        learned,
        Policy::Rate(Rule::Cubic),
        Policy::Rate(Rule::Aimd),
        Policy::Cooldown,
    ];
    println!(
        "Four accounts with three keys each, hidden limits of 60 to 600 a minute (or 4 to 32 \
         calls at a time),\noffered 1.5 times that for ten minutes; {SEEDS} seeds. Goodput in % of \
         the limits, refusals for each 100 answered.\n"
    );
    println!(
        "{:<28} {:<18} {:>8} {:>9}   {:>8} {:>9}",
        "limit", "policy", "goodput", "refusals", "2nd half", "refusals"
    );
    for (kind, what) in [
        (Kind::Rolling, "requests, any window"),
        (Kind::Fixed, "requests, fixed windows"),
        (Kind::Bucket, "requests, a bucket"),
        (Kind::CountsRefused, "refused calls count"),
        (Kind::Tokens, "tokens, any window"),
        (Kind::InFlight, "calls at a time"),
    ] {
        for hints in [false, true] {
            if hints && kind == Kind::InFlight {
                continue;
            }
            let what = if hints {
                format!("{what}, hints")
            } else {
                what.to_owned()
            };
            for policy in &policies {
                let came = sum(kind, hints, policy);
                let (all, second) = (came.all(), came.halves[1]);
                println!(
                    "{what:<28} {:<18} {:>8.1} {:>9.1}   {:>8.1} {:>9.1}",
                    name(policy),
                    all.goodput(),
                    all.refusals(),
                    second.goodput(),
                    second.refusals(),
                );
            }
        }
    }
}

/// Plays a scene with each seed, and adds up.
fn sum(kind: Kind, hints: bool, policy: &Policy) -> Came {
    let limits = match kind {
        Kind::InFlight => [4, 8, 16, 32],
        _ => [60, 120, 300, 600],
    };
    let mut sum = Came::default();
    for seed in 0..SEEDS {
        let scene = Scene {
            accounts: limits.map(|limit| Hidden { kind, limit, hints }).to_vec(),
            load: 1.5,
            window: Duration::from_secs(60),
            windows: 10,
            latency: Duration::from_secs(1),
            seed,
        };
        let came = play(&scene, policy);
        for (sum, half) in sum.halves.iter_mut().zip(came.halves) {
            *sum = Half {
                answered: sum.answered + half.answered,
                refused: sum.refused + half.refused,
                ideal: sum.ideal + half.ideal,
            };
        }
    }
    sum
}
