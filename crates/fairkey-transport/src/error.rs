//! What can go wrong between a request and the last byte of its answer.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Any error, as the crates of this field pass it around.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Says why no answer came, or why an answer ended before its end.
///
/// A status of any kind is a response, never an error. An error names the origin it is about
/// (scheme, host and port), and never a path, a query, a header value or a proxy's credentials;
/// what a peer wrote into its own error frames is left out as well.
///
/// `Display` prints this level only; [`source`](StdError::source) has the rest.
///
/// An error is cheap to clone: calls that waited for the same connection share its cause.
#[derive(Clone)]
pub struct TransportError {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: TransportErrorKind,
    message: Cow<'static, str>,
    origin: Option<Arc<str>>,
    before_sent: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of [`TransportError`].
///
/// Who is to blame follows from the kind: [`Request`](Self::Request) and
/// [`TooLarge`](Self::TooLarge) are ours, [`Timeout`](Self::Timeout) is our own deadline,
/// [`Overloaded`](Self::Overloaded) is a bound of this process, the rest is the network or the
/// peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection: the name was not found, or no address took a connection.
    Connect,
    /// No TLS session: the certificate was refused, or no crypto provider or root is there.
    Tls,
    /// The proxy was not reached, or refused to open a tunnel.
    Proxy,
    /// One of our own [`Deadlines`](crate::Deadlines) passed.
    Timeout(Phase),
    /// The peer closed or reset the connection or the stream before the answer was whole.
    Reset,
    /// What the peer sent is no valid HTTP.
    Protocol,
    /// The body of the answer is broken in itself (or failed in a body given to
    /// [`Body::new`](crate::Body::new)).
    Body,
    /// The body is larger than the bound that was set.
    TooLarge,
    /// The request cannot be sent as it is: no absolute URI, plain HTTP to another machine, ….
    Request,
    /// A bound of this process is reached: too many calls wait, or too many origins are in use.
    Overloaded,
    /// The runtime that drove the connection is gone, or the transport was dropped.
    Canceled,
}

/// The part of a call that a deadline belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Name lookup, TCP, proxy tunnel and TLS.
    Connect,
    /// From the request being handed to a connection to the head of the answer.
    Head,
    /// From the head to the first chunk of the body.
    FirstChunk,
    /// Between two chunks of the body.
    Idle,
    /// The whole call, from `send` to the end of the body.
    Total,
}

impl TransportError {
    /// Makes an error of `kind`; transports of your own and mocks make theirs with it.
    ///
    /// `message` is lower case, without a trailing dot, and without secrets.
    /// [`before_sent`](Self::before_sent) starts as what the kind says by itself: true for
    /// `Connect`, `Tls`, `Proxy`, `Request`, `Overloaded` and `Timeout(Phase::Connect)`.
    ///
    /// ```
    /// use fairkey_transport::{TransportError, TransportErrorKind};
    ///
    /// let error = TransportError::new(TransportErrorKind::Reset, "the script says so");
    /// assert!(error.is_reset() && !error.before_sent());
    /// ```
    #[must_use]
    pub fn new(kind: TransportErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        use TransportErrorKind as Kind;
        let before_sent = matches!(
            kind,
            Kind::Connect
                | Kind::Tls
                | Kind::Proxy
                | Kind::Request
                | Kind::Overloaded
                | Kind::Timeout(Phase::Connect)
        );
        let inner = Inner {
            kind,
            message: message.into(),
            origin: None,
            before_sent,
            source: None,
        };
        Self {
            inner: Box::new(inner),
        }
    }

    /// Says whether the request surely never reached the server.
    #[must_use]
    pub fn with_before_sent(mut self, before_sent: bool) -> Self {
        self.inner.before_sent = before_sent;
        self
    }

    /// Adds the cause. The caller vouches that it prints no secret.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.inner.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn at(mut self, origin: &Arc<str>) -> Self {
        self.inner.origin = Some(Arc::clone(origin));
        self
    }

    /// Turns whatever a foreign body failed with into an error of ours; one that is ours already
    /// stays as it is.
    pub(crate) fn from_body(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(other) => Self::new(TransportErrorKind::Body, "the body failed").with_source(other),
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.inner.kind
    }

    /// Returns true when the request surely never reached the server, or the server said that it
    /// did nothing with it: sending it again cannot run (or bill) it twice.
    ///
    /// False means unknown.
    #[must_use]
    pub fn before_sent(&self) -> bool {
        self.inner.before_sent
    }

    /// Returns true when no connection could be made.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.kind() == TransportErrorKind::Connect
    }

    /// Returns true when no TLS session could be made.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.kind() == TransportErrorKind::Tls
    }

    /// Returns true when the proxy is the trouble.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.kind() == TransportErrorKind::Proxy
    }

    /// Returns true when one of our deadlines passed; [`kind`](Self::kind) says which.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.kind(), TransportErrorKind::Timeout(_))
    }

    /// Returns true when the peer ended the exchange early.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.kind() == TransportErrorKind::Reset
    }

    /// Returns true when the body of the answer is broken.
    #[must_use]
    pub fn is_body(&self) -> bool {
        self.kind() == TransportErrorKind::Body
    }

    /// Returns true when the body is larger than its bound.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.kind() == TransportErrorKind::TooLarge
    }

    /// Returns true when the request itself cannot be sent.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.kind() == TransportErrorKind::Request
    }

    /// Returns true when a bound of this process was reached.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.kind() == TransportErrorKind::Overloaded
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.origin {
            Some(origin) => write!(f, "{origin}: {}", self.inner.message),
            None => f.write_str(&self.inner.message),
        }
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("TransportError");
        out.field("kind", &self.inner.kind)
            .field("message", &self.inner.message);
        if let Some(origin) = &self.inner.origin {
            out.field("origin", origin);
        }
        out.field("before_sent", &self.inner.before_sent);
        if let Some(source) = &self.inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Head => "head",
            Self::FirstChunk => "first content",
            Self::Idle => "idle",
            Self::Total => "total",
        })
    }
}

/// Says why an [`HttpTransport`](crate::HttpTransport) could not be built.
#[derive(Debug)]
pub struct TransportBuildError {
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

impl TransportBuildError {
    pub(crate) fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for TransportBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for TransportBuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_prints_its_origin_and_its_own_level_only() {
        let error = TransportError::new(TransportErrorKind::Connect, "no address answered")
            .with_source(std::io::Error::other("the inner cause"))
            .at(&Arc::from("https://api.example:443"));
        assert_eq!(
            error.to_string(),
            "https://api.example:443: no address answered"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("the inner cause")
        );
        assert!(error.is_connect() && error.before_sent());
    }

    #[test]
    fn an_error_of_ours_passes_through_a_foreign_body_unchanged() {
        let ours = TransportError::new(TransportErrorKind::TooLarge, "over the bound");
        assert!(TransportError::from_body(Box::new(ours)).is_too_large());
        let other = TransportError::from_body("something else".into());
        assert!(other.is_body());
        assert_eq!(
            other.source().map(ToString::to_string).as_deref(),
            Some("something else")
        );
    }

    #[test]
    fn only_kinds_that_precede_the_request_say_so_by_themselves() {
        use TransportErrorKind as Kind;
        for kind in [
            Kind::Connect,
            Kind::Tls,
            Kind::Proxy,
            Kind::Timeout(Phase::Connect),
        ] {
            assert!(TransportError::new(kind, "").before_sent(), "{kind:?}");
        }
        for kind in [
            Kind::Reset,
            Kind::Body,
            Kind::Timeout(Phase::Head),
            Kind::Canceled,
        ] {
            assert!(!TransportError::new(kind, "").before_sent(), "{kind:?}");
        }
    }
}
