//! Limits of keys, accounts, free models, and accounts' models: [`Limits`].

mod cell;
mod config;
mod gate;
pub(crate) mod learned;
mod log;
mod need;
mod plane;
mod state;
mod usage;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use fairkey_core::sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock};
use fairkey_core::{Ask, At, Candidate, KeySet, SlotBits, Timestamp};

use crate::Group;
pub(crate) use cell::STEPS;
use cell::WHOLE;
use config::DIMENSIONS;
pub(crate) use need::Need;
use need::kinds;
pub(crate) use plane::Plane;
use plane::{MODELS, Models};
use state::Bar;

pub use config::{Dimension, Limit, LimitGroup, LimitSet, LimitsConfig};
pub use usage::{LimitAccount, LimitBar, LimitOwner, LimitUse, LimitWords};

/// The kinds of groups, as bits of [`Limits::in_use`] and places in a ticket.
const KEY: u32 = 0;
const ACCOUNT: u32 = 1;
const FREE: u32 = 2;
const MODEL: u32 = 3;

/// Bits of a ticket for each kind, and where the number of the model begins.
const BITS: u32 = DIMENSIONS as u32 + 1;
const MODEL_AT: u32 = 4 * BITS;

/// Keeps every group under its limits: requests and tokens in a window, calls and money at a
/// time, credit and quotas until a reset.
///
/// A limit belongs to a key, an account, an account's free models, or an account and model
/// ([`LimitGroup`]). A call is counted in every group it belongs to, before it is sent, with what
/// [`Ask::cost`] says it will need, in all dimensions or in none.
///
/// # What holds
///
/// - In no window of the limit's length, wherever it begins, are there more requests than the
///   limit, and never are there more calls at a time.
/// - Tokens and money that were admitted in a window, or are under way, are at most the limit and
///   what the estimates of those calls fell short of.
/// - A call that needs more than a whole limit goes alone: only where nothing is used.
///
/// It is so whatever the other side counts by (a fixed window, a rolling one, a bucket of the same
/// size and rate), as long as calls arrive in the time that [`LimitsConfig::margin`] allows.
///
/// # What a call costs
///
/// - Calls and money at a time are free again when it ends, however it ends.
/// - A request that was sent counts, whatever came of it.
/// - Tokens and credit are corrected by what was used, where that is known
///   ([`Report::actual`](fairkey_core::Report::actual)): what was too much goes back to the time
///   it was taken at, what was too little counts from the end of the call. A refusal ("slow
///   down", "used up", "not allowed") before the first content used none. All other calls cost
///   their estimate: a call that was given up may still be worked on, and billed.
/// - A call that ends without a word in the very moment it began was never sent, since another
///   gate refused it: all of it goes back. Under a clock that stands still, a call that is sent
///   and dropped at once looks the same.
///
/// # Denials
///
/// A denial for requests, tokens or credit names the time at which this very call fits if nothing
/// else happens, and the scope of the group: an account's models count as the account. What only
/// the end of a call can open names no time, and [`Local`](fairkey_core::Scope::Local). Where the
/// end of a call may open it sooner, since it may have needed less than was reserved, the denial
/// says so.
///
/// # Cost
///
/// A group remembers up to 126 calls one by one; more, and tokens, in 126 steps of the window,
/// rounded so that less is admitted and not more. It takes 3 kB at the most, a lock
/// of its own for some tens of nanoseconds at the begin and at the end of a call, and
/// nothing where a key has no limits.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use fairkey_core::{Ask, Key, Pool};
/// use fairkey_strategy::{Headroom, Limit, LimitSet, Limits, LimitsConfig};
///
/// let acme = LimitSet { requests: Some(Limit::per_minute(2)), ..LimitSet::NONE };
/// let limits = Arc::new(Limits::new(LimitsConfig::default().account("acme", acme)));
/// let pool = Pool::builder()
///     .strategy(Headroom::guarded(limits))
///     .key(Key::new("a", "sk-or-v1-a").account("acme"))
///     .key(Key::new("b", "sk-or-v1-b").account("acme"))
///     .build()?;
/// let calls = [pool.select(&Ask::new())?, pool.select(&Ask::new())?];
/// assert!(pool.select(&Ask::new()).unwrap_err().retry_at.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Limits {
    config: Mutex<LimitsConfig>,
    /// A bit for each kind of which any group has limits.
    in_use: AtomicU32,
    /// 1 where any group has a limit: what is only counted ranks and bars nobody.
    limiting: AtomicU32,
    planes: Box<[Plane; 3]>,
    models: Models,
    /// Room for a call of this size is in every group that is not tight.
    small: [AtomicU64; DIMENSIONS],
    /// A call of this size is hardly more than the least, for every group.
    tiny: [AtomicU64; DIMENSIONS],
    shown: Arc<SlotBits>,
    /// The time of the last look, for explanations: a strategy's score is not told the time.
    looked_at: AtomicU64,
    /// A time at which a fixed period begins; `u64::MAX` where none is known.
    anchor: AtomicU64,
}

/// What is used of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is used: in the window that ends now, at a time, or since the last reset. More than
    /// the limit where estimates fell short.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

/// A limit that cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// 1,024 models have limits of their own, and this is another one.
    TooManyModels,
    /// The key is not one of the pool that the limits stand before.
    UnknownKey,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyModels => write!(
                f,
                "{MODELS} models have limits of their own: leave out those that are not used"
            ),
            Self::UnknownKey => {
                f.write_str("the pool with these limits has no such key: name one that it has")
            }
        }
    }
}

impl Error for LimitError {}

impl Limits {
    /// Makes a gate with the limits of `config`. They apply to the keys of the pool that it is
    /// put into.
    ///
    /// Of a configuration with limits for more than 1,024 models, those in excess have none.
    #[must_use]
    pub fn new(config: LimitsConfig) -> Self {
        let shown = Arc::new(SlotBits::new());
        let plane = |group, bit| Plane::new(group, &shown, bit);
        Self {
            config: Mutex::new(config),
            in_use: AtomicU32::new(0),
            limiting: AtomicU32::new(0),
            planes: Box::new([
                plane(Group::Key, KEY as usize),
                plane(Group::Account, ACCOUNT as usize),
                plane(Group::Account, FREE as usize),
            ]),
            models: Models::new(),
            small: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            tiny: std::array::from_fn(|_| AtomicU64::new(u64::MAX)),
            shown,
            looked_at: AtomicU64::new(0),
            anchor: AtomicU64::new(u64::MAX),
        }
    }

    /// Lets fixed periods of credit and quotas begin at `at`, and whole periods before and after
    /// it: at the midnight that days begin at. Without, the first begins with the first call, and
    /// may let two allowances into one day of the other side.
    ///
    /// To be called before the limits are put into a pool; limits that are set already keep theirs.
    #[must_use]
    pub fn periods_from(self, at: Timestamp) -> Self {
        self.anchor.store(at.as_nanos(), Ordering::Relaxed);
        self
    }

    /// Returns whether no group has a limit, and none ever had.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        // Relaxed: a limit that is set while calls begin counts those after it.
        self.in_use.load(Ordering::Relaxed) == 0
    }

    /// Returns whether any group has a limit, or had one. Where accounts are only counted, as
    /// [`Ceilings`](crate::Ceilings) do from the start, none has.
    #[must_use]
    #[inline]
    pub fn is_limiting(&self) -> bool {
        // Relaxed: as above.
        self.limiting.load(Ordering::Relaxed) != 0
    }

    /// Sets, changes or lifts one limit of a group that `key` belongs to: one that the other side
    /// told, or that was learned. What is counted already stays counted. The change lasts until
    /// the key or account leaves the pool, or the configuration of this limit changes.
    ///
    /// A limit that a group did not have counts what begins after it. A longer window counts what
    /// the shorter one had not forgotten.
    ///
    /// # Errors
    ///
    /// [`LimitError`] where there is no place for it; nothing changes.
    pub fn set(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        limit: Option<Limit>,
    ) -> Result<(), LimitError> {
        let config = lock(&self.config);
        self.set_locked(&config, key, group, dimension, limit)?;
        self.count_small();
        drop(config);
        Ok(())
    }

    /// Takes a limit that the other side has told. It is set where the group has none, or a higher
    /// one; what was told before is replaced, and with `None` taken back: then the configuration's
    /// limit holds, if there is one.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn take(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        told: Option<Limit>,
    ) -> Result<(), LimitError> {
        let config = lock(&self.config);
        let cell = self.plane(group).and_then(|plane| plane.of(key));
        let current = cell.map(|(cell, _)| cell.limit(dimension));
        let (current, was_told) = current.unwrap_or((None, false));
        let own = if was_told {
            config.of(key.id(), key.account_id(), group).get(dimension)
        } else {
            current
        };
        let told = told.filter(|told| own.is_none_or(|own| told.is_lower(own)));
        let new = told.or(own);
        if new != current {
            self.set_locked(&config, key, group, dimension, new)?;
            self.count_small();
        }
        if told.is_some()
            && let Some((cell, _)) = self.plane(group).and_then(|plane| plane.of(key))
        {
            cell.note_told(dimension);
        }
        Ok(())
    }

    /// Takes note of what the other side says is left of a limit, at `now`: of requests or tokens
    /// in its window, of credit and quotas until `resets_at`. More may be used than we know of, since others
    /// may use the account too: then that counts from now on. What it says of requests and tokens
    /// never makes us think that less is used, since calls under way may not have arrived.
    ///
    /// Does nothing where there is no such limit; set it first.
    pub fn told(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        left: u64,
        now: Timestamp,
        resets_at: Option<Timestamp>,
    ) {
        if let Some(plane) = self.plane(group)
            && let Some((cell, place)) = plane.of(key)
        {
            let resets = resets_at.map(Timestamp::as_nanos);
            cell.told(dimension, left, now.as_nanos(), resets, &place);
        }
    }

    /// Returns what is used of a limit at `now`, where there is one.
    #[must_use]
    pub fn usage(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        now: Timestamp,
    ) -> Option<Usage> {
        let (cell, _) = self.plane(group)?.of(key)?;
        let (limit, used) = cell.usage(dimension, now.as_nanos())?;
        Some(Usage {
            used,
            limit: limit.amount,
        })
    }

    /// Returns what would be left after `ask`, at `now`, of the limit of which least would be
    /// left: 1 where nothing is limited, 0 where the ask does not fit. Of credit and quotas only the
    /// last fifth counts.
    #[must_use]
    pub fn headroom(&self, key: Candidate<'_>, ask: &Ask<'_>, now: Timestamp) -> f64 {
        let used = self.part_used(key, &self.need(ask), now.as_nanos());
        WHOLE.saturating_sub(used) as f64 / WHOLE as f64
    }

    /// Replaces the configuration. A limit that it changes is set for all of `keys`; what it does
    /// not change stays as it is, set by [`Limits::set`] or not, and what is counted stays.
    ///
    /// `keys` are those of the pool that it stands before: call it inside
    /// [`Pool::with_keys`](fairkey_core::Pool::with_keys).
    ///
    /// # Errors
    ///
    /// [`LimitError::TooManyModels`]; all other limits are set.
    pub fn configure(&self, config: LimitsConfig, keys: &KeySet) -> Result<(), LimitError> {
        let mut current = lock(&self.config);
        let before = std::mem::replace(&mut *current, config);
        let mut result = Ok(());
        let mut models = before.models();
        models.extend(current.models());
        models.sort_unstable();
        models.dedup();
        let all = before.margin != current.margin;
        for key in keys.iter() {
            let groups = [LimitGroup::Key, LimitGroup::Account, LimitGroup::FreeModels];
            let models = models.iter().map(|model| LimitGroup::Model(model));
            for group in groups.into_iter().chain(models) {
                let was = before.of(key.id(), key.account_id(), group);
                let is = current.of(key.id(), key.account_id(), group);
                for dimension in Dimension::ALL {
                    let (was, is) = (was.get(dimension), is.get(dimension));
                    if was != is || (all && is.is_some()) {
                        let set = self.set_locked(&current, key, group, dimension, is);
                        result = result.and(set);
                    }
                }
            }
        }
        self.count_small();
        result
    }

    fn set_locked(
        &self,
        config: &LimitsConfig,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        limit: Option<Limit>,
    ) -> Result<(), LimitError> {
        if limit.is_some() {
            self.limiting.store(1, Ordering::Relaxed);
        }
        self.place_locked(config, key, group, dimension, limit)
    }

    /// Sets or lifts a limit, and says to nobody that there is one.
    fn place_locked(
        &self,
        config: &LimitsConfig,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        limit: Option<Limit>,
    ) -> Result<(), LimitError> {
        let plane = match (group, self.plane(group)) {
            (_, Some(plane)) => plane,
            (LimitGroup::Model(name), None) if limit.is_some() => {
                let make = |at| {
                    let plane = Plane::new(Group::Account, &self.shown, MODEL as usize + at);
                    plane.grow(self.planes[ACCOUNT as usize].len());
                    plane
                };
                self.models
                    .intern(name, make)
                    .ok_or(LimitError::TooManyModels)?
            }
            (_, None) => return Ok(()),
        };
        // Relaxed: set before any limit is.
        let anchor = self.anchor.load(Ordering::Relaxed);
        if limit.is_none() {
            if let Some((cell, place)) = plane.of(key) {
                cell.set(dimension, None, config.margin, anchor, &place);
            }
            return Ok(());
        }
        let (cell, place) = plane.make(key).ok_or(LimitError::UnknownKey)?;
        cell.set(dimension, limit, config.margin, anchor, &place);
        self.in_use.fetch_or(1 << kind(group), Ordering::Relaxed);
        Ok(())
    }

    /// Finds out anew what size of a call fits into every group that is not tight.
    fn count_small(&self) {
        let mut least = [u64::MAX; DIMENSIONS];
        let mut look = |plane: &Plane| {
            plane.for_each(|cell| {
                for (least, room) in least.iter_mut().zip(cell.room()) {
                    *least = room.min(*least);
                }
            });
        };
        self.planes.iter().for_each(&mut look);
        self.models.for_each(&mut look);
        for ((small, tiny), least) in self.small.iter().zip(&self.tiny).zip(least) {
            small.store(least, Ordering::Relaxed);
            // An eighth of a sixteenth, or the one that every call is.
            tiny.store((least / 8).max(least.min(1)), Ordering::Relaxed);
        }
    }

    /// Returns the plane of a kind of groups; `None` for a model without limits.
    fn plane(&self, group: LimitGroup<'_>) -> Option<&Plane> {
        match group {
            LimitGroup::Model(name) => self.models.find(name).map(|(_, plane)| plane),
            other => self.planes.get(kind(other) as usize),
        }
    }

    /// Returns the time of the last look by an explanation.
    pub(crate) fn looked_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.looked_at.load(Ordering::Relaxed))
    }

    /// Returns what bars a call, of several the one that ends last.
    fn bar(&self, at: &At<'_>) -> Option<(u32, Bar)> {
        let need = self.need(at.ask);
        let mut last: Option<(u32, Bar)> = None;
        for kind in kinds(need.kinds) {
            if let Some(plane) = self.groups(kind, need.model)
                && let Some((cell, _)) = plane.of(at.key)
                && let Some(bar) = cell.bar(at.now.as_nanos(), &need.amounts)
                && last.is_none_or(|(_, last)| bar.until >= last.until)
            {
                last = Some((kind, bar));
            }
        }
        last
    }

    #[cold]
    fn roll_back(&self, at: &At<'_>, need: &Need, ticket: u64) {
        for kind in kinds(need.kinds) {
            let bits = bits_of(ticket, kind);
            if bits != 0
                && let Some(plane) = self.groups(kind, need.model)
                && let Some((cell, place)) = plane.of(at.key)
            {
                cell.undo(bits, at.now.as_nanos(), &need.amounts, &place);
            }
        }
    }
}

fn kind(group: LimitGroup<'_>) -> u32 {
    match group {
        LimitGroup::Key => KEY,
        LimitGroup::Account => ACCOUNT,
        LimitGroup::FreeModels => FREE,
        LimitGroup::Model(_) => MODEL,
    }
}

#[inline]
fn bits_of(ticket: u64, kind: u32) -> u8 {
    (ticket >> (kind * BITS)) as u8 & ((1 << BITS) - 1)
}
