//! A client behind the run, against the mock.

use std::sync::Arc;
use std::time::Duration;

use fairkey_batch::{
    ClientCaller, MemoryOutput, ReadConfig, ReaderThread, RunConfig, Stop, Stopped, Summary, run,
};
use fairkey_client::{Client, ClientBuilder, RetryConfig};
use fairkey_core::Key;
use fairkey_mock::{Account, Fault, MockOpenRouter, On, Step};
use serde_json::Value;

/// Sends so many prompts, with a bound on the time that it may take.
async fn send(client: ClientBuilder, mock: &MockOpenRouter, n: usize) -> (Summary, Vec<Value>) {
    let client = client.base_url(mock.base_url()).build().unwrap();
    let input: String = (0..n)
        .map(|n| format!("{{\"prompt\":\"Question {n}\"}}\n"))
        .collect();
    let rows =
        ReaderThread::start(std::io::Cursor::new(input), ReadConfig::default(), None).unwrap();
    let output = MemoryOutput::new();
    let caller = Arc::new(ClientCaller::new(client));
    let mut config = RunConfig::default();
    config.patience = Duration::from_millis(200);
    let running = run(rows, caller, output.clone(), config, Stop::new(), ());
    let summary = tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .expect("in time");
    assert_eq!(summary.rows.lost, 0);
    let lines = output.lines();
    (
        summary,
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn state<'a>(summary: &'a Summary, key: &str) -> &'a str {
    &summary
        .keys
        .iter()
        .find(|entry| entry.key.as_str() == key)
        .unwrap()
        .state
}

#[tokio::test]
async fn a_revoked_key_among_others_costs_no_row() {
    let mock = MockOpenRouter::builder()
        .key(fairkey_mock::Key::new("sk-or-v1-good"))
        .start()
        .await
        .unwrap();
    let client = Client::builder()
        .key("good", "sk-or-v1-good")
        .key("revoked", "sk-or-v1-revoked");
    let (summary, lines) = send(client, &mock, 50).await;
    assert!(summary.is_complete());
    assert!(lines.iter().all(|line| line["fairkey"]["key"] == "good"));
    let text = lines[7]["response"]["body"]["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    assert!(text.contains("Question 7"), "{text}");
    assert_eq!(state(&summary, "good"), "ok");
    assert_eq!(state(&summary, "revoked"), "out: key_invalid (401)");
    assert_eq!(mock.counters().total.finished, 50);
    assert!(summary.cost.tokens > 0 && summary.cost.micro_usd > 0);
}

#[tokio::test]
async fn a_run_without_a_living_key_ends_and_says_why_for_each() {
    let mock = MockOpenRouter::builder()
        .key(fairkey_mock::Key::new("sk-or-v1-unused"))
        .start()
        .await
        .unwrap();
    let client = Client::builder()
        .key("a", "sk-or-v1-aaa")
        .key("b", "sk-or-v1-bbb");
    let (summary, lines) = send(client, &mock, 500).await;
    let Some(Stopped::KeysOut { keys, .. }) = &summary.stopped else {
        panic!("{:?}", summary.stopped)
    };
    assert_eq!(keys.len(), 2);
    assert!(
        keys.iter().all(|key| key.why.contains("key_invalid")),
        "{keys:?}"
    );
    assert!(lines.is_empty());
    assert!(
        mock.counters().total.requests < 50,
        "{}",
        mock.counters().total.requests
    );
}

#[tokio::test]
async fn rows_wait_for_an_account_that_asks_to_slow_down() {
    let account = || Account::new("acme").requests_per_window(5, Duration::from_millis(200));
    let mock = MockOpenRouter::builder()
        .now(std::time::SystemTime::UNIX_EPOCH + now())
        .account(account())
        .key(fairkey_mock::Key::new("sk-or-v1-aaa").account("acme"))
        .start()
        .await
        .unwrap();
    let retry = RetryConfig {
        cap: Duration::from_millis(300),
        ..RetryConfig::default()
    };
    let client = Client::builder()
        .keys([Key::new("a", "sk-or-v1-aaa").account("acme")])
        .retry(retry)
        .default_gates(false);
    let (summary, _) = send(client, &mock, 40).await;
    assert!(summary.is_complete(), "{:?}", summary.rows);
    let refused = summary.keys[0]
        .refusals
        .get("account_rate_limited")
        .copied();
    assert!(refused.unwrap_or(0) > 0, "{:?}", summary.keys);
}

#[tokio::test]
async fn a_run_whose_account_stays_empty_ends_when_its_patience_does() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("poor").balance_usd(0.0))
        .key(fairkey_mock::Key::new("sk-or-v1-aaa").account("poor"))
        .start()
        .await
        .unwrap();
    let client = Client::builder()
        .keys([Key::new("a", "sk-or-v1-aaa").account("poor")])
        .max_wait(Duration::from_millis(50));
    let (summary, lines) = send(client, &mock, 100).await;
    let Some(Stopped::KeysOut { keys, retry_after }) = &summary.stopped else {
        panic!("{:?}", summary.stopped)
    };
    assert!(keys[0].why.contains("balance_exhausted"), "{keys:?}");
    assert!(retry_after.is_some());
    assert!(lines.is_empty());
}

#[tokio::test]
async fn an_error_of_the_row_itself_is_its_result_and_repeats_no_key() {
    let echo = Fault::bad_request("Key sk-or-v1-canary-0123456789 cannot do that");
    let mock = MockOpenRouter::open()
        .script(On::any(), [Step::reply(echo).times(1)])
        .start()
        .await
        .unwrap();
    let client = Client::builder().key("a", "sk-or-v1-canary-0123456789");
    let (summary, lines) = send(client, &mock, 2).await;
    assert_eq!((summary.rows.answered, summary.rows.failed), (1, 1));
    let failed = lines.iter().find(|line| !line["error"].is_null()).unwrap();
    assert_eq!(failed["error"]["code"], "bad_request");
    assert_eq!(failed["error"]["scope"], "request");
    assert_eq!(failed["response"]["status_code"], 400);
    assert_eq!(failed["fairkey"]["attempts"], 1);
    assert!(!failed.to_string().contains("canary"), "{failed}");
}

fn now() -> Duration {
    fairkey_core::WallClock::since_epoch(&fairkey_core::SystemWallClock)
}
