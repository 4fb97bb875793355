//! What could be had by somebody who knows everything: [`Ideal`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Call, Client};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::scene::{ACCOUNTS, Limits, Scene, WINDOW};
use super::traffic::Traffic;

/// What a call uses, and how long it takes, where nothing limits it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Of prompt and answer.
    pub tokens: u64,
    /// From the request to the end of the answer.
    pub time: Duration,
}

/// The sizes of the calls of a traffic, found out by making them without limits.
#[derive(Clone, Debug, Default)]
pub struct Sizes(Vec<Size>);

impl Sizes {
    /// Makes the first `calls` calls of a mock without limits.
    ///
    /// # Panics
    ///
    /// If one is not answered.
    pub async fn measure(traffic: &Traffic, calls: usize) -> Self {
        let world = Scene::start_open(traffic.seed);
        let client = Client::builder()
            .key("open", "sk-or-v1-open")
            .base_url(world.mock().base_url())
            .transport(Arc::new(world.transport()))
            .build()
            .expect("a client for a scenario");
        let at_once = Arc::new(Semaphore::new(256));
        let mut running = JoinSet::new();
        for n in 0..calls {
            let permit = Arc::clone(&at_once).acquire_owned().await;
            let (client, request) = (client.clone(), traffic.request(n));
            running.spawn(async move {
                let _permit = permit;
                let answer = client.call(Call::chat(&request)).await;
                let answer = answer.expect("an answer where nothing is limited");
                let tokens = answer.cost.map_or(0, |cost| cost.tokens);
                let time = answer.elapsed;
                (n, Size { tokens, time })
            });
        }
        let mut sizes = vec![Size::default(); calls];
        while let Some(done) = running.join_next().await {
            let (n, size) = done.expect("no call panics");
            sizes[n] = size;
        }
        Self(sizes)
    }

    /// Returns the size of a call.
    #[must_use]
    pub fn of(&self, call: usize) -> Size {
        self.0.get(call).copied().unwrap_or_default()
    }
}

/// The most that could be had: a bound that no scheduler can pass which keeps to the limits and
/// does not prefer small calls.
///
/// A limit of `L` in any window of length `W` admits at most `k L` within `k W`, wherever that
/// begins; the last call may be sent [`max_wait`](Scene::max_wait) after calls stop coming. So
/// all accounts together admit at most `k ∑ L` requests, and tokens likewise. Divided by the
/// mean tokens of the calls that come, since who does not choose by size serves the same mix, the
/// tokens are a number of calls. The bound knows nothing of when calls come, in which order they
/// are served, and to which account a call of which size had to go: to reach it, one would have to
/// know the future.
#[derive(Clone, Copy, Debug)]
pub struct Ideal {
    /// Calls that come.
    pub calls: u64,
    /// Calls that could be answered.
    pub answered: u64,
    /// The same within the second half of the time.
    pub second_half: u64,
    /// The least time from the first call to the last answer, where all calls come at once.
    pub makespan: Duration,
}

impl Ideal {
    /// Computes it for a scene. Of calls that nobody can answer while `closed`, those count as
    /// failed that cannot wait for its end.
    #[must_use]
    pub fn of(scene: &Scene, sizes: &Sizes, closed: Option<(&str, Duration, Duration)>) -> Self {
        let arrivals = scene.arrivals();
        let calls = arrivals.len() as u64;
        let mut open = calls;
        if let Some((model, from, to)) = closed {
            let models = scene.traffic.models;
            let lost = arrivals.iter().enumerate().filter(|(n, at)| {
                models[n % models.len()] == model && **at >= from && **at + scene.max_wait < to
            });
            open -= lost.count() as u64;
        }
        let tokens: u64 = (0..arrivals.len()).map(|n| sizes.of(n).tokens).sum();
        let mean = tokens as f64 / calls.max(1) as f64;
        let requests: u64 = ACCOUNTS.iter().map(|it| it.1).sum();
        let of_tokens: u64 = ACCOUNTS.iter().map(|it| it.2).sum();
        let a_window = (requests as f64).min(of_tokens as f64 / mean);
        let within = |time: Duration| {
            let windows = time.as_secs_f64() / WINDOW.as_secs_f64();
            (windows.ceil() * a_window) as u64
        };
        let bounded = !matches!(scene.limits, Limits::InFlight(_));
        let (mut answered, mut second_half) = (open, open);
        if bounded {
            answered = open.min(within(scene.time() + scene.max_wait));
            let half = scene.time() / 2;
            let late = arrivals.iter().filter(|at| **at >= half).count() as u64;
            second_half = late.min(within(half));
        }
        let windows = (calls as f64 / a_window).ceil() - 1.0;
        let quickest = (0..arrivals.len()).map(|n| sizes.of(n).time).min();
        let makespan = WINDOW.mul_f64(windows.max(0.0)) + quickest.unwrap_or_default();
        Self {
            calls,
            answered,
            second_half,
            makespan,
        }
    }

    /// Returns how many of 100 calls fail.
    #[must_use]
    pub fn failed_per_100(&self) -> f64 {
        100.0 * (self.calls - self.answered) as f64 / self.calls.max(1) as f64
    }
}
