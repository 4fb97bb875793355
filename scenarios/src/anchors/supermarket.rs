//! The better of two queues: the supermarket model, 2001.

use std::time::Duration;

use fairkey_strategy::PowerOfTwo;
use fairkey_testkit::simulate::{Arrivals, Backend, Distribution, Simulation};

use super::{Gate, Length, Row};

/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (IEEE TPDS 12(10), 2001):
/// Poisson arrivals of `load` for each of many servers, each a queue whose service takes 1 on
/// average, exponentially; who comes goes to the shorter of two queues by chance. With very many
/// servers the mean time is the sum over i ≥ 1 of `load^(2^i - 2)`; with a hundred, a little more.
pub(super) fn rows(length: Length) -> Vec<Row> {
    let lasting = length.choose(20_000, 400);
    let row = |load: f64| {
        let results = Simulation::new()
            .backends(
                100,
                &Backend::new(Distribution::exponential(1.0)).workers(1),
            )
            .arrivals(Arrivals::poisson(100.0 * load))
            .warm_up(Duration::from_secs(100))
            .lasting(Duration::from_secs(lasting))
            .seed(1)
            .run(PowerOfTwo::new());
        let what = format!("mean time at load {load}: `PowerOfTwo`");
        Row::new(
            "supermarket, 100 queues",
            what,
            mean_time(load),
            results.mean().as_secs_f64(),
        )
        .gate(Gate::WithinPart(0.05))
    };
    vec![row(0.9), row(0.95)]
}

/// The mean time with infinitely many queues.
fn mean_time(load: f64) -> f64 {
    (1..12).map(|i| load.powi((1 << i) - 2)).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_formula_gives_the_means_of_the_paper() {
        for (load, mean) in [(0.5, 1.2657), (0.9, 2.6141), (0.95, 3.3830), (0.99, 5.4320)] {
            let found = super::mean_time(load);
            assert!((found - mean).abs() < 5e-5, "{found} at {load}");
        }
    }
}
