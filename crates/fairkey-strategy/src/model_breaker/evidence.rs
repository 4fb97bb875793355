//! What is known of models, for whoever routes, explains or knows better: [`ModelStatus`].

use fairkey_core::{FaultKind, Scope, Timestamp};

use super::ModelBreaker;
use super::table::Entry;
use crate::Status;
use crate::recovery::Phase;

/// One model, or one provider at a model, of which a [`ModelBreaker`] knows something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelStatus {
    /// The model.
    pub model: String,
    /// The provider at the model; `None` for the model itself.
    pub provider: Option<String>,
    /// How it is.
    pub status: Status,
}

/// What is known, and evidence from elsewhere than calls.
impl ModelBreaker {
    /// Returns the providers at `model` that no request should be routed to now: what to leave out
    /// by `provider.ignore`. Those that are worth a probe are not among them.
    #[must_use]
    pub fn closed_providers(&self, model: &str, now: Timestamp) -> Vec<String> {
        if self.special.is_empty() {
            return Vec::new();
        }
        let is_out = |entry: &&Entry| {
            &*entry.model == model && entry.recovery.admit(Scope::Provider, now).is_err()
        };
        let table = self.table();
        let closed = table.iter().filter(is_out);
        closed
            .filter_map(|entry| entry.provider.as_deref().map(str::to_owned))
            .collect()
    }

    /// Returns how a model is, or a provider at it.
    #[must_use]
    pub fn status(&self, model: &str, provider: Option<&str>, now: Timestamp) -> Status {
        let table = self.table();
        self.find(&table, model, provider)
            .map_or(Status::WELL, |index| table[index].status(now))
    }

    /// Returns everything that is not well.
    #[must_use]
    pub fn list(&self, now: Timestamp) -> Vec<ModelStatus> {
        let table = self.table();
        let ill = table.iter().filter(|entry| !entry.recovery.is_well());
        ill.map(|entry| ModelStatus {
            model: entry.model.to_string(),
            provider: entry.provider.as_deref().map(str::to_owned),
            status: entry.status(now),
        })
        .collect()
    }

    /// Takes note that a model, or a provider at it, works, as somebody found out who asked at
    /// `asked` or later: if it is closed, its time is over, and the next call is the probe.
    /// Returns `false`, and changes nothing, where it was closed after that.
    pub fn confirm(&self, model: &str, provider: Option<&str>, asked: Timestamp) -> bool {
        let mut table = self.table();
        let Some(index) = self.find(&table, model, provider) else {
            return true;
        };
        let entry = &mut table[index];
        if let Phase::Out { .. } = entry.recovery.phase() {
            if asked < entry.told {
                return false;
            }
            entry.recovery.set_until(Timestamp::ZERO);
        }
        true
    }

    /// Closes a model, or a provider at it, from `now` until a time, whatever has been heard of
    /// it: for operators, and for snapshots that are restored.
    pub fn close_until(
        &self,
        model: &str,
        provider: Option<&str>,
        until: Timestamp,
        kind: FaultKind,
        now: Timestamp,
    ) {
        let mut table = self.table();
        if let Some((index, _)) = self.intern(&mut table, model, provider, None, now) {
            self.close(&mut table, index, until, kind, now);
        }
    }

    /// Opens a model, or a provider at it, at once and without a probe: an operator knows better.
    pub fn clear(&self, model: &str, provider: Option<&str>) {
        let mut table = self.table();
        if let Some(index) = self.find(&table, model, provider) {
            table[index].recovery.make_well();
            self.settle_well(&mut table, index);
        }
    }
}
