//! The gateway itself: [`Gateway`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use fairkey_client::Client;
use fairkey_core::{SystemWallClock, WallClock, mix};
use fairkey_openrouter::profile::Profiles;

use crate::admin::Admin;
use crate::catalogue::Catalogue;
use crate::homes::Homes;
use crate::lifecycle::Lifecycle;
use crate::record::Observer;
use crate::relay::{Accounts, Ended};
use crate::report::Reports;
use crate::{
    AccessLog, Guard, GuardError, Metrics, MetricsConfig, Origins, Settings, SpendStore, Tenants,
};

/// An OpenRouter gateway: everything but the sockets.
///
/// A clone shares everything. [`serve`](Self::serve) listens; one gateway may serve several
/// listeners.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    settings: RwLock<Arc<Settings>>,
    profiles: RwLock<Arc<Profiles>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Of the listener for operators, which outlives the others' calls.
    pub(crate) admins: Arc<Lifecycle>,
    /// The upstream, as the client has it.
    pub(crate) base_url: String,
    pub(crate) homes: Homes,
    pub(crate) catalogue: Catalogue,
    pub(crate) accounts: Accounts,
    pub(crate) reports: Arc<Reports>,
    pub(crate) guard: Guard,
    /// Where there is a listener for operators.
    pub(crate) admin: OnceLock<Admin>,
    tenants: RwLock<Arc<Tenants>>,
    pub(crate) spend: Option<Arc<SpendStore>>,
    pub(crate) wall: Arc<dyn WallClock>,
    seed: u64,
    requests: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("client", &self.client)
            .field("settings", &self.settings())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns the settings as they are now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the routes there are now.
    pub(crate) fn profiles(&self) -> Arc<Profiles> {
        Arc::clone(&self.profiles.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the tenants there are now.
    pub(crate) fn tenants(&self) -> Arc<Tenants> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&tenants)
    }

    /// Returns a number for a request that no other has.
    pub(crate) fn number(&self) -> u64 {
        // Relaxed: only that no number comes twice.
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the name of a request.
    pub(crate) fn request_id(&self, number: u64) -> Arc<str> {
        let mixed = mix(self.seed.wrapping_add(number));
        // Each request has one: `req-` and the number in hexadecimal digits.
        let mut id = *b"req-0000000000000000";
        for (at, digit) in id[4..].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(mixed >> (60 - 4 * at)) as usize & 0xf];
        }
        // Digits are text.
        std::str::from_utf8(&id).unwrap_or_default().into()
    }
}

/// Collects what a [`Gateway`] is to be.
#[must_use = "a builder does nothing until `build`"]
pub struct GatewayBuilder {
    client: Client,
    settings: Settings,
    profiles: Profiles,
    seed: u64,
    listeners: Vec<Arc<dyn Bookkeeper>>,
    tenants: Tenants,
    origins: Origins,
    hosts: Vec<String>,
    spend: Option<Arc<SpendStore>>,
    wall: Arc<dyn WallClock>,
    metrics: MetricsConfig,
    access_log: Option<AccessLog>,
    observers: Vec<Arc<dyn Observer>>,
}

/// Hears how each call ended, and what it used.
pub trait Bookkeeper: fmt::Debug + Send + Sync {
    /// Is called once for each call that reached a key, when everything about it is known: at the
    /// end of the answer, or, where the caller has left, when the rest was read or what was used
    /// could be asked for. Must not block.
    fn ended(&self, call: &Ended);
}

impl Gateway {
    /// Starts to build a gateway in front of `client`.
    ///
    /// Who waits for keys and for how long, attempts, deadlines: all that is the client's.
    pub fn builder(client: Client) -> GatewayBuilder {
        GatewayBuilder {
            client,
            settings: Settings::default(),
            profiles: Profiles::default(),
            seed: 0,
            listeners: Vec::new(),
            tenants: Tenants::anybody(),
            origins: Origins::none(),
            hosts: Vec::new(),
            spend: None,
            wall: Arc::new(SystemWallClock),
            metrics: MetricsConfig::default(),
            access_log: None,
            observers: Vec::new(),
        }
    }

    /// Returns the tenants there are now.
    #[must_use]
    pub fn tenants(&self) -> Arc<Tenants> {
        self.shared.tenants()
    }

    /// Returns what is counted, and what is so at this moment, as the text that Prometheus reads:
    /// what `GET /metrics` answers where [`Settings::metrics`] is set.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        crate::metrics::now(&self.shared)
    }

    /// Takes other tenants for the calls that come from now on: see [`Tenants::reload`].
    ///
    /// # Errors
    ///
    /// Where the gateway asks for tokens and these do not, or the other way round: who may reach it
    /// was decided when it began to listen.
    pub fn set_tenants(&self, tenants: Tenants) -> Result<(), GuardError> {
        let mut all = (self.shared.tenants.write()).unwrap_or_else(PoisonError::into_inner);
        if all.is_open() != tenants.is_open() {
            return Err(GuardError::new(
                "whether client tokens are asked for changes with a restart only".to_owned(),
            ));
        }
        *all = Arc::new(tenants);
        Ok(())
    }

    /// Takes other settings for the calls and connections that come from now on. How much is kept of
    /// the catalogue, and how many things are remembered, stays as it was at the start.
    pub fn set_settings(&self, settings: Settings) {
        let mut current = (self.shared.settings.write()).unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(settings);
    }

    /// Takes other routes for the calls that come from now on.
    pub fn set_profiles(&self, profiles: Profiles) {
        let mut current = (self.shared.profiles.write()).unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(profiles);
    }

    /// Returns how many calls are over of which it is still asked what they have used, since their
    /// callers left: 64 at most. Each is told to bookkeepers when that is known, or not to be known.
    #[must_use]
    pub fn in_question(&self) -> usize {
        self.shared.accounts.in_question()
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.shared.client
    }
}

impl GatewayBuilder {
    /// Sets what can be set. Default: [`Settings::default`].
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the routes: names that callers may give in place of a model. Default: none.
    pub fn profiles(mut self, profiles: Profiles) -> Self {
        self.profiles = profiles;
        self
    }

    /// Seeds the names of requests; only that they differ from those of another process hangs on
    /// it. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds somebody who hears how calls end.
    pub fn bookkeeper(mut self, bookkeeper: Arc<dyn Bookkeeper>) -> Self {
        self.listeners.push(bookkeeper);
        self
    }

    /// Sets who may ask, and for what. Default: [`Tenants::anybody`], which serves on loopback only.
    pub fn tenants(mut self, tenants: Tenants) -> Self {
        self.tenants = tenants;
        self
    }

    /// Sets the web pages that may read answers. Default: none.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Adds a name that stands for this machine, where no token is asked for:
    /// `host.docker.internal`.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Keeps what tenants spend. What they have spent before is [restored](SpendStore::restore) by
    /// whoever opens the store.
    pub fn spend(mut self, store: Arc<SpendStore>) -> Self {
        self.spend = Some(store);
        self
    }

    /// Bounds what is counted. Default: [`MetricsConfig::default`].
    pub fn metrics(mut self, config: MetricsConfig) -> Self {
        self.metrics = config;
        self
    }

    /// Writes a line for each request that is over. Default: nothing does.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.access_log = Some(log);
        self
    }

    /// Adds somebody who hears of each request that is over.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Sets the time of day, by which budgets begin anew. Default: the machine's.
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.wall = Arc::new(clock);
        self
    }

    /// Builds the gateway. It listens nowhere yet.
    #[must_use]
    pub fn build(self) -> Gateway {
        let base_url = self.client.base_url();
        let guard = if self.tenants.is_open() {
            Guard::without_tokens(self.origins, self.hosts.iter().map(String::as_str))
        } else {
            Guard::with_tokens(self.origins)
        };
        let metrics = Metrics::new(self.metrics);
        let reports = Reports::new(
            metrics,
            self.access_log,
            self.observers,
            self.client.clone(),
        );
        let shared = Shared {
            reports: Arc::new(reports),
            homes: Homes::new(self.settings.remembered),
            catalogue: Catalogue::new(&self.settings),
            accounts: Accounts::new(self.client.clone(), self.listeners),
            client: self.client,
            settings: RwLock::new(Arc::new(self.settings)),
            profiles: RwLock::new(Arc::new(self.profiles)),
            lifecycle: Arc::new(Lifecycle::new()),
            admins: Arc::new(Lifecycle::new()),
            base_url,
            guard,
            admin: OnceLock::new(),
            tenants: RwLock::new(Arc::new(self.tenants)),
            spend: self.spend,
            wall: self.wall,
            seed: mix(self.seed),
            requests: AtomicU64::new(0),
        };
        Gateway {
            shared: Arc::new(shared),
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gateway").field(&self.shared).finish()
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("client", &self.client)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
