//! How long to wait before a retry.
//!
//! Full jitter (a random time between zero and a range that doubles) spreads calls that failed
//! together better than the range itself with a little noise. A hint of the upstream is a floor,
//! with jitter above it: everybody was told the same time.

use std::time::Duration;

use crate::RetryConfig;

/// No wait is shorter: timers round, and a loop that waits for nothing would spin.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// Returns the wait before retry number `retry` (0 is the first), with `chance` from 0 to 1.
pub(crate) fn wait(
    config: &RetryConfig,
    retry: u32,
    hint: Option<Duration>,
    chance: f64,
) -> Duration {
    let chance = chance.clamp(0.0, 1.0);
    let wait = match hint {
        Some(hint) => {
            let hint = hint.min(config.hint_cap);
            hint.saturating_add((hint / 5).max(Duration::from_secs(1)).mul_f64(chance))
        }
        None => {
            let doublings = 1_u32.checked_shl(retry).unwrap_or(u32::MAX);
            config
                .base
                .saturating_mul(doublings)
                .min(config.cap)
                .mul_f64(chance)
        }
    };
    wait.max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(retry: u32, hint: Option<u64>, chance: f64) -> u128 {
        let config = RetryConfig::default();
        wait(&config, retry, hint.map(Duration::from_secs), chance).as_millis()
    }

    #[test]
    fn the_range_doubles_up_to_the_cap() {
        let longest: Vec<_> = (0..9).map(|retry| millis(retry, None, 1.0)).collect();
        assert_eq!(
            longest,
            [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(millis(u32::MAX, None, 1.0), 30_000);
    }

    #[test]
    fn jitter_is_full_and_never_zero() {
        assert_eq!(millis(3, None, 0.5), 1_000);
        assert_eq!(millis(3, None, 0.0), 1);
    }

    #[test]
    fn a_hint_is_a_floor_with_jitter_above_and_a_cap() {
        assert_eq!(millis(0, Some(2), 0.0), 2_000);
        assert_eq!(
            millis(5, Some(2), 1.0),
            3_000,
            "a second more, whatever the retry"
        );
        assert_eq!(millis(0, Some(100), 1.0), 120_000, "a fifth more");
        assert_eq!(millis(0, Some(86_400), 1.0), 360_000, "believed for 300 s");
        assert_eq!(millis(0, Some(0), 0.0), 1);
    }
}
