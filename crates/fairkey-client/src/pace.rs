//! How much of the calls a key should get so that its cap lasts until its reset: [`Pace`].

use std::time::Duration;

/// How keys are paced by the money that remains to them.
///
/// A key that has spent more than its plan gets fewer calls, one that has spent less gets more;
/// the plan is to spend a cap evenly until its reset, but for a reserve.
#[derive(Clone, Debug, PartialEq)]
pub struct PaceConfig {
    /// Whether keys are weighed by what remains at all. Default true. Strategies that look at no
    /// weights are not concerned.
    pub enabled: bool,
    /// The part of a cap that is kept: at and below it a key serves only when the others cannot.
    /// Default 0.03 (3 %); from 0 to 0.5.
    pub reserve: f64,
    /// The most and, inverted, the least that a weight is multiplied by. Default 4; from 1 to 64.
    pub range: f64,
}

impl Default for PaceConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            reserve: 0.03,
            range: 4.0,
        }
    }
}

/// What is known of the tightest cap of a key at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Purse {
    pub(crate) limit: f64,
    pub(crate) remaining: f64,
    /// How long until the cap starts anew, and how long a whole period is; `None`: it never does.
    pub(crate) period: Option<(Duration, Duration)>,
}

/// What a key's weight is to be multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// By this, within the range of the configuration.
    Factor(f64),
    /// The reserve is reached: as little as can be.
    Reserved,
}

impl Pace {
    pub(crate) const EVEN: Self = Self::Factor(1.0);

    /// Returns the nearest step: quarters of a doubling.
    fn rounded(self) -> Self {
        match self {
            Self::Factor(factor) => Self::Factor(((factor.log2() * 4.0).round() / 4.0).exp2()),
            Self::Reserved => Self::Reserved,
        }
    }
}

/// Returns the pace of a key: what it may still spend in each hour until the reset, over what its
/// plan is to spend in each hour.
///
/// With `r` what remains above the reserve, `l` the cap without the reserve, `t` the time to the
/// reset and `p` the whole period: `(r / t) / (l / p)`. On plan it is 1. Where the cap never starts
/// anew there is no plan, and only the reserve counts.
pub(crate) fn pace(purse: Purse, config: &PaceConfig) -> Pace {
    let Purse {
        limit,
        remaining,
        period,
    } = purse;
    if !config.enabled || !limit.is_finite() || !remaining.is_finite() || limit <= 0.0 {
        return Pace::EVEN;
    }
    let reserve = limit * config.reserve.clamp(0.0, 0.5);
    let spendable = remaining - reserve;
    if spendable <= 0.0 {
        return Pace::Reserved;
    }
    let Some((left, whole)) = period else {
        return Pace::EVEN;
    };
    let range = config.range.clamp(1.0, 64.0);
    // In the last second of a period there is nothing to plan.
    let left = left.as_secs_f64().max(1.0);
    let plan = (limit - reserve) * left / whole.as_secs_f64().max(1.0);
    Pace::Factor((spendable / plan).clamp(1.0 / range, range))
}

/// Weights of a whole pool: each key's own weight times its pace, as whole numbers that a pool
/// takes (1 to 65,535). Where every pace is even, they are the keys' own.
///
/// Paces are rounded to steps of about a fifth, so that small ones change nothing.
pub(crate) fn weights(keys: &[(u32, Pace)]) -> Vec<u32> {
    let keys: Vec<(u32, Pace)> = keys.iter().map(|(w, pace)| (*w, pace.rounded())).collect();
    if keys.iter().all(|(_, pace)| *pace == Pace::EVEN) {
        return keys.iter().map(|(weight, _)| *weight).collect();
    }
    let scaled = |&(weight, pace): &(u32, Pace)| match pace {
        Pace::Factor(factor) => f64::from(weight) * factor,
        Pace::Reserved => 0.0,
    };
    let most = keys.iter().map(scaled).fold(1.0, f64::max);
    // Fine enough for a key in reserve to count as nothing beside the others.
    let scale = (65_535.0 / most).min(1_024.0);
    (keys.iter())
        .map(|key| (scaled(key) * scale).round().clamp(1.0, 65_535.0) as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn factor(purse: Purse) -> f64 {
        match pace(purse, &PaceConfig::default()) {
            Pace::Factor(factor) => factor,
            Pace::Reserved => 0.0,
        }
    }

    fn daily(limit: f64, remaining: f64, left: Duration) -> Purse {
        Purse {
            limit,
            remaining,
            period: Some((left, DAY)),
        }
    }

    #[test]
    fn on_plan_a_key_keeps_its_weight() {
        assert!((factor(daily(100.0, 100.0, DAY)) - 1.0).abs() < 1e-9);
        let half = 3.0 + 97.0 / 2.0;
        assert!((factor(daily(100.0, half, DAY / 2)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ahead_of_its_plan_a_key_gets_less_and_behind_it_more() {
        assert!(factor(daily(100.0, 30.0, DAY / 2)) < 1.0);
        assert!(factor(daily(100.0, 90.0, DAY / 2)) > 1.0);
    }

    #[test]
    fn at_its_reserve_a_key_is_kept_for_when_nothing_else_is_left() {
        assert_eq!(factor(daily(100.0, 3.0, DAY)), 0.0);
        assert_eq!(factor(daily(100.0, -1.0, DAY)), 0.0);
        assert!(factor(daily(100.0, 3.1, DAY)) > 0.0);
        let never = Purse {
            limit: 10.0,
            remaining: 0.2,
            period: None,
        };
        assert_eq!(pace(never, &PaceConfig::default()), Pace::Reserved);
    }

    #[test]
    fn weights_are_left_alone_while_everybody_is_on_plan() {
        assert_eq!(weights(&[(3, Pace::EVEN), (1, Pace::Factor(1.08))]), [3, 1]);
        let some = weights(&[(2, Pace::EVEN), (1, Pace::Factor(0.5)), (1, Pace::Reserved)]);
        assert_eq!(some, [2_048, 512, 1]);
    }

    proptest! {
        #[test]
        fn pace_is_bounded_grows_with_what_remains_and_does_not_mind_the_currency(
            limit in 0.01..10_000.0_f64,
            part in -0.2..1.2_f64,
            more in 0.0..0.5_f64,
            left in 0..86_400_u64,
            rate in 0.01..200.0_f64,
        ) {
            let left = Duration::from_secs(left);
            let at = |part: f64| factor(daily(limit, limit * part, left));
            let here = at(part);
            prop_assert!(here == 0.0 || (0.25..=4.0).contains(&here), "{here}");
            prop_assert!(at(part + more) >= here - 1e-9);
            let other = factor(daily(limit * rate, limit * part * rate, left));
            // At the very edge of the reserve, rounding decides.
            prop_assume!((part - 0.03).abs() > 1e-9);
            prop_assert!((other - here).abs() < 1e-6);
        }

        #[test]
        fn spending_at_the_pace_ends_at_the_reserve(
            start in 0.2..1.0_f64, left in 3_600..86_400_u64,
        ) {
            // A key spends its plan times its pace: by the reset only the reserve is left, where
            // the pace was not cut off.
            let (limit, mut remaining) = (100.0, 100.0 * start);
            let mut left = left as f64;
            let plan_per_second = 97.0 / 86_400.0;
            let first = factor(daily(limit, remaining, Duration::from_secs_f64(left)));
            prop_assume!((0.26..3.9).contains(&first));
            while left > 60.0 {
                let pace = factor(daily(limit, remaining, Duration::from_secs_f64(left)));
                remaining -= pace * plan_per_second * 60.0;
                left -= 60.0;
            }
            prop_assert!((2.9..3.6).contains(&remaining), "{remaining} is left");
        }

        #[test]
        fn weights_are_what_a_pool_takes(
            keys in prop::collection::vec(
                (1..=65_535_u32, prop_oneof![
                    Just(Pace::Reserved), Just(Pace::EVEN), (0.25..4.0_f64).prop_map(Pace::Factor),
                ]), 1..20),
        ) {
            let weights = weights(&keys);
            prop_assert_eq!(weights.len(), keys.len());
            prop_assert!(weights.iter().all(|weight| (1..=65_535).contains(weight)));
        }
    }
}
