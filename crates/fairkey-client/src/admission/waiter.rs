//! One call in the queue: [`Waiter`].

use std::any::Any;
use std::future::poll_fn;

use fairkey_core::Unavailable;
use fairkey_strategy::queue::{Handover, Said};

use super::{Held, Line, Wish};

/// One call in the queue: what it wants, and what it has been told.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) line: Line,
    pub(super) wish: Wish,
    cell: Handover<Held, News>,
}

/// What a call in the queue is told.
#[derive(Debug)]
pub(super) enum News {
    /// There was nothing for it. The same words as the last time are news, too.
    Refused(Unavailable),
    /// Foreign code panicked over this call, on somebody else's thread; this is what it said.
    Panicked(Box<dyn Any + Send>),
    /// It is out of the queue: no answer would come in time.
    TooLate,
    /// Nobody keeps the queue's time any more: see to it.
    Unattended,
}

impl Waiter {
    pub(super) fn new(line: Line, wish: Wish) -> Self {
        Self {
            line,
            wish,
            cell: Handover::new(),
        }
    }

    /// Gives the call what it waits for; gives it back where the call takes no more.
    pub(super) fn grant(&self, held: Held) -> Option<Held> {
        self.cell.give(held)
    }

    pub(super) fn tell(&self, news: News) {
        match news {
            // Nothing that the call has not read yet is lost for this.
            News::Unattended => self.cell.tell_if_silent(news),
            news => self.cell.tell(news),
        }
    }

    /// Waits for what happens next.
    pub(super) async fn event(&self) -> Said<Held, News> {
        poll_fn(|cx| self.cell.poll(cx)).await
    }

    /// Takes no more, and gives back what was granted and not read.
    pub(super) fn close(&self) -> Option<Held> {
        self.cell.close()
    }
}
