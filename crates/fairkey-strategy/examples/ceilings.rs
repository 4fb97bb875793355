//! Hidden limits of many kinds, under 1.5 times the load they let through, against several
//! policies: what is answered, of what could be, and how often the other side refuses.
//!
//! `cargo run --example ceilings -p fairkey-strategy` prints the table.

#[path = "../tests/it/ceilings/sim.rs"]
#[allow(unreachable_pub, dead_code)]
mod sim;

use std::time::Duration;

use fairkey_core::Random;
use fairkey_strategy::CeilingsConfig;
use sim::{Came, Half, Hidden, Kind, Policy, Rule, Scene, name, play};

const SEEDS: u64 = 4;
const ALONE: u64 = 64;
const KINDS: [(Kind, &str); 6] = [
    (Kind::Rolling, "requests, any window"),
    (Kind::Fixed, "requests, fixed windows"),
    (Kind::Bucket, "requests, a bucket"),
    (Kind::CountsRefused, "refused calls count"),
    (Kind::Tokens, "tokens, any window"),
    (Kind::InFlight, "calls at a time"),
];

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
    for (kind, what) in KINDS {
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
    alone();
    windows();
}

/// Single accounts by chance: what comes of all, and of the one with which chance was hardest.
fn alone() {
    println!(
        "\nOne account of each kind by chance, {ALONE} times, for eight minutes; of the second half.\n"
    );
    println!(
        "{:<28} {:>8} {:>9}   {:>8} {:>8} {:>8}",
        "limit", "goodput", "refusals", "worst", "limit", "load"
    );
    for (kind, what) in KINDS {
        let (mut chance, mut all, mut worst) = (Random::new(99), Half::default(), None);
        for number in 0..ALONE {
            let scene = Scene::by_chance(kind, number, &mut chance);
            let half = play(&scene, &Policy::Learned(CeilingsConfig::default())).halves[1];
            all = add(all, half);
            let least = worst.as_ref().map_or(f64::INFINITY, |(least, _)| *least);
            if half.goodput() < least {
                worst = Some((half.goodput(), scene));
            }
        }
        let (least, scene) = worst.expect("at least one was played");
        println!(
            "{what:<28} {:>8.1} {:>9.1}   {least:>8.1} {:>8} {:>8.2}",
            all.goodput(),
            all.refusals(),
            scene.accounts[0].limit,
            scene.load,
        );
    }
}

/// What is lost where the window is not the one that is taken for granted.
fn windows() {
    println!("\nRequests in any window of a minute, where it is taken for another one.\n");
    println!(
        "{:<28} {:>8} {:>9}   {:>8} {:>9}",
        "taken for", "goodput", "refusals", "2nd half", "refusals"
    );
    for hints in [false, true] {
        for secs in [15, 30, 60, 120, 240] {
            let window = Duration::from_secs(secs);
            let config = CeilingsConfig {
                window,
                ..CeilingsConfig::default()
            };
            let came = sum(Kind::Rolling, hints, &Policy::Learned(config));
            let (all, second) = (came.all(), came.halves[1]);
            let what = format!("{secs} s{}", if hints { ", hints" } else { "" });
            println!(
                "{what:<28} {:>8.1} {:>9.1}   {:>8.1} {:>9.1}",
                all.goodput(),
                all.refusals(),
                second.goodput(),
                second.refusals(),
            );
        }
    }
}

fn add(sum: Half, half: Half) -> Half {
    Half {
        answered: sum.answered + half.answered,
        refused: sum.refused + half.refused,
        ideal: sum.ideal + half.ideal,
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
            *sum = add(*sum, half);
        }
    }
    sum
}
