//! What to do about a fault: [`Verdict`].
//!
//! One pure function decides for all kinds of calls. Who is at fault decides *where* the next
//! attempt goes; what kind of fault it is decides *when*; the ledger decides *whether*.

use std::time::Duration;

use fairkey_core::{FaultKind, Scope};
use fairkey_openrouter::{Fault, RetryHint};

use crate::{RetryConfig, backoff};

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand the fault to the caller: no attempt can help.
    Return,
    /// Try another key at once; another key of the same account will do.
    OtherKey,
    /// Try a key of another account at once.
    OtherAccount,
    /// Try again after this long, with whatever key is free then: no key is to blame.
    SameAfter(Duration),
    /// Another attempt could help, but may not be made.
    GiveUp(GiveUp),
}

/// Why an attempt that could help is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The call has used its attempts.
    Attempts,
    /// The call has used its failovers.
    Failovers,
    /// The retries of all calls have used up the fleet's budget.
    Budget,
    /// The next attempt would come after the call's deadline.
    Deadline,
    /// No key is left that this call has not tried.
    NoKeyLeft,
    /// Content has reached the caller already: another attempt would repeat it.
    Committed,
    /// It is unknown whether the attempt still runs, and the configuration says not to send a
    /// request twice.
    Unknown,
}

impl GiveUp {
    /// Returns the reason as words, to stand behind "given up: ".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "the call has used its attempts",
            Self::Failovers => "the call has used its failovers",
            Self::Budget => "the retry budget of all calls is used up",
            Self::Deadline => "the next attempt would come after the deadline",
            Self::NoKeyLeft => "no other key is left to try",
            Self::Committed => "content has been delivered already",
            Self::Unknown => "the request may still be running, and is not to be sent twice",
        }
    }
}

/// A fault, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Where the same call can fare better, where it was refused before anything was billed.
    pub(crate) elsewhere: Option<Elsewhere>,
    /// Whether the same call can fare better later.
    pub(crate) later: bool,
    /// The upstream's word on when.
    pub(crate) hint: Hint,
    /// Whether the request may be running upstream in spite of the fault.
    pub(crate) may_run: bool,
}

/// Where a call that was refused can fare better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    Key,
    Account,
}

impl Case {
    /// Reads a fault at a time of day, since 1970-01-01 00:00 UTC.
    pub(crate) fn of(fault: &Fault, wall: Duration, may_run: bool) -> Self {
        let remedy = fault.remedy();
        let elsewhere = if remedy.same_account_key {
            Some(Elsewhere::Key)
        } else if remedy.other_account || remedy.richer_account {
            Some(Elsewhere::Account)
        } else {
            None
        };
        let hint = match (fault.retry(), fault.wait(wall)) {
            (RetryHint::Never, _) => Hint::Never,
            (_, Some(wait)) => Hint::After(wait),
            (_, None) => Hint::Unknown,
        };
        // What nobody upstream is to blame for gets no better by itself, and what is used up not
        // within the life of a call.
        let theirs = !matches!(fault.scope(), Scope::Request | Scope::Caller | Scope::Local);
        let later = match fault.kind() {
            FaultKind::Throttled | FaultKind::Failed => theirs || remedy.wait,
            FaultKind::Exhausted => false,
            _ => remedy.wait,
        };
        Self {
            elsewhere,
            later,
            hint,
            may_run,
        }
    }
}

/// When the upstream says that trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    Unknown,
    After(Duration),
    Never,
}

/// The state of a call, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Attempts made, failovers aside.
    pub(crate) attempts: u32,
    pub(crate) failovers: u32,
    /// Until the call's deadline.
    pub(crate) left: Option<Duration>,
    pub(crate) committed: bool,
}

/// Decides what to do about a fault, with `chance` from 0 to 1 for the jitter.
///
/// The fleet's budget is asked afterwards, for [`Verdict::SameAfter`] only: asking takes.
pub(crate) fn verdict(case: Case, spent: Spent, config: &RetryConfig, chance: f64) -> Verdict {
    if case.elsewhere.is_none() && (!case.later || case.hint == Hint::Never) {
        return Verdict::Return;
    }
    if spent.committed {
        return Verdict::GiveUp(GiveUp::Committed);
    }
    match case.elsewhere {
        Some(_) if spent.failovers >= config.failovers => {
            return Verdict::GiveUp(GiveUp::Failovers);
        }
        Some(Elsewhere::Key) => return Verdict::OtherKey,
        Some(Elsewhere::Account) => return Verdict::OtherAccount,
        // A provider, a model or the service does not get better by changing keys.
        None => {}
    }
    let hint = match case.hint {
        Hint::After(hint) => Some(hint),
        Hint::Unknown | Hint::Never => None,
    };
    if case.may_run && !config.resend_unknown {
        return Verdict::GiveUp(GiveUp::Unknown);
    }
    if spent.attempts >= config.attempts.max(1) {
        return Verdict::GiveUp(GiveUp::Attempts);
    }
    let wait = backoff::wait(config, spent.attempts.saturating_sub(1), hint, chance);
    if spent.left.is_some_and(|left| wait >= left) {
        return Verdict::GiveUp(GiveUp::Deadline);
    }
    Verdict::SameAfter(wait)
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::Cause;

    use super::*;

    const FIRST: Spent = Spent {
        attempts: 1,
        failovers: 0,
        left: None,
        committed: false,
    };
    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn case(cause: Cause) -> Case {
        Case::of(&Fault::new(cause, ""), WALL, false)
    }

    #[track_caller]
    fn check(case: Case, spent: Spent, expected: Verdict) {
        let found = verdict(case, spent, &RetryConfig::default(), 1.0);
        assert_eq!(found, expected, "{case:?} after {spent:?}");
    }

    #[test]
    fn every_cause_has_its_verdict() {
        const SOON: Verdict = Verdict::SameAfter(Duration::from_millis(250));
        for cause in Cause::all() {
            use Cause as C;
            let expected = match cause {
                C::KeyInvalid
                | C::KeyExpired
                | C::KeyDisabled
                | C::ManagementKey
                | C::KeyForbidden
                | C::KeyCapSpent
                | C::KeyCapTooSmall => Verdict::OtherKey,
                C::GuardrailBudget | C::WorkspaceBudget | C::BalanceExhausted => {
                    Verdict::OtherAccount
                }
                C::InFlightBudget
                | C::FreeDaily
                | C::FreePerMinute
                | C::AccountRateLimited
                | C::AdmissionControl
                | C::RequestTooBigForBalance
                | C::PolicyRestricted => Verdict::OtherAccount,
                C::SharedCapacity
                | C::CapacityExhausted
                | C::ModelUnavailable
                | C::ProviderPool
                | C::ProviderRateLimited
                | C::ProviderAuth
                | C::ProviderError
                | C::Overloaded
                | C::ProviderTimeout
                | C::ErrorIn200
                | C::Malformed
                | C::NoContent
                | C::Truncated
                | C::ServerError
                | C::RequestTimeout
                | C::EdgeBlocked
                | C::EdgeFailed
                | C::Network
                | C::Unknown => SOON,
                _ => Verdict::Return,
            };
            check(case(cause), FIRST, expected);
        }
    }

    #[test]
    fn who_is_at_fault_agrees_with_where_the_next_attempt_goes() {
        for cause in Cause::all() {
            let found = verdict(case(cause), FIRST, &RetryConfig::default(), 1.0);
            match cause.scope() {
                Scope::Key => assert_eq!(found, Verdict::OtherKey, "{cause}"),
                Scope::Account | Scope::Budget => {
                    assert_eq!(found, Verdict::OtherAccount, "{cause}");
                }
                Scope::Caller | Scope::Local => assert_eq!(found, Verdict::Return, "{cause}"),
                Scope::Request => assert!(!matches!(found, Verdict::SameAfter(_)), "{cause}"),
                _ => assert!(!matches!(found, Verdict::OtherKey | Verdict::OtherAccount)),
            }
        }
    }

    #[test]
    fn a_hint_is_the_floor_of_the_wait_and_never_means_never() {
        let full = Fault::new(Cause::ProviderRateLimited, "");
        let after = |secs| RetryHint::After(Duration::from_secs(secs));
        let hinted = Case::of(&full.clone().with_retry(after(10)), WALL, false);
        check(hinted, FIRST, Verdict::SameAfter(Duration::from_secs(12)));
        let never = Case::of(&full.with_retry(RetryHint::Never), WALL, false);
        check(never, FIRST, Verdict::Return);
        let revoked = Fault::new(Cause::KeyInvalid, "").with_retry(RetryHint::Never);
        check(Case::of(&revoked, WALL, false), FIRST, Verdict::OtherKey);
    }

    #[test]
    fn what_is_used_up_for_the_day_is_not_tried_again() {
        let body = br#"{"error":{"code":429,"message":"Rate limit exceeded: limit_rpd/a/b",
            "metadata":{"limit_source":"openrouter_shared_capacity"}}}"#;
        let status = http::StatusCode::TOO_MANY_REQUESTS;
        let fault = Fault::from_response(status, &http::HeaderMap::new(), body);
        assert_eq!(fault.kind(), FaultKind::Exhausted);
        check(Case::of(&fault, WALL, false), FIRST, Verdict::Return);
    }

    #[test]
    fn the_ledger_ends_retries_and_failovers_separately() {
        let (down, dead) = (case(Cause::ServerError), case(Cause::KeyInvalid));
        let spent = |attempts, failovers| Spent {
            attempts,
            failovers,
            ..Spent::default()
        };
        check(
            down,
            spent(3, 16),
            Verdict::SameAfter(Duration::from_secs(1)),
        );
        check(down, spent(4, 0), Verdict::GiveUp(GiveUp::Attempts));
        check(dead, spent(4, 15), Verdict::OtherKey);
        check(dead, spent(1, 16), Verdict::GiveUp(GiveUp::Failovers));
        let never = RetryConfig::never();
        assert_eq!(
            verdict(down, FIRST, &never, 1.0),
            Verdict::GiveUp(GiveUp::Attempts)
        );
        assert_eq!(
            verdict(dead, FIRST, &never, 1.0),
            Verdict::GiveUp(GiveUp::Failovers)
        );
    }

    #[test]
    fn no_wait_reaches_beyond_the_deadline() {
        let down = case(Cause::ServerError);
        let left = |millis| Spent {
            left: Some(Duration::from_millis(millis)),
            ..FIRST
        };
        check(
            down,
            left(251),
            Verdict::SameAfter(Duration::from_millis(250)),
        );
        check(down, left(250), Verdict::GiveUp(GiveUp::Deadline));
        check(case(Cause::KeyInvalid), left(1), Verdict::OtherKey);
    }

    #[test]
    fn nothing_is_tried_again_after_content() {
        let spent = Spent {
            committed: true,
            ..FIRST
        };
        for cause in [
            Cause::KeyInvalid,
            Cause::AccountRateLimited,
            Cause::Truncated,
        ] {
            check(case(cause), spent, Verdict::GiveUp(GiveUp::Committed));
        }
        check(case(Cause::BadRequest), spent, Verdict::Return);
    }

    #[test]
    fn what_may_still_run_is_sent_twice_only_where_that_is_allowed() {
        let mut reset = case(Cause::Network);
        reset.may_run = true;
        check(reset, FIRST, Verdict::SameAfter(Duration::from_millis(250)));
        let careful = RetryConfig {
            resend_unknown: false,
            ..RetryConfig::default()
        };
        assert_eq!(
            verdict(reset, FIRST, &careful, 1.0),
            Verdict::GiveUp(GiveUp::Unknown)
        );
        reset.may_run = false;
        assert!(matches!(
            verdict(reset, FIRST, &careful, 1.0),
            Verdict::SameAfter(_)
        ));
    }
}
