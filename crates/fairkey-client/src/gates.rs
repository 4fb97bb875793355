//! The default gates, and what else than calls may close and open them: [`Gates`].

use std::sync::Arc;
use std::time::Duration;

use fairkey_core::{Candidate, FaultKind, Gate, Timestamp};
use fairkey_strategy::{
    BreakerConfig, Cooldown, CooldownConfig, Group, ModelBreaker, ModelBreakerConfig, Pinnable,
    SlidingWindowBreaker, Switch,
};

/// Handles to the default gates. What is learned beside calls, by `GET /key` or from an operator,
/// closes and opens them too.
#[derive(Debug)]
pub(crate) struct Gates {
    /// An operator's word.
    pub(crate) switch: Arc<Switch>,
    breaker: Arc<SlidingWindowBreaker>,
    pub(crate) key: Arc<Cooldown>,
    pub(crate) account: Arc<Cooldown>,
    pub(crate) models: Arc<ModelBreaker>,
    service: Arc<Cooldown>,
    service_breaker: Arc<SlidingWindowBreaker>,
    network: Arc<SlidingWindowBreaker>,
}

impl Gates {
    /// Makes them, with settings of their own for keys and accounts.
    pub(crate) fn new(seed: u64, breaker: BreakerConfig, cooldown: CooldownConfig) -> Self {
        // While the service is out nothing is to be had: it is looked for soon.
        let service = CooldownConfig {
            throttled: Duration::from_secs(2),
            throttled_longest: Duration::from_secs(60),
            ..CooldownConfig::DEFAULT
        };
        let of_key = SlidingWindowBreaker::per(Group::Key, breaker).seed(seed);
        // One probe serves all keys, so that it can be made often; and all calls wait for it.
        let for_all = BreakerConfig {
            open_for: Duration::from_secs(1),
            open_cap: Duration::from_secs(10),
            ..BreakerConfig::default()
        };
        let breaker =
            |group, seed| Arc::new(SlidingWindowBreaker::per(group, for_all.clone()).seed(seed));
        Self {
            switch: Arc::new(Switch::new()),
            breaker: Arc::new(of_key),
            models: Arc::new(ModelBreaker::new(ModelBreakerConfig::default()).seed(seed ^ 7)),
            service_breaker: breaker(Group::Service, seed ^ 4),
            network: breaker(Group::Network, seed ^ 5),
            key: Arc::new(Cooldown::per_key(cooldown.clone()).seed(seed ^ 1)),
            account: Arc::new(Cooldown::per_account(cooldown).seed(seed ^ 2)),
            service: Arc::new(Cooldown::per(Group::Service, service).seed(seed ^ 3)),
        }
    }

    /// Returns the gates, in the order in which they are asked.
    pub(crate) fn all(&self) -> [Arc<dyn Gate>; 8] {
        // A pin overrules what stands before keys and accounts, and nothing else.
        let switch = &self.switch;
        [
            // What closes everything first: it is then what a refusal names.
            Arc::<SlidingWindowBreaker>::clone(&self.network),
            Arc::<Cooldown>::clone(&self.service),
            Arc::<SlidingWindowBreaker>::clone(&self.service_breaker),
            Arc::<ModelBreaker>::clone(&self.models),
            Arc::<Switch>::clone(switch),
            Arc::new(Pinnable::new(Arc::clone(&self.breaker), switch)),
            Arc::new(Pinnable::new(Arc::clone(&self.key), switch)),
            Arc::new(Pinnable::new(Arc::clone(&self.account), switch)),
        ]
    }

    /// Closes a key until a time, or for good; never for less long than before.
    pub(crate) fn close_key(&self, key: Candidate<'_>, now: Timestamp, until: Option<Timestamp>) {
        close(&self.key, key, now, until);
    }

    /// Closes a key until a time on evidence that replaces what was believed before: of a
    /// question that was asked at `asked`. What is newer than that stays.
    pub(crate) fn move_key(
        &self,
        key: Candidate<'_>,
        asked: Timestamp,
        now: Timestamp,
        until: Option<Timestamp>,
    ) {
        // In between one call may slip through: better than to cut a later evidence short.
        self.key.confirm(key, asked);
        self.close_key(key, now, until);
    }

    /// Closes an account until a time.
    pub(crate) fn close_account(
        &self,
        key: Candidate<'_>,
        now: Timestamp,
        until: Option<Timestamp>,
    ) {
        close(&self.account, key, now, until);
    }

    /// Opens a key, its account, the service and the network at once.
    pub(crate) fn clear(&self, key: Candidate<'_>) {
        self.breaker.clear(key);
        self.key.clear(key);
        self.account.clear(key);
        self.service.clear(key);
        self.service_breaker.clear(key);
        self.network.clear(key);
    }

    /// Returns until when the key is closed, if it is; [`Timestamp::MAX`] for good.
    pub(crate) fn key_until(&self, key: Candidate<'_>, now: Timestamp) -> Option<Timestamp> {
        self.key.until(key).filter(|until| *until > now)
    }

    /// The same of its account.
    pub(crate) fn account_until(&self, key: Candidate<'_>, now: Timestamp) -> Option<Timestamp> {
        self.account.until(key).filter(|until| *until > now)
    }
}

/// Closes until a time, or for good, as a refusal of a credential does.
pub(crate) fn close(gate: &Cooldown, key: Candidate<'_>, now: Timestamp, until: Option<Timestamp>) {
    match until {
        Some(until) => gate.close_until(key, until, FaultKind::Exhausted, now),
        None => gate.close_until(key, Timestamp::MAX, FaultKind::Refused, now),
    }
}

/// Returns the time of the pool's clock that a time of day stands for; what has passed is now.
pub(crate) fn on_clock(at: Duration, wall: Duration, now: Timestamp) -> Timestamp {
    now + at.saturating_sub(wall)
}
