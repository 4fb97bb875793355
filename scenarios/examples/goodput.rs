//! Prints how much of what accounts allow is had, by fairkey and by what it is compared with, next
//! to what could be had and to the floors that must be kept. Ends with 1 where one is not.
//!
//! `cargo run --release -p fairkey-scenarios --example goodput [part of a name] [windows] [part of who] [seeds]`
//!
//! `floors` in place of a part of a name: only what has floors. Seeds are numbers with commas
//! between them.

use std::process::ExitCode;

use fairkey_scenarios::goodput::{Played, Row, Scene, Sizes, System, always_503, rows, shares};

/// For so many windows calls come.
const WINDOWS: u32 = 10;
/// What all chance follows from: each table is of one of them.
const SEEDS: &str = "7,11";
/// What an upstream that always fails may get for each call.
const MOST_FOR_503: f64 = 1.2;
/// By how much shares may be off.
const UNFAIR: f64 = 0.05;

/// What is asked for.
struct Wanted {
    name: String,
    only_floors: bool,
    windows: u32,
    who: String,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let only_floors = name == "floors";
    let wanted = Wanted {
        name: if only_floors { String::new() } else { name },
        only_floors,
        windows: arguments.next().map_or(Ok(WINDOWS), |it| it.parse())?,
        who: arguments.next().unwrap_or_default(),
    };
    let seeds = arguments.next().unwrap_or_else(|| SEEDS.to_owned());
    let mut missed = 0;
    for seed in seeds.split(',') {
        let seed = seed.trim().parse()?;
        println!("Seed {seed}:\n");
        missed += table(&wanted, seed)?;
    }
    println!("{missed} floors missed");
    Ok(ExitCode::from(u8::from(missed > 0)))
}

/// Prints what comes of all scenes with one seed; returns how many floors are missed.
fn table(wanted: &Wanted, seed: u64) -> std::io::Result<usize> {
    let mut missed = 0;
    println!(
        "| scenario | who | goodput, % of ideal | refused per 100 answers | failed, % (ideal) | wait, s: half, 99 % | floor | kept |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | --- | --- |");
    let mut told = Vec::new();
    for row in rows(wanted.windows, seed) {
        if !row.scene.name.contains(&wanted.name) {
            continue;
        }
        let calls = row.scene.arrivals().len();
        let sizes = runtime()?.block_on(Sizes::measure(&row.scene.traffic, calls));
        let systems = row.systems.iter().filter(|(of, floor)| {
            of.as_str().contains(&wanted.who) && (floor.is_some() || !wanted.only_floors)
        });
        for (system, floor) in systems {
            let played = runtime()?.block_on(row.play(*system, *floor, &sizes));
            missed += usize::from(!played.misses.is_empty());
            print(&row, &played);
            told.extend(failures(&row, &played));
        }
    }
    if "503".contains(&wanted.name) {
        missed += print_503(wanted, seed)?;
    }
    if "fairness".contains(&wanted.name) {
        missed += print_shares(wanted.windows, seed)?;
    }
    println!();
    for told in told {
        println!("- {told}");
    }
    println!();
    Ok(missed)
}

/// Says what those were told that failed, where that is judged.
fn failures(row: &Row, played: &Played) -> Option<String> {
    let measured = &played.measured;
    if played.floor.is_none() || measured.failures.is_empty() {
        return None;
    }
    let (asked, served) = played.came_again;
    let failures = &measured.failures;
    Some(format!(
        "{}, {}: {} failed, half of them after {:.2} s and 99 % after {:.2} s at most; {} were told no time; of {asked} that came again as told, {served} were served. One said: {}",
        row.scene.name,
        played.system.as_str(),
        failures.len(),
        measured.failed_after(50).as_secs_f64(),
        measured.failed_after(99).as_secs_f64(),
        measured.without_time(),
        failures[failures.len() / 2].says,
    ))
}

/// Prints what an upstream gets that always fails; returns how many floors are missed.
fn print_503(wanted: &Wanted, seed: u64) -> std::io::Result<usize> {
    let mut missed = 0;
    println!();
    println!(
        "| an upstream that always answers 503 | requests for each of 1,000 calls | floor | kept |"
    );
    println!("| --- | ---: | --- | --- |");
    for system in System::ALL {
        let is_ours = matches!(system, System::Known | System::Untold);
        if wanted.only_floors && !is_ours {
            continue;
        }
        let found = runtime()?.block_on(always_503(system, seed));
        let (floor, kept) = match is_ours {
            true if found <= MOST_FOR_503 => ("≤ 1.2", "yes"),
            true => {
                missed += 1;
                ("≤ 1.2", "**no**")
            }
            false => ("", ""),
        };
        println!("| {} | {found:.2} | {floor} | {kept} |", system.as_str());
    }
    Ok(missed)
}

/// Prints what tenants get of what they want; returns how many floors are missed.
fn print_shares(windows: u32, seed: u64) -> std::io::Result<usize> {
    let traffic = rows(windows, seed)[0].scene.traffic.clone();
    let calls = Scene::requests_in_a_window() as usize * windows as usize;
    let sizes = runtime()?.block_on(Sizes::measure(&traffic, calls));
    let shares = runtime()?.block_on(shares(windows, seed, &sizes));
    let list = |shares: &[f64]| {
        let shares: Vec<String> = shares.iter().map(|it| format!("{it:.3}")).collect();
        shares.join(", ")
    };
    let fair = shares.before.iter().all(|it| (it - 1.0).abs() <= UNFAIR);
    let late = shares.after.last().is_some_and(|it| *it <= 1.0 + UNFAIR);
    println!();
    println!(
        "| fairness: tenants of weight 1, 2 and 1 who all want more than there is | what each got, over what its weight gives it | floor | kept |"
    );
    println!("| --- | --- | --- | --- |");
    for (what, shares, floor, kept) in [
        ("the first two", &shares.before, "within 5 %", fair),
        (
            "all, since the third came",
            &shares.after,
            "the third ≤ 1.05",
            late,
        ),
    ] {
        let kept = if kept { "yes" } else { "**no**" };
        println!("| {what} | {} | {floor} | {kept} |", list(shares));
    }
    println!();
    for (window, got) in shares.windows.iter().enumerate() {
        println!("- window {}: {}", window + 2, list(got));
    }
    Ok(usize::from(!fair) + usize::from(!late))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
}

fn print(row: &Row, played: &Played) {
    let measured = &played.measured;
    let mut goodput = format!("{:.1}", played.goodput());
    let mut refused = format!("{:.1}", measured.refusals_per_100());
    let late = played
        .floor
        .is_some_and(|floor| floor.second_half.is_some());
    if late {
        goodput += &format!("; late {:.1}", played.late_goodput());
        refused += &format!("; late {:.1}", measured.late_refusals_per_100());
    }
    if row.scene.at_once.is_some() {
        goodput += &format!("; {:.3} × its time", played.makespan());
    }
    let floor = played.floor.map(|it| it.to_string()).unwrap_or_default();
    let kept = match (&played.floor, &*played.misses) {
        (None, _) => String::new(),
        (_, []) => "yes".to_owned(),
        (_, misses) => format!("**no**: {}", misses.join(", ")),
    };
    println!(
        "| {} | {} | {goodput} | {refused} | {:.1} ({:.1}) | {:.2}, {:.2} | {floor} | {kept} |",
        row.scene.name,
        played.system.as_str(),
        measured.failed_per_100(),
        played.ideal.failed_per_100(),
        measured.wait(50).as_secs_f64(),
        measured.wait(99).as_secs_f64(),
    );
}
