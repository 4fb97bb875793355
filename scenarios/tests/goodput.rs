//! What must hold of goodput, in runs short enough for a debug build.

use fairkey_scenarios::goodput::{Ideal, Played, Row, Sizes, System, always_503, rows};

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

fn row(name: &str, windows: u32) -> (Row, Sizes) {
    let mut rows = rows(windows).into_iter();
    let row = rows.find(|row| row.scene.name.contains(name)).unwrap();
    let calls = row.scene.arrivals().len();
    let sizes = run(Sizes::measure(&row.scene.traffic, calls));
    (row, sizes)
}

fn play(row: &Row, sizes: &Sizes, system: System) -> Played {
    let floor = row.systems.iter().find(|(of, _)| *of == system).unwrap().1;
    run(row.play(system, floor, sizes))
}

fn keeps_its_floor(name: &str, windows: u32, system: System) -> Played {
    let (row, sizes) = row(name, windows);
    let played = play(&row, &sizes, system);
    assert!(played.floor.is_some());
    assert!(played.misses.is_empty(), "{name}: {:?}", played.misses);
    played
}

#[test]
fn below_capacity_nobody_is_refused() {
    for name in ["0.85 × capacity", "0.97 × capacity"] {
        keeps_its_floor(name, 3, System::Known);
    }
}

#[test]
fn above_capacity_all_of_it_is_used_and_no_more() {
    let (row, sizes) = row("1.5 × capacity", 3);
    let ours = play(&row, &sizes, System::Known);
    assert!(ours.goodput() >= 95.0, "{:.1} %", ours.goodput());
    assert!(ours.measured.answered <= ours.ideal.answered);
    let refused = ours.measured.refusals_per_100();
    assert!(refused <= 3.0, "{refused:.1} refused");
    let theirs = play(&row, &sizes, System::ThreeStrikes);
    assert!(theirs.measured.refusals_per_100() > 100.0);
    assert!(theirs.goodput() < ours.goodput());
}

#[test]
fn where_refused_calls_count_nobody_is_locked_out() {
    let (row, sizes) = row("refused calls count", 3);
    let ours = play(&row, &sizes, System::Known);
    assert!(ours.goodput() >= 97.0 && ours.measured.dry == 0);
    let theirs = play(&row, &sizes, System::ThreeStrikes);
    assert!(theirs.measured.dry > 0, "who does not wait, is");
}

#[test]
fn an_account_without_credit_costs_no_call() {
    keeps_its_floor("without credit", 3, System::Known);
}

#[test]
fn a_full_provider_leaves_the_other_model_alone() {
    keeps_its_floor("provider full", 3, System::Known);
}

#[test]
fn an_upstream_that_always_fails_is_left_alone() {
    for system in [System::Known, System::Untold] {
        let requests = run(always_503(system));
        assert!(requests <= 1.2, "{requests:.2} for each call");
    }
    assert!(run(always_503(System::ThreeStrikes)) > 10.0);
}

#[test]
fn the_same_scene_gives_the_same_run() {
    let (row, sizes) = row("1.5 × capacity", 1);
    let all = |played: Played| format!("{:?}", played.measured);
    let [one, other] = [(); 2].map(|()| all(play(&row, &sizes, System::Known)));
    assert_eq!(one, other);
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
