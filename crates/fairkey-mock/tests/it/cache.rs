//! The response cache.

use std::time::Duration;

use fairkey_mock::{Account, Key, Limit, MockOpenRouter};
use serde_json::{Value, json};

use crate::support::{Answer, chat, request, send, with};

async fn ask(
    mock: &MockOpenRouter,
    key: &str,
    body: &Value,
    more: &[(&'static str, &str)],
) -> Answer {
    let path = "/chat/completions";
    let mut request = request(mock, "POST", path, Some(key), body.to_string());
    request
        .headers_mut()
        .insert("x-openrouter-cache", "true".parse().unwrap());
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    send(mock, request).await.unwrap()
}

fn status(answer: &Answer) -> &str {
    answer.header("x-openrouter-cache-status").unwrap()
}

#[tokio::test]
async fn a_hit_costs_nothing_takes_nothing_and_says_the_same() {
    let mock = MockOpenRouter::builder()
        .account(
            Account::new("acme")
                .balance_usd(1.0)
                .limit(Limit::requests(1, Duration::from_secs(3600))),
        )
        .key(Key::new("a").account("acme"))
        .start()
        .await
        .unwrap();
    let first = ask(&mock, "a", &chat("x"), &[]).await;
    assert_eq!(
        (status(&first), first.header("x-openrouter-cache-ttl")),
        ("MISS", Some("300"))
    );
    let spent = mock.balance_usd("acme");
    for _ in 0..3 {
        let hit = ask(&mock, "a", &chat("x"), &[]).await;
        assert_eq!(status(&hit), "HIT");
        assert_eq!(hit.content(), first.content());
        let (new, old) = (hit.json(), first.json());
        assert_ne!(new["id"], old["id"]);
        let source = hit.header("x-openrouter-cache-source-id");
        assert_eq!(source, old["id"].as_str());
        assert_eq!(new["usage"]["total_tokens"], 0);
        assert_eq!(new["usage"]["cost"], 0.0);
    }
    assert!((mock.balance_usd("acme") - spent).abs() < 1e-12);
    assert_eq!(
        ask(&mock, "a", &chat("y"), &[]).await.status,
        429,
        "another body is counted"
    );
}

#[tokio::test]
async fn another_key_body_or_stream_flag_misses_and_so_does_what_is_too_old() {
    let mock = MockOpenRouter::open().start().await.unwrap();
    let streamed = with(chat("x"), json!({"stream": true}));
    assert_eq!(status(&ask(&mock, "a", &chat("x"), &[]).await), "MISS");
    assert_eq!(
        status(&ask(&mock, "b", &chat("x"), &[]).await),
        "MISS",
        "kept by key"
    );
    assert_eq!(status(&ask(&mock, "a", &streamed, &[]).await), "MISS");
    let hit = ask(&mock, "a", &streamed, &[]).await;
    assert_eq!(status(&hit), "HIT");
    assert_eq!(hit.events().last().unwrap(), "[DONE]");
    let clear = [("x-openrouter-cache-clear", "true")];
    assert_eq!(status(&ask(&mock, "a", &chat("x"), &clear).await), "MISS");
    mock.advance(Duration::from_secs(120));
    let hit = ask(&mock, "a", &chat("x"), &[]).await;
    let age: u64 = hit
        .header("x-openrouter-cache-age")
        .unwrap()
        .parse()
        .unwrap();
    assert!((120..180).contains(&age), "{age}");
    mock.advance(Duration::from_secs(180));
    assert_eq!(status(&ask(&mock, "a", &chat("x"), &[]).await), "MISS");
    let plain = crate::support::post(&mock, "a", &chat("x")).await;
    assert_eq!(
        plain.header("x-openrouter-cache-status"),
        None,
        "only who asks is told"
    );
}
