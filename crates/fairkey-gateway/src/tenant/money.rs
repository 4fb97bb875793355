//! Money by window of the calendar: [`Budget`], [`Per`], [`Purse`].

use std::fmt;
use std::time::Duration;

/// At most so much money in each of these windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The cap, in millionths of a US dollar.
    pub micro_usd: u64,
    /// The window.
    pub per: Per,
}

/// A window of the calendar, in UTC, as OpenRouter resets: weeks begin on Mondays, months on their
/// first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Per {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
    /// All time.
    Total,
}

const DAY: u64 = 86_400;

impl Per {
    /// Every window, the shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];

    /// Returns the name, as the configuration has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    /// Returns the number of the window that a time since 1970 is in: later windows have higher
    /// ones.
    #[must_use]
    pub fn number(self, since_1970: Duration) -> u64 {
        let seconds = since_1970.as_secs();
        let day = seconds / DAY;
        match self {
            Self::Hour => seconds / 3_600,
            Self::Day => day,
            // 1970-01-01 was a Thursday.
            Self::Week => (day + 3) / 7,
            Self::Month => month(day),
            Self::Total => 0,
        }
    }

    /// Returns when the window began that a time is in, in seconds since 1970.
    pub(crate) fn began(self, since_1970: Duration) -> u64 {
        let number = self.number(since_1970);
        match self {
            Self::Hour => number * 3_600,
            Self::Day => number * DAY,
            Self::Week => (number * 7).saturating_sub(3) * DAY,
            Self::Month => first_day(number) * DAY,
            Self::Total => 0,
        }
    }

    /// Returns how long the window that a time is in still lasts; `None`: for ever.
    #[must_use]
    pub fn left(self, since_1970: Duration) -> Option<Duration> {
        let number = self.number(since_1970);
        let end = match self {
            Self::Hour => (number + 1) * 3_600,
            Self::Day => (number + 1) * DAY,
            Self::Week => ((number + 1) * 7 - 3) * DAY,
            Self::Month => first_day(number + 1) * DAY,
            Self::Total => return None,
        };
        Some(Duration::from_secs(end).saturating_sub(since_1970))
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the date of a day since 1970: year, month, day of the month.
pub(crate) fn date(day: u64) -> (u64, u64, u64) {
    let month = month(day);
    (
        1970 + month / 12,
        month % 12 + 1,
        day - first_day(month) + 1,
    )
}

/// Returns the number of the month that a day is in, counted from January 1970. The calendar of
/// Howard Hinnant, "chrono-compatible low-level date algorithms".
fn month(day: u64) -> u64 {
    let z = day + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    // Counted from March.
    let mp = (5 * doy + 2) / 153;
    // Months since March of the year 0; January 1970 is 1,969 years and 10 months later.
    (yoe + era * 400) * 12 + mp - (1_969 * 12 + 10)
}

/// Returns the first day of a month, both counted from 1970.
fn first_day(month: u64) -> u64 {
    let months = month + 1_969 * 12 + 10;
    let (year, mp) = (months / 12, months % 12);
    let (era, yoe) = (year / 400, year % 400);
    let doy = (153 * mp + 2) / 5;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// What is spent and reserved in the present window of each length.
#[derive(Debug, Default)]
pub(super) struct Purse([Window; 5]);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    number: u64,
    spent: u64,
    reserved: u64,
}

/// The windows in which something was reserved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows([u64; 5]);

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    /// So much of this budget is spent that it does not fit before the next window.
    Spent(Budget),
    /// What calls under way may still cost leaves no room; what they do not, comes back.
    Held(Budget),
    /// It alone is more than the budget.
    TooMuch(Budget),
}

impl Purse {
    /// Tells whether `micro_usd` more fit into all of `budgets`.
    pub(super) fn check(
        &mut self,
        budgets: &[Budget],
        wall: Duration,
        micro_usd: u64,
    ) -> Result<(), Empty> {
        let mut held = None;
        for budget in budgets {
            let window = self.window(budget.per, wall);
            let with = |used: u64| used.saturating_add(micro_usd) > budget.micro_usd;
            // A cap of nothing is one: what costs nothing is let through by it all the same.
            if with(0) {
                return Err(Empty::TooMuch(*budget));
            }
            // A call of unknown price costs something: nothing left is nothing left.
            let is_out = budget.micro_usd > 0 && window.spent >= budget.micro_usd;
            if with(window.spent) || is_out {
                return Err(Empty::Spent(*budget));
            }
            if with(window.spent.saturating_add(window.reserved)) {
                held.get_or_insert(*budget);
            }
        }
        held.map_or(Ok(()), |budget| Err(Empty::Held(budget)))
    }

    /// Reserves, whatever there is.
    pub(super) fn reserve(&mut self, wall: Duration, micro_usd: u64) -> Windows {
        Windows(Per::ALL.map(|per| {
            let window = self.window(per, wall);
            window.reserved = window.reserved.saturating_add(micro_usd);
            window.number
        }))
    }

    /// Turns what was reserved into what was spent. It belongs to the windows in which it was
    /// reserved: those that are over are over.
    pub(super) fn settle(&mut self, windows: Windows, reserved: u64, spent: u64) {
        for (window, number) in self.0.iter_mut().zip(windows.0) {
            if window.number == number {
                window.reserved = window.reserved.saturating_sub(reserved);
                window.spent = window.spent.saturating_add(spent);
            }
        }
    }

    /// Takes note of what was spent before: in the window that `at` was in.
    pub(super) fn restore(&mut self, per: Per, at: Duration, micro_usd: u64) {
        let number = per.number(at);
        let window = &mut self.0[per as usize];
        match number.cmp(&window.number) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => window.spent = window.spent.saturating_add(micro_usd),
            std::cmp::Ordering::Greater => {
                *window = Window {
                    number,
                    spent: micro_usd,
                    reserved: 0,
                }
            }
        }
    }

    pub(super) fn now(&mut self, per: Per, wall: Duration) -> (u64, u64) {
        let window = self.window(per, wall);
        (window.spent, window.reserved)
    }

    /// Returns the window of a time. A clock that is set back stays in the window there is: it
    /// gives nothing back.
    fn window(&mut self, per: Per, wall: Duration) -> &mut Window {
        let number = per.number(wall);
        let window = &mut self.0[per as usize];
        if number > window.number {
            *window = Window {
                number,
                ..Window::default()
            };
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(day: u64) -> Duration {
        Duration::from_secs(day * DAY)
    }

    #[test]
    fn windows_are_those_of_the_calendar() {
        // 2024-02-29 was a Thursday, 19,782 days after 1970-01-01.
        let leap = day(19_782);
        assert_eq!(Per::Month.number(leap), 54 * 12 + 1);
        assert_eq!(Per::Month.left(leap), Some(day(1)));
        assert_eq!(Per::Month.number(day(19_783)), 54 * 12 + 2);
        // Until Monday, 2024-03-04.
        assert_eq!(Per::Week.left(leap), Some(day(4)));
        assert_eq!(Per::Month.number(Duration::ZERO), 0);
        assert_eq!(Per::Month.left(Duration::ZERO), Some(day(31)));
        assert_eq!(Per::Total.left(leap), None);
    }

    proptest! {
        #[test]
        fn a_window_ends_where_the_next_begins(seconds in 0..6_000_000_000u64) {
            let at = Duration::from_secs(seconds);
            for per in [Per::Hour, Per::Day, Per::Week, Per::Month] {
                let left = per.left(at).unwrap();
                prop_assert!(left > Duration::ZERO);
                let last = at + left - Duration::from_secs(1);
                prop_assert_eq!(per.number(last), per.number(at));
                prop_assert_eq!(per.number(at + left), per.number(at) + 1);
            }
        }

        /// The law: what is spent in a window is at most the cap and what was underestimated.
        #[test]
        fn money_is_over_the_cap_by_underestimates_only(
            caps in prop::collection::vec((1..5_000u64, 0..5usize), 1..4),
            calls in prop::collection::vec(
                (0..200_000u64, 0..2_000u64, 0..2_500u64, any::<bool>()), 1..120),
        ) {
            let budgets: Vec<_> = (caps.into_iter())
                .map(|(micro_usd, per)| Budget { micro_usd, per: Per::ALL[per] })
                .collect();
            let mut purse = Purse::default();
            let (mut now, mut open) = (day(19_780), Vec::new());
            // By budget and window: spent, and underestimated.
            let mut books = std::collections::HashMap::<(usize, u64), (u64, u64)>::new();
            let mut settle = |purse: &mut Purse, call: (Duration, Windows, u64, u64)| {
                let (at, windows, guess, actual) = call;
                purse.settle(windows, guess, actual);
                for (n, budget) in budgets.iter().enumerate() {
                    let book = books.entry((n, budget.per.number(at))).or_default();
                    book.0 += actual;
                    book.1 += actual.saturating_sub(guess);
                    assert!(book.0 <= budget.micro_usd + book.1, "{book:?} of {budget:?}");
                }
            };
            for (pause, guess, actual, ends) in calls {
                now += Duration::from_secs(pause);
                if purse.check(&budgets, now, guess).is_ok() {
                    let windows = purse.reserve(now, guess);
                    open.push((now, windows, guess, actual));
                }
                if ends && !open.is_empty() {
                    let call = open.remove(open.len() / 2);
                    settle(&mut purse, call);
                }
            }
            for call in open {
                settle(&mut purse, call);
            }
            for per in Per::ALL {
                prop_assert_eq!(purse.now(per, now).1, 0, "nothing stays reserved");
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_back() {
        let budgets = [Budget {
            micro_usd: 100,
            per: Per::Day,
        }];
        let mut purse = Purse::default();
        let windows = purse.reserve(day(10), 60);
        purse.settle(windows, 60, 60);
        let windows = purse.reserve(day(9), 40);
        purse.settle(windows, 40, 40);
        assert_eq!(purse.now(Per::Day, day(9)), (100, 0));
        assert!(purse.check(&budgets, day(9), 1).is_err());
        assert!(purse.check(&budgets, day(10), 1).is_err());
        assert!(purse.check(&budgets, day(11), 1).is_ok());
    }

    #[test]
    fn what_was_spent_before_a_restart_counts() {
        let budgets = [Budget {
            micro_usd: 100,
            per: Per::Day,
        }];
        let mut purse = Purse::default();
        purse.restore(Per::Day, day(10), 60);
        purse.restore(Per::Day, day(10), 30);
        purse.restore(Per::Day, day(9), 500);
        assert_eq!(purse.now(Per::Day, day(10)), (90, 0));
        assert_eq!(
            purse.check(&budgets, day(10), 11),
            Err(Empty::Spent(budgets[0]))
        );
        assert_eq!(purse.check(&budgets, day(10), 10), Ok(()));
    }
}
