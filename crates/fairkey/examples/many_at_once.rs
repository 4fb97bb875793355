//! A thousand questions, at most fifty at a time, answers in the order of the questions.

use fairkey::{ChatRequest, Client};
use fairkey_mock::{Latency, MockOpenRouter};
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let latency = Latency::new(Duration::from_millis(20), Duration::from_micros(100));
    let mock = MockOpenRouter::builder().latency(latency).start().await?;
    let client = Client::builder()
        .key("a", "sk-or-v1-aaa")
        .key("b", "sk-or-v1-bbb")
        .base_url(mock.base_url())
        .build()?;
    let questions = (0..1000).map(|n| {
        ChatRequest::new("openai/gpt-4o-mini")
            .user(format!("What is {n} squared?"))
            .max_tokens(8)
    });
    let mut answers = client.map(questions, 50).ordered();
    let mut answered = 0;
    while let Some((index, answer)) = answers.next().await {
        answer?;
        assert_eq!(index, answered);
        answered += 1;
    }
    println!(
        "{answered} answers, at most {} in flight",
        mock.counters().total.max_in_flight
    );
    Ok(())
}
