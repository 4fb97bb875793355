//! Putting a mock together.

mod parts;

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::account::Account;
use crate::action::Action;
use crate::answer::Length;
use crate::batch::BatchPlan;
use crate::chance::{FaultKind, Latency, Rates};
use crate::clock::Timestamp;
use crate::key::{Budget, Key};
use crate::model::Model;
use crate::script::{On, Step};
use crate::server::MockOpenRouter;
use crate::world::Rules;

/// Collects what a mock is to be; [`start`](Builder::start) starts it.
///
/// Every setting has a default: a builder that is told nothing makes an open mock, with any bearer
/// key good, a small catalog that serves any `author/slug` besides, and no limits, latency or
/// faults.
#[derive(Clone, Debug)]
pub struct Builder {
    seed: u64,
    now: Timestamp,
    listen: SocketAddr,
    accounts: Vec<Account>,
    keys: Vec<Key>,
    budgets: Vec<Budget>,
    models: Vec<Model>,
    any_model: Option<bool>,
    latency: Latency,
    rates: Rates,
    scripts: Vec<(On, Vec<Step>)>,
    after_calls: Vec<(u64, Action)>,
    at: Vec<(Duration, Action)>,
    answer_tokens: Length,
    comments: usize,
    log_capacity: usize,
    generations: usize,
    max_body: usize,
    max_batch: Option<usize>,
    batches: Vec<BatchPlan>,
    max_streams: Option<u32>,
    hints_in_headers: bool,
    rules: Rules,
    speed: f64,
    flagged: Vec<String>,
    guardrails: Vec<String>,
}

/// Why a mock did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A name is used that nothing has, or one is given twice.
    #[error("{0}")]
    Config(String),
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            seed: 0,
            now: Timestamp::DEFAULT_START,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            accounts: Vec::new(),
            keys: Vec::new(),
            budgets: Vec::new(),
            models: Vec::new(),
            any_model: None,
            latency: Latency::default(),
            rates: Rates::default(),
            scripts: Vec::new(),
            after_calls: Vec::new(),
            at: Vec::new(),
            answer_tokens: Length::Even(16, 64),
            comments: 2,
            log_capacity: 65_536,
            generations: 10_000,
            max_body: 32 << 20,
            max_batch: None,
            batches: Vec::new(),
            max_streams: None,
            hints_in_headers: true,
            rules: Rules {
                settlement: Duration::from_secs(2),
                hold_tokens: 16_384,
                hold_retry_after: Duration::from_secs(2),
                admission_retry_after: Duration::from_secs(10),
                capacity_retry_after: Duration::from_secs(2),
                job_duration: Duration::ZERO,
            },
            speed: 1.0,
            flagged: Vec::new(),
            guardrails: Vec::new(),
        }
    }

    /// What all chance and all texts follow from. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Where the mock's clock starts. Default: [`Timestamp::DEFAULT_START`], so that runs repeat; a
    /// client that compares reset stamps with the real time wants the real time here.
    #[must_use]
    pub fn now(mut self, now: impl Into<Timestamp>) -> Self {
        self.now = now.into();
        self
    }

    /// How much faster than real time the mock's clock runs, so that windows, resets and expiry come
    /// in seconds. Above 0; 10 is ten times as fast. Default: 1.
    ///
    /// Clients' clocks run at real speed. So what they are told of the future (`Retry-After`,
    /// `X-RateLimit-Reset`, `resets_at`, `expires_at`) is told as far away as it really is for
    /// them: with a speed of 10, a window that reopens in 6 seconds of the mock's time is said to
    /// reopen in 0.6. [`Latency`] and stalls take real time.
    #[must_use]
    pub fn speed(mut self, speed: f64) -> Self {
        self.speed = speed;
        self
    }

    /// The address to listen on. Default: a free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Adds an account.
    #[must_use]
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Adds a key. With the first one the mock stops being open: only these keys are good.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds a budget over keys.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budgets.push(budget);
        self
    }

    /// Adds a model. With the first one the default catalog is gone.
    #[must_use]
    pub fn model(mut self, model: Model) -> Self {
        self.models.push(model);
        self
    }

    /// Whether any `author/slug` is served, with the prices of [`Model::new`], or only the catalog.
    /// Default: any if the mock is open and has the default catalog.
    #[must_use]
    pub fn any_model(mut self, any: bool) -> Self {
        self.any_model = Some(any);
        self
    }

    /// How long answers take. Default: no time.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// How likely a kind of fault is for any call that was let in, 0 to 1. Several kinds exclude
    /// each other, so that their sum should not be above 1. Default: 0.
    #[must_use]
    pub fn fault_rate(mut self, kind: FaultKind, probability: f64) -> Self {
        self.rates.set(kind, probability);
        self
    }

    /// How likely a kind of fault is at one provider (by display name), 0 to 1. As at OpenRouter,
    /// the next provider of the model is tried where one is allowed; when all have failed, the
    /// caller hears of the last, with the others in `previous_errors`. Default: 0.
    #[must_use]
    pub fn provider_faults(
        mut self,
        provider: impl Into<String>,
        kind: FaultKind,
        probability: f64,
    ) -> Self {
        self.rates.set_provider(provider.into(), kind, probability);
        self
    }

    /// Adds a script. See [`script`](crate::script).
    #[must_use]
    pub fn script(mut self, on: On, steps: impl IntoIterator<Item = Step>) -> Self {
        self.scripts.push((on, steps.into_iter().collect()));
        self
    }

    /// Does something after `calls` inference calls came in: it holds for the call after them.
    #[must_use]
    pub fn after_calls(mut self, calls: u64, action: Action) -> Self {
        self.after_calls.push((calls, action));
        self
    }

    /// Does something when this much time has passed on the mock's clock; noticed at the next call.
    #[must_use]
    pub fn at(mut self, elapsed: Duration, action: Action) -> Self {
        self.at.push((elapsed, action));
        self
    }

    /// How long an answer is, in tokens, where `max_tokens` allows it. Default: 16 to 64.
    #[must_use]
    pub fn answer_tokens(mut self, tokens: RangeInclusive<u64>) -> Self {
        self.answer_tokens = Length::Even(*tokens.start(), *tokens.end());
        self
    }

    /// Draws how long an answer is, in tokens, log-normally instead, where `max_tokens` allows it:
    /// half are shorter than `median`, and the logarithms have a standard deviation of `sigma`. With
    /// 0.8 the mean is 1.4 times the median, and one in twenty is 3.7 times as long.
    ///
    /// # Panics
    ///
    /// If `sigma` is negative or no number.
    #[must_use]
    pub fn answer_tokens_around(mut self, median: u64, sigma: f64) -> Self {
        assert!(sigma >= 0.0, "a deviation is a number from 0 up");
        self.answer_tokens = Length::LogNormal { median, sigma };
        self
    }

    /// Keep-alive comments before the first delta of a stream. Default: 2.
    #[must_use]
    pub fn comments(mut self, count: usize) -> Self {
        self.comments = count;
        self
    }

    /// How many events the log keeps; 0 keeps none, and only counts. Default: 65,536.
    #[must_use]
    pub fn log_capacity(mut self, events: usize) -> Self {
        self.log_capacity = events;
        self
    }

    /// How many generations `GET /generation` knows; the oldest go first. Default: 10,000.
    #[must_use]
    pub fn generations(mut self, most: usize) -> Self {
        self.generations = most;
        self
    }

    /// The largest request body in bytes; above it the answer is 413. Default: 32 MiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// How many streams a client may have open on one HTTP/2 connection. Default: hyper's, 200.
    #[must_use]
    pub fn http2_max_concurrent_streams(mut self, streams: u32) -> Self {
        self.max_streams = Some(streams);
        self
    }

    /// Whether the mock's own refusals carry their hints (`X-RateLimit-*`, `Retry-After`) as HTTP
    /// headers besides `error.metadata.headers`. OpenRouter was often seen to leave them out.
    /// Default: yes.
    #[must_use]
    pub fn hints_in_headers(mut self, yes: bool) -> Self {
        self.hints_in_headers = yes;
        self
    }

    /// For how long the real cost of an ended call still counts in its account's in-flight budget.
    /// Default: 2 s.
    #[must_use]
    pub fn settlement(mut self, settlement: Duration) -> Self {
        self.rules.settlement = settlement;
        self
    }

    /// How many completion tokens a call is held at in the in-flight budget at most, and exactly if
    /// it names no `max_tokens`. Default: 16,384.
    #[must_use]
    pub fn in_flight_token_cap(mut self, tokens: u64) -> Self {
        self.rules.hold_tokens = tokens;
        self
    }

    /// The `Retry-After` of a refusal by the in-flight budget. Default: 2 s (OpenRouter's was seen
    /// to be 120 s).
    #[must_use]
    pub fn in_flight_retry_after(mut self, after: Duration) -> Self {
        self.rules.hold_retry_after = after;
        self
    }

    /// The hint of a refusal by admission control
    /// ([`Account::admission_control_above`]). Default: 10 s, as was seen.
    #[must_use]
    pub fn admission_retry_after(mut self, after: Duration) -> Self {
        self.rules.admission_retry_after = after;
        self
    }

    /// The hint of `capacity_exhausted`, when every provider of a model is full. Default: 2 s.
    #[must_use]
    pub fn capacity_retry_after(mut self, after: Duration) -> Self {
        self.rules.capacity_retry_after = after;
        self
    }

    /// How long a batch or a video takes, from when it is taken in to its results, by the mock's
    /// clock. Of a batch, a third of it each is `validating`, `in_progress` and `finalizing`.
    /// Default: no time, so that the first look at it finds it completed.
    #[must_use]
    pub fn job_duration(mut self, duration: Duration) -> Self {
        self.rules.job_duration = duration;
        self
    }

    /// How the first batches go, one after the other. See [`BatchPlan`].
    #[must_use]
    pub fn batches(mut self, plans: impl IntoIterator<Item = BatchPlan>) -> Self {
        self.batches.extend(plans);
        self
    }

    /// The most requests of a batch; above it the answer is 413. Default: no limit, since none is
    /// documented; [`max_body_bytes`](Self::max_body_bytes) holds for batches, too.
    #[must_use]
    pub fn max_batch_requests(mut self, requests: usize) -> Self {
        self.max_batch = Some(requests);
        self
    }

    /// A word that [moderated](Model::moderated) models refuse with 403 and `reasons`, in any case,
    /// wherever it stands in the request. ASCII. Default: none.
    #[must_use]
    pub fn flag_word(mut self, word: impl Into<String>) -> Self {
        self.flagged.push(word.into());
        self
    }

    /// A pattern that a guardrail refuses with 403 and `patterns`, in any case, wherever it stands
    /// in the request. ASCII. Default: none.
    #[must_use]
    pub fn guardrail_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.guardrails.push(pattern.into());
        self
    }

    /// Binds the address and serves until the handle is dropped or shut down.
    ///
    /// # Errors
    ///
    /// If the address cannot be listened on, or a key, budget or action names something that does
    /// not exist, or a name is given twice.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn start(self) -> Result<MockOpenRouter, StartError> {
        let listen = self.listen;
        let error = |source| StartError::Listen {
            addr: listen,
            source,
        };
        let parts = self.parts()?;
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let addr = listener.local_addr().map_err(error)?;
        Ok(MockOpenRouter::serve(Some(listener), addr, parts))
    }

    /// Starts it without a port: clients reach it by [`MockOpenRouter::connect`] only. Its base URL
    /// names loopback, and nothing listens there.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), but for the address.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start_in_memory(self) -> Result<MockOpenRouter, StartError> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        Ok(MockOpenRouter::serve(None, addr, self.parts()?))
    }
}
