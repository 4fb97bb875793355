//! Certificates, and how they are read again: [`Tls`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls;
use tokio_rustls::rustls::ServerConfig;

/// A certificate and its key, for listeners that speak TLS 1.2 and 1.3.
///
/// A clone shares them: what is [read again](Self::reload) holds for every listener and for all
/// connections that are made from then on.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Current>,
}

struct Current {
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
}

/// Why a certificate cannot be used: which file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Reads a certificate, with those that lead to its root behind it, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read, or the two do not belong together.
    pub fn from_pem_files(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let current = RwLock::new(read(&cert, &key)?);
        let shared = Shared { cert, key, current };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Reads the same files again. Returns whether the certificate is another one.
    ///
    /// # Errors
    ///
    /// As [`from_pem_files`](Self::from_pem_files); what was there stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let new = read(&self.shared.cert, &self.shared.key)?;
        let current = self.shared.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        let is_other = current.chain != new.chain;
        *current = new;
        Ok(is_other)
    }

    /// Returns the files: the certificate's, and the key's.
    #[must_use]
    pub fn files(&self) -> [&Path; 2] {
        [&self.shared.cert, &self.shared.key]
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        let current = self.shared.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.config)
    }
}

fn read(cert: &Path, key: &Path) -> Result<Current, TlsError> {
    let wrong = |path: &Path, what: &dyn fmt::Display| {
        TlsError(format!(
            "{} holds no PEM that could be used: {what}",
            path.display()
        ))
    };
    let unread = |path: &Path, error: &pem::Error, what: &str| match error {
        pem::Error::Io(error) => TlsError(format!("{} cannot be read: {error}", path.display())),
        pem::Error::NoItemsFound => wrong(path, &format!("there is no {what} in it")),
        error => wrong(path, error),
    };
    let chain =
        CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unread(cert, &error, "certificate"))?;
    if chain.is_empty() {
        return Err(wrong(cert, &"there is no certificate in it"));
    }
    let secret = PrivateKeyDer::from_pem_file(key);
    let secret = secret.map_err(|error| unread(key, &error, "private key"))?;
    // Named, so that nothing hangs on which providers other crates bring.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain.clone(), secret)
        });
    let mut config = config.map_err(|error| {
        TlsError(format!(
            "the certificate in {} and the key in {} cannot be used: {error}",
            cert.display(),
            key.display()
        ))
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Current {
        chain,
        config: Arc::new(config),
    })
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.shared.cert)
            .field("key", &self.shared.key)
            .finish_non_exhaustive()
    }
}
