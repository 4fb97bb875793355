//! Client tokens, and what each may do: [`Tenants`].
//!
//! | module | has |
//! | --- | --- |
//! | `token` | tokens: how they are sent, kept as hashes, compared |
//! | `glob` | names with `*` in them: models and routes |
//! | `config` | what a tenant may do: [`TenantConfig`] |
//! | `rolling` | counts that no window of a length exceeds: requests and tokens |
//! | `money` | money by hour, day, week, month and in all, reserved and spent |
//! | `permit` | one call's hold on its tenant's limits: [`Permit`] |

mod config;
mod glob;
mod money;
mod permit;
mod rolling;
mod token;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Class, Cost, Only, Timestamp};
use http::HeaderMap;

pub use self::config::{TenantConfig, TenantError, TenantLimits};
pub use self::glob::Globs;
pub(crate) use self::money::date;
pub use self::money::{Budget, Per};
use self::permit::State;
pub use self::permit::{Permit, Used};
pub(crate) use self::permit::{Record, Spent};
pub use self::rolling::Rate;
pub use self::token::{ParseTokenHashError, TOKEN_HEADERS, TokenHash};
use crate::reply::{Failure, Reason};

/// The name of the tenant that all calls are, where no token is configured.
pub const ANYBODY: &str = "anybody";

/// The tenants of a gateway. To reload, build another set from this one: what is counted stays
/// with the tenant of the same name.
#[derive(Debug)]
pub struct Tenants {
    all: Vec<Arc<Tenant>>,
    /// By the first bytes of the hash; the place in `all`. Empty where no token is configured.
    by_hash: Vec<(u64, TokenHash, usize)>,
}

/// One tenant: who may ask for what, and how much of it.
pub struct Tenant {
    config: TenantConfig,
    /// Its place among the tenants: a small number for tables by tenant.
    index: usize,
    queue: fairkey_client::Tenant,
    only: Option<Arc<Only>>,
    state: Arc<State>,
}

impl Tenants {
    /// Serves everybody, as one tenant without limits. For listeners on loopback only: see
    /// [`Guard`](crate::Guard).
    #[must_use]
    pub fn anybody() -> Self {
        let tenant = Tenant::new(TenantConfig::new(ANYBODY), 0, None);
        Self {
            all: vec![Arc::new(tenant)],
            by_hash: Vec::new(),
        }
    }

    /// Serves everybody as this one tenant: its class, its limits. It needs no token, and one that
    /// it has is not asked for. For listeners on loopback only, as [`anybody`](Self::anybody).
    ///
    /// # Errors
    ///
    /// Where its name or its limits make no sense.
    pub fn open(mut config: TenantConfig) -> Result<Self, TenantError> {
        // Any token is fine to the check; none is asked for.
        config.tokens = vec![TokenHash::of("open")];
        config.check()?;
        config.tokens.clear();
        Ok(Self {
            all: vec![Arc::new(Tenant::new(config, 0, None))],
            by_hash: Vec::new(),
        })
    }

    /// Takes these tenants.
    ///
    /// # Errors
    ///
    /// Where two have the same name or a token in common, one has no token or limits that make no
    /// sense, or there is none.
    pub fn new(configs: impl IntoIterator<Item = TenantConfig>) -> Result<Self, TenantError> {
        Self::build(configs, None)
    }

    /// Takes these tenants instead: what those of the same name have counted stays theirs, calls
    /// under way included.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn reload(
        &self,
        configs: impl IntoIterator<Item = TenantConfig>,
    ) -> Result<Self, TenantError> {
        Self::build(configs, Some(self))
    }

    fn build(
        configs: impl IntoIterator<Item = TenantConfig>,
        before: Option<&Self>,
    ) -> Result<Self, TenantError> {
        let kept: HashMap<&str, &Arc<State>> = (before.iter().flat_map(|before| &before.all))
            .map(|tenant| (tenant.id(), &tenant.state))
            .collect();
        let (mut all, mut by_hash) = (Vec::new(), Vec::new());
        let (mut names, mut tokens) = (HashSet::new(), HashMap::new());
        for config in configs {
            config.check()?;
            if !names.insert(config.id.clone()) {
                return Err(TenantError::new(format!(
                    "two clients have the id \"{}\": give each one of its own",
                    config.id
                )));
            }
            for hash in &config.tokens {
                if let Some(other) = tokens.insert(*hash, config.id.clone()) {
                    return Err(TenantError::new(format!(
                        "clients \"{other}\" and \"{}\" have the same token: give each one of its \
                         own",
                        config.id
                    )));
                }
                by_hash.push((hash.prefix(), *hash, all.len()));
            }
            let state = kept.get(&*config.id).map(|state| Arc::clone(state));
            all.push(Arc::new(Tenant::new(config, all.len(), state)));
        }
        if all.is_empty() {
            return Err(TenantError::new(
                "there is no client: for a gateway that asks for no token, configure none".into(),
            ));
        }
        by_hash.sort_unstable_by_key(|(prefix, _, _)| *prefix);
        Ok(Self { all, by_hash })
    }

    /// Returns whether everybody is served, without a token.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Returns all, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> &[Arc<Tenant>] {
        &self.all
    }

    /// Finds out who asks: by `Authorization: Bearer`, or by `x-api-key`. Where both are there, the
    /// first that is known counts.
    ///
    /// # Errors
    ///
    /// 401 where no token was sent, or an unknown one; which of the two is said, and nothing of
    /// the token.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<&Arc<Tenant>, Failure> {
        if self.is_open() {
            return Ok(&self.all[0]);
        }
        let mut sent = false;
        for token in token::sent(headers) {
            sent = true;
            if let Some(tenant) = self.of_token(token) {
                return Ok(tenant);
            }
        }
        Err(Failure::new(
            Reason::Unauthorized,
            if sent {
                "the client token is unknown to this gateway: it is not an OpenRouter key, but the \
                 token of a [[clients]] table of the gateway's configuration"
            } else {
                "no client token was sent: send it as \"Authorization: Bearer TOKEN\" or as \
                 \"x-api-key: TOKEN\""
            },
        ))
    }

    /// Where to look is found by the hash of what was sent: how long that takes tells of the hash
    /// of a guess, and nothing of any token. The hashes themselves are compared in constant time.
    fn of_token(&self, token: &[u8]) -> Option<&Arc<Tenant>> {
        let hash = TokenHash::of(token);
        let first = (self.by_hash).partition_point(|(prefix, _, _)| *prefix < hash.prefix());
        let alike = self.by_hash[first..].iter();
        alike
            .take_while(|(prefix, _, _)| *prefix == hash.prefix())
            .find(|(_, known, _)| known.is(&hash))
            .map(|(_, _, at)| &self.all[*at])
    }
}

impl Tenant {
    fn new(config: TenantConfig, index: usize, state: Option<Arc<State>>) -> Self {
        let only = (!config.keys.is_empty() || !config.accounts.is_empty()).then(|| {
            let only = Only::keys(config.keys.iter().cloned());
            Arc::new(only.and_accounts(config.accounts.iter().cloned()))
        });
        Self {
            queue: fairkey_client::Tenant::new(Arc::clone(&config.id)).weight(config.weight),
            only,
            state: state.unwrap_or_default(),
            config,
            index,
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Returns the name, shared.
    #[must_use]
    pub fn shared_id(&self) -> &Arc<str> {
        &self.config.id
    }

    /// Returns its place in [`Tenants::all`].
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns what it may do.
    #[must_use]
    pub fn config(&self) -> &TenantConfig {
        &self.config
    }

    /// Returns the class of its calls.
    #[must_use]
    pub fn class(&self) -> Class {
        self.config.class
    }

    /// Returns its name and weight, as the queue takes them.
    #[must_use]
    pub fn queue(&self) -> &fairkey_client::Tenant {
        &self.queue
    }

    /// Returns the only keys that may serve it, as a call's options take them; `None`: any.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<Only>> {
        self.only.as_ref()
    }

    /// Checks a route, named as operations are: `chat`, `embeddings`.
    ///
    /// # Errors
    ///
    /// 403 where it may not use it.
    pub fn check_route(&self, route: &str) -> Result<(), Failure> {
        if self.config.routes.allow(route) {
            return Ok(());
        }
        Err(Failure::new(
            Reason::RouteNotAllowed,
            format!(
                "client \"{}\" may not use the route \"{route}\"; it may use {}",
                self.id(),
                self.config.routes
            ),
        ))
    }

    /// Checks a model, as the request names it; `None` for one that names none, which leaves the
    /// choice to the account.
    ///
    /// # Errors
    ///
    /// 403 where it may not use it.
    pub fn check_model(&self, model: Option<&str>) -> Result<(), Failure> {
        let models = &self.config.models;
        let message = match model {
            _ if models.is_any() => return Ok(()),
            Some(model) if models.allow(model) => return Ok(()),
            Some(model) => {
                let shown: String = model
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(100)
                    .collect();
                format!(
                    "client \"{}\" may not use the model \"{shown}\"; it may use {models}",
                    self.id()
                )
            }
            None => format!(
                "client \"{}\" has to name a model; it may use {models}",
                self.id()
            ),
        };
        Err(Failure::new(Reason::ModelNotAllowed, message))
    }

    /// Takes what a call is expected to cost out of the tenant's limits: all of it or nothing.
    ///
    /// `now` is a time of the clock that all calls take it from, `wall` the time since 1970: hours,
    /// days, weeks and months are those of UTC, as OpenRouter's are.
    ///
    /// # Errors
    ///
    /// 429, with the time at which it fits where there is one.
    pub fn admit(
        self: &Arc<Self>,
        estimate: Cost,
        now: Timestamp,
        wall: Duration,
    ) -> Result<Permit, Failure> {
        let reserved_usd = match estimate.micro_usd {
            0 => self.config.limits.unpriced_micro_usd,
            known => known,
        };
        Permit::take(self, estimate, reserved_usd, now, wall)
    }

    /// Takes a request and a place out of the tenant's limits, for a call that uses no tokens and
    /// no money: the look at a job, a file that is fetched.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    pub fn admit_free(self: &Arc<Self>, now: Timestamp, wall: Duration) -> Result<Permit, Failure> {
        let mut permit = Permit::take(self, Cost::ONE, 0, now, wall)?;
        permit.refused();
        Ok(permit)
    }

    /// Returns how many calls it has under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state.in_flight()
    }

    /// Returns what it has spent in the present window of each length, in millionths of a US
    /// dollar, and what is reserved for calls under way.
    #[must_use]
    pub fn money(&self, per: Per, wall: Duration) -> (u64, u64) {
        self.state.money(per, wall)
    }

    /// Takes note of what was spent before this process began.
    pub(crate) fn restore(&self, per: Per, at: Duration, micro_usd: u64) {
        self.state.restore(per, at, micro_usd);
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("config", &self.config)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
