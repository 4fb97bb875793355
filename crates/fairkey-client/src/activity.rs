//! What keys and accounts have done lately, read as one: [`Activity`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairkey_core::{AccountId, Candidate, KeyId, KeySet, Observer, Pool, Report, Slots};

use crate::windows::{Degraded, Span, Sum, WindowStats, Windows, degraded};

/// What keys and accounts have done within the last minute and the last 15 minutes.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Activity {
    /// Each key, in the order of the pool.
    pub keys: Vec<KeyActivity>,
    /// Each account that has a name, by name.
    pub accounts: Vec<AccountActivity>,
}

/// What a key has done lately.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KeyActivity {
    /// The key.
    pub key: KeyId,
    /// The account that owns it, where one was named.
    pub account: Option<AccountId>,
    /// Within the last minute, to a sixth of it.
    pub minute: WindowStats,
    /// Within the last 15 minutes, to a minute.
    pub quarter: WindowStats,
    /// How it does worse within the 15 minutes than the other keys of its account, or than all
    /// other keys where it is alone; `None` where it does not.
    ///
    /// *Failing*: of at least 20 attempts on either side, at least 5 and at least 10 % failed, and
    /// three times the part of the others. *Slow*: of at least 20 on either side, half took twice
    /// as long to the first content, and 250 ms longer.
    pub degraded: Option<Degraded>,
}

/// What the keys of an account have done lately, together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AccountActivity {
    /// The account.
    pub account: AccountId,
    /// Within the last minute, to a sixth of it.
    pub minute: WindowStats,
    /// Within the last 15 minutes, to a minute.
    pub quarter: WindowStats,
}

/// The windows of a key, and whose they are.
type Record = Box<(KeyId, Windows)>;

/// The windows of every key. About 2 kB for each key that was ever used.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// By slot. With the label, since a slot may have had another owner.
    keys: Slots<Mutex<Option<Record>>>,
}

impl Records {
    /// Makes room for the keys there are.
    pub(crate) fn rekey(&self, keys: &KeySet) {
        self.keys.grow(keys.slots(), Mutex::default);
        // Of who is gone nothing is kept.
        self.keys.for_each(|index, record| {
            let mut record = lock(record);
            let owner = keys.at(index);
            if record
                .as_ref()
                .is_some_and(|was| owner.is_none_or(|key| *key.id() != was.0))
            {
                *record = None;
            }
        });
    }

    /// Tells whether the key has ever had success.
    pub(crate) fn has_worked(&self, key: Candidate<'_>) -> bool {
        let record = self.keys.get(key.slot().index());
        record.is_some_and(|record| {
            let record = lock(record);
            (record.as_ref()).is_some_and(|was| was.0 == *key.id() && was.1.worked)
        })
    }

    /// Notes that a key is known to work: it has answered a question about itself.
    pub(crate) fn note_worked(&self, key: Candidate<'_>) {
        self.with(key, |windows| windows.worked = true);
    }

    fn with(&self, key: Candidate<'_>, f: impl FnOnce(&mut Windows)) {
        let Some(record) = self.keys.get(key.slot().index()) else {
            return;
        };
        let mut record = lock(record);
        match &mut *record {
            Some(was) if was.0 == *key.id() => f(&mut was.1),
            other => {
                let mut windows = Windows::default();
                f(&mut windows);
                *other = Some(Box::new((key.id().clone(), windows)));
            }
        }
    }

    pub(crate) fn read(&self, pool: &Pool) -> Activity {
        let now = pool.now();
        type Sums = [Sum; 2];
        let add = |sums: &mut Sums, more: &Sums| {
            for (sum, more) in sums.iter_mut().zip(more) {
                sum.merge(more);
            }
        };
        let (mut all, mut of_accounts) = (Sums::default(), BTreeMap::<AccountId, Sums>::new());
        let mut keys: Vec<(KeyId, Option<AccountId>, Sums)> = Vec::new();
        pool.with_keys(|set| {
            for key in set.iter() {
                let mut sums = Sums::default();
                if let Some(record) = self.keys.get(key.slot().index())
                    && let Some(was) = &*lock(record)
                    && was.0 == *key.id()
                {
                    sums = [Span::Minute, Span::Quarter].map(|span| was.1.sum(span, now));
                }
                add(&mut all, &sums);
                if let Some(account) = key.account_id() {
                    add(of_accounts.entry(account.clone()).or_default(), &sums);
                }
                keys.push((key.id().clone(), key.account_id().cloned(), sums));
            }
        });
        let mut members: BTreeMap<AccountId, usize> = BTreeMap::new();
        for account in keys.iter().filter_map(|(_, account, _)| account.clone()) {
            *members.entry(account).or_default() += 1;
        }
        let key = |(key, account, [minute, quarter]): (KeyId, Option<AccountId>, Sums)| {
            let group = (account.as_ref())
                .filter(|account| members.get(*account).is_some_and(|keys| *keys > 1))
                .and_then(|account| of_accounts.get(account))
                .unwrap_or(&all);
            let siblings = group[1].without(&quarter).stats();
            let quarter = quarter.stats();
            KeyActivity {
                key,
                account,
                minute: minute.stats(),
                degraded: degraded(&quarter, &siblings),
                quarter,
            }
        };
        let keys = keys.into_iter().map(key).collect();
        let account = |(account, [minute, quarter]): (&AccountId, &Sums)| AccountActivity {
            account: account.clone(),
            minute: minute.stats(),
            quarter: quarter.stats(),
        };
        let accounts = of_accounts.iter().map(account).collect();
        Activity { keys, accounts }
    }
}

impl Observer for Records {
    fn settled(&self, key: Candidate<'_>, report: &Report) {
        self.with(key, |windows| windows.record(report));
    }

    fn reloaded(&self, keys: &KeySet) {
        self.rekey(keys);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use fairkey_core::{Ask, FaultKind, Key, ManualClock, Outcome, Scope};

    use super::*;

    fn pool(clock: &ManualClock, records: &Arc<Records>) -> Pool {
        let pool = Pool::builder()
            .keys(["a1", "a2"].map(|id| Key::new(id, id).account("a")))
            .key(Key::new("b", "b"))
            .clock(clock.clone())
            .seed(7)
            .observer(Arc::<Records>::clone(records))
            .build()
            .unwrap();
        pool.with_keys(|keys| records.rekey(keys));
        pool
    }

    fn call(pool: &Pool, clock: &ManualClock, wait: impl Fn(&str) -> (u64, Outcome)) {
        let mut lease = pool.select(&Ask::new()).unwrap();
        let (ms, outcome) = wait(lease.key().id().as_str());
        clock.advance(Duration::from_millis(ms));
        lease.note_first_content();
        lease.finish(outcome);
    }

    #[test]
    fn a_slow_key_and_a_failing_key_are_flagged_and_their_siblings_are_not() {
        let (clock, records) = (ManualClock::new(), Arc::new(Records::default()));
        let pool = pool(&clock, &records);
        for n in 0..300 {
            call(&pool, &clock, |key| match key {
                "a1" => (900, Outcome::Success),
                "b" if n % 3 == 0 => (100, Outcome::fault(Scope::Provider, FaultKind::Failed)),
                _ => (100, Outcome::Success),
            });
        }
        let activity = records.read(&pool);
        let flags: Vec<_> = (activity.keys.iter())
            .map(|key| (key.key.as_str(), key.degraded))
            .collect();
        assert!(
            matches!(flags[0], ("a1", Some(Degraded::Slow { .. }))),
            "{flags:?}"
        );
        assert!(matches!(flags[1], ("a2", None)), "{flags:?}");
        assert!(
            matches!(flags[2], ("b", Some(Degraded::Failing { .. }))),
            "{flags:?}"
        );
        let of_a: u64 = activity.keys[..2].iter().map(|key| key.quarter.calls).sum();
        assert_eq!(activity.accounts[0].quarter.calls, of_a);
        assert_eq!(activity.accounts.len(), 1);
    }

    #[test]
    fn a_new_key_in_an_old_slot_starts_with_nothing() {
        let (clock, records) = (ManualClock::new(), Arc::new(Records::default()));
        let pool = pool(&clock, &records);
        for _ in 0..9 {
            call(&pool, &clock, |_| (1, Outcome::Success));
        }
        pool.with_keys(|keys| assert!(records.has_worked(keys.find("b").unwrap())));
        let keep = ["a1", "a2"].map(|id| Key::new(id, id).account("a"));
        pool.reload(keep.clone()).unwrap();
        pool.reload(keep.into_iter().chain([Key::new("c", "c")]))
            .unwrap();
        pool.with_keys(|keys| assert!(!records.has_worked(keys.find("c").unwrap())));
        let activity = records.read(&pool);
        let calls = |at: usize| activity.keys[at].quarter.calls;
        assert!(calls(0) + calls(1) > 0);
        assert_eq!(calls(2), 0);
    }
}
