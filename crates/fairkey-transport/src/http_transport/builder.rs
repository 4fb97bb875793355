//! Settings of the transport, checked once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{HttpTransport, Inner};
use crate::connect::{Connector, Protocol};
use crate::pool::{Limits, Pool};
use crate::target::Origins;
use crate::{Deadlines, Dial, ProxyOptions, TlsOptions, TransportBuildError};

/// Builds an [`HttpTransport`].
///
/// ```
/// use std::time::Duration;
/// use fairkey_transport::{Deadlines, HttpTransport};
///
/// # fn main() -> Result<(), fairkey_transport::TransportBuildError> {
/// let transport = HttpTransport::builder()
///     .deadlines(Deadlines { connect: Duration::from_secs(3), ..Deadlines::default() })
///     .max_connections_per_origin(32)
///     .build()?;
/// # drop(transport);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct HttpTransportBuilder {
    deadlines: Deadlines,
    tls: Option<TlsOptions>,
    proxy: ProxyOptions,
    max_body_bytes: u64,
    limits: Limits,
    offer_http2: bool,
    plain_http2: bool,
    allow_plaintext: bool,
    overrides: HashMap<String, Vec<IpAddr>>,
    dialer: Option<Arc<dyn Dial>>,
}

impl HttpTransportBuilder {
    pub(super) fn new() -> Self {
        Self {
            deadlines: Deadlines::default(),
            tls: None,
            proxy: ProxyOptions::default(),
            max_body_bytes: 64 * 1024 * 1024,
            limits: Limits {
                connections_per_origin: 256,
                #[cfg(feature = "http2")]
                streams_per_connection: 100,
                waiting_per_origin: 65_536,
                origins: 64,
                head_bytes: 64 * 1024,
                idle_timeout: Duration::from_secs(55),
                #[cfg(feature = "http2")]
                ping_interval: Some(Duration::from_secs(30)),
            },
            offer_http2: true,
            plain_http2: false,
            allow_plaintext: false,
            overrides: HashMap::new(),
            dialer: None,
        }
    }

    /// Sets the deadlines of calls that bring none of their own. See [`Deadlines`] for defaults.
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Sets the crypto provider and the roots of trust. See [`TlsOptions`] for defaults.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the proxy. Default: what the environment says.
    pub fn proxy(mut self, proxy: ProxyOptions) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sets the most bytes that a body may have. A declared length above it fails the call, a
    /// counted one the body. Default 64 MiB.
    pub fn max_body_bytes(mut self, bytes: u64) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets about how many bytes the head of an answer may have, at least 8 KiB. Default 64 KiB.
    /// An HTTP/1.1 head may also have at most 100 fields.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.limits.head_bytes = bytes;
        self
    }

    /// Sets the most connections that are open to one origin at once, at least 1. Default 256.
    ///
    /// It bounds the file descriptors, and with HTTP/1.1 the calls under way: further calls wait.
    pub fn max_connections_per_origin(mut self, connections: usize) -> Self {
        self.limits.connections_per_origin = connections;
        self
    }

    /// Sets the most streams that one HTTP/2 connection carries at once, at least 1, where the
    /// peer allows more. Default 100, what large servers announce.
    #[cfg(feature = "http2")]
    pub fn max_streams_per_connection(mut self, streams: usize) -> Self {
        self.limits.streams_per_connection = streams;
        self
    }

    /// Sets how many calls may wait for a connection to one origin. The next one fails as
    /// [`Overloaded`](crate::TransportErrorKind::Overloaded). Default 65,536.
    pub fn max_waiting_per_origin(mut self, calls: usize) -> Self {
        self.limits.waiting_per_origin = calls;
        self
    }

    /// Sets how many origins may be in use at once, at least 1. Default 64.
    pub fn max_origins(mut self, origins: usize) -> Self {
        self.limits.origins = origins;
        self
    }

    /// Sets how long a connection that nobody uses is kept. Default 55 s: shorter than the 60 s
    /// and 75 s after which common balancers and servers close theirs, so that the close seldom
    /// crosses a request.
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// Sets how often an HTTP/2 connection that carries streams is pinged; a ping that has no
    /// answer within 20 s ends it. `None` switches it off. Default 30 s.
    #[cfg(feature = "http2")]
    pub fn http2_ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.limits.ping_interval = interval;
        self
    }

    /// Speaks HTTP/1.1 only, also where the peer could do more. Default false.
    pub fn http1_only(mut self, only: bool) -> Self {
        self.offer_http2 = !only;
        self
    }

    /// Speaks HTTP/2 on plain connections (nobody negotiates there). Default false: HTTP/1.1.
    #[cfg(feature = "http2")]
    pub fn http2_prior_knowledge(mut self, prior_knowledge: bool) -> Self {
        self.plain_http2 = prior_knowledge;
        self
    }

    /// Allows plain HTTP to other machines. Default false.
    ///
    /// Whoever listens on the way can read every key that is sent.
    pub fn danger_allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Connects to these addresses for `host`, without asking the name service.
    pub fn resolve(mut self, host: &str, addresses: impl Into<Vec<IpAddr>>) -> Self {
        self.overrides
            .insert(host.to_ascii_lowercase(), addresses.into());
        self
    }

    /// Opens connections through `dialer`: names are not looked up, and no proxy is used.
    pub fn dialer(mut self, dialer: Arc<dyn Dial>) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Builds the transport. Nothing is connected yet, and no runtime is needed.
    ///
    /// Without a crypto provider or a root of trust (see the features) and without
    /// [`tls`](Self::tls), the transport is built for plain HTTP, and requests to `https` fail as
    /// [`Tls`](crate::TransportErrorKind::Tls).
    ///
    /// # Errors
    ///
    /// When a bound is zero, the TLS settings that were given cannot work, or the proxy's URL
    /// cannot be used.
    pub fn build(self) -> Result<HttpTransport, TransportBuildError> {
        let limits = self.limits;
        for (name, bound) in [
            ("max_connections_per_origin", limits.connections_per_origin),
            #[cfg(feature = "http2")]
            ("max_streams_per_connection", limits.streams_per_connection),
            ("max_waiting_per_origin", limits.waiting_per_origin),
            ("max_origins", limits.origins),
        ] {
            if bound == 0 {
                let message =
                    format!("{name} is 0, so that no call could ever be sent; give 1 or more");
                return Err(TransportBuildError::new(message));
            }
        }
        let configured = match (
            &self.tls,
            TlsOptions::client_config(self.tls.as_ref().unwrap_or(&TlsOptions::new())),
        ) {
            (_, Ok(config)) => Ok(config),
            (Some(_), Err(error)) => return Err(error),
            // Nobody asked for TLS: said when, and only if, somebody uses it.
            (None, Err(error)) => Err(Arc::from(error.to_string())),
        };
        let proxy_tls = configured.as_ref().ok().map(|config| {
            let mut config = config.clone();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(config)
        });
        let tls = configured.map(|mut config| {
            if cfg!(feature = "http2") && self.offer_http2 {
                config.alpn_protocols.push(b"h2".to_vec());
            }
            config.alpn_protocols.push(b"http/1.1".to_vec());
            Arc::new(config)
        });
        let connector = Connector {
            tls,
            proxy_tls,
            proxy: self.proxy.matcher()?,
            plain_protocol: plain_protocol(self.plain_http2),
            allow_plaintext: self.allow_plaintext,
            overrides: self.overrides,
            dialer: self.dialer,
        };
        Ok(HttpTransport {
            inner: Arc::new(Inner {
                pool: Pool::new(connector, limits),
                origins: Origins::default(),
                deadlines: self.deadlines,
                limit_bytes: self.max_body_bytes,
                allow_plaintext: self.allow_plaintext,
            }),
        })
    }
}

#[cfg(feature = "http2")]
fn plain_protocol(http2: bool) -> Protocol {
    if http2 {
        Protocol::Http2
    } else {
        Protocol::Http1
    }
}

#[cfg(not(feature = "http2"))]
fn plain_protocol(_http2: bool) -> Protocol {
    Protocol::Http1
}
