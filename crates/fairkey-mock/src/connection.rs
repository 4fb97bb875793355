//! A connection that can be told to end in a reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::log::{Entry, EventKind, Log};

/// What calls may do to the connection that they came by.
#[derive(Debug, Default)]
pub(crate) struct Link {
    reset: AtomicBool,
}

impl Link {
    /// When the connection closes, the peer gets a reset instead of an end.
    pub(crate) fn reset_on_close(&self) {
        // Relaxed: the connection's own task sets and reads it.
        self.reset.store(true, Ordering::Relaxed);
    }
}

/// What a connection's bytes go through.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    /// One end of a pipe in memory. It knows no reset: its peer sees an early end.
    Memory(DuplexStream),
}

/// A connection that notes its end in the log.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    link: Arc<Link>,
    log: Log,
    clock: Arc<Clock>,
}

impl Connection {
    pub(crate) fn new(wire: Wire, link: Arc<Link>, log: Log, clock: Arc<Clock>) -> Self {
        log.push(Entry::of_the_world(clock.now(), EventKind::Connected));
        Self {
            wire,
            link,
            log,
            clock,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Relaxed: see `reset_on_close`.
        if self.link.reset.load(Ordering::Relaxed)
            && let Wire::Tcp(stream) = &self.wire
        {
            // If it cannot be set, the peer sees an early end: broken off all the same.
            let _ = stream.set_zero_linger();
        }
        self.log.push(Entry::of_the_world(
            self.clock.now(),
            EventKind::Disconnected,
        ));
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Memory(pipe) => Pin::new(pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Memory(pipe) => Pin::new(pipe).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Wire::Memory(pipe) => Pin::new(pipe).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Tcp(stream) => stream.is_write_vectored(),
            Wire::Memory(pipe) => pipe.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Memory(pipe) => Pin::new(pipe).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection that is to end in a reset must not say goodbye first.
        if self.link.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Memory(pipe) => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}
