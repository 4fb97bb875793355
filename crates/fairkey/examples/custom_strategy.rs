//! A strategy of one's own: keys in order, each only when those before it have no room. One method;
//! breakers, cooldowns and caps stand before it without its knowing.

use fairkey::core::{Candidate, Gate, Strategy, Turn};
use fairkey::strategy::{Cooldown, CooldownConfig, MaxInFlight};
use fairkey::{ChatRequest, Client};
use fairkey_mock::{Latency, MockOpenRouter};
use std::time::Duration;

/// Takes the first key that is open.
#[derive(Debug)]
struct FirstOpen;

impl Strategy for FirstOpen {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.iter().next()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slow = Latency::new(Duration::from_millis(20), Duration::ZERO);
    let mock = MockOpenRouter::open().latency(slow).start().await?;
    let strategy = MaxInFlight::per_key(3)
        .guarding(FirstOpen)
        .gate(Cooldown::per_key(CooldownConfig::default()));
    let client = Client::builder()
        .keys((1..=4).map(|n| fairkey::Key::new(format!("key-{n}"), format!("sk-or-v1-{n}"))))
        .strategy(strategy)
        .base_url(mock.base_url())
        .build()?;

    let prompts = (1..=100).map(|n| ChatRequest::new("a/b").user(format!("Question {n}")));
    let mut answers = client.map(prompts, 8);
    let mut served = std::collections::BTreeMap::<String, u32>::new();
    while let Some((_, answer)) = answers.next().await {
        *served.entry(answer?.key.to_string()).or_default() += 1;
    }
    // Eight at a time, three for each key: the third key gets what is left, the fourth nothing.
    println!("{served:?}");
    Ok(())
}
