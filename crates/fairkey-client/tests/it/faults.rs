//! What each kind of fault leads to, for calls that are read whole.

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Call, CallErrorKind, GiveUp, RetryConfig};
use fairkey_core::{Ask, Key, Scope};
use fairkey_openrouter::Cause;
use fairkey_transport::{Deadlines, TransportErrorKind};

use crate::scripted::{
    ADMISSION, BAD, DOWN, NO_CREDIT, PROVIDER_FULL, Part, REVOKED, Reply, Scripted, builder,
    client, data, good_body, prompt,
};

#[tokio::test(start_paused = true)]
async fn a_good_answer_says_who_served_it_and_what_it_cost() {
    let transport = Scripted::new(|_| Reply::good("Paris"));
    let client = client(1, &transport);
    let answer = client.chat(&prompt("capital of France?")).await.unwrap();
    assert_eq!(answer.value.text(), "Paris");
    assert_eq!(answer.key.as_str(), "k0");
    assert_eq!(answer.cost.unwrap().micro_usd, 20);
    assert_eq!(answer.provider.as_deref(), Some("Acme"));
    assert_eq!(answer.generation.as_deref(), Some("gen-1"));
    assert_eq!(answer.elapsed, Duration::from_millis(100));
    assert_eq!((answer.attempts.len(), answer.attempts[0].fault), (1, None));
    assert_eq!(client.pool().in_flight(), 0);
    assert_eq!(client.stats().used.tokens, 5);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_out_at_its_first_refusal_and_the_call_goes_on() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-0" => Reply::status(401, REVOKED),
        _ => Reply::good("x"),
    });
    let client = client(2, &transport);
    for _ in 0..20 {
        let began = tokio::time::Instant::now();
        let answer = client.chat(&prompt("x")).await.unwrap();
        assert_eq!(answer.key.as_str(), "k1");
        assert_eq!(
            began.elapsed(),
            Duration::from_millis(100),
            "no wait before a failover"
        );
    }
    assert_eq!(
        transport.keys().iter().filter(|key| *key == "sk-0").count(),
        1
    );
    let stats = client.stats();
    assert_eq!((stats.failovers, stats.retries, stats.answered), (1, 0, 20));
    assert_eq!(
        (stats.faults[0].scope, stats.faults[0].cause),
        (Scope::Key, Cause::KeyInvalid)
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_without_credit_loses_all_its_keys_and_the_others_serve() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-poor-1" | "sk-poor-2" => Reply::status(402, NO_CREDIT),
        _ => Reply::good("x"),
    });
    let client = builder(0, &transport)
        .keys([
            Key::new("poor-1", "sk-poor-1").account("poor"),
            Key::new("poor-2", "sk-poor-2").account("poor"),
            Key::new("rich", "sk-rich").account("rich"),
        ])
        .build()
        .unwrap();
    for _ in 0..10 {
        assert_eq!(
            client.chat(&prompt("x")).await.unwrap().key.as_str(),
            "rich"
        );
    }
    let poor = transport
        .keys()
        .iter()
        .filter(|key| key.starts_with("sk-poor"))
        .count();
    assert_eq!(poor, 1, "one refusal speaks for the account");
    let attempt = &client.pool().explain(&Ask::new()).keys[1];
    assert!(!attempt.is_admitted());
}

#[tokio::test(start_paused = true)]
async fn a_full_provider_is_waited_for_and_costs_no_key() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 | 2 => Reply::status(429, PROVIDER_FULL).header("retry-after", "3"),
        _ => Reply::good("x"),
    });
    let client = client(3, &transport);
    let answer = client.chat(&prompt("x")).await.unwrap();
    assert_eq!(answer.attempts.len(), 3);
    assert_eq!(answer.attempts[0].fault.unwrap().scope, Scope::Provider);
    let seen = transport.seen();
    for pair in seen.windows(2) {
        let wait = pair[1].at - pair[0].at;
        assert!(
            (3.0..=4.001).contains(&wait.as_secs_f64()),
            "the hint is the floor: {wait:?}"
        );
    }
    assert!(
        client
            .pool()
            .explain(&Ask::new())
            .keys
            .iter()
            .all(|key| key.is_admitted())
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_comes_back_at_once() {
    let transport = Scripted::new(|_| Reply::status(400, BAD));
    let client = client(3, &transport);
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.scope()),
        (CallErrorKind::Fault, Scope::Request)
    );
    assert_eq!((error.attempts().len(), error.give_up()), (1, None));
    assert_eq!(error.response().unwrap().body(), BAD);
    assert_eq!(error.fault().unwrap().status(), Some(400));
    assert!(error.to_string().contains("\"k"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_understood_where_it_is_too_long_to_read_or_breaks_off() {
    let head = r#"{"error":{"code":400,"message":"Provider returned error","metadata":{"provider_name":"Acme","raw":""#;
    let endless = || std::iter::repeat_n(data(&"x".repeat(1_000)), 300);
    let broken = Part::Break(TransportErrorKind::Reset);
    for end in [
        endless().chain([Part::Trap]).collect::<Vec<_>>(),
        vec![data("The value is"), broken],
    ] {
        let transport = Scripted::new(move |_| Reply::Answer {
            status: 400,
            headers: vec![("content-type", "application/json".to_owned())],
            body: [vec![data(head)], end.clone()].concat(),
        });
        let client = client(3, &transport);
        let error = client.chat(&prompt("x")).await.unwrap_err();
        assert_eq!(error.scope(), Scope::Request, "{error}");
        assert_eq!(error.attempts().len(), 1);
        let fault = error.fault().unwrap();
        assert_eq!(fault.cause(), Cause::RejectedByProvider);
        assert_eq!(fault.provider(), Some("Acme"));
        let body = error.response().unwrap().body();
        assert!(body.starts_with(head.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_inside_a_200_is_tried_again() {
    let bodies = [
        r#"{"error":{"code":502,"message":"Upstream error"}}"#,
        r#"{"choices":[{"finish_reason":"error","message":{"content":"half an"},"error":{"code":502,"message":"x"}}]}"#,
        "   \n\n ",
    ];
    let transport = Scripted::new(move |seen| match bodies.get(seen.nth - 1) {
        Some(body) => Reply::status(200, body),
        None => Reply::good("whole"),
    });
    let answer = client(1, &transport).chat(&prompt("x")).await.unwrap();
    assert_eq!(answer.value.text(), "whole");
    assert_eq!(answer.attempts.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_bounds_the_attempts_of_a_call() {
    let transport = Scripted::new(|_| Reply::status(503, DOWN));
    for (attempts, expected) in [(0, 1), (1, 1), (2, 2), (6, 6)] {
        let before = transport.seen().len();
        let retry = RetryConfig {
            attempts,
            ..RetryConfig::default()
        };
        let client = builder(2, &transport).retry(retry).build().unwrap();
        let error = client.chat(&prompt("x")).await.unwrap_err();
        assert_eq!(error.attempts().len(), expected);
        assert_eq!(transport.seen().len() - before, expected);
        assert_eq!(error.give_up(), Some(GiveUp::Attempts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_used_some_of_its_attempts_before_makes_fewer() {
    let transport = Scripted::new(|_| Reply::status(503, DOWN));
    let client = client(2, &transport);
    let call = || Call::new("/embeddings", "{}");
    for (allowed, made) in [(1, 1), (2, 2), (0, 1), (99, 4)] {
        let error = client.call(call().at_most(allowed, 16)).await.unwrap_err();
        assert_eq!(error.attempts().len(), made, "{allowed}: {error}");
        assert_eq!(error.give_up(), Some(GiveUp::Attempts));
    }
    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let client = crate::scripted::client(3, &transport);
    let error = client.call(call().at_most(4, 0)).await.unwrap_err();
    assert_eq!(error.attempts().len(), 1, "{error}");
    assert_eq!(error.give_up(), Some(GiveUp::Failovers));
}

#[tokio::test(start_paused = true)]
async fn failovers_do_not_use_up_the_attempts_but_have_a_bound_of_their_own() {
    let transport = Scripted::new(|seen| match seen.key.as_str() {
        "sk-9" => Reply::good("x"),
        _ => Reply::status(401, REVOKED),
    });
    let one_attempt = RetryConfig {
        attempts: 1,
        ..RetryConfig::default()
    };
    let client = builder(10, &transport).retry(one_attempt).build().unwrap();
    assert_eq!(client.chat(&prompt("x")).await.unwrap().key.as_str(), "k9");

    let transport = Scripted::new(|_| Reply::status(401, REVOKED));
    let few = RetryConfig {
        failovers: 3,
        ..RetryConfig::default()
    };
    let client = builder(10, &transport).retry(few).build().unwrap();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(
        (error.attempts().len(), error.give_up()),
        (4, Some(GiveUp::Failovers))
    );
}

#[tokio::test(start_paused = true)]
async fn one_key_that_is_told_to_slow_down_is_waited_for() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(429, ADMISSION),
        _ => Reply::good("x"),
    });
    let client = client(1, &transport);
    let answer = client.chat(&prompt("x")).await.unwrap();
    assert_eq!(answer.attempts.len(), 2);
    let seen = transport.seen();
    let wait = seen[1].at - seen[0].at;
    assert!((10.0..10.1).contains(&wait.as_secs_f64()), "{wait:?}");
    assert_eq!(client.stats().waits, 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_tried_again_only_after_all_the_others() {
    let transport = Scripted::new(|seen| match seen.nth {
        1..=3 => Reply::status(429, ADMISSION),
        _ => Reply::good("x"),
    });
    // Without gates, so that only the call's own memory keeps it from a key.
    let client = builder(3, &transport).default_gates(false).build().unwrap();
    let answer = client.chat(&prompt("x")).await.unwrap();
    let mut first = transport.keys()[..3].to_vec();
    first.sort();
    assert_eq!(first, ["sk-0", "sk-1", "sk-2"]);
    assert_eq!(answer.attempts.len(), 4);
    assert_eq!(answer.elapsed, Duration::from_millis(10_100));
}

#[tokio::test(start_paused = true)]
async fn what_has_refused_the_call_comes_last_even_when_its_time_has_come() {
    const THROTTLED: &str = r#"{"error":{"code":429,"message":"Rate limit exceeded"}}"#;
    for seed in 0..12 {
        let transport = Scripted::new(|seen| match seen.nth {
            1 => Reply::status(429, THROTTLED).header("retry-after", "1"),
            2 => Reply::status(503, DOWN).header("retry-after", "5"),
            _ => Reply::good("x"),
        });
        let client = builder(2, &transport)
            .default_gates(false)
            .seed(seed)
            .build()
            .unwrap();
        client.chat(&prompt("x")).await.unwrap();
        let keys = transport.keys();
        assert_ne!(keys[0], keys[1]);
        assert_eq!(keys[1], keys[2], "the one that only met a full provider");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_tried_again_and_blames_no_key() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::Error(TransportErrorKind::Connect),
        2 => Reply::Answer {
            status: 200,
            headers: Vec::new(),
            body: vec![
                data("{\"choices\":"),
                Part::Break(TransportErrorKind::Reset),
            ],
        },
        _ => Reply::good("x"),
    });
    let client = client(2, &transport);
    let answer = client.chat(&prompt("x")).await.unwrap();
    let scopes: Vec<_> = answer
        .attempts
        .iter()
        .map(|a| a.fault.map(|fault| fault.scope))
        .collect();
    assert_eq!(scopes, [Some(Scope::Network), Some(Scope::Network), None]);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_running_is_not_sent_twice_where_that_is_forbidden() {
    let retry = RetryConfig {
        resend_unknown: false,
        ..RetryConfig::default()
    };
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::Error(TransportErrorKind::Connect),
        _ => Reply::Error(TransportErrorKind::Reset),
    });
    let client = builder(2, &transport).retry(retry).build().unwrap();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(
        (error.attempts().len(), error.give_up()),
        (2, Some(GiveUp::Unknown))
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_is_the_providers_fault_and_the_callers_deadline_nobodys() {
    let transport = Scripted::new(|_| Reply::Silence);
    let deadlines = Deadlines {
        head: Duration::from_secs(5),
        ..Deadlines::default()
    };
    let retry = RetryConfig {
        attempts: 1,
        ..RetryConfig::default()
    };
    let client = builder(1, &transport)
        .deadlines(deadlines)
        .retry(retry)
        .build()
        .unwrap();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.scope()),
        (CallErrorKind::Fault, Scope::Provider)
    );

    let began = tokio::time::Instant::now();
    let call = Call::chat(&prompt("x")).deadline(Duration::from_secs(2));
    let error = client.call(call).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(
        (error.kind(), error.scope()),
        (CallErrorKind::Deadline, Scope::Caller)
    );
    assert_eq!(error.attempts().len(), 1);
    assert!(error.to_string().contains("2.0 s"), "{error}");
    assert_eq!(client.pool().in_flight(), 0);
    assert!(client.pool().explain(&Ask::new()).keys[0].is_admitted());
    let charged: Vec<_> = client
        .stats()
        .faults
        .iter()
        .map(|f| (f.scope, f.count))
        .collect();
    assert_eq!(charged, [(Scope::Provider, 1), (Scope::Caller, 1)]);
}

#[tokio::test(start_paused = true)]
async fn white_space_that_keeps_the_connection_alive_is_no_content() {
    let deadlines = Deadlines {
        first_content: Duration::from_secs(30),
        ..Deadlines::default()
    };
    let transport = Scripted::new(|seen| {
        let mut body: Vec<_> = (0..100)
            .flat_map(|_| [data("  \n"), Part::Wait(Duration::from_secs(1))])
            .collect();
        if seen.nth > 1 {
            body.truncate(20);
        }
        body.push(data(&good_body("x")));
        Reply::Answer {
            status: 200,
            headers: Vec::new(),
            body,
        }
    });
    let client = builder(1, &transport).deadlines(deadlines).build().unwrap();
    let answer = client.chat(&prompt("x")).await.unwrap();
    assert_eq!(
        answer.attempts[0].fault.unwrap().cause,
        Cause::ProviderTimeout
    );
    assert_eq!(answer.attempts[0].elapsed, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_bound_is_refused_and_not_asked_for_again() {
    let transport = Scripted::new(|_| Reply::good(&"x".repeat(5_000)));
    let client = builder(2, &transport)
        .max_body_bytes(4_096)
        .build()
        .unwrap();
    let error = client.chat(&prompt("x")).await.unwrap_err();
    assert_eq!((error.scope(), error.attempts().len()), (Scope::Local, 1));
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_sent_by_every_attempt() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(503, DOWN),
        2 => Reply::status(401, REVOKED),
        _ => Reply::good("x"),
    });
    let body = r#"{ "model":"m/a",  "messages":[], "odd" : 1.0 }"#;
    let client = client(2, &transport);
    client
        .call(Call::new("/chat/completions", body))
        .await
        .unwrap();
    let seen = transport.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.body == body));
    assert!(
        seen.iter()
            .all(|seen| seen.uri == "https://openrouter.ai/api/v1/chat/completions")
    );
}

#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_be_is_said_before_anything_is_sent() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = client(1, &transport);
    let error = client.call(Call::new("/a path", "")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.scope()),
        (CallErrorKind::Request, Scope::Request)
    );
    assert!(transport.seen().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_a_reload_brought_and_no_header_takes_is_the_keys_fault() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = client(1, &transport);
    client
        .pool()
        .reload([Key::new("odd", "sk-\u{7}"), Key::new("good", "sk-good")])
        .unwrap();
    for _ in 0..4 {
        assert_eq!(
            client.chat(&prompt("x")).await.unwrap().key.as_str(),
            "good"
        );
    }
    assert_eq!(transport.keys(), ["sk-good"; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_be_is_refused_with_the_reason() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let build = |b: fairkey_client::ClientBuilder| b.build().map(|_| ()).unwrap_err().to_string();
    let none = builder(0, &transport);
    assert!(build(none).contains("at least one key"));
    let base = |url: &str| builder(1, &transport).base_url(url);
    assert!(build(base("http://openrouter.ai/api/v1")).contains("plain http"));
    assert!(build(base("nonsense")).contains("base URL"));
    assert!(build(builder(1, &transport).max_in_flight(0)).contains("max_in_flight"));
    let odd = Arc::new("sk-\ncanary".to_owned());
    let error = build(builder(0, &transport).key("a", odd.as_str()));
    assert!(
        error.contains("\"a\"") && !error.contains("canary"),
        "{error}"
    );
    let twice = builder(1, &transport).key("again", "sk-0");
    assert!(build(twice).contains("same secret"));
    let never = fairkey_strategy::BreakerConfig {
        min_calls: 0,
        ..<_>::default()
    };
    assert!(build(builder(1, &transport).breaker(never)).contains("min_calls"));
}

#[tokio::test(start_paused = true)]
async fn the_default_gates_take_settings_and_stay_the_default_ones() {
    let transport = Scripted::new(|seen| match seen.nth {
        1 => Reply::status(401, REVOKED),
        _ => Reply::good("x"),
    });
    let soon = fairkey_strategy::CooldownConfig {
        refused: Some(Duration::from_secs(5)),
        ..<_>::default()
    };
    let client = builder(1, &transport).cooldown(soon).build().unwrap();
    client.chat(&prompt("x")).await.unwrap_err();
    let out = &client.standing().keys[0].out[0];
    let wait = out.until.unwrap().saturating_sub(client.standing().now);
    assert!(wait <= Duration::from_secs(5), "{wait:?}");
    client.chat(&prompt("x")).await.unwrap();
    assert!(client.switch().is_some(), "the others are there, too");
}

#[tokio::test(start_paused = true)]
async fn a_free_quota_that_is_used_up_closes_no_paid_model() {
    const FREE_DAILY: &str = r#"{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day","metadata":{"limit_source":"openrouter_free_tier_daily"}}}"#;
    let transport = Scripted::new(|seen| {
        let free = seen.body.windows(5).any(|w| w == b":free");
        if free && seen.key == "sk-0" {
            Reply::status(429, FREE_DAILY)
        } else {
            Reply::good("x")
        }
    });
    let client = client(2, &transport);
    let free = fairkey_openrouter::ChatRequest::new("m/a:free").user("x");
    for _ in 0..20 {
        assert_eq!(client.chat(&free).await.unwrap().key.as_str(), "k1");
    }
    assert!(client.pool().explain(&Ask::new().with_model("m/a")).keys[0].is_admitted());
    assert!(
        !client
            .pool()
            .explain(&Ask::new().with_model("m/a:free"))
            .keys[0]
            .is_admitted()
    );
    let refused = transport.keys().iter().filter(|key| *key == "sk-0").count();
    assert_eq!(
        refused, 1,
        "the account's free models are left alone from then on"
    );
    let stats = client.stats();
    assert_eq!(
        (stats.faults[0].scope, stats.faults[0].cause),
        (Scope::Account, Cause::FreeDaily)
    );
}
