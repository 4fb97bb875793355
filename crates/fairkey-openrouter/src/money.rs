//! Money: US dollars on the wire, millionths of a dollar in the pool.

/// Returns an amount of US dollars in millionths of one, as [`Cost`](fairkey_core::Cost) counts.
///
/// Rounds to the nearest millionth, but never a positive amount to nothing: a million calls of a
/// tenth of a micro-dollar each must not look free. What is no amount (negative, not a number) is
/// zero; what is too large saturates.
#[must_use]
pub fn micro_usd(usd: f64) -> u64 {
    if usd.is_nan() || usd <= 0.0 {
        return 0;
    }
    // The cast saturates.
    ((usd * 1e6).round() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_to_the_nearest_millionth_but_not_to_nothing() {
        for (usd, micro) in [
            (0.0, 0),
            (-1.0, 0),
            (f64::NAN, 0),
            (1e-9, 1),
            (0.000_003, 3),
            (0.000_001_4, 1),
            (0.000_001_6, 2),
            (12.5, 12_500_000),
            (f64::INFINITY, u64::MAX),
        ] {
            assert_eq!(micro_usd(usd), micro, "{usd}");
        }
    }
}
