//! What retries add to a server that fails: "Fixing retries with token buckets", 2022.

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{BudgetConfig, RetryBudget, RetryConfig};
use fairkey_core::{Outcome, Random, Timestamp};
use fairkey_strategy::RoundRobin;
use fairkey_testkit::simulate::{
    Arrivals, AtOnce, Backend, Distribution, Results, Retries, Simulation,
};

use super::{Gate, Length, Row};

/// How much of the calls fails.
const RATES: [f64; 8] = [0.0, 0.01, 0.05, 0.1, 0.2, 0.5, 0.75, 1.0];

/// Brooker, "Fixing retries with token buckets and circuit breakers" (2022), with the simulator
/// that belongs to it (`mbrooker/simulator_example`): a hundred clients with ten calls a second each,
/// at a server that fails a part of them. The published bucket gives 0.1 of a retry for each call,
/// holds 5 and is full at first.
///
/// The client's real retry budget is something else: it forgets what is older than a window, and
/// has a floor for clients with few calls. To be compared it is given the same 10 %, no floor, and a
/// window of 10 s, one budget to each client; so it has no bucket that is full at first, and the first
/// failures of each client stay failures. The last rows are one budget for all clients, as one
/// process has it: with the same settings, and with its defaults of 20 % and one retry a second.
pub(super) fn rows(length: Length) -> Vec<Row> {
    let lasting = Duration::from_secs(length.choose(100, 15));
    let play = |failing: f64, policy: fn() -> Policy| {
        scenario(failing, lasting)
            .retries(100, policy)
            .run(RoundRobin::new())
    };
    let worst = |policy: fn() -> Policy| {
        let loads = RATES.map(|rate| play(rate, policy).load());
        loads.into_iter().fold(0.0, f64::max)
    };
    let three = |rate| {
        let scenario = scenario(rate, lasting).retries(100, || AtOnce(3));
        scenario.run(RoundRobin::new()).load()
    };
    let success = |results: &Results| 100.0 * results.success_rate();
    let row = |what: &str, published: Option<f64>, ours| {
        Row::new("100 clients, a failing server", what, published, ours)
    };
    // One account for the calls of all clients, as in one process.
    let together = |failing: f64, config: BudgetConfig| {
        let budget = Arc::new(RetryBudget::new(&config));
        let policy = move || Policy::of(Arc::clone(&budget));
        scenario(failing, lasting)
            .retries(100, policy)
            .run(RoundRobin::new())
    };
    vec![
        row(
            "load with half failing: three retries",
            Some(1.87),
            three(0.5),
        )
        .gate(Gate::Within(0.03)),
        row(
            "load with all failing: three retries",
            Some(4.0),
            three(1.0),
        )
        .gate(Gate::Within(0.03)),
        row(
            "load at the worst of 8 rates: `RetryBudget` of 10 %",
            Some(1.104),
            worst(ten_percent),
        )
        .gate(Gate::AtMost(1.11))
        .digits(3),
        row(
            "answered with 5 % failing, %: `RetryBudget` of 10 %",
            Some(99.98),
            success(&play(0.05, ten_percent)),
        ),
        row(
            "answered with 5 % failing, %: `RetryBudget` of 10 %, one for all",
            Some(99.98),
            success(&together(0.05, TEN_PERCENT)),
        )
        .gate(Gate::MoreThan(99.9)),
        row(
            "load with all failing: `RetryBudget` with its defaults, one for all",
            None,
            together(1.0, BudgetConfig::default()).load(),
        )
        .gate(Gate::AtMost(1.21))
        .digits(3),
    ]
}

fn scenario(failing: f64, lasting: Duration) -> Simulation {
    Simulation::new()
        .backend(Backend::new(Distribution::constant(0.0)).failing(failing))
        .network(Distribution::exponential(0.01))
        .arrivals(Arrivals::poisson(1_000.0))
        .lasting(lasting)
}

/// The client's backoff and budget.
#[derive(Debug)]
struct Policy {
    config: RetryConfig,
    budget: Arc<RetryBudget>,
}

impl Policy {
    fn of(budget: Arc<RetryBudget>) -> Self {
        Self {
            config: RetryConfig::default(),
            budget,
        }
    }
}

/// As published, as far as it can be said.
const TEN_PERCENT: BudgetConfig = BudgetConfig {
    ratio: 0.1,
    min_per_second: 0.0,
    ttl: Duration::from_secs(10),
};

fn ten_percent() -> Policy {
    Policy::of(Arc::new(RetryBudget::new(&TEN_PERCENT)))
}

impl Retries for Policy {
    fn begin(&mut self, now: Timestamp) {
        self.budget.deposit(now);
    }

    fn again(
        &mut self,
        now: Timestamp,
        retry: u32,
        _: &Outcome,
        random: &mut Random,
    ) -> Option<Duration> {
        let may = retry + 1 < self.config.attempts && self.budget.withdraw(now);
        may.then(|| self.config.wait(retry, None, random.unit()))
    }
}
