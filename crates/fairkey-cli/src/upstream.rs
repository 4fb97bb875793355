//! From arguments and configuration to a client, and the mock it talks to, if it does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fairkey_client::{Client, ClientBuilder, RetryConfig};
use fairkey_core::{AccountId, ApiKey, Key};
use fairkey_mock::{MockOpenRouter, Scenario};
use fairkey_strategy::{
    Cooldown, PowerOfTwo, RoundRobin, SlidingWindowBreaker, SmoothWeighted, Sticky,
    WeightedLeastInFlight,
};
use fairkey_transport::HttpTransport;

use crate::args::UpstreamArgs;
use crate::config::{Config, StrategyName};
use crate::keyring::{self, Keyring};
use crate::{redaction, table, terminal};

/// Attempts of a row, where the configuration says nothing: nobody waits for it.
const BATCH_ATTEMPTS: u32 = 8;
/// Connections to the upstream that are always allowed.
const CONNECTIONS: usize = 256;

/// What the client shall be good for.
pub(crate) enum Purpose {
    /// Many rows, so many at a time.
    Batch { in_flight: usize },
    /// One question that somebody waits for.
    Question,
}

/// A client, and what belongs to it.
pub(crate) struct Upstream {
    pub(crate) client: Client,
    pub(crate) management_keys: HashMap<AccountId, ApiKey>,
    keys: usize,
    accounts: usize,
    base_url: Option<String>,
    /// Serves as long as it is held.
    mock: Option<MockOpenRouter>,
}

impl Upstream {
    /// Builds a client, and starts the mock where that is asked for.
    ///
    /// # Errors
    ///
    /// Says what to set, or what to change.
    pub(crate) async fn open(args: &UpstreamArgs, purpose: Purpose) -> Result<Self, String> {
        let mut config = Config::load(args.config.as_deref()).map_err(|error| error.to_string())?;
        let mut mock = None;
        let keys = if args.mock {
            let scenario = Scenario::demo(args.seed.unwrap_or(0));
            let key = |(label, account, secret): &(String, String, String)| {
                Key::new(label.as_str(), secret.as_str()).account(account.as_str())
            };
            let keys = scenario.keys().iter().map(key).collect();
            let started = scenario.start().await.map_err(|error| error.to_string())?;
            config.base_url = Some(started.base_url());
            config.management_keys.clear();
            mock = Some(started);
            keys
        } else {
            let variables = std::env::vars_os();
            let ring =
                Keyring::collect(std::mem::take(&mut config.keys), variables, &config.variables);
            config.warnings.iter().chain(&ring.warnings).for_each(|text| terminal::warn(text));
            ring.keys
        };
        if keys.is_empty() {
            return Err(keyring::NO_KEY.to_owned());
        }
        if let Some(base_url) = &args.base_url {
            config.base_url = Some(base_url.clone());
        }
        redaction::hide(keys.iter().map(|key| key.secret().clone()));
        redaction::hide(config.management_keys.values().cloned());
        let count = keys.len();
        let client = build(&config, keys, &purpose, args.seed)?;
        let mut accounts: Vec<_> = client.pool().with_keys(|set| {
            set.iter().map(|key| key.account_id().map(ToString::to_string)).collect()
        });
        accounts.sort();
        // A key without an account is alone in one of its own.
        let lonely = accounts.iter().filter(|account| account.is_none()).count();
        accounts.dedup();
        let accounts = accounts.len() - usize::from(lonely > 0) + lonely;
        Ok(Self {
            client,
            management_keys: config.management_keys,
            keys: count,
            accounts,
            base_url: config.base_url,
            mock,
        })
    }

    /// Returns what the client talks to, and with how many keys, in words.
    pub(crate) fn describe(&self) -> String {
        let to = match (&self.mock, &self.base_url) {
            (Some(_), _) => "the embedded mock OpenRouter",
            (None, Some(url)) => url,
            (None, None) => "OpenRouter",
        };
        let keys = table::count(self.keys as u64, "key");
        format!("{to}, {keys} in {}", table::count(self.accounts as u64, "account"))
    }

    /// Ends the mock, if there is one.
    pub(crate) fn close(self) {
        // Dropped, it closes its port at once: nobody waits for what it still does.
        drop(self.mock);
    }
}

fn build(
    config: &Config,
    keys: Vec<Key>,
    purpose: &Purpose,
    seed: Option<u64>,
) -> Result<Client, String> {
    let in_flight = match purpose {
        Purpose::Batch { in_flight } => *in_flight,
        Purpose::Question => 1,
    };
    let transport = HttpTransport::builder()
        .deadlines(config.deadlines)
        .max_connections_per_origin(in_flight.max(CONNECTIONS))
        .build()
        .map_err(|error| error.to_string())?;
    let mut retry = config.retry.clone().unwrap_or_else(|| RetryConfig {
        attempts: match purpose {
            Purpose::Batch { .. } => BATCH_ATTEMPTS,
            Purpose::Question => RetryConfig::default().attempts,
        },
        ..RetryConfig::default()
    });
    if matches!(purpose, Purpose::Question) {
        // One call earns no budget for its own retries; the ledger bounds it.
        retry.budget.min_per_second = retry.budget.min_per_second.max(1.0);
    }
    let mut builder = Client::builder()
        .keys(keys)
        .transport(Arc::new(transport))
        .deadlines(config.deadlines)
        .retry(retry)
        .max_in_flight(in_flight.max(1))
        .max_wait(match purpose {
            // Rows come back and are asked again; the run decides how long.
            Purpose::Batch { .. } => Duration::from_secs(60),
            Purpose::Question => Duration::from_secs(30),
        });
    builder = with_strategy(builder, config, seed);
    if let Some(base_url) = &config.base_url {
        builder = builder.base_url(base_url.as_str());
    }
    if let Some(app) = &config.app {
        builder = builder.app(app.clone());
    }
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    builder.build().map_err(|error| error.to_string())
}

fn with_strategy(builder: ClientBuilder, config: &Config, seed: Option<u64>) -> ClientBuilder {
    let builder = match config.strategy {
        StrategyName::LeastInFlight => builder.strategy(WeightedLeastInFlight::new()),
        StrategyName::RoundRobin => builder.strategy(RoundRobin::new()),
        StrategyName::SmoothWeighted => builder.strategy(SmoothWeighted::new()),
        StrategyName::PowerOfTwo => builder.strategy(PowerOfTwo::new()),
        StrategyName::Sticky => builder.strategy(Sticky::new(WeightedLeastInFlight::new())),
    };
    if config.breaker.is_none() && config.cooldown.is_none() {
        return builder.default_gates(true);
    }
    let mut breaker = SlidingWindowBreaker::new(config.breaker.clone().unwrap_or_default());
    if let Some(seed) = seed {
        breaker = breaker.seed(seed);
    }
    let cooldown = config.cooldown.clone().unwrap_or_default();
    builder
        .default_gates(false)
        .gate(breaker)
        .gate(Cooldown::per_key(cooldown.clone()))
        .gate(Cooldown::per_account(cooldown))
}
