//! One question, three keys, one of them revoked. Look at the attempts: the revoked key costs the
//! call one moment, and the next call nothing.
//!
//! It talks to a mock. Without `base_url` and with real keys it talks to OpenRouter.

use fairkey::{ChatRequest, Client};
use fairkey_mock::MockOpenRouter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::builder()
        .key(fairkey_mock::Key::new("sk-or-v1-first"))
        .key(fairkey_mock::Key::new("sk-or-v1-second"))
        .start()
        .await?;

    let client = Client::builder()
        .key("revoked", "sk-or-v1-nobody-knows-it")
        .key("first", "sk-or-v1-first")
        .key("second", "sk-or-v1-second")
        .base_url(mock.base_url())
        .build()?;

    for question in [
        "What is a lease?",
        "What is a gate?",
        "What is a breaker?",
        "And a scope?",
    ] {
        let request = ChatRequest::new("openai/gpt-4o-mini").user(question);
        let answer = client.chat(&request).await?;
        println!("{question}\n  {}", answer.value.text());
        for attempt in &answer.attempts {
            println!("  attempt with {attempt}");
        }
    }
    println!("\n{}", client.pool().explain(&fairkey::core::Ask::new()));
    Ok(())
}
