//! Who may come in.

use std::time::Duration;

use fairkey_mock::{Account, Key, MockOpenRouter, Timestamp};

use crate::support::{chat, get, open, post, request, send};

#[tokio::test]
async fn a_missing_header_and_one_without_a_key_are_told_apart() {
    let mock = open().await;
    let missing = request(
        &mock,
        "POST",
        "/chat/completions",
        None,
        chat("x").to_string(),
    );
    let answer = send(&mock, missing).await.unwrap();
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (401, "Missing Authentication header")
    );
    let mut malformed = request(&mock, "GET", "/key", None, "");
    malformed
        .headers_mut()
        .insert("authorization", "Basic abc".parse().unwrap());
    let answer = send(&mock, malformed).await.unwrap();
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (401, "No auth credentials found")
    );
}

#[tokio::test]
async fn unknown_revoked_disabled_and_expired_keys_are_all_not_found() {
    let soon = Timestamp::DEFAULT_START.plus(Duration::from_secs(3600));
    let mock = MockOpenRouter::builder()
        .key(Key::new("revoked").label("r"))
        .key(Key::new("disabled").disabled(true))
        .key(Key::new("expiring").expires_at(soon))
        .start()
        .await
        .unwrap();
    assert_eq!(post(&mock, "revoked", &chat("x")).await.status, 200);
    assert_eq!(post(&mock, "expiring", &chat("x")).await.status, 200);
    mock.revoke_key("r");
    mock.advance(Duration::from_secs(3600));
    for key in ["unknown", "revoked", "disabled", "expiring"] {
        let answer = post(&mock, key, &chat("x")).await;
        assert_eq!(
            (answer.status, answer.message().as_str()),
            (401, "User not found."),
            "{key}"
        );
        assert_eq!(get(&mock, "/key", key).await.status, 401, "{key}");
    }
    mock.restore_key("revoked");
    mock.enable_key("disabled");
    assert_eq!(post(&mock, "revoked", &chat("x")).await.status, 200);
    assert_eq!(post(&mock, "disabled", &chat("x")).await.status, 200);
}

#[tokio::test]
async fn management_keys_read_credits_and_do_not_infer() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(10.0))
        .key(Key::management("manager").account("acme"))
        .key(Key::new("worker").account("acme"))
        .start()
        .await
        .unwrap();
    let answer = get(&mock, "/credits", "manager").await;
    assert_eq!(answer.json()["data"]["total_credits"], 10.0);
    assert_eq!(answer.json()["data"]["total_usage"], 0.0);
    let answer = get(&mock, "/credits", "worker").await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.message(),
        "Only management keys can perform this operation"
    );
    assert_eq!(post(&mock, "manager", &chat("x")).await.status, 403);
    assert_eq!(
        get(&mock, "/key", "manager").await.json()["data"]["is_management_key"],
        true
    );
}

#[tokio::test]
async fn the_catalog_needs_no_key() {
    let mock = MockOpenRouter::builder()
        .key(Key::new("k"))
        .start()
        .await
        .unwrap();
    let answer = send(&mock, request(&mock, "GET", "/models", None, ""))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_error_of_a_known_key_names_its_user() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(0.0))
        .key(Key::new("k").account("acme"))
        .start()
        .await
        .unwrap();
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!(answer.json()["user_id"], "user_acme");
    assert_eq!(answer.header("content-length"), None, "errors are chunked");
}
