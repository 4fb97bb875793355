//! Appending to a journal on a thread of its own: [`Appender`].

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

use super::SyncPolicy;
use super::file::JournalFile;
use super::record::Head;
use crate::output::OutputError;

/// How much room is kept for what is in flight when a disk fills up.
pub(crate) const RESERVE: u64 = 4 << 20;
/// How long to wait before records that could not be appended are tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Appends records in batches: what comes while one is written is the next.
#[derive(Debug)]
pub(crate) struct Appender {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// The offset of the next record.
    end: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the writer: there is something to do.
    work: Condvar,
    /// For both: there will be nothing more.
    closing: Condvar,
    /// For the run: records were handed over, or could not be.
    done: Notify,
    /// Records that were handed over.
    confirmed: AtomicU64,
    /// Whether there is an error.
    failed: AtomicBool,
    /// Whether something was appended since the last sync.
    dirty: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    records: u64,
    busy: bool,
    closed: bool,
    error: Option<OutputError>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: &io::Error) {
        self.state().error = Some(error.into());
        self.failed.store(true, Ordering::Release);
        self.done.notify_waiters();
    }
}

impl Appender {
    /// Starts appending at `end`. `syncing` is another handle of the same file.
    pub(crate) fn start(
        file: Box<dyn JournalFile>,
        syncing: Box<dyn JournalFile>,
        end: u64,
        sync: SyncPolicy,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let mut writer = Writer {
            file,
            end,
            reserved: end + 2 * RESERVE,
            always: sync == SyncPolicy::Always,
        };
        let mut threads = vec![
            thread::Builder::new()
                .name("fairkey-journal".to_owned())
                .spawn(move || writer.work(&theirs))?,
        ];
        if let SyncPolicy::Every(interval) = sync {
            let theirs = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name("fairkey-sync".to_owned())
                .spawn(move || sync_from_time_to_time(syncing, interval, &theirs))?;
            threads.push(thread);
        }
        Ok(Self {
            shared,
            threads,
            end,
        })
    }

    /// Appends a record, and returns its offset. It is done when [`confirmed`](Self::confirmed)
    /// has counted it.
    pub(crate) fn append(&mut self, head: &Head, payload: &[u8]) -> u64 {
        let offset = self.end;
        let head = head.encode();
        self.end += (head.len() + payload.len()) as u64;
        let mut state = self.shared.state();
        state.pending.extend_from_slice(&head);
        state.pending.extend_from_slice(payload);
        state.records += 1;
        let wake = !state.busy;
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        offset
    }

    /// Returns how many of the records that were appended the system has, and, where it was told
    /// to sync each of them, the disk.
    pub(crate) fn confirmed(&self) -> u64 {
        self.shared.confirmed.load(Ordering::Acquire)
    }

    /// Returns why nothing more should be begun, if anything stood in the way of a record or of
    /// the room for more.
    pub(crate) fn error(&self) -> Option<OutputError> {
        self.shared.state().error.clone()
    }

    /// Returns whether [`error`](Self::error) has something to say.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Waits until more records than `seen` are confirmed, or, unless that is `told`, there is an
    /// error.
    pub(crate) async fn stirred(&self, seen: u64, told: bool) {
        loop {
            // Registered before the look: what is done after it wakes us.
            let mut done = std::pin::pin!(self.shared.done.notified());
            done.as_mut().enable();
            if self.confirmed() > seen || (!told && self.has_failed()) {
                return;
            }
            done.await;
        }
    }
}

impl Appender {
    /// Ends when what was appended is there, or cannot be, and what shall be synced is synced.
    /// Blocks.
    pub(crate) fn close(mut self) -> Option<OutputError> {
        self.hang_up();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        self.error()
    }

    fn hang_up(&self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
        self.shared.closing.notify_all();
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.hang_up();
    }
}

struct Writer {
    file: Box<dyn JournalFile>,
    /// Bytes of whole records so far.
    end: u64,
    /// Up to where there is room for sure.
    reserved: u64,
    always: bool,
}

impl Writer {
    fn work(&mut self, shared: &Shared) {
        let mut batch = Vec::new();
        loop {
            let records = {
                let mut state = shared.state();
                state.busy = false;
                while state.pending.is_empty() && !state.closed {
                    state = shared
                        .work
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                if state.pending.is_empty() {
                    // Gives back what was reserved.
                    let _ = self.file.truncate(self.end);
                    return;
                }
                state.busy = true;
                std::mem::swap(&mut batch, &mut state.pending);
                std::mem::take(&mut state.records)
            };
            if self.end + batch.len() as u64 + RESERVE > self.reserved {
                let ahead = batch.len() as u64 + 2 * RESERVE;
                match self.file.reserve(self.end, ahead) {
                    Ok(()) => self.reserved = self.end + ahead,
                    // There is room for what is in flight, but not for more.
                    Err(error) => shared.fail(&error),
                }
            }
            while let Err(error) = self.append(&batch) {
                shared.fail(&error);
                let state = shared.state();
                if state.closed {
                    return;
                }
                let open = |state: &mut State| !state.closed;
                drop(shared.closing.wait_timeout_while(state, RETRY, open));
            }
            self.end += batch.len() as u64;
            batch.clear();
            shared.dirty.store(true, Ordering::Release);
            shared.confirmed.fetch_add(records, Ordering::AcqRel);
            shared.done.notify_waiters();
        }
    }

    /// Appends all of it, or leaves the file as it was.
    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let result = self.file.append(batch);
        let result = match (result, self.always) {
            (Ok(()), true) => self.file.sync(),
            (result, _) => result,
        };
        if result.is_err() {
            let _ = self.file.truncate(self.end);
        }
        result
    }
}

fn sync_from_time_to_time(mut file: Box<dyn JournalFile>, interval: Duration, shared: &Shared) {
    loop {
        let open = |state: &mut State| !state.closed;
        let waited = shared
            .closing
            .wait_timeout_while(shared.state(), interval, open);
        let closed = match waited {
            Ok((state, _)) => state.closed,
            Err(poisoned) => poisoned.into_inner().0.closed,
        };
        if shared.dirty.swap(false, Ordering::AcqRel)
            && let Err(error) = file.sync()
        {
            shared.fail(&error);
        }
        if closed {
            return;
        }
    }
}
