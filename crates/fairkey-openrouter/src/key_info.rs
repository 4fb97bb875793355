//! What a key may still do, as OpenRouter tells it: [`KeyInfo`], and the balance: [`Credits`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::date;
use crate::lenient::{amount, list, maybe, number, object, or_default};
use crate::open_enum::open_enum;

open_enum! {
    /// How often a cap or a budget starts anew. Always by UTC.
    pub enum ResetInterval {
        /// At midnight.
        Daily = "daily" | "day",
        /// On Monday at midnight.
        Weekly = "weekly" | "week",
        /// On the first of the month at midnight.
        Monthly = "monthly" | "month",
    }
}

impl ResetInterval {
    /// Returns the next reset after `now`, both since 1970-01-01 00:00 UTC; `None` for an interval
    /// that this version does not know.
    #[must_use]
    pub fn next_reset(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::Daily => Some(date::next_day(now)),
            Self::Weekly => Some(date::next_week(now)),
            Self::Monthly => Some(date::next_month(now)),
            Self::Other(_) => None,
        }
    }
}

open_enum! {
    /// What a budget applies to.
    pub enum BudgetScope {
        /// A member, by the default guardrail of the workspace.
        WorkspaceDefaultMember = "workspace_default_member",
        /// A key, by the default guardrail of the workspace.
        WorkspaceDefaultKey = "workspace_default_key",
        /// A member: the sum of the member's keys.
        Member = "member",
        /// A key, by a guardrail.
        ApiKey = "api_key",
        /// A workspace.
        Workspace = "workspace",
        /// A key, by its own limit.
        KeyLimit = "key_limit",
    }
}

impl BudgetScope {
    /// Returns whether only one key draws on such a budget.
    #[must_use]
    pub fn is_one_key(&self) -> bool {
        matches!(
            self,
            Self::ApiKey | Self::WorkspaceDefaultKey | Self::KeyLimit
        )
    }
}

/// One layer of money limits on a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyBudget {
    /// What it applies to.
    #[serde(default, deserialize_with = "maybe")]
    pub scope: Option<BudgetScope>,
    /// The budget, in US dollars.
    #[serde(default, deserialize_with = "amount")]
    pub limit_usd: Option<f64>,
    /// What is spent of it.
    #[serde(default, deserialize_with = "amount")]
    pub spend_usd: Option<f64>,
    /// What remains; at zero and below, calls are answered 403.
    #[serde(default, deserialize_with = "amount")]
    pub remaining_usd: Option<f64>,
    /// How often it starts anew; `None`: never.
    #[serde(default, deserialize_with = "maybe")]
    pub reset_interval: Option<ResetInterval>,
    /// When it starts anew next, as ISO 8601.
    #[serde(default, deserialize_with = "maybe")]
    pub resets_at: Option<String>,
    /// The guardrail it comes from.
    #[serde(default, deserialize_with = "maybe")]
    pub guardrail_id: Option<String>,
    /// Its own identifier.
    #[serde(default, deserialize_with = "maybe")]
    pub budget_id: Option<String>,
    /// Whether spending through own provider keys counts.
    #[serde(default, deserialize_with = "maybe")]
    pub include_byok: Option<bool>,
}

impl KeyBudget {
    /// Returns when it starts anew, since 1970-01-01 00:00 UTC; `None`: never, or unreadable.
    #[must_use]
    pub fn resets_at(&self) -> Option<Duration> {
        date::parse_iso8601(self.resets_at.as_deref()?)
    }
}

/// The account's free requests of this UTC day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeModelRequests {
    /// How many were made; may exceed the limit, since refused calls seem to count.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub used: u64,
    /// How many may be made.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub limit: u64,
    /// How many are left.
    #[serde(default, deserialize_with = "crate::lenient::count")]
    pub remaining: u64,
}

/// What a key may still do: the `data` of `GET /key`. A key reads only itself. Money is in US
/// dollars. The account's balance is not in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The masked key.
    #[serde(default, deserialize_with = "or_default")]
    pub label: String,
    /// The key's own cap; `None`: no cap.
    #[serde(default, deserialize_with = "amount")]
    pub limit: Option<f64>,
    /// What remains of the cap; `None`: no cap.
    #[serde(default, deserialize_with = "amount")]
    pub limit_remaining: Option<f64>,
    /// How often the cap starts anew; `None`: never.
    #[serde(default, deserialize_with = "maybe")]
    pub limit_reset: Option<ResetInterval>,
    /// Whether spending through own provider keys counts towards the cap.
    #[serde(default, deserialize_with = "or_default")]
    pub include_byok_in_limit: bool,
    /// Credits spent since the key was made.
    #[serde(default, deserialize_with = "amount")]
    pub usage: Option<f64>,
    /// Credits spent on this UTC day.
    #[serde(default, deserialize_with = "amount")]
    pub usage_daily: Option<f64>,
    /// Credits spent since Monday.
    #[serde(default, deserialize_with = "amount")]
    pub usage_weekly: Option<f64>,
    /// Credits spent in this month.
    #[serde(default, deserialize_with = "amount")]
    pub usage_monthly: Option<f64>,
    /// Spent through own provider keys since the key was made.
    #[serde(default, deserialize_with = "amount")]
    pub byok_usage: Option<f64>,
    /// The same on this UTC day.
    #[serde(default, deserialize_with = "amount")]
    pub byok_usage_daily: Option<f64>,
    /// The same since Monday.
    #[serde(default, deserialize_with = "amount")]
    pub byok_usage_weekly: Option<f64>,
    /// The same in this month.
    #[serde(default, deserialize_with = "amount")]
    pub byok_usage_monthly: Option<f64>,
    /// Whether the account never bought credits. False does not mean the higher free quota.
    #[serde(default, deserialize_with = "or_default")]
    pub is_free_tier: bool,
    /// Whether it is a management key: refused for inference.
    #[serde(default, deserialize_with = "or_default")]
    pub is_management_key: bool,
    /// The older name of [`is_management_key`](Self::is_management_key).
    #[serde(default, deserialize_with = "or_default")]
    pub is_provisioning_key: bool,
    /// The user who made the key.
    #[serde(default, deserialize_with = "maybe")]
    pub creator_user_id: Option<String>,
    /// The organization that owns it; `None`: its creator does.
    #[serde(default, deserialize_with = "maybe")]
    pub organization_id: Option<String>,
    /// The workspace it belongs to.
    #[serde(default, deserialize_with = "maybe")]
    pub workspace_id: Option<String>,
    /// When it expires, as ISO 8601; `None`: never.
    #[serde(default, deserialize_with = "maybe")]
    pub expires_at: Option<String>,
    /// Where data may go: `global`, `europe`, `us`; empty where nothing is said.
    #[serde(default, deserialize_with = "list")]
    pub allowed_data_regions: Vec<String>,
    /// The account's free requests of this UTC day.
    #[serde(default, deserialize_with = "free_requests")]
    pub free_model_daily_requests: Option<FreeModelRequests>,
    /// Every layer of money limits, in the order in which they are checked.
    #[serde(default, deserialize_with = "list")]
    pub budgets: Vec<KeyBudget>,
    /// The layer that blocks first.
    #[serde(default, deserialize_with = "maybe")]
    pub effective_budget: Option<KeyBudget>,
}

impl KeyInfo {
    /// Reads the answer of `GET /key`: the object, or the object inside `data`.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object. What is missing or odd in it costs only itself.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        data(json)
    }

    /// Returns whether the key is for administration, and refused for inference.
    #[must_use]
    pub fn is_management(&self) -> bool {
        self.is_management_key || self.is_provisioning_key
    }

    /// Returns what two keys of one account have in common: the organization, else the creator.
    ///
    /// Two keys with different values are not proven to belong to different accounts; two with the
    /// same value do share one.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.organization_id
            .as_deref()
            .or(self.creator_user_id.as_deref())
    }

    /// Returns when the key expires, since 1970-01-01 00:00 UTC; `None`: never, or unreadable.
    #[must_use]
    pub fn expires_at(&self) -> Option<Duration> {
        date::parse_iso8601(self.expires_at.as_deref()?)
    }

    /// Returns the least money that any layer leaves, in US dollars; `None`: no layer limits it.
    /// Zero or less means that calls are answered 403.
    #[must_use]
    pub fn remaining_usd(&self) -> Option<f64> {
        let layers = self.budgets.iter().chain(&self.effective_budget);
        let remaining = layers.filter_map(|budget| budget.remaining_usd);
        remaining.chain(self.limit_remaining).min_by(f64::total_cmp)
    }
}

/// The account's money: the `data` of `GET /credits`, which only a management key may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Credits {
    /// Credits bought since the account was made, in US dollars.
    #[serde(deserialize_with = "some_amount")]
    pub total_credits: f64,
    /// Credits spent since then.
    #[serde(deserialize_with = "some_amount")]
    pub total_usage: f64,
}

impl Credits {
    /// Reads the answer of `GET /credits`: the object, or the object inside `data`.
    ///
    /// # Errors
    ///
    /// Where the text is no JSON object, or one of the two amounts is not in it: a balance that
    /// nobody told must not be taken for none.
    pub fn from_slice(json: &[u8]) -> Result<Self, serde_json::Error> {
        data(json)
    }

    /// Returns what is left, in US dollars; may be negative.
    #[must_use]
    pub fn balance(&self) -> f64 {
        self.total_credits - self.total_usage
    }
}

/// Reads the free requests of the day. Without a limit there is no telling what is left, and what
/// nobody told must not be taken for nothing.
fn free_requests<'de, D>(from: D) -> Result<Option<FreeModelRequests>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let said = Value::deserialize(from)?;
    let count = |member: &str| number(&said[member]).map(|n| n as u64);
    let (used, remaining) = (count("used"), count("remaining"));
    let left = |limit: u64| used.map(|used| limit.saturating_sub(used));
    Ok(count("limit").and_then(|limit| {
        Some(FreeModelRequests {
            used: used.unwrap_or_default(),
            limit,
            remaining: remaining.or_else(|| left(limit))?,
        })
    }))
}

/// Reads an amount that must be there.
fn some_amount<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    amount(from)?.ok_or_else(|| serde::de::Error::custom("there is no amount"))
}

/// Reads an object that may be wrapped in `{"data": …}`.
fn data<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        data: Option<&'a serde_json::value::RawValue>,
    }
    match object::<Wrapped<'_>>(json)?.data {
        Some(data) => object(data.get().as_bytes()),
        None => object(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"data":{
        "label":"sk-or-v1-abc...xyz","limit":50,"limit_remaining":12.5,"limit_reset":"weekly",
        "include_byok_in_limit":false,"usage":37.5,"usage_daily":1,"usage_weekly":2,
        "usage_monthly":3,"byok_usage":0,"byok_usage_daily":0,"byok_usage_weekly":0,
        "byok_usage_monthly":0,"is_free_tier":false,"is_management_key":false,
        "is_provisioning_key":false,"creator_user_id":"user_1","organization_id":"org_1",
        "workspace_id":null,"expires_at":"2027-12-31T23:59:59Z","allowed_data_regions":["global"],
        "free_model_daily_requests":{"used":60,"limit":50,"remaining":0},
        "budgets":[{"scope":"workspace","limit_usd":"100","spend_usd":96,"remaining_usd":4,
            "reset_interval":"monthly","resets_at":"2026-11-01T00:00:00Z","guardrail_id":null,
            "budget_id":"b1","include_byok":false},{"scope":"later"}],
        "effective_budget":null,"rate_limit":{"requests":-1,"interval":"10s","note":"ignore"}}}"#;

    #[test]
    fn every_field_of_a_key_is_read() {
        let key = KeyInfo::from_slice(KEY.as_bytes()).unwrap();
        assert_eq!(key.owner(), Some("org_1"));
        assert_eq!(key.limit_reset, Some(ResetInterval::Weekly));
        assert_eq!(key.remaining_usd(), Some(4.0));
        assert_eq!(
            key.expires_at(),
            date::parse_iso8601("2027-12-31T23:59:59Z")
        );
        assert_eq!(key.free_model_daily_requests.unwrap().used, 60);
        assert_eq!(
            key.budgets[0].resets_at(),
            date::parse_iso8601("2026-11-01")
        );
        assert_eq!(key.budgets[0].limit_usd, Some(100.0));
        assert_eq!(
            key.budgets[1].scope,
            Some(BudgetScope::Other("later".into()))
        );
        assert!(!key.is_management());
    }

    #[test]
    fn an_older_answer_with_half_the_fields_is_read_too() {
        let key = KeyInfo::from_slice(
            br#"{"label":"x","limit":null,"usage":1,"is_provisioning_key":true}"#,
        )
        .unwrap();
        assert_eq!(key.remaining_usd(), None);
        assert!(key.is_management());
        assert_eq!(key.owner(), None);
    }

    #[test]
    fn an_odd_field_costs_only_itself() {
        let key = KeyInfo::from_slice(
            br#"{"data":{"label":7,"limit":"12.5","limit_reset":false,"organization_id":["x"],
                "is_free_tier":"yes","is_management_key":true,"expires_at":0,
                "allowed_data_regions":"europe","free_model_daily_requests":[1],
                "budgets":[7,{"scope":"member","remaining_usd":3,"resets_at":5}],
                "effective_budget":"none","creator_user_id":"user_1"}}"#,
        )
        .unwrap();
        assert_eq!(key.limit, Some(12.5));
        assert!(key.is_management() && !key.is_free_tier);
        assert_eq!(key.owner(), Some("user_1"));
        assert_eq!(key.budgets.len(), 1);
        assert_eq!(key.remaining_usd(), Some(3.0));
        assert_eq!(key.budgets[0].resets_at(), None);
        assert_eq!(
            (key.limit_reset, key.free_model_daily_requests),
            (None, None)
        );
    }

    #[test]
    fn free_requests_that_nobody_told_are_not_none_left() {
        let read = |said: &str| {
            let json = format!(r#"{{"free_model_daily_requests":{said}}}"#);
            let key = KeyInfo::from_slice(json.as_bytes()).unwrap();
            key.free_model_daily_requests.map(|free| free.remaining)
        };
        assert_eq!(read(r#"{"used":60,"limit":50,"remaining":0}"#), Some(0));
        assert_eq!(read(r#"{"used":"20","limit":50}"#), Some(30));
        assert_eq!(read(r#"{"used":60,"limit":50}"#), Some(0));
        for nothing in [
            "null",
            "{}",
            "[1,2,3]",
            r#"{"used":3}"#,
            r#"{"limit":50}"#,
            "7",
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again() {
        let key = KeyInfo::from_slice(KEY.as_bytes()).unwrap();
        let json = serde_json::to_vec(&key).unwrap();
        assert_eq!(KeyInfo::from_slice(&json).unwrap(), key);
    }

    #[test]
    fn the_balance_is_the_difference() {
        let credits =
            Credits::from_slice(br#"{"data":{"total_credits":10.5,"total_usage":11}}"#).unwrap();
        assert_eq!(credits.balance(), -0.5);
        for json in [
            "[]",
            r#"{"data":[1,2]}"#,
            "",
            "7",
            r#"{"data":{}}"#,
            r#"{"data":{"total_credits":null,"total_usage":1}}"#,
        ] {
            assert!(Credits::from_slice(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn resets_follow_the_calendar() {
        let now = date::parse_iso8601("2026-10-14T12:00:00Z").unwrap();
        assert_eq!(
            ResetInterval::Daily.next_reset(now),
            date::parse_iso8601("2026-10-15")
        );
        assert_eq!(
            ResetInterval::Weekly.next_reset(now),
            date::parse_iso8601("2026-10-19")
        );
        assert_eq!(
            ResetInterval::Monthly.next_reset(now),
            date::parse_iso8601("2026-11-01")
        );
        assert_eq!(ResetInterval::from("hourly").next_reset(now), None);
    }
}
