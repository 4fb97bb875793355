//! Where the secret of a new key goes: [`Destination`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fairkey_core::ApiKey;

use super::Stop;
use crate::terminal;

/// Where the secret of a new key goes. Opened before the key is made, so that no secret is lost
/// for want of a place.
pub(super) enum Destination {
    Stdout,
    File(PathBuf, File),
}

impl Destination {
    /// Makes a new file that only its owner can read, or takes standard output.
    ///
    /// # Errors
    ///
    /// Where the file is there already, or cannot be made.
    pub(super) fn open(out: Option<&Path>) -> Result<Self, Stop> {
        let Some(path) = out else {
            return Ok(Self::Stdout);
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Self::File(path.to_owned(), file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Stop::usage(format!(
                    "{} exists, and may hold a secret: name a new file",
                    path.display()
                )))
            }
            Err(error) => Err(Stop::usage(format!(
                "the secret cannot be written to {}: {error}",
                path.display()
            ))),
        }
    }

    /// Returns the file, where it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path, _) => Some(path),
        }
    }

    /// Writes the secret, in a line of its own. To standard output only where `print` says so: JSON
    /// has it inside.
    ///
    /// # Errors
    ///
    /// Where it cannot be written: then nobody has it.
    pub(super) fn write(&mut self, secret: &ApiKey) -> io::Result<()> {
        match self {
            Self::Stdout => terminal::print(&format!("{}\n", secret.expose())),
            Self::File(_, file) => {
                file.write_all(format!("{}\n", secret.expose()).as_bytes())?;
                file.sync_all()
            }
        }
    }

    /// Takes the file away again, which has no secret in it.
    pub(super) fn discard(self) {
        if let Self::File(path, file) = self {
            drop(file);
            let _ = fs::remove_file(path);
        }
    }
}
