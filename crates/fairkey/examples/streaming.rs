//! An answer as it comes. The first key meets a provider that fails before any content, and nobody
//! sees it: the stream begins when there is something to tell. The second stream breaks off in the
//! middle, and says so: what was told is never told twice.

use fairkey::{ChatRequest, Client};
use fairkey_mock::{Fault, MockOpenRouter, On, Step};
use std::io::Write;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mock = MockOpenRouter::open()
        .script(
            On::any(),
            [
                Step::reply(Fault::provider_rate_limited("OpenAI")),
                Step::pass(),
                Step::reset_after_chunks(5),
            ],
        )
        .start()
        .await?;
    let client = Client::builder()
        .key("a", "sk-or-v1-aaa")
        .key("b", "sk-or-v1-bbb")
        .base_url(mock.base_url())
        .build()?;

    for question in ["Tell me a story.", "And another one."] {
        let request = ChatRequest::new("openai/gpt-4o-mini").user(question);
        let mut stream = client.chat_stream(&request).await?;
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => print!("{}", chunk.text()),
                Err(error) => print!(" … broke off: {error}"),
            }
            std::io::stdout().flush()?;
        }
        println!(
            "\n  by {}, {} attempts, {:?}\n",
            stream.key(),
            stream.attempts().len(),
            stream.cost()
        );
    }
    Ok(())
}
