//! What a client has done so far: [`ClientStats`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{Cost, KeyId, KeySet, Scope, Timestamp};
use fairkey_openrouter::{Cause, Fault};

use crate::answer::AttemptFault;

/// What a client has done so far: counts since it was built, and a few of the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Calls begun.
    pub calls: u64,
    /// Calls that got an answer; a stream counts when its first content came.
    pub answered: u64,
    /// Attempts made: requests sent, or about to be.
    pub attempts: u64,
    /// Attempts that followed the refusal of a key or an account.
    pub failovers: u64,
    /// Attempts that followed a fault by going to another model.
    pub fallbacks: u64,
    /// Attempts that followed another fault, after a wait.
    pub retries: u64,
    /// Retries that the fleet's budget did not allow.
    pub budget_denied: u64,
    /// Faults by who was charged and why, in the order of the scopes.
    pub faults: Vec<FaultCount>,
    /// Times that a call waited for a key.
    pub waits: u64,
    /// How long calls have waited for keys, in all.
    pub waited: Duration,
    /// What answers said they used, in all.
    pub used: Cost,
    /// Calls that wait for a key now.
    pub waiting: usize,
    /// Live leases now.
    pub in_flight: u64,
}

/// How often one cause was charged to one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultCount {
    /// Who was charged.
    pub scope: Scope,
    /// Why.
    pub cause: Cause,
    /// How often.
    pub count: u64,
}

/// The counts themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: Count,
    pub(crate) answered: Count,
    pub(crate) attempts: Count,
    pub(crate) failovers: Count,
    pub(crate) fallbacks: Count,
    pub(crate) retries: Count,
    pub(crate) budget_denied: Count,
    waits: Count,
    waited_nanos: Count,
    requests: Count,
    tokens: Count,
    micro_usd: Count,
    rare: Mutex<Rare>,
}

/// What only failures touch. Bounded: by the causes there are, and by the keys there are.
#[derive(Debug, Default)]
struct Rare {
    faults: BTreeMap<(Scope, Cause), u64>,
    refusals: HashMap<KeyId, (AttemptFault, Timestamp)>,
}

/// A count. Relaxed everywhere: it publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn up(&self) {
        self.add(1);
    }

    fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn waited(&self, wait: Duration) {
        self.waits.up();
        self.waited_nanos
            .add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn used(&self, cost: Cost) {
        self.requests.add(u64::from(cost.requests));
        self.tokens.add(cost.tokens);
        self.micro_usd.add(cost.micro_usd);
    }

    /// Counts a fault, and keeps it as the key's last refusal where it is one.
    pub(crate) fn fault(&self, key: &KeyId, fault: &Fault, now: Timestamp) {
        let mut rare = self.rare();
        *rare
            .faults
            .entry((fault.scope(), fault.cause()))
            .or_default() += 1;
        if matches!(fault.scope(), Scope::Key | Scope::Budget | Scope::Account) {
            rare.refusals.insert(key.clone(), (fault.into(), now));
        }
    }

    /// Returns the last refusal that was charged to a key, its budget or its account, and when
    /// it came.
    pub(crate) fn refusal(&self, key: &KeyId) -> Option<(AttemptFault, Timestamp)> {
        self.rare().refusals.get(key).copied()
    }

    /// Forgets the refusals of keys that are gone.
    pub(crate) fn retain(&self, keys: &KeySet) {
        // Not looked up one by one: a set finds a label by looking at every key.
        let there: HashSet<&KeyId> = keys.iter().map(|key| key.id()).collect();
        self.rare().refusals.retain(|id, _| there.contains(id));
    }

    pub(crate) fn read(&self, waiting: usize, in_flight: u64) -> ClientStats {
        let count = |(&(scope, cause), &count): (&(Scope, Cause), &u64)| FaultCount {
            scope,
            cause,
            count,
        };
        ClientStats {
            calls: self.calls.read(),
            answered: self.answered.read(),
            attempts: self.attempts.read(),
            failovers: self.failovers.read(),
            fallbacks: self.fallbacks.read(),
            retries: self.retries.read(),
            budget_denied: self.budget_denied.read(),
            faults: self.rare().faults.iter().map(count).collect(),
            waits: self.waits.read(),
            waited: Duration::from_nanos(self.waited_nanos.read()),
            used: Cost {
                requests: u32::try_from(self.requests.read()).unwrap_or(u32::MAX),
                tokens: self.tokens.read(),
                micro_usd: self.micro_usd.read(),
            },
            waiting,
            in_flight,
        }
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
