//! The body of an answer: pieces, pauses, and the ways it can break.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::call::Call;
use crate::connection::Link;
use crate::script::{Break, Drip, Spoil};
use crate::stream::AnswerStream;

/// Bytes of a plain answer that count as one chunk where a script breaks or drips it.
const PLAIN_CHUNK: usize = 64;

pub(crate) struct MockBody {
    source: Source,
    /// Told as `Content-Length`; without it the body is chunked.
    exact: bool,
    status: u16,
    call: Option<Call>,
    /// The connection, where a break is to reset it.
    link: Option<Arc<Link>>,
    breaks: Option<(usize, Break)>,
    drip: Option<Drip>,
    /// What is left of a piece that is being dripped.
    left: Bytes,
    chunks: usize,
    sleep: Option<Pin<Box<Sleep>>>,
    waited: bool,
    flushed: bool,
    done: bool,
}

/// Where the bytes come from.
enum Source {
    Pieces(VecDeque<Bytes>),
    Stream(Box<AnswerStream>),
}

/// A piece of a body.
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Bytes of content in it; `None` for what is no chunk.
    pub(crate) content: Option<usize>,
}

impl MockBody {
    fn new(source: Source, status: u16, call: Option<Call>) -> Self {
        Self {
            source,
            exact: false,
            status,
            call,
            link: None,
            breaks: None,
            drip: None,
            left: Bytes::new(),
            chunks: 0,
            sleep: None,
            waited: false,
            flushed: false,
            done: false,
        }
    }

    /// All at once, with its length told.
    pub(crate) fn whole(bytes: impl Into<Bytes>, status: u16, call: Call) -> Self {
        let pieces = VecDeque::from([bytes.into()]);
        Self {
            exact: true,
            ..Self::new(Source::Pieces(pieces), status, Some(call))
        }
    }

    /// All at once, chunked: how errors are sent. The call has ended already.
    pub(crate) fn error(bytes: impl Into<Bytes>) -> Self {
        Self::new(Source::Pieces(VecDeque::from([bytes.into()])), 0, None)
    }

    /// Piece by piece, chunked.
    pub(crate) fn pieces(pieces: impl IntoIterator<Item = Bytes>, status: u16, call: Call) -> Self {
        Self::new(
            Source::Pieces(pieces.into_iter().collect()),
            status,
            Some(call),
        )
    }

    /// An answer as an event stream.
    pub(crate) fn stream(stream: AnswerStream, call: Call) -> Self {
        Self::new(Source::Stream(Box::new(stream)), 200, Some(call))
    }

    /// Breaks or drips it.
    pub(crate) fn spoiled(mut self, spoil: &Spoil, link: Option<&Arc<Link>>) -> Self {
        if spoil.after_chunks.is_none() && spoil.drip.is_none() {
            return self;
        }
        self.breaks = spoil.after_chunks;
        self.drip = spoil.drip;
        self.link = link.cloned();
        if let (true, Source::Pieces(pieces)) = (self.exact, &mut self.source) {
            *pieces = pieces.drain(..).flat_map(split_plain).collect();
        }
        self.exact = false;
        self
    }

    /// The next piece, and whether it is the last.
    fn next_piece(&mut self) -> Option<Piece> {
        match &mut self.source {
            Source::Pieces(pieces) => pieces.pop_front().map(|bytes| Piece {
                content: Some(bytes.len()),
                bytes,
            }),
            Source::Stream(stream) => stream.next(),
        }
    }

    fn is_exhausted(&self) -> bool {
        match &self.source {
            Source::Pieces(pieces) => pieces.is_empty(),
            Source::Stream(stream) => stream.is_exhausted(),
        }
    }

    /// Whether the break, if there is one, comes before the next piece.
    fn break_due(&self) -> Option<Break> {
        let (after, how) = self.breaks?;
        let before_content = match &self.source {
            Source::Pieces(_) => true,
            // What precedes the first content goes out even when no content may.
            Source::Stream(stream) => stream.is_past_role(),
        };
        (self.chunks >= after && before_content).then_some(how)
    }

    fn arm(&mut self, wait: Duration) {
        if !wait.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(wait)));
        }
    }

    fn finish(&mut self) {
        self.done = true;
        let status = self.status;
        if let Some(mut call) = self.call.take() {
            call.finish(status);
        }
    }
}

fn split_plain(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let len = bytes.len().min(PLAIN_CHUNK);
        (len > 0).then(|| bytes.split_to(len))
    })
}

impl http_body::Body for MockBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        loop {
            if let Some(sleep) = &mut this.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            if !this.left.is_empty() {
                let drip = this.drip.unwrap_or(Drip {
                    bytes: usize::MAX,
                    every: Duration::ZERO,
                });
                let piece = this.left.split_to(drip.bytes.min(this.left.len()));
                this.arm(drip.every);
                if this.left.is_empty() && this.is_exhausted() && this.break_due().is_none() {
                    this.finish();
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(how) = this.break_due() {
                match how {
                    Break::Stall => {
                        if let Some(call) = &mut this.call {
                            call.stalled();
                        }
                        // Nobody wakes it: it ends when the client leaves and the body is dropped.
                        return Poll::Pending;
                    }
                    Break::Truncate => {
                        this.done = true;
                        if let Some(mut call) = this.call.take() {
                            call.broken(how);
                        }
                        return Poll::Ready(None);
                    }
                    Break::Reset | Break::Cut => {
                        if !this.flushed {
                            // Once around, so that what was handed over is written before the end.
                            this.flushed = true;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        this.done = true;
                        if let (Break::Reset, Some(link)) = (how, &this.link) {
                            link.reset_on_close();
                        }
                        if let Some(mut call) = this.call.take() {
                            call.broken(how);
                        }
                        return Poll::Ready(Some(Err(BrokenOff)));
                    }
                }
            }
            if !this.waited
                && let Source::Stream(stream) = &mut this.source
            {
                this.waited = true;
                let wait = stream.wait_before_next();
                this.arm(wait);
                continue;
            }
            this.waited = false;
            let Some(piece) = this.next_piece() else {
                this.finish();
                return Poll::Ready(None);
            };
            if let Some(bytes) = piece.content {
                this.chunks += 1;
                if let Some(call) = &mut this.call {
                    call.sent(bytes);
                }
            }
            if this.drip.is_some() {
                this.left = piece.bytes;
                continue;
            }
            if this.is_exhausted() && this.break_due().is_none() {
                this.finish();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece.bytes))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Pieces(pieces) if self.exact => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            _ => SizeHint::default(),
        }
    }
}

impl fmt::Debug for MockBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockBody")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The answer is broken off on purpose; the connection ends with it.
#[derive(Debug, thiserror::Error)]
#[error("the mock broke the answer off")]
pub(crate) struct BrokenOff;
