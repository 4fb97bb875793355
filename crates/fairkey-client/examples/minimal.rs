//! Three keys, one of them revoked, against an embedded mock of OpenRouter.
//!
//! Look at the attempts: the revoked key is refused once, the call goes on with another key, and
//! no later call tries it again.
//!
//! ```text
//! cargo run -p fairkey-client --example minimal
//! ```

use fairkey_client::Client;
use fairkey_mock::MockOpenRouter;
use fairkey_openrouter::ChatRequest;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut mock = MockOpenRouter::builder();
    for key in ["a", "b", "c"] {
        mock = mock.key(fairkey_mock::Key::new(format!("sk-or-v1-{key}")).label(key));
    }
    let mock = mock.start().await?;
    mock.revoke_key("a");

    let client = Client::builder()
        .base_url(mock.base_url())
        .key("a", "sk-or-v1-a")
        .key("b", "sk-or-v1-b")
        .key("c", "sk-or-v1-c")
        .build()?;

    for question in ["the capital of France", "7 times 6", "the color of the sky"] {
        let request = ChatRequest::new("openai/gpt-4o-mini").user(format!("What is {question}?"));
        let answer = client.chat(&request).await?;
        println!("{question}: {}", answer.value.text());
        for attempt in &answer.attempts {
            println!("  {attempt}");
        }
    }
    println!("{}", client.pool().explain(&fairkey_core::Ask::new()));
    Ok(())
}
