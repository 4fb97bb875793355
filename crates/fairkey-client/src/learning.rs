//! What refusals teach of limits that nobody told of: which of them, and of whose.

use fairkey_core::{Candidate, Outcome, Retry, Timestamp};
use fairkey_openrouter::{Cause, Fault};
use fairkey_strategy::{Excess, Learned, LimitAccount, LimitGroup, LimitUse, Refusal};

use crate::Client;
use crate::exchange::Exchange;

/// Returns who asks to slow down, and by what, if a fault does that. A provider does not: it is
/// full for everybody, and no limit of ours. Neither does the guard of a busy model, unless it
/// names its limit: whether it counts us or everybody is not known.
fn asks_to_slow_down(fault: &Fault) -> Option<(LimitGroup<'static>, Excess)> {
    use fairkey_core::{FaultKind, Scope};
    if fault.kind() != FaultKind::Throttled {
        return None;
    }
    match (fault.scope(), fault.cause()) {
        (Scope::Account, Cause::AccountRateLimited) => Some((LimitGroup::Account, Excess::Unsaid)),
        (Scope::Account, Cause::AdmissionControl) => Some((LimitGroup::Account, Excess::Calls)),
        (Scope::Account, Cause::InFlightBudget) => Some((LimitGroup::Account, Excess::Money)),
        (Scope::Account, Cause::FreePerMinute) => Some((LimitGroup::FreeModels, Excess::Unsaid)),
        _ => None,
    }
}

impl Exchange {
    /// Learns from a fault, if there is anything to learn. Returns what the gates are to be told
    /// instead of `outcome`: that the account is open again, as far as they are concerned.
    pub(crate) fn learn(&self, fault: &Fault, outcome: Outcome) -> Option<Outcome> {
        let (ceilings, held) = (self.core.ceilings.as_ref()?, self.held()?);
        let (group, excess) = asks_to_slow_down(fault)?;
        let told = fault.rate_limit();
        if told.is_some_and(|told| told.limit.is_some() && told.unit.is_some()) {
            // It is told, and nothing is to be guessed. A number alone, of nobody knows what in
            // what time, tells nothing.
            return None;
        }
        let now = self.core.admission.pool.now();
        let wait = match outcome {
            Outcome::Fault { retry, .. } => retry.at(now).map(|at| at.since(now)),
            _ => None,
        };
        let refusal = Refusal {
            group,
            excess,
            told: None,
            wait,
            begun: held.lease.begun(),
            cost: held.lease.reserved(),
            token_ratio: self.core.estimates.part_used(self.model()),
        };
        ceilings.refused(held.lease.key(), &refusal, now)?;
        self.core.knowledge.change();
        match group {
            // Its checks are late, whatever the ceiling: it is left alone for as long as it says.
            LimitGroup::Account if excess == Excess::Calls => None,
            LimitGroup::Account => Some(outcome.with_retry(Retry::At(now))),
            LimitGroup::FreeModels => Some(Outcome::Neutral),
            // Others use the model, too: it is closed for all keys, as any model that is full.
            _ => None,
        }
    }
}

impl Client {
    /// Returns the ceilings that refusals have taught of the account of the key with this label:
    /// limits that nobody configured. Empty where there are none, or no such key.
    #[must_use]
    pub fn learned(&self, key: &str) -> Vec<Learned> {
        let core = self.core();
        let pool = &core.admission.pool;
        let learned = |key: Candidate<'_>, now: Timestamp| {
            let ceilings = core.ceilings.as_ref();
            ceilings.map(|ceilings| ceilings.learned(key, now))
        };
        pool.with_keys(|keys| learned(keys.find(key)?, pool.now()))
            .unwrap_or_default()
    }

    /// Returns what was learned of one of the [limits there are](Self::limit_uses): how old it is,
    /// and whether the upstream named it. `None` where it is not learned, but configured or set.
    #[must_use]
    pub fn learned_behind(&self, limit: &LimitUse) -> Option<Learned> {
        let core = self.core();
        let ceilings = core.ceilings.as_ref()?;
        let pool = &core.admission.pool;
        pool.with_keys(|keys| {
            let key = match limit.owner.account()? {
                LimitAccount::OfKey(key) => keys.find(key.as_str()),
                LimitAccount::Named(account) => {
                    keys.iter().find(|key| key.account_id() == Some(account))
                }
            };
            ceilings.behind(key?, limit, pool.now())
        })
    }
}
