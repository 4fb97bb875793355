use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(secs)
}

fn seen(secs: u64, key: u32, account: u32, cause: Cause) -> Sighting {
    Sighting {
        at: at(secs),
        key,
        account,
        model: Some(1),
        cause,
        worked: true,
    }
}

fn success(secs: u64, account: u32) -> Success {
    Success {
        begun: at(secs),
        account,
        model: Some(1),
    }
}

fn scope(raised: Option<&Raised>) -> Option<Scope> {
    raised.map(|raised| raised.scope)
}

#[test]
fn one_bad_key_is_never_masked_however_often_it_fails() {
    let mut watch = Correlation::default();
    for second in 0..120 {
        let fault = seen(second, 7, 1, Cause::KeyInvalid);
        assert_eq!(watch.failed(fault, 5), None, "at {second} s");
    }
}

#[test]
fn one_bad_key_among_healthy_ones_is_never_masked() {
    let mut watch = Correlation::default();
    // Two keys of one account go bad within the window, but the account has success in between.
    assert_eq!(watch.failed(seen(0, 1, 1, Cause::KeyInvalid), 2), None);
    watch.succeeded(success(1, 1));
    assert_eq!(watch.failed(seen(2, 2, 1, Cause::KeyInvalid), 2), None);
    // And each of two accounts loses a key.
    watch.succeeded(success(3, 2));
    assert_eq!(watch.failed(seen(4, 3, 2, Cause::KeyInvalid), 2), None);
}

#[test]
fn two_keys_of_an_account_that_fail_alike_are_the_account() {
    let mut watch = Correlation::default();
    assert_eq!(watch.failed(seen(0, 1, 1, Cause::KeyInvalid), 4), None);
    let raised = watch.failed(seen(5, 2, 1, Cause::KeyInvalid), 4).unwrap();
    assert_eq!(raised.scope, Scope::Account);
    assert_eq!(raised.keys, [1], "whose blame was wrong");
    assert!(raised.accounts.is_empty());
    let third = watch.failed(seen(6, 3, 1, Cause::KeyInvalid), 4).unwrap();
    assert_eq!(third.keys, [1, 2]);
}

#[test]
fn faults_that_are_not_alike_or_too_far_apart_stay_what_they_are() {
    let mut watch = Correlation::default();
    watch.failed(seen(0, 1, 1, Cause::KeyInvalid), 4);
    assert_eq!(watch.failed(seen(1, 2, 1, Cause::KeyForbidden), 4), None);
    assert_eq!(watch.failed(seen(61, 3, 1, Cause::KeyInvalid), 4), None);
    assert!(watch.failed(seen(61, 4, 1, Cause::KeyInvalid), 4).is_some());
}

#[test]
fn a_success_that_began_before_the_fault_says_nothing() {
    let mut watch = Correlation::default();
    watch.failed(seen(10, 1, 1, Cause::KeyInvalid), 4);
    watch.succeeded(success(9, 1));
    let raised = watch.failed(seen(11, 2, 1, Cause::KeyInvalid), 4);
    assert_eq!(scope(raised.as_ref()), Some(Scope::Account));
}

#[test]
fn accounts_that_are_throttled_alike_for_one_model_are_the_model() {
    let mut watch = Correlation::default();
    let cause = Cause::AccountRateLimited;
    assert_eq!(watch.failed(seen(0, 1, 1, cause), 9), None);
    assert_eq!(watch.failed(seen(1, 2, 2, cause), 9), None);
    let raised = watch.failed(seen(2, 3, 3, cause), 9).unwrap();
    assert_eq!(raised.scope, Scope::Model);
    assert_eq!((raised.keys, raised.accounts), (vec![1, 2], vec![1, 2, 3]));
    // Two are enough where there are no more.
    let mut watch = Correlation::default();
    watch.failed(seen(0, 1, 1, cause), 2);
    let raised = watch.failed(seen(1, 2, 2, cause), 2);
    assert_eq!(scope(raised.as_ref()), Some(Scope::Model));
}

#[test]
fn accounts_that_are_throttled_alike_for_several_models_are_the_service() {
    let mut watch = Correlation::default();
    let cause = Cause::AccountRateLimited;
    let of = |secs, key, model| Sighting {
        model,
        ..seen(secs, key, key, cause)
    };
    watch.failed(of(0, 1, Some(1)), 9);
    watch.failed(of(1, 2, Some(2)), 9);
    let raised = watch.failed(of(2, 3, Some(3)), 9);
    assert_eq!(scope(raised.as_ref()), Some(Scope::Service));
    // Calls that name no model are all calls.
    let mut watch = Correlation::default();
    watch.failed(of(0, 1, None), 9);
    watch.failed(of(1, 2, None), 9);
    let raised = watch.failed(of(2, 3, None), 9);
    assert_eq!(scope(raised.as_ref()), Some(Scope::Service));
}

#[test]
fn while_another_model_works_only_the_model_can_be_meant() {
    let mut watch = Correlation::default();
    let cause = Cause::AccountRateLimited;
    let of = |secs, key, model| Sighting {
        model: Some(model),
        ..seen(secs, key, key, cause)
    };
    watch.failed(of(0, 1, 1), 9);
    watch.failed(of(1, 2, 2), 9);
    watch.succeeded(Success {
        model: Some(5),
        ..success(2, 9)
    });
    assert_eq!(watch.failed(of(3, 3, 1), 9), None, "two with model 1");
    let raised = watch.failed(of(4, 4, 1), 9);
    assert_eq!(scope(raised.as_ref()), Some(Scope::Model));
    // And where the model itself works elsewhere, each account is throttled by itself.
    watch.succeeded(success(5, 9));
    assert_eq!(watch.failed(of(6, 6, 1), 9), None);
}

#[test]
fn refused_credentials_are_the_services_only_if_the_keys_have_worked() {
    let mut watch = Correlation::default();
    let of = |secs, key, worked| Sighting {
        worked,
        ..seen(secs, key, key, Cause::KeyInvalid)
    };
    for key in 0..6 {
        assert_eq!(watch.failed(of(0, key, false), 9), None, "never worked");
    }
    assert_eq!(watch.failed(of(1, 10, true), 9), None);
    assert_eq!(watch.failed(of(2, 11, true), 9), None);
    let raised = watch.failed(of(3, 12, true), 9).unwrap();
    assert_eq!(raised.scope, Scope::Service, "one model or not");
    assert_eq!(raised.keys, [10, 11]);
}

#[test]
fn money_is_each_accounts_own() {
    let mut watch = Correlation::default();
    for key in 0..9 {
        assert_eq!(
            watch.failed(seen(0, key, key, Cause::BalanceExhausted), 9),
            None
        );
    }
}

#[test]
fn a_window_of_nothing_turns_it_off() {
    let mut watch = Correlation::new(CorrelationConfig {
        window: Duration::ZERO,
        ..CorrelationConfig::default()
    });
    for key in 0..9 {
        assert_eq!(watch.failed(seen(0, key, 1, Cause::KeyInvalid), 2), None);
    }
    assert!(watch.is_empty());
}

#[test]
fn what_is_typed_or_names_its_reset_is_not_watched() {
    use http::{HeaderMap, StatusCode};
    let read = |status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        Fault::from_response(status, &HeaderMap::new(), body.as_bytes())
    };
    let untyped = read(401, r#"{"error":{"message":"User not found.","code":401}}"#);
    assert!(is_watched(&untyped), "{untyped:?}");
    let typed = read(
        401,
        r#"{"error":{"code":401,"message":"x","metadata":{"error_type":"authentication"}}}"#,
    );
    assert_eq!(typed.evidence(), Evidence::Typed);
    assert!(!is_watched(&typed));
    let cap = read(
        403,
        r#"{"error":{"code":403,"message":"Key limit exceeded (daily limit)"}}"#,
    );
    assert!(!is_watched(&cap), "{cap:?}");
    let full = read(503, r#"{"error":{"code":503,"message":"No provider"}}"#);
    assert!(!is_watched(&full));
    assert!(!is_watched(&Fault::network("reset")));
}

#[derive(Clone, Debug)]
enum Step {
    Fault(Sighting),
    Success(Success),
}

fn causes() -> impl Strategy<Value = Cause> {
    let all: Vec<Cause> = Cause::all().collect();
    prop::sample::select(all)
}

fn step(keys: std::ops::Range<u32>) -> impl Strategy<Value = Step> {
    let time = 0..300_u64;
    prop_oneof![
        3 => (time.clone(), keys, 0..4_u32, prop::option::of(0..3_u64), causes(), any::<bool>())
            .prop_map(|(secs, key, account, model, cause, worked)| Step::Fault(Sighting {
                at: at(secs), key, account, model, cause, worked,
            })),
        1 => (time, 0..4_u32, prop::option::of(0..3_u64)).prop_map(|(secs, account, model)| {
            Step::Success(Success { begun: at(secs), account, model })
        }),
    ]
}

proptest! {
    #[test]
    fn nothing_is_raised_from_one_key(steps in prop::collection::vec(step(3..4), 0..200)) {
        let mut watch = Correlation::default();
        for step in steps {
            match step {
                // A key has one account.
                Step::Fault(seen) => prop_assert_eq!(
                    watch.failed(Sighting { account: 0, ..seen }, 4), None
                ),
                Step::Success(success) => watch.succeeded(success),
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_raised_has_its_witnesses(
        steps in prop::collection::vec(step(0..2_000), 0..600),
    ) {
        let mut watch = Correlation::default();
        for step in steps {
            match step {
                Step::Fault(seen) => {
                    let seen = Sighting { account: seen.key % 4, ..seen };
                    if let Some(raised) = watch.failed(seen, 4) {
                        prop_assert!(!raised.keys.is_empty());
                        prop_assert!(!raised.keys.contains(&seen.key));
                        match raised.scope {
                            Scope::Account => prop_assert!(
                                raised.keys.iter().all(|key| key % 4 == seen.account)
                            ),
                            Scope::Model => prop_assert!(seen.model.is_some()),
                            other => prop_assert_eq!(other, Scope::Service),
                        }
                        if raised.scope != Scope::Account {
                            prop_assert!(raised.accounts.len() >= 3);
                            prop_assert_ne!(seen.cause.kind(), FaultKind::Exhausted);
                        }
                    }
                }
                Step::Success(success) => watch.succeeded(success),
            }
            prop_assert!(watch.records.len() <= MOST);
        }
    }
}
