//! The way back of what was closed, one probe and then a ramp: [`Recovery`], and [`Track`], which
//! lets selections look at it without a lock.

use std::time::Duration;

use fairkey_core::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use fairkey_core::{Denied, Outcome, Scope, Ticket, Timestamp};

use crate::{Health, Status};

/// How something comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// How long a probe is waited for before the next call may be one, too.
    pub(crate) probe_timeout: Duration,
    /// Up to how many calls at a time it ramps; below 2 a probe's success is enough.
    pub(crate) ramp: u32,
    /// Whether all come back at once, without a probe. The first success ends it.
    pub(crate) all_at_once: bool,
}

/// What the end of a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Success,
    Failure,
    Neutral,
}

impl From<Outcome> for Heard {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::Fault { .. } => Self::Failure,
            _ => Self::Neutral,
        }
    }
}

/// What a call that passed came as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// While all was well.
    Usual,
    Probe,
    Ramp,
}

/// Generation and kind in one word: of a state, two facts that must be read together (a draft
/// with two atomics lost its probe permit under one interleaving); of a call, its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) fn new(generation: u32, kind: Kind) -> Self {
        Self(u64::from(generation) << 2 | kind as u64)
    }

    /// Returns whether it is of a state in which all is well.
    #[inline]
    pub(crate) fn is_well(self) -> bool {
        self.0 & 3 == Kind::Usual as u64
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 2) as u32
    }

    fn is_probe(self) -> bool {
        self.0 & 3 == Kind::Probe as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// All is well.
    Well,
    /// Nothing passes until a time; from then on the next call is the probe.
    Out { until: Timestamp },
    /// A probe is out. From `deadline` on the next call is one, too, and whichever ends first
    /// decides.
    Probe { deadline: Timestamp, out: u32 },
    /// So many at a time, of those that wait for their first content.
    Ramp {
        limit: u32,
        waiting: u32,
        succeeded: u32,
    },
}

/// What came of a word about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing that others need to know of.
    Same,
    /// A probe has succeeded: what was closed works, and the ramp begins.
    Proven,
    /// All is well again.
    Well,
    /// What was on trial has failed. Whoever keeps it takes it out again.
    Failed,
}

/// Where something stands between well and out.
///
/// Each time it goes out and each time it is well again a new generation begins. A call that
/// began in another one changes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    generation: u32,
    /// When it was last well.
    since: Timestamp,
}

impl Recovery {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::Well,
            generation: 1,
            since: Timestamp::ZERO,
        }
    }

    /// Returns what comes after `old` in the same place, and belongs to somebody else.
    pub(crate) const fn in_place_of(old: Self) -> Self {
        Self {
            generation: old.generation.wrapping_add(1),
            ..Self::new()
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn is_well(&self) -> bool {
        self.phase == Phase::Well
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns the word of this state.
    pub(crate) fn word(&self) -> Word {
        let kind = if self.is_well() {
            Kind::Usual
        } else {
            Kind::Probe
        };
        Word::new(self.generation, kind)
    }

    /// Returns until when it is out.
    pub(crate) fn out_until(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Out { until } => Some(until),
            _ => None,
        }
    }

    /// Takes it out from `now` until a time.
    pub(crate) fn take_out(&mut self, until: Timestamp, now: Timestamp) {
        if self.is_well() {
            self.since = now;
        }
        self.phase = Phase::Out { until };
        self.generation = self.generation.wrapping_add(1);
    }

    /// Moves the end of its time out, and nothing else.
    pub(crate) fn set_until(&mut self, end: Timestamp) {
        if let Phase::Out { until } = &mut self.phase {
            *until = end;
        }
    }

    /// Makes it well.
    pub(crate) fn make_well(&mut self) {
        self.phase = Phase::Well;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Tells whether a call may pass.
    pub(crate) fn admit(&self, by: Scope, now: Timestamp) -> Result<(), Denied> {
        match self.phase {
            Phase::Out { until } if now < until => Err(denied(by, until)),
            // The end of the probe decides; its deadline is how long that is waited for.
            Phase::Probe { deadline, .. } if now < deadline => {
                Err(Denied::until(by, deadline).or_sooner())
            }
            Phase::Ramp { limit, waiting, .. } if waiting >= limit => {
                Err(Denied::for_good(by).or_sooner())
            }
            _ => Ok(()),
        }
    }

    /// Lets a call in that is admitted; returns its ticket.
    pub(crate) fn enter(&mut self, now: Timestamp, course: Course) -> Word {
        let kind = match &mut self.phase {
            Phase::Well => Kind::Usual,
            Phase::Out { .. } if course.all_at_once => {
                self.phase = Phase::Ramp {
                    limit: u32::MAX,
                    waiting: 1,
                    succeeded: 0,
                };
                Kind::Ramp
            }
            Phase::Out { .. } => {
                self.phase = Phase::Probe {
                    deadline: now + course.probe_timeout,
                    out: 1,
                };
                Kind::Probe
            }
            Phase::Probe { deadline, out } => {
                *deadline = now + course.probe_timeout;
                *out += 1;
                Kind::Probe
            }
            Phase::Ramp { waiting, .. } => {
                *waiting += 1;
                Kind::Ramp
            }
        };
        Word::new(self.generation, kind)
    }

    /// Hears that the first content of a call has come. That is success enough to go on; what
    /// becomes of the rest of the stream is heard at its end.
    pub(crate) fn first_content(&mut self, ticket: Word, course: Course) -> Step {
        if ticket.is_well() || ticket.generation() != self.generation {
            return Step::Same;
        }
        self.give_back(ticket, Heard::Success, course)
    }

    /// Takes the ticket of a call back that came as probe or on the ramp. `had_content` says that
    /// its permit went back when its first content came.
    pub(crate) fn leave(
        &mut self,
        ticket: Word,
        heard: Heard,
        had_content: bool,
        course: Course,
    ) -> Step {
        // Else a straggler: its permit was of a state that is gone.
        if ticket.is_well() || ticket.generation() != self.generation {
            Step::Same
        } else if !had_content {
            self.give_back(ticket, heard, course)
        } else if heard == Heard::Failure && !self.is_well() {
            Step::Failed
        } else {
            Step::Same
        }
    }

    /// Hears of a success that came without a ticket, of a call that began after it was taken out:
    /// the same as that of a probe.
    pub(crate) fn proven(&mut self, course: Course) -> Step {
        match self.phase {
            Phase::Out { .. } | Phase::Probe { .. } => {
                self.phase = Phase::Probe {
                    deadline: Timestamp::ZERO,
                    out: 1,
                };
                let word = Word::new(self.generation, Kind::Probe);
                self.give_back(word, Heard::Success, course)
            }
            Phase::Well | Phase::Ramp { .. } => Step::Same,
        }
    }

    fn give_back(&mut self, ticket: Word, heard: Heard, course: Course) -> Step {
        if heard == Heard::Failure {
            return match self.phase {
                Phase::Probe { .. } | Phase::Ramp { .. } => Step::Failed,
                Phase::Well | Phase::Out { .. } => Step::Same,
            };
        }
        match &mut self.phase {
            Phase::Probe { .. } if heard == Heard::Success => {
                if course.ramp <= 1 {
                    self.make_well();
                    return Step::Well;
                }
                self.phase = Phase::Ramp {
                    limit: 2,
                    waiting: 0,
                    succeeded: 0,
                };
                Step::Proven
            }
            // The permit goes back, and nothing was learned. While another probe is out, its
            // deadline holds.
            Phase::Probe { out: out @ 2.., .. } => {
                *out -= 1;
                Step::Same
            }
            Phase::Probe { .. } => {
                self.phase = Phase::Out {
                    until: Timestamp::ZERO,
                };
                Step::Same
            }
            // A probe that another one has overtaken holds no place on the ramp.
            Phase::Ramp { .. } if ticket.is_probe() => Step::Same,
            Phase::Ramp {
                limit,
                waiting,
                succeeded,
            } => {
                *waiting = waiting.saturating_sub(1);
                if heard == Heard::Neutral {
                    return Step::Same;
                }
                *succeeded += 1;
                if course.all_at_once || *limit == u32::MAX {
                    self.make_well();
                    return Step::Well;
                }
                if *succeeded < *limit {
                    return Step::Same;
                }
                if limit.saturating_mul(2) > course.ramp {
                    self.make_well();
                    return Step::Well;
                }
                *limit *= 2;
                *succeeded = 0;
                Step::Same
            }
            Phase::Well | Phase::Out { .. } => Step::Same,
        }
    }

    /// Describes it; what closed it is known to its keeper.
    pub(crate) fn status(&self, now: Timestamp) -> Status {
        let (health, until) = match self.phase {
            Phase::Well => return Status::WELL,
            Phase::Out { until } if now < until => (Health::Out, Some(until)),
            Phase::Out { .. } => (Health::HalfOpen, None),
            Phase::Probe { deadline, .. } => (Health::Probing, Some(deadline)),
            Phase::Ramp { .. } => (Health::Ramping, None),
        };
        Status {
            health,
            since: Some(self.since),
            until: until.filter(|until| *until < Timestamp::MAX),
            cause: None,
        }
    }
}

/// Returns the refusal of what is out until a time, or for good.
pub(crate) fn denied(by: Scope, until: Timestamp) -> Denied {
    if until == Timestamp::MAX {
        Denied::for_good(by)
    } else {
        Denied::until(by, until)
    }
}

/// Part of a time that chance may leave out: `unit` is from 0 to 1.
pub(crate) fn jittered(full: Duration, jitter: f64, unit: f64) -> Duration {
    // At most what a clock can tell: the product of the longest duration and a part of it may
    // not fit a duration.
    let full = full.min(Duration::from_nanos(u64::MAX));
    full.mul_f64(1.0 - jitter * unit)
        .max(Duration::from_nanos(1))
}

/// A [`Recovery`] behind a lock, with what its keeper knows beside, and in front of it what a
/// selection reads without the lock.
#[derive(Debug)]
pub(crate) struct Track<T> {
    /// A [`Word`]: written under the lock, read without.
    word: AtomicU64,
    /// While out, until when; otherwise zero. A hint that saves the lock.
    until: AtomicU64,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
pub(crate) struct Inner<T> {
    pub(crate) recovery: Recovery,
    pub(crate) more: T,
}

impl<T> Track<T> {
    pub(crate) fn new(more: T) -> Self {
        let recovery = Recovery::new();
        Self {
            word: AtomicU64::new(recovery.word().0),
            until: AtomicU64::new(0),
            inner: Mutex::new(Inner { recovery, more }),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        // Acquire, with the Release of `publish`: who sees a generation sees the hint that was
        // set before it.
        Word(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        lock(&self.inner)
    }

    /// Makes what the lock protects public.
    pub(crate) fn publish(&self, inner: &Inner<T>) {
        let until = inner.recovery.out_until().unwrap_or(Timestamp::ZERO);
        self.until.store(until.as_nanos(), Ordering::Relaxed);
        self.word.store(inner.recovery.word().0, Ordering::Release);
    }

    /// Tells whether a call may pass, without the lock where all is well, or out for long.
    pub(crate) fn look(&self, by: Scope, now: Timestamp) -> Result<(), Denied> {
        if self.word().is_well() {
            return Ok(());
        }
        // Relaxed: a hint. It is zero, or a time before which this generation stays out.
        let until = Timestamp::from_nanos(self.until.load(Ordering::Relaxed));
        if now < until {
            return Err(denied(by, until));
        }
        self.lock().recovery.admit(by, now)
    }

    /// Lets a call in, or says why not.
    #[inline]
    pub(crate) fn enter(
        &self,
        by: Scope,
        now: Timestamp,
        course: Course,
    ) -> Result<Ticket, Denied> {
        let word = self.word();
        if word.is_well() {
            Ok(Ticket(word.0))
        } else {
            self.enter_on_trial(by, now, course)
        }
    }

    #[cold]
    fn enter_on_trial(&self, by: Scope, now: Timestamp, course: Course) -> Result<Ticket, Denied> {
        let mut inner = self.lock();
        inner.recovery.admit(by, now)?;
        let ticket = inner.recovery.enter(now, course);
        self.publish(&inner);
        Ok(Ticket(ticket.0))
    }
}
