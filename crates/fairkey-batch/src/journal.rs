//! What survives a run that ends before its input does: [`Journal`].
//!
//! Every result is appended to the journal before it goes anywhere else, and counts as done when
//! the system has it. The output is made from the journal and can be made again; so a run that
//! goes on looks up each row, by its place and by what it sends, and sends what is missing.

mod compact;
mod error;
mod file;
mod index;
mod output;
mod parameters;
pub(crate) mod record;
pub(crate) mod replay;
mod shelf;
mod thread;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use fairkey_core::Cost;

use self::index::Entry;
use self::record::{ADOPTED, HEADER_BYTES, Header, RESULT, STANDS};
use self::replay::Replay;
use self::thread::RESERVE;

use crate::upstream_batch::DoneRows;

pub use self::error::JournalError;
pub use self::file::JournalFile;
pub(crate) use self::index::Index;
pub use self::output::Continued;
pub use self::parameters::Parameters;
pub(crate) use self::record::Head;
pub(crate) use self::shelf::Shelf;
pub(crate) use self::thread::Appender;

/// When a journal is synced to the disk. Whatever it says, a result is handed to the system as soon
/// as it is there, and survives the end of the process; what is synced survives a loss of power,
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// Whenever the system sees fit: half a minute of results, as a rule, are lost with the power.
    Never,
    /// So often. The default, with one second.
    Every(Duration),
    /// Each result before it counts as done. As fast as the disk syncs.
    Always,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self::Every(Duration::from_secs(1))
    }
}

/// How a journal is kept and used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalConfig {
    /// When it is synced to the disk.
    pub sync: SyncPolicy,
    /// Whether rows that have failed are sent again. Default false: what failed is done.
    pub retry_failed: bool,
    /// Whether it begins anew, and forgets what is in it. Default false.
    pub fresh: bool,
}

/// The results of a run so far, and where those go that are still to come.
///
/// One process uses it at a time; it is locked until it is dropped. Memory: 16 bytes for each row
/// that had a result when it was opened.
pub struct Journal {
    file: File,
    writer: Box<dyn JournalFile>,
    config: JournalConfig,
    index: Index,
    /// The offset behind the last record.
    end: u64,
    known: Known,
}

/// What a journal had in it when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// Rows with an answer.
    pub answered: u64,
    /// Rows that have failed, those that are sent again included.
    pub failed: u64,
    /// What all results in it have used.
    pub cost: Cost,
    /// Bytes in the middle of it that are damaged, and count for nothing. What is torn off at its
    /// end, where the process ended, is not among them.
    pub damaged_bytes: u64,
}

impl Journal {
    /// Opens a journal, or makes one.
    ///
    /// # Errors
    ///
    /// Where somebody else uses it, where it is no journal or one of a newer version, where its run
    /// was begun with other parameters, where it cannot be read or written, or where the disk has
    /// no room.
    pub fn open(
        path: &Path,
        parameters: &Parameters,
        config: JournalConfig,
    ) -> Result<Self, JournalError> {
        Self::open_with(path, parameters, config, |file| Box::new(file))
    }

    /// Opens a journal, or makes one, and writes to it through something else than its file: for
    /// tests of disks that are full.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        path: &Path,
        parameters: &Parameters,
        config: JournalConfig,
        writer: impl FnOnce(File) -> Box<dyn JournalFile>,
    ) -> Result<Self, JournalError> {
        let file = open_locked(path)?;
        let mut journal = Self {
            writer: writer(file.try_clone()?),
            file,
            config,
            index: Index::default(),
            end: 0,
            known: Known::default(),
        };
        if !config.fresh && journal.read_header(Some(parameters))? {
            journal.replay()?;
        } else {
            journal.begin(parameters)?;
            if config.sync != SyncPolicy::Never {
                journal.writer.sync()?;
                sync_folder(path);
            }
        }
        journal.writer.reserve(journal.end, 2 * RESERVE)?;
        Ok(journal)
    }

    /// Returns what was in it.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known
    }

    /// Returns which rows have a result in it, as far as they are not sent again.
    #[must_use]
    pub fn done_rows(&self) -> DoneRows {
        self.index.iter().map(|(index, _)| index).collect()
    }

    /// Returns whether nothing was in it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.known.answered + self.known.failed == 0
    }

    /// Writes the header, over whatever there is.
    fn begin(&mut self, parameters: &Parameters) -> Result<(), JournalError> {
        let header = record::header(&parameters.to_json());
        self.writer.truncate(0)?;
        if let Err(error) = self.writer.append(&header) {
            let _ = self.writer.truncate(0);
            return Err(error.into());
        }
        self.end = header.len() as u64;
        Ok(())
    }

    /// Reads the header. Returns whether there is one.
    fn read_header(&mut self, parameters: Option<&Parameters>) -> Result<bool, JournalError> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
        let (len, check) = match Header::decode(&bytes) {
            Header::Json { len, check } => (len, check),
            Header::Torn => return Ok(false),
            Header::Foreign => return Err(JournalError::NotAJournal),
            Header::Newer(version) => return Err(JournalError::Newer { version }),
            Header::Damaged => {
                self.end = HEADER_BYTES as u64;
                self.known.damaged_bytes += HEADER_BYTES as u64;
                return Ok(true);
            }
        };
        let mut json = Vec::new();
        file.take(len.into()).read_to_end(&mut json)?;
        self.end = (HEADER_BYTES + json.len()) as u64;
        if json.len() < len as usize {
            return Ok(false);
        }
        match Parameters::from_json(&json) {
            Some(before) if record::check(&json) == check => {
                if let Some(parameters) = parameters {
                    parameters.check(&before)?;
                }
            }
            // Rows tell by themselves whether they are the same.
            _ => self.known.damaged_bytes += u64::from(len),
        }
        Ok(true)
    }

    /// Reads what is there, and cuts off what is torn.
    fn replay(&mut self) -> Result<(), JournalError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.end))?;
        let mut replay = Replay::new(file, self.end);
        while let Some(record) = replay.next_record()? {
            let head = record.head;
            if !matches!(head.kind, RESULT | STANDS) {
                continue;
            }
            self.known.cost.micro_usd = self.known.cost.micro_usd.saturating_add(head.micro_usd);
            self.known.cost.tokens = self.known.cost.tokens.saturating_add(head.tokens);
            let answers = u32::from(head.is_answered());
            self.known.cost.requests = self.known.cost.requests.saturating_add(answers);
            let adopted = head.flags & ADOPTED != 0;
            let entry = Entry::new(head.identity, record.offset, head.is_answered(), adopted);
            self.index.set(head.index, entry);
        }
        let (end, damaged) = replay.end();
        self.end = end;
        self.known.damaged_bytes += damaged;
        self.known.answered = self.index.answered();
        self.known.failed = self.index.len() - self.known.answered;
        if self.config.retry_failed {
            self.index.forget_failures();
        }
        let len = self.file.metadata()?.len();
        if len > end {
            self.writer.truncate(end)?;
        }
        Ok(())
    }

    /// Appends a result at once, before the run begins.
    fn append(&mut self, head: Head, payload: &[u8]) -> io::Result<()> {
        let mut bytes = head.encode().to_vec();
        bytes.extend_from_slice(payload);
        if let Err(error) = self.writer.append(&bytes) {
            let _ = self.writer.truncate(self.end);
            return Err(error);
        }
        let adopted = head.flags & ADOPTED != 0;
        let entry = Entry::new(head.identity, self.end, head.is_answered(), adopted);
        self.index.set(head.index, entry);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Begins to append on a thread of its own.
    pub(crate) fn start(self) -> io::Result<(Appender, Index, Shelf)> {
        let shelf = Shelf::new(self.file.try_clone()?);
        let syncing = Box::new(self.file);
        let appender = Appender::start(self.writer, syncing, self.end, self.config.sync)?;
        Ok((appender, self.index, shelf))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("config", &self.config)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// Opens a file that nobody else uses, and makes it if it is not there.
fn open_locked(path: &Path) -> Result<File, JournalError> {
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // Another run may have put a new one in its place before it ended.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        // Gone: the next look makes a new one.
        (Ok(_), Err(error)) => error.kind() != io::ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Has the name of a new file on the disk, where that can be done.
fn sync_folder(path: &Path) {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
