//! A streamed answer, against an embedded mock of OpenRouter.
//!
//! Look at what happens to the first attempts: one is refused by a full provider, one is answered
//! with an error inside a 200, and neither is seen by the reader of the stream.
//!
//! ```text
//! cargo run -p fairkey-client --example streaming
//! ```

use std::io::Write as _;
use std::time::Duration;

use fairkey_client::Client;
use fairkey_mock::{Fault, Latency, MockOpenRouter, On, Step};
use fairkey_openrouter::ChatRequest;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::builder()
        .key(fairkey_mock::Key::new("sk-or-v1-a").label("a"))
        .latency(Latency::new(
            Duration::from_millis(300),
            Duration::from_millis(15),
        ))
        .script(
            On::any(),
            [
                Step::reply(Fault::provider_rate_limited("OpenAI")),
                Step::reply(Fault::error_in_200()),
            ],
        )
        .start()
        .await?;
    let client = Client::builder()
        .base_url(mock.base_url())
        .key("a", "sk-or-v1-a")
        .build()?;

    let request = ChatRequest::new("openai/gpt-4o-mini")
        .user("Tell me a story.")
        .max_tokens(80);
    let mut stream = client.chat_stream(&request).await?;
    while let Some(chunk) = stream.next().await {
        print!("{}", chunk?.text());
        std::io::stdout().flush()?;
    }
    println!("\n");
    for attempt in stream.attempts() {
        println!("{attempt}");
    }
    println!("served by \"{}\", used {:?}", stream.key(), stream.cost());
    Ok(())
}
