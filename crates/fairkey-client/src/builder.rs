//! Settings of a client, checked once: [`ClientBuilder`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{
    ApiKey, Clock, Gate, Key, KeyId, Observer, Pool, Seeds, Strategy, SystemWallClock, WallClock,
};
use fairkey_openrouter::{AppAttribution, ResetInterval, endpoint};
use fairkey_strategy::{
    BreakerConfig, Ceilings, CeilingsConfig, Cooldown, CooldownConfig, Headroom, Limits,
    LimitsConfig,
};
use fairkey_transport::{Deadlines, Transport};
use http::HeaderMap;

use crate::admission::{Admission, Waker};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::core::{Core, Keyed};
use crate::estimate::Estimates;
use crate::gates::Gates;
use crate::hedge::Hedging;
use crate::knowledge::Knowledge;
use crate::origin::BaseUrl;
use crate::state_file::StateFile;
use crate::stats::Counters;
use crate::{
    Client, ClientBuildError, CorrelationConfig, HedgeConfig, PaceConfig, PerClass, QueueConfig,
    RetryBudget, RetryConfig, TokioClock, authorization, request,
};

/// Builds a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use fairkey_client::Client;
/// use fairkey_core::Key;
///
/// # fn main() -> Result<(), fairkey_client::ClientBuildError> {
/// let client = Client::builder()
///     .key("search-team", "sk-or-v1-…")
///     .keys([Key::new("batch", "sk-or-v1-….").account("acme").weight(2)])
///     .max_in_flight(64)
///     .max_wait(Duration::from_secs(30))
///     .build();
/// # let _ = client;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    keys: Vec<Key>,
    strategy: Option<Box<dyn Strategy>>,
    default_gates: Option<bool>,
    breaker: BreakerConfig,
    cooldown: CooldownConfig,
    limits: LimitsConfig,
    ceilings: Option<CeilingsConfig>,
    gates: Vec<Arc<dyn Gate>>,
    observers: Vec<Arc<dyn Observer>>,
    base_url: String,
    app: Option<AppAttribution>,
    transport: Option<Arc<dyn Transport>>,
    deadlines: Deadlines,
    retry: RetryConfig,
    hedge: Option<HedgeConfig>,
    max_in_flight: usize,
    queue: QueueConfig,
    max_body_bytes: usize,
    clock: Option<Arc<dyn Clock>>,
    wall_clock: Option<Arc<dyn WallClock>>,
    seed: Option<u64>,
    correlation: CorrelationConfig,
    pace: PaceConfig,
    state_file: Option<PathBuf>,
    reads_only: bool,
    catalog_folder: Option<PathBuf>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            keys: Vec::new(),
            strategy: None,
            default_gates: None,
            breaker: BreakerConfig::default(),
            cooldown: CooldownConfig::default(),
            limits: LimitsConfig::default(),
            ceilings: Some(CeilingsConfig::DEFAULT),
            gates: Vec::new(),
            observers: Vec::new(),
            base_url: endpoint::BASE_URL.to_owned(),
            app: None,
            transport: None,
            deadlines: Deadlines::default(),
            retry: RetryConfig::default(),
            hedge: None,
            max_in_flight: 1_024,
            queue: QueueConfig::default(),
            max_body_bytes: 32 << 20,
            clock: None,
            wall_clock: None,
            seed: None,
            correlation: CorrelationConfig::default(),
            pace: PaceConfig::default(),
            state_file: None,
            reads_only: false,
            catalog_folder: None,
        }
    }

    /// Adds a key by label and secret. One with an account or a weight: [`keys`](Self::keys).
    pub fn key(mut self, id: impl Into<KeyId>, secret: impl Into<ApiKey>) -> Self {
        self.keys.push(Key::new(id, secret));
        self
    }

    /// Adds keys.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Sets what picks keys, and takes the default gates away: the strategy may bring its own.
    /// [`default_gates`](Self::default_gates) puts them back.
    ///
    /// The [limits](Self::limits) stand before any strategy.
    ///
    /// Default: [`Headroom`] over those limits, behind the default gates.
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Some(Box::new(strategy));
        self
    }

    /// Sets whether the default gates stand before the strategy, each of which hears of the faults
    /// of its scope and of no other:
    ///
    /// - a `Switch` for an operator's word ([`Client::switch`]),
    /// - a breaker and a cooldown for each key; the cooldown hears of budgets, too,
    /// - a cooldown for each account,
    /// - a breaker for each model, and each provider at it,
    /// - a cooldown and a breaker for the service, and a breaker for the network: while these are
    ///   open, calls wait.
    ///
    /// All have their defaults, but that without a hint the service is out for 2 s at first and a
    /// minute at most. What is learned beside calls ([`Client::watch_keys`], [`Client::clear`])
    /// acts on them.
    /// Without them, or gates that do the same, a key that is revoked is tried again and again.
    ///
    /// Default: true, unless a [`strategy`](Self::strategy) is set. Two more gates are always there:
    /// one closes an account's free models while their quota is used up, so that no other gate
    /// closes the account for paid ones; and the [`limits`](Self::limits).
    pub fn default_gates(mut self, yes: bool) -> Self {
        self.default_gates = Some(yes);
        self
    }

    /// Sets how the default breaker of keys goes about it. Default: as [`BreakerConfig`] says.
    pub fn breaker(mut self, breaker: BreakerConfig) -> Self {
        self.breaker = breaker;
        self
    }

    /// Sets how the default cooldowns of keys, accounts and free models go about it. Default: as
    /// [`CooldownConfig`] says.
    pub fn cooldown(mut self, cooldown: CooldownConfig) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets what keys, accounts, free models, and models of accounts are limited to, so that calls
    /// wait for room instead of being refused. Whatever the strategy is, the limits stand before
    /// it; [pinned](Client::pin) keys are not let by. [`Client::set_limit`] changes one while calls
    /// are made.
    ///
    /// Default: no limit, which costs a selection next to nothing.
    pub fn limits(mut self, limits: LimitsConfig) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how limits that nobody configured are learned from refusals that mean "slow down", and
    /// kept; with `None` they are not: then an account that refuses is left alone for as long as it
    /// says, or as [`cooldown`](Self::cooldown) says where it does not.
    ///
    /// They are learned only where the [default gates](Self::default_gates) stand. Default: as
    /// [`CeilingsConfig`] says.
    pub fn learn_limits(mut self, how: Option<CeilingsConfig>) -> Self {
        self.ceilings = how;
        self
    }

    /// Puts a gate before the strategy, behind the gates there are.
    pub fn gate(self, gate: impl Gate + 'static) -> Self {
        self.shared_gate(Arc::new(gate))
    }

    /// Puts a gate before the strategy of which the caller keeps a handle.
    pub fn shared_gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gates.push(gate);
        self
    }

    /// Adds somebody who hears of selections and ends.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Sets the upstream: `https`, or `http` to this machine. Keys are sent to this origin and to
    /// no other. Default `https://openrouter.ai/api/v1`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets who the app is, for calls that do not say so themselves. Default: nobody.
    pub fn app(mut self, app: AppAttribution) -> Self {
        self.app = Some(app);
        self
    }

    /// Sets what sends requests. Default: an `HttpTransport` with its defaults, where the feature
    /// `transport` is on.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how long the parts of each attempt may take. See [`Deadlines`] for defaults.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets how often, and when, a call is tried again. See [`RetryConfig`] for defaults.
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Asks a second key where the first content of a stream is late: see [`HedgeConfig`] for which
    /// calls. Default: no call.
    pub fn hedge(mut self, hedge: HedgeConfig) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// Sets how many attempts may be in flight at a time, to the end of their answers; at least 1.
    /// Further ones wait in line. A call that waits before a retry is not in flight.
    /// Default 1,024.
    pub fn max_in_flight(mut self, attempts: usize) -> Self {
        self.max_in_flight = attempts;
        self
    }

    /// Sets how calls wait: how many, how long, and whose turn it is. See [`QueueConfig`] for
    /// defaults.
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets how many calls may wait in line, [`QueueConfig::length`]; the next one fails as
    /// [`Overloaded`](crate::CallErrorKind::Overloaded). Default 65,536.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.queue.length = calls;
        self
    }

    /// Sets how long a call may wait for keys, all its attempts together, the same for all classes:
    /// [`QueueConfig::max_wait`]. Waits before retries do not count. Where it is known that no key
    /// opens within it, the call fails at once. Zero: no call waits. Default 30 s for interactive
    /// calls, 2 min for normal ones, and no limit for those of a batch.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.queue.max_wait = PerClass::all(Some(wait));
        self
    }

    /// Sets how many bytes an answer may have that is read whole. Default 32 MiB.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets the pool's clock. Default: [`TokioClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the time of day, against which reset stamps are read. Default: the machine's.
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.wall_clock = Some(Arc::new(clock));
        self
    }

    /// Seeds chance: selections and backoffs. Default: the process's own seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets when faults of several keys are one fault of their account, a model or the service.
    /// See [`CorrelationConfig`] for defaults.
    pub fn correlation(mut self, correlation: CorrelationConfig) -> Self {
        self.correlation = correlation;
        self
    }

    /// Sets how keys are paced by what remains to them, while somebody
    /// [watches](Client::watch_keys). See [`PaceConfig`] for defaults.
    pub fn pace(mut self, pace: PaceConfig) -> Self {
        self.pace = pace;
        self
    }

    /// Sets a file in which the client remembers until its next start which keys and accounts are
    /// out, until when, and what keys said of themselves. It holds no secret.
    ///
    /// It is read by [`build`](Self::build), which does not fail for it: what is corrupt, old, of
    /// another version or from the future is left out with a warning, and
    /// [`Client::standing`] tells of it. A key that has another secret than before inherits
    /// nothing. Deadlines are times of day, cut to the longest that their cause can mean; for good
    /// is only what was proven.
    ///
    /// It is written by a [watch](Client::watch_keys) a moment after something has changed, by
    /// [`Client::save_state`], and when the last handle to the client is gone: whole, beside
    /// the old one, and then renamed. A second process that is given the same file reads it, says
    /// so, and does not write it.
    ///
    /// Default: none.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Reads the [state file](Self::state_file) and leaves it alone: takes no lock, so that another
    /// process can have it at any time, and writes nothing. Default: it is written.
    pub fn state_read_only(mut self) -> Self {
        self.reads_only = true;
        self
    }

    /// Sets a folder in which the [catalogue](crate::Catalog) is kept for the next process: see
    /// [`CatalogBuilder::folder`](crate::CatalogBuilder::folder). Default: none.
    pub fn catalog_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.catalog_folder = Some(folder.into());
        self
    }

    /// Builds a layer for other HTTP clients, which needs no transport.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    #[cfg(feature = "tower")]
    pub fn build_layer(mut self) -> Result<crate::KeyLayer, ClientBuildError> {
        self.transport.get_or_insert_with(|| Arc::new(NoTransport));
        self.build().map(|client| crate::KeyLayer::new(&client))
    }

    /// Builds the client. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be, and what to do about it.
    pub fn build(self) -> Result<Client, ClientBuildError> {
        if self.keys.is_empty() {
            return Err(ClientBuildError::new(
                "a client needs at least one key: add one with `key(label, secret)`",
            ));
        }
        for key in &self.keys {
            authorization::check(key.id(), key.secret()).map_err(ClientBuildError::new)?;
        }
        if let Some(Err(what)) = self.hedge.as_ref().map(HedgeConfig::check) {
            return Err(ClientBuildError::new(format!("hedging: {what}")));
        }
        if self.max_in_flight == 0 {
            let message = "max_in_flight is 0, so that no call could ever be sent; give 1 or more";
            return Err(ClientBuildError::new(message));
        }
        let base = BaseUrl::parse(&self.base_url).map_err(ClientBuildError::new)?;
        let attribution = match &self.app {
            None => HeaderMap::new(),
            Some(app) => app
                .headers()
                .map_err(|error| ClientBuildError::new(error.to_string()).with_source(error))?,
        };
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(self.deadlines)?,
        };
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        let (waker, counters) = (Waker::default(), Arc::new(Counters::default()));
        let knowledge = Arc::new(Knowledge::default());
        let keyed = Arc::new(Keyed {
            counters: Arc::clone(&counters),
            authorizations: <_>::default(),
            records: <_>::default(),
            attribution: Attribution::new(self.correlation),
            standings: <_>::default(),
            knowledge: Arc::clone(&knowledge),
        });
        let default_gates = self.default_gates.unwrap_or(self.strategy.is_none());
        (self.limits.check())
            .map_err(|error| ClientBuildError::new(error.to_string()).with_source(error))?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(TokioClock::new()));
        let wall = self.wall_clock.unwrap_or_else(|| Arc::new(SystemWallClock));
        // Days begin at midnight, and weeks on Mondays, by UTC.
        let week = ResetInterval::Weekly.next_reset(wall.since_epoch());
        let week = week.map_or(Duration::ZERO, |at| at.saturating_sub(wall.since_epoch()));
        let limits = Limits::new(self.limits).periods_from(clock.now() + week);
        let limits = Arc::new(limits);
        let mut pool = Pool::builder()
            .keys(self.keys)
            .strategy(
                self.strategy
                    .unwrap_or_else(|| Box::new(Headroom::new(Arc::clone(&limits)))),
            )
            .clock(clock)
            .seed(seed)
            .observer(Arc::<Keyed>::clone(&keyed));
        self.breaker
            .check()
            .map_err(|error| ClientBuildError::new(error.to_string()).with_source(error))?;
        let gates = default_gates.then(|| Gates::new(seed, self.breaker, self.cooldown.clone()));
        if let Some(gates) = &gates {
            for gate in gates.all() {
                pool = pool.shared_gate(gate);
            }
        }
        let free = Cooldown::of_free_models(self.cooldown).seed(seed ^ 6);
        let free_models = Arc::new(free);
        pool = pool.shared_gate(Arc::<Cooldown>::clone(&free_models));
        for gate in self.gates {
            pool = pool.shared_gate(gate);
        }
        // Last: what another gate refuses need not be given back.
        pool = pool.shared_gate(Arc::<Limits>::clone(&limits));
        // Behind the limits that it sets.
        let ceilings = self.ceilings.filter(|_| default_gates);
        let ceilings = ceilings.map(|how| Arc::new(Ceilings::new(how, Arc::clone(&limits))));
        if let Some(ceilings) = &ceilings {
            pool = pool.shared_gate(Arc::<Ceilings>::clone(ceilings));
        }
        for observer in self.observers {
            pool = pool.observer(observer);
        }
        // Last: whoever is woken finds everybody else informed.
        let pool = pool.observer(Arc::new(waker.clone())).build()?;
        pool.with_keys(|keys| {
            keyed.records.rekey(keys);
            keyed.attribution.rekey(keys);
        });
        let admission = Admission::new(pool, Some(self.max_in_flight), self.queue.clone(), &waker);
        let estimates = Arc::<Estimates>::default();
        admission.estimate_by(&estimates);
        let opened = (self.state_file)
            .map(|path| StateFile::open(&path, wall.since_epoch(), self.reads_only));
        let (state_file, snapshot, warnings) = match opened {
            Some((file, snapshot, warnings)) => (Some(file), Some(snapshot), warnings),
            None => (None, None, Vec::new()),
        };
        let seeds = Seeds::new(fairkey_core::mix(seed));
        let headers = request::defaults(attribution);
        let catalog = Catalog::of_client(
            Arc::clone(&admission),
            Arc::clone(&transport),
            base.clone(),
            headers.clone(),
            self.deadlines,
            self.retry.clone(),
            Seeds::new(fairkey_core::mix(seed ^ 8)).draw(),
            self.catalog_folder
                .map(|folder| (folder, Arc::clone(&wall))),
        );
        let core = Core {
            admission,
            transport,
            base,
            json: request::json(&headers),
            headers,
            budget: RetryBudget::new(&self.retry.budget),
            hedging: self.hedge.map(Hedging::new),
            retry: self.retry,
            deadlines: self.deadlines,
            queue: self.queue,
            max_body_bytes: self.max_body_bytes,
            wall,
            keyed,
            counters,
            free_models,
            limits,
            ceilings,
            seeds,
            gates,
            knowledge,
            pace: self.pace,
            state_file,
            catalog,
            estimates,
            warnings,
        };
        for warning in &core.warnings {
            #[cfg(feature = "tracing")]
            tracing::warn!("{warning}");
            #[cfg(not(feature = "tracing"))]
            let _ = warning;
        }
        if let Some(snapshot) = snapshot {
            core.restore(&snapshot);
        }
        Ok(Client::new(Arc::new(core)))
    }
}

#[cfg(feature = "transport")]
pub(crate) fn default_transport(
    deadlines: Deadlines,
) -> Result<Arc<dyn Transport>, ClientBuildError> {
    match fairkey_transport::HttpTransport::builder()
        .deadlines(deadlines)
        .build()
    {
        Ok(transport) => Ok(Arc::new(transport)),
        Err(error) => Err(ClientBuildError::new(error.to_string()).with_source(error)),
    }
}

#[cfg(not(feature = "transport"))]
pub(crate) fn default_transport(_: Deadlines) -> Result<Arc<dyn Transport>, ClientBuildError> {
    Err(ClientBuildError::new(
        "there is no transport: turn on the feature `transport`, or give one with `transport(…)`",
    ))
}

/// Stands in where somebody else sends.
#[cfg(feature = "tower")]
#[derive(Debug)]
struct NoTransport;

#[cfg(feature = "tower")]
#[async_trait::async_trait]
impl Transport for NoTransport {
    async fn send(
        &self,
        _: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<fairkey_transport::Body>, fairkey_transport::TransportError> {
        Err(fairkey_transport::TransportError::new(
            fairkey_transport::TransportErrorKind::Request,
            "this client was built for a layer, and has no transport of its own",
        ))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("keys", &self.keys)
            .field("strategy", &self.strategy)
            .field("retry", &self.retry)
            .field("deadlines", &self.deadlines)
            // Not the base URL: until it is checked, it may have a password in it.
            .finish_non_exhaustive()
    }
}
