//! What is held against keys, accounts, models and the service: [`Standings`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairkey_core::{AccountId, Candidate, KeyId, KeySet, Scope, Timestamp};
use fairkey_openrouter::{Cause, Fault};

use super::Proof;

/// What is held against somebody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) scope: Scope,
    pub(crate) cause: Option<Cause>,
    pub(crate) proof: Proof,
    pub(crate) status: Option<u16>,
    /// When it was first held against, by the time of day.
    pub(crate) since: Duration,
    /// When it was last, on the pool's clock.
    pub(crate) last: Timestamp,
}

/// The most models that something is held against.
const MOST_MODELS: usize = 256;

/// Who a note is about. An account without a name is its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Key(KeyId),
    Account(AccountId),
    LoneAccount(KeyId),
    FreeModels(AccountId),
    LoneFreeModels(KeyId),
    Model(Box<str>),
    Service,
    Network,
}

/// Everything that is held against anybody. Bounded by the keys, and 256 models.
#[derive(Debug, Default)]
pub(crate) struct Standings {
    notes: Mutex<HashMap<Subject, Note>>,
    /// How many there are, so that a success finds out cheaply that there are none.
    count: AtomicUsize,
}

/// A copy of all notes.
pub(crate) struct Read(HashMap<Subject, Note>);

fn account(key: &KeyId, account: Option<&AccountId>) -> Subject {
    match account {
        Some(account) => Subject::Account(account.clone()),
        None => Subject::LoneAccount(key.clone()),
    }
}

fn free_models(key: &KeyId, account: Option<&AccountId>) -> Subject {
    match account {
        Some(account) => Subject::FreeModels(account.clone()),
        None => Subject::LoneFreeModels(key.clone()),
    }
}

impl Standings {
    /// Takes note of a fault that is charged in the end.
    pub(crate) fn fault(
        &self,
        key: Candidate<'_>,
        model: Option<&str>,
        fault: &Fault,
        wall: Duration,
        now: Timestamp,
    ) {
        let subject = match fault.scope() {
            Scope::Account if fault.cause().is_free_quota() => {
                free_models(key.id(), key.account_id())
            }
            Scope::Key | Scope::Budget => Subject::Key(key.id().clone()),
            Scope::Account => account(key.id(), key.account_id()),
            Scope::Model => match model {
                Some(model) => Subject::Model(model.chars().take(128).collect()),
                None => return,
            },
            Scope::Service => Subject::Service,
            Scope::Network => Subject::Network,
            _ => return,
        };
        self.put(
            subject,
            Note {
                scope: fault.scope(),
                cause: Some(fault.cause()),
                proof: fault.evidence().into(),
                status: fault.status(),
                since: wall,
                last: now,
            },
        );
    }

    /// Takes note of something about a key that no call was told.
    pub(crate) fn note_key(&self, key: &KeyId, note: Note) {
        self.put(Subject::Key(key.clone()), note);
    }

    /// Takes note of something about the account of a key that no call was told.
    pub(crate) fn note_account(&self, key: &KeyId, of: Option<&AccountId>, note: Note) {
        self.put(account(key, of), note);
    }

    fn put(&self, subject: Subject, note: Note) {
        let mut notes = self.lock();
        let models = |notes: &HashMap<Subject, Note>| {
            let models = notes.keys().filter(|s| matches!(s, Subject::Model(_)));
            models.count()
        };
        let is_new = !notes.contains_key(&subject);
        if is_new && matches!(subject, Subject::Model(_)) && models(&notes) >= MOST_MODELS {
            let oldest = (notes.iter())
                .filter(|(subject, _)| matches!(subject, Subject::Model(_)))
                .min_by_key(|(_, note)| note.last)
                .map(|(subject, _)| subject.clone());
            oldest.map(|subject| notes.remove(&subject));
        }
        let same = notes.get(&subject).filter(|was| was.cause == note.cause);
        // The same again does not begin anew; and what was typed stays so.
        let note = match same {
            None => note,
            Some(was) => Note {
                since: was.since.min(note.since),
                proof: if was.proof == Proof::Typed {
                    was.proof
                } else {
                    note.proof
                },
                status: note.status.or(was.status),
                ..note
            },
        };
        notes.insert(subject, note);
        self.count.store(notes.len(), Ordering::Relaxed);
    }

    /// Forgets what is held against those for whom a success speaks, where its call began after.
    pub(crate) fn succeeded(&self, key: Candidate<'_>, model: Option<&str>, begun: Timestamp) {
        // Relaxed: a note that is just being made is no older than this success.
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let subjects = [
            Some(Subject::Key(key.id().clone())),
            Some(account(key.id(), key.account_id())),
            model.map(|model| Subject::Model(model.chars().take(128).collect())),
            Some(Subject::Service),
            Some(Subject::Network),
        ];
        let mut notes = self.lock();
        for subject in subjects.into_iter().flatten() {
            if notes.get(&subject).is_some_and(|note| note.last < begun) {
                notes.remove(&subject);
            }
        }
        self.count.store(notes.len(), Ordering::Relaxed);
    }

    /// Forgets what is held against a key, or its account, if it is this cause without a typed
    /// proof; returns whether it was.
    pub(crate) fn acquit(&self, key: Candidate<'_>, scope: Scope, cause: Cause) -> bool {
        let subject = match scope {
            Scope::Account => account(key.id(), key.account_id()),
            _ => Subject::Key(key.id().clone()),
        };
        let mut notes = self.lock();
        let untyped = |note: &Note| {
            note.cause == Some(cause) && matches!(note.proof, Proof::Status | Proof::Phrase)
        };
        let is_it = notes.get(&subject).is_some_and(untyped);
        if is_it {
            notes.remove(&subject);
            self.count.store(notes.len(), Ordering::Relaxed);
        }
        is_it
    }

    /// Forgets what is held against a key.
    pub(crate) fn forget_key(&self, key: &KeyId) {
        let mut notes = self.lock();
        notes.remove(&Subject::Key(key.clone()));
        self.count.store(notes.len(), Ordering::Relaxed);
    }

    /// Forgets what is held against the account of a key, its free models included.
    pub(crate) fn forget_account(&self, key: &KeyId, of: Option<&AccountId>) {
        let mut notes = self.lock();
        notes.remove(&account(key, of));
        notes.remove(&free_models(key, of));
        self.count.store(notes.len(), Ordering::Relaxed);
    }

    /// Returns what is held against a key.
    pub(crate) fn of_key(&self, key: &KeyId) -> Option<Note> {
        self.lock().get(&Subject::Key(key.clone())).copied()
    }

    /// Returns a copy of all.
    pub(crate) fn read(&self) -> Read {
        Read(self.lock().clone())
    }

    /// Forgets those who are gone.
    pub(crate) fn retain(&self, keys: &KeySet) {
        let there: std::collections::HashSet<&KeyId> = keys.iter().map(|key| key.id()).collect();
        let accounts: std::collections::HashSet<&AccountId> =
            keys.iter().filter_map(|key| key.account_id()).collect();
        let mut notes = self.lock();
        notes.retain(|subject, _| match subject {
            Subject::Key(key) | Subject::LoneAccount(key) | Subject::LoneFreeModels(key) => {
                there.contains(key)
            }
            Subject::Account(account) | Subject::FreeModels(account) => accounts.contains(account),
            _ => true,
        });
        self.count.store(notes.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// Returns what explains that `scope` bars a key.
    pub(crate) fn find(
        &self,
        key: &KeyId,
        of: Option<&AccountId>,
        scope: Scope,
        model: Option<&str>,
    ) -> Option<&Note> {
        let subject = match scope {
            Scope::Key | Scope::Budget => Subject::Key(key.clone()),
            Scope::Account => account(key, of),
            Scope::Model => Subject::Model(model?.chars().take(128).collect()),
            Scope::Service => Subject::Service,
            Scope::Network => Subject::Network,
            _ => return None,
        };
        self.0.get(&subject)
    }

    /// Returns what is held against an account's free models.
    pub(crate) fn free(&self, key: &KeyId, of: Option<&AccountId>) -> Option<&Note> {
        self.0.get(&free_models(key, of))
    }
}
