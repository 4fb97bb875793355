//! What stands in a queue, and what is told of it: [`Entry`], [`Ticket`], [`Charge`], [`Full`].

use std::time::Duration;

use fairkey_core::{Class, Cost, Timestamp};

use super::{QueueConfig, Tenant};

/// What one call that waits says of itself.
#[derive(Clone, Debug)]
pub struct Entry<L> {
    /// What it has in common with others: what is refused to one call of a line is refused to
    /// every call of it that is no smaller. Such as the model.
    pub line: L,
    /// How urgent it is.
    pub class: Class,
    /// For whom it is made; `None`: all of these are one tenant.
    pub tenant: Option<Tenant>,
    /// What it is expected to cost.
    pub cost: Cost,
    /// When it stops waiting; it is not served at that time or later.
    pub limit: Option<Timestamp>,
}

/// A call's place in the order of those who wait. A call that comes back with its ticket has the
/// place that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(super) number: u64,
    /// When it first came.
    pub(super) since: Timestamp,
    /// What earliest deadline first goes by.
    pub(super) due: Timestamp,
}

impl Ticket {
    /// The due time of what has no limit, or one that is farther. Since due times are finite, and
    /// those of newcomers ever later, nobody is passed by newcomers for longer than that.
    pub(super) const HORIZON: Duration = Duration::from_secs(600);

    pub(super) fn new(number: u64, now: Timestamp, limit: Option<Timestamp>) -> Self {
        let horizon = now + Self::HORIZON;
        Self {
            number,
            since: now,
            due: limit.map_or(horizon, |limit| limit.min(horizon)),
        }
    }

    /// Returns its number, unlike that of any other ticket of the queue.
    #[must_use]
    pub fn number(self) -> u64 {
        self.number
    }

    pub(super) fn place(self) -> Place {
        (self.due, self.number)
    }
}

/// A place in a lane: who is due first, and among those who came first.
pub(super) type Place = (Timestamp, u64);

/// What a tenant was charged for a call that was served: to be
/// [settled](super::Queue::settle) when it is known what the call cost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "settle it when the call has ended"]
pub struct Charge {
    pub(super) tenant: u64,
    pub(super) level: usize,
    pub(super) weight: u64,
    pub(super) units: u64,
    /// As it was estimated.
    pub(super) estimated: u64,
}

/// Why a call may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Full {
    /// There is no room in the queue.
    Queue,
    /// There is no room for its class.
    Class,
    /// There is no room for its tenant.
    Tenant,
    /// It would still wait when its time is over.
    TooLate,
}

/// A call that may not wait: why, and for how long it would have waited, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Full,
    /// How long a call like it would wait from now on, as far as it can be told.
    pub wait: Option<Duration>,
}

/// Classes by place: the first is the most urgent.
pub(super) const LEVELS: usize = 3;

pub(super) fn level_of(class: Class) -> usize {
    match class {
        Class::Interactive => 0,
        Class::Normal => 1,
        Class::Batch => 2,
    }
}

pub(super) fn weight_of(config: &QueueConfig, level: usize) -> u64 {
    let weights = &config.weights;
    u64::from([weights.interactive, weights.normal, weights.batch][level].max(1))
}
