//! Times of day as people read them: [`Utc`].

use std::fmt;
use std::time::Duration;

/// A time since 1970-01-01 00:00 UTC, shown as `12:04:31 UTC`, or with the date where that is
/// another day than that of `now`: `2026-10-15 00:00 UTC`. Seconds are left out where they are 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utc {
    pub(crate) at: Duration,
    pub(crate) now: Duration,
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.at.as_secs() / 86_400, self.at.as_secs() % 86_400);
        if day != self.now.as_secs() / 86_400 {
            let (year, month, day) = date(day);
            write!(f, "{year:04}-{month:02}-{day:02} ")?;
        }
        write!(f, "{:02}:{:02}", second / 3600, second / 60 % 60)?;
        if second % 60 != 0 {
            write!(f, ":{:02}", second % 60)?;
        }
        f.write_str(" UTC")
    }
}

/// The date of a day since 1970-01-01 in the Gregorian calendar (Howard Hinnant's algorithm).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::parse_iso8601;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_date_is_shown_only_where_it_is_another() {
        let at = |text| parse_iso8601(text).unwrap();
        let now = at("2026-10-14T12:30:00Z");
        let show = |text| Utc { at: at(text), now }.to_string();
        assert_eq!(show("2026-10-14T12:04:31Z"), "12:04:31 UTC");
        assert_eq!(show("2026-10-14T12:04:00Z"), "12:04 UTC");
        assert_eq!(show("2026-10-15"), "2026-10-15 00:00 UTC");
        assert_eq!(show("2028-02-29T01:02:03Z"), "2028-02-29 01:02:03 UTC");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same_time(secs in 86_400..32_000_000_000_u64) {
            let at = Duration::from_secs(secs);
            let text = Utc { at, now: Duration::ZERO }.to_string();
            prop_assert_eq!(parse_iso8601(text.strip_suffix(" UTC").unwrap()), Some(at));
        }
    }
}
