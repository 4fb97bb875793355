//! What the upstream tells of its limits, taken at once.
//!
//! Only what is said is taken: how much, of what, and in which window. Headers say neither what
//! they count nor the length of the window, so a limit is taken from them only where the source of
//! the refusal says that too. What has to be guessed is not guessed here.

use std::time::Duration;

use fairkey_core::{Candidate, Timestamp};
use fairkey_openrouter::{Cause, Fault, KeyInfo, RateUnit, ResetInterval};
use fairkey_strategy::{Dimension, Limit, LimitGroup};

use crate::core::Core;
use crate::gates::on_clock;

const DAY: Duration = Duration::from_secs(86_400);

/// An allowance for a fixed period, as the upstream tells it.
struct Allowance {
    limit: Limit,
    left: Option<u64>,
    resets_at: Option<Duration>,
}

impl Core {
    /// Takes what a refusal says of the limit that it was.
    pub(crate) fn take_told(&self, key: Candidate<'_>, model: Option<&str>, fault: &Fault) {
        if fault.cause() == Cause::InFlightBudget
            && let Some(limit) = fault.budget().and_then(|budget| micros(budget.limit_usd?))
        {
            let limit = Some(Limit::at_a_time(limit));
            self.take_limit(key, LimitGroup::Account, Dimension::InFlightUsd, limit);
        }
        let Some(rate) = fault.rate_limit() else {
            return;
        };
        let group = match (fault.cause(), model) {
            (Cause::FreePerMinute | Cause::FreeDaily, _) => LimitGroup::FreeModels,
            (Cause::SharedCapacity, Some(model)) => LimitGroup::Model(model),
            _ => return,
        };
        let (Some(limit), Some(unit)) = (rate.limit.filter(|limit| *limit > 0), rate.unit) else {
            return;
        };
        match unit {
            RateUnit::RequestsPerMinute | RateUnit::TokensPerMinute => {
                let dimension = match unit {
                    RateUnit::RequestsPerMinute => Dimension::Requests,
                    _ => Dimension::Tokens,
                };
                // That nothing is left now is the cooldown's to know: it has the time.
                self.take_limit(key, group, dimension, Some(Limit::per_minute(limit)));
            }
            RateUnit::RequestsPerDay => {
                let told = Allowance {
                    limit: Limit::per(limit, DAY),
                    left: rate.remaining,
                    resets_at: rate.resets_at,
                };
                self.take_allowance(key, group, Dimension::Quota, &told);
            }
            _ => {}
        }
    }

    /// Takes what `GET /key` says: the key's own cap, and the free requests of its account's day.
    pub(crate) fn take_key_info(&self, key: Candidate<'_>, info: &KeyInfo) {
        let wall = self.wall.since_epoch();
        match info.limit.and_then(micros) {
            Some(limit) => {
                let interval = info.limit_reset.as_ref();
                let told = Allowance {
                    limit: Limit::per(limit, interval.map_or(Duration::ZERO, period)),
                    left: info.limit_remaining.map(|left| micros(left).unwrap_or(0)),
                    resets_at: interval.and_then(|interval| interval.next_reset(wall)),
                };
                self.take_allowance(key, LimitGroup::Key, Dimension::Credit, &told);
            }
            None => self.take_limit(key, LimitGroup::Key, Dimension::Credit, None),
        }
        // No quota is that large: it stands for none.
        let free = (info.free_model_daily_requests)
            .filter(|free| free.limit > 0 && free.limit < u64::from(u32::MAX));
        if let Some(free) = free {
            let told = Allowance {
                limit: Limit::per(free.limit, DAY),
                left: Some(free.remaining),
                resets_at: ResetInterval::Daily.next_reset(wall),
            };
            self.take_allowance(key, LimitGroup::FreeModels, Dimension::Quota, &told);
        }
    }

    fn take_limit(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        limit: Option<Limit>,
    ) {
        // Of more models than there is place for, the rest is met by refusals.
        let _ = self.limits.take(key, group, dimension, limit);
    }

    /// Takes a limit with what is left of it.
    fn take_allowance(
        &self,
        key: Candidate<'_>,
        group: LimitGroup<'_>,
        dimension: Dimension,
        told: &Allowance,
    ) {
        self.take_limit(key, group, dimension, Some(told.limit));
        let (now, wall) = (self.admission.pool.now(), self.wall.since_epoch());
        let resets_at: Option<Timestamp> = told.resets_at.map(|at| on_clock(at, wall, now));
        if let Some(left) = told.left
            && let Some(ours) = self.limits.usage(key, group, dimension, now)
        {
            // Of a lower limit of our own as much is used.
            let used = told.limit.amount.saturating_sub(left);
            let left = ours.limit.saturating_sub(used);
            (self.limits).told(key, group, dimension, left, now, resets_at);
        }
    }
}

/// Returns dollars as millionths; `None` for nothing, and for what is no amount.
fn micros(usd: f64) -> Option<u64> {
    (usd > 0.0).then_some((usd * 1e6) as u64)
}

/// Returns how long a period is at most: each is told anew.
fn period(interval: &ResetInterval) -> Duration {
    match interval {
        ResetInterval::Daily => DAY,
        ResetInterval::Weekly => 7 * DAY,
        ResetInterval::Monthly => 31 * DAY,
        _ => Duration::ZERO,
    }
}
