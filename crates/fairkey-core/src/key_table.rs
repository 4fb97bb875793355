//! Which slot belongs to whom, over reloads: [`KeyTable`].

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use crate::key_set::{Account, Counts, Entry};
use crate::sync::AtomicU32;
use crate::{AccountId, AccountSlot, BuildError, Key, KeyId, KeySet, Slot};

/// What a reload changed. Labels, in the order of the keys given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Keys that were not there before.
    pub added: Vec<KeyId>,
    /// Keys that are there no longer. Their calls in flight end as they would have.
    pub removed: Vec<KeyId>,
    /// Keys that stayed, and so did all state about them. Weight and account may have changed.
    pub kept: Vec<KeyId>,
    /// Keys whose label stayed and whose secret changed: new keys, whose state starts afresh.
    pub replaced: Vec<KeyId>,
}

/// Who an account slot belongs to: a named account, or a key that is alone. An account and a key
/// of the same label are two.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Owner {
    Named(AccountId),
    Alone(KeyId),
}

/// Gives out slots: a slot is free when nothing that could use it for its last owner lives, which
/// is when every set that contains the owner is gone. Leases and selections hold their set.
#[derive(Default)]
pub(crate) struct KeyTable {
    keys: Vec<Weak<Slot>>,
    accounts: Vec<Weak<Account>>,
    /// The last number given to a key or an account.
    born: u32,
}

impl KeyTable {
    /// Makes the set of `keys` that follows `before`.
    pub(crate) fn next_set(
        &mut self,
        keys: Vec<Key>,
        before: Option<&KeySet>,
    ) -> Result<(KeySet, Reload), BuildError> {
        check(&keys)?;
        let old: HashMap<&KeyId, &Arc<Entry>> = before
            .into_iter()
            .flat_map(KeySet::entries)
            .map(|e| (e.key.id(), e))
            .collect();
        let mut accounts: HashMap<Owner, Arc<Account>> = before
            .into_iter()
            .flat_map(KeySet::entries)
            .map(|entry| (owner(&entry.key), Arc::clone(&entry.account)))
            .collect();
        for key in &keys {
            // A key that is alone is its account: another secret makes another one of it.
            let is_another = |was: &&Arc<Entry>| !was.key.secret().is_same(key.secret());
            if key.account_id().is_none() && old.get(key.id()).is_some_and(is_another) {
                accounts.remove(&owner(key));
            }
        }
        let mut reload = Reload::default();
        let (mut fresh, mut fresh_accounts) = (Vec::new(), Vec::new());
        let mut entries = Vec::with_capacity(keys.len());
        let mut free = (0, 0);
        for key in keys {
            let account = accounts.entry(owner(&key)).or_insert_with(|| {
                let slot = AccountSlot(free_slot(&self.accounts, &mut free.1));
                self.born = self.born.wrapping_add(1);
                let account = Arc::new(Account {
                    id: key.account_id().cloned(),
                    slot,
                    born: self.born,
                });
                put(&mut self.accounts, slot.index(), Arc::downgrade(&account));
                fresh_accounts.push(slot);
                account
            });
            let account = Arc::clone(account);
            let (slot, born) = match old.get(key.id()) {
                Some(was) if was.key.secret().is_same(key.secret()) => {
                    reload.kept.push(key.id().clone());
                    (Arc::clone(&was.slot), was.born)
                }
                was => {
                    let list = if was.is_some() {
                        &mut reload.replaced
                    } else {
                        &mut reload.added
                    };
                    list.push(key.id().clone());
                    let slot = Arc::new(Slot(free_slot(&self.keys, &mut free.0)));
                    put(&mut self.keys, slot.index(), Arc::downgrade(&slot));
                    fresh.push(*slot);
                    self.born = self.born.wrapping_add(1);
                    (slot, self.born)
                }
            };
            entries.push(Arc::new(Entry {
                key,
                slot,
                account,
                born,
            }));
        }
        let ids: HashSet<&KeyId> = entries.iter().map(|entry| entry.key.id()).collect();
        let gone = before
            .into_iter()
            .flat_map(KeySet::entries)
            .map(|entry| entry.key.id());
        reload.removed = gone.filter(|id| !ids.contains(id)).cloned().collect();
        let mut in_flight: Vec<Counts> = before.map_or_else(Vec::new, |b| b.counts().to_vec());
        while in_flight.len() * 64 < self.keys.len() {
            in_flight.push(Arc::new(std::array::from_fn(|_| AtomicU32::new(0))));
        }
        Ok((
            KeySet::new(entries, in_flight, fresh, fresh_accounts),
            reload,
        ))
    }
}

fn check(keys: &[Key]) -> Result<(), BuildError> {
    if keys.is_empty() {
        return Err(BuildError::NoKey);
    }
    let (mut ids, mut secrets) = (HashMap::new(), HashMap::new());
    for key in keys {
        let id = key.id();
        if id.as_str().is_empty() || id.as_str().chars().any(char::is_control) {
            return Err(BuildError::BadId(id.clone()));
        }
        if key.secret().is_empty() {
            return Err(BuildError::EmptySecret(id.clone()));
        }
        if ids.insert(id, ()).is_some() {
            return Err(BuildError::SameId(id.clone()));
        }
        if let Some(other) = secrets.insert(key.secret().expose(), id) {
            return Err(BuildError::SameSecret(other.clone(), id.clone()));
        }
    }
    Ok(())
}

fn owner(key: &Key) -> Owner {
    match key.account_id() {
        Some(account) => Owner::Named(account.clone()),
        None => Owner::Alone(key.id().clone()),
    }
}

/// Returns the first slot from `from` on that nothing uses, and moves `from` behind it.
fn free_slot<T>(slots: &[Weak<T>], from: &mut usize) -> u32 {
    while slots
        .get(*from)
        .is_some_and(|owner| owner.strong_count() > 0)
    {
        *from += 1;
    }
    // With the Release of the count's last decrement: what its last user wrote to the state of the
    // slot happened before the next owner finds it.
    fence(Ordering::Acquire);
    let slot = *from;
    *from += 1;
    slot as u32
}

fn put<T>(slots: &mut Vec<Weak<T>>, at: usize, owner: Weak<T>) {
    while slots.len() <= at {
        slots.push(Weak::new());
    }
    slots[at] = owner;
}
