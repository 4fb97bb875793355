//! From arguments and configuration to a client, and the mock it talks to, if it does.

pub(crate) mod via;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fairkey_client::{
    Client, ClientBuilder, KeyWatch, PerClass, QueueConfig, RetryConfig, WatchConfig,
};
use fairkey_core::{AccountId, ApiKey, Key, SystemWallClock, WallClock};
use fairkey_gateway::TenantConfig;
use fairkey_mock::{FaultKind, MockOpenRouter, Scenario, Timestamp};
use fairkey_openrouter::profile::{self, Profiles};
use fairkey_strategy::{
    CooldownConfig, PowerOfTwo, RoundRobin, SmoothWeighted, Sticky, WeightedLeastInFlight,
};
use fairkey_transport::{HttpTransport, HttpTransportBuilder};

use crate::args::UpstreamArgs;
use crate::config::{self, Config, StrategyName, base_url, tidy};
use crate::keyring::{self, Keyring};
use crate::{catalog, redaction, table, terminal};

/// Attempts of a row, where the configuration says nothing: nobody waits for it.
pub(crate) const BATCH_ATTEMPTS: u32 = 8;
/// Calls that a gateway has under way at a time; further ones wait in line.
const CALLS: usize = 4_096;
/// Connections to the upstream that are always allowed.
const CONNECTIONS: usize = 256;

/// The mock's limits look back one second, and its accounts are topped up after a few: whatever
/// waits a minute where an upstream gives no time would sleep through its whole day.
const MOCK_COOLDOWN: CooldownConfig = CooldownConfig {
    throttled: Duration::from_secs(1),
    throttled_cap: Duration::from_secs(300),
    exhausted: Duration::from_secs(2),
    exhausted_cap: Duration::from_secs(60),
    refused: None,
    failed_cap: Duration::from_secs(60),
    throttled_longest: Duration::from_secs(4),
    exhausted_longest: Duration::from_secs(8),
    ..CooldownConfig::DEFAULT
};

/// For the same reason, the window in which limits are learned.
const MOCK_WINDOW: Duration = Duration::from_secs(1);

/// For the same reason, the longest backoff.
const MOCK_BACKOFF: Duration = Duration::from_secs(2);

/// A run that is over by then has asked about no key but those that were refused.
const WATCH_GRACE: Duration = Duration::from_secs(10);

/// What the client shall be good for.
pub(crate) enum Purpose {
    /// Many rows, so many at a time, for which no key may be free for so long.
    Batch {
        in_flight: usize,
        patience: Duration,
    },
    /// One question that somebody waits for.
    Question,
    /// A gateway: many calls at a time, for each of which somebody waits.
    Gateway,
    /// A look at the keys: what is remembered is read, and left to whoever writes it.
    Look,
}

impl Purpose {
    fn in_flight(&self) -> usize {
        match self {
            Self::Batch { in_flight, .. } => *in_flight,
            Self::Gateway => CALLS,
            Self::Question | Self::Look => 1,
        }
    }

    /// Returns how a call is tried again, on the embedded mock or elsewhere, as far as the
    /// configuration says nothing else.
    fn retry(&self, mocked: bool) -> RetryConfig {
        let mut retry = RetryConfig::default();
        if let Self::Batch { .. } = self {
            retry.attempts = BATCH_ATTEMPTS;
        }
        if mocked {
            retry.cap = MOCK_BACKOFF;
        }
        retry
    }

    /// Returns how calls wait, as far as the configuration says nothing else.
    fn queue(&self) -> QueueConfig {
        let wait = match self {
            // Rows come back and are asked again; the run decides how long.
            Self::Batch { patience, .. } => Duration::from_secs(60).min(*patience),
            // Its callers give up sooner or later than anybody here would.
            Self::Gateway => Duration::from_secs(60),
            // Somebody sits there: what takes longer is better told than waited for.
            Self::Question | Self::Look => Duration::from_secs(10),
        };
        QueueConfig {
            max_wait: PerClass::all(Some(wait)),
            ..QueueConfig::default()
        }
    }
}

/// A client, and what belongs to it.
pub(crate) struct Upstream {
    pub(crate) client: Client,
    pub(crate) management_keys: HashMap<AccountId, ApiKey>,
    pub(crate) keys: usize,
    /// How often a call is tried again, and a row with all its calls.
    pub(crate) retry: RetryConfig,
    accounts: usize,
    /// Whether there is a state file.
    remembers: bool,
    /// What stands for models.
    pub(crate) profiles: Profiles,
    /// What a gateway before it is to be, and who may use it.
    pub(crate) gateway: config::gateway::Gateway,
    pub(crate) clients: Vec<TenantConfig>,
    /// The configuration, and the keys, as they were at the start.
    pub(crate) config: Config,
    pub(crate) key_list: Vec<Key>,
    base_url: Option<String>,
    /// Serves as long as it is held.
    mock: Option<MockOpenRouter>,
    /// Whether it is a gateway.
    is_via: bool,
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
            config.state = None;
            suit_the_mock(&mut config);
            let scenario = demo(args.seed.unwrap_or(0), &purpose);
            let key = |(label, account, secret): &(String, String, String)| {
                Key::new(label.as_str(), secret.as_str()).account(account.as_str())
            };
            let keys = scenario.keys().iter().map(key).collect();
            let management_keys = scenario.management_keys().iter();
            let management_keys = management_keys
                .map(|(account, key)| (account.as_str().into(), ApiKey::new(key.as_str())))
                .collect();
            let started = scenario.start().await.map_err(|error| error.to_string())?;
            config.base_url = Some(started.base_url());
            config.cooldown.get_or_insert(MOCK_COOLDOWN);
            config.management_keys = management_keys;
            mock = Some(started);
            keys
        } else {
            let (keys, warnings) = keys(&config)?;
            let all = config.warnings.iter().chain(&warnings);
            all.for_each(|text| terminal::warn(text));
            keys
        };
        if let Some(base_url) = &args.base_url {
            if let Some(hint) = base_url::check(base_url)? {
                terminal::warn(&hint);
            }
            config.base_url = Some(base_url.clone());
        }
        redaction::hide(keys.iter().map(|key| key.secret().clone()));
        redaction::hide(config.management_keys.values().cloned());
        redaction::hide(config.tokens.iter().cloned());
        check_tokens(&config, &keys)?;
        keyring::keep_apart(&keys, config.management_keys.values())?;
        let (count, key_list) = (keys.len(), keys.clone());
        let retry = config.retry.over(purpose.retry(args.mock));
        let mut builder = builder(&config, keys, &purpose, retry.clone(), args)?;
        if let Some(state) = &config.state {
            builder = builder.state_file(state);
            if matches!(purpose, Purpose::Look) {
                builder = builder.state_read_only();
            }
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        let mut accounts: Vec<_> = client.pool().with_keys(|set| {
            set.iter()
                .map(|key| key.account_id().map(ToString::to_string))
                .collect()
        });
        accounts.sort();
        // A key without an account is alone in one of its own.
        let lonely = accounts.iter().filter(|account| account.is_none()).count();
        accounts.dedup();
        let accounts = accounts.len() - usize::from(lonely > 0) + lonely;
        Ok(Self {
            client,
            management_keys: config.management_keys.clone(),
            keys: count,
            key_list,
            retry,
            accounts,
            remembers: config.state.is_some(),
            profiles: config.profiles.clone(),
            gateway: config.gateway.clone(),
            clients: (config.clients.iter())
                .map(|client| client.tenant.clone())
                .collect(),
            base_url: config.base_url.clone(),
            mock,
            config,
            is_via: false,
        })
    }

    /// Returns what to ask for where the command line names a model or a route.
    ///
    /// # Errors
    ///
    /// Where there is no such route.
    pub(crate) fn model(
        &self,
        model: Option<&String>,
        route: Option<&String>,
    ) -> Result<Option<String>, String> {
        if self.is_via {
            return Ok(via::named(model, route));
        }
        named(&self.profiles, model, route)
    }

    /// Returns the upstream's own name.
    pub(crate) fn name(&self) -> &str {
        match (&self.mock, &self.base_url) {
            (Some(_), _) => "the embedded mock OpenRouter",
            (None, Some(url)) => url,
            (None, None) => "OpenRouter",
        }
    }

    /// Returns what the client talks to, and with how many keys, in words.
    pub(crate) fn describe(&self) -> String {
        let to = self.name();
        if self.is_via {
            return format!("the gateway at {to}");
        }
        let keys = table::count(self.keys as u64, "key");
        format!(
            "{to}, {keys} in {}",
            table::count(self.accounts as u64, "account")
        )
    }

    /// Warns of what an operator should know before calls are made: a state file that is not what
    /// it should be, keys that expire.
    pub(crate) fn warn(&self) {
        let warnings = self.client.standing().warnings;
        warnings.iter().for_each(|text| terminal::warn(text));
    }

    /// Asks keys about themselves from time to time, as long as the answer is held, and writes
    /// what is known of them where there is a state file.
    pub(crate) fn watch(&self) -> KeyWatch {
        self.client.watch_keys(WatchConfig {
            grace: WATCH_GRACE,
            ..WatchConfig::default()
        })
    }

    /// Fetches the models once, off the path of calls, so that estimates know what they cost. Without
    /// them, calls are made all the same.
    pub(crate) fn fetch_prices(&self) {
        let catalog = self.client.catalog().clone();
        tokio::spawn(async move {
            if let Err(error) = catalog.models().await {
                let message = format!("calls are estimated without prices: no models: {error}");
                terminal::say(&message);
            }
        });
    }

    /// Writes what is known of the keys, and ends the mock, if there is one.
    pub(crate) fn close(self) {
        if self.remembers
            && let Err(error) = self.client.save_state()
        {
            terminal::warn(&format!("the state file cannot be written: {error}"));
        }
        // Dropped, it closes its port at once: nobody waits for what it still does.
        drop(self.mock);
    }
}

/// Leaves out what a configuration says of other keys than the mock's.
pub(crate) fn suit_the_mock(config: &mut Config) {
    // Its money is not worth a file, and its keys have names of their own.
    config.gateway.spend = None;
    config.learning.usually_in(MOCK_WINDOW);
    for client in &mut config.clients {
        client.tenant.keys.clear();
        client.tenant.accounts.clear();
    }
}

/// Refuses a token that is a key at the same time.
///
/// # Errors
///
/// Says so.
pub(crate) fn check_tokens(config: &Config, keys: &[Key]) -> Result<(), String> {
    let is_key = |token: &ApiKey| keys.iter().any(|key| key.secret().is_same(token));
    if config.tokens.iter().any(is_key) {
        let message = "a client's token is one of the keys: give the client a token of its own";
        return Err(message.to_owned());
    }
    Ok(())
}

/// Returns the keys of the configuration and of the environment, and what the user should know about
/// them.
///
/// # Errors
///
/// Where there is none, or one administers at the same time.
pub(crate) fn keys(config: &Config) -> Result<(Vec<Key>, Vec<String>), String> {
    let variables = std::env::vars_os();
    let ring = Keyring::collect(config.keys.clone(), variables, &config.variables);
    if ring.keys.is_empty() {
        return Err(keyring::NO_KEY.to_owned());
    }
    let of_environment = std::env::var(keyring::MANAGEMENT_VARIABLE).ok();
    let of_environment = of_environment.map(|text| ApiKey::new(tidy(&text).0));
    redaction::hide(of_environment.clone());
    let management_keys = config.management_keys.values().chain(&of_environment);
    keyring::keep_apart(&ring.keys, management_keys)?;
    Ok((ring.keys, ring.warnings))
}

/// Builds a client as any command would, and throws it away.
///
/// # Errors
///
/// Says what is wrong with the configuration as a whole.
pub(crate) fn check(config: &Config, keys: Vec<Key>, base_url: Option<&str>) -> Result<(), String> {
    let args = UpstreamArgs {
        base_url: base_url.map(str::to_owned),
        ..UpstreamArgs::default()
    };
    let purpose = Purpose::Question;
    let retry = config.retry.over(purpose.retry(false));
    let client = builder(config, keys, &purpose, retry, &args)?.build();
    client.map(|_| ()).map_err(|error| error.to_string())
}

/// Returns what to ask for where the command line names a model or a route.
///
/// # Errors
///
/// Where there is no such route.
pub(crate) fn named(
    profiles: &Profiles,
    model: Option<&String>,
    route: Option<&String>,
) -> Result<Option<String>, String> {
    let prefixed = model.filter(|model| model.starts_with(profile::PREFIX));
    match route.or(prefixed) {
        None => Ok(model.cloned()),
        Some(route) if profiles.get(route).is_none() => {
            let error = profiles.unknown(route);
            Err(format!(
                "{error}; routes stand in the configuration, as [routes.NAME]"
            ))
        }
        Some(route) if route.starts_with(profile::PREFIX) => Ok(Some(route.clone())),
        Some(route) => Ok(Some(format!("{}{route}", profile::PREFIX))),
    }
}

/// Returns the world of `--mock`.
fn demo(seed: u64, purpose: &Purpose) -> Scenario {
    // Its stamps are read against the real time.
    let scenario = Scenario::demo(seed).with(|mock| mock.now(now()));
    match purpose {
        Purpose::Batch { .. } => scenario,
        // What was told cannot be taken back: nobody's first answer shall break off in the middle.
        Purpose::Question | Purpose::Gateway | Purpose::Look => scenario.with(|mock| {
            [
                FaultKind::ResetMidBody,
                FaultKind::ErrorIn200,
                FaultKind::ChoiceError,
            ]
            .into_iter()
            .fold(mock, |mock, kind| mock.fault_rate(kind, 0.0))
        }),
    }
}

/// Returns the time of day, as the mock's clock takes it.
pub(crate) fn now() -> Timestamp {
    (SystemTime::UNIX_EPOCH + SystemWallClock.since_epoch()).into()
}

/// Returns what connects to the upstream, as the configuration says: its deadlines, and whom it
/// trusts.
pub(crate) fn transport(config: &Config) -> HttpTransportBuilder {
    let transport = HttpTransport::builder().deadlines(config.deadlines);
    match &config.ca {
        Some(ca) => transport.tls(ca.tls.clone()),
        None => transport,
    }
}

fn builder(
    config: &Config,
    keys: Vec<Key>,
    purpose: &Purpose,
    retry: RetryConfig,
    args: &UpstreamArgs,
) -> Result<ClientBuilder, String> {
    let seed = args.seed;
    let in_flight = purpose.in_flight().max(1);
    let transport = transport(config)
        .max_connections_per_origin(in_flight.max(CONNECTIONS))
        .build()
        .map_err(|error| error.to_string())?;
    let mut builder = Client::builder()
        .keys(keys)
        .transport(Arc::new(transport))
        .deadlines(config.deadlines)
        .retry(retry)
        .max_in_flight(in_flight)
        .queue(config.queue.over(purpose.queue()));
    builder = with_strategy(builder, config);
    if let Some(base_url) = args.base_url.as_ref().or(config.base_url.as_ref()) {
        builder = builder.base_url(base_url.as_str());
    }
    if let Some(app) = &config.app {
        builder = builder.app(app.clone());
    }
    if let Some(hedge) = &config.hedge {
        builder = builder.hedge(hedge.clone());
    }
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    if let Purpose::Batch { .. } | Purpose::Look = purpose
        && !args.mock
        && let Some(folder) = catalog::folder()
    {
        builder = builder.catalog_folder(folder);
    }
    Ok(builder)
}

fn with_strategy(builder: ClientBuilder, config: &Config) -> ClientBuilder {
    let builder = match config.strategy {
        // What the client picks by where nothing else is said: over its own limits.
        StrategyName::Headroom => builder,
        StrategyName::LeastInFlight => builder.strategy(WeightedLeastInFlight::new()),
        StrategyName::RoundRobin => builder.strategy(RoundRobin::new()),
        StrategyName::SmoothWeighted => builder.strategy(SmoothWeighted::new()),
        StrategyName::PowerOfTwo => builder.strategy(PowerOfTwo::new()),
        StrategyName::Sticky => builder.strategy(Sticky::new(WeightedLeastInFlight::new())),
    };
    builder
        .default_gates(true)
        .limits(config.limits.clone())
        .learn_limits(config.learning.config())
        .breaker(config.breaker.clone().unwrap_or_default())
        .cooldown(config.cooldown.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Retry;

    #[test]
    fn what_a_configuration_leaves_out_keeps_what_holds_for_the_command() {
        let retry: Retry = toml::from_str("base = \"1s\"").unwrap();
        let batch = Purpose::Batch {
            in_flight: 1,
            patience: Duration::from_secs(1),
        };
        for (purpose, attempts) in [(batch, 8), (Purpose::Question, 4)] {
            let retry = retry.over(purpose.retry(false));
            assert_eq!(retry.attempts, attempts);
            assert_eq!(retry.base, Duration::from_secs(1));
        }
        let retry: Retry = toml::from_str("attempts = 2").unwrap();
        let retry = retry.over(Purpose::Question.retry(true));
        assert_eq!((retry.attempts, retry.cap), (2, MOCK_BACKOFF));
    }
}
