//! The rows of the table: [`rows`], their floors, and whether these are kept.

use std::fmt;
use std::time::Duration;

use fairkey_mock::Action;

use super::ideal::{Ideal, Sizes};
use super::play::{Measured, come_again, play, quantile};
use super::scene::{Limits, MODEL, OTHER_MODEL, PROVIDER, Scene};
use super::system::System;

/// What must be kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floor {
    /// The least goodput, in per cent of the ideal.
    pub goodput: f64,
    /// The most refusals for 100 answers.
    pub refusals: Option<f64>,
    /// The most calls that may fail beyond the ideal's, in points.
    pub failed: Option<f64>,
    /// Goodput and refusals of the second half of the time.
    pub second_half: Option<(f64, f64)>,
    /// The most windows in a row in which an account may answer nothing.
    pub dry: Option<u32>,
    /// Whether calls of the other model all have to be answered, and soon.
    pub other_unharmed: bool,
    /// The longest time until the last answer, as a multiple of the ideal's.
    pub makespan: Option<f64>,
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.goodput > 0.0 {
            parts.push(format!("≥ {} %", self.goodput));
        }
        if let Some(most) = self.refusals {
            parts.push(format!("≤ {most} refused"));
        }
        match self.failed {
            Some(0.0) => parts.push("none failed".to_owned()),
            Some(points) => parts.push(format!("failed ≤ ideal + {points}, early, with a time")),
            None => {}
        }
        if let Some((goodput, refusals)) = self.second_half {
            parts.push(format!("second half ≥ {goodput} %, ≤ {refusals} refused"));
        }
        if self.dry.is_some() {
            parts.push("no account locked out".to_owned());
        }
        if self.other_unharmed {
            parts.push("other model unharmed".to_owned());
        }
        if let Some(most) = self.makespan {
            parts.push(format!("time ≤ {most} × ideal"));
        }
        f.write_str(&parts.join("; "))
    }
}

/// A scene, and what each system must keep there.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scene.
    pub scene: Scene,
    /// The model that nobody can answer for a time.
    pub closed: Option<(&'static str, Duration, Duration)>,
    /// Who plays it, with what must be kept, if anything.
    pub systems: Vec<(System, Option<Floor>)>,
}

/// What came of a row with one system.
#[derive(Clone, Debug)]
pub struct Played {
    /// Who played it.
    pub system: System,
    /// What came of it.
    pub measured: Measured,
    /// What could have come of it.
    pub ideal: Ideal,
    /// What had to be kept.
    pub floor: Option<Floor>,
    /// Of how many of those that failed it was asked whether they are served when they come again
    /// as told, and how many are.
    pub came_again: (usize, usize),
    /// What was not kept.
    pub misses: Vec<String>,
}

impl Played {
    /// Returns calls answered, in per cent of the ideal's.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        100.0 * self.measured.answered as f64 / self.ideal.answered.max(1) as f64
    }

    /// Returns the same of the second half of the time.
    #[must_use]
    pub fn late_goodput(&self) -> f64 {
        100.0 * self.measured.second_half.0 as f64 / self.ideal.second_half.max(1) as f64
    }

    /// Returns the time until the last answer, as a multiple of the ideal's.
    #[must_use]
    pub fn makespan(&self) -> f64 {
        self.measured.makespan.as_secs_f64() / self.ideal.makespan.as_secs_f64()
    }

    fn judge(&mut self) {
        let Some(floor) = self.floor else { return };
        let (measured, mut misses) = (&self.measured, Vec::new());
        let mut check = |kept: bool, miss: String| {
            if !kept {
                misses.push(miss);
            }
        };
        let goodput = self.goodput();
        check(goodput >= floor.goodput, format!("goodput {goodput:.1} %"));
        if let Some(most) = floor.refusals {
            let found = measured.refusals_per_100();
            check(found <= most, format!("{found:.1} refused"));
        }
        if let Some(points) = floor.failed {
            let (ours, ideal) = (measured.failed_per_100(), self.ideal.failed_per_100());
            check(ours <= ideal + points, format!("{ours:.1} % failed"));
            let without = measured.without_time();
            check(without == 0, format!("{without} failed without a time"));
            let after = measured.failed_after(99);
            check(
                after <= EARLY,
                format!("told after {:.1} s", after.as_secs_f64()),
            );
        }
        let (asked, served) = self.came_again;
        check(
            asked == served,
            format!("{} not served as told", asked - served),
        );
        if let Some((goodput, refusals)) = floor.second_half {
            let (late, refused) = (self.late_goodput(), measured.late_refusals_per_100());
            check(late >= goodput, format!("second half {late:.1} %"));
            check(
                refused <= refusals,
                format!("second half {refused:.1} refused"),
            );
        }
        if let Some(most) = floor.dry {
            check(
                measured.dry <= most,
                format!("{} windows dry", measured.dry),
            );
        }
        if floor.other_unharmed {
            let failed = measured.failed_of_other;
            check(failed == 0, format!("{failed} of the other model failed"));
            let wait = quantile(&measured.waits_of_other, 99);
            let told = format!("other model waits {:.1} s", wait.as_secs_f64());
            check(wait <= EARLY, told);
        }
        if let Some(most) = floor.makespan {
            let found = self.makespan();
            check(found <= most, format!("{found:.3} × the ideal time"));
        }
        self.misses = misses;
    }
}

/// A refusal that comes within this time comes early.
const EARLY: Duration = Duration::from_secs(1);

impl Row {
    fn without(mut self, system: System) -> Self {
        self.systems.retain(|(of, _)| *of != system);
        self
    }

    /// Plays it with one of its systems.
    pub async fn play(&self, system: System, floor: Option<Floor>, sizes: &Sizes) -> Played {
        let measured = play(&self.scene, system, sizes).await;
        let mut played = Played {
            system,
            measured,
            ideal: Ideal::of(&self.scene, sizes, self.closed),
            floor,
            came_again: (0, 0),
            misses: Vec::new(),
        };
        if floor.is_some_and(|floor| floor.failed.is_some()) {
            let failures = &played.measured.failures;
            played.came_again = come_again(&self.scene, system, sizes, failures).await;
        }
        played.judge();
        played
    }
}

/// Returns every row, with calls that come for so many windows, by chance of that seed.
#[must_use]
pub fn rows(windows: u32, seed: u64) -> Vec<Row> {
    let row = |scene: Scene, floors: &[(System, Floor)]| Row {
        scene,
        closed: None,
        systems: System::ALL
            .map(|system| {
                let floor = floors.iter().find(|(of, _)| *of == system);
                (system, floor.map(|(_, floor)| *floor))
            })
            .to_vec(),
    };
    let scene = |name, load| Scene::new(name, load, windows, seed);
    let none_failed = |refusals| Floor {
        goodput: 100.0,
        refusals: Some(refusals),
        failed: Some(0.0),
        ..Floor::default()
    };
    let known = Floor {
        goodput: 95.0,
        refusals: Some(3.0),
        failed: Some(3.0),
        ..Floor::default()
    };
    let hidden = Floor {
        goodput: 88.0,
        refusals: Some(30.0),
        failed: Some(3.0),
        second_half: Some((92.0, 8.0)),
        ..Floor::default()
    };
    let counted = Floor {
        goodput: 97.0,
        refusals: None,
        failed: Some(3.0),
        dry: Some(1),
        ..Floor::default()
    };
    let no_failure = |refusals| Floor {
        refusals,
        failed: Some(0.0),
        ..Floor::default()
    };
    let mut hides = scene("1.5 × capacity, refusals say nothing", 1.5);
    hides.limits = Limits::Hidden;
    let mut counts = scene("1.5 × capacity, refused calls count", 1.5);
    counts.limits = Limits::CountRefused;
    let third = counts.time() / 3;
    let mut broke = scene(
        "0.65 × capacity, an account without credit for a third",
        0.65,
    );
    broke.events = vec![
        (third, Action::set_balance("c", 0.0)),
        (third * 2, Action::set_balance("c", 1_000.0)),
    ];
    let mut full = scene("0.65 × capacity, a model's provider full for a third", 0.65);
    full.traffic.models = &[MODEL, OTHER_MODEL];
    full.events = vec![
        (third, Action::set_provider_full(PROVIDER, true)),
        (third * 2, Action::set_provider_full(PROVIDER, false)),
    ];
    let unharmed = Floor {
        refusals: Some(10.0),
        other_unharmed: true,
        ..Floor::default()
    };
    let mut money = scene("0.85 × capacity, an in-flight budget answers 402", 0.85);
    money.limits = Limits::InFlight(IN_FLIGHT_USD);
    money.traffic.bounded = true;
    let budget = Floor {
        goodput: 95.0,
        failed: Some(0.0),
        ..Floor::default()
    };
    let mut batch = scene("all calls at once, nobody in a hurry", 1.0);
    // Long enough that the longest of the last answers, which nobody can hurry, are not what is
    // measured. A half at the end: whether the last few calls need one window more is chance.
    let short = windows == 1;
    let windows = windows as usize * 12 - 1;
    batch.at_once = Some(Scene::requests_in_a_window() as usize * windows / 2);
    batch.max_wait = Duration::from_secs(3_600);
    batch.patience = None;
    let in_time = Floor {
        goodput: 100.0,
        makespan: Some(1.05),
        ..Floor::default()
    };
    vec![
        row(
            scene("0.85 × capacity", 0.85),
            &[(System::Known, none_failed(1.0))],
        ),
        row(
            scene("0.97 × capacity", 0.97),
            &[(System::Known, none_failed(5.0))],
        ),
        row(scene("1.5 × capacity", 1.5), &[(System::Known, known)]),
        row(hides, &[(System::Untold, hidden)]),
        row(counts, &[(System::Known, counted)]),
        row(broke, &[(System::Known, no_failure(Some(5.0)))]),
        Row {
            closed: Some((MODEL, third, third * 2)),
            ..row(full, &[(System::Known, unharmed)])
        },
        row(money, &[(System::Known, budget), (System::Untold, budget)]),
        if short {
            // Its end is most of it: nothing of the floor can be seen.
            row(batch, &[])
        } else {
            // Each key once for each of 66,000 calls at once: that is a long time to say no.
            row(batch, &[(System::Known, in_time)]).without(System::ThreeStrikes)
        },
    ]
}

/// What a call of the usual size holds of the budget, times how long, for each second: 0.9 s of
/// its estimate, 0.26 cents, and 2 s of what it costs, 0.1 cents. A sixth of it for a window of six
/// seconds.
const IN_FLIGHT_USD: f64 = 0.0044 / 6.0;
