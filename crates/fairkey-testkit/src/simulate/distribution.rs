//! Numbers by chance: [`Distribution`].

use std::time::Duration;

use fairkey_core::Random;

/// Numbers by chance, never below zero: seconds where a time is wanted, otherwise what the place
/// says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution(Shape);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Constant(f64),
    Even { from: f64, to: f64 },
    Exponential { mean: f64 },
    Normal { mean: f64, deviation: f64 },
    Lognormal { mu: f64, sigma: f64 },
}

impl Distribution {
    /// Always the same number.
    #[must_use]
    pub const fn constant(value: f64) -> Self {
        Self(Shape::Constant(value))
    }

    /// Every number in a range with the same probability.
    #[must_use]
    pub const fn even(from: f64, to: f64) -> Self {
        Self(Shape::Even { from, to })
    }

    /// The times between events that know nothing of one another.
    #[must_use]
    pub const fn exponential(mean: f64) -> Self {
        Self(Shape::Exponential { mean })
    }

    /// A normal distribution, by its mean and standard deviation; what is below zero counts as
    /// zero.
    #[must_use]
    pub const fn normal(mean: f64, deviation: f64) -> Self {
        Self(Shape::Normal { mean, deviation })
    }

    /// A lognormal distribution, as answers' lengths and times have it, by its mean and its
    /// standard deviation as a part of the mean (the coefficient of variation).
    #[must_use]
    pub fn lognormal(mean: f64, variation: f64) -> Self {
        let square = (1.0 + variation * variation).ln();
        Self(Shape::Lognormal {
            mu: mean.ln() - square / 2.0,
            sigma: square.sqrt(),
        })
    }

    /// Draws a number.
    #[must_use]
    pub fn draw(&self, random: &mut Random) -> f64 {
        let value = match self.0 {
            Shape::Constant(value) => value,
            Shape::Even { from, to } => from + (to - from) * random.unit(),
            Shape::Exponential { mean } => -mean * above_zero(random).ln(),
            Shape::Normal { mean, deviation } => mean + deviation * standard_normal(random),
            Shape::Lognormal { mu, sigma } => (mu + sigma * standard_normal(random)).exp(),
        };
        value.max(0.0)
    }

    /// Draws a time, the number being seconds.
    #[must_use]
    pub fn draw_time(&self, random: &mut Random) -> Duration {
        let nanos = (self.draw(random) * 1e9).round();
        Duration::from_nanos(nanos as u64)
    }

    /// Returns the number below which the part `q` of all draws lies, 0 to 1: what an estimate that
    /// knows the distribution would say. To within a thousandth, for all but the last thousandth.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let mut random = Random::new(0);
        let mut draws: Vec<f64> = (0..100_000).map(|_| self.draw(&mut random)).collect();
        let at = ((draws.len() as f64 * q.clamp(0.0, 1.0)) as usize).min(draws.len() - 1);
        *draws.select_nth_unstable_by(at, f64::total_cmp).1
    }
}

/// Returns a number above 0 and up to 1.
fn above_zero(random: &mut Random) -> f64 {
    1.0 - random.unit()
}

/// Box and Muller, 1958.
fn standard_normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * above_zero(random).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(distribution: Distribution) -> (f64, f64) {
        let mut random = Random::new(3);
        let draws: Vec<f64> = (0..200_000)
            .map(|_| distribution.draw(&mut random))
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let square = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        (mean, (square / draws.len() as f64).sqrt())
    }

    #[test]
    fn means_and_deviations_are_as_named() {
        for (distribution, mean, deviation) in [
            (Distribution::constant(3.0), 3.0, 0.0),
            (Distribution::even(1.0, 7.0), 4.0, 12_f64.sqrt() / 2.0),
            (Distribution::exponential(2.0), 2.0, 2.0),
            (Distribution::normal(10.0, 2.0), 10.0, 2.0),
            (Distribution::lognormal(5.0, 0.8), 5.0, 4.0),
        ] {
            let found = moments(distribution);
            assert!(
                (found.0 - mean).abs() < 0.01 * mean,
                "{distribution:?} {found:?}"
            );
            let off = (found.1 - deviation).abs();
            assert!(off < 0.03 * mean, "{distribution:?} {found:?}");
        }
    }

    #[test]
    fn nothing_is_below_zero_and_quantiles_are_those_of_the_distribution() {
        let mut random = Random::new(1);
        let mut draw = || Distribution::normal(0.0, 5.0).draw(&mut random);
        assert!((0..1_000).all(|_| draw() >= 0.0));
        let median = Distribution::exponential(1.0).quantile(0.5);
        assert!((median - 2_f64.ln()).abs() < 0.02, "{median}");
        assert_eq!(Distribution::constant(4.0).quantile(1.0), 4.0);
    }
}
