//! Authorities whose certificates are trusted besides the well-known ones: [`Ca`].

use std::error::Error as _;
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
        let wrong = |what: String| Wrong {
            at,
            message: format!(
                "the certificates in {} cannot be used: {what}",
                path.display()
            ),
        };
        let pem = (sources.file)(&path).map_err(|error| wrong(error.to_string()))?;
        let tls = TlsOptions::new().add_ca_pem(pem.as_bytes());
        let tls = tls.and_then(|tls| tls.check().map(|()| tls));
        let tls = tls.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            wrong(format!("{error}{}", cause.unwrap_or_default()))
        })?;
        Ok(Self { path, tls })
    }
}
