//! Questions about keys and accounts.

use fairkey_client::CallErrorKind;
use fairkey_core::{ApiKey, Scope};
use fairkey_transport::TransportErrorKind;

use crate::scripted::{REVOKED, Reply, Scripted, client};

#[tokio::test(start_paused = true)]
async fn a_key_is_asked_about_with_itself() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-1" => Reply::status(200, r#"{"data":{"label":"sk-…","limit_remaining":12.5}}"#),
        _ => Reply::status(401, REVOKED),
    });
    let client = client(2, &transport);
    let info = client.key_info("k1").await.unwrap();
    assert_eq!(info.limit_remaining, Some(12.5));
    assert_eq!(transport.seen()[0].uri, "https://openrouter.ai/api/v1/key");
    let error = client.key_info("k0").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.scope()),
        (CallErrorKind::Fault, Scope::Key)
    );
    let error = client.key_info("nobody").await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Request);
    assert!(error.to_string().contains("nobody"));
    assert_eq!(transport.seen().len(), 2, "a refusal is not tried again");
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_balance_is_asked_for_with_a_management_key_and_networks_may_stumble() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 | 2 => Reply::Error(TransportErrorKind::Reset),
        _ => Reply::status(200, r#"{"data":{"total_credits":10.0,"total_usage":2.5}}"#),
    });
    let client = client(1, &transport);
    let credits = client.credits(&ApiKey::new("sk-management")).await.unwrap();
    assert_eq!(credits.balance(), 7.5);
    assert_eq!(transport.keys(), ["sk-management"; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_form_is_said_to_be_one() {
    let transport = Scripted::new(|_| Reply::status(200, r#"{"data":[1,2]}"#));
    let client = client(1, &transport);
    let error = client.key_info("k0").await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Answer);
}
