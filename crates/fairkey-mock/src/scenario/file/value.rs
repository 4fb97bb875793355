//! Values that are checked as they are read.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::clock::{Reset, Timestamp};

/// A duration with its unit.
#[derive(Clone, Copy, Default)]
pub(super) struct Wait(pub(super) Duration);

/// A moment in RFC 3339, as text or as TOML's own date-time.
pub(super) struct Time(pub(super) Timestamp);

/// US dollars, not negative.
#[derive(Clone, Copy)]
pub(super) struct Usd(pub(super) f64);

/// 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct Probability(pub(super) f64);

#[derive(Clone, Copy)]
pub(super) struct ResetName(pub(super) Reset);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is no duration; write it like \"250ms\" or \"6s\""
            ))
        })
    }
}

fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Native(toml::value::Datetime),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Native(datetime) => datetime.to_string(),
        };
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let usd = f64::deserialize(deserializer)?;
        if (0.0..=1e6).contains(&usd) {
            return Ok(Self(usd));
        }
        Err(de::Error::custom(
            "an amount in US dollars from 0 to 1000000",
        ))
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let probability = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&probability) {
            return Ok(Self(probability));
        }
        Err(de::Error::custom("a number from 0 to 1"))
    }
}

impl<'de> Deserialize<'de> for ResetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Reset::from_name(&name).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{name:?} is none of daily, weekly and monthly"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1.5h"), Some(Duration::from_secs(5400)));
        for bad in ["", "6", "s", "-1s", "6 parsecs", "1e400s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
