//! The mock's time: a fixed start, so that runs repeat, plus what has passed, plus what a test
//! skipped.
//!
//! Two clocks are involved. Latency and stalls wait on tokio's timer. Everything that is *judged*
//! by time (windows, resets, expiry, the `Date` header) reads [`Clock`], which a test may push
//! forward with [`MockOpenRouter::advance`](crate::MockOpenRouter::advance): the next midnight UTC
//! is one call away. It may run faster than real time ([`Builder::speed`](crate::Builder::speed)).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

const DAY: u64 = 86_400_000;

/// A moment of wall-clock time, in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// Reads and prints RFC 3339; converts from and into [`SystemTime`].
///
/// ```
/// use fairkey_mock::Timestamp;
///
/// let noon: Timestamp = "2026-10-01T12:00:00Z".parse()?;
/// assert_eq!(noon.unix_seconds(), 1_790_856_000);
/// assert_eq!(noon.to_string(), "2026-10-01T12:00:00Z");
/// # Ok::<(), fairkey_mock::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Where a mock's clock starts unless it is told otherwise: Thursday, 2026-10-01T12:00:00Z.
    pub const DEFAULT_START: Self = Self(1_790_856_000_000);

    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This moment moved by `duration`; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// From `earlier` until now; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The next midnight UTC, strictly after this moment.
    #[must_use]
    pub const fn next_day(self) -> Self {
        Self((self.0 / DAY + 1) * DAY)
    }

    /// `Thu, 01 Oct 2026 12:00:00 GMT`
    pub(crate) fn http_date(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let (year, month, day) = civil(self.0 / DAY);
        let seconds = self.0 % DAY / 1000;
        format!(
            "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            WEEKDAYS[(self.0 / DAY % 7) as usize],
            MONTHS[month as usize - 1],
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
        )
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0 / DAY);
        let rest = self.0 % DAY;
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        let (second, milli) = (rest / 1000 % 60, rest % 1000);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if milli != 0 {
            write!(f, ".{milli:03}")?;
        }
        f.write_str("Z")
    }
}

/// Text that is no RFC 3339 moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no RFC 3339 time; write it like 2026-10-01T12:00:00Z")]
pub struct TimestampError(String);

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text)
            .map(Self)
            .ok_or_else(|| TimestampError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let marks = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    if marks.iter().any(|(at, mark)| bytes[*at] != mark[0]) || !b"Tt ".contains(&bytes[10]) {
        return None;
    }
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_of(year, month, day);
    if day == 0 || civil(days) != (year, month, day) {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut milli = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let first: String = fraction[..len.min(3)]
            .chars()
            .chain("000".chars())
            .take(3)
            .collect();
        milli = if len == 0 {
            return None;
        } else {
            first.parse().ok()?
        };
        rest = &fraction[len..];
    }
    let local = days * DAY + hour * 3_600_000 + minute * 60_000 + second * 1000 + milli;
    match rest.as_bytes() {
        b"Z" | b"z" => Some(local),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = digit(m1)? * 10 + digit(m2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3_600_000 + minutes * 60_000;
            if *sign == b'+' {
                local.checked_sub(offset)
            } else {
                Some(local + offset)
            }
        }
        _ => None,
    }
}

/// How often a cap or a budget starts over. All of them do so at midnight UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// Every day.
    Daily,
    /// Every Monday.
    Weekly,
    /// On the first of the month.
    Monthly,
}

impl Reset {
    /// The API's word: `daily`, `weekly`, `monthly`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The reset of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Daily, Self::Weekly, Self::Monthly]
            .into_iter()
            .find(|reset| reset.as_str() == name)
    }

    /// A number that changes when the period does.
    pub(crate) fn period(self, now: Timestamp) -> u64 {
        let day = now.0 / DAY;
        match self {
            Self::Daily => day,
            // Day 0 was a Thursday: three days later into the week than its Monday.
            Self::Weekly => (day + 3) / 7,
            Self::Monthly => {
                let (year, month, _) = civil(day);
                year * 12 + month - 1
            }
        }
    }

    /// When the period after that of `now` begins.
    pub fn next(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Daily => now.next_day(),
            Self::Weekly => Timestamp(((self.period(now) + 1) * 7 - 3) * DAY),
            Self::Monthly => {
                let next = self.period(now) + 1;
                Timestamp(days_of(next / 12, next % 12 + 1, 1) * DAY)
            }
        }
    }
}

/// The mock's clock; shared by everything that judges by time.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Timestamp,
    origin: Instant,
    /// How much faster than real time it runs.
    speed: f64,
    skipped_millis: AtomicU64,
}

impl Clock {
    /// `speed` is finite and above zero.
    pub(crate) fn starting_at(start: Timestamp, speed: f64) -> Self {
        Self {
            start,
            origin: Instant::now(),
            speed,
            skipped_millis: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.start.plus(self.elapsed())
    }

    /// Since the start, with what was skipped.
    pub(crate) fn elapsed(&self) -> Duration {
        let real = self.origin.elapsed().as_secs_f64() * self.speed;
        let real = Duration::try_from_secs_f64(real).unwrap_or(Duration::MAX);
        real.saturating_add(self.skipped())
    }

    fn skipped(&self) -> Duration {
        // Relaxed: only the number itself is read; it publishes no other memory.
        Duration::from_millis(self.skipped_millis.load(Ordering::Relaxed))
    }

    /// A moment as clients are told of it, whose own clocks run at real speed: as far away from
    /// the present for them as it really is.
    pub(crate) fn told(&self, at: Timestamp) -> Timestamp {
        #[expect(clippy::float_cmp, reason = "it is set, never computed")]
        if self.speed == 1.0 {
            return at;
        }
        let now = self.now();
        let present = self.start.plus(self.origin.elapsed()).plus(self.skipped());
        if at >= now {
            return present.plus(self.told_wait(at.since(now)));
        }
        let ago = millis(self.told_wait(now.since(at)));
        Timestamp(present.0.saturating_sub(ago))
    }

    /// A moment that a client named, whose own clock runs at real speed: the inverse of
    /// [`told`](Self::told).
    pub(crate) fn heard(&self, at: Timestamp) -> Timestamp {
        #[expect(clippy::float_cmp, reason = "it is set, never computed")]
        if self.speed == 1.0 {
            return at;
        }
        let now = self.now();
        let present = self.told(now);
        if at <= present {
            return now;
        }
        let ahead = at.since(present).as_secs_f64() * self.speed;
        now.plus(Duration::try_from_secs_f64(ahead).unwrap_or(Duration::MAX))
    }

    /// A wait as clients are told of it. See [`told`](Self::told).
    pub(crate) fn told_wait(&self, wait: Duration) -> Duration {
        Duration::try_from_secs_f64(wait.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }

    pub(crate) fn advance(&self, by: Duration) {
        // Relaxed: see `elapsed`.
        self.skipped_millis.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// Whole milliseconds, rounded up so that a wait never ends early.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Whole seconds, rounded up, at least one: how `Retry-After` is written.
pub(crate) fn retry_seconds(duration: Duration) -> u64 {
    millis(duration).div_ceil(1000).max(1)
}

/// Year, month (1..=12) and day of the month of a day since the epoch (proleptic Gregorian, counted
/// in eras of 400 years that begin in March, so that the leap day is the last of its year).
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The inverse of [`civil`], for years from 1970.
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day.saturating_sub(1);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_day_of_five_centuries_survives_the_round_trip() {
        for day in 0..182_621 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days_of(year, month, of_month), day);
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }

    #[test]
    fn caps_reset_at_midnight_on_mondays_and_on_the_first() {
        let thursday = at("2026-10-01T12:00:00Z");
        assert_eq!(Reset::Daily.next(thursday), at("2026-10-02T00:00:00Z"));
        assert_eq!(Reset::Weekly.next(thursday), at("2026-10-05T00:00:00Z"));
        assert_eq!(Reset::Monthly.next(thursday), at("2026-11-01T00:00:00Z"));
        assert_eq!(
            Reset::Monthly.next(at("2026-12-31T23:59:59.999Z")),
            at("2027-01-01T00:00:00Z")
        );
        let monday = at("2026-10-05T00:00:00Z");
        assert_eq!(Reset::Weekly.next(monday), at("2026-10-12T00:00:00Z"));
        for reset in [Reset::Daily, Reset::Weekly, Reset::Monthly] {
            let next = reset.next(thursday);
            assert_eq!(reset.period(next), reset.period(thursday) + 1);
            let before = Timestamp(next.0 - 1);
            assert_eq!(reset.period(before), reset.period(thursday));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood_and_nonsense_is_not() {
        assert_eq!(at("2026-10-01T14:00:00+02:00"), Timestamp::DEFAULT_START);
        assert_eq!(
            at("2026-10-01T12:00:00.25Z").to_string(),
            "2026-10-01T12:00:00.250Z"
        );
        for bad in [
            "",
            "2026-10-01",
            "2026-02-30T00:00:00Z",
            "2026-10-01T24:00:00Z",
            "2026-10-01T12:00:00",
            "1969-12-31T00:00:00Z",
            "2026-10-01T12:00:00.Z",
            "äöü6-10-01T12:00:00Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_date_header_has_the_right_weekday() {
        assert_eq!(
            Timestamp::DEFAULT_START.http_date(),
            "Thu, 01 Oct 2026 12:00:00 GMT"
        );
    }
}
