//! The running state of one account.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, FreeTier};
use crate::clock::{Clock, Reset, Timestamp};
use crate::fault::Fault;
use crate::money::Money;
use crate::world::meter::{Limits, Rolling};

/// Calls of the free tier are counted in windows of a minute.
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct AccountState {
    pub(crate) id: Arc<str>,
    pub(crate) user_id: Arc<str>,
    pub(crate) organization: Option<String>,
    /// All credits ever bought; `None` for credit without end.
    bought: Option<Money>,
    spent: Money,
    pub(crate) region: Option<String>,
    pub(crate) data_regions: Vec<String>,
    pub(crate) zdr: bool,
    /// Calls under way, and above how many credit checks take too long.
    pub(crate) running: u32,
    pub(crate) admission_control: Option<u32>,
    in_flight_budget: Option<Money>,
    held: Money,
    settling: VecDeque<(Timestamp, Money)>,
    settling_sum: Money,
    pub(crate) limits: Limits,
    free_tier: FreeTier,
    free_minute: Rolling,
    /// The UTC day, and how many free calls it saw, refused ones too.
    free_day: (u64, u32),
}

impl AccountState {
    pub(crate) fn new(account: Account) -> Self {
        let per_minute = u64::from(account.free_tier.per_minute);
        Self {
            user_id: format!("user_{}", account.id).into(),
            organization: account.organization,
            region: account.region,
            data_regions: account.data_regions,
            zdr: account.zdr,
            running: 0,
            admission_control: account.admission_control,
            bought: account.balance,
            spent: Money::ZERO,
            in_flight_budget: account.in_flight_budget,
            held: Money::ZERO,
            settling: VecDeque::new(),
            settling_sum: Money::ZERO,
            limits: Limits::new(&format!("account {}", account.id), account.limits),
            free_tier: account.free_tier,
            free_minute: Rolling::new(per_minute, MINUTE),
            free_day: (0, 0),
            id: account.id.into(),
        }
    }

    pub(crate) fn balance(&self) -> Option<Money> {
        self.bought.map(|bought| bought - self.spent)
    }

    pub(crate) fn set_balance(&mut self, balance: Money) {
        self.bought = Some(balance + self.spent);
    }

    pub(crate) fn add_credits(&mut self, credits: Money) {
        self.bought = self.bought.map(|bought| bought + credits);
    }

    /// Credits ever bought and credits used. Credit without end shows as a million bought.
    pub(crate) fn credits(&self) -> (Money, Money) {
        (self.bought.unwrap_or(Money::from_usd(1e6)), self.spent)
    }

    pub(crate) fn spend(&mut self, cost: Money) {
        self.spent += cost;
    }

    /// Used and allowed free calls of the UTC day.
    pub(crate) fn free_day(&self, now: Timestamp) -> (u32, u32) {
        let (day, used) = self.free_day;
        let used = if day == Reset::Daily.period(now) {
            used
        } else {
            0
        };
        (used, self.free_tier.per_day)
    }

    /// Counts a call of a free model, and refuses it when the day or the minute is used up.
    pub(crate) fn take_free(&mut self, clock: &Clock, now: Timestamp) -> Result<(), Fault> {
        let (used, limit) = self.free_day(now);
        self.free_day = (Reset::Daily.period(now), used.saturating_add(1));
        if used >= limit {
            return Err(Fault::free_tier(
                "free_tier_daily",
                "free-models-per-day",
                limit,
                clock.told(now.next_day()),
            )
            .by(format!("account {}: {limit} free calls a day", self.id)));
        }
        let fits = self.free_minute.admit(1, now).map_err(|reset| {
            let limit = self.free_tier.per_minute;
            let reset = clock.told(reset);
            Fault::free_tier("free_tier_per_minute", "free-models-per-min", limit, reset)
                .by(format!("account {}: {limit} free calls a minute", self.id))
        });
        if fits.is_ok() || self.free_tier.refused_count_in_minute {
            self.free_minute.add(1, now);
        }
        fits
    }

    /// Holds the estimate of a call in the in-flight budget.
    pub(crate) fn hold(
        &mut self,
        estimate: Money,
        retry_after: Duration,
        now: Timestamp,
    ) -> Result<Money, Fault> {
        let Some(budget) = self.in_flight_budget else {
            return Ok(Money::ZERO);
        };
        if estimate > budget {
            return Err(Fault::weight_exceeds_budget());
        }
        while let Some((until, cost)) = self.settling.front().copied() {
            if until > now {
                break;
            }
            self.settling.pop_front();
            self.settling_sum -= cost;
        }
        if self.held + self.settling_sum + estimate > budget {
            return Err(Fault::in_flight_budget(retry_after));
        }
        self.held += estimate;
        Ok(estimate)
    }

    /// Replaces a hold by the real cost, until `until`.
    pub(crate) fn release(&mut self, hold: Money, cost: Money, until: Timestamp) {
        if self.in_flight_budget.is_some() {
            self.held -= hold;
            if cost > Money::ZERO {
                self.settling.push_back((until, cost));
                self.settling_sum += cost;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    #[test]
    fn refused_free_calls_count_for_the_day() {
        let account = Account::new("a").free_tier(FreeTier::new(100, 2));
        let mut account = AccountState::new(account);
        let now = Timestamp::DEFAULT_START;
        let clock = Clock::starting_at(now, 1.0);
        for _ in 0..2 {
            assert!(account.take_free(&clock, now).is_ok());
        }
        assert_eq!(
            account.take_free(&clock, now).unwrap_err().name(),
            "free_tier_daily"
        );
        assert_eq!(account.free_day(now), (3, 2));
        assert!(account.take_free(&clock, now.next_day()).is_ok());
    }

    #[test]
    fn a_settled_call_weighs_its_real_cost_until_the_settlement_ends() {
        let usd = Money::from_usd;
        let account = Account::new("a").in_flight_budget_usd(1.0);
        let mut account = AccountState::new(account);
        let wait = Duration::from_secs(1);
        let hold = account.hold(usd(0.8), wait, at(0)).unwrap();
        assert_eq!(
            account.hold(usd(0.3), wait, at(0)).unwrap_err().name(),
            "in_flight_budget"
        );
        account.release(hold, usd(0.5), at(10));
        assert_eq!(
            account.hold(usd(0.6), wait, at(9)).unwrap_err().name(),
            "in_flight_budget"
        );
        assert!(account.hold(usd(0.6), wait, at(10)).is_ok());
        assert_eq!(
            account.hold(usd(1.1), wait, at(20)).unwrap_err().name(),
            "weight_exceeds_budget"
        );
    }
}
