//! What `GET /key` says of a key, as far as anything here depends on it: [`KeyFacts`].

use std::time::Duration;

use fairkey_core::Scope;
use fairkey_openrouter::{BudgetScope, Cause, KeyBudget, KeyInfo, ResetInterval};
use serde::{Deserialize, Serialize};

use crate::pace::Purse;

const DAY: Duration = Duration::from_secs(86_400);

/// What `GET /key` said of a key. Times are since 1970-01-01 00:00 UTC, money is US dollars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct KeyFacts {
    /// When it was read.
    pub read_at: Duration,
    /// Who owns the account: the organization, else the creator.
    pub owner: Option<String>,
    /// Whether it is a management key, which is refused for inference.
    pub is_management: bool,
    /// When the key expires; `None`: never.
    pub expires_at: Option<Duration>,
    /// Free requests that the account has left on this UTC day, where the answer says.
    pub free_remaining: Option<u64>,
    /// Every layer of money limits: the key's own cap, and budgets.
    pub layers: Vec<Layer>,
}

/// One layer of money limits on a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Layer {
    /// What keys that share this layer have in common; `None` where it is the key's alone.
    pub shared: Option<String>,
    /// Whether it is a workspace's, and not a member's or a guardrail's.
    pub is_workspace: bool,
    /// The whole of it.
    pub limit_usd: Option<f64>,
    /// What remains.
    pub remaining_usd: Option<f64>,
    /// When it starts anew next; `None`: never, or unknown.
    pub resets_at: Option<Duration>,
    /// How long a whole period is.
    pub period: Option<Duration>,
}

/// Why a key is of no use now, by what it says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) scope: Scope,
    pub(crate) cause: Cause,
    /// When it is over; `None`: never by itself, or nobody knows.
    pub(crate) until: Option<Duration>,
    /// The shared layer that bars.
    pub(crate) shared: Option<String>,
}

impl KeyFacts {
    /// Reads an answer that came at `now`.
    pub(crate) fn of(info: &KeyInfo, now: Duration) -> Self {
        let own = info.limit.map(|limit| {
            let interval = info.limit_reset.as_ref();
            Layer {
                shared: None,
                is_workspace: false,
                limit_usd: Some(limit),
                remaining_usd: info.limit_remaining,
                resets_at: interval.and_then(|interval| interval.next_reset(now)),
                period: interval.and_then(period),
            }
        });
        let budgets = info.budgets.iter().chain(&info.effective_budget);
        let mut layers: Vec<Layer> = own.into_iter().collect();
        for budget in budgets {
            let layer = layer(budget, info, now);
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        Self {
            read_at: now,
            owner: info.owner().map(str::to_owned),
            is_management: info.is_management(),
            expires_at: info.expires_at(),
            free_remaining: info.free_model_daily_requests.map(|free| free.remaining),
            layers,
        }
    }

    /// Returns the least money that any layer leaves; `None`: no layer limits it.
    #[must_use]
    pub fn remaining_usd(&self) -> Option<f64> {
        let remaining = self.layers.iter().filter_map(|layer| layer.remaining_usd);
        remaining.min_by(f64::total_cmp)
    }

    /// Returns why the key is of no use at `now`, by what it said of itself: of several reasons
    /// the one that lasts longest. A layer whose reset has passed since bars nobody.
    pub(crate) fn bar(&self, now: Duration) -> Option<Bar> {
        let own = |cause| Bar {
            scope: Scope::Key,
            cause,
            until: None,
            shared: None,
        };
        if self.is_management {
            return Some(own(Cause::KeyForbidden));
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Some(own(Cause::KeyInvalid));
        }
        let spent = |layer: &&Layer| {
            layer.remaining_usd.is_some_and(|left| left <= 0.0)
                && layer.resets_at.is_none_or(|at| at > now)
        };
        let last = (self.layers.iter().filter(spent))
            .max_by_key(|layer| layer.resets_at.unwrap_or(Duration::MAX))?;
        Some(Bar {
            scope: if last.shared.is_some() {
                Scope::Budget
            } else {
                Scope::Key
            },
            cause: match (&last.shared, last.is_workspace) {
                (None, _) => Cause::KeyCapSpent,
                (Some(_), true) => Cause::WorkspaceBudget,
                (Some(_), false) => Cause::GuardrailBudget,
            },
            until: last.resets_at,
            shared: last.shared.clone(),
        })
    }

    /// Returns the layer that is the tightest for its period, to pace the key by.
    pub(crate) fn purse(&self, now: Duration) -> Option<Purse> {
        let tightest = |layer: &Layer| {
            let (limit, remaining) = (layer.limit_usd?, layer.remaining_usd?);
            let left = (layer.resets_at.zip(layer.period))
                .map(|(at, whole)| (at.saturating_sub(now).min(whole), whole));
            // What was read before a reset says nothing after it.
            if layer.resets_at.is_some_and(|at| at <= now) || limit <= 0.0 {
                return None;
            }
            let share = left.map_or(1.0, |(left, whole)| {
                left.as_secs_f64().max(1.0) / whole.as_secs_f64()
            });
            let purse = Purse {
                limit,
                remaining,
                period: left,
            };
            Some((remaining / limit / share, purse))
        };
        let purses = self.layers.iter().filter_map(tightest);
        (purses.min_by(|(one, _), (other, _)| one.total_cmp(other))).map(|(_, purse)| purse)
    }

    /// Returns the shared layers.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.shared.is_some())
    }

    /// Returns when the account's free requests start anew, where they are used up.
    pub(crate) fn free_until(&self) -> Option<Duration> {
        let spent = self.free_remaining == Some(0);
        spent
            .then(|| ResetInterval::Daily.next_reset(self.read_at))
            .flatten()
    }

    /// Returns when it is worth to look again: at the next reset or expiry after `now`.
    pub(crate) fn next_change(&self, now: Duration) -> Option<Duration> {
        let resets = self.layers.iter().filter_map(|layer| layer.resets_at);
        resets.chain(self.expires_at).filter(|at| *at > now).min()
    }
}

fn layer(budget: &KeyBudget, info: &KeyInfo, now: Duration) -> Layer {
    let interval = budget.reset_interval.as_ref();
    let scope = budget.scope.as_ref();
    let is_workspace = scope == Some(&BudgetScope::Workspace);
    let shared = match scope {
        // Of an unknown kind: each key finds out for itself.
        None | Some(BudgetScope::Other(_)) => None,
        Some(scope) if scope.is_one_key() => None,
        Some(scope) => {
            let whose = if is_workspace {
                info.workspace_id.as_deref()
            } else {
                info.creator_user_id.as_deref()
            };
            // The member counts too: a guardrail's budget is each member's own.
            (budget.budget_id.as_deref().or(whose))
                .map(|id| format!("{}/{id}/{}", scope.as_str(), whose.unwrap_or("")))
        }
    };
    Layer {
        shared,
        is_workspace,
        limit_usd: budget.limit_usd,
        remaining_usd: budget.remaining_usd,
        resets_at: (budget.resets_at())
            .or_else(|| interval.and_then(|interval| interval.next_reset(now))),
        period: interval.and_then(period),
    }
}

fn period(interval: &ResetInterval) -> Option<Duration> {
    match interval {
        ResetInterval::Daily => Some(DAY),
        ResetInterval::Weekly => Some(7 * DAY),
        ResetInterval::Monthly => Some(30 * DAY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::parse_iso8601;

    use super::*;

    fn at(text: &str) -> Duration {
        parse_iso8601(text).unwrap()
    }

    fn facts(json: &str) -> KeyFacts {
        let info = KeyInfo::from_slice(json.as_bytes()).unwrap();
        KeyFacts::of(&info, at("2026-10-14T12:00:00Z"))
    }

    #[test]
    fn a_spent_cap_bars_until_its_reset_and_not_longer() {
        let facts = facts(r#"{"limit":5,"limit_remaining":0,"limit_reset":"daily"}"#);
        let bar = facts.bar(at("2026-10-14T23:59:59Z")).unwrap();
        assert_eq!((bar.scope, bar.cause), (Scope::Key, Cause::KeyCapSpent));
        assert_eq!(bar.until, Some(at("2026-10-15")));
        assert_eq!(facts.bar(at("2026-10-15")), None);
        assert_eq!(facts.next_change(at("2026-10-14T13:00:00Z")), bar.until);
    }

    #[test]
    fn of_two_layers_that_are_spent_the_longer_bars() {
        let facts = facts(
            r#"{"limit":5,"limit_remaining":-0.01,"limit_reset":"daily","workspace_id":"w1",
            "budgets":[{"scope":"workspace","limit_usd":9,"remaining_usd":0,
                "reset_interval":"monthly","resets_at":"2026-11-01T00:00:00Z"}]}"#,
        );
        let bar = facts.bar(facts.read_at).unwrap();
        assert_eq!(
            (bar.scope, bar.cause),
            (Scope::Budget, Cause::WorkspaceBudget)
        );
        assert_eq!(bar.until, Some(at("2026-11-01")));
        assert_eq!(bar.shared.as_deref(), Some("workspace/w1/w1"));
        // A cap that never starts anew bars for longer than any.
        let facts = self::facts(r#"{"limit":5,"limit_remaining":0}"#);
        assert_eq!(facts.bar(facts.read_at).unwrap().until, None);
    }

    #[test]
    fn a_management_key_and_an_expired_one_are_of_no_use() {
        let management = facts(r#"{"is_provisioning_key":true}"#);
        let cause = |facts: &KeyFacts, now| facts.bar(at(now)).map(|bar| bar.cause);
        assert_eq!(cause(&management, "2026-10-14"), Some(Cause::KeyForbidden));
        let expiring = facts(r#"{"expires_at":"2026-10-16T06:00:00Z"}"#);
        assert_eq!(cause(&expiring, "2026-10-16T05:59:59Z"), None);
        assert_eq!(
            cause(&expiring, "2026-10-16T06:00:00Z"),
            Some(Cause::KeyInvalid)
        );
    }

    #[test]
    fn keys_of_a_member_share_the_members_budget_and_no_other() {
        let of = |user: &str, scope: &str| {
            facts(&format!(
                r#"{{"creator_user_id":"{user}","budgets":[{{"scope":"{scope}","limit_usd":9,
                "remaining_usd":1,"budget_id":"b"}}]}}"#
            ))
        };
        let shared = |facts: &KeyFacts| facts.layers[0].shared.clone();
        let member = shared(&of("u1", "member"));
        assert!(member.is_some());
        assert_eq!(member, shared(&of("u1", "member")));
        assert_ne!(member, shared(&of("u2", "member")));
        for own in ["api_key", "workspace_default_key", "key_limit", "new_thing"] {
            assert_eq!(shared(&of("u1", own)), None, "{own}");
        }
    }

    #[test]
    fn the_tightest_layer_paces() {
        let facts = facts(
            r#"{"limit":100,"limit_remaining":50,"limit_reset":"daily","creator_user_id":"u",
            "budgets":[{"scope":"member","limit_usd":100,"remaining_usd":3,
                "reset_interval":"weekly","resets_at":"2026-10-19T00:00:00Z"}]}"#,
        );
        let purse = facts.purse(facts.read_at).unwrap();
        assert_eq!(purse.remaining, 3.0);
        assert_eq!(
            purse.period,
            Some((at("2026-10-19") - facts.read_at, 7 * DAY))
        );
        let spent = self::facts(r#"{"free_model_daily_requests":{"used":60,"limit":50}}"#);
        assert_eq!(spent.free_until(), Some(at("2026-10-15")));
        assert_eq!(spent.purse(spent.read_at), None);
    }
}
