//! Prints what hedging does to the time until first content, on virtual time: streams whose first
//! content comes after a time drawn from a log-normal distribution (median 0.8 s, sigma 0.6), as that
//! of a large model does, asked one after the other with and without a second attempt.
//!
//! `cargo run --release -p fairkey-scenarios --example hedging`

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fairkey_client::{CallOptions, Client, HedgeConfig};
use fairkey_core::{Class, Random};
use fairkey_openrouter::ChatRequest;
use fairkey_transport::{Body, Transport, TransportError};
use futures_util::StreamExt as _;
use http::{Request, Response};
use tokio::time::{Instant, sleep};

const CALLS: usize = 20_000;
const AT_ONCE: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("| at most hedged | second attempts | p50 | p95 | p99 | p99.9 |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for share in [None, Some(0.02), Some(0.05)] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let (mut took, second) = runtime.block_on(run(share))?;
        took.sort_unstable();
        let at = |part: f64| took[(took.len() as f64 * part) as usize].as_secs_f64();
        println!(
            "| {} | {:.1} % | {:.2} s | {:.2} s | {:.2} s | {:.2} s |",
            share.map_or("off".to_owned(), |share| format!("{} %", share * 100.0)),
            second as f64 / CALLS as f64 * 100.0,
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999),
        );
    }
    Ok(())
}

/// Makes the calls; returns the times until first content, and how many second attempts there were.
async fn run(share: Option<f64>) -> Result<(Vec<Duration>, u64), Box<dyn std::error::Error>> {
    let upstream = Arc::new(Upstream {
        chance: Mutex::new(Random::new(7)),
        asked: AtomicU64::new(0),
    });
    let mut client = Client::builder()
        .key("a", "sk-or-v1-a")
        .key("b", "sk-or-v1-b")
        .transport(Arc::<Upstream>::clone(&upstream))
        .seed(7);
    if let Some(max_share) = share {
        client = client.hedge(HedgeConfig {
            max_share,
            max_micro_usd: u64::MAX,
            any_provider: true,
            ..HedgeConfig::default()
        });
    }
    let client = client.build()?;
    let request = ChatRequest::new("openai/gpt-4o-mini").user("Why?");
    let calls = (0..CALLS).map(|_| {
        let options = CallOptions {
            class: Class::Interactive,
            ..CallOptions::of_chat(&request)
        };
        let (client, request) = (&client, &request);
        async move {
            let began = Instant::now();
            let stream = client.chat_stream_with(request, options).await;
            stream.map(|_| began.elapsed())
        }
    });
    let took: Vec<_> = futures_util::stream::iter(calls)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let took = took.into_iter().collect::<Result<Vec<_>, _>>()?;
    let asked = upstream.asked.load(Ordering::Relaxed);
    Ok((took, asked - CALLS as u64))
}

/// Answers each request after a time of its own.
#[derive(Debug)]
struct Upstream {
    chance: Mutex<Random>,
    asked: AtomicU64,
}

#[async_trait::async_trait]
impl Transport for Upstream {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let normal = {
            let mut chance = self.chance.lock().expect("nobody panics with it");
            // Box and Muller.
            let (one, two) = (1.0 - chance.unit(), chance.unit());
            (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos()
        };
        sleep(Duration::from_secs_f64(0.8 * (0.6 * normal).exp())).await;
        let body = Body::from(Bytes::from_static(ANSWER));
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok(response.body(body).expect("constant headers"))
    }
}

const ANSWER: &[u8] =
    br#"data: {"id":"gen-1","choices":[{"delta":{"content":"So."},"finish_reason":"stop"}]}

data: [DONE]

"#;
