//! Keys that go and come back: the whole client against the mock, on virtual time.

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Client, ClientBuilder, PaceConfig, WatchConfig};
use fairkey_core::Key;
use fairkey_mock::{Account, Builder, MockOpenRouter, Reset};
use fairkey_openrouter::ChatRequest;
use fairkey_transport::HttpTransport;

use crate::in_memory::{InMemory, MocksTime};

const MINUTE: Duration = Duration::from_secs(60);

fn builder(mock: Builder) -> (Arc<MockOpenRouter>, ClientBuilder) {
    let mock = Arc::new(mock.start_in_memory().unwrap());
    let transport = HttpTransport::builder()
        .dialer(Arc::new(InMemory(Arc::clone(&mock))))
        .build()
        .unwrap();
    let builder = Client::builder()
        .wall_clock(MocksTime(Arc::clone(&mock)))
        .base_url(mock.base_url())
        .transport(Arc::new(transport))
        .seed(5);
    (mock, builder)
}

fn key(label: &str, account: &str) -> fairkey_mock::Key {
    fairkey_mock::Key::new(format!("sk-or-v1-{label}"))
        .label(label)
        .account(account)
}

fn keys<const N: usize>(labels: [&'static str; N]) -> [Key; N] {
    labels.map(|label| Key::new(label, format!("sk-or-v1-{label}")))
}

/// Returns how many of them were served with `capped`, where there is such a key.
async fn call_each(client: &Client, every: Duration, calls: u32) -> usize {
    let mut capped = 0;
    for n in 0..calls {
        let request = ChatRequest::new("openai/gpt-4o-mini")
            .user(format!("Say {n}."))
            .max_tokens(64);
        let answer = client.chat(&request).await.unwrap();
        capped += usize::from(answer.key.as_str() == "capped");
        tokio::time::sleep(every).await;
    }
    capped
}

fn line(client: &Client, key: &str) -> String {
    let keys = client.standing().keys;
    let found = keys
        .iter()
        .find(|it| it.key.as_ref().is_some_and(|id| id.as_str() == key));
    found.unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_paced_cap_lasts_until_its_reset_and_calls_meet_no_refusal() {
    let refused = |paced: bool| async move {
        let (mock, builder) = builder(
            MockOpenRouter::builder()
                .now(
                    "2026-10-14T20:00:00Z"
                        .parse::<fairkey_mock::Timestamp>()
                        .unwrap(),
                )
                .account(Account::new("acme").balance_usd(100.0))
                .key(
                    key("capped", "acme")
                        .limit_usd(0.002)
                        .limit_reset(Reset::Daily),
                )
                .key(key("free", "acme")),
        );
        let pace = PaceConfig {
            enabled: paced,
            ..PaceConfig::default()
        };
        let client = builder
            .keys(keys(["capped", "free"]))
            .pace(pace)
            .build()
            .unwrap();
        let _watch = client.watch_keys(WatchConfig::default());
        let capped = || mock.counters().key("capped").clone();
        let refused = || capped().status(402) + capped().status(403);
        // To 23:00: far more calls than the cap pays for.
        let at_once = call_each(&client, MINUTE, 45).await;
        call_each(&client, MINUTE, 135).await;
        let (served, before) = (capped().status(200), refused());
        assert!(served > 0);
        // To 00:30: midnight brings it back.
        call_each(&client, MINUTE, 90).await;
        assert!(capped().status(200) > served);
        // Both keys are of one user: found out, and grouped.
        let account = |id: &str| {
            client
                .pool()
                .with_keys(|keys| keys.find(id).unwrap().account())
        };
        assert_eq!(account("capped"), account("free"));
        (before, at_once)
    };
    let (with, without) = (refused(true).await, refused(false).await);
    assert!(with.0 <= 1, "{with:?} with pacing");
    // The cap that the key tells bars it in time. Of a day's cap all is left for the last four
    // hours: pacing spends it sooner than even shares do.
    assert!(without.0 <= 1, "{without:?} without pacing");
    assert!(
        with.1 > without.1,
        "{with:?} with pacing, {without:?} without"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_disabled_for_a_while_is_back_without_anybodys_help() {
    let (mock, builder) = builder(
        MockOpenRouter::builder()
            .account(Account::new("x").balance_usd(100.0))
            .account(Account::new("y").balance_usd(100.0))
            .key(key("a", "x"))
            .key(key("b", "y")),
    );
    let client = builder.keys(keys(["a", "b"])).build().unwrap();
    let _watch = client.watch_keys(WatchConfig::default());
    call_each(&client, MINUTE, 20).await;
    mock.disable_key("a");
    call_each(&client, MINUTE, 60).await;
    let refused = mock.counters().key("a").clone();
    assert!(
        line(&client, "a").starts_with("out: key invalid"),
        "{}",
        line(&client, "a")
    );
    mock.enable_key("a");
    call_each(&client, MINUTE, 40).await;
    assert!(
        line(&client, "a").starts_with("in"),
        "{}",
        line(&client, "a")
    );
    assert!(mock.counters().key("a").status(200) > refused.status(200) + 10);
}
