//! One call in the queue: [`Waiter`].

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use fairkey_core::{Timestamp, Unavailable};
use fairkey_strategy::queue::{Handover, Said, Ticket};

use super::{Admission, Held, Line, Wish};

/// One call in the queue: what it wants, and what it has been told.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) admission: Arc<Admission>,
    pub(super) ticket: Ticket,
    pub(super) wish: Wish,
    /// When there may be a key, by what it was told last, in nanoseconds; 0: nobody said.
    opens: AtomicU64,
    cell: Handover<Box<Held>, News>,
}

/// What a call in the queue is told.
#[derive(Debug)]
pub(super) enum News {
    /// There was nothing for it. The same words as the last time are news, too.
    Refused(Unavailable),
    /// Foreign code panicked over this call, on somebody else's thread; this is what it said.
    Panicked(Box<dyn Any + Send>),
    /// It is out of the queue: its time is over, or no answer would come in time.
    TooLate,
    /// Nobody keeps the queue's time any more: see to it.
    Unattended,
}

impl Waiter {
    pub(super) fn new(admission: &Arc<Admission>, ticket: Ticket, wish: Wish) -> Self {
        Self {
            admission: Arc::clone(admission),
            ticket,
            wish,
            opens: AtomicU64::new(0),
            cell: Handover::new(),
        }
    }

    /// Returns when there may be a key, by what it was told last.
    pub(super) fn opens(&self) -> Option<Timestamp> {
        let nanos = self.opens.load(Ordering::Relaxed);
        (nanos > 0).then(|| Timestamp::from_nanos(nanos))
    }

    /// Notes when there may be a key, by what it was told.
    pub(super) fn note_told(&self, opens: Option<Timestamp>) {
        // Relaxed: the waiting call alone writes and reads it.
        let nanos = opens.map_or(0, Timestamp::as_nanos);
        self.opens.store(nanos, Ordering::Relaxed);
    }

    /// Returns the line that it stands in.
    pub(super) fn line(&self) -> Line {
        self.wish.line(self.ticket)
    }

    /// Gives the call what it waits for; gives it back where the call takes no more.
    pub(super) fn grant(&self, held: Box<Held>) -> Option<Box<Held>> {
        self.cell.give(held)
    }

    pub(super) fn tell(&self, news: News) {
        match news {
            // Nothing that the call has not read yet is lost for this.
            News::Unattended => self.cell.tell_if_silent(news),
            news => self.cell.tell(news),
        }
    }

    /// Returns what happens next.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Said<Box<Held>, News>> {
        self.cell.poll(cx)
    }

    /// Takes no more, and gives back what was granted and not read.
    pub(super) fn close(&self) -> Option<Box<Held>> {
        self.cell.close()
    }
}
