//! What a client has done so far: [`ClientStats`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{Cost, KeyId, KeySet, Scope, Timestamp};
use fairkey_openrouter::{Cause, Fault, UnknownWord};

use crate::answer::AttemptFault;
use crate::estimate::ModelEstimate;

/// What a client has done so far: counts since it was built, and a few of the moment.
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Second attempts beside a first one whose content was late.
    pub hedges: u64,
    /// Of those, how many had the answer.
    pub hedges_won: u64,
    /// Faults by who was charged and why, in the order of the scopes.
    pub faults: Vec<FaultCount>,
    /// Words in typed places of errors that this version does not know, in the order of fields and
    /// words: at most 64 different ones, then one entry whose field and word are `(other)`, for all
    /// others.
    pub unknown: Vec<UnknownCount>,
    /// Times that a call waited for a key.
    pub waits: u64,
    /// How long calls have waited for keys, in all.
    pub waited: Duration,
    /// What answers said they used, in all.
    pub used: Cost,
    /// What was learned of each model, and how near estimates were, by name: of at most 512 models.
    pub estimates: Vec<ModelEstimate>,
    /// Attempts for which money was estimated as 0, since the catalogue has no price or was never
    /// asked for.
    pub unpriced: u64,
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

/// How often a word came that this version does not know: see [`Fault::unknown_words`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownCount {
    /// The field that it stood in.
    pub field: &'static str,
    /// The word.
    pub word: String,
    /// How often.
    pub count: u64,
}

/// How many different unknown words are counted one by one.
const UNKNOWN_WORDS: usize = 64;

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
    pub(crate) hedges: Count,
    pub(crate) hedges_won: Count,
    waits: Count,
    waited_nanos: Count,
    requests: Count,
    tokens: Count,
    micro_usd: Count,
    rare: Mutex<Rare>,
}

/// What only failures touch. Bounded: by the causes there are, by the keys there are, and by
/// [`UNKNOWN_WORDS`].
#[derive(Debug, Default)]
struct Rare {
    faults: BTreeMap<(Scope, Cause), u64>,
    unknown: BTreeMap<UnknownWord, u64>,
    /// Unknown words for which there was no room.
    other_unknown: u64,
    refusals: HashMap<KeyId, (AttemptFault, Timestamp)>,
}

/// A count. Relaxed everywhere: it publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn up(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Rare {
    fn count_unknown(&mut self, word: &UnknownWord) {
        if let Some(count) = self.unknown.get_mut(word) {
            *count += 1;
        } else if self.unknown.len() < UNKNOWN_WORDS {
            self.unknown.insert(word.clone(), 1);
        } else {
            self.other_unknown += 1;
        }
    }

    fn unknown_counts(&self) -> Vec<UnknownCount> {
        let each = self.unknown.iter().map(|(word, &count)| UnknownCount {
            field: word.field,
            word: word.word.clone(),
            count,
        });
        let other = (self.other_unknown > 0).then(|| UnknownCount {
            field: "(other)",
            word: "(other)".to_owned(),
            count: self.other_unknown,
        });
        each.chain(other).collect()
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
        for word in fault.unknown_words() {
            rare.count_unknown(word);
        }
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
        self.rare()
            .refusals
            .retain(|id, _| keys.find(id.as_str()).is_some());
    }

    pub(crate) fn read(&self, waiting: usize, in_flight: u64) -> ClientStats {
        let count = |(&(scope, cause), &count): (&(Scope, Cause), &u64)| FaultCount {
            scope,
            cause,
            count,
        };
        let rare = self.rare();
        ClientStats {
            calls: self.calls.read(),
            answered: self.answered.read(),
            attempts: self.attempts.read(),
            failovers: self.failovers.read(),
            fallbacks: self.fallbacks.read(),
            retries: self.retries.read(),
            budget_denied: self.budget_denied.read(),
            hedges: self.hedges.read(),
            hedges_won: self.hedges_won.read(),
            faults: rare.faults.iter().map(count).collect(),
            unknown: rare.unknown_counts(),
            waits: self.waits.read(),
            waited: Duration::from_nanos(self.waited_nanos.read()),
            used: Cost {
                requests: u32::try_from(self.requests.read()).unwrap_or(u32::MAX),
                tokens: self.tokens.read(),
                micro_usd: self.micro_usd.read(),
            },
            estimates: Vec::new(),
            unpriced: 0,
            waiting,
            in_flight,
        }
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn fault(limit_source: &str) -> Fault {
        let body = format!(
            r#"{{"error":{{"code":429,"message":"m","metadata":{{"limit_source":"{limit_source}"}}}}}}"#
        );
        let status = StatusCode::TOO_MANY_REQUESTS;
        Fault::from_response(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn unknown_words_are_counted_and_only_so_many_of_them() {
        let counters = Counters::default();
        let key = KeyId::from("k");
        let count = |word: &str| counters.fault(&key, &fault(word), Timestamp::ZERO);
        count("word_00");
        for n in 0..70 {
            count(&format!("word_{n:02}"));
        }
        let unknown = counters.read(0, 0).unknown;
        assert_eq!(unknown.len(), UNKNOWN_WORDS + 1);
        let first = (unknown[0].field, &*unknown[0].word, unknown[0].count);
        assert_eq!(first, ("limit_source", "word_00", 2));
        let last = unknown.last().unwrap();
        assert_eq!(
            (last.field, &*last.word, last.count),
            ("(other)", "(other)", 6)
        );
        assert_eq!(unknown.iter().map(|word| word.count).sum::<u64>(), 71);
        // One that has a place is counted there, however many others there are.
        count("word_01");
        assert_eq!(counters.read(0, 0).unknown[1].count, 2);
    }
}
