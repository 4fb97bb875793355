//! For how long a cooldown closes, and how it opens: [`CooldownConfig`].

use std::time::Duration;

use fairkey_core::{FaultKind, Retry, Timestamp};

use crate::recovery::Course;

/// For how long a [`Cooldown`](crate::Cooldown) closes, and how it opens again. Hints of the
/// upstream come first, capped by class; what stands here without "cap" holds where there is no
/// hint, and doubles each time in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct CooldownConfig {
    /// After "slow down" without a hint, the first time. Default 60 s.
    pub throttled: Duration,
    /// The longest time after "slow down" without a hint. Default 300 s.
    pub throttled_longest: Duration,
    /// The most that a hint of "slow down" is believed. Default 300 s.
    pub throttled_cap: Duration,
    /// After "used up" without a reset stamp, the first time: how often a top-up is looked for.
    /// Default 60 s.
    pub exhausted: Duration,
    /// The longest time after "used up" without a reset stamp. Default 1 h: a balance is topped
    /// up at any time.
    pub exhausted_longest: Duration,
    /// The most that a reset stamp is believed. Default 31 days: the longest period of a cap.
    pub exhausted_cap: Duration,
    /// After a refusal of the credential. Default `None`: until the key is replaced in a reload,
    /// confirmed or cleared, since waiting cures nothing.
    pub refused: Option<Duration>,
    /// The most that the hint of an ordinary failure is believed; without a hint a failure does
    /// not close (that is a breaker's work). Default 60 s.
    pub failed_cap: Duration,
    /// Which part of a time that no hint gave is left to chance, 0 to 1: 0.2, the default, makes
    /// of 60 s something between 48 s and 60 s. What lies outside counts as the nearer end.
    pub jitter: f64,
    /// When the time is over, one call is let through as a probe; when it has succeeded, 2 at a
    /// time, then 4, and so on, until this many; then all. Default 16. With 1 the success of the
    /// probe lets all in; with 0 there is no probe, and all come back at once.
    pub ramp: u32,
    /// How long a probe of which nothing is heard, neither content nor an end, bars all others.
    /// Then one more call may pass. Default 60 s.
    pub probe_timeout: Duration,
    /// How much longer than its time something stays closed for a checker that looks without
    /// spending tokens, and then says [`confirm`](crate::Cooldown::confirm) or
    /// [`close_until`](crate::Cooldown::close_until). Default zero: nobody is waited for.
    pub check_wait: Duration,
}

impl CooldownConfig {
    /// The defaults, for use in constants.
    pub const DEFAULT: Self = Self {
        throttled: Duration::from_secs(60),
        throttled_longest: Duration::from_secs(300),
        throttled_cap: Duration::from_secs(300),
        exhausted: Duration::from_secs(60),
        exhausted_cap: Duration::from_secs(31 * 24 * 60 * 60),
        exhausted_longest: Duration::from_secs(60 * 60),
        refused: None,
        failed_cap: Duration::from_secs(60),
        jitter: 0.2,
        ramp: 16,
        probe_timeout: Duration::from_secs(60),
        check_wait: Duration::ZERO,
    };

    pub(super) fn course(&self) -> Course {
        Course {
            probe_timeout: self.probe_timeout.max(Duration::from_nanos(1)),
            ramp: self.ramp,
            all_at_once: self.ramp == 0,
        }
    }

    /// Returns the most that a stamp of this kind is believed.
    pub(super) fn cap(&self, kind: FaultKind) -> Duration {
        match kind {
            FaultKind::Throttled => self.throttled_cap,
            FaultKind::Exhausted => self.exhausted_cap,
            FaultKind::Refused => Duration::MAX,
            _ => self.failed_cap,
        }
    }

    /// Returns for how long a fault closes, if it does; by a schedule of our own if nobody named a
    /// time.
    pub(super) fn closes_for(&self, kind: FaultKind, retry: Retry, now: Timestamp) -> Option<Rest> {
        let schedule = |first, longest| Some(Rest::Schedule { first, longest });
        match (kind, retry, retry.at(now)) {
            (FaultKind::Refused, ..) => Some(match self.refused {
                None => Rest::ForGood,
                Some(wait) => Rest::UntilEvidence(now + wait),
            }),
            // A stamp in the past says that it is open again.
            (_, _, Some(at)) => {
                let until = at.min(now + self.cap(kind));
                (until > now).then_some(Rest::Until(until))
            }
            // Nobody knows a time, and waiting alone is not to be relied on: as long as a stamp
            // would be believed, unless there is evidence before.
            (FaultKind::Throttled | FaultKind::Exhausted, Retry::Never, None) => {
                Some(Rest::UntilEvidence(now + self.cap(kind)))
            }
            (FaultKind::Throttled, _, None) => schedule(self.throttled, self.throttled_longest),
            (FaultKind::Exhausted, _, None) => schedule(self.exhausted, self.exhausted_longest),
            (_, _, None) => None,
        }
    }
}

impl Default for CooldownConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// For how long a fault closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Somebody named this time.
    Until(Timestamp),
    /// Nobody named a time; this is the latest.
    UntilEvidence(Timestamp),
    /// Nobody named a time: each time twice as long as the last.
    Schedule {
        first: Duration,
        longest: Duration,
    },
    ForGood,
}
