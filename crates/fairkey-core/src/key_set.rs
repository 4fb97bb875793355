//! The keys of a pool at one moment: [`KeySet`] and the [`Candidate`]s it is made of.

use std::fmt;
use std::sync::Arc;

use crate::random::hash_label;
use crate::sync::{AtomicU32, Ordering};
use crate::{AccountId, AccountSlot, AccountTenure, Key, KeyId, Slot, Tenure};

/// In-flight counts of 64 slots. Shared between a set and the one that replaces it.
pub(crate) type Counts = Arc<[AtomicU32; 64]>;

/// An account, for as long as any set that contains it lives.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: Option<AccountId>,
    pub(crate) slot: AccountSlot,
    /// Unlike that of any other account of the pool.
    pub(crate) born: u32,
}

/// A key, for as long as any set that contains it lives.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// Shared by all entries of the key, whose weight or account may change from set to set: its
    /// slot is free when the last of them is gone.
    pub(crate) slot: Arc<Slot>,
    pub(crate) account: Arc<Account>,
    /// Unlike that of any other key of the pool.
    pub(crate) born: u32,
}

/// An account and its keys as bits: the word's index and the bits in it.
struct Members {
    account: Arc<Account>,
    words: Vec<(u32, u64)>,
}

/// The keys of a pool at one moment; a reload makes a new one.
///
/// Everything is an array by slot, so that a selection scans memory in order. A slot without a
/// key, which a reload can leave behind, is a hole: its bit is not set.
pub struct KeySet {
    entries: Box<[Option<Arc<Entry>>]>,
    present: Box<[u64]>,
    len: usize,
    uniform: bool,
    /// One more than the highest slot with a key.
    span: u32,
    /// The load of an idle key with the greatest weight: no key has less.
    least_load: u64,
    weights: Box<[u32]>,
    /// 2^40 / weight, so that load over weight is a multiplication.
    inverse_weights: Box<[u64]>,
    hashes: Box<[u64]>,
    /// Slots by the hash of their label, in its order: a label is found by halving.
    by_hash: Box<[(u64, u32)]>,
    accounts: Box<[u32]>,
    members: Box<[Option<Members>]>,
    in_flight: Box<[Counts]>,
    fresh: Vec<Slot>,
    fresh_accounts: Vec<AccountSlot>,
}

impl KeySet {
    pub(crate) fn new(
        keys: Vec<Arc<Entry>>,
        in_flight: Vec<Counts>,
        fresh: Vec<Slot>,
        fresh_accounts: Vec<AccountSlot>,
    ) -> Self {
        let slots = in_flight.len() * 64;
        let len = keys.len();
        let uniform = keys
            .windows(2)
            .all(|two| two[0].key.weight_value() == two[1].key.weight_value());
        let account_slots = keys
            .iter()
            .map(|e| e.account.slot.index() + 1)
            .max()
            .unwrap_or(0);
        let mut entries: Box<[Option<Arc<Entry>>]> = (0..slots).map(|_| None).collect();
        let mut present = vec![0; slots / 64].into_boxed_slice();
        let mut inverse_weights = vec![0; slots].into_boxed_slice();
        let mut weights = vec![0; slots].into_boxed_slice();
        let mut hashes = vec![0; slots].into_boxed_slice();
        let mut accounts = vec![u32::MAX; slots].into_boxed_slice();
        let mut members: Box<[Option<Members>]> = (0..account_slots).map(|_| None).collect();
        let span = keys.iter().map(|entry| entry.slot.0 + 1).max().unwrap_or(0);
        let heaviest = keys
            .iter()
            .map(|entry| entry.key.weight_value().get())
            .max()
            .unwrap_or(1);
        let least_load = (1 << 40) / u64::from(heaviest);
        let mut in_order = keys;
        in_order.sort_unstable_by_key(|entry| *entry.slot);
        for entry in in_order {
            let at = entry.slot.index();
            let (word, bit) = ((at / 64) as u32, 1 << (at % 64));
            present[at / 64] |= bit;
            inverse_weights[at] = (1 << 40) / u64::from(entry.key.weight_value().get());
            weights[at] = entry.key.weight_value().get();
            hashes[at] = hash_label(entry.key.id().as_str());
            accounts[at] = entry.account.slot.0;
            let Members { words, .. } =
                members[entry.account.slot.index()].get_or_insert_with(|| Members {
                    account: Arc::clone(&entry.account),
                    words: Vec::new(),
                });
            match words.last_mut() {
                Some(last) if last.0 == word => last.1 |= bit,
                _ => words.push((word, bit)),
            }
            entries[at] = Some(entry);
        }
        let mut by_hash: Box<[_]> = (entries.iter().flatten())
            .map(|entry| (hashes[entry.slot.index()], entry.slot.0))
            .collect();
        by_hash.sort_unstable();
        Self {
            entries,
            present,
            len,
            uniform,
            span,
            least_load,
            weights,
            inverse_weights,
            hashes,
            by_hash,
            accounts,
            members,
            in_flight: in_flight.into_boxed_slice(),
            fresh,
            fresh_accounts,
        }
    }

    /// Returns how many keys there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns one more than the highest slot in use, rounded up to a multiple of 64: how far
    /// state by [`Slot`] must reach.
    #[must_use]
    #[inline]
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Returns one more than the highest account slot in use: how far state by [`AccountSlot`]
    /// must reach.
    #[must_use]
    #[inline]
    pub fn account_slots(&self) -> usize {
        self.members.len()
    }

    /// Returns every key, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'_>> {
        (0..self.entries.len()).filter_map(|at| self.get(Slot(at as u32)))
    }

    /// Returns the key in `slot`.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Candidate<'_>> {
        self.entries
            .get(slot.index())?
            .as_ref()
            .map(|_| Candidate { keys: self, slot })
    }

    /// Returns the key with the label `id`. Costs a logarithm of how many there are.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Candidate<'_>> {
        let hash = hash_label(id);
        let first = self.by_hash.partition_point(|(other, _)| *other < hash);
        // Labels may share a hash.
        (self.by_hash[first..].iter())
            .take_while(|(other, _)| *other == hash)
            .filter_map(|(_, slot)| self.get(Slot(*slot)))
            .find(|key| key.id().as_str() == id)
    }

    /// Returns the slots whose keys were not in the set before this one. State left there belongs
    /// to a key that is gone; no lease of it lives.
    #[must_use]
    #[inline]
    pub fn fresh(&self) -> &[Slot] {
        &self.fresh
    }

    /// Returns the account slots whose accounts were not in the set before this one.
    #[must_use]
    pub fn fresh_accounts(&self) -> &[AccountSlot] {
        &self.fresh_accounts
    }

    /// Returns the key in the slot of that index, if one is there.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Candidate<'_>> {
        self.get(Slot(u32::try_from(index).ok()?))
    }

    /// Returns the account slot of that index; there need not be an account in it.
    #[must_use]
    #[inline]
    pub fn account_at(&self, index: usize) -> AccountSlot {
        AccountSlot(index as u32)
    }

    /// Returns the label of an account; `None` for a key that is alone, and for a free slot.
    #[must_use]
    pub fn account_id(&self, account: AccountSlot) -> Option<&AccountId> {
        self.members
            .get(account.index())?
            .as_ref()?
            .account
            .id
            .as_ref()
    }

    /// Returns the keys of an account as bits: words and the bits of its keys in each.
    #[must_use]
    #[inline]
    pub fn members(&self, account: AccountSlot) -> &[(u32, u64)] {
        match self.members.get(account.index()) {
            Some(Some(members)) => &members.words,
            _ => &[],
        }
    }

    /// Returns whether all keys have the same weight.
    #[must_use]
    #[inline]
    pub fn is_uniform(&self) -> bool {
        self.uniform
    }

    /// Returns the number of live leases, those of keys that a reload has removed included.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u64 {
        let counts = self.in_flight.iter().flat_map(|chunk| chunk.iter());
        counts
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    }

    #[inline]
    pub(crate) fn span(&self) -> u32 {
        self.span
    }

    #[inline]
    pub(crate) fn least_load(&self) -> u64 {
        self.least_load
    }

    /// Returns the counts and the inverse weights of the slots `64 * word .. 64 * word + 64`.
    #[inline]
    pub(crate) fn loads(&self, word: usize) -> (&[AtomicU32; 64], &[u64; 64]) {
        let weights = self.inverse_weights[word * 64..].first_chunk();
        (
            &self.in_flight[word],
            weights.expect("arrays are whole words"),
        )
    }

    #[inline]
    pub(crate) fn present(&self) -> &[u64] {
        &self.present
    }

    pub(crate) fn counts(&self) -> &[Counts] {
        &self.in_flight
    }

    #[inline]
    pub(crate) fn count(&self, slot: Slot) -> &AtomicU32 {
        &self.in_flight[slot.index() / 64][slot.index() % 64]
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().flatten()
    }

    /// Returns whether the key that `tenure` means is there.
    pub(crate) fn has(&self, tenure: Tenure) -> bool {
        let entry = self
            .entries
            .get(tenure.slot.index())
            .and_then(Option::as_ref);
        entry.is_some_and(|entry| entry.born == tenure.born)
    }

    /// Returns whether the account that `tenure` means is there.
    pub(crate) fn has_account(&self, tenure: AccountTenure) -> bool {
        let members = self
            .members
            .get(tenure.slot.index())
            .and_then(Option::as_ref);
        members.is_some_and(|members| members.account.born == tenure.born)
    }

    #[inline]
    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.entries[slot.index()]
            .as_ref()
            .expect("a candidate's slot has a key")
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One key of a set, as a strategy or a gate sees it: label, account, weight, load; no secret.
///
/// It cannot be made, only had from the turn or the set it belongs to, so a strategy cannot
/// answer with a key that does not exist.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    keys: &'a KeySet,
    slot: Slot,
}

impl<'a> Candidate<'a> {
    #[inline]
    pub(crate) fn new(keys: &'a KeySet, slot: Slot) -> Self {
        Self { keys, slot }
    }

    /// Returns the key's place, to index state with.
    #[must_use]
    #[inline]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Returns the key's label.
    #[must_use]
    #[inline]
    pub fn id(&self) -> &'a KeyId {
        self.keys.entry(self.slot).key.id()
    }

    /// Returns the place of the account that owns the key, to index state with.
    #[must_use]
    #[inline]
    pub fn account(&self) -> AccountSlot {
        AccountSlot(self.keys.accounts[self.slot.index()])
    }

    /// Returns which key this is, for good: no other key ever has the same.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        Tenure {
            slot: self.slot,
            born: self.keys.entry(self.slot).born,
        }
    }

    /// Returns which account owns it, for good.
    #[must_use]
    pub fn account_tenure(&self) -> AccountTenure {
        let account = &self.keys.entry(self.slot).account;
        AccountTenure {
            slot: account.slot,
            born: account.born,
        }
    }

    /// Returns the label of the account, if one was named for the key.
    #[must_use]
    pub fn account_id(&self) -> Option<&'a AccountId> {
        self.keys.entry(self.slot).account.id.as_ref()
    }

    /// Returns the key's weight, 1 to 65,535.
    #[must_use]
    #[inline]
    pub fn weight(&self) -> u32 {
        self.keys.weights[self.slot.index()]
    }

    /// Returns the number of live leases on the key.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        // Relaxed: a count to compare with others; it publishes no other memory.
        self.keys.count(self.slot).load(Ordering::Relaxed)
    }

    /// Returns what one more call would make of the key's load: (leases + 1) / weight, in units
    /// of 2^-40. Comparable among the keys of a pool.
    #[must_use]
    #[inline]
    pub fn load_with_one_more(&self) -> u64 {
        (u64::from(self.in_flight()) + 1)
            .saturating_mul(self.keys.inverse_weights[self.slot.index()])
    }

    /// Returns a hash of the label: the same in every process.
    #[must_use]
    #[inline]
    pub fn id_hash(&self) -> u64 {
        self.keys.hashes[self.slot.index()]
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("id", self.id())
            .field("account", &self.account_id())
            .field("weight", &self.weight())
            .field("in_flight", &self.in_flight())
            .finish()
    }
}
