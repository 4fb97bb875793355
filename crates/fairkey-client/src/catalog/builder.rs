//! Settings of a catalogue: [`CatalogBuilder`].

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairkey_core::{ApiKey, Random, SystemWallClock, WallClock};
use fairkey_openrouter::endpoint;
use fairkey_transport::{Deadlines, Transport};
use http::HeaderMap;

use super::Catalog;
use super::file::Files;
use super::source::{Keys, Source};
use crate::admission::Admission;
use crate::error::ClientBuildError;
use crate::origin::BaseUrl;
use crate::{RetryConfig, authorization, builder, request};

/// How long lists are good, and how many are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogConfig {
    /// How old models, providers and the endpoints with zero data retention may be. Default 10 min.
    pub models_max_age: Duration,
    /// How old the endpoints of a model may be: their prices and states change sooner. Default
    /// 1 min.
    pub endpoints_max_age: Duration,
    /// After a failure, how long an old list is served without another try. Default 10 s.
    pub hold_off: Duration,
    /// The most lists that are kept in memory, and as files: the endpoints of each model are one.
    /// At least 1. Default 256.
    pub max_lists: usize,
    /// The most bytes of all answers that are kept in memory, and of each of them. What is made of
    /// an answer takes a few times as much. One that is larger alone is an error. Default 32 MiB.
    pub max_bytes: usize,
    /// Which age is good enough. Default: [`Freshness::ByAge`].
    pub freshness: Freshness,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self {
            models_max_age: Duration::from_secs(600),
            endpoints_max_age: Duration::from_secs(60),
            hold_off: Duration::from_secs(10),
            max_lists: 256,
            max_bytes: 32 << 20,
            freshness: Freshness::ByAge,
        }
    }
}

/// Which age of a list is good enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// What is within its maximal age.
    #[default]
    ByAge,
    /// The first time, only what the upstream says now; then as [`ByAge`](Self::ByAge).
    Refresh,
    /// Any: nothing is ever fetched.
    Offline,
}

/// Builds a [`Catalog`].
#[must_use = "a builder does nothing until `build`"]
pub struct CatalogBuilder {
    keys: Vec<ApiKey>,
    base_url: String,
    transport: Option<Arc<dyn Transport>>,
    deadlines: Deadlines,
    retry: RetryConfig,
    config: CatalogConfig,
    folder: Option<PathBuf>,
    wall_clock: Option<Arc<dyn WallClock>>,
    seed: u64,
}

impl CatalogBuilder {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            base_url: endpoint::BASE_URL.to_owned(),
            transport: None,
            deadlines: Deadlines::default(),
            retry: RetryConfig::default(),
            config: CatalogConfig::default(),
            folder: None,
            wall_clock: None,
            seed: 0,
        }
    }

    /// Adds keys, which take turns. None is needed; with one, endpoints tell how fast they are.
    pub fn keys(mut self, keys: impl IntoIterator<Item = ApiKey>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Sets the upstream: `https`, or `http` to this machine. Default: OpenRouter.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets what sends. Default: the HTTP client of `fairkey-transport`, with the feature
    /// `transport`.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets how long the parts of a fetch may take.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets how often, and when, a fetch is tried again where no old list is at hand; `failovers`,
    /// `fallbacks` and `budget` mean nothing here.
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long lists are good, and how many are kept.
    pub fn config(mut self, config: CatalogConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets a folder in which lists are kept for the next process, made where it is not there. One
    /// folder will do for all upstreams, and for several processes. It holds no secret.
    ///
    /// What is corrupt is left out, with a word in [`Catalog::take_warnings`]. Default: none.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets the time of day, by which files have an age. Default: the machine's.
    pub fn wall_clock(mut self, clock: impl WallClock + 'static) -> Self {
        self.wall_clock = Some(Arc::new(clock));
        self
    }

    /// Sets the seed of the jitter. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds it. Fetches nothing.
    ///
    /// # Errors
    ///
    /// Where the base URL or a key cannot be one, or there is no transport.
    pub fn build(self) -> Result<Catalog, ClientBuildError> {
        let base = BaseUrl::parse(&self.base_url).map_err(ClientBuildError::new)?;
        for key in &self.keys {
            authorization::bearer(key).map_err(|_| {
                ClientBuildError::new("a key holds characters that no header may have")
            })?;
        }
        let transport = match self.transport {
            Some(transport) => transport,
            None => builder::default_transport(self.deadlines)?,
        };
        let wall = self.wall_clock.unwrap_or_else(|| Arc::new(SystemWallClock));
        let files = self.folder.map(|folder| {
            let (files, bytes) = (self.config.max_lists, self.config.max_bytes);
            Files::new(&folder, &base.text(), wall, files, bytes)
        });
        let source = Source {
            transport,
            base,
            headers: request::defaults(HeaderMap::new()),
            keys: Keys::Own(self.keys, AtomicUsize::new(0)),
            deadlines: self.deadlines,
            retry: self.retry,
            max_bytes: self.config.max_bytes,
            chance: Mutex::new(Random::new(self.seed)),
        };
        Ok(Catalog::new(source, self.config, files))
    }
}

impl Catalog {
    /// The catalogue of a client, with its keys, and the folder of its files where it has one.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the client")]
    pub(crate) fn of_client(
        admission: Arc<Admission>,
        transport: Arc<dyn Transport>,
        base: BaseUrl,
        headers: HeaderMap,
        deadlines: Deadlines,
        retry: RetryConfig,
        chance: Random,
        folder: Option<(PathBuf, Arc<dyn WallClock>)>,
    ) -> Self {
        let config = CatalogConfig::default();
        let files = folder.map(|(folder, wall)| {
            let (files, bytes) = (config.max_lists, config.max_bytes);
            Files::new(&folder, &base.text(), wall, files, bytes)
        });
        let source = Source {
            transport,
            base,
            headers,
            keys: Keys::Pool(admission, AtomicUsize::new(0)),
            deadlines,
            retry,
            max_bytes: config.max_bytes,
            chance: Mutex::new(chance),
        };
        Self::new(source, config, files)
    }
}

impl fmt::Debug for CatalogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the base URL: until it is checked, it may have a password in it.
        f.debug_struct("CatalogBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
