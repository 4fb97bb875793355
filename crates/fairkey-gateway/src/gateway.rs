//! The gateway itself: [`Gateway`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairkey_client::Client;
use fairkey_core::mix;
use fairkey_openrouter::profile::Profiles;

use crate::Settings;
use crate::catalogue::Catalogue;
use crate::homes::Homes;
use crate::relay::{Accounts, Ended};

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
    pub(crate) settings: Settings,
    pub(crate) profiles: Profiles,
    /// The upstream, as the client has it.
    pub(crate) base_url: String,
    pub(crate) homes: Homes,
    pub(crate) catalogue: Catalogue,
    pub(crate) accounts: Accounts,
    seed: u64,
    requests: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("client", &self.client)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns a name for a request that no other has.
    pub(crate) fn request_id(&self) -> String {
        // Relaxed: only that no number comes twice.
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("req-{:016x}", mix(self.seed.wrapping_add(number)))
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
        }
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

    /// Builds the gateway. It listens nowhere yet.
    #[must_use]
    pub fn build(self) -> Gateway {
        let base_url = self.client.base_url();
        let shared = Shared {
            homes: Homes::new(self.settings.remembered),
            catalogue: Catalogue::new(&self.settings),
            accounts: Accounts::new(self.client.clone(), self.listeners),
            client: self.client,
            settings: self.settings,
            profiles: self.profiles,
            base_url,
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
