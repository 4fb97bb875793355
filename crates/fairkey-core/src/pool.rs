//! Keys, a strategy, gates and a clock in one: [`Pool`].

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

use crate::key_table::KeyTable;
use crate::lease::Hold;
use crate::local;
use crate::random::Seeds;
use crate::registry::GateId;
use crate::sync::{AtomicU64, Mutex, Ordering, RwLock, lock};
use crate::turn::Nothing;
use crate::{
    Ask, At, BuildError, Candidate, Clock, Denial, Explanation, Gate, Gated, Key, KeyExplanation,
    KeySet, Lease, MonotonicClock, Observer, Random, Registry, Reload, Scope, Strategy, Timestamp,
    Turn, Unavailable,
};

/// What a pool keeps over reloads.
pub(crate) struct Core {
    pub(crate) strategy: Box<dyn Strategy>,
    pub(crate) gates: Box<[Arc<dyn Gate>]>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) observers: Box<[Arc<dyn Observer>]>,
    pub(crate) seeds: Seeds,
}

/// The keys at one moment, with what they are used by. Leases hold it.
pub(crate) struct Snapshot {
    pub(crate) keys: KeySet,
    pub(crate) core: Arc<Core>,
    /// Unlike that of any other snapshot in the process.
    version: u64,
}

impl Snapshot {
    fn new(keys: KeySet, core: Arc<Core>) -> Arc<Self> {
        // Never loom's: it only has to count, and it outlives a model. 0 is no snapshot's.
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let version = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        Arc::new(Self {
            keys,
            core,
            version,
        })
    }
}

/// A set of keys that calls are spread over.
///
/// Selecting is synchronous and short: no lock is held while strategy and gates work, nothing is
/// allocated up to 16,384 slots, and the clock is read once.
///
/// ```
/// use fairkey_core::{Ask, Candidate, Key, Outcome, Pool, Strategy, Turn};
///
/// #[derive(Debug)]
/// struct LeastLoaded;
///
/// impl Strategy for LeastLoaded {
///     fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
///         turn.least(|key| key.load_with_one_more())
///     }
/// }
///
/// let pool = Pool::builder()
///     .strategy(LeastLoaded)
///     .key(Key::new("a", "sk-or-v1-aaa"))
///     .key(Key::new("b", "sk-or-v1-bbb"))
///     .build()?;
/// let first = pool.select(&Ask::new())?;
/// let second = pool.select(&Ask::new())?;
/// assert_ne!(first.key().id(), second.key().id());
/// first.finish(Outcome::Success);
/// drop(second); // a call that was given up
/// assert_eq!(pool.in_flight(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    current: RwLock<Arc<Snapshot>>,
    /// The version of the current snapshot.
    version: AtomicU64,
    table: Mutex<KeyTable>,
}

impl Pool {
    /// Starts to build a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            keys: Vec::new(),
            strategy: None,
            gates: Vec::new(),
            clock: None,
            observers: Vec::new(),
            seed: None,
        }
    }

    /// Gives the call that `ask` describes a key.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where nothing is free, with the soonest time at which something may be.
    /// Finding that time asks every gate about every key; it is the price of an honest answer.
    pub fn select(&self, ask: &Ask<'_>) -> Result<Lease, Unavailable> {
        // Acquire, with the Release of `reload`: who sees a version that is gone from its thread's
        // memory finds its snapshot behind the lock.
        let begin = local::begin(self.version.load(Ordering::Acquire));
        let hold = begin.hold.unwrap_or_else(Hold::allocate);
        let (snapshot, random) = begin.snapshot.unwrap_or_else(|| self.look_up());
        let now = snapshot.core.clock.now();
        // One buffer for the usual pool and one for a large one: clearing the large one for a few
        // keys would cost more than the selection.
        let words = snapshot.keys.present().len();
        if words <= 4 {
            Self::select_with(hold, snapshot, random, ask, now, &mut [0; 4][..words])
        } else if words <= 256 {
            Self::select_with(hold, snapshot, random, ask, now, &mut [0; 256][..words])
        } else {
            Self::select_with(hold, snapshot, random, ask, now, &mut vec![0; words])
        }
    }

    fn select_with(
        mut hold: Box<Hold>,
        snapshot: Arc<Snapshot>,
        random: Random,
        ask: &Ask<'_>,
        now: Timestamp,
        words: &mut [u64],
    ) -> Result<Lease, Unavailable> {
        let Snapshot { keys, core, .. } = &*snapshot;
        let picked = {
            // The turn ends with this block, in place: to move it costs as much as a gate.
            let mut turn = Turn::new(core, keys, ask, now, words, &mut hold.tickets, random);
            match core.strategy.pick(&mut turn) {
                Some(key) if turn.commit(key) => Ok(key.slot()),
                Some(_) => {
                    // The strategy kept a key from before it was excluded. To ask again might
                    // never end.
                    debug_assert!(false, "{:?} picked what is not offered", core.strategy);
                    Err(Nothing::default())
                }
                None => Err(turn.why_nothing()),
            }
        };
        match picked {
            Ok(slot) => {
                let lease = hold.into_lease(snapshot, slot, now, ask);
                if !lease.snapshot().core.observers.is_empty() {
                    tell_selected(&lease, ask);
                }
                Ok(lease)
            }
            Err(why) => {
                local::keep(hold);
                Err(refuse(core, keys, ask, now, why))
            }
        }
    }

    /// Replaces the keys. What belongs to keys whose label and secret stay, stays: calls in
    /// flight, everything that gates and strategies know. Calls of removed keys end as they would
    /// have.
    ///
    /// Strategy and gates take note of the new set before it is published. Not to be called from
    /// inside them.
    ///
    /// # Errors
    ///
    /// [`BuildError`] as at the start; the old keys stay.
    pub fn reload(&self, keys: impl IntoIterator<Item = Key>) -> Result<Reload, BuildError> {
        self.replace(|_| keys.into_iter().collect())
    }

    /// Replaces every key by what `f` makes of it, such as one with another weight or account. As
    /// [`reload`](Self::reload) with those, but no other reload can get in between, to be undone
    /// by this one.
    ///
    /// # Errors
    ///
    /// [`BuildError`] as at the start; the old keys stay.
    pub fn revise(&self, f: impl FnMut(&Key) -> Key) -> Result<Reload, BuildError> {
        self.replace(|before| before.entries().map(|entry| &entry.key).map(f).collect())
    }

    fn replace(&self, keys: impl FnOnce(&KeySet) -> Vec<Key>) -> Result<Reload, BuildError> {
        let mut table = lock(&self.table);
        let before = self.snapshot();
        let (keys, reload) = table.next_set(keys(&before.keys), Some(&before.keys))?;
        let core = Arc::clone(&before.core);
        rekey(&core, &keys);
        let snapshot = Snapshot::new(keys, core);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        self.version.store(snapshot.version, Ordering::Release);
        drop(table);
        for observer in &snapshot.core.observers {
            observer.reloaded(&snapshot.keys);
        }
        Ok(reload)
    }

    /// Says for every key that the ask may use ([`Ask::only`]) whether it would be admitted, by
    /// which gate it is not, until when, and how the strategy ranks it. Reserves nothing.
    #[must_use]
    pub fn explain(&self, ask: &Ask<'_>) -> Explanation {
        let snapshot = self.snapshot();
        let Snapshot { keys, core, .. } = &*snapshot;
        let now = core.clock.now();
        let explain = |key: Candidate<'_>| KeyExplanation {
            id: key.id().clone(),
            account: key.account_id().cloned(),
            weight: key.weight(),
            in_flight: key.in_flight(),
            tried: is_tried(ask, key),
            denied: (core.gates.iter())
                .filter_map(|gate| {
                    let at = At { key, ask, now };
                    let denied = gate.check(&at).err()?;
                    let (gate, detail) = (gate.name(), gate.detail(&at));
                    Some(Denial {
                        gate,
                        denied,
                        detail,
                    })
                })
                .collect(),
            score: core.strategy.score(key, ask),
        };
        Explanation {
            now,
            keys: (keys.iter())
                .filter(|key| is_allowed(ask, *key))
                .map(explain)
                .collect(),
        }
    }

    /// Returns the number of live leases, those of removed keys included.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.snapshot().keys.in_flight()
    }

    /// Returns how many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot().keys.len()
    }

    /// Returns whether there is no key; a pool always has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the time of the pool's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.snapshot().core.clock.now()
    }

    /// Calls `f` with the keys there are now.
    pub fn with_keys<R>(&self, f: impl FnOnce(&KeySet) -> R) -> R {
        f(&self.snapshot().keys)
    }

    /// Returns the secret of a key, for calls about the key itself such as `GET /key`, which need
    /// no lease. `None` where the label is not in the pool.
    #[must_use]
    pub fn expose_key(&self, id: &str) -> Option<crate::ApiKey> {
        let snapshot = self.snapshot();
        let slot = snapshot.keys.find(id)?.slot();
        Some(snapshot.keys.entry(slot).key.secret().clone())
    }

    /// Returns the current snapshot and notes it for this thread's next selection.
    #[cold]
    fn look_up(&self) -> (Arc<Snapshot>, Random) {
        let snapshot = self.snapshot();
        let mut random = snapshot.core.seeds.draw();
        let first = random.branch();
        local::note(snapshot.version, &snapshot, random);
        (snapshot, first)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        // The lock is held for the increment of a count and nothing else: no foreign code runs
        // under it, and a reload waits for nobody's call.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("Pool")
            .field("strategy", &snapshot.core.strategy)
            .field("keys", &snapshot.keys)
            .finish_non_exhaustive()
    }
}

#[cold]
fn tell_selected(lease: &Lease, ask: &Ask<'_>) {
    for observer in &lease.snapshot().core.observers {
        observer.selected(lease.key(), ask);
    }
}

fn rekey(core: &Core, keys: &KeySet) {
    for gate in &core.gates {
        gate.rekey(keys);
    }
    core.strategy.rekey(keys);
}

fn is_allowed(ask: &Ask<'_>, key: Candidate<'_>) -> bool {
    ask.only.is_none_or(|only| only.allows(key))
}

fn is_tried(ask: &Ask<'_>, key: Candidate<'_>) -> bool {
    ask.tried.is_some_and(|tried| {
        tried.keys().contains(&key.into()) || tried.accounts().contains(&key.into())
    })
}

/// Says when asking again makes sense, now that there was nothing.
#[cold]
fn refuse(core: &Core, keys: &KeySet, ask: &Ask<'_>, now: Timestamp, why: Nothing) -> Unavailable {
    let unavailable = match why.closed {
        Some(denied) => Unavailable {
            retry_at: denied.until,
            by: Some(denied.by),
            by_limit: denied.by_limit,
        },
        None => soonest(core, keys, ask, now, why),
    };
    for observer in &core.observers {
        observer.refused(ask, &unavailable);
    }
    unavailable
}

/// Finds the key that opens soonest by the passing of time. A key is open when all its gates are.
fn soonest(core: &Core, keys: &KeySet, ask: &Ask<'_>, now: Timestamp, why: Nothing) -> Unavailable {
    let mut best = Unavailable {
        retry_at: None,
        by: None,
        by_limit: false,
    };
    let mut by_limit = false;
    let usable = |key: &Candidate<'_>| is_allowed(ask, *key) && !is_tried(ask, *key);
    for key in keys.iter().filter(usable) {
        // Until when the key is closed, and by whom: the gate that opens last.
        let (mut until, mut by) = (Some(now), None);
        let mut limits_only = true;
        for gate in &core.gates {
            let Err(denied) = gate.check(&At { key, ask, now }) else {
                continue;
            };
            limits_only &= denied.by_limit;
            let later = match (denied.until, until) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(new), Some(old)) => new >= old,
            };
            if by.is_none() || later {
                (until, by) = (denied.until, Some(denied.by));
            }
        }
        if by.is_none() && why.none_left {
            // It was closed or full a moment ago, and has opened since. Whoever waited for that to
            // happen would wait in vain.
            return Unavailable {
                retry_at: Some(now),
                by: Some(Scope::Local),
                by_limit: true,
            };
        }
        if by.is_none() {
            // The strategy declined it, or it was refused when it was entered.
            continue;
        }
        by_limit |= limits_only;
        let sooner = match (until, best.retry_at) {
            (Some(new), Some(old)) => new < old,
            (Some(_), None) => true,
            (None, _) => best.by.is_none(),
        };
        if sooner {
            best = Unavailable {
                retry_at: until,
                by,
                by_limit: false,
            };
        }
    }
    if let Some(denied) = why.refused {
        by_limit |= denied.by_limit;
        let sooner = match (denied.until, best.retry_at) {
            (Some(new), Some(old)) => new < old,
            (Some(_), None) => true,
            (None, _) => best.by.is_none(),
        };
        if sooner {
            best = Unavailable {
                retry_at: denied.until,
                by: Some(denied.by),
                by_limit: false,
            };
        }
    }
    Unavailable { by_limit, ..best }
}

/// Builds a [`Pool`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    keys: Vec<Key>,
    strategy: Option<Box<dyn Strategy>>,
    gates: Vec<Arc<dyn Gate>>,
    clock: Option<Box<dyn Clock>>,
    observers: Vec<Arc<dyn Observer>>,
    seed: Option<u64>,
}

impl PoolBuilder {
    /// Adds a key.
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Adds keys.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Self {
        self.keys.extend(keys);
        self
    }

    /// Sets what picks. By default the key with the least load for its weight, ties by chance.
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Some(Box::new(strategy));
        self
    }

    /// Puts a gate before the strategy, behind the gates there are. The same as
    /// [`Gate::guarding`].
    pub fn gate(self, gate: impl Gate + 'static) -> Self {
        self.shared_gate(Arc::new(gate))
    }

    /// Puts a gate before the strategy of which the caller keeps a handle.
    pub fn shared_gate(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gates.push(gate);
        self
    }

    /// Sets the clock. By default the machine's monotonic one.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Adds somebody who hears of selections and ends.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Seeds chance, so that one thread makes the same choices in every run. By default the seed
    /// is the process's own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    ///
    /// [`BuildError`] names the key and the rule it breaks.
    pub fn build(self) -> Result<Pool, BuildError> {
        let strategy = self.strategy.unwrap_or_else(|| Box::new(LeastLoad));
        let mut strategy: Box<dyn Strategy> = if self.gates.is_empty() {
            strategy
        } else {
            Box::new(
                self.gates
                    .into_iter()
                    .fold(Gated::new(strategy), Gated::shared_gate),
            )
        };
        let registry = Registry::filled_by(&mut *strategy);
        if registry.met_shared() {
            return Err(BuildError::SharedStrategy);
        }
        let gates = registry.into_gates().into_boxed_slice();
        if gates.len() >= usize::from(GateId::NONE.0) {
            return Err(BuildError::TooManyGates);
        }
        let core = Core {
            strategy,
            gates,
            clock: self
                .clock
                .unwrap_or_else(|| Box::new(MonotonicClock::new())),
            observers: self.observers.into_boxed_slice(),
            seeds: Seeds::new(self.seed.unwrap_or_else(|| RandomState::new().hash_one(()))),
        };
        let mut table = KeyTable::default();
        let (keys, _) = table.next_set(self.keys, None)?;
        rekey(&core, &keys);
        let snapshot = Snapshot::new(keys, Arc::new(core));
        Ok(Pool {
            version: AtomicU64::new(snapshot.version),
            current: RwLock::new(snapshot),
            table: Mutex::new(table),
        })
    }
}

/// What picks where nothing else is set; fairkey-strategy has it with a name and a law.
#[derive(Debug)]
struct LeastLoad;

impl Strategy for LeastLoad {
    fn pick<'a>(&self, turn: &mut Turn<'a>) -> Option<Candidate<'a>> {
        turn.least_loaded()
    }

    fn score(&self, key: Candidate<'_>, _: &Ask<'_>) -> Option<f64> {
        Some((f64::from(key.in_flight()) + 1.0) / f64::from(key.weight()))
    }
}

/// A pool is shared by every task of a program.
const _: fn() = || {
    fn is_send_sync_static<T: Send + Sync + 'static>() {}
    is_send_sync_static::<Pool>();
};
