//! What happens when: [`Events`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use fairkey_core::{Clock, ManualClock, Timestamp};

/// What is to happen, in the order of time, and a clock that moves from one to the next.
///
/// For simulations that [`Simulation`](super::Simulation) does not cover: any type is an event, and
/// what happens at the same time happens in the order in which it was planned.
///
/// ```
/// use fairkey_testkit::simulate::Events;
/// use std::time::Duration;
///
/// let mut events = Events::new();
/// events.after(Duration::from_secs(2), "second");
/// events.after(Duration::from_secs(1), "first");
/// assert_eq!(events.next(), Some("first"));
/// assert_eq!(events.next(), Some("second"));
/// assert_eq!(events.now().as_nanos(), 2_000_000_000);
/// assert_eq!(events.next(), None);
/// ```
pub struct Events<E> {
    planned: BinaryHeap<Reverse<Planned<E>>>,
    count: u64,
    clock: ManualClock,
}

struct Planned<E> {
    at: Timestamp,
    number: u64,
    event: E,
}

impl<E> Events<E> {
    /// Makes an empty plan, with a clock that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            planned: BinaryHeap::new(),
            count: 0,
            clock: ManualClock::new(),
        }
    }

    /// Returns the clock: for the pool, and for whatever else takes its time from one.
    #[must_use]
    pub fn clock(&self) -> ManualClock {
        self.clock.clone()
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Plans an event; one in the past happens next.
    pub fn at(&mut self, at: Timestamp, event: E) {
        self.count += 1;
        self.planned.push(Reverse(Planned {
            at: at.max(self.now()),
            number: self.count,
            event,
        }));
    }

    /// Plans an event so long from now.
    pub fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now() + wait, event);
    }

    /// Moves the clock to the next event, and returns it; `None` where nothing is planned.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not be added to while it is read"
    )]
    pub fn next(&mut self) -> Option<E> {
        let Reverse(planned) = self.planned.pop()?;
        self.clock.advance_to(planned.at);
        Some(planned.event)
    }
}

impl<E> Default for Events<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("now", &self.now())
            .field("planned", &self.planned.len())
            .finish_non_exhaustive()
    }
}

impl<E> Planned<E> {
    fn order(&self) -> (Timestamp, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_for_the_same_time_keeps_its_order() {
        let mut events = Events::new();
        for n in 0..100 {
            events.after(Duration::from_secs(u64::from(n % 3 == 0)), n);
        }
        let order: Vec<u32> = std::iter::from_fn(|| events.next()).collect();
        let (later, sooner): (Vec<_>, Vec<_>) = (0..100).partition(|n| n % 3 == 0);
        assert_eq!(order, [sooner, later].concat());
    }

    #[test]
    fn the_past_happens_now_and_the_clock_never_goes_back() {
        let mut events = Events::new();
        events.after(Duration::from_secs(5), 5);
        assert_eq!(events.next(), Some(5));
        events.at(Timestamp::ZERO, 0);
        assert_eq!(events.next(), Some(0));
        assert_eq!(events.now(), Timestamp::ZERO + Duration::from_secs(5));
    }
}
