//! What an operator says of keys and accounts: [`Switch`], and [`Pinnable`], which lets a pin
//! overrule a gate.

use std::collections::HashSet;
use std::sync::Arc;

use fairkey_core::sync::{Mutex, MutexGuard, lock};
use fairkey_core::{
    AccountId, At, Candidate, Denied, Detail, Gate, KeyId, KeySet, Report, Scope, Scopes, SlotBits,
    Ticket, Timestamp, Turn,
};

/// An operator's word on keys and accounts, by label: disabled ones get no call, pinned ones pass
/// gates that would close them.
///
/// It holds at once, for every call that begins from then on, and over reloads: a label that is
/// disabled stays so while its key is gone, and when it comes back. Calls under way go on.
///
/// - **Disabled** is denied for good, with [`Scope::Key`] or [`Scope::Account`].
/// - **Pinned** overrules the gates that stand behind a [`Pinnable`], and nothing else: not a
///   disabled key or account, not a cap on calls at a time, not a model, the service or the network
///   that is out, and not what the call itself has tried. What a pinned key's calls meet is not
///   heard by those gates: a pin says "use it, whatever happens".
///
/// One object, shared: put it before the strategy as a gate, and give a handle to each
/// [`Pinnable`].
///
/// ```
/// use std::sync::Arc;
/// use fairkey_core::{Ask, FaultKind, Key, Outcome, Pool, Scope};
/// use fairkey_strategy::{Cooldown, CooldownConfig, Pinnable, Switch};
///
/// let switch = Arc::new(Switch::new());
/// let cooldown = Arc::new(Cooldown::per_key(CooldownConfig::default()));
/// let pool = Pool::builder()
///     .key(Key::new("a", "sk-or-v1-aaa"))
///     .shared_gate(Arc::clone(&switch) as _)
///     .gate(Pinnable::new(cooldown, &switch))
///     .build()?;
/// pool.select(&Ask::new())?.finish(Outcome::fault(Scope::Key, FaultKind::Refused));
/// assert!(pool.select(&Ask::new()).is_err());
/// switch.pin_key("a");
/// assert!(pool.select(&Ask::new()).is_ok());
/// switch.disable_key("a");
/// assert!(pool.select(&Ask::new()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Switch {
    /// Keys that are disabled, or whose account is.
    off: Arc<SlotBits>,
    /// Keys that are pinned.
    pinned: SlotBits,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashSet<KeyId>,
    accounts: HashSet<AccountId>,
    pinned: HashSet<KeyId>,
    /// Who is in which slot.
    slots: Vec<Option<(KeyId, Option<AccountId>)>>,
}

impl Inner {
    fn is_off(&self, key: &KeyId, account: Option<&AccountId>) -> bool {
        self.keys.contains(key) || account.is_some_and(|id| self.accounts.contains(id))
    }
}

impl Switch {
    /// Makes a switch with which everything is enabled and nothing pinned.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Disables a key. Returns whether it was enabled before.
    pub fn disable_key(&self, id: impl Into<KeyId>) -> bool {
        self.change(|inner| inner.keys.insert(id.into()))
    }

    /// Enables a key again. Returns whether it was disabled before.
    pub fn enable_key(&self, id: impl Into<KeyId>) -> bool {
        self.change(|inner| inner.keys.remove(&id.into()))
    }

    /// Disables all keys of an account, those that join it later, too. Returns whether it was
    /// enabled before.
    pub fn disable_account(&self, id: impl Into<AccountId>) -> bool {
        self.change(|inner| inner.accounts.insert(id.into()))
    }

    /// Enables an account again; keys that are disabled by themselves stay so. Returns whether it
    /// was disabled before.
    pub fn enable_account(&self, id: impl Into<AccountId>) -> bool {
        self.change(|inner| inner.accounts.remove(&id.into()))
    }

    /// Pins a key. Returns whether it was not pinned before.
    pub fn pin_key(&self, id: impl Into<KeyId>) -> bool {
        self.change(|inner| inner.pinned.insert(id.into()))
    }

    /// Takes a pin back. Returns whether the key was pinned before.
    pub fn unpin_key(&self, id: impl Into<KeyId>) -> bool {
        self.change(|inner| inner.pinned.remove(&id.into()))
    }

    /// Returns the labels of disabled keys, in order; whether there are such keys or not.
    #[must_use]
    pub fn disabled_keys(&self) -> Vec<KeyId> {
        sorted(&self.inner().keys)
    }

    /// Returns the labels of disabled accounts, in order.
    #[must_use]
    pub fn disabled_accounts(&self) -> Vec<AccountId> {
        sorted(&self.inner().accounts)
    }

    /// Returns the labels of pinned keys, in order.
    #[must_use]
    pub fn pinned_keys(&self) -> Vec<KeyId> {
        sorted(&self.inner().pinned)
    }

    /// Returns whether `key` is pinned.
    #[must_use]
    #[inline]
    pub fn is_pinned(&self, key: Candidate<'_>) -> bool {
        !self.pinned.is_empty() && self.pinned.contains(key.slot().index())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner) -> bool) -> bool {
        let mut inner = self.inner();
        let changed = change(&mut inner);
        if changed {
            self.apply(&inner);
        }
        changed
    }

    /// Sets the bits of all keys to what the labels say.
    fn apply(&self, inner: &Inner) {
        for (index, slot) in inner.slots.iter().enumerate() {
            if let Some((key, account)) = slot {
                set(&self.off, index, inner.is_off(key, account.as_ref()));
                set(&self.pinned, index, inner.pinned.contains(key));
            }
        }
    }
}

fn set(bits: &SlotBits, index: usize, to: bool) {
    if to {
        bits.insert(index);
    } else {
        bits.remove(index);
    }
}

fn sorted<T: Clone + Ord>(set: &HashSet<T>) -> Vec<T> {
    let mut all: Vec<T> = set.iter().cloned().collect();
    all.sort();
    all
}

impl Gate for Switch {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.off.is_empty() || !self.off.contains(at.key.slot().index()) {
            return Ok(());
        }
        let of_key = self.inner().keys.contains(at.key.id());
        let by = if of_key { Scope::Key } else { Scope::Account };
        Err(Denied::for_good(by))
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        for word in 0..turn.words().len() {
            turn.mask(word, !self.off.word(word));
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.off))
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn detail(&self, _: &At<'_>) -> Detail {
        Detail {
            since: None,
            what: Some("disabled by an operator"),
        }
    }

    fn rekey(&self, keys: &KeySet) {
        self.off.grow(keys.slots());
        self.pinned.grow(keys.slots());
        let mut inner = self.inner();
        let slots: Vec<_> = (0..keys.slots())
            .map(|index| {
                let key = keys.at(index)?;
                Some((key.id().clone(), key.account_id().cloned()))
            })
            .collect();
        // A key that goes keeps its bits until the next time: this set is not published yet, and
        // a disabled key must not be picked from the last one meanwhile.
        for (index, (old, new)) in inner.slots.iter().zip(&slots).enumerate() {
            if old.is_none() && new.is_none() {
                self.off.remove(index);
                self.pinned.remove(index);
            }
        }
        inner.slots = slots;
        self.apply(&inner);
    }
}

/// A gate that a pin overrules: before a key that is pinned it does not stand.
///
/// For gates on keys and accounts: breakers, cooldowns. What the calls of a pinned key meet, the
/// gate hears if it let them through by itself, and not if the pin did.
#[derive(Debug)]
pub struct Pinnable<G> {
    gate: Arc<G>,
    switch: Arc<Switch>,
}

/// What a call gets that passed by its pin alone. No gate of this crate gives out the same.
const BY_PIN: Ticket = Ticket(u64::MAX);

impl<G: Gate> Pinnable<G> {
    /// Lets the pins of `switch` overrule `gate`.
    #[must_use]
    pub fn new(gate: Arc<G>, switch: &Arc<Switch>) -> Self {
        Self {
            gate,
            switch: Arc::clone(switch),
        }
    }

    /// Returns the gate.
    #[must_use]
    pub fn gate(&self) -> &Arc<G> {
        &self.gate
    }
}

#[deny(clippy::missing_trait_methods)]
impl<G: Gate + 'static> Gate for Pinnable<G> {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if self.switch.is_pinned(at.key) {
            Ok(())
        } else {
            self.gate.check(at)
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if self.switch.pinned.is_empty() {
            self.gate.narrow(turn);
        } else {
            turn.retain(|at| self.check(at).is_ok());
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        self.gate.closed()
    }

    #[inline]
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        match self.gate.enter(at) {
            Err(_) if self.switch.is_pinned(at.key) => Ok(BY_PIN),
            entered => entered,
        }
    }

    fn first_content(&self, key: Candidate<'_>, ticket: Ticket, at: Timestamp) {
        if ticket != BY_PIN {
            self.gate.first_content(key, ticket, at);
        }
    }

    #[inline]
    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        if ticket != BY_PIN {
            self.gate.leave(key, ticket, report);
        }
    }

    #[inline]
    fn hears(&self) -> Scopes {
        self.gate.hears()
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        self.gate.detail(at)
    }

    fn rekey(&self, keys: &KeySet) {
        self.gate.rekey(keys);
    }

    fn name(&self) -> &'static str {
        self.gate.name()
    }

    fn guarding<S: fairkey_core::Strategy>(self, strategy: S) -> fairkey_core::Gated<S>
    where
        Self: Sized + 'static,
    {
        fairkey_core::Gated::new(strategy).gate(self)
    }
}
