//! What a pool must look like from outside, kept beside a real one: [`PoolModel`].

use std::collections::{BTreeMap, HashSet};

use fairkey_core::{ApiKey, Key, KeyId, Lease, Pool, Reload, Slot};

use crate::law::ensure;

/// The number of a lease in a [`PoolModel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(u64);

/// A key from the moment it came into the pool. The same label with another secret, or removed
/// and added again, is another one.
#[derive(Debug)]
struct Holder {
    key: Key,
    slot: Slot,
    leases: u32,
    /// Whether the pool still offers it.
    current: bool,
}

impl Holder {
    fn label(&self) -> &KeyId {
        self.key.id()
    }

    fn is_alive(&self) -> bool {
        self.current || self.leases > 0
    }
}

/// A simple model next to a real pool: who has how many leases, what a reload keeps.
///
/// A test tells the model what it did, and asks after each step whether the pool agrees:
///
/// ```
/// use fairkey_core::{Ask, Key, Outcome, Pool};
/// use fairkey_testkit::PoolModel;
///
/// let keys = [Key::new("a", "sk-test-a"), Key::new("b", "sk-test-b")];
/// let pool = Pool::builder().keys(keys.clone()).build()?;
/// let mut model = PoolModel::new(&pool, &keys)?;
/// let lease = pool.select(&Ask::new())?;
/// let id = model.selected(&lease)?;
/// model.agrees(&pool)?;
/// lease.finish(Outcome::Success);
/// model.ended(id);
/// model.agrees(&pool)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct PoolModel {
    holders: Vec<Holder>,
    leases: BTreeMap<LeaseId, usize>,
    next: u64,
}

impl PoolModel {
    /// Starts with the keys that `pool` was built of.
    ///
    /// # Errors
    ///
    /// Where the pool lacks one of `keys`.
    pub fn new(pool: &Pool, keys: &[Key]) -> Result<Self, String> {
        let mut model = Self::default();
        for key in keys {
            model.add(pool, key)?;
        }
        Ok(model)
    }

    /// Notes a lease.
    ///
    /// # Errors
    ///
    /// Where it is of a key that the pool should not have any more, or carries another secret.
    pub fn selected(&mut self, lease: &Lease) -> Result<LeaseId, String> {
        let id = lease.key().id();
        let at = (self.holders.iter())
            .position(|holder| holder.current && holder.label() == id)
            .ok_or_else(|| format!("a lease on {id:?}, which the pool does not have"))?;
        let holder = &mut self.holders[at];
        ensure(is_same(lease.expose_key(), &holder.key), || {
            format!("a lease on {id:?} with the secret of another key")
        })?;
        ensure(lease.key().slot() == holder.slot, || {
            format!("{id:?} was in {:?} and its lease is not", holder.slot)
        })?;
        holder.leases += 1;
        self.next += 1;
        self.leases.insert(LeaseId(self.next), at);
        Ok(LeaseId(self.next))
    }

    /// Notes the end of a lease. A number that is no live lease's is ignored.
    pub fn ended(&mut self, id: LeaseId) {
        if let Some(at) = self.leases.remove(&id) {
            self.holders[at].leases -= 1;
        }
    }

    /// Notes a reload with `keys`, and checks what it reported.
    ///
    /// # Errors
    ///
    /// Where the report is wrong, a key that stays has moved, or the pool lacks one of `keys`.
    pub fn reloaded(&mut self, pool: &Pool, keys: &[Key], reload: &Reload) -> Result<(), String> {
        let mut expected = Reload::default();
        let mut before = BTreeMap::new();
        for (at, holder) in self.holders.iter_mut().enumerate() {
            if std::mem::take(&mut holder.current) {
                before.insert(holder.label().clone(), at);
                if keys.iter().all(|key| key.id() != holder.label()) {
                    expected.removed.push(holder.label().clone());
                }
            }
        }
        for key in keys {
            match before.get(key.id()).copied() {
                Some(at) if is_same(key.secret(), &self.holders[at].key) => {
                    expected.kept.push(key.id().clone());
                    self.holders[at].current = true;
                    self.holders[at].key = key.clone();
                }
                Some(_) => {
                    expected.replaced.push(key.id().clone());
                    self.add(pool, key)?;
                }
                None => {
                    expected.added.push(key.id().clone());
                    self.add(pool, key)?;
                }
            }
        }
        let sorted = |reload: &Reload| {
            let mut reload = reload.clone();
            reload.removed.sort();
            reload
        };
        ensure(sorted(&expected) == sorted(reload), || {
            format!("a reload said {reload:?} where {expected:?} is right")
        })
    }

    /// Returns the number of live leases.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.leases.len() as u64
    }

    /// Checks that the pool has the keys it should have, that each counts its live leases, and
    /// that no two keys which anything still uses share a slot.
    ///
    /// # Errors
    ///
    /// Says where they differ.
    pub fn agrees(&self, pool: &Pool) -> Result<(), String> {
        let mut slots = HashSet::new();
        for holder in self.holders.iter().filter(|holder| holder.is_alive()) {
            let (id, slot) = (holder.label(), holder.slot);
            ensure(slots.insert(slot), || {
                format!("{slot:?} of {id:?} belongs to another key that is in use")
            })?;
        }
        ensure(pool.in_flight() == self.in_flight(), || {
            let (pool, live) = (pool.in_flight(), self.in_flight());
            format!("the pool counts {pool} in flight and {live} leases live")
        })?;
        let current: Vec<&Holder> = self.holders.iter().filter(|h| h.current).collect();
        ensure(pool.len() == current.len(), || {
            format!("the pool has {} of {} keys", pool.len(), current.len())
        })?;
        pool.with_keys(|keys| {
            for holder in current {
                let id = holder.label();
                let key = (keys.find(id.as_str())).ok_or_else(|| format!("{id:?} is gone"))?;
                ensure(key.slot() == holder.slot, || {
                    format!("{id:?} moved from {:?} to {:?}", holder.slot, key.slot())
                })?;
                ensure(key.in_flight() == holder.leases, || {
                    let (counted, live) = (key.in_flight(), holder.leases);
                    format!("{id:?} counts {counted} in flight and {live} leases live")
                })?;
                ensure(key.account_id() == holder.key.account_id(), || {
                    format!("{id:?} is in account {:?}", key.account_id())
                })?;
                ensure(key.weight() == holder.key.weight_value().get(), || {
                    format!("{id:?} has weight {}", key.weight())
                })?;
            }
            Ok(())
        })
    }

    fn add(&mut self, pool: &Pool, key: &Key) -> Result<(), String> {
        let slot = pool.with_keys(|keys| keys.find(key.id().as_str()).map(|key| key.slot()));
        self.holders.push(Holder {
            key: key.clone(),
            slot: slot.ok_or_else(|| format!("{:?} is not in the pool", key.id()))?,
            leases: 0,
            current: true,
        });
        Ok(())
    }
}

fn is_same(secret: &ApiKey, key: &Key) -> bool {
    secret.is_same(key.secret())
}
