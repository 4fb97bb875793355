use fairkey_openrouter::Cause;

use super::*;

const FIRST: Spent = Spent {
    attempts: 1,
    attempts_on_model: 1,
    failovers: 0,
    fallbacks: 0,
    models_left: 0,
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
            C::GuardrailBudget | C::WorkspaceBudget | C::BalanceExhausted => Verdict::OtherAccount,
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
