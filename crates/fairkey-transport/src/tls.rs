//! Which crypto, and whose certificates.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::TransportBuildError;

/// Settings of TLS: the crypto provider and the roots of trust.
///
/// The default [`provider`](Self::provider) is ring with feature `ring`, else aws-lc-rs with
/// feature `aws-lc-rs`, else none. The default [`roots`](Self::roots) are `Roots::Webpki` with feature
/// `webpki-roots`, else `Roots::Native` with feature `native-roots`, else none.
///
/// rustls' process-wide default provider is never read: two crates that disagree about it cannot
/// break each other here.
///
/// ```
/// use fairkey_transport::{Roots, TlsOptions};
///
/// # fn main() -> Result<(), fairkey_transport::TransportBuildError> {
/// # let pem = b"";
/// // Only what this company's own authority signed.
/// let tls = TlsOptions::new().roots(Roots::None).add_ca_pem(pem);
/// # assert!(tls.is_err(), "a file without a certificate is refused");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TlsOptions {
    provider: Option<Arc<CryptoProvider>>,
    roots: Option<Roots>,
    extra: Vec<CertificateDer<'static>>,
}

/// Whose certificates are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Mozilla's roots, compiled in (feature `webpki-roots`).
    #[cfg(feature = "webpki-roots")]
    Webpki,
    /// The roots of the operating system, read once by `build` (feature `native-roots`).
    #[cfg(feature = "native-roots")]
    Native,
    /// Nobody but the authorities added with [`TlsOptions::add_ca_pem`] and
    /// [`TlsOptions::add_ca_der`].
    None,
}

impl TlsOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses this crypto provider, whatever the features are.
    #[must_use]
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Trusts these roots instead of the default ones.
    #[must_use]
    pub fn roots(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Trusts the authorities in `pem` as well; other PEM sections are skipped.
    ///
    /// # Errors
    ///
    /// When `pem` is malformed or has no certificate.
    pub fn add_ca_pem(mut self, pem: &[u8]) -> Result<Self, TransportBuildError> {
        let before = self.extra.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.extra.push(certificate.map_err(|error| {
                TransportBuildError::new("the extra CA is no valid PEM").with_source(error)
            })?);
        }
        if self.extra.len() == before {
            return Err(TransportBuildError::new(
                "the extra CA has no certificate; give a PEM file with BEGIN CERTIFICATE",
            ));
        }
        Ok(self)
    }

    /// Trusts this authority as well; `build` says whether it is one.
    #[must_use]
    pub fn add_ca_der(mut self, der: impl Into<Vec<u8>>) -> Self {
        self.extra.push(CertificateDer::from(der.into()));
        self
    }

    /// Checks that a transport could be built with this.
    ///
    /// # Errors
    ///
    /// Without a crypto provider or a root of trust, and where an authority that was added is no
    /// usable certificate.
    pub fn check(&self) -> Result<(), TransportBuildError> {
        self.client_config().map(drop)
    }

    /// Returns the configuration, or why there is none.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, TransportBuildError> {
        let provider = self.provider.clone().or_else(default_provider).ok_or_else(|| {
            TransportBuildError::new(
                "no crypto provider: turn on feature `ring` or `aws-lc-rs` of fairkey-transport, \
                 or give one with `TlsOptions::provider`",
            )
        })?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                TransportBuildError::new("the crypto provider fits no TLS version")
                    .with_source(error)
            })?;
        Ok(config
            .with_root_certificates(self.root_store()?)
            .with_no_client_auth())
    }

    fn root_store(&self) -> Result<RootCertStore, TransportBuildError> {
        let mut store = RootCertStore::empty();
        match self.roots.unwrap_or(DEFAULT_ROOTS) {
            #[cfg(feature = "webpki-roots")]
            Roots::Webpki => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            #[cfg(feature = "native-roots")]
            Roots::Native => {
                let found = rustls_native_certs::load_native_certs();
                // A single odd certificate in a system's store must not cost all the others.
                store.add_parsable_certificates(found.certs);
                if store.is_empty() && self.extra.is_empty() {
                    let error = TransportBuildError::new(
                        "the operating system has no usable root certificate; install its CA \
                         bundle, or use `Roots::Webpki`",
                    );
                    return Err(match found.errors.into_iter().next() {
                        Some(cause) => error.with_source(cause),
                        None => error,
                    });
                }
            }
            Roots::None => {}
        }
        for certificate in &self.extra {
            store.add(certificate.clone()).map_err(|error| {
                TransportBuildError::new("an extra CA is no usable certificate").with_source(error)
            })?;
        }
        if store.is_empty() {
            return Err(TransportBuildError::new(
                "no root of trust: turn on feature `webpki-roots` or `native-roots` of \
                 fairkey-transport, or add a CA",
            ));
        }
        Ok(store)
    }
}

const DEFAULT_ROOTS: Roots = {
    #[cfg(feature = "webpki-roots")]
    {
        Roots::Webpki
    }
    #[cfg(all(feature = "native-roots", not(feature = "webpki-roots")))]
    {
        Roots::Native
    }
    #[cfg(not(any(feature = "native-roots", feature = "webpki-roots")))]
    {
        Roots::None
    }
};

fn default_provider() -> Option<Arc<CryptoProvider>> {
    #[cfg(feature = "ring")]
    {
        Some(Arc::new(rustls::crypto::ring::default_provider()))
    }
    #[cfg(all(feature = "aws-lc-rs", not(feature = "ring")))]
    {
        Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
    }
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    {
        None
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field(
                "provider",
                &if self.provider.is_some() {
                    "given"
                } else {
                    "default"
                },
            )
            .field("roots", &self.roots.unwrap_or(DEFAULT_ROOTS))
            .field("extra", &self.extra.len())
            .finish()
    }
}
