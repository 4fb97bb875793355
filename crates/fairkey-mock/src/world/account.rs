//! The running state of one account.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, FreeTier, Window};
use crate::clock::{Reset, Timestamp};
use crate::fault::Fault;
use crate::money::Money;

/// Calls of the free tier are counted in windows of a minute.
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct AccountState {
    pub(crate) id: Arc<str>,
    pub(crate) user_id: Arc<str>,
    pub(crate) organization: Option<String>,
    /// All credits ever bought; `None` for credit without end.
    bought: Option<Money>,
    spent: Money,
    in_flight_budget: Option<Money>,
    held: Money,
    settling: VecDeque<(Timestamp, Money)>,
    settling_sum: Money,
    requests: Option<Rolling>,
    tokens: Option<Rolling>,
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
            id: account.id.into(),
            organization: account.organization,
            bought: account.balance,
            spent: Money::ZERO,
            in_flight_budget: account.in_flight_budget,
            held: Money::ZERO,
            settling: VecDeque::new(),
            settling_sum: Money::ZERO,
            requests: account.requests.map(Rolling::new),
            tokens: account.tokens.map(Rolling::new),
            free_tier: account.free_tier,
            free_minute: Rolling::new(Window {
                limit: per_minute,
                per: MINUTE,
            }),
            free_day: (0, 0),
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
    pub(crate) fn take_free(&mut self, now: Timestamp) -> Result<(), Fault> {
        let (used, limit) = self.free_day(now);
        self.free_day = (Reset::Daily.period(now), used.saturating_add(1));
        if used >= limit {
            return Err(Fault::free_tier(
                "free_tier_daily",
                "free-models-per-day",
                limit,
                now.next_day(),
            ));
        }
        self.free_minute.admit(1, now).map_err(|reset| {
            let limit = self.free_tier.per_minute;
            Fault::free_tier("free_tier_per_minute", "free-models-per-min", limit, reset)
        })?;
        self.free_minute.add(1, now);
        Ok(())
    }

    /// Counts a call in the account's windows, both or neither.
    pub(crate) fn take_windows(&mut self, prompt_tokens: u64, now: Timestamp) -> Result<(), Fault> {
        for (window, amount) in [(&mut self.requests, 1), (&mut self.tokens, prompt_tokens)] {
            if let Some(window) = window {
                window
                    .admit(amount, now)
                    .map_err(|reset| Fault::account_rate_limit(window.window.limit, reset))?;
            }
        }
        if let Some(window) = &mut self.requests {
            window.add(1, now);
        }
        self.add_tokens(prompt_tokens, now);
        Ok(())
    }

    /// Counts tokens that were not known when the call was let in.
    pub(crate) fn add_tokens(&mut self, tokens: u64, now: Timestamp) {
        if let Some(window) = &mut self.tokens {
            window.add(tokens, now);
        }
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

/// Amounts in a rolling window, to the millisecond.
struct Rolling {
    window: Window,
    entries: VecDeque<(Timestamp, u64)>,
    sum: u64,
}

impl Rolling {
    fn new(window: Window) -> Self {
        Self {
            window,
            entries: VecDeque::new(),
            sum: 0,
        }
    }

    /// Whether `amount` fits now; if not, when it will.
    fn admit(&mut self, amount: u64, now: Timestamp) -> Result<(), Timestamp> {
        while let Some((at, entry)) = self.entries.front().copied() {
            if at.plus(self.window.per) > now {
                break;
            }
            self.entries.pop_front();
            self.sum -= entry;
        }
        let mut sum = self.sum;
        if sum.saturating_add(amount) <= self.window.limit {
            return Ok(());
        }
        for (at, entry) in &self.entries {
            sum -= entry;
            if sum.saturating_add(amount) <= self.window.limit {
                return Err(at.plus(self.window.per));
            }
        }
        // Larger than the window: it never fits.
        Err(now.plus(self.window.per))
    }

    fn add(&mut self, amount: u64, now: Timestamp) {
        // Entries of one millisecond share a slot: a window holds at most as many as it has
        // milliseconds.
        match self.entries.back_mut() {
            Some((at, entry)) if *at == now => *entry += amount,
            _ => self.entries.push_back((now, amount)),
        }
        self.sum += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    fn window(limit: u64) -> Rolling {
        Rolling::new(Window {
            limit,
            per: Duration::from_millis(100),
        })
    }

    #[test]
    fn a_window_reopens_exactly_when_it_said() {
        let mut rolling = window(2);
        for now in [at(0), at(40)] {
            assert_eq!(rolling.admit(1, now), Ok(()));
            rolling.add(1, now);
        }
        assert_eq!(rolling.admit(1, at(50)), Err(at(100)));
        assert_eq!(rolling.admit(1, at(99)), Err(at(100)));
        assert_eq!(rolling.admit(1, at(100)), Ok(()));
        rolling.add(1, at(100));
        assert_eq!(rolling.admit(1, at(100)), Err(at(140)));
    }

    #[test]
    fn a_large_amount_waits_until_enough_has_rolled_off() {
        let mut rolling = window(10);
        for now in [at(0), at(10), at(20)] {
            assert_eq!(rolling.admit(3, now), Ok(()));
            rolling.add(3, now);
        }
        assert_eq!(rolling.admit(1, at(30)), Ok(()));
        assert_eq!(rolling.admit(5, at(30)), Err(at(110)));
        assert_eq!(rolling.admit(11, at(30)), Err(at(130)));
    }

    #[test]
    fn refused_free_calls_count_for_the_day() {
        let account = Account::new("a").free_tier(FreeTier::new(100, 2));
        let mut account = AccountState::new(account);
        let now = Timestamp::DEFAULT_START;
        for _ in 0..2 {
            assert!(account.take_free(now).is_ok());
        }
        assert_eq!(
            account.take_free(now).unwrap_err().name(),
            "free_tier_daily"
        );
        assert_eq!(account.free_day(now), (3, 2));
        assert!(account.take_free(now.next_day()).is_ok());
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
