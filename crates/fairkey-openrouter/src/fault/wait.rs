//! What a fault means to a pool: who, what kind, and until when on the pool's clock.

use std::time::Duration;

use fairkey_core::{FaultKind, Outcome, Retry, Timestamp};

use crate::fault::{Cause, Fault, RetryHint};

/// How long ago a stamp can have passed and still mean what it says: the time of an answer on its
/// way, and of two clocks that differ a little.
const JUST_PASSED: Duration = Duration::from_secs(60);

/// The wait that such a stamp means: what it names is over, as far as anybody can tell.
const SOON: Duration = Duration::from_millis(100);

/// What the fault means to a pool.
impl Fault {
    /// Returns the longest wait that a hint can mean here: that of the
    /// [cause](Cause::max_wait), and 25 hours for a quota of a day on a busy model.
    #[must_use]
    pub fn max_wait(&self) -> Duration {
        let usual = self.0.cause.max_wait();
        match (self.0.cause, self.0.kind) {
            (Cause::SharedCapacity, FaultKind::Exhausted) => usual.max(Cause::FreeDaily.max_wait()),
            _ => usual,
        }
    }

    /// Returns how long to wait from now on, where that is known; `wall` is the time of day since
    /// 1970-01-01 00:00 UTC.
    ///
    /// A hint is bounded by [`max_wait`](Self::max_wait). A stamp that passed within the last
    /// minute was still to come when the answer was written: it means a tenth of a second. One
    /// that passed before that, and a wait of nothing, say nothing: a clock is wrong, or the
    /// upstream is, and the schedule of whoever asks decides. Without a hint the calendar speaks for
    /// what starts anew by the day, the week or the month: for what is used up, and for a cap that
    /// is nearly so where its reset is near.
    #[must_use]
    pub fn wait(&self, wall: Duration) -> Option<Duration> {
        let wait = match self.0.retry {
            RetryHint::Never => None,
            RetryHint::After(wait) => Some(wait),
            RetryHint::At(at) if at <= wall && wall - at <= JUST_PASSED => Some(SOON),
            RetryHint::At(at) => at.checked_sub(wall),
            RetryHint::Unknown => {
                let reset = self
                    .0
                    .resets
                    .as_ref()
                    .and_then(|resets| resets.next_reset(wall));
                let wait = reset.and_then(|at| at.checked_sub(wall));
                // What is not used up yet is looked at again sooner than at a reset that is far.
                wait.filter(|wait| self.0.kind == FaultKind::Exhausted || *wait <= self.max_wait())
            }
        };
        wait.filter(|wait| !wait.is_zero())
            .map(|wait| wait.min(self.max_wait()))
    }

    /// Returns the fault as the pool is told of it: who, what kind, and when it can be over on the
    /// pool's clock.
    ///
    /// `now` is the time of the pool's clock, `wall` the time of day since 1970-01-01 00:00 UTC;
    /// stamps of the upstream are converted from one to the other and bounded as
    /// [`wait`](Self::wait) says.
    #[must_use]
    pub fn outcome(&self, now: Timestamp, wall: Duration) -> Outcome {
        let retry = match (self.0.retry, self.wait(wall)) {
            (RetryHint::Never, _) => Retry::Never,
            (RetryHint::After(_), Some(wait)) => Retry::After(wait),
            (_, Some(wait)) => Retry::At(now + wait),
            (_, None) => Retry::Unknown,
        };
        Outcome::fault(self.0.scope, self.0.kind).with_retry(retry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_that_is_nearly_spent_is_well_at_a_reset_that_is_near() {
        let body = br#"{"error":{"code":402,"message":"create a key with a higher daily limit",
            "metadata":{"limit_source":"openrouter_key_limit"}}}"#;
        let status = http::StatusCode::PAYMENT_REQUIRED;
        let fault = Fault::from_response(status, &http::HeaderMap::new(), body);
        assert_eq!(fault.cause(), Cause::KeyCapTooSmall);
        let midnight = Duration::from_secs(86_400 * 20_000);
        let wait = |before| fault.wait(midnight - Duration::from_secs(before));
        assert_eq!(wait(250), Some(Duration::from_secs(250)));
        assert_eq!(wait(20), Some(Duration::from_secs(20)));
        assert_eq!(wait(3_600), None, "the schedule of whoever asks decides");
    }

    #[test]
    fn a_stamp_that_has_just_passed_means_soon_and_an_old_one_nothing() {
        let wall = Duration::from_secs(1_800_000_000);
        let wait = |at: Duration| {
            let hint = RetryHint::At(at);
            Fault::new(Cause::AccountRateLimited, "")
                .with_retry(hint)
                .wait(wall)
        };
        assert_eq!(
            wait(wall + Duration::from_secs(3)),
            Some(Duration::from_secs(3))
        );
        assert_eq!(wait(wall), Some(SOON));
        assert_eq!(wait(wall - Duration::from_millis(5)), Some(SOON));
        assert_eq!(wait(wall - JUST_PASSED), Some(SOON));
        assert_eq!(wait(wall - JUST_PASSED - Duration::from_millis(1)), None);
    }
}
