//! Dates as OpenRouter writes them: ISO 8601 stamps, and the resets of its calendar (UTC).

use std::time::Duration;

const DAY_SECS: u64 = 86_400;

/// Reads an ISO 8601 date-time as the time since 1970-01-01 00:00 UTC.
///
/// Takes `2026-10-12T08:30:00Z`, with a fraction, with an offset (`+02:00`), with a space in place
/// of the `T`, without a zone (then it is UTC) and a date alone (then it is midnight).
///
/// Returns `None` for anything else, and for times before 1970.
#[must_use]
pub fn parse_iso8601(text: &str) -> Option<Duration> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let year = digits(bytes.get(0..4)?)?;
    let month = digits(after(bytes, 4, b'-')?.get(0..2)?)?;
    let day = digits(after(bytes, 7, b'-')?.get(0..2)?)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let rest = &bytes[10..];
    let (seconds, nanos, offset) = if rest.is_empty() {
        (0, 0, 0)
    } else {
        time_of_day(rest)?
    };
    let total = days
        .checked_mul(DAY_SECS as i64)?
        .checked_add(seconds - offset)?;
    Some(Duration::new(u64::try_from(total).ok()?, nanos))
}

/// Reads `THH:MM[:SS[.fraction]][zone]` as seconds, nanoseconds and the offset in seconds.
fn time_of_day(rest: &[u8]) -> Option<(i64, u32, i64)> {
    if !matches!(rest[0], b'T' | b't' | b' ') {
        return None;
    }
    let hour = digits(rest.get(1..3)?)?;
    let minute = digits(after(rest, 3, b':')?.get(0..2)?)?;
    let mut at = 6;
    let mut second = 0;
    if rest.get(at) == Some(&b':') {
        second = digits(rest.get(at + 1..at + 3)?)?;
        at += 3;
    }
    // 60 is a leap second; it counts as the next second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut nanos = 0;
    if matches!(rest.get(at), Some(b'.' | b',')) {
        let fraction = rest[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if fraction == 0 {
            return None;
        }
        for place in 0..9 {
            let digit = if place < fraction {
                rest[at + 1 + place] - b'0'
            } else {
                0
            };
            nanos = nanos * 10 + u32::from(digit);
        }
        at += 1 + fraction;
    }
    Some((
        hour * 3600 + minute * 60 + second,
        nanos,
        zone(&rest[at..])?,
    ))
}

/// Reads the zone as its offset from UTC in seconds.
fn zone(rest: &[u8]) -> Option<i64> {
    let sign = match rest {
        [] | b"Z" | b"z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hour, minute) = match rest.len() {
        3 => (digits(&rest[1..3])?, 0),
        5 => (digits(&rest[1..3])?, digits(&rest[3..5])?),
        6 if rest[3] == b':' => (digits(&rest[1..3])?, digits(&rest[4..6])?),
        _ => return None,
    };
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 3600 + minute * 60))
}

fn after(bytes: &[u8], at: usize, separator: u8) -> Option<&[u8]> {
    (bytes.get(at) == Some(&separator)).then(|| &bytes[at + 1..])
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
    })
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes a time since 1970-01-01 00:00 UTC as `2026-10-12T08:30:00Z`, a fraction dropped; `None`
/// beyond the year 9999, which the form has no room for.
pub(crate) fn format_iso8601(at: Duration) -> Option<String> {
    let (days, seconds) = (at.as_secs() / DAY_SECS, at.as_secs() % DAY_SECS);
    let days = i64::try_from(days).ok().filter(|days| *days < 1 << 40)?;
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    (year <= 9999)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// The year, the month and the day of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The next midnight UTC after `now`; both since 1970.
pub(crate) fn next_day(now: Duration) -> Duration {
    Duration::from_secs((now.as_secs() / DAY_SECS + 1).saturating_mul(DAY_SECS))
}

/// The next Monday 00:00 UTC after `now`; both since 1970.
pub(crate) fn next_week(now: Duration) -> Duration {
    let day = now.as_secs() / DAY_SECS;
    // 1970-01-01 was a Thursday: day 4 was the first Monday.
    let since_monday = (day + 3) % 7;
    Duration::from_secs((day + 7 - since_monday).saturating_mul(DAY_SECS))
}

/// The next first of a month 00:00 UTC after `now`; both since 1970.
pub(crate) fn next_month(now: Duration) -> Duration {
    // A clock beyond the calendar's range says nothing worth a precise answer.
    let Some(day) = i64::try_from(now.as_secs() / DAY_SECS)
        .ok()
        .filter(|d| *d < 1 << 40)
    else {
        return Duration::MAX;
    };
    let (year, month, _) = civil_from_days(day);
    let (year, month) = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    let first = days_from_civil(year, month, 1);
    Duration::from_secs(u64::try_from(first).unwrap_or(0).saturating_mul(DAY_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: u64) {
        assert_eq!(
            parse_iso8601(text),
            Some(Duration::from_secs(seconds)),
            "{text}"
        );
    }

    #[test]
    fn stamps_are_read_in_the_forms_that_occur() {
        check("1970-01-01T00:00:00Z", 0);
        check("2026-10-12T08:30:00Z", 1_791_793_800);
        check("2026-10-12T10:30:00+02:00", 1_791_793_800);
        check("2026-10-12T03:00:00-0530", 1_791_793_800);
        check("2026-10-12 08:30", 1_791_793_800);
        check("2026-10-12", 1_791_763_200);
        check("2024-02-29T23:59:60Z", 1_709_251_200);
        assert_eq!(
            parse_iso8601("2026-10-12T08:30:00.433273+00:00"),
            Some(Duration::new(1_791_793_800, 433_273_000))
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_791_793_800, "2026-10-12T08:30:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let at = Duration::from_secs(seconds);
            assert_eq!(format_iso8601(at).as_deref(), Some(text));
            assert_eq!(parse_iso8601(text), Some(at));
        }
        for beyond in [253_402_300_800, u64::MAX] {
            assert_eq!(format_iso8601(Duration::from_secs(beyond)), None);
        }
        // Every day of eight years, leap days among them.
        for day in 0..8 * 366 {
            let at = Duration::from_secs(20_000 * DAY_SECS + day * DAY_SECS + 12_345);
            assert_eq!(parse_iso8601(&format_iso8601(at).unwrap()), Some(at));
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-10-12T",
            "2026-10-12T24:00",
            "2026-10-12T08:30:00.Z",
            "2026-10-12T08:30:00+2",
            "1969-12-31T23:59:59Z",
            "2026-1x-01",
            "２０２６-10-12",
            "2026-10-12T08:30:00Zulu",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }

    #[test]
    fn resets_come_at_midnight_on_monday_and_on_the_first() {
        let at = |text| parse_iso8601(text).unwrap();
        // 2026-10-14 is a Wednesday.
        let now = at("2026-10-14T12:00:00Z");
        assert_eq!(next_day(now), at("2026-10-15"));
        assert_eq!(next_week(now), at("2026-10-19"));
        assert_eq!(next_month(now), at("2026-11-01"));
        // On the very instant of a reset, the next one is meant.
        assert_eq!(next_day(at("2026-10-14")), at("2026-10-15"));
        assert_eq!(next_week(at("2026-10-12")), at("2026-10-19"));
        assert_eq!(next_week(at("2026-10-18T23:59:59Z")), at("2026-10-19"));
        assert_eq!(next_month(at("2026-12-31T23:59:59Z")), at("2027-01-01"));
        assert_eq!(next_month(at("2028-01-31")), at("2028-02-01"));
        assert_eq!(next_month(Duration::ZERO), at("1970-02-01"));
        let _ = (
            next_day(Duration::MAX),
            next_week(Duration::MAX),
            next_month(Duration::MAX),
        );
    }
}
