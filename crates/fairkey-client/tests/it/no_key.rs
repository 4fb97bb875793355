//! What is told where no key is to be had.

use std::time::Duration;

use fairkey_client::{CallErrorKind, GiveUp};
use fairkey_core::{At, Denied, Gate, Scope, Scopes};
use fairkey_openrouter::Cause;

use crate::scripted::{ADMISSION, NO_CREDIT, REVOKED, Reply, Scripted, builder, client, prompt};

#[tokio::test(start_paused = true)]
async fn when_every_key_is_dead_the_reason_is_told_for_each() {
    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let client = client(3, &transport);
    let first = client.chat(&prompt("x")).await.unwrap_err();
    let began = tokio::time::Instant::now();
    let second = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing to wait for");
    for error in [first, second] {
        assert_eq!(error.kind(), CallErrorKind::NoKey);
        assert!(error.is_every_key_dead(), "{error:?}");
        assert_eq!(error.keys().len(), 3);
        let text = error.to_string();
        for key in ["k0", "k1", "k2"] {
            assert!(
                text.contains(&format!(
                    "\"{key}\" is out for good, refused 0.0 s ago: key, key_invalid (401)"
                )),
                "{text}"
            );
        }
    }
    assert_eq!(
        transport.seen().len(),
        3,
        "nothing was sent for the second call"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_for_want_of_keys_carries_the_last_refusal() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(402, NO_CREDIT),
        _ => Reply::status(401, REVOKED),
    });
    let client = client(2, &transport);
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert_eq!(error.give_up(), Some(GiveUp::NoKeyLeft));
    assert_eq!(error.fault().unwrap().cause(), Cause::KeyInvalid);
    let response = error.response().unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (401, REVOKED.as_bytes())
    );
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert!(error.response().is_none() && error.fault().is_none());
    assert_eq!(error.give_up(), None);
}

/// Takes every key for dead.
#[derive(Debug)]
struct AllDead;

impl Gate for AllDead {
    fn check(&self, _: &At<'_>) -> Result<(), Denied> {
        Err(Denied::for_good(Scope::Key))
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }
}

#[tokio::test(start_paused = true)]
async fn with_ten_thousand_dead_keys_an_error_names_some_and_counts_all() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = builder(10_000, &transport).gate(AllDead).build().unwrap();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::NoKey);
    assert!(error.is_every_key_dead());
    assert_eq!(error.keys().len(), 32);
    let counts = error.key_counts();
    assert_eq!(counts.len(), 1);
    assert_eq!(
        (counts[0].by, counts[0].is_for_good, counts[0].count),
        (Some(Scope::Key), true, 10_000)
    );
    let text = error.to_string();
    assert!(
        text.contains("; of 10000 keys: 10000 out for good (key)"),
        "{text}"
    );
    assert!(text.len() < 1_000, "{text}");
}

#[tokio::test]
async fn the_only_key_is_named_with_cause_and_time_when_it_is_dead() {
    // On real time: a call that fails at once has not waited, however long the look took.
    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let client = client(1, &transport);
    client.chat(&prompt("x")).await.unwrap_err();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "no key can be had: \"k0\" is out for good, refused 0.0 s ago: key, key_invalid (401)"
    );
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_out_are_named_soonest_first_with_the_time_that_is_left() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-0" => Reply::status(401, REVOKED),
        "sk-1" => Reply::status(429, ADMISSION),
        _ => Reply::status(402, NO_CREDIT),
    });
    let client = builder(3, &transport)
        .max_wait(Duration::ZERO)
        .build()
        .unwrap();
    client.chat(&prompt("x")).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let error = client.chat(&prompt("x")).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "no key can be had: \"k1\" is out for 6.0 s more, refused 4.0 s ago: \
             account, admission_control (429); \"k2\" is out for "
        ),
        "{text}"
    );
    let labels: Vec<_> = error.keys().iter().map(|key| key.key.as_str()).collect();
    assert_eq!(labels, ["k1", "k2", "k0"]);
    assert_eq!(error.keys()[0].opens_in, Some(Duration::from_secs(6)));
    assert_eq!(error.keys()[0].refused_ago, Some(Duration::from_secs(4)));
    assert_eq!(error.scope(), Scope::Account);
    assert!(!error.is_every_key_dead());
    let counts: usize = error.key_counts().iter().map(|count| count.count).sum();
    assert_eq!(counts, 3);
}
