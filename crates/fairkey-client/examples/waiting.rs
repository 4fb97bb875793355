//! What it costs to let calls wait: memory, and the time to wake one.
//!
//! `cargo run --release -p fairkey-client --example waiting`
//!
//! First the client, with 100,000 calls of which one may be in flight: the memory of the process
//! before and after (where `/proc` tells it), and in a process of its own that of the queue's order.
//! Then the queue alone: who is next is found, served, charged, and followed by a newcomer, with
//! 1,000 to 100,000 calls that wait, of one model and of a thousand, of one tenant and of a hundred.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fairkey_client::{Call, Client, QueueConfig, Tenant};
use fairkey_core::{Clock, Cost, MonotonicClock, Timestamp};
use fairkey_strategy::queue::{Entry, Next, Queue};
use fairkey_transport::{Body, Transport, TransportError};

const CALLS: usize = 100_000;

/// The argument of a process that measures the queue's order, and nothing else.
const ORDER: &str = "order";

/// Never answers.
#[derive(Debug)]
struct Silence;

#[async_trait]
impl Transport for Silence {
    async fn send(&self, _: http::Request<Bytes>) -> Result<http::Response<Body>, TransportError> {
        std::future::pending().await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Each in a process in which nothing that was freed is there to be used again.
    if std::env::args().nth(1).as_deref() == Some(ORDER) {
        queue_memory();
        return Ok(());
    }
    memory().await?;
    Command::new(std::env::current_exe()?).arg(ORDER).status()?;
    println!();
    println!(
        "{:>9} {:>7} {:>8} {:>12}",
        "waiting", "models", "tenants", "ns per wake"
    );
    for (models, tenants) in [(1, 1), (1_000, 1), (1, 100), (1_000, 100)] {
        for waiting in [1_000, 10_000, 100_000] {
            let nanos = wake(waiting, models, tenants);
            println!("{waiting:>9} {models:>7} {tenants:>8} {nanos:>12}");
        }
    }
    Ok(())
}

async fn memory() -> Result<(), Box<dyn std::error::Error>> {
    let queue = QueueConfig {
        length: CALLS,
        ..QueueConfig::default()
    };
    let client = Client::builder()
        .key("a", "sk-or-v1-no-real-secret")
        .transport(Arc::new(Silence))
        .max_in_flight(1)
        .queue(queue)
        .max_wait(Duration::from_secs(3_600))
        .build()?;
    // All share one body: it is the caller's.
    let body = Bytes::from_static(br#"{"model":"a/b","messages":[]}"#);
    let before = resident();
    for _ in 0..=CALLS {
        let (client, body) = (client.clone(), body.clone());
        tokio::spawn(async move {
            let _ = client
                .call(Call::new("/chat/completions", body).model("a/b"))
                .await;
        });
        tokio::task::yield_now().await;
    }
    while client.stats().waiting < CALLS {
        tokio::task::yield_now().await;
    }
    println!("waiting calls: {}", client.stats().waiting);
    match (before, resident()) {
        (Some(before), Some(after)) => {
            let bytes = after.saturating_sub(before);
            println!(
                "memory: {:.1} MB, {} bytes for each with its request and its task",
                bytes as f64 / 1e6,
                bytes / CALLS as u64
            );
        }
        _ => println!("memory: this system does not say"),
    }
    Ok(())
}

/// What the order of so many calls takes, without the calls.
fn queue_memory() {
    let mut queue = Queue::new(QueueConfig {
        length: CALLS,
        ..QueueConfig::default()
    });
    let (before, now) = (resident(), Timestamp::ZERO);
    for n in 0..CALLS {
        let entry = Entry {
            line: "a/b",
            class: <_>::default(),
            tenant: None,
            cost: Cost::ONE,
            limit: None,
        };
        let ticket = queue.ticket(now, None);
        queue.push(entry, ticket, n, now).expect("there is room");
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let bytes = after.saturating_sub(before);
        println!("of the queue's order alone: {:.1} MB", bytes as f64 / 1e6);
    }
}

/// The resident memory of the process, in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1_024)
}

/// How long it takes to find, serve and charge whoever is next, and to let another one come.
fn wake(waiting: usize, models: usize, tenants: usize) -> u128 {
    const ROUNDS: usize = 20_000;
    let (clock, now) = (MonotonicClock::new(), Timestamp::ZERO);
    let tenants: Vec<_> = (0..tenants)
        .map(|n| Tenant::new(format!("tenant {n}")))
        .collect();
    let mut queue = Queue::new(QueueConfig {
        length: usize::MAX,
        length_per_tenant: None,
        ..QueueConfig::default()
    });
    let come = |queue: &mut Queue<usize, usize>, n: usize| {
        let entry = Entry {
            line: n % models,
            class: <_>::default(),
            tenant: Some(tenants[n % tenants.len()].clone()),
            cost: Cost::ONE,
            limit: None,
        };
        let ticket = queue.ticket(now, None);
        queue.push(entry, ticket, n, now).expect("there is room");
    };
    for n in 0..waiting {
        come(&mut queue, n);
    }
    let began = clock.now();
    for n in 0..ROUNDS {
        let mut pass = queue.begin(now);
        if let Some(Next::Ask(number, _)) = queue.next(&mut pass)
            && let Some(charge) = queue.serve(&mut pass, number)
        {
            queue.settle(charge, Some(Cost::ONE));
        }
        come(&mut queue, waiting + n);
    }
    clock.now().since(began).as_nanos() / ROUNDS as u128
}
