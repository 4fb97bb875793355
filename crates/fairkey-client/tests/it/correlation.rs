//! Faults without a typed scope, seen with several keys alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairkey_client::{CallOptions, Client};
use fairkey_core::{Key, Scope};
use http_body_util::BodyExt;

use super::scripted::{REVOKED, Reply, Scripted, builder, delta, event, prompt, role};

const SLOW_DOWN: &str = r#"{"error":{"code":429,"message":"Too many requests"}}"#;

/// Accounts `a`, `b`, `c`, with two keys each: `a0`, `a1`, …
fn three_accounts(transport: &Arc<Scripted>) -> Client {
    let mut keys = Vec::new();
    for account in ["a", "b", "c"] {
        for n in 0..2 {
            let id = format!("{account}{n}");
            keys.push(Key::new(id.as_str(), format!("sk-{id}")).account(account));
        }
    }
    builder(0, transport).keys(keys).build().unwrap()
}

fn out(client: &Client) -> Vec<String> {
    let standing = client.standing();
    let out = standing.keys.iter().filter(|key| !key.is_in());
    out.map(|key| format!("{}: {key}", key.key.as_ref().unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_answers_401_quarantines_no_key_that_has_worked() {
    let down = Arc::new(AtomicBool::new(false));
    let transport = Scripted::new({
        let down = Arc::clone(&down);
        move |_| {
            if down.load(Ordering::Relaxed) {
                Reply::status(401, REVOKED)
            } else {
                Reply::good("hi")
            }
        }
    });
    let client = three_accounts(&transport);
    for n in 0..30 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    down.store(true, Ordering::Relaxed);
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(error.scope(), Scope::Service, "{error}");
    down.store(false, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(120)).await;
    for n in 0..30 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    assert_eq!(out(&client), [""; 0]);
    let used: std::collections::HashSet<String> = transport.keys()[40..].iter().cloned().collect();
    assert_eq!(used.len(), 6, "every key is back");
}

#[tokio::test(start_paused = true)]
async fn a_closed_account_costs_two_attempts_and_its_keys_are_not_blamed_one_by_one() {
    let transport = Scripted::new(|seen| {
        if seen.key.starts_with("sk-a") {
            Reply::status(401, REVOKED)
        } else {
            Reply::good("hi")
        }
    });
    let mut keys: Vec<Key> = (0..8)
        .map(|n| Key::new(format!("a{n}"), format!("sk-a{n}")).account("a"))
        .collect();
    keys.push(Key::new("b", "sk-b").account("b"));
    let client = builder(0, &transport).keys(keys).build().unwrap();
    // The load is even: the account is met before long.
    for n in 0..20 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    let of_a = transport
        .keys()
        .iter()
        .filter(|key| key.starts_with("sk-a"))
        .count();
    assert!(of_a <= 3, "{of_a} attempts with keys of the account");
    let blamed = out(&client);
    assert!(
        blamed.iter().all(|line| line.contains("account")),
        "{blamed:#?}"
    );
    assert_eq!(blamed.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn one_bad_key_is_out_and_its_account_is_not() {
    let transport = Scripted::new(|seen| {
        if seen.key == "sk-a0" {
            Reply::status(401, REVOKED)
        } else {
            Reply::good("hi")
        }
    });
    let client = three_accounts(&transport);
    for n in 0..60 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    let tried = transport
        .keys()
        .iter()
        .filter(|key| *key == "sk-a0")
        .count();
    assert_eq!(tried, 1);
    let out = out(&client);
    assert_eq!(out.len(), 1, "{out:#?}");
    assert!(
        out[0].starts_with("a0: out: key invalid (by status, 401)"),
        "{out:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_throttles_every_account_stops_rotation_and_closes_no_account() {
    let transport = Scripted::new(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        if body.contains("m/full") {
            Reply::status(429, SLOW_DOWN)
        } else {
            Reply::good("hi")
        }
    });
    let client = three_accounts(&transport);
    let full = fairkey_openrouter::ChatRequest::new("m/full").user("x");
    let error = client.chat(&full).await.unwrap_err();
    assert_eq!(error.scope(), Scope::Model, "{error}");
    let before = transport.seen().len();
    assert!(before <= 6, "{before} attempts");
    // All six keys serve another model at once.
    assert_eq!(out(&client), [""; 0]);
    for n in 0..12 {
        client.chat(&prompt(&n.to_string())).await.unwrap();
    }
    let used: std::collections::HashSet<String> =
        transport.keys()[before..].iter().cloned().collect();
    assert_eq!(used.len(), 6);
}

/// Reads a stream to its end, typed or as bytes.
async fn stream(client: &Client, passed: bool) {
    if passed {
        let mut request = http::Request::post("/chat/completions")
            .body(bytes::Bytes::from_static(br#"{"stream":true}"#))
            .unwrap();
        request.extensions_mut().insert(CallOptions {
            model: Some("m/a".into()),
            ..CallOptions::default()
        });
        if let Ok(response) = client.send(request).await {
            let _ = response.into_body().collect().await;
        }
    } else if let Ok(mut stream) = client.chat_stream(&prompt("x")).await {
        while stream.next().await.is_some() {}
    }
}

#[tokio::test(start_paused = true)]
async fn errors_in_the_streams_of_two_keys_are_their_accounts_too() {
    for (passed, begun) in [(false, false), (false, true), (true, false), (true, true)] {
        let transport = Scripted::new(move |_| {
            let head = if begun { delta("hi") } else { role() };
            Reply::stream([head, event(REVOKED)])
        });
        let client = three_accounts(&transport);
        // Behind content no other key is tried: each call brings one of them.
        for _ in 0..6 {
            stream(&client, passed).await;
        }
        let faults = client.stats().faults;
        let by_scope = |scope| faults.iter().any(|fault| fault.scope == scope);
        assert!(by_scope(Scope::Account), "{passed} {begun}: {faults:?}");
        let out = out(&client);
        assert!(out.iter().all(|line| line.contains("account")), "{out:#?}");
    }
}
