//! The fleet's retry budget, under an outage of everything.

use fairkey_client::{BudgetConfig, CallErrorKind, Client, GiveUp, RetryConfig};

use crate::scripted::{DOWN, REVOKED, Reply, Scripted, builder, prompt};

async fn storm(client: &Client, calls: usize) -> Vec<Option<GiveUp>> {
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(&prompt("x")).await.unwrap_err() })
        })
        .collect();
    let mut ends = Vec::new();
    for task in tasks {
        let error = task.await.unwrap();
        assert_eq!(error.kind(), CallErrorKind::Fault);
        ends.push(error.give_up());
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_add_at_most_a_fifth_under_an_outage() {
    let transport = Scripted::new(|_| Reply::status(503, DOWN));
    // Without the gates that would keep most of these calls away.
    let client = builder(4, &transport).default_gates(false).build().unwrap();
    let ends = storm(&client, 1_000).await;
    let sent = transport.seen().len();
    // 20 % of the calls, and the reserve of 1 per second in a window of 10 s.
    assert!(
        (1_200..=1_210).contains(&sent),
        "{sent} requests for 1,000 calls"
    );
    let stats = client.stats();
    assert_eq!(stats.retries as usize, sent - 1_000);
    assert!(stats.budget_denied > 700);
    assert!(
        ends.iter()
            .filter(|end| **end == Some(GiveUp::Budget))
            .count()
            > 700
    );
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn over_a_long_outage_the_floor_is_what_remains() {
    let transport = Scripted::new(|_| Reply::status(503, DOWN));
    let client = builder(1, &transport).default_gates(false).build().unwrap();
    // One call every 10 s: far below what the ratio alone would pay for.
    for _ in 0..20 {
        client.chat(&prompt("x")).await.unwrap_err();
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
    }
    assert_eq!(
        transport.seen().len(),
        80,
        "the reserve pays for all 3 retries of each"
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_out_is_looked_for_ever_more_rarely_by_one_call_at_a_time() {
    let transport = Scripted::new(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        if body.contains("m/a") {
            Reply::status(503, DOWN)
        } else {
            Reply::good("x")
        }
    });
    let client = builder(4, &transport).build().unwrap();
    for _ in 0..60 {
        client.chat(&prompt("x")).await.unwrap_err();
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
    }
    let sent = transport.seen().len();
    assert!(
        sent < 60,
        "{sent} requests for 60 calls, which 240 would be without gates"
    );
    // No other model has to wait for it.
    let began = tokio::time::Instant::now();
    let other = fairkey_openrouter::ChatRequest::new("m/b").user("x");
    client.chat(&other).await.unwrap();
    assert_eq!(began.elapsed(), std::time::Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn failovers_are_not_paid_from_the_budget() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-5" => Reply::good("x"),
        _ => Reply::status(401, REVOKED),
    });
    let nothing = BudgetConfig {
        ratio: 0.0,
        min_per_second: 0.0,
        ..BudgetConfig::default()
    };
    let retry = RetryConfig {
        budget: nothing,
        ..RetryConfig::default()
    };
    let client = builder(6, &transport).retry(retry).build().unwrap();
    assert_eq!(client.chat(&prompt("x")).await.unwrap().key.as_str(), "k5");
}
