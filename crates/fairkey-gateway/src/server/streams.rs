//! The answers under way in a connection of HTTP/2: [`Streams`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairkey_transport::BoxError;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::lifecycle::Answer;

/// The answers under way in a connection.
///
/// A caller that takes nothing of an answer by HTTP/1.1 takes nothing of its connection, which ends
/// then. By HTTP/2 it opens no window for one stream, and takes what others bring: nobody asks that
/// answer for more, so that no time runs within it, and it would hold its key as long as the
/// connection lives. So somebody looks at them from without.
#[derive(Default)]
pub(super) struct Streams(Mutex<HashMap<u64, Weak<Cell>>>);

/// An answer that can be taken away from whoever sends it.
struct Cell(Mutex<State>);

struct State {
    /// `None`: its caller took nothing of it for too long.
    answer: Option<Answer>,
    /// Whether a piece was handed out after which nobody has asked for more.
    is_handed: bool,
    /// How many pieces were.
    pieces: u64,
    /// How many there were when it was last looked, and since when.
    seen: Option<(u64, Instant)>,
}

/// One of them; dropped, it is under way no more.
pub(crate) struct Stream(Arc<Cell>);

impl Streams {
    /// Puts an answer among them.
    pub(super) fn add(&self, number: u64, answer: Answer) -> Stream {
        let cell = Arc::new(Cell(Mutex::new(State {
            answer: Some(answer),
            is_handed: false,
            pieces: 0,
            seen: None,
        })));
        lock(&self.0).insert(number, Arc::downgrade(&cell));
        Stream(cell)
    }

    pub(super) fn remove(&self, number: u64) {
        lock(&self.0).remove(&number);
    }

    /// Drops those of which nothing was taken for so long, and ends those whose call is over.
    pub(super) fn leave_stalled(&self, now: Instant, limit: Duration) {
        let all: Vec<_> = (lock(&self.0).values()).filter_map(Weak::upgrade).collect();
        for cell in all {
            // With no lock held: it lets a key go.
            drop(cell.take_stalled(now, limit));
        }
    }
}

impl Cell {
    fn take_stalled(&self, now: Instant, limit: Duration) -> Option<Answer> {
        let mut state = match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            // Somebody asks it at this moment.
            Err(TryLockError::WouldBlock) => return None,
        };
        if let Some(answer) = &mut state.answer
            && answer.deadline().is_some_and(|at| at <= now)
        {
            // Its caller takes it too slowly. It hears of that when it has taken what is out.
            answer.expire();
        }
        let pieces = state.is_handed.then_some(state.pieces);
        match (pieces, state.seen) {
            (Some(pieces), Some((seen, since))) if pieces == seen => {
                if now.saturating_duration_since(since) < limit {
                    return None;
                }
                state.answer.take()
            }
            _ => {
                state.seen = pieces.map(|pieces| (pieces, now));
                None
            }
        }
    }
}

impl Stream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let state = &mut *lock(&self.0.0);
        let Some(answer) = &mut state.answer else {
            return Poll::Ready(Some(Err(Box::new(Stalled))));
        };
        let polled = answer.poll_frame(cx);
        state.is_handed = matches!(polled, Poll::Ready(Some(Ok(_))));
        state.pieces += u64::from(state.is_handed);
        polled
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let state = lock(&self.0.0);
        // One that was taken away has an error to tell.
        state.answer.as_ref().is_some_and(Answer::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.0.0);
        (state.answer.as_ref()).map_or_else(SizeHint::default, Answer::size_hint)
    }
}

/// Nothing was taken of an answer for too long.
#[derive(Debug)]
struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller took nothing of its answer for too long")
    }
}

impl std::error::Error for Stalled {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Streams")
            .field(&lock(&self.0).len())
            .finish()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
