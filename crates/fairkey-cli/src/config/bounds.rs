//! Values with bounds: what is outside of them is refused where it stands, with what is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, de::Error as _};

use super::duration;

/// A duration above zero, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match duration::duration(&text) {
            Ok(time) if time < Duration::from_millis(1) => Err(D::Error::custom(
                "a duration here is at least 1ms, and at most 366d",
            )),
            Ok(time) => Ok(Self(time)),
            Err(message) => Err(D::Error::custom(message)),
        }
    }
}

/// A duration that may be zero, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOrNone(pub(super) Duration);

impl<'de> Deserialize<'de> for TimeOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(&String::deserialize(deserializer)?)
    }
}

impl TimeOrNone {
    pub(super) fn read<E: de::Error>(text: &str) -> Result<Self, E> {
        duration::duration(text).map(Self).map_err(E::custom)
    }
}

/// Makes functions that read a number of a field: `None` only where the field is not there.
macro_rules! whole {
    ($($(#[$doc:meta])* $name:ident: $range:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
            // Read as what is larger and signed: the message says what is allowed, not what is
            // stored.
            let n = within::<i64, D::Error>(i64::deserialize(from)?, $range)?;
            Ok(u32::try_from(n).ok())
        }
    )*};
}

whole! {
    /// Attempts of a call.
    attempts: 1..=100;
    /// Failovers of a call.
    failovers: 0..=1_000;
    /// Calls, failures, successes that are counted.
    calls: 1..=1_000_000;
    /// The same, where none is allowed, too.
    calls_or_none: 0..=1_000_000;
    /// The weight of a key or of a class.
    weight: 1..=65_535;
    /// The weight of a client.
    client_weight: 1..=1_000;
    /// Calls that wait, or tenants that are remembered.
    waiting: 0..=10_000_000;
}

/// Retries per call.
pub(super) fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(f64::deserialize(from)?, 0.0..=10.0).map(Some)
}

/// A share of a whole.
pub(super) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(f64::deserialize(from)?, 0.0..=1.0).map(Some)
}

/// Windows of time, or parts of one.
pub(super) fn windows<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(f64::deserialize(from)?, 0.1..=1_000.0).map(Some)
}

/// US dollars that may be spent.
pub(super) fn usd<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(f64::deserialize(from)?, 0.0..=1_000_000.0).map(Some)
}

fn within<T, E>(value: T, range: RangeInclusive<T>) -> Result<T, E>
where
    T: PartialOrd + Display,
    E: de::Error,
{
    // NaN is within nothing.
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = range.into_inner();
    Err(E::custom(format_args!(
        "a number here is between {from} and {to}"
    )))
}
