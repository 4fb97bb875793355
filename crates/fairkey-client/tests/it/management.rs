//! Administration of keys, with a management key.

use std::time::Duration;

use fairkey_client::{CallErrorKind, Client, Management, RetryConfig};
use fairkey_mock::{Account, Break, Fault, Key, MockOpenRouter, On, Step};
use fairkey_openrouter::management::{KeyChange, KeyFilter, NewKey};
use fairkey_openrouter::{Cause, ChatRequest, ResetInterval};

const MANAGEMENT: &str = "sk-or-v1-management-canary";

async fn mock() -> MockOpenRouter {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").balance_usd(9.0))
        .key(Key::new("sk-or-v1-normal").account("acme"))
        .key(Key::management(MANAGEMENT).account("acme"));
    mock.start().await.unwrap()
}

fn management(mock: &MockOpenRouter, key: &str) -> Management {
    let quick = RetryConfig {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        ..RetryConfig::default()
    };
    Management::builder(key)
        .base_url(mock.base_url())
        .retry(quick)
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_key_is_made_used_changed_listed_and_deleted() {
    let mock = mock().await;
    let management = management(&mock, MANAGEMENT);
    let new = NewKey::new("search")
        .limit(50.0)
        .limit_reset(ResetInterval::Monthly);
    let created = management.create_key(&new).await.unwrap();
    assert_eq!(
        (&*created.key.name, created.key.limit),
        ("search", Some(50.0))
    );
    let client = Client::builder()
        .key("new", created.secret.clone())
        .base_url(mock.base_url())
        .build()
        .unwrap();
    client
        .chat(&ChatRequest::new("openai/gpt-4o-mini").user("x"))
        .await
        .unwrap();

    let hash = &created.key.hash;
    let off = KeyChange::new().disabled(true);
    assert!(management.update_key(hash, &off).await.unwrap().disabled);
    let names = |keys: Vec<fairkey_openrouter::management::ManagedKey>| {
        keys.into_iter().map(|key| key.name).collect::<Vec<_>>()
    };
    let all = KeyFilter::new().include_disabled(true);
    assert!(names(management.keys(&all).await.unwrap()).contains(&"search".to_owned()));
    let enabled = management.keys(&KeyFilter::new()).await.unwrap();
    assert!(!names(enabled).contains(&"search".to_owned()));
    assert!(management.key(hash).await.unwrap().disabled);
    assert!(management.delete_key(hash).await.unwrap());
    let gone = management.key(hash).await.unwrap_err();
    assert_eq!(
        gone.fault().and_then(fairkey_openrouter::Fault::status),
        Some(404)
    );
    assert_eq!(management.credits().await.unwrap().balance().round(), 9.0);
}

#[tokio::test]
async fn long_lists_are_read_to_their_end() {
    let mock = mock().await;
    let management = management(&mock, MANAGEMENT);
    for n in 0..130 {
        let new = NewKey::new(format!("made-{n}"));
        management.create_key(&new).await.unwrap();
    }
    let keys = management.keys(&KeyFilter::new()).await.unwrap();
    let made = keys.iter().filter(|key| key.name.starts_with("made-"));
    assert_eq!(made.count(), 130);
}

#[tokio::test]
async fn an_inference_key_administers_nothing() {
    let mock = mock().await;
    let error = management(&mock, "sk-or-v1-normal")
        .keys(&KeyFilter::new())
        .await
        .unwrap_err();
    let cause = error.fault().map(fairkey_openrouter::Fault::cause);
    assert_eq!(cause, Some(Cause::ManagementKeyRequired), "{error}");
}

#[tokio::test]
async fn a_list_is_read_again_after_a_failure_and_a_key_is_made_only_once() {
    let reset = || Step::reset_before_head().times(1);
    let down = || Step::reply(Fault::new(503, "down")).times(1);
    let mock = MockOpenRouter::builder()
        .key(Key::management(MANAGEMENT))
        .script(On::path("/keys"), [reset(), down()])
        .start()
        .await
        .unwrap();
    let management = management(&mock, MANAGEMENT);
    management.keys(&KeyFilter::new()).await.unwrap();
    let before = mock.counters().total.requests;
    assert!(before >= 3, "{before}");
    let answer_lost = Step::pass().then_break(0, Break::Reset);
    mock.script(On::path("/keys"), [answer_lost.times(1)]);
    let error = management.create_key(&NewKey::new("a")).await.unwrap_err();
    assert_eq!(error.kind(), CallErrorKind::Fault);
    let text = error.to_string();
    assert!(text.contains("list the keys before trying again"), "{text}");
    assert_eq!(mock.counters().total.requests, before + 1, "sent once");
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_sent() {
    let mock = mock().await;
    let management = management(&mock, MANAGEMENT);
    for new in [NewKey::new(" "), NewKey::new("a").limit(-1.0)] {
        let error = management.create_key(&new).await.unwrap_err();
        assert_eq!(error.kind(), CallErrorKind::Request);
    }
    assert_eq!(mock.counters().total.requests, 0);
    let shown = format!("{management:?} {:?}", Management::builder(MANAGEMENT));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        Management::builder("x")
            .base_url("http://example.com")
            .build()
            .is_err()
    );
    assert!(Management::builder("a\nb").build().is_err());
    assert!(Management::builder(" ").build().is_err());
}
