//! What listens: [`Listener`].

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use super::{ListenAddr, Peer};

/// What listens: TCP or a Unix socket, with TLS or without.
pub struct Listener {
    socket: Socket,
    local: ListenAddr,
    #[cfg(feature = "tls")]
    tls: Option<super::Tls>,
    /// Takes the socket's file away in the end.
    #[cfg(unix)]
    _file: Option<unix::SocketFile>,
}

enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection, before TLS.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// The certificate of new connections; nothing without TLS.
#[cfg(feature = "tls")]
pub(crate) type CurrentTls = Option<Arc<tokio_rustls::rustls::ServerConfig>>;
#[cfg(not(feature = "tls"))]
pub(crate) type CurrentTls = Option<Arc<std::convert::Infallible>>;

impl Listener {
    /// Listens.
    ///
    /// A Unix socket is made with mode 0600. Where there is one at its path to which nobody listens
    /// any more, it is taken away first; anything else there is left alone. It is removed when the
    /// listener is dropped.
    ///
    /// # Errors
    ///
    /// Where that cannot be: the address is taken, the path is no socket or somebody listens to it.
    pub async fn bind(addr: &ListenAddr) -> io::Result<Self> {
        match addr {
            ListenAddr::Tcp(addr) => TcpListener::bind(addr).await?.try_into(),
            #[cfg(unix)]
            ListenAddr::Unix(path) => {
                let (socket, file) = unix::bind(path).await?;
                Ok(Self {
                    socket: Socket::Unix(socket),
                    local: addr.clone(),
                    #[cfg(feature = "tls")]
                    tls: None,
                    _file: Some(file),
                })
            }
            #[cfg(not(unix))]
            ListenAddr::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Speaks TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: super::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Returns what is listened on.
    #[must_use]
    pub fn local(&self) -> &ListenAddr {
        &self.local
    }

    /// Whether HTTP is spoken from the first byte.
    pub(super) fn is_plain(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_none();
        #[cfg(not(feature = "tls"))]
        true
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_self, reason = "there is no TLS")
    )]
    pub(super) fn tls(&self) -> CurrentTls {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().map(super::Tls::current);
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Can be dropped at any point without losing a connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.poll_accept(cx).map_ok(|(stream, remote)| {
                // A chunk that waits for the next one to share a packet comes 40 ms late.
                let _ = stream.set_nodelay(true);
                let remote = Some(remote);
                (Stream::Tcp(stream), Peer { remote })
            }),
            #[cfg(unix)]
            Socket::Unix(socket) => socket
                .poll_accept(cx)
                .map_ok(|(stream, _)| (Stream::Unix(stream), Peer { remote: None })),
        }
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: TcpListener) -> io::Result<Self> {
        Ok(Self {
            local: ListenAddr::Tcp(socket.local_addr()?),
            socket: Socket::Tcp(socket),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(unix)]
            _file: None,
        })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Passes a call on to whichever kind of stream it is.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
            #[cfg(unix)]
            Stream::Unix(stream) => {
                let $inner = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::io;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use rustix::fs::Mode;
    use tokio::net::{UnixListener, UnixStream};

    /// The file of a Unix socket; dropped, it is gone.
    #[derive(Debug)]
    pub(super) struct SocketFile {
        path: PathBuf,
        id: (u64, u64),
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            remove(&self.path, self.id);
        }
    }

    pub(super) async fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
        make_room(path).await?;
        // Nobody shall be able to open it between its making and a change of its mode. The mask is
        // the process's: this is for its start, when nobody else makes files.
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let bound = bound?;
        let id = id(&fs::symlink_metadata(path)?);
        let path = path.to_owned();
        Ok((bound, SocketFile { path, id }))
    }

    /// Takes a socket away to which nobody listens.
    async fn make_room(path: &Path) -> io::Result<()> {
        let Ok(there) = fs::symlink_metadata(path) else {
            return Ok(());
        };
        if !there.file_type().is_socket() {
            let message = format!("{} is there, and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                remove(path, id(&there));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                let message = format!("another process listens to {}", path.display());
                Err(io::Error::new(io::ErrorKind::AddrInUse, message))
            }
        }
    }

    /// Removes the file, if it is still this one.
    fn remove(path: &Path, this: (u64, u64)) {
        if fs::symlink_metadata(path).is_ok_and(|there| id(&there) == this) {
            let _ = fs::remove_file(path);
        }
    }

    fn id(metadata: &fs::Metadata) -> (u64, u64) {
        (metadata.dev(), metadata.ino())
    }
}
