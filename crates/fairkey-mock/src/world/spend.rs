//! What was spent: in all, and in the running day, week and month.

use crate::clock::{Reset, Timestamp};
use crate::money::Money;

/// Spending by period. A period that is over counts as nothing, without a timer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spend {
    total: Money,
    daily: (u64, Money),
    weekly: (u64, Money),
    monthly: (u64, Money),
}

impl Spend {
    pub(crate) fn add(&mut self, cost: Money, now: Timestamp) {
        self.total += cost;
        for reset in [Reset::Daily, Reset::Weekly, Reset::Monthly] {
            let current = self.since(Some(reset), now);
            *self.slot(reset) = (reset.period(now), current + cost);
        }
    }

    /// What was spent in the running period of `reset`, or ever.
    pub(crate) fn since(&self, reset: Option<Reset>, now: Timestamp) -> Money {
        let Some(reset) = reset else {
            return self.total;
        };
        let (period, spent) = match reset {
            Reset::Daily => self.daily,
            Reset::Weekly => self.weekly,
            Reset::Monthly => self.monthly,
        };
        if period == reset.period(now) {
            spent
        } else {
            Money::ZERO
        }
    }

    fn slot(&mut self, reset: Reset) -> &mut (u64, Money) {
        match reset {
            Reset::Daily => &mut self.daily,
            Reset::Weekly => &mut self.weekly,
            Reset::Monthly => &mut self.monthly,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_day_starts_at_nothing_and_the_month_goes_on() {
        let evening: Timestamp = "2026-10-01T23:59:59.999Z".parse().unwrap();
        let mut spend = Spend::default();
        spend.add(Money::from_usd(1.0), evening);
        assert_eq!(
            spend.since(Some(Reset::Daily), evening),
            Money::from_usd(1.0)
        );
        let midnight = Reset::Daily.next(evening);
        assert_eq!(spend.since(Some(Reset::Daily), midnight), Money::ZERO);
        spend.add(Money::from_usd(2.0), midnight);
        assert_eq!(
            spend.since(Some(Reset::Daily), midnight),
            Money::from_usd(2.0)
        );
        assert_eq!(
            spend.since(Some(Reset::Monthly), midnight),
            Money::from_usd(3.0)
        );
        assert_eq!(spend.since(None, midnight), Money::from_usd(3.0));
    }
}
