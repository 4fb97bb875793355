//! A stream that notes what goes through it: [`Watched`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Activity;
use super::opening::Opening;
use super::refusal::instead_of;

/// The last frame of a connection of HTTP/2 of which too many calls were left: GOAWAY on stream 0,
/// which names no last stream, with the code ENHANCE_YOUR_CALM (RFC 9113, 6.8).
const FAREWELL: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, // length, type, flags, stream
    0x7f, 0xff, 0xff, 0xff, // last stream
    0, 0, 0, 11, // code
];

/// A stream that notes what goes through it. When its patience is exhausted it says so, and from
/// then on nothing comes in any more.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    opening: Opening,
    /// How much of [`FAREWELL`] was written.
    said: usize,
    /// What is left to be written in place of an answer without a body.
    instead: Option<Bytes>,
}

impl<S> Watched<S> {
    /// Of a connection of which something was read before.
    pub(super) fn new(stream: S, activity: Arc<Activity>, opening: Opening) -> Self {
        Self {
            stream,
            activity,
            opening,
            said: 0,
            instead: None,
        }
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Writes another answer in place of one of hyper's own; `None` where `buf` is no such.
    ///
    /// hyper writes its answers to heads that are none by itself, whole, when nothing else is to be
    /// written, and ends. While one waits to be written it comes again and again.
    fn poll_instead(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            // While there is a call, what is written is its answer, whatever it looks like.
            let own = instead_of(buf).filter(|_| !self.activity.has_calls())?;
            self.instead = Some(own);
        }
        while let Some(rest) = &mut self.instead
            && !rest.is_empty()
        {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(written)) if written > 0 => rest.advance(written),
                Poll::Ready(Ok(_)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                other => return Some(other),
            }
        }
        self.instead = None;
        Some(Poll::Ready(Ok(buf.len())))
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Reads, and forgets, until the peer has ended.
    fn poll_unheard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; 4 << 10];
        loop {
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.activity.is_exhausted() {
            return this.poll_unheard(cx);
        }
        if !this.opening.is_over() {
            this.opening.give(buf);
            if buf.remaining() > 0 {
                // With what is there besides. That there is no more is told by the next read.
                let _ = Pin::new(&mut this.stream).poll_read(cx, buf);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            this.activity.read(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(polled) = this.poll_instead(cx, buf) {
            this.activity.wrote(&polled);
            return polled;
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.activity.wrote(&polled);
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.activity.is_exhausted() {
            // h2 flushes when all of its frames are written, so that none is cut in two here.
            while this.said < FAREWELL.len() {
                let rest = &FAREWELL[this.said..];
                match ready!(Pin::new(&mut this.stream).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => this.said += written,
                }
            }
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let [buf] = bufs
            && let Some(polled) = this.poll_instead(cx, buf)
        {
            this.activity.wrote(&polled);
            return polled;
        }
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.activity.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
