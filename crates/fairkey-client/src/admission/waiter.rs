//! One call in line: [`Waiter`].

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use fairkey_core::Unavailable;

use super::lines::Line;
use super::{Held, Wish};

/// One call in line: what it wants, and what it has been told.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) line: Line,
    pub(super) wish: Wish,
    cell: Mutex<Cell>,
}

#[derive(Debug, Default)]
struct Cell {
    granted: Option<Held>,
    /// No more is taken: something was granted already, or the call has left.
    closed: bool,
    /// A refusal that the call has not read yet.
    news: Option<Unavailable>,
    /// What foreign code said when it panicked over this call.
    panic: Option<Panic>,
    /// Whether it was turned away, since no answer would come in time.
    too_late: bool,
    waker: Option<Waker>,
}

/// What a panic says.
type Panic = Box<dyn Any + Send>;

/// What happened to a call in line.
pub(super) enum Event {
    Granted(Held),
    Refused(Unavailable),
    /// Foreign code panicked over this call, on somebody else's thread.
    Panicked(Panic),
    /// It is out of line: no answer would come before its deadline.
    TooLate,
}

impl Waiter {
    pub(super) fn new(ticket: u64, line: Line, wish: Wish) -> Self {
        Self {
            ticket,
            line,
            wish,
            cell: Mutex::default(),
        }
    }

    /// Gives the call what it waits for; gives it back where the call takes no more.
    pub(super) fn grant(&self, held: Held) -> Option<Held> {
        let waker = {
            let mut cell = self.cell();
            if cell.closed {
                return Some(held);
            }
            cell.closed = true;
            cell.granted = Some(held);
            cell.waker.take()
        };
        wake(waker);
        None
    }

    /// Tells the call that there is nothing for it. The same words as the last time are news
    /// too: the call's timer may have gone off in between.
    pub(super) fn refuse(&self, unavailable: Unavailable) {
        let waker = {
            let mut cell = self.cell();
            cell.news = Some(unavailable);
            cell.waker.take()
        };
        wake(waker);
    }

    /// Hands the call the panic that it caused.
    pub(super) fn fail(&self, panic: Panic) {
        let waker = {
            let mut cell = self.cell();
            cell.panic = Some(panic);
            cell.waker.take()
        };
        wake(waker);
    }

    /// Tells the call that it need not wait any more.
    pub(super) fn turn_away(&self) {
        let waker = {
            let mut cell = self.cell();
            cell.too_late = true;
            cell.waker.take()
        };
        wake(waker);
    }

    /// Waits for what happens next.
    pub(super) async fn event(&self) -> Event {
        poll_fn(|cx| {
            let mut cell = self.cell();
            if let Some(held) = cell.granted.take() {
                return Poll::Ready(Event::Granted(held));
            }
            if let Some(panic) = cell.panic.take() {
                return Poll::Ready(Event::Panicked(panic));
            }
            if cell.too_late {
                return Poll::Ready(Event::TooLate);
            }
            if let Some(news) = cell.news.take() {
                return Poll::Ready(Event::Refused(news));
            }
            cell.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Takes no more, and gives back what was granted and not read.
    pub(super) fn close(&self) -> Option<Held> {
        let mut cell = self.cell();
        cell.closed = true;
        cell.waker = None;
        cell.granted.take()
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        // The executor's code, on the thread of whoever pumps: its panic is not theirs.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}
