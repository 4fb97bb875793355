//! One call in the queue: [`Waiter`], and what it wants: [`Wanted`].

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use fairkey_core::{Ask, Cost, Scope, Timestamp, Tried, Unavailable};
use fairkey_strategy::queue::{Handover, Said, Ticket};

use tokio::time::Instant;

use super::{Admission, Held, Line, Wish, ask_of, line_of};
use crate::job::Job;

/// One call in the queue: what it wants, and what it has been told. Very many may wait: every byte
/// counts.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) admission: Arc<Admission>,
    pub(super) ticket: Ticket,
    pub(super) wanted: Wanted,
    /// When there may be a key, by what it was told last, in nanoseconds; 0: nobody said.
    opens: AtomicU64,
    cell: Handover<Box<Held>, News>,
}

/// A [`Wish`], as it is kept: what few calls have is in a box.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) job: Arc<Job>,
    pub(super) cost: Cost,
    /// The end of time: none.
    deadline: Timestamp,
    rare: Option<Box<Rare>>,
}

/// What few calls that wait have.
#[derive(Debug)]
struct Rare {
    /// Another one than that of the job.
    model: Option<Arc<str>>,
    tried: Option<Box<Tried>>,
    patience: Option<Box<Instant>>,
}

impl Wanted {
    fn new(wish: Wish) -> Self {
        let Wish {
            job,
            model,
            cost,
            deadline,
            tried,
            patience,
        } = wish;
        let is_rare = tried.is_some() || patience.is_some() || model != job.model;
        let rare = Rare {
            model,
            tried,
            patience,
        };
        Self {
            job,
            cost,
            deadline: deadline.unwrap_or(Timestamp::MAX),
            rare: is_rare.then(|| Box::new(rare)),
        }
    }

    pub(super) fn model(&self) -> Option<&Arc<str>> {
        let model = self.rare.as_ref().map(|rare| &rare.model);
        model.unwrap_or(&self.job.model).as_ref()
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        (self.deadline < Timestamp::MAX).then_some(self.deadline)
    }

    /// Where the call has another model to go on with: until when it waits for this one.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.rare.as_ref()?.patience.as_deref().copied()
    }

    fn tried(&self) -> Option<&Tried> {
        self.rare.as_ref()?.tried.as_deref()
    }

    pub(super) fn ask(&self) -> Ask<'_> {
        let model = self.model().map(|name| &**name);
        ask_of(&self.job, model, self.cost, self.deadline(), self.tried())
    }
}

/// What a call in the queue is told.
#[derive(Debug)]
pub(super) enum News {
    /// There was nothing for it. The same words as the last time are news, too.
    Refused(Refused),
    /// Foreign code panicked over this call, on somebody else's thread; this is what it said.
    Panicked(Box<Panic>),
    /// It is out of the queue: its time is over, or no answer would come in time.
    TooLate,
    /// Nobody keeps the queue's time any more: see to it.
    Unattended,
}

/// What a foreign panic said.
#[derive(Debug)]
pub(super) struct Panic(pub(super) Box<dyn Any + Send>);

/// An [`Unavailable`], as it is kept.
#[derive(Debug)]
pub(super) struct Refused {
    /// The end of time: none.
    retry_at: Timestamp,
    by: Option<Scope>,
    by_limit: bool,
}

impl From<Unavailable> for Refused {
    fn from(it: Unavailable) -> Self {
        Self {
            retry_at: it.retry_at.unwrap_or(Timestamp::MAX),
            by: it.by,
            by_limit: it.by_limit,
        }
    }
}

impl From<Refused> for Unavailable {
    fn from(it: Refused) -> Self {
        Self {
            retry_at: (it.retry_at < Timestamp::MAX).then_some(it.retry_at),
            by: it.by,
            by_limit: it.by_limit,
        }
    }
}

impl Waiter {
    pub(super) fn new(admission: &Arc<Admission>, ticket: Ticket, wish: Wish) -> Self {
        Self {
            admission: Arc::clone(admission),
            ticket,
            wanted: Wanted::new(wish),
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
        let Wanted { job, rare, .. } = &self.wanted;
        let has_tried = rare.as_ref().is_some_and(|rare| rare.tried.is_some());
        line_of(job, self.wanted.model(), has_tried, self.ticket)
    }

    /// Gives the call what it waits for; gives it back where the call takes no more.
    pub(super) fn grant(&self, held: Box<Held>) -> Option<Box<Held>> {
        self.cell.give(held)
    }

    pub(super) fn tell(&self, news: News) {
        match news {
            // Nothing that the call has not read yet is lost for this.
            News::Unattended => self.cell.tell_if_silent(news),
            // It is out of the queue, where nobody finds it any more: whoever has asked for it
            // meanwhile, and was refused, must not take its last word away.
            News::TooLate | News::Panicked(_) => self.cell.tell_last(news),
            News::Refused(_) => self.cell.tell(news),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waits_takes_little() {
        // With the two counts of an `Arc`, 152 bytes: what an allocator gives out without waste.
        assert!(size_of::<Waiter>() <= 136, "{}", size_of::<Waiter>());
    }
}
