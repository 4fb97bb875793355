//! Rolling windows and free quotas.

use std::time::Duration;

use fairkey_mock::{Account, Event, FreeTier, Key, Limit, MockOpenRouter, On, Step};
use serde_json::json;

use crate::support::{chat, get, post, try_post, with, within};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_window_refuses_until_the_stamp_it_gave() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").requests_per_window(2, HOUR))
        .account(Account::new("other").requests_per_window(2, HOUR))
        .key(Key::new("a").account("acme"))
        .key(Key::new("b").account("acme"))
        .key(Key::new("c").account("other"))
        .start()
        .await
        .unwrap();
    let first = mock.now();
    for key in ["a", "b"] {
        assert_eq!(post(&mock, key, &chat("x")).await.status, 200);
    }
    mock.advance(HOUR / 2);
    for key in ["a", "b"] {
        let answer = post(&mock, key, &chat("x")).await;
        assert_eq!(answer.status, 429, "keys of one account share its window");
        assert_eq!(answer.header("x-ratelimit-limit"), Some("2"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some("0"));
        let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
        let metadata = &answer.json()["error"]["metadata"];
        assert_eq!(metadata["headers"]["X-RateLimit-Reset"], reset.to_string());
        assert!(metadata["provider_name"].is_null());
        // In milliseconds: an hour after the first call, which came a little after `first`.
        let wait = reset - first.unix_millis();
        assert!((3_600_000..3_660_000).contains(&wait), "{wait}");
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(
        post(&mock, "c", &chat("x")).await.status,
        200,
        "another account"
    );
    mock.advance(HOUR / 2);
    assert_eq!(post(&mock, "b", &chat("x")).await.status, 200);
}

#[tokio::test]
async fn hints_may_stand_in_the_body_alone() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").requests_per_window(0, HOUR))
        .key(Key::new("a").account("acme"))
        .hints_in_headers(false)
        .start()
        .await
        .unwrap();
    let answer = post(&mock, "a", &chat("x")).await;
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-reset")),
        (429, None)
    );
    let metadata = &answer.json()["error"]["metadata"];
    assert!(metadata["headers"]["X-RateLimit-Reset"].is_string());
}

#[tokio::test]
async fn tokens_count_in_a_window_of_their_own() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").tokens_per_window(40, HOUR))
        .key(Key::new("a").account("acme"))
        .answer_tokens(20..=20)
        .start()
        .await
        .unwrap();
    let ask = chat(&"word".repeat(10));
    assert_eq!(post(&mock, "a", &ask).await.status, 200);
    let answer = post(&mock, "a", &ask).await;
    assert_eq!(
        (answer.status, answer.header("x-ratelimit-limit")),
        (429, Some("40"))
    );
    assert_eq!(
        post(&mock, "a", &chat("tiny")).await.status,
        200,
        "1 token still fits"
    );
    mock.advance(HOUR);
    assert_eq!(post(&mock, "a", &ask).await.status, 200);
}

#[tokio::test]
async fn free_models_have_a_quota_per_minute_and_per_utc_day() {
    let free = "meta-llama/llama-3.3-70b-instruct:free";
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").free_tier(FreeTier::new(2, 4)))
        .key(Key::new("a").account("acme"))
        .start()
        .await
        .unwrap();
    let ask = with(chat("x"), json!({ "model": free }));
    let status = async || {
        let answer = post(&mock, "a", &ask).await;
        (
            answer.status,
            if answer.status == 200 {
                None
            } else {
                answer.limit_source()
            },
        )
    };
    let per_minute = (429, Some("openrouter_free_tier_per_minute".to_owned()));
    let daily = (429, Some("openrouter_free_tier_daily".to_owned()));
    assert_eq!(status().await, (200, None));
    assert_eq!(status().await, (200, None));
    assert_eq!(status().await, per_minute);
    mock.advance(Duration::from_secs(60));
    assert_eq!(status().await, (200, None));
    assert_eq!(status().await, daily, "the refused call counted");
    let quota = get(&mock, "/key", "a").await.json()["data"]["free_model_daily_requests"].clone();
    assert_eq!(quota, json!({"used": 5, "limit": 4, "remaining": 0}));
    assert_eq!(
        post(&mock, "a", &chat("x")).await.status,
        200,
        "paid models are another matter"
    );
    mock.advance(mock.now().next_day().since(mock.now()));
    assert_eq!(status().await, (200, None));
}

#[tokio::test]
async fn limits_of_account_key_and_model_hold_all_or_none_and_are_named_in_the_log() {
    let mock = MockOpenRouter::builder()
        .account(
            Account::new("acme")
                .limit(Limit::requests(4, HOUR))
                .limit(Limit::requests(2, HOUR).of_model("openai/gpt-4o").hidden()),
        )
        .key(
            Key::new("a")
                .label("a")
                .account("acme")
                .limit(Limit::requests(2, HOUR)),
        )
        .key(Key::new("b").label("b").account("acme"))
        .start()
        .await
        .unwrap();
    let last = || {
        let events = mock.log().events();
        let by = events.iter().rev().find_map(fairkey_mock::Event::limit);
        by.unwrap_or_default().to_owned()
    };
    for _ in 0..2 {
        assert_eq!(post(&mock, "a", &chat("x")).await.status, 200);
    }
    for _ in 0..5 {
        assert_eq!(post(&mock, "a", &chat("x")).await.status, 429);
        assert_eq!(last(), "key a: 2 requests in 3600s");
    }
    // What the key refused did not count for the account: two are left.
    let large = with(chat("x"), json!({"model": "openai/gpt-4o"}));
    for status in [200, 200, 429] {
        assert_eq!(post(&mock, "b", &large).await.status, status);
    }
    assert_eq!(last(), "account acme: 4 requests in 3600s");
    mock.advance(HOUR);
    for status in [200, 200, 429] {
        let answer = post(&mock, "b", &large).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-ratelimit-reset"), None, "it is hidden");
    }
    assert_eq!(last(), "account acme: 2 requests in 3600s, openai/gpt-4o");
    assert_eq!(
        post(&mock, "b", &chat("x")).await.status,
        200,
        "another model"
    );
}

#[tokio::test]
async fn a_limit_of_calls_at_once_reopens_when_one_ends() {
    let mock = MockOpenRouter::builder()
        .account(Account::new("acme").limit(Limit::in_flight(1)))
        .key(Key::new("a").account("acme"))
        .start()
        .await
        .unwrap();
    mock.script(On::any(), [Step::stall_after_chunks(1)]);
    let streamed = with(chat("x"), json!({"stream": true}));
    let log = mock.log();
    let refused = tokio::select! {
        answer = try_post(&mock, "a", &streamed) => panic!("answered: {answer:?}"),
        answer = async {
            within(log.wait_for(Event::is_stalled)).await;
            post(&mock, "a", &chat("x")).await
        } => answer,
    };
    assert_eq!((refused.status, refused.header("retry-after")), (429, None));
    within(log.wait_for(Event::is_cancelled)).await;
    for _ in 0..3 {
        assert_eq!(post(&mock, "a", &chat("x")).await.status, 200);
    }
}

#[tokio::test]
async fn refused_calls_may_count_and_keep_a_limit_closed() {
    for (counts, status) in [(false, 200), (true, 429)] {
        let limit = Limit::requests(1, HOUR);
        let limit = if counts {
            limit.counts_refused()
        } else {
            limit
        };
        let mock = MockOpenRouter::builder()
            .account(Account::new("acme").limit(limit))
            .key(Key::new("a").account("acme"))
            .start()
            .await
            .unwrap();
        assert_eq!(post(&mock, "a", &chat("x")).await.status, 200);
        mock.advance(HOUR / 2);
        assert_eq!(post(&mock, "a", &chat("x")).await.status, 429);
        mock.advance(HOUR / 2);
        assert_eq!(post(&mock, "a", &chat("x")).await.status, status);
    }
}
