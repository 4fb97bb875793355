//! Limits while calls are made: what is used, and what an operator or the upstream says of them.

use std::sync::Arc;

use fairkey_core::{Ask, At, Denied, KeyId, Timestamp};
use fairkey_strategy::{Dimension, Limit, LimitError, LimitGroup, LimitUse, Limits, LimitsConfig};

use crate::Client;
use crate::core::Core;
use crate::utc::Utc;

impl Client {
    /// Returns the limits that stand before every selection, to ask them for more than is here:
    /// see [`Limits`]. After a change by hand, [`wake`](Self::wake) whoever waits.
    #[must_use]
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.core().limits)
    }

    /// Sets, changes or lifts (`None`) one limit of a group that the key with this label belongs
    /// to: the key itself, its account, that account's free models, or the account's calls for one
    /// model. What is counted stays counted, and whoever waits is looked at again.
    ///
    /// It holds until the key or account leaves the pool, or
    /// [`configure_limits`](Self::configure_limits) changes this very limit.
    ///
    /// # Errors
    ///
    /// [`LimitError`] where there is no such key, or no place for a limit of another model.
    pub fn set_limit(
        &self,
        key: &str,
        group: LimitGroup<'_>,
        dimension: Dimension,
        limit: Option<Limit>,
    ) -> Result<(), LimitError> {
        let core = self.core();
        core.admission.pool.with_keys(|keys| {
            let key = keys.find(key).ok_or(LimitError::UnknownKey)?;
            core.limits.set(key, group, dimension, limit)
        })?;
        core.admission.pump();
        Ok(())
    }

    /// Replaces the configuration of the limits, as [`ClientBuilder::limits`] set it. What it does
    /// not change stays as it is, counts included.
    ///
    /// Keys that are reloaded as well get the limits that hold by then: call this before
    /// [`Pool::reload`](fairkey_core::Pool::reload).
    ///
    /// # Errors
    ///
    /// [`LimitError::TooManyModels`]: nothing is changed where the configuration itself names too
    /// many; where it does so only together with earlier ones, all other limits are set.
    ///
    /// [`ClientBuilder::limits`]: crate::ClientBuilder::limits
    pub fn configure_limits(&self, limits: LimitsConfig) -> Result<(), LimitError> {
        limits.check()?;
        let core = self.core();
        let result = (core.admission.pool).with_keys(|keys| core.limits.configure(limits, keys));
        core.admission.pump();
        result
    }

    /// Returns every limit there is, whose it is, and what is used of it now.
    #[must_use]
    pub fn limit_uses(&self) -> Vec<LimitUse> {
        let core = self.core();
        let pool = &core.admission.pool;
        pool.with_keys(|keys| core.limits.uses(keys, pool.now()))
    }

    /// Returns how much room the key with this label would have left after `ask`: of the limit of
    /// which least would be left, as a part of it. 1 where nothing is limited, 0 where the ask does
    /// not fit; `None` where there is no such key.
    #[must_use]
    pub fn headroom(&self, key: &str, ask: &Ask<'_>) -> Option<f64> {
        let core = self.core();
        let pool = &core.admission.pool;
        pool.with_keys(|keys| Some(core.limits.headroom(keys.find(key)?, ask, pool.now())))
    }
}

impl Core {
    /// Says which limit bars a key, where `denied` is the word of one: `account "acme": 600
    /// requests a minute used up until 12:04:31 UTC`.
    pub(crate) fn limit_in_words(
        &self,
        key: &KeyId,
        ask: &Ask<'_>,
        denied: Denied,
        now: Timestamp,
    ) -> Option<String> {
        let bar = self.admission.pool.with_keys(|keys| {
            let key = keys.find(key.as_str())?;
            self.limits.bar_of(&At { key, ask, now })
        });
        // Another gate may bar it for longer: then that one is to be told of.
        let bar =
            bar.filter(|bar| bar.denied.by == denied.by && bar.denied.until == denied.until)?;
        let wall = self.wall.since_epoch();
        Some(match denied.until {
            Some(until) => {
                let at = wall + until.since(now);
                format!("{bar} until {}", Utc { at, now: wall })
            }
            None => bar.to_string(),
        })
    }
}
