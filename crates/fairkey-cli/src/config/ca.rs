//! Authorities whose certificates are trusted besides the well-known ones: [`Ca`].

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use fairkey_transport::TlsOptions;
use toml::Spanned;

use super::{Sources, Wrong};

/// A file of certificates in PEM, which was read and can be used.
#[derive(Clone, Debug)]
pub(crate) struct Ca {
    /// The file, as it was opened.
    pub(crate) path: PathBuf,
    pub(crate) tls: TlsOptions,
}

impl Ca {
    /// Reads a file beside the configuration.
    pub(super) fn read(
        path: Spanned<PathBuf>,
        dir: &Path,
        sources: &Sources<'_>,
    ) -> Result<Self, Wrong> {
        let at = path.span().start;
        let path = dir.join(path.into_inner());
        let pem = (sources.file)(&path);
        Self::of(path, pem).map_err(|message| Wrong { at, message })
    }

    /// Reads a file that the command line names.
    ///
    /// # Errors
    ///
    /// Says which file, and what is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        Self::of(path.to_owned(), std::fs::read_to_string(path))
    }

    fn of(path: PathBuf, pem: io::Result<String>) -> Result<Self, String> {
        let wrong = |what: String| {
            format!(
                "the certificates in {} cannot be used: {what}",
                path.display()
            )
        };
        let pem = pem.map_err(|error| wrong(error.to_string()))?;
        let tls = TlsOptions::new().add_ca_pem(pem.as_bytes());
        let tls = tls.and_then(|tls| tls.check().map(|()| tls));
        let tls = tls.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            wrong(format!("{error}{}", cause.unwrap_or_default()))
        })?;
        Ok(Self { path, tls })
    }
}
