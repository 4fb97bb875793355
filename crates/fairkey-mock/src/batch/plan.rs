//! How batches end: [`BatchPlan`].

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How the next batches go.
///
/// Each batch that is taken in uses up one plan, in the order in which plans were given; when they
/// are gone, batches are completed after [`Builder::job_duration`](crate::Builder::job_duration)
/// again.
///
/// ```
/// use std::time::Duration;
/// use fairkey_mock::{BatchPlan, MockOpenRouter};
///
/// let builder = MockOpenRouter::builder().batches([
///     BatchPlan::completes().after(Duration::from_secs(3600)).failing(["row-7"]),
///     BatchPlan::expires().billed(100).times(2),
/// ]);
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPlan {
    pub(crate) end: End,
    pub(crate) after: Option<Duration>,
    failing: HashSet<String>,
    failing_every: Option<u64>,
    pub(crate) is_shuffled: bool,
    billed: u64,
    times: u64,
}

/// How a batch ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    Failed(String),
    Expired,
    Cancelled,
}

impl End {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl BatchPlan {
    fn ending(end: End) -> Self {
        Self {
            end,
            after: None,
            failing: HashSet::new(),
            failing_every: None,
            is_shuffled: false,
            billed: 0,
            times: 1,
        }
    }

    /// The batch is answered.
    pub fn completes() -> Self {
        Self::ending(End::Completed)
    }

    /// The batch fails as a whole, and says why. It goes from `validating` to `failed`.
    pub fn fails(message: impl Into<String>) -> Self {
        Self::ending(End::Failed(message.into()))
    }

    /// The batch expires. Without [`after`](Self::after) that is when its window of 24 hours has
    /// passed.
    pub fn expires() -> Self {
        Self::ending(End::Expired).after(Duration::from_secs(24 * 3600))
    }

    /// The batch is cancelled, by somebody at the upstream: there is no call for it.
    pub fn is_cancelled() -> Self {
        Self::ending(End::Cancelled)
    }

    /// How long it takes to its end, by the mock's clock. Default:
    /// [`Builder::job_duration`](crate::Builder::job_duration).
    #[must_use]
    pub fn after(mut self, duration: Duration) -> Self {
        self.after = Some(duration);
        self
    }

    /// Requests with these `custom_id`s get an error instead of an answer.
    #[must_use]
    pub fn failing<I: Into<String>>(mut self, custom_ids: impl IntoIterator<Item = I>) -> Self {
        self.failing = custom_ids.into_iter().map(Into::into).collect();
        self
    }

    /// Every `n`th request of the batch gets an error instead of an answer, from the `n`th on; zero
    /// for none.
    #[must_use]
    pub fn failing_every(mut self, n: u64) -> Self {
        self.failing_every = (n > 0).then_some(n);
        self
    }

    /// Results come in an order of their own: by seed, not that of the requests.
    #[must_use]
    pub fn shuffled(mut self) -> Self {
        self.is_shuffled = true;
        self
    }

    /// The first `requests` are answered, counted and billed before a batch comes to an end that
    /// has no results. Without meaning for one that is completed. Default: none.
    #[must_use]
    pub fn billed(mut self, requests: u64) -> Self {
        self.billed = requests;
        self
    }

    /// Holds for the next `times` batches instead of one; zero drops the plan.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// Holds for every batch from here on.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u64::MAX)
    }

    /// Whether the request at this place (from 1) of the batch fails.
    pub(crate) fn fails_request(&self, place: u64, custom_id: &str) -> bool {
        self.failing.contains(custom_id)
            || self.failing_every.is_some_and(|n| place.is_multiple_of(n))
    }

    /// Whether the request at this place (from 1) is answered, and billed.
    pub(crate) fn bills(&self, place: u64) -> bool {
        self.end == End::Completed || place <= self.billed
    }
}

impl Default for BatchPlan {
    fn default() -> Self {
        Self::completes()
    }
}

/// What is planned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plans(VecDeque<BatchPlan>);

impl Plans {
    pub(crate) fn add(&mut self, plans: impl IntoIterator<Item = BatchPlan>) {
        let used = plans.into_iter().filter(|plan| plan.times > 0);
        self.0.extend(used);
    }

    /// Uses up one.
    pub(crate) fn take(&mut self) -> BatchPlan {
        let Some(plan) = self.0.front_mut() else {
            return BatchPlan::default();
        };
        let taken = plan.clone();
        if plan.times < u64::MAX {
            plan.times -= 1;
        }
        if plan.times == 0 {
            self.0.pop_front();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_used_up_in_order() {
        let mut plans = Plans::default();
        plans.add([
            BatchPlan::expires().times(0),
            BatchPlan::fails("no").times(2),
            BatchPlan::is_cancelled().forever(),
        ]);
        let ends: Vec<_> = (0..4).map(|_| plans.take().end.as_str()).collect();
        assert_eq!(ends, ["failed", "failed", "cancelled", "cancelled"]);
        assert_eq!(Plans::default().take(), BatchPlan::completes());
    }
}
