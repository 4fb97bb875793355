//! A strategy of one's own, behind a breaker, in a client: the cheapest key that is free comes
//! first, say because its account gets a discount.

use fairkey::core::{Candidate, Gate, Strategy, Turn};
use fairkey::strategy::{BreakerConfig, MaxInFlight, SlidingWindowBreaker};
use fairkey::{ChatRequest, Client};
use fairkey_mock::MockOpenRouter;

/// Picks the first key, by label, that gates let through.
#[derive(Debug)]
struct InOrder;

impl Strategy for InOrder {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.iter().min_by_key(Candidate::id)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Whatever this strategy does, it keeps the laws of all strategies.
    let mock = MockOpenRouter::builder().start().await?;
    let client = Client::builder()
        .key("1-discount", "sk-or-v1-aaa")
        .key("2-full-price", "sk-or-v1-bbb")
        .strategy(
            SlidingWindowBreaker::new(BreakerConfig::default())
                .guarding(InOrder)
                .gate(MaxInFlight::per_key(1)),
        )
        .base_url(mock.base_url())
        .build()?;
    let request = ChatRequest::new("openai/gpt-4o-mini").user("What is a gate?").max_tokens(20);
    // Two at a time: the second finds the first key taken.
    let (one, two) = tokio::join!(client.chat(&request), client.chat(&request));
    println!("{} and {}", one?.key, two?.key);
    Ok(())
}
