//! The first program: two keys, one question. Against a mock in the same process, so it runs
//! without a key; leave `base_url` away and it talks to OpenRouter.

use fairkey::{ChatRequest, Client};
use fairkey_mock::MockOpenRouter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::builder().start().await?;
    let client = Client::builder()
        .key("search-team", "sk-or-v1-aaa")
        .key("batch-team", "sk-or-v1-bbb")
        .base_url(mock.base_url())
        .build()?;
    let request = ChatRequest::new("openai/gpt-4o-mini").user("What is a lease?").max_tokens(40);
    let answer = client.chat(&request).await?;
    println!("{}", answer.value.text());
    println!("-- by {}, after {} attempts", answer.key, answer.attempts.len());
    Ok(())
}
