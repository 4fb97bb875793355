//! What learned ceilings read of limits, and how they set them: used by
//! [`Ceilings`](crate::Ceilings).

use std::time::Duration;

use fairkey_core::sync::{Ordering, lock};
use fairkey_core::{Candidate, Timestamp};

use super::config::{Dimension, Limit, LimitGroup, LimitsConfig};
use super::state::MOST;
use super::{ACCOUNT, DIMENSIONS, Limits};

/// What a ceiling can be learned of.
pub(crate) const LEARNED: [Dimension; 4] = [
    Dimension::Requests,
    Dimension::Tokens,
    Dimension::InFlight,
    Dimension::InFlightUsd,
];

impl Limits {
    /// Counts what calls of the `accounts` use from now on, limited or not, so that it is known
    /// when somebody refuses. Windows that no limit gives are `window` long.
    pub(crate) fn count<'a>(
        &self,
        accounts: impl IntoIterator<Item = Candidate<'a>>,
        window: Duration,
    ) {
        let config = lock(&self.config);
        for key in accounts {
            let limits = config.of(key.id(), key.account_id(), LimitGroup::Account);
            for dimension in LEARNED {
                if limits.get(dimension).is_none() {
                    self.count_locked(&config, key, LimitGroup::Account, dimension, window);
                }
            }
        }
        self.count_small();
    }

    /// Returns what the account at `index` uses of the first dimensions (requests, tokens, calls at
    /// a time), as of the last call that began or ended there.
    #[inline]
    pub(crate) fn levels<const N: usize>(&self, index: usize) -> [u64; N] {
        let cell = self.planes[ACCOUNT as usize].at(index);
        cell.map_or([0; N], |(cell, _)| cell.levels())
    }

    /// Returns what a group uses at `now`. `None` where nothing is counted of it.
    pub(crate) fn used(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        now: Timestamp,
    ) -> Option<[u64; DIMENSIONS]> {
        let (cell, place) = self.plane(group)?.of(key)?;
        cell.refresh(now.as_nanos(), &place);
        Some(cell.levels())
    }

    /// Limits a group to what is configured or to `ceiling`, whichever is less; without a ceiling
    /// and a configured limit it is counted only.
    pub(crate) fn learn(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        ceiling: Option<u64>,
        window: Duration,
    ) {
        let config = lock(&self.config);
        let configured = config.of(key.id(), key.account_id(), group).get(dimension);
        let limit = match (configured, ceiling) {
            (Some(limit), ceiling) => {
                Limit::per(limit.amount.min(ceiling.unwrap_or(MOST)), limit.per)
            }
            (None, Some(ceiling)) => Limit::per(ceiling, window),
            (None, None) => return self.count_locked(&config, key, group, dimension, window),
        };
        // Where 1,024 models have limits, another one learns none.
        if (self.set_locked(&config, key, group, dimension, Some(limit))).is_ok() {
            self.lower_small(dimension, limit.amount);
        }
    }

    /// Counts without a limit: what is set and lifted stays counted.
    fn count_locked(
        &self,
        config: &LimitsConfig,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        window: Duration,
    ) {
        for limit in [Some(Limit::per(MOST, window)), None] {
            // Of more models than there is place for, what they use is not counted.
            let _ = self.place_locked(config, key, group, dimension, limit);
        }
    }

    /// Notes that a group may have as little room as a limit of `amount` leaves it. What is
    /// raised again is not noted: that costs a closer look now and then, and no call.
    fn lower_small(&self, dimension: Dimension, amount: u64) {
        let at = dimension as usize;
        let room = match dimension {
            Dimension::Requests | Dimension::InFlight => amount.min(1),
            _ => amount / 16,
        };
        self.small[at].fetch_min(room, Ordering::Relaxed);
        self.tiny[at].fetch_min((room / 8).max(room.min(1)), Ordering::Relaxed);
    }

    /// Returns the window of a group's requests or tokens, where it is configured.
    pub(crate) fn configured(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
    ) -> Option<Limit> {
        let config = lock(&self.config);
        config.of(key.id(), key.account_id(), group).get(dimension)
    }
}
