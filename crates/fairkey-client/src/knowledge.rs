//! What is known of each key beside its calls: [`Knowledge`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{AccountId, KeyId, KeySet, Timestamp};
use tokio::sync::Notify;

use crate::key_facts::KeyFacts;
use crate::pace::{Pace, PaceConfig, pace, weights};
use crate::standing::Checked;
use crate::utc::Utc;

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) facts: Option<KeyFacts>,
    pub(crate) checked: Option<Checked>,
    /// How often in a row it was opened on the word of `GET /key`, and not before when again.
    pub(crate) reopened: u32,
    pub(crate) reopen_after: Timestamp,
    /// Its own weight, and the one that pacing has set.
    weight: Option<(u32, u32)>,
    /// The account that it was found to belong to.
    found: Option<AccountId>,
}

/// What is known of each key. Bounded by the keys.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    keys: Mutex<HashMap<KeyId, Known>>,
    /// Keys that were refused since anybody looked, in an order that does not change from run to run.
    alarms: Mutex<BTreeSet<KeyId>>,
    /// Whether somebody watches: without, no alarm is kept.
    is_watched: AtomicBool,
    /// Whether something worth keeping has changed since it was last kept.
    is_changed: AtomicBool,
    pub(crate) bell: Notify,
}

impl Knowledge {
    /// Returns what is known of a key.
    pub(crate) fn of(&self, key: &KeyId) -> Known {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    /// Changes what is known of a key.
    pub(crate) fn with<R>(&self, key: &KeyId, f: impl FnOnce(&mut Known) -> R) -> R {
        f(self.lock().entry(key.clone()).or_default())
    }

    /// Returns the keys that share a layer of money limits.
    pub(crate) fn sharing(&self, layer: &str) -> Vec<KeyId> {
        let shares = |known: &Known| {
            let facts = known.facts.as_ref();
            facts.is_some_and(|facts| facts.shared().any(|l| l.shared.as_deref() == Some(layer)))
        };
        let keys = self.lock();
        let sharing = keys.iter().filter(|(_, known)| shares(known));
        sharing.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets those who are gone, and what was known of keys that were replaced.
    pub(crate) fn retain(&self, keys: &KeySet) {
        let there: HashSet<&KeyId> = keys.iter().map(|key| key.id()).collect();
        let fresh: HashSet<&KeyId> = (keys.fresh().iter())
            .filter_map(|slot| keys.get(*slot))
            .map(|key| key.id())
            .collect();
        self.lock()
            .retain(|key, _| there.contains(key) && !fresh.contains(key));
        self.bell.notify_one();
    }

    /// A call with the key was refused: whoever watches looks at it soon.
    pub(crate) fn alarm(&self, key: &KeyId) {
        self.change();
        if self.is_watched.load(Ordering::Relaxed) {
            lock(&self.alarms).insert(key.clone());
            self.bell.notify_one();
        }
    }

    pub(crate) fn take_alarms(&self) -> BTreeSet<KeyId> {
        std::mem::take(&mut *lock(&self.alarms))
    }

    /// Starts or stops to keep alarms. Returns whether somebody watched before.
    pub(crate) fn watch(&self, yes: bool) -> bool {
        self.is_watched.swap(yes, Ordering::Relaxed)
    }

    /// Notes that something worth keeping has changed.
    pub(crate) fn change(&self) {
        self.is_changed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_change(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Known>> {
        lock(&self.keys)
    }

    /// Returns what is to change about keys so that those of one owner are grouped, and each has
    /// the weight of its pace.
    pub(crate) fn arrange(
        &self,
        keys: &[(KeyId, Option<AccountId>, u32)],
        config: &PaceConfig,
        wall: Duration,
    ) -> HashMap<KeyId, Place> {
        let mut known = self.lock();
        let accounts = accounts(keys, &known);
        let paced: Vec<(u32, Pace)> = keys
            .iter()
            .map(|(key, _, weight)| {
                let known = known.get(key);
                let own = match known.and_then(|known| known.weight) {
                    // Ours; anything else was set by somebody who knows better.
                    Some((own, set)) if set == *weight => own,
                    _ => *weight,
                };
                let purse = known.and_then(|known| known.facts.as_ref()?.purse(wall));
                (own, purse.map_or(Pace::EVEN, |purse| pace(purse, config)))
            })
            .collect();
        let mut places = HashMap::new();
        let weights = weights(&paced);
        for (at, (key, account, weight)) in keys.iter().enumerate() {
            let new = weights[at];
            let entry = known.entry(key.clone()).or_default();
            entry.weight = Some((paced[at].0, new));
            let found = accounts.get(key);
            if account.is_none() {
                entry.found = found.cloned();
            }
            let account = account.as_ref().or(found);
            places.insert(
                key.clone(),
                Place {
                    seen: *weight,
                    weight: new,
                    account: account.cloned(),
                },
            );
        }
        let moved = |(key, account, weight): &(KeyId, Option<AccountId>, u32)| {
            (places.get(key)).is_some_and(|p| p.weight != *weight || p.account != *account)
        };
        if keys.iter().any(moved) {
            places
        } else {
            HashMap::new()
        }
    }

    /// Returns what an operator should know of keys.
    pub(crate) fn warnings(
        &self,
        keys: &[(KeyId, Option<AccountId>)],
        wall: Duration,
        expiry: Duration,
    ) -> Vec<String> {
        let known = self.lock();
        let mut warnings = Vec::new();
        let mut owners: BTreeMap<&str, BTreeSet<&AccountId>> = BTreeMap::new();
        let mut accounts: BTreeMap<&AccountId, BTreeSet<&str>> = BTreeMap::new();
        for (key, account) in keys {
            let Some(facts) = known.get(key).and_then(|known| known.facts.as_ref()) else {
                continue;
            };
            if facts.is_management {
                warnings.push(format!(
                    "key \"{key}\" is a management key, which is refused for inference: take it \
                     out of the keys, or name it as the account's management key"
                ));
            }
            match facts.expires_at {
                Some(at) if at <= wall => {
                    let at = Utc { at, now: wall };
                    warnings.push(format!("key \"{key}\" expired at {at}: replace it"));
                }
                Some(at) if at - wall <= expiry => {
                    let at = Utc { at, now: wall };
                    warnings.push(format!("key \"{key}\" expires at {at}: replace it by then"));
                }
                _ => {}
            }
            let found = known.get(key).and_then(|known| known.found.as_ref());
            let configured = account.as_ref().filter(|account| found != Some(*account));
            if let (Some(owner), Some(account)) = (facts.owner.as_deref(), configured) {
                owners.entry(owner).or_default().insert(account);
                accounts.entry(account).or_default().insert(owner);
            }
        }
        for accounts in owners.values().filter(|accounts| accounts.len() > 1) {
            let names: Vec<String> = accounts.iter().map(|a| format!("\"{a}\"")).collect();
            warnings.push(format!(
                "the accounts {} have one owner: they share balance and limits, and should be one \
                 account in the configuration",
                names.join(" and ")
            ));
        }
        for (account, _) in accounts.iter().filter(|(_, owners)| owners.len() > 1) {
            warnings.push(format!(
                "the keys of account \"{account}\" have different owners: they share no balance, \
                 and should be different accounts in the configuration"
            ));
        }
        warnings
    }
}

/// Where a key belongs, and what its weight is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The weight that it had when this was decided.
    pub(crate) seen: u32,
    pub(crate) weight: u32,
    pub(crate) account: Option<AccountId>,
}

/// Returns the account of each key that has none, by its owner: the one that the configuration
/// names for another key of this owner, else one that is named like the owner, if two keys have it.
fn accounts(
    keys: &[(KeyId, Option<AccountId>, u32)],
    known: &HashMap<KeyId, Known>,
) -> HashMap<KeyId, AccountId> {
    let owner = |key: &KeyId| known.get(key)?.facts.as_ref()?.owner.clone();
    let found = |key: &KeyId| known.get(key).and_then(|known| known.found.clone());
    let (mut named, mut many) = (
        HashMap::<String, AccountId>::new(),
        HashMap::<String, u32>::new(),
    );
    for (key, account, _) in keys {
        let Some(owner) = owner(key) else { continue };
        *many.entry(owner.clone()).or_default() += 1;
        if let Some(account) = account
            && found(key).as_ref() != Some(account)
        {
            named.entry(owner).or_insert_with(|| account.clone());
        }
    }
    let silent = keys
        .iter()
        .filter(|(key, account, _)| account.is_none() || found(key).as_ref() == account.as_ref());
    silent
        .filter_map(|(key, _, _)| {
            let owner = owner(key)?;
            let account = match named.get(&owner) {
                Some(account) => account.clone(),
                None if many[&owner] > 1 => AccountId::from(owner),
                None => return None,
            };
            Some((key.clone(), account))
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_facts::Layer;

    const WALL: Duration = Duration::from_secs(1_800_000_000);

    fn owned(owner: &str) -> KeyFacts {
        KeyFacts {
            owner: Some(owner.to_owned()),
            ..KeyFacts::default()
        }
    }

    fn knowledge(facts: &[(&str, KeyFacts)]) -> Knowledge {
        let knowledge = Knowledge::default();
        for (key, facts) in facts {
            knowledge.with(&KeyId::from(*key), |known| {
                known.facts = Some(facts.clone());
            });
        }
        knowledge
    }

    fn key(id: &str, account: Option<&str>, weight: u32) -> (KeyId, Option<AccountId>, u32) {
        (id.into(), account.map(AccountId::from), weight)
    }

    fn accounts_of(places: &HashMap<KeyId, Place>) -> BTreeMap<&str, Option<&str>> {
        (places.iter())
            .map(|(key, place)| (key.as_str(), place.account.as_ref().map(AccountId::as_str)))
            .collect()
    }

    #[test]
    fn keys_of_one_owner_are_grouped_where_the_configuration_is_silent() {
        let knowledge = knowledge(&[
            ("a", owned("org_1")),
            ("b", owned("org_1")),
            ("c", owned("org_2")),
            ("d", owned("org_3")),
            ("e", owned("org_3")),
        ]);
        let keys = [
            key("a", None, 1),
            key("b", None, 1),
            key("c", None, 1),
            key("d", Some("acme"), 1),
            key("e", None, 1),
        ];
        let places = knowledge.arrange(&keys, &PaceConfig::default(), WALL);
        let expected = [
            ("a", Some("org_1")),
            ("b", Some("org_1")),
            ("c", None),
            ("d", Some("acme")),
            ("e", Some("acme")),
        ];
        assert_eq!(accounts_of(&places), BTreeMap::from(expected));
        // Once it is so, there is nothing to do; and what was found is no contradiction.
        let keys = expected.map(|(id, account)| key(id, account, 1));
        assert!(
            knowledge
                .arrange(&keys, &PaceConfig::default(), WALL)
                .is_empty()
        );
        let keys = keys.map(|(id, account, _)| (id, account));
        assert_eq!(knowledge.warnings(&keys, WALL, Duration::ZERO), [""; 0]);
    }

    #[test]
    fn contradictions_management_keys_and_expiry_are_warned_of() {
        let mut expiring = owned("org_1");
        expiring.expires_at = Some(WALL + Duration::from_secs(60));
        let mut management = owned("org_2");
        management.is_management = true;
        let knowledge = knowledge(&[
            ("a", expiring),
            ("b", owned("org_1")),
            ("c", owned("org_2")),
            ("d", management),
        ]);
        let keys = [("a", "x"), ("b", "y"), ("c", "y"), ("d", "z")]
            .map(|(key, account)| (KeyId::from(key), Some(AccountId::from(account))));
        let warnings = knowledge.warnings(&keys, WALL, Duration::from_secs(3_600));
        let has = |what: &str| warnings.iter().any(|warning| warning.contains(what));
        assert!(has("\"a\" expires"), "{warnings:?}");
        assert!(has("\"d\" is a management key"), "{warnings:?}");
        assert!(has("\"x\" and \"y\" have one owner"), "{warnings:?}");
        assert!(has("account \"y\" have different owners"), "{warnings:?}");
    }

    #[test]
    fn weights_follow_the_pace_and_come_back_to_what_was_configured() {
        let purse = |remaining| KeyFacts {
            layers: vec![Layer {
                limit_usd: Some(100.0),
                remaining_usd: Some(remaining),
                resets_at: Some(WALL + Duration::from_secs(43_200)),
                period: Some(Duration::from_secs(86_400)),
                ..Layer::default()
            }],
            ..KeyFacts::default()
        };
        let knowledge = knowledge(&[("a", purse(1.0)), ("b", purse(51.5))]);
        let config = PaceConfig::default();
        let places = knowledge.arrange(&[key("a", None, 2), key("b", None, 3)], &config, WALL);
        let weight = |places: &HashMap<KeyId, Place>, key| places[&KeyId::from(key)].weight;
        assert_eq!((weight(&places, "a"), weight(&places, "b")), (1, 3_072));
        knowledge.with(&"a".into(), |known| known.facts = Some(purse(51.5)));
        let keys = [key("a", None, 1), key("b", None, 3_072)];
        let places = knowledge.arrange(&keys, &config, WALL);
        assert_eq!((weight(&places, "a"), weight(&places, "b")), (2, 3));
        // Somebody gave the key another weight in the meantime: that is its own now.
        knowledge.with(&"a".into(), |known| known.facts = Some(purse(1.0)));
        let places = knowledge.arrange(&[key("a", None, 7), key("b", None, 3)], &config, WALL);
        assert_eq!(knowledge.of(&"a".into()).weight, Some((7, 1)));
        assert_eq!(weight(&places, "b"), 3_072);
    }
}
