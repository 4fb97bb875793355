//! The state of a client on disk: [`StateFile`].

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairkey_core::{Candidate, KeySet, Scope, Timestamp};

use crate::core::Core;
use crate::gates::{close, on_clock};
use crate::snapshot::{
    AccountMemory, KeyMemory, LearnedMemory, MOST_BYTES, OutMemory, Snapshot, fingerprint,
};
use crate::standing::Note;

/// Where the state of a client is kept between two runs.
///
/// The file is replaced as a whole: a new one is written beside it, flushed to the disk, and
/// renamed. Whoever is killed in between leaves the old one or the new one. A lock on a file beside
/// it, with `.lock` behind the name, keeps a second process from writing; the lock goes with the
/// process that holds it.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    /// Held as long as this lives. `None`: somebody else has it, or it is only read; nothing is
    /// written.
    lock: Option<File>,
}

impl StateFile {
    /// Opens a file, which need not exist, and reads it at `now`; only that, where it is not to
    /// be written. What is wrong with it is said, and nothing fails.
    pub(crate) fn open(
        path: &Path,
        now: Duration,
        reads_only: bool,
    ) -> (Self, Snapshot, Vec<String>) {
        let mut warnings = Vec::new();
        let name = path.display();
        let locked = if reads_only { Ok(None) } else { lock(path) };
        let lock = match locked {
            Ok(None) if reads_only => None,
            Ok(Some(lock)) => Some(lock),
            Ok(None) => {
                warnings.push(format!(
                    "the state file {name} is in use by another process: this one reads it, keeps \
                     its own state, and will not write it; give each process a file of its own"
                ));
                None
            }
            Err(error) => {
                warnings.push(format!(
                    "the state file {name} cannot be locked ({error}): nothing is kept; is its \
                     folder there, and may it be written?"
                ));
                None
            }
        };
        let (snapshot, said) = match read(path) {
            Ok(Some(bytes)) => Snapshot::parse(&bytes, now),
            Ok(None) => (Snapshot::new(now), Vec::new()),
            Err(error) => (
                Snapshot::new(now),
                vec![format!("it cannot be read: {error}")],
            ),
        };
        warnings.extend(
            said.into_iter()
                .map(|what| format!("the state file {name}: {what}")),
        );
        let path = path.to_owned();
        (Self { path, lock }, snapshot, warnings)
    }

    /// Replaces the file.
    pub(crate) fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let new = beside(&self.path, ".new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            // Labels and owners are nobody else's business.
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(&new)?;
        file.write_all(&snapshot.to_json())?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&new, &self.path)?;
        #[cfg(unix)]
        {
            // The rename, too, is to survive a loss of power.
            let folder = self
                .path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    // Not the file itself: it is replaced by another one.
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(beside(path, ".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Looked at before it is opened: to open a pipe waits for whoever writes into it.
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl Core {
    /// Takes what is sound of an earlier run.
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        let pool = &self.admission.pool;
        let (now, wall) = (pool.now(), self.wall.since_epoch());
        self.estimates.restore(&snapshot.models, wall.as_secs());
        let print = |id: &str| Some(fingerprint(pool.expose_key(id)?.expose()));
        pool.with_keys(|keys| {
            for memory in &snapshot.keys {
                let Some(key) = keys.find(&memory.id) else {
                    continue;
                };
                if print(&memory.id) != Some(memory.fingerprint) {
                    continue;
                }
                self.knowledge
                    .with(key.id(), |known| known.facts.clone_from(&memory.facts));
                if let (Some(out), Some(gates)) = (&memory.out, &self.gates) {
                    let note = note(out, out.scope(Scope::Key), now);
                    self.keyed.standings.note_key(key.id(), note);
                    gates.close_key(key, now, out.until.map(|at| on_clock(at, wall, now)));
                }
            }
            for memory in &snapshot.accounts {
                let Some(key) = member(keys, memory, print) else {
                    continue;
                };
                let until = |out: &OutMemory| out.until.map(|at| on_clock(at, wall, now));
                if let (Some(out), Some(gates)) = (&memory.out, &self.gates) {
                    let note = note(out, Scope::Account, now);
                    self.keyed
                        .standings
                        .note_account(key.id(), key.account_id(), note);
                    gates.close_account(key, now, until(out));
                }
                for learned in &memory.learned {
                    if let (Some(ceilings), Some(learned)) = (&self.ceilings, learned.learned(wall))
                    {
                        ceilings.restore(key, &learned, now);
                    }
                }
                if let Some(until) = memory.free.as_ref().and_then(until) {
                    close(&self.free_models, key, now, Some(until));
                }
            }
        });
    }

    /// Returns what is to be kept for the next run.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let pool = &self.admission.pool;
        let (now, wall) = (pool.now(), self.wall.since_epoch());
        let notes = self.keyed.standings.read();
        let mut snapshot = Snapshot::new(wall);
        snapshot.models = self.estimates.memories();
        pool.with_keys(|keys| {
            let mut accounts = std::collections::HashSet::new();
            for key in keys.iter() {
                let id = key.id().as_str();
                let Some(secret) = pool.expose_key(id) else {
                    continue;
                };
                let print = fingerprint(secret.expose());
                let gates = self.gates.as_ref();
                let keep = |until: Timestamp, note: Option<&Note>| {
                    let note = note?;
                    let ends = (until != Timestamp::MAX).then(|| wall + until.since(now));
                    Some(OutMemory {
                        until: ends,
                        since: note.since,
                        cause: note.cause?.as_str().to_owned(),
                        proof: note.proof.as_str().to_owned(),
                        status: note.status,
                        is_budget: note.scope == Scope::Budget,
                    })
                };
                let out = gates.and_then(|gates| gates.key_until(key, now));
                let note = notes.find(key.id(), None, Scope::Key, None);
                snapshot.keys.push(KeyMemory {
                    id: id.to_owned(),
                    fingerprint: print,
                    out: out.and_then(|until| keep(until, note)),
                    facts: self.knowledge.of(key.id()).facts,
                });
                if !accounts.insert(key.account()) {
                    continue;
                }
                let out = gates.and_then(|gates| gates.account_until(key, now));
                let note = notes.find(key.id(), key.account_id(), Scope::Account, None);
                let free = self.free_models.until(key);
                let free_note = notes.free(key.id(), key.account_id());
                let learned = self.ceilings.as_ref();
                let learned = learned.map(|ceilings| ceilings.learned(key, now));
                let memory = AccountMemory {
                    id: key
                        .account_id()
                        .map_or(id, |account| account.as_str())
                        .to_owned(),
                    lone_fingerprint: key.account_id().is_none().then_some(print),
                    out: out.and_then(|until| keep(until, note)),
                    free: (free.filter(|until| *until > now))
                        .and_then(|until| keep(until, free_note)),
                    learned: (learned.into_iter().flatten())
                        .map(|learned| LearnedMemory::of(learned, wall))
                        .collect(),
                };
                if memory.out.is_some() || memory.free.is_some() || !memory.learned.is_empty() {
                    snapshot.accounts.push(memory);
                }
            }
        });
        snapshot
    }

    /// Writes the state file, if there is one. What goes wrong is logged.
    pub(crate) fn save(&self) {
        if let Err(error) = self.try_save() {
            // For the next time.
            self.knowledge.change();
            #[cfg(feature = "tracing")]
            tracing::warn!(%error, "the state file could not be written");
            #[cfg(not(feature = "tracing"))]
            let _ = error;
        }
    }

    pub(crate) fn try_save(&self) -> io::Result<()> {
        match &self.state_file {
            Some(file) => file.write(&self.snapshot()),
            None => Ok(()),
        }
    }

    pub(crate) fn save_if_changed(&self) {
        if self.state_file.is_some() && self.knowledge.take_change() {
            self.save();
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.save_if_changed();
    }
}

fn note(out: &OutMemory, scope: Scope, now: Timestamp) -> Note {
    Note {
        scope,
        cause: out.cause(),
        proof: out.proof().unwrap_or(crate::standing::Proof::Observed),
        status: out.status,
        since: out.since,
        last: now,
    }
}

/// Returns a key of the account that is remembered.
fn member<'a>(
    keys: &'a KeySet,
    memory: &AccountMemory,
    print: impl Fn(&str) -> Option<u32>,
) -> Option<Candidate<'a>> {
    match memory.lone_fingerprint {
        None => keys
            .iter()
            .find(|key| key.account_id().is_some_and(|id| id.as_str() == memory.id)),
        Some(_) => keys
            .find(&memory.id)
            .filter(|key| key.account_id().is_none())
            .filter(|_| print(&memory.id) == memory.lone_fingerprint),
    }
}
