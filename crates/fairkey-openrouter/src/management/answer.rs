//! What calls of administration answer, read field by field: an odd field costs only itself.

use std::time::Duration;

use fairkey_core::ApiKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::date;
use crate::fault::malformed_json;
use crate::key_info::{Credits, ResetInterval};
use crate::lenient::number;

/// An answer to a [`ManagementCall`](crate::management::ManagementCall).
///
/// Sealed: implemented for the answers of this module's calls.
pub trait ManagementAnswer: sealed::Sealed + Sized {
    /// Reads the body of a success. The error says what is wrong, and nothing of what the body
    /// says.
    #[doc(hidden)]
    fn read(body: &[u8]) -> Result<Self, String>;

    /// Returns what a success without a body means, if it means anything.
    #[doc(hidden)]
    fn empty() -> Option<Self> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ManagedKey {}
    impl Sealed for super::ManagedKeys {}
    impl Sealed for super::CreatedKey {}
    impl Sealed for super::Credits {}
    impl Sealed for bool {}
}

/// A key as its administrator sees it: without its secret. Money is in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManagedKey {
    /// What names the key in calls of administration. Not the secret, and of no use as one.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// The masked key.
    pub label: String,
    /// Whether it is turned off.
    pub disabled: bool,
    /// Its spending cap; `None`: no cap.
    pub limit: Option<f64>,
    /// What remains of the cap; `None`: no cap.
    pub limit_remaining: Option<f64>,
    /// How often the cap starts anew; `None`: never.
    pub limit_reset: Option<ResetInterval>,
    /// Whether spending through own provider keys counts towards the cap.
    pub include_byok_in_limit: bool,
    /// Credits spent since the key was made.
    pub usage: Option<f64>,
    /// Credits spent on this UTC day.
    pub usage_daily: Option<f64>,
    /// Credits spent since Monday.
    pub usage_weekly: Option<f64>,
    /// Credits spent in this month.
    pub usage_monthly: Option<f64>,
    /// Spent through own provider keys since the key was made.
    pub byok_usage: Option<f64>,
    /// The same on this UTC day.
    pub byok_usage_daily: Option<f64>,
    /// The same since Monday.
    pub byok_usage_weekly: Option<f64>,
    /// The same in this month.
    pub byok_usage_monthly: Option<f64>,
    /// When it was made, as ISO 8601.
    pub created_at: Option<String>,
    /// When it was last changed, as ISO 8601.
    pub updated_at: Option<String>,
    /// When it expires, as ISO 8601; `None`: never.
    pub expires_at: Option<String>,
    /// The user who made it.
    pub creator_user_id: Option<String>,
    /// The workspace it belongs to.
    pub workspace_id: Option<String>,
}

impl ManagedKey {
    /// Returns when the key expires, since 1970-01-01 00:00 UTC; `None`: never, or unreadable.
    #[must_use]
    pub fn expires_at(&self) -> Option<Duration> {
        date::parse_iso8601(self.expires_at.as_deref()?)
    }

    /// Reads a key; `None`: there is no hash, so nothing could be done with it.
    fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let flag = |name: &str| value[name].as_bool().unwrap_or_default();
        let amount = |name: &str| number(&value[name]);
        let hash = text("hash").filter(|hash| !hash.is_empty())?;
        Some(Self {
            hash,
            name: text("name").unwrap_or_default(),
            label: text("label").unwrap_or_default(),
            disabled: flag("disabled"),
            limit: amount("limit"),
            limit_remaining: amount("limit_remaining"),
            limit_reset: value["limit_reset"].as_str().map(ResetInterval::from),
            include_byok_in_limit: flag("include_byok_in_limit"),
            usage: amount("usage"),
            usage_daily: amount("usage_daily"),
            usage_weekly: amount("usage_weekly"),
            usage_monthly: amount("usage_monthly"),
            byok_usage: amount("byok_usage"),
            byok_usage_daily: amount("byok_usage_daily"),
            byok_usage_weekly: amount("byok_usage_weekly"),
            byok_usage_monthly: amount("byok_usage_monthly"),
            created_at: text("created_at"),
            updated_at: text("updated_at"),
            expires_at: text("expires_at"),
            creator_user_id: text("creator_user_id"),
            workspace_id: text("workspace_id"),
        })
    }
}

impl ManagementAnswer for ManagedKey {
    fn read(body: &[u8]) -> Result<Self, String> {
        let root = parse(body)?;
        let key = if root["data"].is_object() {
            &root["data"]
        } else {
            &root
        };
        Self::from_value(key).ok_or_else(|| "the answer has no hash of a key".to_owned())
    }
}

/// One page of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManagedKeys {
    /// The keys, in the order of the answer.
    pub keys: Vec<ManagedKey>,
    /// How many entries of the page could not be read: they have no hash.
    pub unreadable: u64,
}

impl ManagementAnswer for ManagedKeys {
    fn read(body: &[u8]) -> Result<Self, String> {
        let root = parse(body)?;
        let Some(entries) = root["data"].as_array() else {
            return Err("the answer has no list of keys".to_owned());
        };
        let keys: Vec<_> = entries.iter().filter_map(ManagedKey::from_value).collect();
        let unreadable = (entries.len() - keys.len()) as u64;
        Ok(Self { keys, unreadable })
    }
}

/// A key that was just made, with its secret: shown here and never again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreatedKey {
    /// The key.
    pub key: ManagedKey,
    /// Its secret.
    pub secret: ApiKey,
}

impl ManagementAnswer for CreatedKey {
    fn read(body: &[u8]) -> Result<Self, String> {
        // The secret goes straight into the type that wipes it: no tree of values holds a copy.
        #[derive(Deserialize)]
        struct Created<'a> {
            #[serde(default)]
            data: Value,
            #[serde(borrow)]
            key: Option<&'a RawValue>,
        }
        let created: Created<'_> =
            serde_json::from_slice(body).map_err(|error| malformed_json(&error))?;
        let secret = created
            .key
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .map(ApiKey::new)
            .filter(|secret| !secret.is_empty());
        match (ManagedKey::from_value(&created.data), secret) {
            (Some(key), Some(secret)) => Ok(Self { key, secret }),
            // It exists, and nobody can use it: say which to delete.
            (Some(key), None) => Err(format!(
                "the answer holds no secret; delete the key with hash {}",
                key.hash
            )),
            (None, _) => Err("the answer has no hash of the key that was made".to_owned()),
        }
    }
}

impl ManagementAnswer for Credits {
    fn read(body: &[u8]) -> Result<Self, String> {
        Self::from_slice(body).map_err(|error| malformed_json(&error))
    }
}

/// Whether a key was deleted.
impl ManagementAnswer for bool {
    fn read(body: &[u8]) -> Result<Self, String> {
        let root = parse(body)?;
        let places = [&root["deleted"], &root["data"]["deleted"]];
        let deleted = places.into_iter().find_map(Value::as_bool);
        deleted.ok_or_else(|| "the answer does not say whether the key was deleted".to_owned())
    }

    fn empty() -> Option<Self> {
        Some(true)
    }
}

fn parse(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| malformed_json(&error))
}
