//! Who gets calls answered: fairkey with its limits known or not, and what it is compared with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fairkey_client::{CallOptions, Client, KeyWatch, WatchConfig};
use fairkey_core::Key;
use fairkey_openrouter::ChatRequest;
use fairkey_strategy::{CeilingsConfig, Limit, LimitSet, LimitsConfig, WeightedLeastInFlight};

use super::scene::{ACCOUNTS, Limits, Scene, WINDOW};
use crate::caller::{Caller as _, End, secret};
use crate::network::Network;
use crate::three_strikes::ThreeStrikes;
use crate::world::World;

/// A way to get calls answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// fairkey's client that was told the limits.
    Known,
    /// fairkey's client with its defaults, told nothing.
    Untold,
    /// fairkey's client with keys weighted by their accounts' requests: the key with the fewest
    /// calls in flight for its weight, and gates that hear of refusals; no limits.
    LeastInFlight,
    /// A hand-written key pool: round robin, and three failures in a row put a key out for a
    /// window.
    ThreeStrikes,
}

impl System {
    /// Every system.
    pub const ALL: [Self; 4] = [
        Self::Known,
        Self::Untold,
        Self::LeastInFlight,
        Self::ThreeStrikes,
    ];

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "fairkey, limits known",
            Self::Untold => "fairkey, told nothing",
            Self::LeastInFlight => "weighted least in flight",
            Self::ThreeStrikes => "round robin, three strikes",
        }
    }

    /// Builds it.
    ///
    /// # Panics
    ///
    /// If it cannot be built: a scenario is code of this crate.
    #[must_use]
    pub async fn start(self, scene: &Scene, world: &World) -> Arc<dyn Sends> {
        if self == Self::ThreeStrikes {
            let network = Network::before(world.transport(), scene.traffic.seed ^ 1);
            let keys = Scene::keys();
            let keys: Vec<(&str, &str)> = keys.iter().map(|(key, of)| (&**key, *of)).collect();
            let pool = ThreeStrikes::new(world, &keys)
                .out_for(WINDOW)
                .transport(Arc::new(network));
            return Arc::new(pool);
        }
        let client = self.client(scene, world);
        if matches!((self, scene.limits), (Self::Known, Limits::InFlight(_))) {
            // What a call costs is known once the prices are.
            let models = client.catalog().models().await;
            models.expect("a mock tells its models");
        }
        let _watch = client.watch_keys(WatchConfig::default());
        Arc::new(Fairkey {
            client,
            patience: scene.patience,
            _watch,
        })
    }

    /// Builds fairkey's client.
    pub(super) fn client(self, scene: &Scene, world: &World) -> Client {
        let network = Network::before(world.transport(), scene.traffic.seed ^ 1);
        let weight = |of: &str| {
            let account = ACCOUNTS.iter().find(|(id, ..)| *id == of);
            account.map_or(1, |(_, requests, _)| *requests as u32)
        };
        let keys = Scene::keys().into_iter().map(|(label, account)| {
            let key = Key::new(label.as_str(), secret(&label)).account(account);
            match self {
                Self::LeastInFlight => key.weight(weight(account)),
                _ => key,
            }
        });
        let mut builder = Client::builder()
            .keys(keys)
            .base_url(world.mock().base_url())
            .transport(Arc::new(network))
            .wall_clock(world.wall_clock())
            .max_wait(scene.max_wait)
            // What is taken for a minute is scaled like everything else.
            .learn_limits(Some(CeilingsConfig {
                window: WINDOW,
                ..CeilingsConfig::default()
            }))
            .seed(scene.traffic.seed);
        builder = match self {
            Self::Known => builder.limits(known(scene)),
            Self::LeastInFlight => builder
                .strategy(WeightedLeastInFlight::new())
                .learn_limits(None)
                .default_gates(true),
            Self::Untold | Self::ThreeStrikes => builder,
        };
        builder.build().expect("a client for a scenario")
    }
}

/// The limits of a scene as a user writes them down.
fn known(scene: &Scene) -> LimitsConfig {
    let mut config = LimitsConfig::default();
    for (id, requests, tokens) in ACCOUNTS {
        let limits = match scene.limits {
            Limits::InFlight(usd) => LimitSet {
                in_flight_micro_usd: Some((usd * requests as f64 * 1e6) as u64),
                ..LimitSet::NONE
            },
            _ => LimitSet {
                requests: Some(Limit::per(requests, WINDOW)),
                tokens: Some(Limit::per(tokens, WINDOW)),
                ..LimitSet::NONE
            },
        };
        config = config.account(id, limits);
    }
    config
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A whole answer.
    Answered,
    /// An error, and after how long the caller was told to come again.
    Failed {
        /// Counted from the failure.
        retry_after: Option<Duration>,
        /// What it says.
        says: String,
    },
}

/// Something that gets chat requests answered, and says when to come again where it does not.
#[async_trait]
pub trait Sends: Send + Sync {
    /// Makes one call.
    async fn send(&self, request: &ChatRequest) -> Came;
}

struct Fairkey {
    client: Client,
    patience: Option<Duration>,
    /// Asks about the keys beside the calls, as long as it is held.
    _watch: KeyWatch,
}

#[async_trait]
impl Sends for Fairkey {
    async fn send(&self, request: &ChatRequest) -> Came {
        let options = CallOptions {
            deadline: self.patience,
            ..CallOptions::of_chat(request)
        };
        match self.client.chat_with(request, options).await {
            Ok(answer) if !answer.value.text().is_empty() => Came::Answered,
            Ok(_) => Came::Failed {
                retry_after: None,
                says: "an empty answer".to_owned(),
            },
            Err(error) => Came::Failed {
                retry_after: error.retry_after(),
                says: error.to_string(),
            },
        }
    }
}

#[async_trait]
impl Sends for ThreeStrikes {
    async fn send(&self, request: &ChatRequest) -> Came {
        match self.call(request).await {
            End::Answered => Came::Answered,
            End::Failed | End::Deceived => Came::Failed {
                retry_after: None,
                says: "every key has failed".to_owned(),
            },
        }
    }
}
