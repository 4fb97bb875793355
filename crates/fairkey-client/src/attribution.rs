//! Who is charged with a fault in the end, and who hears of it beside the gates.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fairkey_core::{Candidate, KeySet, Scope, Timestamp};
use fairkey_openrouter::Fault;

use crate::core::Core;
use crate::correlation::{Correlation, CorrelationConfig, Raised, Sighting, Success, is_watched};

/// Correlation, shared by all calls.
#[derive(Debug, Default)]
pub(crate) struct Attribution {
    correlation: Mutex<Correlation>,
    /// Whether anything is held against anybody: a success has then something to say.
    is_watching: AtomicBool,
    /// How many accounts there are.
    accounts: AtomicUsize,
}

impl Attribution {
    pub(crate) fn new(config: CorrelationConfig) -> Self {
        Self {
            correlation: Mutex::new(Correlation::new(config)),
            ..Self::default()
        }
    }

    /// Takes note of the keys there are.
    pub(crate) fn rekey(&self, keys: &KeySet) {
        let accounts: HashSet<usize> = keys.iter().map(|key| key.account().index()).collect();
        self.accounts.store(accounts.len(), Ordering::Relaxed);
    }

    fn failed(&self, seen: Sighting) -> Option<Raised> {
        let accounts = self.accounts.load(Ordering::Relaxed);
        let mut correlation = self.lock();
        let raised = correlation.failed(seen, accounts);
        self.is_watching
            .store(!correlation.is_empty(), Ordering::Relaxed);
        raised
    }

    fn succeeded(&self, key: Candidate<'_>, model: Option<&str>, begun: Timestamp) {
        // Relaxed: a fault that is noted just now is no older than this success.
        if !self.is_watching.load(Ordering::Relaxed) {
            return;
        }
        let mut correlation = self.lock();
        correlation.succeeded(Success {
            begun,
            account: key.account().index() as u32,
            model: model.map(hash),
        });
        self.is_watching
            .store(!correlation.is_empty(), Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Correlation> {
        self.correlation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(model: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    model.hash(&mut hasher);
    hasher.finish()
}

impl Core {
    /// Returns the fault as it is to be charged: one without a typed scope that was seen with
    /// other keys or accounts alike is theirs together. What it closed before is opened.
    pub(crate) fn judge(&self, key: Candidate<'_>, model: Option<&str>, fault: Fault) -> Fault {
        if !is_watched(&fault) {
            return fault;
        }
        let raised = self.keyed.attribution.failed(Sighting {
            at: self.admission.pool.now(),
            key: key.slot().index() as u32,
            account: key.account().index() as u32,
            model: model.map(hash),
            cause: fault.cause(),
            worked: self.keyed.records.has_worked(key),
        });
        let Some(raised) = raised else {
            return fault;
        };
        self.acquit(&fault, &raised);
        #[cfg(feature = "tracing")]
        tracing::warn!(
            key = %key.id(),
            cause = fault.cause().as_str(),
            scope = raised.scope.as_str(),
            "keys fail alike: it is none of them"
        );
        fault.raised_to(raised.scope)
    }

    /// Opens what was closed for faults that turn out to be something else's.
    fn acquit(&self, fault: &Fault, raised: &Raised) {
        let Some(gates) = &self.gates else { return };
        self.admission.pool.with_keys(|keys| {
            for key in keys.iter() {
                let (slot, account) = (key.slot().index() as u32, key.account().index() as u32);
                let standings = &self.keyed.standings;
                if raised.keys.contains(&slot) && standings.acquit(key, Scope::Key, fault.cause()) {
                    gates.key.clear(key);
                }
                let account = raised.accounts.contains(&account);
                if account && standings.acquit(key, Scope::Account, fault.cause()) {
                    gates.account.clear(key);
                    if let Some(ceilings) = &self.ceilings {
                        ceilings.acquit(key);
                    }
                }
            }
        });
    }

    /// Takes note of a success: it speaks for its key, its account, its model and the service.
    pub(crate) fn note_success(&self, key: Candidate<'_>, model: Option<&str>, begun: Timestamp) {
        self.keyed.attribution.succeeded(key, model, begun);
        self.keyed.standings.succeeded(key, model, begun);
    }
}
