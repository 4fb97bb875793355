//! The quota of free models: [`FreeQuota`].

use fairkey_core::{
    AccountSlot, At, Denied, Gate, KeySet, Scope, Scopes, SlotBits, Slots, Timestamp, Turn,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Closes an account's free models when their quota is used up, and nothing else of the account.
///
/// A refusal for a free quota is charged to the account, and a cooldown of accounts would close
/// it for paid models as well, for up to a day. So this gate is told of such refusals by the
/// client, to which alone their cause is known, and all other gates hear nothing of them.
#[derive(Debug, Default)]
pub(crate) struct FreeQuota {
    /// Until when the free models of each account are closed, in nanoseconds; 0 for open.
    until: Slots<AtomicU64>,
    closed: SlotBits,
}

impl FreeQuota {
    /// Closes the free models of an account until a time; never for less long than before.
    pub(crate) fn close(&self, account: AccountSlot, until: Timestamp) {
        if let Some(closed) = self.until.get(account.index()) {
            // Relaxed: compared with the time, and publishes nothing.
            closed.fetch_max(until.as_nanos(), Ordering::Relaxed);
            self.closed.insert(account.index());
        }
    }

    fn until(&self, index: usize) -> Timestamp {
        let until = self.until.get(index);
        Timestamp::from_nanos(until.map_or(0, |until| until.load(Ordering::Relaxed)))
    }
}

/// Tells whether a model's name says that it is free of charge.
pub(crate) fn is_free(model: &str) -> bool {
    let name = model.split("@preset/").next().unwrap_or(model);
    name.ends_with(":free") || name == "openrouter/free"
}

impl Gate for FreeQuota {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        if !at.ask.model.is_some_and(is_free) {
            return Ok(());
        }
        let until = self.until(at.key.account().index());
        if until > at.now {
            Err(Denied::until(Scope::Account, until))
        } else {
            Ok(())
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        // Nothing to look at for most calls.
        if self.closed.is_empty() || !turn.ask().model.is_some_and(is_free) {
            return;
        }
        let (keys, now) = (turn.keys(), turn.now());
        for index in 0..keys.account_slots() {
            if !self.closed.contains(index) {
                continue;
            }
            if self.until(index) > now {
                for &(word, members) in keys.members(keys.account_at(index)) {
                    turn.mask(word as usize, !members);
                }
            } else {
                self.closed.remove_unless(index, || self.until(index) > now);
            }
        }
    }

    fn hears(&self) -> Scopes {
        Scopes::NONE
    }

    fn rekey(&self, keys: &KeySet) {
        self.until.grow(keys.account_slots(), || AtomicU64::new(0));
        self.closed.grow(keys.account_slots());
        for account in keys.fresh_accounts() {
            if let Some(until) = self.until.get(account.index()) {
                until.store(0, Ordering::Relaxed);
            }
            self.closed.remove(account.index());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use fairkey_core::{Ask, Key, ManualClock, Pool};

    use super::*;

    #[test]
    fn only_free_models_of_the_account_are_closed_and_only_until_the_reset() {
        let (gate, clock) = (Arc::new(FreeQuota::default()), ManualClock::new());
        let pool = Pool::builder()
            .keys([
                Key::new("a1", "1").account("a"),
                Key::new("a2", "2").account("a"),
            ])
            .key(Key::new("b", "3"))
            .shared_gate(Arc::<FreeQuota>::clone(&gate))
            .clock(clock.clone())
            .build()
            .unwrap();
        let account = pool.with_keys(|keys| keys.find("a1").unwrap().account());
        gate.close(account, Timestamp::ZERO + Duration::from_secs(60));
        gate.close(account, Timestamp::ZERO + Duration::from_secs(5));
        let admitted = |model: &str| {
            let explanation = pool.explain(&Ask::new().with_model(model));
            explanation
                .keys
                .iter()
                .filter(|key| key.is_admitted())
                .count()
        };
        assert_eq!(
            (
                admitted("m/a:free"),
                admitted("m/a"),
                admitted("openrouter/free")
            ),
            (1, 3, 1)
        );
        for _ in 0..3 {
            let lease = pool.select(&Ask::new().with_model("m/a:free")).unwrap();
            assert_eq!(lease.key().id().as_str(), "b");
        }
        clock.advance(Duration::from_secs(60));
        assert_eq!(admitted("m/a:free"), 3);
        assert!(!gate.closed.is_empty());
        let _lease = pool.select(&Ask::new().with_model("m/a:free")).unwrap();
        assert!(gate.closed.is_empty(), "no later call has to look");
    }

    #[test]
    fn free_is_what_the_name_says() {
        for free in ["a/b:free", "openrouter/free", "a/b:free@preset/x"] {
            assert!(is_free(free), "{free}");
        }
        for paid in ["a/b", "a/free", "a/b:freedom", "@preset/x:free", ""] {
            assert!(!is_free(paid), "{paid}");
        }
    }
}
