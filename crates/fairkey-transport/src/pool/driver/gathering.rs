//! What is written to a connection of HTTP/2 in one turn: [`Gathering`].

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::lock;

/// No more is gathered than this and what is written at once: a peer that does not read holds up
/// who writes, as without this.
const MOST: usize = 64 * 1024;
/// What is kept of the room, once it is empty.
const KEPT: usize = 16 * 1024;

/// The bytes' side of a connection, which gathers what is written while it is told to.
///
/// h2 writes and flushes each frame with a body of some size alone. What many calls ask for in one
/// turn of the driver would then be a record of TLS and a system call for each of them.
pub(super) struct Gathering<S>(Arc<Mutex<Gathered<S>>>);

/// The driver's side of it.
pub(super) struct Gatherer<S>(Arc<Mutex<Gathered<S>>>);

struct Gathered<S> {
    io: S,
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    /// Whether something was written since the last flush that came to its end.
    is_unflushed: bool,
    gathers: bool,
}

/// Returns both sides.
pub(super) fn gathering<S>(io: S) -> (Gathering<S>, Gatherer<S>) {
    let gathered = Arc::new(Mutex::new(Gathered {
        io,
        bytes: Vec::new(),
        written: 0,
        is_unflushed: false,
        gathers: false,
    }));
    (Gathering(Arc::clone(&gathered)), Gatherer(gathered))
}

impl<S: AsyncWrite + Unpin> Gatherer<S> {
    /// From now on what is written is gathered.
    pub(super) fn gather(&self) {
        lock(&self.0).gathers = true;
    }

    /// Writes what was gathered, and gathers no more. Where the connection takes no more now, the
    /// task is woken when it does.
    pub(super) fn let_go(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        gathered.gathers = false;
        if !gathered.bytes.is_empty() || gathered.is_unflushed {
            ready!(gathered.poll_flush(cx))?;
        }
        // Only now: the body of an upload fills it several times in a turn.
        gathered.bytes.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Writes what was gathered.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.is_unflushed = true;
        }
        self.written = 0;
        self.bytes.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Gathers all of `slices`, of so many bytes.
    fn gather(&mut self, slices: &[io::IoSlice<'_>], bytes: usize) {
        if self.bytes.len() + bytes > KEPT.max(self.bytes.capacity()) {
            // All at once: what grows step by step is copied with each.
            self.bytes.reserve((MOST + KEPT).max(bytes));
        }
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
    }

    /// Makes room for what is gathered; where none is, or need be, it is written at once.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.bytes.len() >= MOST || !self.gathers {
            ready!(self.poll_write_out(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = lock(&self.0);
        ready!(gathered.poll_room(cx))?;
        if !gathered.gathers {
            return Pin::new(&mut gathered.io).poll_write(cx, bytes);
        }
        gathered.gather(&[io::IoSlice::new(bytes)], bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathered = lock(&self.0);
        ready!(gathered.poll_room(cx))?;
        if !gathered.gathers {
            return Pin::new(&mut gathered.io).poll_write_vectored(cx, slices);
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        gathered.gather(slices, bytes);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        // What is gathered is copied from where it is.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        if gathered.gathers {
            return Poll::Ready(Ok(()));
        }
        gathered.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathered = lock(&self.0);
        ready!(gathered.poll_write_out(cx))?;
        Pin::new(&mut gathered.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes with each write; none: not now.
    #[derive(Default)]
    struct Slow {
        takes: Vec<usize>,
        taken: Vec<u8>,
        flushed: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.takes.pop().unwrap_or(usize::MAX) {
                0 => Poll::Pending,
                takes => {
                    let takes = takes.min(bytes.len());
                    self.taken.extend_from_slice(&bytes[..takes]);
                    Poll::Ready(Ok(takes))
                }
            }
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            // As a session of TLS, which holds what it has taken until then.
            if self.takes.pop() == Some(0) {
                return Poll::Pending;
            }
            self.flushed = self.taken.len();
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Gather,
        LetGo,
        Write(Vec<u8>),
        WriteTwo(Vec<u8>, Vec<u8>),
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = || {
            let pattern = |(len, first): (usize, u8)| {
                let byte = |at: usize| first.wrapping_add((at / 3) as u8);
                (0..len).map(byte).collect::<Vec<u8>>()
            };
            (1..40_000_usize, any::<u8>()).prop_map(pattern)
        };
        prop_oneof![
            Just(Step::Gather),
            Just(Step::LetGo),
            Just(Step::Flush),
            bytes().prop_map(Step::Write),
            (bytes(), bytes()).prop_map(|(one, two)| Step::WriteTwo(one, two)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_goes_out_once_and_in_order(
            steps in prop::collection::vec(step(), 1..40),
            takes in prop::collection::vec(prop_oneof![Just(0), 1..50_000_usize], 0..40),
        ) {
            let slow = Slow { takes, ..Slow::default() };
            let (mut side, gatherer) = gathering(slow);
            let mut cx = Context::from_waker(Waker::noop());
            let (mut expected, mut gathers, mut is_for_writer) = (Vec::new(), false, false);
            for step in steps {
                let before = expected.len();
                match step {
                    Step::Gather => {
                        gatherer.gather();
                        gathers = true;
                    }
                    Step::LetGo => {
                        drop(gatherer.let_go(&mut cx));
                        gathers = false;
                    }
                    Step::Flush => {
                        let polled = Pin::new(&mut side).poll_flush(&mut cx);
                        is_for_writer &= gathers || polled.is_pending();
                    }
                    Step::Write(bytes) => {
                        let polled = Pin::new(&mut side).poll_write(&mut cx, &bytes);
                        if let Poll::Ready(written) = polled {
                            expected.extend_from_slice(&bytes[..written.unwrap()]);
                        }
                    }
                    Step::WriteTwo(one, two) => {
                        let slices = [io::IoSlice::new(&one), io::IoSlice::new(&two)];
                        let polled = Pin::new(&mut side).poll_write_vectored(&mut cx, &slices);
                        if let Poll::Ready(written) = polled {
                            let both = [one, two].concat();
                            expected.extend_from_slice(&both[..written.unwrap()]);
                        }
                    }
                }
                prop_assert!(lock(&gatherer.0).bytes.len() < MOST + 80_000);
                // What was not gathered, its writer flushes.
                is_for_writer |= !gathers && expected.len() > before;
            }
            // The connection takes everything in the end.
            while gatherer.let_go(&mut cx).is_pending() {}
            let gathered = lock(&gatherer.0);
            prop_assert!(gathered.io.taken == expected);
            prop_assert!(is_for_writer || gathered.io.flushed == expected.len());
            prop_assert!(gathered.bytes.is_empty() && gathered.bytes.capacity() <= KEPT);
        }
    }

    #[test]
    fn nothing_goes_out_before_it_is_let_go_and_all_of_it_at_once() {
        let (mut side, gatherer) = gathering(Slow::default());
        let mut cx = Context::from_waker(Waker::noop());
        gatherer.gather();
        for _ in 0..9 {
            let polled = Pin::new(&mut side).poll_write(&mut cx, b"a frame");
            assert!(matches!(polled, Poll::Ready(Ok(7))));
            assert!(Pin::new(&mut side).poll_flush(&mut cx).is_ready());
        }
        assert!(lock(&gatherer.0).io.taken.is_empty());
        assert!(gatherer.let_go(&mut cx).is_ready());
        let gathered = lock(&gatherer.0);
        assert_eq!((gathered.io.taken.len(), gathered.io.flushed), (63, 63));
    }
}
