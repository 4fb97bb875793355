//! An answer as it comes. Until the first piece of content a failed attempt is made again with
//! another key or after a wait; from then on the stream is this attempt's, to its end.

use std::io::Write as _;

use fairkey::{ChatRequest, Client};
use fairkey_mock::{Fault, MockOpenRouter, On, Step};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The first attempt meets a provider that has broken down.
    let mock = MockOpenRouter::builder()
        .script(On::any(), [Step::reply(Fault::provider_error_502("OpenAI"))])
        .start()
        .await?;
    let client =
        Client::builder().key("a", "sk-or-v1-aaa").base_url(mock.base_url()).build()?;
    let request = ChatRequest::new("openai/gpt-4o-mini").user("Tell me a story.").max_tokens(60);
    let mut stream = client.chat_stream(&request).await?;
    while let Some(chunk) = stream.next().await {
        print!("{}", chunk?.text());
        std::io::stdout().flush()?;
    }
    println!("\n-- after {} attempts", stream.attempts().len());
    Ok(())
}
