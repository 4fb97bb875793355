//! How to test code that talks to OpenRouter: script what shall go wrong, call, and read from the
//! mock what reached it. Here: an account without credit must cost the next call nothing.

use fairkey::{ChatRequest, Client, Key};
use fairkey_mock::{Account, MockOpenRouter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::builder()
        .seed(7)
        .account(Account::new("poor").balance_usd(0.0))
        .account(Account::new("rich").balance_usd(10.0))
        .key(
            fairkey_mock::Key::new("sk-or-v1-poor-1")
                .label("poor-1")
                .account("poor"),
        )
        .key(
            fairkey_mock::Key::new("sk-or-v1-poor-2")
                .label("poor-2")
                .account("poor"),
        )
        .key(
            fairkey_mock::Key::new("sk-or-v1-rich")
                .label("rich")
                .account("rich"),
        )
        .start()
        .await?;
    let client = Client::builder()
        .keys([
            Key::new("poor-1", "sk-or-v1-poor-1").account("poor"),
            Key::new("poor-2", "sk-or-v1-poor-2").account("poor"),
            Key::new("rich", "sk-or-v1-rich").account("rich"),
        ])
        .base_url(mock.base_url())
        .build()?;

    for n in 1..=20 {
        let request = ChatRequest::new("openai/gpt-4o-mini").user(format!("Question {n}"));
        let answer = client.chat(&request).await?;
        assert_eq!(answer.key.as_str(), "rich");
    }

    // The account was found out once, whichever of its keys it was; then both were left alone.
    let refused = mock.counters().account("poor").status(402);
    println!("20 answers; the account without credit was asked {refused} time(s)");
    assert!(refused <= 1);
    Ok(())
}
