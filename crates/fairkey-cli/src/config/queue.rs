//! How calls wait: the table `[queue]`.

use std::time::Duration;

use fairkey_client::{PerClass, QueueConfig};
use serde::{Deserialize, Deserializer};

use super::bounds::{self, Time, TimeOrNone};
use super::duration;

/// How calls wait, as far as it is said.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    #[serde(deserialize_with = "bounds::waiting")]
    length: Option<u32>,
    length_per_class: Classes<Waiting>,
    #[serde(deserialize_with = "bounds::waiting")]
    length_per_tenant: Option<u32>,
    max_wait: Classes<Wait>,
    weights: Classes<Weight>,
    ageing: Option<Wait>,
    #[serde(deserialize_with = "bounds::calls_or_none")]
    bypass: Option<u32>,
    hold: Option<Time>,
    refuse_early: Option<bool>,
    #[serde(deserialize_with = "bounds::waiting")]
    tenants: Option<u32>,
}

/// One value for each class, as far as it is said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Classes<T> {
    interactive: Option<T>,
    normal: Option<T>,
    batch: Option<T>,
}

impl<T> Default for Classes<T> {
    fn default() -> Self {
        Self {
            interactive: None,
            normal: None,
            batch: None,
        }
    }
}

impl<T> Classes<T> {
    /// Puts what is said over `target`.
    fn over<U>(&self, target: &mut PerClass<U>, make: impl Fn(&T) -> U) {
        let said = [&self.interactive, &self.normal, &self.batch];
        let places = [
            &mut target.interactive,
            &mut target.normal,
            &mut target.batch,
        ];
        for (said, place) in said.into_iter().zip(places) {
            if let Some(said) = said {
                *place = make(said);
            }
        }
    }
}

/// How many calls may wait.
#[derive(Clone, Debug)]
struct Waiting(usize);

impl<'de> Deserialize<'de> for Waiting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(calls(bounds::waiting(from)?)))
    }
}

#[derive(Clone, Debug)]
struct Weight(u32);

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(bounds::weight(from)?.unwrap_or(1)))
    }
}

/// A time, or none: the text `"none"`.
#[derive(Clone, Debug)]
struct Wait(Option<Duration>);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "none" {
            return Ok(Self(None));
        }
        let TimeOrNone(time) = TimeOrNone::read(&text)?;
        Ok(Self(Some(time)))
    }
}

impl Queue {
    /// Puts what is said over `queue`.
    pub(crate) fn over(&self, mut queue: QueueConfig) -> QueueConfig {
        if let Some(length) = self.length {
            queue.length = calls(Some(length));
        }
        (self.length_per_class).over(&mut queue.length_per_class, |Waiting(n)| Some(*n));
        if let Some(length) = self.length_per_tenant {
            queue.length_per_tenant = Some(calls(Some(length)));
        }
        (self.max_wait).over(&mut queue.max_wait, |Wait(time)| *time);
        (self.weights).over(&mut queue.weights, |Weight(weight)| *weight);
        if let Some(Wait(ageing)) = self.ageing {
            queue.ageing = ageing;
        }
        if let Some(bypass) = self.bypass {
            queue.bypass = bypass;
        }
        if let Some(Time(hold)) = self.hold {
            queue.hold = hold;
        }
        if let Some(refuse_early) = self.refuse_early {
            queue.refuse_early = refuse_early;
        }
        if let Some(tenants) = self.tenants {
            queue.tenants = calls(Some(tenants));
        }
        queue
    }
}

fn calls(n: Option<u32>) -> usize {
    n.and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX)
}

/// Values of the classes, as they are shown.
pub(super) fn shown<T>(
    classes: &PerClass<T>,
    show: impl Fn(&T) -> Option<serde_json::Value>,
) -> serde_json::Value {
    let said = [
        ("interactive", &classes.interactive),
        ("normal", &classes.normal),
        ("batch", &classes.batch),
    ];
    let said = said
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), show(value)?)));
    serde_json::Value::Object(said.collect())
}

/// A time, or none, as it is shown.
pub(super) fn wait(time: Option<Duration>) -> serde_json::Value {
    time.map_or_else(|| "none".into(), |time| duration::text(time).into())
}
