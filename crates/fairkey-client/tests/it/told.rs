//! What the upstream tells of its limits is taken at once, and nothing is guessed.

use std::time::Duration;

use fairkey_client::Client;
use fairkey_core::Key;
use fairkey_openrouter::ChatRequest;
use fairkey_strategy::{Limit, LimitSet, LimitsConfig};

use crate::scripted::{Reply, Scripted, Seen, builder, prompt};

/// 1,800,000,000 s after 1970 it is 08:00 UTC.
const UNTIL_MIDNIGHT: Duration = Duration::from_secs(16 * 3_600);

fn uses(client: &Client) -> Vec<String> {
    let uses = client.limit_uses();
    let each = uses.iter().map(|of| format!("{}: {of}", of.owner));
    each.collect()
}

fn refusal(message: &str, source: &str, limit: &str) -> Reply {
    let body = format!(
        r#"{{"error":{{"code":429,"message":"{message}","metadata":{{"limit_source":"{source}","headers":{{"X-RateLimit-Limit":"{limit}","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1800000005000"}}}}}}}}"#
    );
    Reply::status(429, &body)
}

/// Refuses the first call so, and answers the others.
async fn after(first: fn() -> Reply, limits: LimitsConfig) -> Client {
    let transport = Scripted::new(move |seen| match seen.nth {
        1 => first().after(Duration::from_millis(10)),
        _ => Reply::good("x"),
    });
    let key = Key::new("k0", "sk-0").account("acme");
    let client = builder(0, &transport).keys([key]).limits(limits).build();
    let client = client.unwrap();
    let request = ChatRequest::new("m/a:free").user("x");
    client.chat(&request).await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_free_models_is_told_by_its_refusal() {
    let first = || refusal("x", "openrouter_free_tier_per_minute", "20");
    let client = after(first, LimitsConfig::default()).await;
    let owner = "free models of account \"acme\"";
    // The call that was refused began before there was a limit.
    assert_eq!(
        uses(&client),
        [format!("{owner}: 1 of 20 requests a minute")]
    );
    let set = |limit| LimitSet {
        requests: Some(Limit::per_minute(limit)),
        ..LimitSet::NONE
    };
    let lower = LimitsConfig::default().free_models("acme", set(8));
    let client = after(first, lower).await;
    assert_eq!(
        uses(&client),
        [format!("{owner}: 2 of 8 requests a minute")]
    );
    let higher = LimitsConfig::default().free_models("acme", set(90));
    let client = after(first, higher).await;
    assert_eq!(
        uses(&client),
        [format!("{owner}: 2 of 20 requests a minute")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_a_busy_model_is_told_by_its_words() {
    let first = || {
        let message = "Rate limit exceeded: limit_rpm/m/a/0.";
        refusal(message, "openrouter_shared_capacity", "8")
    };
    let client = after(first, LimitsConfig::default()).await;
    let of = "model \"m/a:free\" of account \"acme\"";
    assert_eq!(uses(&client), [format!("{of}: 1 of 8 requests a minute")]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_without_a_window_is_not_guessed() {
    let first = || refusal("Rate limit exceeded", "", "60");
    let client = after(first, LimitsConfig::default()).await;
    // What was accepted is learned from, and the number is nowhere.
    let uses = uses(&client);
    assert!(uses.iter().all(|it| !it.contains("of 60 ")), "{uses:?}");
}

fn about_itself(seen: &Seen) -> Reply {
    if !seen.uri.path().ends_with("/key") {
        return Reply::good("x");
    }
    let limit = match seen.nth {
        1 => "\"limit\":10,\"limit_remaining\":0.00003,\"limit_reset\":\"daily\"",
        _ => "\"limit\":null,\"limit_remaining\":null,\"limit_reset\":null",
    };
    Reply::status(
        200,
        &format!(
            r#"{{"data":{{"label":"sk-or","usage":0,{limit},"free_model_daily_requests":{{"used":49,"limit":50,"remaining":1}}}}}}"#
        ),
    )
}

#[tokio::test(start_paused = true)]
async fn a_key_tells_its_cap_and_the_free_requests_of_the_day() {
    let transport = Scripted::new(about_itself);
    let client = builder(1, &transport).build().unwrap();
    client.check_key("k0").await.unwrap();
    let free = |used: u64| {
        format!("free models of the account of key \"k0\": {used} of 50 requests a day")
    };
    assert_eq!(
        uses(&client),
        [
            free(49),
            "key \"k0\": 10.00 of 10.00 USD of credit a day".to_owned()
        ]
    );
    // Each costs two hundred-thousandths: the second passes the cap, and the third waits.
    for _ in 0..2 {
        client.chat(&prompt("x")).await.unwrap();
    }
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("10.00 USD of credit a day used up until "),
        "{error}"
    );
    assert!(error.retry_after().unwrap() <= UNTIL_MIDNIGHT);
    // The cap is taken away.
    client.check_key("k0").await.unwrap();
    assert_eq!(uses(&client), [free(49)]);
    client.chat(&prompt("x")).await.unwrap();
    let request = ChatRequest::new("m/a:free").user("x");
    client.chat(&request).await.unwrap();
    let error = client.chat(&request).await.unwrap_err();
    assert!(
        error.to_string().contains("50 requests a day used up"),
        "{error}"
    );
    client.chat(&prompt("x")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_without_a_time_comes_again_when_the_account_is_worth_a_try() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(
            429,
            r#"{"error":{"code":429,"message":"Rate limit exceeded"}}"#,
        ),
        _ => Reply::good("x"),
    });
    let key = Key::new("k0", "sk-0").account("acme");
    let client = builder(0, &transport).keys([key]).build().unwrap();
    let began = tokio::time::Instant::now();
    client.chat(&prompt("x")).await.unwrap();
    let took = began.elapsed();
    // A 64th of the window, not the longest wait there is.
    assert!(took <= Duration::from_secs(2), "{took:?}");
}
