//! Amounts of money, exact.
//!
//! Token prices are so small that sums of `f64` dollars depend on the order in which calls end.
//! Whole picodollars (1e-12 USD) do not: $0.15 per million tokens is 150,000 of them per token, and
//! an `i64` holds nine million dollars.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// An amount in whole picodollars. May be negative; arithmetic saturates.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Money(i64);

impl Money {
    pub(crate) const ZERO: Self = Self(0);

    /// The amount nearest to `usd`; not a number is zero.
    pub(crate) fn from_usd(usd: f64) -> Self {
        Self((usd * 1e12).round() as i64)
    }

    /// The price of one token, given in dollars per million tokens.
    pub(crate) fn per_million(usd: f64) -> Self {
        Self((usd * 1e6).round() as i64)
    }

    /// The price of a token in dollars per million tokens.
    #[cfg(feature = "scenario")]
    pub(crate) fn per_million_usd(self) -> f64 {
        self.0 as f64 / 1e6
    }

    pub(crate) fn usd(self) -> f64 {
        self.0 as f64 / 1e12
    }

    pub(crate) fn times(self, count: u64) -> Self {
        Self(
            self.0
                .saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)),
        )
    }

    /// Half of it, rounded down.
    pub(crate) fn half(self) -> Self {
        Self(self.0 / 2)
    }

    /// How many units of this price `total` pays for. A free unit can be had without end.
    pub(crate) fn affordable(self, total: Self) -> u64 {
        if self.0 <= 0 {
            return u64::MAX;
        }
        u64::try_from(total.0 / self.0).unwrap_or(0)
    }

    /// Decimal dollars without trailing zeros, as prices stand in the catalog: `0.00000015`.
    pub(crate) fn decimal(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let abs = self.0.unsigned_abs();
        let (whole, part) = (abs / 1_000_000_000_000, abs % 1_000_000_000_000);
        if part == 0 {
            return format!("{sign}{whole}");
        }
        let digits = format!("{part:012}");
        format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Money {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.decimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_per_million_is_exact_per_token() {
        let price = Money::per_million(0.15);
        assert_eq!(price.decimal(), "0.00000015");
        assert_eq!(price.times(1_000_000), Money::from_usd(0.15));
    }

    #[test]
    fn decimals_carry_no_exponent_and_no_trailing_zero() {
        assert_eq!(Money::ZERO.decimal(), "0");
        assert_eq!(Money::from_usd(12.5).decimal(), "12.5");
        assert_eq!(Money::from_usd(-0.25).decimal(), "-0.25");
        assert_eq!(Money::from_usd(1e-12).decimal(), "0.000000000001");
    }

    #[test]
    fn affordable_counts_whole_tokens_only() {
        let price = Money::per_million(1.0);
        assert_eq!(price.affordable(Money::from_usd(0.0000025)), 2);
        assert_eq!(price.affordable(Money::from_usd(-1.0)), 0);
        assert_eq!(Money::ZERO.affordable(Money::ZERO), u64::MAX);
    }
}
