//! The law of repetition: the same seed and the same calls make the same answers, in any order.

use std::collections::BTreeMap;

use fairkey_mock::{Counters, FaultKind, MockOpenRouter};
use serde_json::{Value, json};

use crate::support::{chat, post, try_post, with};

async fn unreliable(seed: u64) -> MockOpenRouter {
    MockOpenRouter::open()
        .seed(seed)
        .fault_rate(FaultKind::ProviderError, 0.2)
        .fault_rate(FaultKind::ResetMidBody, 0.1)
        .fault_rate(FaultKind::ResetBeforeHead, 0.1)
        .fault_rate(FaultKind::ChoiceError, 0.1)
        .provider_faults("OpenAI", FaultKind::ProviderRateLimited, 0.3)
        .start()
        .await
        .unwrap()
}

/// What a call met, without what depends on the time of day.
async fn outcome(mock: &MockOpenRouter, number: usize) -> String {
    let ask = with(
        chat(&format!("question {}", number / 2)),
        json!({"stream": number.is_multiple_of(2)}),
    );
    match try_post(mock, "k", &ask).await {
        Err(_) => "no head".to_owned(),
        Ok(answer) => {
            let said = if answer.status == 200 && answer.complete {
                answer.streamed_content() + &answer.content_or_nothing()
            } else {
                String::new()
            };
            format!("{} {} {said}", answer.status, answer.complete)
        }
    }
}

impl crate::support::Answer {
    fn content_or_nothing(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

async fn all(mock: &MockOpenRouter, order: impl Iterator<Item = usize>) -> BTreeMap<usize, String> {
    let mut outcomes = BTreeMap::new();
    for number in order {
        outcomes.insert(number, outcome(mock, number).await);
    }
    outcomes
}

#[tokio::test]
async fn the_same_calls_meet_the_same_in_any_order_and_all_at_once() {
    const CALLS: usize = 80;
    let forward = all(&unreliable(1).await, 0..CALLS).await;
    let backward = all(&unreliable(1).await, (0..CALLS).rev()).await;
    assert_eq!(forward, backward);

    let mock = std::sync::Arc::new(unreliable(1).await);
    let tasks: Vec<_> = (0..CALLS)
        .map(|number| {
            let mock = mock.clone();
            tokio::spawn(async move { (number, outcome(&mock, number).await) })
        })
        .collect();
    let mut at_once = BTreeMap::new();
    for task in tasks {
        at_once.extend([task.await.unwrap()]);
    }
    assert_eq!(forward, at_once);

    assert_ne!(forward, all(&unreliable(2).await, 0..CALLS).await);
    let kinds: std::collections::BTreeSet<&str> =
        forward.values().map(|outcome| &outcome[..3]).collect();
    assert!(
        kinds.len() >= 3,
        "the seed was to show several faults: {kinds:?}"
    );
}

#[tokio::test]
async fn a_repeated_body_may_meet_something_else_and_says_the_same() {
    let mock = unreliable(1).await;
    let mut statuses = BTreeMap::new();
    let mut texts = std::collections::BTreeSet::new();
    for _ in 0..60 {
        if let Ok(answer) = try_post(&mock, "k", &chat("again")).await {
            *statuses.entry(answer.status).or_insert(0) += 1;
            let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            if json["choices"][0]["finish_reason"] == "stop" {
                texts.insert(answer.content());
            }
        }
    }
    assert!(statuses.len() > 1, "{statuses:?}");
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn a_failed_provider_is_followed_by_the_next() {
    let mock = MockOpenRouter::open()
        .provider_faults("OpenAI", FaultKind::ProviderRateLimited, 1.0)
        .start()
        .await
        .unwrap();
    assert_eq!(
        post(&mock, "k", &chat("x")).await.json()["provider"],
        "Azure"
    );
    let pinned = with(chat("x"), json!({"provider": {"only": ["openai"]}}));
    let answer = post(&mock, "k", &pinned).await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        answer.json()["error"]["metadata"]["provider_name"],
        "OpenAI"
    );
    mock.set_fault_rate(FaultKind::CapacityExhausted, 1.0);
    let answer = post(&mock, "k", &chat("x")).await.json();
    let requested = &answer["error"]["availability"]["requested_models"];
    assert_eq!(*requested, json!(["openai/gpt-4o-mini"]));
}

#[tokio::test]
async fn all_failed_providers_stand_in_the_trail() {
    let mock = MockOpenRouter::open()
        .provider_faults("OpenAI", FaultKind::ProviderRateLimited, 1.0)
        .provider_faults("Azure", FaultKind::ProviderError, 1.0)
        .start()
        .await
        .unwrap();
    let answer = post(&mock, "k", &chat("x")).await;
    assert_eq!(answer.status, 502);
    let trail = &answer.json()["error"]["metadata"]["previous_errors"];
    assert_eq!(trail[0]["provider"], "OpenAI");
    assert_eq!(trail[0]["status"], 429);
}

#[tokio::test]
async fn every_kind_of_chance_ends_its_call_once() {
    for kind in FaultKind::ALL {
        if kind == FaultKind::Stalled {
            continue; // It ends when the client leaves: see the scripts.
        }
        let mock = MockOpenRouter::open()
            .fault_rate(kind, 1.0)
            .start()
            .await
            .unwrap();
        for stream in [false, true] {
            let _ = try_post(&mock, "k", &with(chat("x"), json!({ "stream": stream }))).await;
        }
        let Counters { total, .. } = mock.counters();
        assert_eq!(
            (total.requests, total.finished, total.in_flight),
            (2, 0, 0),
            "{kind:?}"
        );
        assert_eq!(total.faulted + total.broken, 2, "{kind:?}");
    }
}
