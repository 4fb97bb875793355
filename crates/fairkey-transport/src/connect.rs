//! From an origin to bytes that flow: name, TCP, proxy tunnel, TLS.

mod dial;
mod tcp;
mod tunnel;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

pub use self::dial::{ByteStream, Dial};
use crate::target::Origin;
use crate::{BoxError, TransportError, TransportErrorKind};

/// What a connection to an origin speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    #[cfg(feature = "http2")]
    Http2,
}

/// Opens connections.
pub(crate) struct Connector {
    /// For origins; offers the protocols that we speak. Or why there is no TLS.
    pub(crate) tls: Result<Arc<ClientConfig>, Arc<str>>,
    /// For proxies; offers HTTP/1.1.
    pub(crate) proxy_tls: Option<Arc<ClientConfig>>,
    pub(crate) proxy: Option<Arc<Matcher>>,
    /// What plain connections speak: nobody negotiates there.
    pub(crate) plain_protocol: Protocol,
    pub(crate) allow_plaintext: bool,
    pub(crate) overrides: HashMap<String, Vec<IpAddr>>,
    /// Stands in for names, TCP and proxies, where somebody gave one.
    pub(crate) dialer: Option<Arc<dyn Dial>>,
}

impl Connector {
    /// Returns what connections to `origin` speak, where that is known beforehand.
    pub(crate) fn known_protocol(&self, origin: &Origin) -> Option<Protocol> {
        (!origin.tls).then_some(self.plain_protocol)
    }

    /// Opens one connection; the caller limits the time.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<Connected, TransportError> {
        let loopback = origin.is_loopback();
        let proxy = match &self.proxy {
            // A proxy cannot reach our loopback; its own is another machine's.
            Some(matcher) if !loopback => {
                let uri = origin.uri().map_err(|error| {
                    TransportError::new(TransportErrorKind::Request, "the host is no valid host")
                        .with_source(error)
                })?;
                matcher.intercept(&uri).map(|intercept| (intercept, uri))
            }
            _ => None,
        };
        let io: BoxIo = if let Some(dialer) = &self.dialer {
            let dialed = dialer.dial(&origin.host, origin.port).await;
            dialed.map_err(|error| connect_error("the dialer could not connect", error))?
        } else if let Some((intercept, uri)) = proxy {
            self.tunnel(&intercept, uri).await?
        } else {
            // A name that should be loopback but resolves elsewhere gets no plain bytes.
            let loopback_only = !origin.tls && !self.allow_plaintext;
            Box::new(self.tcp(&origin.host, origin.port, loopback_only).await?)
        };
        if !origin.tls {
            return Ok(Connected::new(io, self.plain_protocol));
        }
        let config = self
            .tls
            .as_ref()
            .map_err(|reason| TransportError::new(TransportErrorKind::Tls, reason.to_string()))?;
        let (io, protocol) = handshake(config, &origin.host, io).await?;
        Ok(Connected::new(io, protocol))
    }
}

/// Does the TLS handshake with `host` and returns what the two sides agreed to speak.
async fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    io: BoxIo,
) -> Result<(BoxIo, Protocol), TransportError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        TransportError::new(
            TransportErrorKind::Tls,
            "the host is no name for a certificate",
        )
        .with_source(error)
    })?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, io)
        .await
        .map_err(|error| {
            // rustls' own verdicts come wrapped; anything else is the connection under it.
            if error
                .get_ref()
                .is_some_and(|inner| inner.is::<rustls::Error>())
            {
                let message = "no TLS session; check the certificate, its CA and the host name";
                TransportError::new(TransportErrorKind::Tls, message).with_source(error)
            } else {
                let message = "the connection broke during the TLS handshake";
                TransportError::new(TransportErrorKind::Connect, message).with_source(error)
            }
        })?;
    let protocol = match stream.get_ref().1.alpn_protocol() {
        #[cfg(feature = "http2")]
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok((Box::new(stream), protocol))
}

pub(crate) type BoxIo = Box<dyn ByteStream>;

/// An open connection that nobody has spoken HTTP on yet.
pub(crate) struct Connected {
    pub(crate) io: CountedIo,
    pub(crate) protocol: Protocol,
}

impl Connected {
    fn new(io: BoxIo, protocol: Protocol) -> Self {
        Self {
            io: CountedIo {
                inner: io,
                written: Arc::default(),
                heard: Arc::default(),
            },
            protocol,
        }
    }
}

/// Counts the bytes that were written: a request of which not one byte went out can be sent
/// again, whatever it asks for. And how often something was read: a peer that is heard is there.
pub(crate) struct CountedIo {
    inner: BoxIo,
    written: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
}

impl CountedIo {
    /// Returns the counter of reads.
    #[cfg(feature = "http2")]
    pub(crate) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    /// Returns the counter of bytes.
    pub(crate) fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            // Release: pairs with the Acquire load of a call that failed, which must see at least
            // the bytes that were written before its failure was reported.
            self.written.fetch_add(*bytes as u64, Ordering::Release);
        }
        written
    }
}

impl AsyncRead for CountedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            // Relaxed: it is looked at from time to time, and publishes nothing.
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for CountedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("tls", &self.tls.is_ok())
            .field("proxy", &self.proxy.is_some())
            .field("plain_protocol", &self.plain_protocol)
            .finish_non_exhaustive()
    }
}

fn connect_error(message: &'static str, source: impl Into<BoxError>) -> TransportError {
    TransportError::new(TransportErrorKind::Connect, message).with_source(source)
}
