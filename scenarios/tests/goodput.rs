//! What must hold of goodput, in runs short enough for a debug build.

use fairkey_scenarios::goodput::{Ideal, Played, Row, Sizes, System, rows, shares};

const SEED: u64 = 7;

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

fn row(name: &str, windows: u32) -> (Row, Sizes) {
    let mut rows = rows(windows, SEED).into_iter();
    let row = rows.find(|row| row.scene.name.contains(name)).unwrap();
    let calls = row.scene.arrivals().len();
    let sizes = run(Sizes::measure(&row.scene.traffic, calls));
    (row, sizes)
}

fn play(row: &Row, sizes: &Sizes, system: System) -> Played {
    let floor = row.systems.iter().find(|(of, _)| *of == system).unwrap().1;
    run(row.play(system, floor, sizes))
}

/// Refusals ring alarms for several keys at a time: what is done first must not be chance.
#[test]
fn the_same_seed_gives_the_same_run() {
    let (mut row, sizes) = row("refusals say nothing", 1);
    row.systems.iter_mut().for_each(|(_, floor)| *floor = None);
    let all = |played: Played| {
        assert!(played.measured.refusals > 0);
        format!("{:?}", played.measured)
    };
    let [one, other] = [(); 2].map(|()| all(play(&row, &sizes, System::Untold)));
    assert!(one == other);
}

#[test]
fn a_provider_that_was_full_leaves_the_other_model_alone() {
    let (row, sizes) = row("provider full", 6);
    let played = play(&row, &sizes, System::Known);
    assert!(played.floor.is_some());
    assert!(played.misses.is_empty(), "{:?}", played.misses);
}

#[test]
fn who_comes_late_gets_no_more_than_its_share() {
    let (row, _) = row("0.85", 4);
    let sizes = run(Sizes::measure(&row.scene.traffic, 4 * 1_110));
    let shares = run(shares(4, SEED, &sizes));
    let late = *shares.after.last().unwrap();
    assert!(late <= 1.05, "{late:.3} of its share");
}

#[test]
fn the_ideal_is_what_the_limits_allow_and_what_comes() {
    let (row, sizes) = row("1.5 × capacity", 4);
    let ideal = Ideal::of(&row.scene, &sizes, None);
    // Four windows, and two in which those who wait are served, of 1,110 requests each; of 6,660
    // or so that come.
    assert_eq!(ideal.answered, ideal.calls.min(6 * 1_110));
    assert_eq!(ideal.second_half, 2 * 1_110);
    let mut light = row.scene.clone();
    light.load = 0.5;
    let ideal = Ideal::of(&light, &sizes, None);
    assert_eq!(ideal.answered, ideal.calls);
}
