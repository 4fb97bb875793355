//! The lines on disk: [`SpendFile`].

use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line::{self, Line};
use super::{SpendError, SpendRow};

/// The longest line that is read: ten times what is ever written.
const MAX_LINE: u64 = 16 * 1_024;

/// A file of lines, open for appending. A lock on a file beside it, with `.lock` behind the name,
/// keeps a second process out.
#[derive(Debug)]
pub(super) struct SpendFile {
    path: PathBuf,
    file: File,
    /// How long it is, up to the end of the last line that is whole.
    len: u64,
    /// How long it may become before it is written anew.
    due: u64,
    compact_bytes: u64,
    _lock: File,
}

impl SpendFile {
    /// Opens a file, or makes one, and calls `row` for each of its sums. `None`: another process
    /// writes it, as `warnings` says.
    ///
    /// # Errors
    ///
    /// Where nothing could be written.
    pub(super) fn open(
        path: &Path,
        compact_bytes: u64,
        warnings: &mut Vec<String>,
        mut row: impl FnMut(SpendRow),
    ) -> Result<Option<Self>, SpendError> {
        let name = path.display();
        let told = |what: &str| format!("the file of spend {name}: {what}");
        let bad = |what: &str| SpendError(told(what));
        let lock = match lock(path) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                warnings.push(told(
                    "another process writes it: what is spent here is not kept; give each process a \
                     file of its own",
                ));
                return Ok(None);
            }
            Err(error) => {
                return Err(bad(&format!(
                    "it cannot be locked ({error}): its folder has to be there, and to be writable"
                )));
            }
        };
        let file = options().open(path).map_err(|error| {
            bad(&format!(
                "it cannot be opened ({error}): it has to be a file that may be written"
            ))
        })?;
        let mut file = Self {
            path: path.to_owned(),
            file,
            len: 0,
            due: compact_bytes,
            compact_bytes,
            _lock: lock,
        };
        match file.read(&mut row) {
            Ok(Read::All { broken: 0 }) => {}
            Ok(Read::All { broken }) => warnings.push(told(&format!(
                "{broken} lines in it are broken and do not count; the others do"
            ))),
            Ok(Read::OtherVersion(version)) => {
                return Err(bad(&format!(
                    "it is of version {version}, which this version does not read: it is left as \
                     it is; name another one"
                )));
            }
            Ok(Read::Foreign) => {
                return Err(bad("it is none: it is left as it is; name another one"));
            }
            Err(error) => return Err(bad(&format!("it cannot be read ({error})"))),
        }
        let begun = file.begin();
        begun.map_err(|error| bad(&format!("it cannot be written ({error})")))?;
        Ok(Some(file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether it is to be written anew.
    pub(super) fn is_due(&self) -> bool {
        self.len > self.due
    }

    /// Adds lines, and sees them to the disk. After an error it is as before.
    pub(super) fn append(&mut self, rows: impl Iterator<Item = SpendRow>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for row in rows {
            line::write_row(&mut bytes, &row);
        }
        let written = self.put(&bytes);
        if written.is_err() {
            // Half a line would make the next one broken.
            let _ = self.file.set_len(self.len);
        }
        written
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Writes these lines into a new file, and puts it in the place of this one.
    pub(super) fn replace(&mut self, rows: impl Iterator<Item = SpendRow>) -> io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut bytes = Vec::new();
        line::write_head(&mut bytes);
        for row in rows {
            line::write_row(&mut bytes, &row);
        }
        let mut file = options().truncate(true).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        #[cfg(unix)]
        {
            // The rename, too, is to survive a loss of power.
            let folder = self.path.parent();
            let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        self.file = file;
        self.len = bytes.len() as u64;
        self.due = self.compact_bytes.max(2 * self.len);
        Ok(())
    }

    /// Reads all lines, and cuts off what is behind the last whole one.
    fn read(&mut self, row: &mut impl FnMut(SpendRow)) -> io::Result<Read> {
        let mut broken = 0;
        let mut reader = BufReader::new(&self.file);
        let mut text = Vec::new();
        loop {
            text.clear();
            let n = io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut text)?;
            if n == 0 {
                break;
            }
            let is_first = self.len == 0;
            let Some(whole) = text.strip_suffix(b"\n") else {
                // Half a line. Where it is the first, it must be the beginning of ours.
                if is_first && !is_torn_head(&text) {
                    return Ok(Read::Foreign);
                }
                if n as u64 == MAX_LINE {
                    return Ok(Read::Foreign);
                }
                break;
            };
            match line::read(whole) {
                Line::Head if is_first => {}
                Line::OtherVersion(version) if is_first => return Ok(Read::OtherVersion(version)),
                _ if is_first => return Ok(Read::Foreign),
                Line::Row(sum) => row(*sum),
                _ => broken += 1,
            }
            self.len += n as u64;
        }
        Ok(Read::All { broken })
    }

    /// Makes it ready for appending.
    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        if self.len == 0 {
            let mut head = Vec::new();
            line::write_head(&mut head);
            self.put(&head)?;
        }
        Ok(())
    }
}

enum Read {
    All {
        broken: u64,
    },
    OtherVersion(u32),
    /// Some other file.
    Foreign,
}

/// Whether this is the beginning of the first line, and no more came to the disk.
fn is_torn_head(text: &[u8]) -> bool {
    let mut head = Vec::new();
    line::write_head(&mut head);
    head.starts_with(text)
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        // Who spends how much is nobody else's business.
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    // Not the file itself: it is replaced by another one.
    let file = options().open(beside(path, ".lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
