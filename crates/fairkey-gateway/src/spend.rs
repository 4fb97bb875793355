//! What was spent, by tenant, key and model, over restarts: [`SpendStore`].
//!
//! | module | has |
//! | --- | --- |
//! | `book` | sums in memory, by hour, day and month; bounded |
//! | `line` | one sum as a line of text with a checksum |
//! | `file` | the lines on disk: appended, replaced when there are too many |
//!
//! Calls that end are noted in memory, and written a few times a second by a thread of the store's
//! own. Whoever kills the process loses what was noted since, a quarter of a second by default;
//! whatever byte the file ends at, the lines before it count, and the rest is cut off.
//!
//! An embedded database would bring transactions, which nothing here needs, and its build: what is
//! needed is a sum that survives. Lines of text can be read with what every system has.

mod book;
mod file;
mod line;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fairkey_core::WallClock;

use self::book::Book;
pub use self::book::SpendRow;
use self::file::SpendFile;
use crate::tenant::{Per, Record, Spent, Tenants};

/// How a [`SpendStore`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendConfig {
    /// How long a call that has ended may wait to be written. Default 250 ms; at least 1 ms.
    pub flush_every: Duration,
    /// The file is written anew when it is longer than this, and twice as long as it has to be.
    /// Default 1 MiB.
    pub compact_bytes: u64,
    /// The most sums that are kept, in memory and on disk: beyond it, models are summed up as
    /// `(other)`. Default 100,000.
    pub max_rows: usize,
}

impl Default for SpendConfig {
    fn default() -> Self {
        Self {
            flush_every: Duration::from_millis(250),
            compact_bytes: 1 << 20,
            max_rows: 100_000,
        }
    }
}

/// Why what is spent cannot be kept: where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendError(String);

impl fmt::Display for SpendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpendError {}

/// The most calls that wait to be summed up: more are summed up by whoever brings them.
const MAX_NOTED: usize = 10_000;

/// What was spent, in memory and in a file.
///
/// Dropped, it writes what was noted.
pub struct SpendStore {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    wall: Arc<dyn WallClock>,
    config: SpendConfig,
    noted: Mutex<Noted>,
    wake: Condvar,
    written: Condvar,
    books: Mutex<Books>,
    /// Who is told when it cannot be written any more.
    warn: OnceLock<Warn>,
}

type Warn = Box<dyn Fn(&str) + Send + Sync>;

#[derive(Default)]
struct Noted {
    calls: Vec<Spent>,
    /// Somebody waits until all is written that was noted so far.
    flush: u64,
    flushed: u64,
    stop: bool,
}

struct Books {
    /// Everything.
    all: Book,
    /// What is not yet in the file.
    new: Book,
    file: Option<SpendFile>,
    /// How often writing has failed in a row.
    failures: u64,
}

impl SpendStore {
    /// Opens a file, which need not exist; `None` keeps everything in memory, and so does a file that
    /// another process writes, which is said. Lines that are broken do not count, and are said, too;
    /// the others do.
    ///
    /// # Errors
    ///
    /// Where nothing could be kept over a restart: the file cannot be made, read or written, or it is
    /// none of these, and is left as it is.
    pub fn open(
        path: Option<&Path>,
        config: SpendConfig,
        wall: Arc<dyn WallClock>,
    ) -> Result<(Self, Vec<String>), SpendError> {
        let mut all = Book::new(config.max_rows);
        let mut warnings = Vec::new();
        let now = wall.since_epoch();
        let file = path.map(|path| {
            SpendFile::open(path, config.compact_bytes, &mut warnings, |row| {
                all.add_row(row, now);
            })
        });
        let file = file.transpose()?.flatten();
        let writes = file.is_some();
        let shared = Arc::new(Shared {
            wall,
            config,
            noted: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
            books: Mutex::new(Books {
                new: Book::new(config.max_rows),
                all,
                file,
                failures: 0,
            }),
            warn: OnceLock::new(),
        });
        let thread = writes.then(|| {
            let shared = Arc::clone(&shared);
            let name = "fairkey-spend".to_owned();
            std::thread::Builder::new()
                .name(name)
                .spawn(move || shared.run())
        });
        let thread = thread.transpose().map_err(|error| {
            SpendError(format!(
                "what is spent is not written: no thread for it: {error}"
            ))
        })?;
        Ok((Self { shared, thread }, warnings))
    }

    /// Tells tenants what they have spent before this process began.
    pub fn restore(&self, tenants: &Tenants) {
        let books = self.shared.books();
        for tenant in tenants.all() {
            for row in books.all.rows().filter(|row| &*row.tenant == tenant.id()) {
                for per in Per::ALL {
                    tenant.restore(per, Duration::from_secs(row.since), row.micro_usd);
                }
            }
        }
    }

    /// Returns all sums, those of calls that ended a moment ago included, in the order of time,
    /// tenant, key and model.
    #[must_use]
    pub fn rows(&self) -> Vec<SpendRow> {
        self.shared.sum_up();
        self.shared.books().all.rows().collect()
    }

    /// Waits until everything that was noted so far is on disk. Returns at once where there is no
    /// file.
    pub fn flush(&self) {
        if self.thread.is_none() {
            return;
        }
        let mut noted = self.shared.noted();
        noted.flush += 1;
        let mine = noted.flush;
        self.shared.wake.notify_all();
        while noted.flushed < mine && !noted.stop {
            let woken = self.shared.written.wait(noted);
            noted = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sets who is told when the file cannot be written any more, and when it can be again; once, the
    /// first counts. Called by the store's own thread. Default: nobody.
    pub fn on_change(&self, warn: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.shared.warn.set(Box::new(warn));
    }

    /// Returns how often writing has failed in a row; what could not be written is tried again.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.books().failures
    }

    /// Returns what takes notes for it.
    pub(crate) fn recorder(&self) -> Arc<dyn Record> {
        Arc::clone(&self.shared) as Arc<dyn Record>
    }
}

impl Drop for SpendStore {
    fn drop(&mut self) {
        self.shared.noted().stop = true;
        self.shared.wake.notify_all();
        self.shared.written.notify_all();
        if let Some(thread) = self.thread.take() {
            // It has no reason to panic, and nobody is there to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was noted to the sums.
    fn sum_up(&self) {
        let calls = std::mem::take(&mut self.noted().calls);
        if calls.is_empty() {
            return;
        }
        let now = self.wall.since_epoch();
        let mut books = self.books();
        let Books { all, new, file, .. } = &mut *books;
        for call in calls {
            let row = SpendRow::of(&call);
            if file.is_some() {
                new.add_row(row.clone(), now);
            }
            all.add_row(row, now);
        }
    }

    fn run(&self) {
        let every = self.config.flush_every.max(Duration::from_millis(1));
        loop {
            let (flush, stop) = {
                let noted = self.noted();
                let wait = |noted: &mut Noted| !noted.stop && noted.flush == noted.flushed;
                let woken = self.wake.wait_timeout_while(noted, every, wait);
                let (noted, _) = woken.unwrap_or_else(PoisonError::into_inner);
                (noted.flush, noted.stop)
            };
            self.sum_up();
            self.write();
            self.noted().flushed = flush;
            self.written.notify_all();
            if stop {
                return;
            }
        }
    }

    fn write(&self) {
        let mut books = self.books();
        let Books {
            all,
            new,
            file,
            failures,
        } = &mut *books;
        let Some(file) = file else {
            return;
        };
        let now = self.wall.since_epoch();
        let written = if file.is_due() {
            all.fold(now);
            file.replace(all.rows())
        } else if new.is_empty() {
            return;
        } else {
            file.append(new.rows())
        };
        let name = file.path().display();
        let news = match written {
            Ok(()) => {
                new.clear();
                let before = std::mem::take(failures);
                (before > 0).then(|| format!("the file of spend {name} is written again"))
            }
            // Tried again in a moment, with what comes until then; the sums are bounded.
            Err(error) => {
                *failures += 1;
                (*failures == 1).then(|| {
                    format!(
                        "the file of spend {name} cannot be written ({error}): sums are kept in \
                         memory, and lost with this process, until it can be"
                    )
                })
            }
        };
        drop(books);
        if let (Some(news), Some(warn)) = (news, self.warn.get()) {
            warn(&news);
        }
    }
}

impl Record for Shared {
    fn record(&self, spent: Spent) {
        let mut noted = self.noted();
        noted.calls.push(spent);
        let is_much = noted.calls.len() >= MAX_NOTED;
        drop(noted);
        if is_much {
            self.sum_up();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpendStore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SpendStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

#[cfg(test)]
mod tests;
