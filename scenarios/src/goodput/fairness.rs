//! Who gets how much while all want more than there is: [`shares`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fairkey_client::{CallOptions, Tenant};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::ideal::Sizes;
use super::scene::{Scene, WINDOW};
use super::system::System;

/// The tenants: their names and weights. The last one comes when half of the time is over.
pub(super) const TENANTS: [(&str, u32); 3] = [("one", 1), ("two", 2), ("late", 1)];

/// Parts of all tokens that tenants got, as multiples of the parts that their weights give them.
#[derive(Clone, Debug)]
pub struct Shares {
    /// Before the last tenant comes: of the first two.
    pub before: Vec<f64>,
    /// From then on: of all.
    pub after: Vec<f64>,
    /// The same window by window, from the second on.
    pub windows: Vec<Vec<f64>>,
}

/// Lets tenants wait with more calls than can be served in so many windows, with known limits. The
/// last of them comes in the middle, and has asked for nothing before.
///
/// # Panics
///
/// If a client cannot be built.
pub async fn shares(windows: u32, seed: u64, sizes: &Sizes) -> Shares {
    let mut scene = Scene::new("", 1.0, windows, seed);
    scene.max_wait = Duration::from_secs(3_600);
    let world = scene.start();
    let client = System::Known.client(&scene, &world);
    let got: Arc<[AtomicU64; 3]> = Arc::default();
    let began = Instant::now();
    let each = Scene::requests_in_a_window() as usize * windows as usize;
    let mut calls = JoinSet::new();
    let mut come = |tenant: usize| {
        let (name, weight) = TENANTS[tenant];
        for n in 0..each {
            let options = CallOptions::of_chat(&scene.traffic.request(n))
                .tenant(Tenant::new(name).weight(weight));
            let (client, got) = (client.clone(), Arc::clone(&got));
            let (request, tokens) = (scene.traffic.request(n), sizes.of(n).tokens);
            calls.spawn(async move {
                if client.chat_with(&request, options).await.is_ok() {
                    // Relaxed: a sum that is read on the same thread.
                    got[tenant].fetch_add(tokens, Ordering::Relaxed);
                }
            });
        }
    };
    let read = || -> Vec<u64> { got.iter().map(|it| it.load(Ordering::Relaxed)).collect() };
    come(0);
    come(1);
    // What goes at once, when the first tenant comes alone, is nobody's share.
    let mut had = Vec::new();
    for window in 1..=windows {
        sleep_until(began + WINDOW * window).await;
        had.push(read());
        if window == windows / 2 {
            come(2);
        }
    }
    let half = windows as usize / 2;
    let (start, middle, end) = (&had[0], &had[half - 1], &had[windows as usize - 1]);
    calls.abort_all();
    Shares {
        before: of(&start[..2], &middle[..2]),
        after: of(middle, end),
        windows: had.windows(2).map(|had| of(&had[0], &had[1])).collect(),
    }
}

/// Returns what came between, as parts of what was due.
fn of(from: &[u64], to: &[u64]) -> Vec<f64> {
    let got: Vec<f64> = from.iter().zip(to).map(|(a, b)| (b - a) as f64).collect();
    let all: f64 = got.iter().sum();
    let weights: f64 = TENANTS[..got.len()].iter().map(|it| f64::from(it.1)).sum();
    let due = |(got, tenant): (&f64, &(&str, u32))| got / all / (f64::from(tenant.1) / weights);
    got.iter().zip(&TENANTS).map(due).collect()
}
