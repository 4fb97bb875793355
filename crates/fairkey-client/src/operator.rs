//! What an operator may say: how keys stand, and that one shall be tried again.

use std::io;
use std::sync::Arc;

use fairkey_strategy::Switch;

use crate::Client;
use crate::standing::{self, KeyStanding, Standing};

impl Client {
    /// Says how every key stands: in or out, why, since when, on what evidence, until when, and
    /// what `GET /key` said of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        standing::standing(&self.core(), None)
    }

    /// The same to a call that asks for `model`: what is held against the model bars every key.
    #[must_use]
    pub fn standing_for(&self, model: &str) -> Standing {
        standing::standing(&self.core(), Some(model))
    }

    /// Asks a key about itself by `GET /key`, now and once, and learns from the answer as a
    /// [watch](Self::watch_keys) does. Returns how it stands then; `None` where there is no such
    /// key.
    pub async fn check_key(&self, id: &str) -> Option<KeyStanding> {
        let core = self.core();
        let key = core
            .admission
            .pool
            .with_keys(|keys| Some(keys.find(id)?.id().clone()))?;
        core.inspect(&key).await;
        let keys = standing::standing(&core, None).keys;
        keys.into_iter()
            .find(|standing| standing.key.as_ref() == Some(&key))
    }

    /// Opens a key and its account at once, whatever was held against them: an operator knows
    /// better. Returns whether there is such a key, and the default gates to open.
    pub fn clear(&self, id: &str) -> bool {
        let core = self.core();
        let Some(gates) = &core.gates else {
            return false;
        };
        let cleared = core.admission.pool.with_keys(|keys| {
            let Some(key) = keys.find(id) else {
                return false;
            };
            gates.clear(key);
            core.free_models.clear(key);
            if let Some(ceilings) = &core.ceilings {
                ceilings.clear(key);
            }
            core.keyed.standings.forget_key(key.id());
            core.keyed
                .standings
                .forget_account(key.id(), key.account_id());
            true
        });
        core.knowledge.change();
        core.admission.pump_all();
        cleared
    }

    /// Returns the operator's switch: it disables, enables and pins keys and accounts by label, at
    /// once and over reloads. A pinned key passes the default gates of keys and accounts, and
    /// nothing else. `None` without the default gates, where a
    /// [`Switch`](fairkey_strategy::Switch) of one's own does the same.
    #[must_use]
    pub fn switch(&self) -> Option<Arc<Switch>> {
        let core = self.core();
        core.gates.as_ref().map(|gates| Arc::clone(&gates.switch))
    }

    /// Takes a key out until it is [enabled](Self::enable). Calls under way go on. Returns whether
    /// anything has changed.
    pub fn disable(&self, id: &str) -> bool {
        self.switch().is_some_and(|switch| switch.disable_key(id))
    }

    /// Takes back that a key is [disabled](Self::disable) or [pinned](Self::pin). Returns whether
    /// anything has changed.
    pub fn enable(&self, id: &str) -> bool {
        let changed = self.switch().is_some_and(|switch| {
            let enabled = switch.enable_key(id);
            switch.unpin_key(id) || enabled
        });
        self.wake();
        changed
    }

    /// Keeps a key in whatever is held against it or its account, until it is
    /// [enabled](Self::enable) again. A disabled key stays out. Returns whether anything has
    /// changed.
    pub fn pin(&self, id: &str) -> bool {
        let changed = self.switch().is_some_and(|switch| switch.pin_key(id));
        self.wake();
        changed
    }

    /// Writes the state file now, where there is one.
    ///
    /// # Errors
    ///
    /// Where it cannot be written. The old one is still there.
    pub fn save_state(&self) -> io::Result<()> {
        let core = self.core();
        core.knowledge.take_change();
        core.try_save()
    }
}
