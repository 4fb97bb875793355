//! Where it is played: [`Scene`], four accounts of three keys each, with limits.

use std::time::Duration;

use fairkey_mock::{
    Account, Action, Builder, FreeTier, Key, Latency, Limit, MockOpenRouter, Model, Provider,
};

use super::traffic::{ANSWER, Traffic};
use crate::caller::secret;
use crate::world::World;

/// An account: its label, and how many requests and tokens it may use in a window.
pub(super) type Limited = (&'static str, u64, u64);

/// The accounts. Of the second one's limits, that of tokens is the narrower one for calls of
/// the usual size; the others have more or less tokens than their requests need.
pub const ACCOUNTS: [(&str, u64, u64); 4] = [
    ("a", 60, 60_000),
    ("b", 150, 100_000),
    ("c", 300, 250_000),
    ("d", 600, 1_000_000),
];

/// The length of a window: a minute is scaled to a tenth.
pub const WINDOW: Duration = Duration::from_secs(6);
/// How long a call may wait for a key.
pub const MAX_WAIT: Duration = Duration::from_secs(12);
/// How long a caller waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The model of most calls, and its provider.
pub const MODEL: &str = "mock/one";
/// Another model with another provider.
pub const OTHER_MODEL: &str = "mock/other";
/// The provider of [`MODEL`].
pub const PROVIDER: &str = "First";

/// What the limits are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limits {
    /// Requests and tokens in rolling windows; refusals tell when there is room again.
    Told,
    /// The same; refusals say nothing.
    Hidden,
    /// The same; refused calls use the limit, too.
    CountRefused,
    /// No windows, but a budget for what is under way: so many US dollars for each request in
    /// [`ACCOUNTS`].
    InFlight(f64),
}

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What it is, in few words.
    pub name: &'static str,
    /// Offered calls, as a part of what the accounts' request limits allow.
    pub load: f64,
    /// How many windows calls come for.
    pub windows: u32,
    /// What is asked for.
    pub traffic: Traffic,
    /// What the limits are like.
    pub limits: Limits,
    /// What happens when.
    pub events: Vec<(Duration, Action)>,
    /// How long a call may wait for a key.
    pub max_wait: Duration,
    /// How long a caller waits, if not for ever.
    pub patience: Option<Duration>,
    /// How many calls there are, all at once; `None` for calls that come by chance.
    pub at_once: Option<usize>,
}

impl Scene {
    /// Makes a scenario of calls that come by chance, all of which follows from `seed`.
    #[must_use]
    pub fn new(name: &'static str, load: f64, windows: u32, seed: u64) -> Self {
        Self {
            name,
            load,
            windows,
            traffic: Traffic {
                seed,
                models: &[MODEL],
                bounded: false,
            },
            limits: Limits::Told,
            events: Vec::new(),
            max_wait: MAX_WAIT,
            patience: Some(PATIENCE),
            at_once: None,
        }
    }

    /// Returns requests of all accounts in a window.
    #[must_use]
    pub fn requests_in_a_window() -> u64 {
        ACCOUNTS.iter().map(|(_, requests, _)| requests).sum()
    }

    /// Returns for how long calls come.
    #[must_use]
    pub fn time(&self) -> Duration {
        WINDOW * self.windows
    }

    /// Returns when calls come.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Duration> {
        if let Some(calls) = self.at_once {
            return vec![Duration::ZERO; calls];
        }
        let a_second = Self::requests_in_a_window() as f64 / WINDOW.as_secs_f64();
        self.traffic.arrivals(self.load * a_second, self.time())
    }

    /// Returns the keys with their accounts: three of each.
    #[must_use]
    pub fn keys() -> Vec<(String, &'static str)> {
        let keys = |account: &Limited| {
            let account = account.0;
            (1..=3).map(move |n| (format!("{account}{n}"), account))
        };
        ACCOUNTS.iter().flat_map(keys).collect()
    }

    /// Starts the mock.
    #[must_use]
    pub fn start(&self) -> World {
        let mut builder = plain(self.traffic.seed);
        for (id, requests, tokens) in ACCOUNTS {
            let mut account = Account::new(id)
                .balance_usd(10_000.0)
                .free_tier(FreeTier::UNLIMITED);
            let change = match self.limits {
                Limits::Told => |limit: Limit| limit,
                Limits::Hidden => Limit::hidden,
                Limits::CountRefused => Limit::counts_refused,
                Limits::InFlight(usd) => {
                    account = account.in_flight_budget_usd(usd * requests as f64);
                    builder = builder.account(account);
                    continue;
                }
            };
            for limit in [
                Limit::requests(requests, WINDOW),
                Limit::tokens(tokens, WINDOW),
            ] {
                account = account.limit(change(limit));
            }
            builder = builder.account(account);
        }
        for (label, account) in Self::keys() {
            let key = Key::new(secret(&label)).label(label).account(account);
            builder = builder.key(key);
        }
        World::start(builder)
    }

    /// Starts the same without any limit: what each call uses, and how long it takes.
    #[must_use]
    pub fn start_open(seed: u64) -> World {
        World::start(plain(seed))
    }
}

fn plain(seed: u64) -> Builder {
    let latency = Latency::new(Duration::from_millis(300), Duration::from_millis(3)).jitter(0.2);
    MockOpenRouter::builder()
        .seed(seed)
        .latency(latency)
        .answer_tokens_around(ANSWER.0, ANSWER.1)
        .model(Model::new(MODEL).provider(Provider::new(PROVIDER)))
        .model(Model::new(OTHER_MODEL).provider(Provider::new("Second")))
        .log_capacity(0)
}
