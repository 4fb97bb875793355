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

/// As small as it can be, since there may be very many.
#[derive(Debug)]
struct Cell<G, N> {
    end: End<G>,
    news: Option<N>,
}

#[derive(Debug)]
enum End<G> {
    /// Something may be given; who is to be woken then, or when there are news.
    Open(Option<Waker>),
    /// No more is taken: something was given, or nobody waits. What was given and not taken.
    Closed(Option<G>),
}

impl<G> End<G> {
    fn take_waker(&mut self) -> Option<Waker> {
        match self {
            Self::Open(waker) => waker.take(),
            Self::Closed(_) => None,
        }
    }
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
            end: End::Open(None),
            news: None,
        }))
    }

    /// Gives what is waited for, and gives it back where it is taken no more.
    pub fn give(&self, what: G) -> Option<G> {
        let waker = {
            let mut cell = lock(&self.0);
            if matches!(cell.end, End::Closed(_)) {
                return Some(what);
            }
            let waker = cell.end.take_waker();
            cell.end = End::Closed(Some(what));
            waker
        };
        wake(waker);
        None
    }

    /// Tells something, in place of what was told before and not heard; but nothing after the
    /// [last](Self::tell_last).
    pub fn tell(&self, news: N) {
        let waker = {
            let mut cell = lock(&self.0);
            if matches!(cell.end, End::Closed(_)) {
                return;
            }
            cell.news = Some(news);
            cell.end.take_waker()
        };
        wake(waker);
    }

    /// Tells the last that there is to be heard, and [closes](Self::close) it: whoever was about to
    /// tell or to give something else comes too late, and cannot take this back.
    ///
    /// Where something was given before, that is the last.
    pub fn tell_last(&self, news: N) {
        let waker = {
            let mut cell = lock(&self.0);
            if matches!(cell.end, End::Closed(_)) {
                return;
            }
            cell.news = Some(news);
            let waker = cell.end.take_waker();
            cell.end = End::Closed(None);
            waker
        };
        wake(waker);
    }

    /// Tells something, unless there is something told and not heard.
    pub fn tell_if_silent(&self, news: N) {
        let waker = {
            let mut cell = lock(&self.0);
            if cell.news.is_some() || matches!(cell.end, End::Closed(_)) {
                return;
            }
            cell.news = Some(news);
            cell.end.take_waker()
        };
        wake(waker);
    }

    /// Hears what there is, and is woken when there is something. What was given comes first; after
    /// it, after the [last](Self::tell_last) that is told, and after [`close`](Self::close), nobody is
    /// woken any more.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Said<G, N>> {
        let mut cell = lock(&self.0);
        if let End::Closed(given) = &mut cell.end
            && let Some(given) = given.take()
        {
            return Poll::Ready(Said::Given(given));
        }
        if let Some(news) = cell.news.take() {
            return Poll::Ready(Said::Told(news));
        }
        if let End::Open(waker) = &mut cell.end {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes no more, and returns what was given and not taken.
    pub fn close(&self) -> Option<G> {
        let mut cell = lock(&self.0);
        match std::mem::replace(&mut cell.end, End::Closed(None)) {
            End::Open(_) => None,
            End::Closed(given) => given,
        }
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
