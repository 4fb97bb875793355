//! The answer on its way: deadlines and bounds while the body streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

use crate::body::too_large;
use crate::deadlines::after;
use crate::pool::{Arriving, Lease};
use crate::{Phase, TransportError, TransportErrorKind};

/// Small chunks that are here at once are passed on as one, up to so many bytes: whoever takes them
/// has something to do for each, and with them goes one write instead of many.
const JOINED: usize = 16 * 1024;

/// From this size on a chunk is worth being passed on as it is, without a copy.
const LARGE: usize = 4 * 1024;

/// A body that comes from a connection, with everything that must not outlive it.
///
/// The caller's polls read the connection (HTTP/1.1); there is no task between the two.
pub(crate) struct Wire {
    // Before the lease: dropping it resets the stream, and only then is the stream's place free.
    incoming: Arriving,
    lease: Option<Lease>,
    /// What was found behind chunks that were joined, and is no chunk.
    behind: Option<Result<Frame<Bytes>, TransportError>>,
    origin: Arc<str>,
    received_bytes: u64,
    limit_bytes: u64,
    /// Made when there is something to wait for: an answer that is all here needs none.
    timer: Option<Pin<Box<Sleep>>>,
    /// Until when the next chunk is waited for; `None`: from the next wait on.
    next_at: Option<Instant>,
    waiting_for: Phase,
    idle: Duration,
    total_at: Instant,
}

impl Wire {
    pub(crate) fn new(
        incoming: Arriving,
        lease: Lease,
        limit_bytes: u64,
        first_content: Duration,
        idle: Duration,
        total_at: Instant,
    ) -> Self {
        let first_at = after(Instant::now(), first_content);
        let mut wire = Self {
            incoming,
            origin: Arc::clone(lease.label()),
            lease: Some(lease),
            behind: None,
            received_bytes: 0,
            limit_bytes,
            timer: None,
            next_at: Some(first_at.min(total_at)),
            waiting_for: Phase::FirstChunk,
            idle,
            total_at,
        };
        wire.finish_if_ended();
        wire
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        if let Some(behind) = self.behind.take() {
            return Poll::Ready(Some(behind));
        }
        let Poll::Ready(next) = self.poll_next(cx) else {
            // A chunk that is here is never refused for being late.
            std::task::ready!(self.poll_late(cx));
            return Poll::Ready(Some(Err(self.timeout())));
        };
        Poll::Ready(next.map(|frame| {
            let frame = frame?;
            let is_whole = self.finish_if_ended();
            Ok(match frame.into_data() {
                Ok(chunk) if chunk.len() < LARGE && !is_whole => {
                    let joined = self.join(chunk, cx);
                    self.finish_if_ended();
                    Frame::data(joined)
                }
                Ok(chunk) => Frame::data(chunk),
                Err(trailers) => trailers,
            })
        }))
    }

    /// Returns a chunk with those behind it that are here. Nothing is waited for.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut joined = BytesMut::new();
        while first.len().max(joined.len()) < JOINED {
            match self.poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        if joined.is_empty() {
                            joined.reserve(LARGE.min(4 * (first.len() + chunk.len())));
                            joined.extend_from_slice(&first);
                        }
                        joined.extend_from_slice(&chunk);
                        continue;
                    }
                    Err(trailers) => self.behind = Some(Ok(trailers)),
                },
                Poll::Ready(Some(Err(error))) => self.behind = Some(Err(error)),
                // Whoever asks next hears it.
                Poll::Ready(None) | Poll::Pending => {}
            }
            break;
        }
        if joined.is_empty() {
            first
        } else {
            joined.freeze()
        }
    }

    /// Polls for what comes next, which is counted.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let polled = match &mut self.lease {
            Some(lease) => lease.poll_body(cx, &mut self.incoming),
            // Given back at its end.
            None => Poll::Ready(None),
        };
        polled.map(|next| match next {
            Some(Ok(frame)) => Some(self.received(frame)),
            Some(Err(error)) => {
                self.lease = None;
                Some(Err(error.at(&self.origin)))
            }
            None => {
                self.finish();
                None
            }
        })
    }

    /// Returns when the call is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.total_at
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.behind.is_none() && self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn received(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, TransportError> {
        if let Some(chunk) = frame.data_ref() {
            self.received_bytes = self.received_bytes.saturating_add(chunk.len() as u64);
            if self.received_bytes > self.limit_bytes {
                return Err(too_large(self.limit_bytes).at(&self.origin));
            }
        }
        self.waiting_for = Phase::Idle;
        self.next_at = None;
        Ok(frame)
    }

    /// Completes when the next chunk is late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (idle, total_at) = (self.idle, self.total_at);
        let next_at =
            *(self.next_at).get_or_insert_with(|| after(Instant::now(), idle).min(total_at));
        let timer = (self.timer).get_or_insert_with(|| Box::pin(sleep_until(next_at)));
        if timer.deadline() > next_at {
            timer.as_mut().reset(next_at);
        }
        loop {
            std::task::ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= next_at {
                return Poll::Ready(());
            }
            // It was set for a chunk that has come since: it is moved on when it fires, and not
            // with each chunk.
            timer.as_mut().reset(next_at);
        }
    }

    /// Gives the connection back as soon as the end is known, even to a caller that does not ask
    /// for what comes after the last chunk.
    fn finish_if_ended(&mut self) -> bool {
        let has_ended = self.incoming.is_end_stream();
        if has_ended {
            self.finish();
        }
        has_ended
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish();
        }
    }

    fn timeout(&mut self) -> TransportError {
        let phase = if Instant::now() >= self.total_at {
            Phase::Total
        } else {
            self.waiting_for
        };
        timeout(phase, &self.origin)
    }
}

/// Makes the error for a deadline that has passed.
pub(crate) fn timeout(phase: Phase, origin: &Arc<str>) -> TransportError {
    let message = match phase {
        Phase::Connect => "no connection within the connect deadline",
        Phase::Head => "no head of an answer within the head deadline",
        Phase::FirstChunk => "no chunk of the body within the first content deadline",
        Phase::Idle => "no further chunk of the body within the idle deadline",
        Phase::Total => "the call took longer than the total deadline",
    };
    TransportError::new(TransportErrorKind::Timeout(phase), message).at(origin)
}
