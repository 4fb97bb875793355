//! What a key leads to: [`Backend`], and the [`Quota`] of an account.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use fairkey_core::{FaultKind, Key, Outcome, Retry, Scope, Timestamp};

use super::Distribution;

/// What one key leads to: how long it takes, how much it does at a time, and how it fails.
///
/// ```
/// use fairkey_testkit::simulate::{Backend, Distribution};
/// use std::time::Duration;
///
/// let slow_for_a_while = Backend::new(Distribution::lognormal(0.3, 0.5))
///     .workers(8)
///     .during(Duration::from_secs(10)..Duration::from_secs(20), |backend| {
///         backend.service(Distribution::constant(5.0)).failing(0.1)
///     });
/// ```
#[derive(Clone, Debug)]
pub struct Backend {
    behavior: Behavior,
    changes: Vec<(Range<Duration>, Behavior)>,
    pub(super) workers: usize,
    pub(super) account: Option<String>,
    pub(super) weight: u32,
}

/// What can be different for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behavior {
    pub(super) service: Distribution,
    pub(super) failing: f64,
    pub(super) fault: Outcome,
}

impl Backend {
    /// Makes one that works on any number of calls at a time, each for a time from `service`, in
    /// seconds, and never fails.
    #[must_use]
    pub fn new(service: Distribution) -> Self {
        Self {
            behavior: Behavior {
                service,
                failing: 0.0,
                fault: Outcome::fault(Scope::Key, FaultKind::Failed),
            },
            changes: Vec::new(),
            workers: usize::MAX,
            account: None,
            weight: 1,
        }
    }

    /// Sets how long a call takes, in seconds. A [`Call`](super::Call) that says so itself takes
    /// as long as that.
    #[must_use]
    pub fn service(mut self, service: Distribution) -> Self {
        self.behavior.service = service;
        self
    }

    /// Sets how many calls are worked on at a time; the others wait for their turn. At least 1.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets the part of the calls that fail, 0 to 1, each after its time.
    #[must_use]
    pub fn failing(mut self, part: f64) -> Self {
        self.behavior.failing = part;
        self
    }

    /// Sets how a call fails. By default [`FaultKind::Failed`] of [`Scope::Key`].
    #[must_use]
    pub fn fault(mut self, fault: Outcome) -> Self {
        self.behavior.fault = fault;
        self
    }

    /// Makes service and failures different for calls that come in within a range of time; of
    /// several such ranges the last one given counts.
    #[must_use]
    pub fn during(mut self, range: Range<Duration>, change: impl FnOnce(Self) -> Self) -> Self {
        let changed = change(self.clone());
        self.changes.push((range, changed.behavior));
        self
    }

    /// Names the account that the key belongs to.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Sets the weight of the key. Default 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    pub(super) fn key(&self, label: String) -> Key {
        let secret = format!("sk-sim-{label}");
        let key = Key::new(label, secret).weight(self.weight);
        match &self.account {
            Some(account) => key.account(account.as_str()),
            None => key,
        }
    }

    pub(super) fn at(&self, now: Timestamp) -> &Behavior {
        let since = now.since(Timestamp::ZERO);
        let mut changes = self.changes.iter().rev();
        let found = changes.find(|(range, _)| range.contains(&since));
        found.map_or(&self.behavior, |(_, behavior)| behavior)
    }
}

/// What the other side lets an account have in any window, wherever it begins: requests and tokens
/// that have come in. What would be more is refused at once.
///
/// Tokens count in full as soon as the call comes in, those of its answer too: to the caller, who
/// learns of them at its end, that is the least kind of all ways to count. A call that is larger
/// than all of the limit is let in where nothing else is counted. A refused call is not counted.
///
/// A refusal is a fault of [`Scope::Account`], "slow down", and says when the call would fit: in
/// whole seconds, rounded up.
#[derive(Clone, Debug)]
pub struct Quota {
    window: Duration,
    requests: u64,
    tokens: u64,
    charged_to: Scope,
}

impl Quota {
    /// Makes a quota for any window of this length, which limits nothing yet.
    #[must_use]
    pub fn per(window: Duration) -> Self {
        Self {
            window,
            requests: u64::MAX,
            tokens: u64::MAX,
            charged_to: Scope::Account,
        }
    }

    /// Makes a quota for any minute, which limits nothing yet.
    #[must_use]
    pub fn per_minute() -> Self {
        Self::per(Duration::from_secs(60))
    }

    /// Limits requests.
    #[must_use]
    pub fn requests(mut self, requests: u64) -> Self {
        self.requests = requests;
        self
    }

    /// Limits tokens.
    #[must_use]
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.tokens = tokens;
        self
    }

    /// Sets the scope that refusals are charged to, right or wrong: [`Scope::Key`] is what a pool
    /// does that cools single keys. Default [`Scope::Account`].
    #[must_use]
    pub fn charged_to(mut self, scope: Scope) -> Self {
        self.charged_to = scope;
        self
    }
}

/// A quota, and what counts in it.
#[derive(Debug)]
pub(super) struct Meter {
    quota: Quota,
    log: VecDeque<(Timestamp, u64)>,
    tokens: u64,
}

impl Meter {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            quota,
            log: VecDeque::new(),
            tokens: 0,
        }
    }

    /// Counts a call, or returns its refusal and for how long the call does not fit.
    pub(super) fn admit(&mut self, now: Timestamp, tokens: u64) -> Result<(), Outcome> {
        let Quota {
            window,
            requests,
            tokens: most,
            charged_to,
        } = self.quota;
        while let Some((at, used)) = self.log.front()
            && now.since(*at) >= window
        {
            self.tokens -= used;
            self.log.pop_front();
        }
        let (mut count, mut used, mut fits_at) = (self.log.len() as u64, self.tokens, now);
        for (at, gone) in &self.log {
            if count < requests && used.saturating_add(tokens) <= most {
                break;
            }
            (count, used, fits_at) = (count - 1, used - gone, *at + window);
        }
        if fits_at > now {
            let wait = fits_at.since(now).as_nanos().div_ceil(1_000_000_000);
            let hint = Retry::After(Duration::from_secs(wait as u64));
            return Err(Outcome::fault(charged_to, FaultKind::Throttled).with_retry(hint));
        }
        self.log.push_back((now, tokens));
        self.tokens += tokens;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs_f64(seconds)
    }

    fn hint(refusal: Result<(), Outcome>) -> Option<Duration> {
        match refusal {
            Err(Outcome::Fault {
                retry: Retry::After(wait),
                ..
            }) => Some(wait),
            _ => None,
        }
    }

    #[test]
    fn no_window_has_more_requests_than_the_quota_and_refusals_say_when() {
        let mut meter = Meter::new(Quota::per_minute().requests(2));
        assert!(meter.admit(at(0.0), 0).is_ok());
        assert!(meter.admit(at(10.0), 0).is_ok());
        assert_eq!(
            hint(meter.admit(at(20.5), 0)),
            Some(Duration::from_secs(40))
        );
        assert!(meter.admit(at(60.0), 0).is_ok());
        assert_eq!(hint(meter.admit(at(61.0), 0)), Some(Duration::from_secs(9)));
    }

    #[test]
    fn tokens_count_until_they_leave_the_window_and_a_giant_goes_alone() {
        let mut meter = Meter::new(Quota::per_minute().tokens(100));
        assert!(meter.admit(at(0.0), 60).is_ok());
        assert!(meter.admit(at(5.0), 30).is_ok());
        assert_eq!(
            hint(meter.admit(at(6.0), 20)),
            Some(Duration::from_secs(54))
        );
        assert_eq!(
            hint(meter.admit(at(6.0), 80)),
            Some(Duration::from_secs(59))
        );
        assert_eq!(
            hint(meter.admit(at(60.0), 1_000)),
            Some(Duration::from_secs(5))
        );
        assert!(meter.admit(at(65.0), 1_000).is_ok());
        assert_eq!(
            hint(meter.admit(at(66.0), 1)),
            Some(Duration::from_secs(59))
        );
    }

    #[test]
    fn of_ranges_in_time_the_last_one_given_counts() {
        let secs = |from, to| Duration::from_secs(from)..Duration::from_secs(to);
        let backend = Backend::new(Distribution::constant(1.0))
            .during(secs(10, 20), |backend| backend.failing(0.5))
            .during(secs(15, 30), |backend| backend.failing(1.0));
        let failing = |seconds| backend.at(at(seconds)).failing;
        assert_eq!(
            [0.0, 10.0, 15.0, 29.9, 30.0].map(failing),
            [0.0, 0.5, 1.0, 1.0, 0.0]
        );
    }
}
