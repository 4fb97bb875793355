//! Durations as text: a number and its unit.

use std::time::Duration;

/// The longest duration: a year, and then some.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Reads a duration: a number and its unit, such as `250ms`, `6s`, `5m`, `2h`; up to a year.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with its unit: 250ms, 6s, 5m, 2h".to_owned();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return Err(wrong()),
    };
    if seconds < 0.0 {
        return Err("a duration is not negative".to_owned());
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ if seconds.is_nan() => Err(wrong()),
        _ => Err("a duration is at most 366d".to_owned()),
    }
}

/// Returns a duration as it would be written: in the largest unit that leaves a whole number.
pub(crate) fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if millis > 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("366d"), Ok(LONGEST));
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1e30h",
            "367d",
            "5 parsecs",
            "nans",
            "infs",
            "-5",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_duration_reads_as_it_is_written() {
        for text in ["250ms", "6s", "90s", "5m", "2h", "31d", "1500ms", "0ms"] {
            assert_eq!(super::text(duration(text).unwrap()), text);
        }
        assert_eq!(super::text(Duration::from_secs(900)), "15m");
        assert_eq!(super::text(Duration::from_secs(3_600)), "1h");
    }
}
