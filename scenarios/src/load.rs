//! Calls at a steady rate while things happen: [`Load`], and what came of them: [`Tally`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_mock::{EventKind, MockOpenRouter};
use fairkey_openrouter::ChatRequest;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::caller::{Caller, End};
use crate::world::World;

/// How long whoever calls waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Something that happens to the mock.
pub type Act = fn(&MockOpenRouter);

/// Calls at a steady rate, and what happens meanwhile.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many calls.
    pub calls: usize,
    /// One call each.
    pub every: Duration,
    /// Models in turn.
    pub models: &'static [&'static str],
    /// The most tokens of each answer.
    pub max_tokens: u64,
    /// What happens when, counted from the first call, in order.
    pub events: Vec<(Duration, Act)>,
}

/// What came of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls made.
    pub calls: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that ended in an error.
    pub failed: u64,
    /// Errors that were handed over as answers.
    pub deceived: u64,
    /// Requests that reached the upstream for them.
    pub upstream: u64,
    /// Each of these, in order: when, counted from the first call, and with which key, where it
    /// was one that exists.
    pub requests: Vec<(Duration, Option<String>)>,
}

impl Tally {
    /// Returns requests upstream for each call.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        self.upstream as f64 / self.calls.max(1) as f64
    }

    /// Returns when requests were made with a key.
    pub fn with_key<'a>(&'a self, label: &'a str) -> impl Iterator<Item = Duration> + 'a {
        let with = move |(_, key): &&(Duration, Option<String>)| key.as_deref() == Some(label);
        self.requests.iter().filter(with).map(|(at, _)| *at)
    }

    /// Returns how many requests were made with a key within a time.
    #[must_use]
    pub fn count(&self, label: &str, within: std::ops::Range<Duration>) -> usize {
        self.with_key(label)
            .filter(|at| within.contains(at))
            .count()
    }
}

impl Load {
    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If a call panics.
    pub async fn run(&self, world: &World, caller: Arc<dyn Caller>) -> Tally {
        let (began, start) = (Instant::now(), world.mock().now());
        let mut events = self.events.iter().copied().peekable();
        let mut calls = JoinSet::new();
        for n in 0..self.calls {
            let at = began + self.every * u32::try_from(n).unwrap_or(u32::MAX);
            while let Some((_, act)) = events.next_if(|(when, _)| began + *when <= at) {
                act(world.mock());
            }
            sleep_until(at).await;
            let request = ChatRequest::new(self.models[n % self.models.len()])
                .user(format!("Question {n}"))
                .max_tokens(self.max_tokens);
            let caller = Arc::clone(&caller);
            calls.spawn(async move { caller.call(&request).await });
        }
        let mut tally = Tally {
            calls: self.calls as u64,
            ..Tally::default()
        };
        while let Some(end) = calls.join_next().await {
            match end.expect("no call panics") {
                End::Answered => tally.answered += 1,
                End::Failed => tally.failed += 1,
                End::Deceived => tally.deceived += 1,
            }
        }
        for event in world.mock().log().events() {
            if let EventKind::Received { method, path, .. } = &event.kind
                && method == "POST"
                && path == "/chat/completions"
            {
                tally.upstream += 1;
                let key = event.key().map(str::to_owned);
                tally.requests.push((event.at.since(start), key));
            }
        }
        tally
    }
}
