//! Two of sixteen servers are much slower: Prequal, 2024.

use std::time::Duration;

use fairkey_core::Strategy;
use fairkey_strategy::{
    HotColdLexicographic, PeakEwma, PowerOfTwo, RoundRobin, WeightedLeastInFlight,
};
use fairkey_testkit::simulate::{Arrivals, Backend, Distribution, Simulation};

use super::{Gate, Length, Row};

/// Wydrowski and others, "Load is not what you should balance: Introducing Prequal" (NSDI 2024), in
/// the form that somebody else has measured with a port of it
/// (<https://sathwick.xyz/blog/prequal.html>): 16 servers of which two are 16 times slower than
/// 50 ms, 500 calls a second for 300 s. The slowest call in a hundred took 94 ms with Prequal, 807 in
/// turn, 803 with the fewest connections. There, servers slept; so here they take any number of
/// calls.
///
/// The opposite case is from there, too: with four servers short of processors, it was a quarter
/// slower than taking turns. Here: four servers that are alike, with one worker each, at 70 % load.
pub(super) fn rows(length: Length) -> Vec<Row> {
    let seconds = length.choose(300, 30);
    let slow_ones = |strategy: Box<dyn Strategy>| {
        let simulation = Simulation::new()
            .backends(14, &Backend::new(Distribution::lognormal(0.05, 0.3)))
            .backends(2, &Backend::new(Distribution::lognormal(0.8, 0.3)))
            .arrivals(Arrivals::poisson(500.0));
        p99(&simulation, seconds, strategy)
    };
    let row = |name: &str, published: Option<f64>, ours| {
        let what = format!("p99, ms: {name}");
        Row::new("16 servers, 2 of them 16 × slower", what, published, ours).digits(0)
    };
    let turns = slow_ones(Box::new(RoundRobin::new()));
    let hot_cold = slow_ones(Box::new(HotColdLexicographic::new()));
    let alike = |strategy: Box<dyn Strategy>| {
        let simulation = Simulation::new()
            .backends(
                4,
                &Backend::new(Distribution::lognormal(0.05, 0.3)).workers(1),
            )
            .arrivals(Arrivals::poisson(0.7 * 4.0 / 0.05));
        p99(&simulation, seconds, strategy)
    };
    let opposite = |name: &str, published: Option<f64>, ours| {
        let what = format!("p99 over that in turn: {name}");
        Row::new(
            "4 equal servers with one worker each",
            what,
            published,
            ours,
        )
    };
    let alike_in_turn = alike(Box::new(RoundRobin::new()));
    let over = |strategy| alike(strategy) / alike_in_turn;
    vec![
        row("`RoundRobin`", Some(807.0), turns),
        row(
            "`WeightedLeastInFlight`",
            Some(803.0),
            slow_ones(Box::new(WeightedLeastInFlight::new())),
        ),
        row("`PowerOfTwo`", None, slow_ones(Box::new(PowerOfTwo::new()))),
        row("`PeakEwma`", None, slow_ones(Box::new(PeakEwma::new()))),
        row("`HotColdLexicographic`", Some(94.0), hot_cold).gate(Gate::AtMost(turns / 6.0)),
        opposite(
            "`WeightedLeastInFlight`",
            None,
            over(Box::new(WeightedLeastInFlight::new())),
        ),
        opposite("`PeakEwma`", None, over(Box::new(PeakEwma::new()))),
        opposite(
            "`HotColdLexicographic`",
            Some(1.25),
            over(Box::new(HotColdLexicographic::new())),
        )
        .gate(Gate::MoreThan(1.0)),
    ]
}

fn p99(simulation: &Simulation, seconds: u64, strategy: Box<dyn Strategy>) -> f64 {
    let simulation = simulation
        .clone()
        .lasting(Duration::from_secs(seconds))
        .seed(1);
    simulation.run(strategy).percentile(0.99).as_secs_f64() * 1e3
}
