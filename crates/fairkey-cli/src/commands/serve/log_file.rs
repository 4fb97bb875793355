//! The file of an access log, which can be opened anew: [`LogFile`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file that is appended to. Whoever rotates logs renames it and says so, and from then on there
/// is another one under its name.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    reopen: Reopen,
}

/// Says that the file under the name may be another one by now. A clone says so of the same file.
#[derive(Clone, Debug, Default)]
pub(super) struct Reopen(Arc<AtomicBool>);

impl Reopen {
    pub(super) fn ask(&self) {
        // Relaxed: it holds from the next lines on, whichever those are.
        self.0.store(true, Ordering::Relaxed);
    }
}

impl LogFile {
    pub(super) fn open(path: &Path, reopen: Reopen) -> io::Result<Self> {
        let name = |error| io::Error::other(format!("{}: {error}", path.display()));
        Ok(Self {
            file: append(path).map_err(name)?,
            path: path.to_owned(),
            reopen,
        })
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.reopen.0.swap(false, Ordering::Relaxed)
            // Where there can be none, lines go on to where they went.
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
        }
        self.file.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
