//! Many prompts at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fairkey_openrouter::ChatRequest;

use crate::scripted::{BAD, Reply, Scripted, client, prompt};

/// Answers with the number in the prompt, later the smaller it is modulo 7.
fn echo(seen: &crate::scripted::Seen) -> Reply {
    let request = ChatRequest::from_slice(&seen.body).unwrap();
    let text = serde_json_text(&request);
    let n: u64 = text.parse().unwrap();
    if n % 13 == 12 {
        return Reply::status(400, BAD);
    }
    Reply::good(&text).after(Duration::from_millis(10 * (7 - n % 7)))
}

fn serde_json_text(request: &ChatRequest) -> String {
    let message = request.messages.last().unwrap();
    message.text()
}

fn prompts(n: usize) -> impl Iterator<Item = ChatRequest> {
    (0..n).map(|n| prompt(&n.to_string()))
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_order_and_failures_keep_their_place() {
    let transport = Scripted::new(echo);
    let client = client(2, &transport);
    let mut answers = client.map(prompts(100), 8);
    for expected in 0..100 {
        let (index, answer) = answers.next().await.unwrap();
        assert_eq!(index, expected);
        match answer {
            Ok(answer) => assert_eq!(answer.value.text(), index.to_string()),
            Err(error) => assert_eq!((index % 13, error.attempts().len()), (12, 1)),
        }
    }
    assert!(answers.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn out_of_order_every_prompt_is_answered_once() {
    let transport = Scripted::new(echo);
    let client = client(2, &transport);
    let mut answers = client.map(prompts(100), 8).unordered();
    let mut order = Vec::new();
    while let Some((index, _)) = answers.next().await {
        order.push(index);
    }
    assert!(!order.is_sorted(), "the slow ones came later");
    order.sort_unstable();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_n_are_under_way_and_the_iterator_may_be_endless() {
    let taken = Arc::new(AtomicUsize::new(0));
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = client(2, &transport);
    let endless = {
        let taken = Arc::clone(&taken);
        std::iter::repeat_with(move || {
            taken.fetch_add(1, Ordering::Relaxed);
            prompt("x")
        })
    };
    let mut answers = client.map(endless, 3);
    assert_eq!(
        taken.load(Ordering::Relaxed),
        0,
        "nothing happens before the first poll"
    );
    for told in 1..=50 {
        answers.next().await.unwrap().1.unwrap();
        assert!(answers.in_flight() <= 3);
        assert!(taken.load(Ordering::Relaxed) <= told + 3 + 2);
    }
    drop(answers);
    assert_eq!(client.pool().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn in_order_a_slow_answer_stops_those_behind_it_after_a_while() {
    let transport = Scripted::new(|seen| {
        let first = serde_json_text(&ChatRequest::from_slice(&seen.body).unwrap()) == "0";
        Reply::good("x").after(Duration::from_secs(if first { 3_600 } else { 0 }))
    });
    let client = client(2, &transport);
    let mut answers = client.map(prompts(10_000), 5);
    assert_eq!(answers.next().await.unwrap().0, 0);
    assert!(
        transport.seen().len() <= 20 + 1,
        "4 × 5 ahead: {}",
        transport.seen().len()
    );
    drop(answers);

    let mut answers = client.map(prompts(500), 5).unordered();
    for _ in 0..499 {
        assert_ne!(answers.next().await.unwrap().0, 0, "the others pass");
    }
    assert_eq!(answers.next().await.unwrap().0, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_in_nothing_out() {
    let transport = Scripted::new(|_| Reply::good("x"));
    let client = client(1, &transport);
    assert!(
        client
            .map(Vec::<ChatRequest>::new(), 0)
            .next()
            .await
            .is_none()
    );
    let mut one = client.map([prompt("x")], 0);
    assert!(
        one.next().await.unwrap().1.is_ok(),
        "0 at a time counts as 1"
    );
}
