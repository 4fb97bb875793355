//! Why a call failed: [`Cause`], one row of the table of faults each, and what that row implies.

use std::fmt;
use std::time::Duration;

use fairkey_core::{FaultKind, Scope};

use crate::fault::Remedy;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[doc = include_str!("causes.md")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Cause {
    /// The key is missing, invalid or deleted.
    KeyInvalid,
    /// The key is past its end.
    KeyExpired,
    /// The key is turned off; its administrator can turn it on again.
    KeyDisabled,
    /// The key is one for administration, and is refused for inference.
    ManagementKey,
    /// The key lacks a permission: a 403 that says nothing else. It counts as a failure of the key,
    /// not as a refusal, since there is no proof: the request may be at fault as well.
    KeyForbidden,
    /// The key's own spending cap is used up.
    KeyCapSpent,
    /// What remains of the key's cap is too little for this request. Smaller ones may still pass,
    /// so the key is not out until the reset: the charge is a throttle.
    KeyCapTooSmall,
    /// The budget of a guardrail is used up: a member's, or (then the scope is the key) a key's.
    GuardrailBudget,
    /// The budget of a workspace is used up.
    WorkspaceBudget,
    /// The account's balance is used up.
    BalanceExhausted,
    /// This one request is larger than what the account's balance allows. Charged to the request:
    /// the account serves smaller ones, and one huge request must not close it for all.
    RequestTooBigForBalance,
    /// The money held for calls in flight fills the account's budget for them.
    InFlightBudget,
    /// The account's free requests of this UTC day are used up. Paid models are not concerned.
    FreeDaily,
    /// The account's free requests of this minute are used up. Paid models are not concerned.
    FreePerMinute,
    /// A platform limit without a typed source: charged to the account, as all documented ones
    /// are.
    AccountRateLimited,
    /// OpenRouter's credit check did not finish in time, and it asks the account to slow down.
    AdmissionControl,
    /// The guard on a busy model (usually a free one) is full.
    SharedCapacity,
    /// Every provider of the model is full.
    CapacityExhausted,
    /// No provider of the model meets the routing now.
    ModelUnavailable,
    /// The model is gone: deprecated, or its free variant has ended.
    ModelGone,
    /// The capacity that OpenRouter shares with all its customers at a provider is used up.
    ProviderPool,
    /// A provider asks to slow down.
    ProviderRateLimited,
    /// A provider's quota for OpenRouter, or for the caller's own provider key, is used up.
    ProviderQuota,
    /// A provider refuses OpenRouter's credential, or the caller's own provider key.
    ProviderAuth,
    /// A provider failed, or answered nonsense.
    ProviderError,
    /// A provider is overloaded.
    Overloaded,
    /// A provider, or the edge before it, took too long.
    ProviderTimeout,
    /// The answer came with status 200 and holds an error that says nothing more.
    ErrorIn200,
    /// The answer came with status 200 and is none: empty, broken, or of another shape.
    Malformed,
    /// The answer came with status 200, whole and empty.
    NoContent,
    /// The stream ended before its end.
    Truncated,
    /// Moderation flagged the prompt, or the model's answer.
    Moderation,
    /// A guardrail's content rule blocked the prompt.
    GuardrailContent,
    /// The model is not offered in the caller's region.
    RegionRestricted,
    /// The account's policy (privacy, guardrails) leaves no endpoint for this request. Charged to
    /// the request: the account serves others.
    PolicyRestricted,
    /// The request's own preferences leave no endpoint.
    RoutingFailed,
    /// The route is for management keys, and the key is none. Charged to the request: nothing is
    /// wrong with the key.
    ManagementKeyRequired,
    /// The request may not do what it asks, whoever asks: the model is not open to the caller.
    PermissionDenied,
    /// The request is malformed or out of range.
    BadRequest,
    /// A provider refuses the request as bad.
    RejectedByProvider,
    /// The prompt, or prompt and allowed completion together, exceed the model's context.
    ContextTooLong,
    /// The body is too large.
    TooLarge,
    /// There is no such model.
    ModelNotFound,
    /// There is no such route or thing.
    NotFound,
    /// The request conflicts with the state of things.
    Conflict,
    /// The route was retired.
    Gone,
    /// OpenRouter failed.
    ServerError,
    /// OpenRouter gave up waiting for the request.
    RequestTimeout,
    /// The edge in front of OpenRouter turned the call away: the answer is not OpenRouter's.
    EdgeBlocked,
    /// The edge in front of OpenRouter could not reach it.
    EdgeFailed,
    /// The connection could not be made, or broke.
    Network,
    /// The caller left, or its own deadline passed.
    Canceled,
    /// A bound of this process.
    Local,
    /// None of the above.
    Unknown,
}

/// What a cause implies: one row of the table.
struct Row(Cause, &'static str, Scope, FaultKind, Remedy, Duration);

/// Everything known about causes, in the order of the enumeration.
///
/// The last column bounds every hint on when to retry. It is the longest wait that the upstream
/// could mean by it, with an hour to spare where a calendar is involved: a hint beyond that is a
/// mistake, and shall not keep a key out for a year.
#[rustfmt::skip]
const TABLE: &[Row] = {
    use Cause as C;
    use FaultKind::{Exhausted, Failed, Refused, Throttled};
    use Scope::{Account, Budget, Caller, Key, Local, Model, Network, Provider, Request, Service};

    const NONE: Remedy = Remedy::NONE;
    const ANY_KEY: Remedy = Remedy { same_account_key: true, other_account: true, ..NONE };
    const ACCOUNT: Remedy = Remedy { other_account: true, ..NONE };
    const ACCOUNT_OR_WAIT: Remedy = Remedy { wait: true, ..ACCOUNT };
    const FREE_QUOTA: Remedy = Remedy { other_model: true, ..ACCOUNT_OR_WAIT };
    const WAIT: Remedy = Remedy { wait: true, ..NONE };
    const MODEL: Remedy = Remedy { other_model: true, ..NONE };
    const MODEL_OR_WAIT: Remedy = Remedy { wait: true, ..MODEL };
    const SMALLER: Remedy = Remedy { smaller_max_tokens: true, ..NONE };
    const SMALLER_OR_MODEL: Remedy = Remedy { other_model: true, ..SMALLER };

    const SHORT: Duration = Duration::from_secs(5 * 60);
    const MONTH: Duration = Duration::from_secs(32 * 86_400);
    const ONE_DAY: Duration = Duration::from_secs(DAY.as_secs() + HOUR.as_secs());

    &[
        Row(C::KeyInvalid, "key_invalid", Key, Refused, ANY_KEY, SHORT),
        Row(C::KeyExpired, "key_expired", Key, Refused, ANY_KEY, SHORT),
        Row(C::KeyDisabled, "key_disabled", Key, Refused, ANY_KEY, SHORT),
        Row(C::ManagementKey, "management_key", Key, Refused, ANY_KEY, SHORT),
        Row(C::KeyForbidden, "key_forbidden", Key, Failed, ANY_KEY, SHORT),
        Row(C::KeyCapSpent, "key_cap_spent", Key, Exhausted, ANY_KEY, MONTH),
        Row(C::KeyCapTooSmall, "key_cap_too_small", Key, Throttled,
            Remedy { smaller_max_tokens: true, ..ANY_KEY }, SHORT),
        Row(C::GuardrailBudget, "guardrail_budget", Budget, Exhausted, ACCOUNT, MONTH),
        Row(C::WorkspaceBudget, "workspace_budget", Budget, Exhausted, ACCOUNT, MONTH),
        Row(C::BalanceExhausted, "balance_exhausted", Account, Exhausted, ACCOUNT, HOUR),
        Row(C::RequestTooBigForBalance, "request_too_big_for_balance", Request, Failed,
            Remedy { richer_account: true, ..SMALLER }, SHORT),
        Row(C::InFlightBudget, "in_flight_budget", Account, Throttled,
            Remedy { smaller_max_tokens: true, ..ACCOUNT_OR_WAIT }, SHORT),
        Row(C::FreeDaily, "free_daily", Account, Exhausted,
            Remedy { wait: false, ..FREE_QUOTA }, ONE_DAY),
        Row(C::FreePerMinute, "free_per_minute", Account, Throttled, FREE_QUOTA, SHORT),
        Row(C::AccountRateLimited, "account_rate_limited", Account, Throttled,
            ACCOUNT_OR_WAIT, SHORT),
        Row(C::AdmissionControl, "admission_control", Account, Throttled, ACCOUNT_OR_WAIT, SHORT),
        Row(C::SharedCapacity, "shared_capacity", Model, Throttled, MODEL_OR_WAIT, ONE_DAY),
        Row(C::CapacityExhausted, "capacity_exhausted", Model, Throttled, MODEL_OR_WAIT, SHORT),
        Row(C::ModelUnavailable, "model_unavailable", Model, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::ModelGone, "model_gone", Model, Refused, MODEL, SHORT),
        Row(C::ProviderPool, "provider_pool", Provider, Throttled, MODEL_OR_WAIT, SHORT),
        Row(C::ProviderRateLimited, "provider_rate_limited", Provider, Throttled,
            MODEL_OR_WAIT, SHORT),
        Row(C::ProviderQuota, "provider_quota", Provider, Exhausted, MODEL, HOUR),
        Row(C::ProviderAuth, "provider_auth", Provider, Refused, MODEL_OR_WAIT, SHORT),
        Row(C::ProviderError, "provider_error", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::Overloaded, "overloaded", Provider, Throttled, MODEL_OR_WAIT, SHORT),
        Row(C::ProviderTimeout, "provider_timeout", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::ErrorIn200, "error_in_200", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::Malformed, "malformed", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::NoContent, "no_content", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::Truncated, "truncated", Provider, Failed, MODEL_OR_WAIT, SHORT),
        Row(C::Moderation, "moderation", Request, Refused, NONE, SHORT),
        Row(C::GuardrailContent, "guardrail_content", Request, Refused, NONE, SHORT),
        Row(C::RegionRestricted, "region_restricted", Request, Refused, MODEL, SHORT),
        Row(C::PolicyRestricted, "policy_restricted", Request, Refused,
            Remedy { other_model: true, ..ACCOUNT }, SHORT),
        Row(C::RoutingFailed, "routing_failed", Request, Failed, MODEL, SHORT),
        Row(C::ManagementKeyRequired, "management_key_required", Request, Refused, NONE, SHORT),
        Row(C::PermissionDenied, "permission_denied", Request, Refused, MODEL, SHORT),
        Row(C::BadRequest, "bad_request", Request, Failed, NONE, SHORT),
        Row(C::RejectedByProvider, "rejected_by_provider", Request, Failed, MODEL, SHORT),
        Row(C::ContextTooLong, "context_too_long", Request, Failed, SMALLER_OR_MODEL, SHORT),
        Row(C::TooLarge, "too_large", Request, Failed, NONE, SHORT),
        Row(C::ModelNotFound, "model_not_found", Request, Failed, MODEL, SHORT),
        Row(C::NotFound, "not_found", Request, Failed, NONE, SHORT),
        Row(C::Conflict, "conflict", Request, Failed, NONE, SHORT),
        Row(C::Gone, "gone", Request, Failed, NONE, SHORT),
        Row(C::ServerError, "server_error", Service, Failed, WAIT, SHORT),
        Row(C::RequestTimeout, "request_timeout", Service, Failed, WAIT, SHORT),
        Row(C::EdgeBlocked, "edge_blocked", Service, Throttled, WAIT, SHORT),
        Row(C::EdgeFailed, "edge_failed", Service, Failed, WAIT, SHORT),
        Row(C::Network, "network", Network, Failed, WAIT, SHORT),
        Row(C::Canceled, "canceled", Caller, Failed, NONE, SHORT),
        Row(C::Local, "local", Local, Failed, NONE, SHORT),
        Row(C::Unknown, "unknown", Service, Failed, WAIT, SHORT),
    ]
};

impl Cause {
    /// Returns every cause, in the order of the enumeration.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// Returns the cause's name, as tables and metrics show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// Returns who usually causes it.
    #[must_use]
    pub fn scope(self) -> Scope {
        self.row().2
    }

    /// Returns what kind of failure it usually is.
    #[must_use]
    pub fn kind(self) -> FaultKind {
        self.row().3
    }

    /// Returns what usually helps.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        self.row().4
    }

    /// Returns the longest wait that a hint of the upstream can mean here.
    ///
    /// 5 minutes for throttles and failures; 25 hours for quotas of a day; 32 days for caps and
    /// budgets; an hour for balances, which a top-up may cure at any time.
    #[must_use]
    pub fn max_wait(self) -> Duration {
        self.row().5
    }

    /// Returns whether the key itself is no good, and `GET /key` would be refused as well: invalid,
    /// expired, disabled.
    #[must_use]
    pub fn is_dead_key(self) -> bool {
        matches!(
            self,
            Self::KeyInvalid | Self::KeyExpired | Self::KeyDisabled
        )
    }

    /// Returns whether only calls of free models are concerned: a gate on the account's free
    /// models should hear of it, and paid calls of the account go on.
    #[must_use]
    pub fn is_free_quota(self) -> bool {
        matches!(self, Self::FreeDaily | Self::FreePerMinute)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_cause_at_its_place_under_its_own_name() {
        assert_eq!(TABLE.len(), Cause::Unknown as usize + 1);
        let mut names = std::collections::BTreeSet::new();
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{:?}", row.0);
            assert!(names.insert(row.1), "{} twice", row.1);
        }
    }

    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let rows: Vec<[String; 3]> = include_str!("causes.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|line| {
                let cells: Vec<&str> = line.split(" | ").collect();
                [cells[0].trim_end_matches('`'), cells[2], cells[3]].map(str::to_owned)
            })
            .collect();
        let table: Vec<[String; 3]> = TABLE
            .iter()
            .map(|Row(_, name, scope, kind, ..)| {
                let kind = format!("{kind:?}").to_lowercase();
                [(*name).to_owned(), scope.to_string(), kind]
            })
            .collect();
        assert_eq!(rows, table);
    }

    #[test]
    fn no_key_helps_where_no_key_is_at_fault() {
        for cause in Cause::all() {
            let remedy = cause.remedy();
            match cause.scope() {
                Scope::Key => assert!(remedy.same_account_key, "{cause}"),
                Scope::Model | Scope::Provider | Scope::Service | Scope::Network => {
                    assert!(!remedy.same_account_key && !remedy.other_account, "{cause}");
                }
                Scope::Account | Scope::Budget => {
                    assert!(!remedy.same_account_key && remedy.other_account, "{cause}");
                }
                _ => assert!(!remedy.same_account_key, "{cause}"),
            }
        }
    }

    #[test]
    fn only_keys_providers_models_and_requests_can_be_refused() {
        for cause in Cause::all().filter(|cause| cause.kind() == FaultKind::Refused) {
            assert!(
                matches!(
                    cause.scope(),
                    Scope::Key | Scope::Provider | Scope::Model | Scope::Request
                ),
                "{cause}"
            );
        }
    }
}
