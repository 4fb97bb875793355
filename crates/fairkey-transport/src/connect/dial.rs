//! Connections that somebody else opens: [`Dial`].

use std::fmt;
use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// Anything that bytes go through, both ways: a TCP stream, a Unix socket, a pipe in memory.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens connections in place of name lookup, TCP and proxies.
///
/// What is above a connection stays: TLS where the origin is `https`, HTTP, the pool, deadlines.
/// Whoever gives a dialer says where the bytes go: the check that plain HTTP reaches loopback only
/// is made on the host's name, before it is dialed.
///
/// With pipes in memory a whole program runs on virtual time, since nothing waits for a socket.
///
/// ```
/// use std::io;
/// use std::sync::Arc;
/// use fairkey_transport::{ByteStream, Dial, HttpTransport};
///
/// #[derive(Debug)]
/// struct UnixSocket;
///
/// #[async_trait::async_trait]
/// impl Dial for UnixSocket {
///     async fn dial(&self, _host: &str, _port: u16) -> io::Result<Box<dyn ByteStream>> {
///         Ok(Box::new(tokio::net::UnixStream::connect("/run/gateway.sock").await?))
///     }
/// }
///
/// let transport = HttpTransport::builder().dialer(Arc::new(UnixSocket)).build()?;
/// # drop(transport);
/// # Ok::<(), fairkey_transport::TransportBuildError>(())
/// ```
#[async_trait]
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens one connection to `host` at `port`. The transport's deadline for connecting limits
    /// the time, by dropping the future.
    ///
    /// # Errors
    ///
    /// Why there is none; the call fails as [`Connect`](crate::TransportErrorKind::Connect).
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn ByteStream>>;
}
