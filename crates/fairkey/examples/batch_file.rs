//! Sends a file of prompts from a program of one's own, and prints what came of it.

use fairkey::batch::{
    ClientCaller, ReadConfig, ReaderThread, RunConfig, Sink, Stop, WriterThread, run,
};
use fairkey::{Client, Key};
use fairkey_mock::Scenario;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Four keys in three accounts, on a bad day.
    let scenario = Scenario::demo(7);
    let keys: Vec<Key> = scenario
        .keys()
        .iter()
        .map(|(label, account, secret)| {
            Key::new(label.as_str(), secret.as_str()).account(account.as_str())
        })
        .collect();
    let mock = scenario.start().await?;
    let client = Client::builder()
        .keys(keys)
        .base_url(mock.base_url())
        .build()?;

    let prompts: String = (1..=60)
        .map(|n| format!("What is {n} times {n}?\n"))
        .collect();
    let rows = ReaderThread::start(std::io::Cursor::new(prompts), ReadConfig::default(), None)?;
    let output = WriterThread::start(Sink::Stream(Box::new(std::io::stdout())))?;
    let caller = Arc::new(ClientCaller::new(client));
    let summary = run(rows, caller, output, RunConfig::default(), Stop::new(), ()).await;

    eprintln!(
        "{} of {} rows answered",
        summary.rows.answered, summary.rows.read
    );
    eprintln!("attempts: {}", summary.attempts);
    for key in &summary.keys {
        eprintln!(
            "{}: {} calls, {:?}, {}",
            key.key, key.calls, key.refusals, key.state
        );
    }
    Ok(())
}
