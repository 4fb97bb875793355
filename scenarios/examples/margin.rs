//! Prints what the margin of limits costs and spares, on virtual time: one account of 60 requests in
//! six seconds, offered half as many more, over a network on which requests take 10 ms and an
//! exponential tail of 10 ms, and one in fifty 60 ms more.
//!
//! `cargo run --release -p fairkey-scenarios --example margin`

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Client, QueueConfig};
use fairkey_core::Key;
use fairkey_mock::{Account, FreeTier, Latency, MockOpenRouter};
use fairkey_openrouter::ChatRequest;
use fairkey_scenarios::network::Network;
use fairkey_scenarios::world::{DEADLINES, World};
use fairkey_strategy::{Limit, LimitSet, LimitsConfig};
use tokio::task::JoinSet;
use tokio::time::sleep;

const LIMIT: u64 = 60;
const WINDOW: Duration = Duration::from_secs(6);
const WINDOWS: u64 = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("| margin | refused of 1,000 requests | answered, of what the limit allows |");
    println!("| ---: | ---: | ---: |");
    for millis in [0, 10, 25, 50, 100, 200, 400] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let (requests, refused) = runtime.block_on(run(Duration::from_millis(millis)))?;
        let answered = (requests - refused) as f64 / (LIMIT * WINDOWS) as f64;
        println!(
            "| {millis} ms | {:.2} | {:.1} % |",
            refused as f64 / requests as f64 * 1e3,
            answered * 100.0
        );
    }
    Ok(())
}

/// Returns how many requests reached the upstream, and how many of them it refused.
async fn run(margin: Duration) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let account = Account::new("acme")
        .balance_usd(10_000.0)
        .free_tier(FreeTier::UNLIMITED)
        .limit(fairkey_mock::Limit::requests(LIMIT, WINDOW));
    let world = World::start(
        MockOpenRouter::builder()
            .account(account)
            .key(
                fairkey_mock::Key::new("sk-or-v1-a")
                    .label("a")
                    .account("acme"),
            )
            .latency(Latency::new(Duration::from_millis(300), Duration::ZERO))
            .any_model(true),
    );
    let limits = LimitSet {
        requests: Some(Limit::per(LIMIT, WINDOW)),
        ..LimitSet::NONE
    };
    let mut config = LimitsConfig::default().account("acme", limits);
    config.margin = margin;
    let client = Client::builder()
        .keys([Key::new("a", "sk-or-v1-a").account("acme")])
        .limits(config)
        .base_url(world.mock().base_url())
        .transport(Arc::new(Network::before(world.transport(), 7)))
        .deadlines(DEADLINES)
        .wall_clock(world.wall_clock())
        .queue(QueueConfig {
            length: 32,
            ..QueueConfig::default()
        })
        .seed(7)
        .build()?;
    let every = WINDOW.mul_f64(1.0 / (LIMIT as f64 * 1.5));
    let mut calls = JoinSet::new();
    for _ in 0..LIMIT * WINDOWS * 3 / 2 {
        let client = client.clone();
        // Whoever waits too long is turned away: there is always somebody else.
        calls.spawn(async move {
            let request = ChatRequest::new("openai/gpt-4o-mini").user("Why?");
            let _ = client.chat(&request).await;
        });
        sleep(every).await;
    }
    let total = world.mock().counters().total;
    calls.shutdown().await;
    Ok((total.requests, total.status(429)))
}
