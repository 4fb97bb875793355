//! How something is handed to one who waits, whatever races: [`Handover`] and [`Baton`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use fairkey_core::sync::{Mutex, lock};

/// Where one who waits is given something, at most once, and told things meanwhile.
///
/// What is given after it is [closed](Self::close) comes back to the giver, and what was given
/// before and not taken comes back to who closes: nothing is lost, whoever is first.
#[derive(Debug)]
pub struct Handover<G, N>(Mutex<Cell<G, N>>);

#[derive(Debug)]
struct Cell<G, N> {
    given: Option<G>,
    /// No more is taken: something was given, or nobody waits.
    closed: bool,
    news: Option<N>,
    waker: Option<Waker>,
}

/// What one who waits hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<G, N> {
    /// It has what it waits for.
    Given(G),
    /// Something else: the last that it was told.
    Told(N),
}

impl<G, N> Handover<G, N> {
    /// Makes one for somebody who waits from now on.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Cell {
            given: None,
            closed: false,
            news: None,
            waker: None,
        }))
    }

    /// Gives what is waited for, and gives it back where it is taken no more.
    pub fn give(&self, what: G) -> Option<G> {
        let waker = {
            let mut cell = lock(&self.0);
            if cell.closed {
                return Some(what);
            }
            cell.closed = true;
            cell.given = Some(what);
            cell.waker.take()
        };
        wake(waker);
        None
    }

    /// Tells something, in place of what was told before and not heard.
    pub fn tell(&self, news: N) {
        let waker = {
            let mut cell = lock(&self.0);
            cell.news = Some(news);
            cell.waker.take()
        };
        wake(waker);
    }

    /// Tells something, unless there is something told and not heard.
    pub fn tell_if_silent(&self, news: N) {
        let waker = {
            let mut cell = lock(&self.0);
            if cell.news.is_some() {
                return;
            }
            cell.news = Some(news);
            cell.waker.take()
        };
        wake(waker);
    }

    /// Hears what there is, and is woken when there is something. What was given comes first.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Said<G, N>> {
        let mut cell = lock(&self.0);
        if let Some(given) = cell.given.take() {
            return Poll::Ready(Said::Given(given));
        }
        if let Some(news) = cell.news.take() {
            return Poll::Ready(Said::Told(news));
        }
        cell.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes no more, and returns what was given and not taken.
    pub fn close(&self) -> Option<G> {
        let mut cell = lock(&self.0);
        cell.closed = true;
        cell.waker = None;
        cell.given.take()
    }
}

impl<G, N> Default for Handover<G, N> {
    fn default() -> Self {
        Self::new()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        // The executor's code, on the thread of whoever gives: its panic is not theirs.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// Lets one at a time hand out what is free, and have somebody look again where that is needed.
///
/// Whoever finds it taken leaves word, and whoever has it looks once more: for what came free, or
/// who came, after it had looked. So nothing that came before a [`take`](Self::take) goes unseen.
#[derive(Debug)]
pub struct Baton(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    taken: bool,
    again: bool,
}

impl Baton {
    /// Makes one that nobody has.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Taken::default()))
    }

    /// Takes it. `false`: somebody has it, and will look again.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut state = lock(&self.0);
        if state.taken {
            state.again = true;
            return false;
        }
        state.taken = true;
        true
    }

    /// Gives it back. `false`: it is still held, since somebody left word; look again.
    #[must_use]
    pub fn give_back(&self) -> bool {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.again) {
            return false;
        }
        state.taken = false;
        true
    }

    /// Returns whether somebody has it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        lock(&self.0).taken
    }
}

impl Default for Baton {
    fn default() -> Self {
        Self::new()
    }
}
