//! One of eleven servers is slow for a while: "Beyond Round Robin", 2016.

use std::time::Duration;

use fairkey_core::Strategy;
use fairkey_strategy::{PeakEwma, PowerOfTwo, RoundRobin, WeightedLeastInFlight};
use fairkey_testkit::simulate::{Arrivals, Backend, Distribution, Simulation};

use super::{Gate, Length, Row};

/// Jenson and Oanta, "Beyond Round Robin: Load Balancing for Latency", 2016-03-16
/// (<https://linkerd.io/2016/03/16/beyond-round-robin-load-balancing-for-latency/>): 11 servers
/// that take 167 ms, 1,000 calls a second for a minute, one server at 2 s from the 15th to the 45th
/// second. Of the calls were answered within a second: 95 % in turn, 99 % with the least loaded,
/// 99.9 % with peak EWMA. The article gives no decimals; what stands for "published" are those of
/// an independent simulation of the same scenario, each within what the article says.
///
/// A second without an answer is a failure to the caller, but the call goes on, as in the article:
/// there a timeout was a line in a graph of latencies.
pub(super) fn rows(length: Length) -> Vec<Row> {
    // A tenth of the time, everything else in proportion, does not keep the part of the calls that
    // are under way when it begins: the length is that of the article.
    let seeds = length.choose(5, 1);
    let fast = Backend::new(Distribution::normal(0.167, 0.005));
    let secs = Duration::from_secs;
    let slow = fast.clone().during(secs(15)..secs(45), |backend| {
        backend.service(Distribution::normal(2.0, 0.005))
    });
    let play = |strategy: fn() -> Box<dyn Strategy>| {
        let within = |seed| {
            let results = Simulation::new()
                .backends(10, &fast)
                .backend(slow.clone())
                .arrivals(Arrivals::steady(1_000.0))
                .lasting(secs(60))
                .seed(seed)
                .run(strategy());
            100.0 * results.success_within(secs(1))
        };
        (0..seeds).map(within).sum::<f64>() / seeds as f64
    };
    let row = |name: &str, published, strategy| {
        let what = format!("answered within 1 s, %: {name}");
        Row::new("one slow server of 11", what, published, play(strategy)).gate(Gate::Within(0.3))
    };
    vec![
        row("`RoundRobin`", 95.46, || Box::new(RoundRobin::new())),
        row("`PowerOfTwo`", 99.50, || Box::new(PowerOfTwo::new())),
        row("`WeightedLeastInFlight`", 99.56, || {
            Box::new(WeightedLeastInFlight::new())
        }),
        row("`PeakEwma`", 99.93, || Box::new(PeakEwma::new())),
    ]
}
