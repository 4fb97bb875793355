//! Limits as a [`Gate`].

use std::sync::Arc;

use fairkey_core::sync::{Ordering, lock};
use fairkey_core::{
    At, Candidate, Denied, Detail, Gate, KeySet, Report, Scope, Scopes, SlotBits, Ticket,
    Timestamp, Turn,
};

use super::config::{Dimension, LimitGroup};
use super::need::{fits_all, kinds};
use super::state::{Bar, Settlement};
use super::{BITS, KEY, Limits, MODEL_AT, bits_of};
use crate::Group;

impl Gate for Limits {
    fn check(&self, at: &At<'_>) -> Result<(), Denied> {
        // Relaxed, and of use to explanations only.
        self.looked_at.store(at.now.as_nanos(), Ordering::Relaxed);
        match self.bar(at) {
            None => Ok(()),
            Some((kind, bar)) => Err(denied(kind, bar)),
        }
    }

    fn narrow(&self, turn: &mut Turn<'_>) {
        if !self.is_limiting() {
            return;
        }
        let need = self.need(turn.ask());
        let small = fits_all(&need.amounts, &self.small);
        for kind in kinds(need.kinds) {
            if let Some(plane) = self.groups(kind, need.model) {
                plane.narrow(turn, &need.amounts, small);
            }
        }
    }

    fn closed(&self) -> Option<Arc<SlotBits>> {
        Some(Arc::clone(&self.shown))
    }

    #[inline]
    fn enter(&self, at: &At<'_>) -> Result<Ticket, Denied> {
        if self.is_empty() {
            return Ok(Ticket::default());
        }
        let need = self.need(at.ask);
        let now = at.now.as_nanos();
        let mut ticket = (need.model as u64) << MODEL_AT;
        for kind in kinds(need.kinds) {
            if let Some(plane) = self.groups(kind, need.model)
                && let Some((cell, place)) = plane.of(at.key)
            {
                match cell.enter(now, &need.amounts, &place) {
                    Ok(bits) => ticket |= u64::from(bits) << (kind * BITS),
                    Err(bar) => {
                        self.roll_back(at, &need, ticket);
                        // Of all groups, the one that opens last.
                        let (kind, bar) = self.bar(at).unwrap_or((kind, bar));
                        return Err(denied(kind, bar));
                    }
                }
            }
        }
        Ok(Ticket(ticket))
    }

    #[inline]
    fn leave(&self, key: Candidate<'_>, ticket: Ticket, report: &Report) {
        let ticket = ticket.0;
        let mut left = ticket & ((1 << MODEL_AT) - 1);
        if left == 0 {
            return;
        }
        let call = Settlement::of(report);
        while left != 0 {
            let kind = left.trailing_zeros() / BITS;
            let bits = bits_of(ticket, kind);
            left &= u64::MAX << ((kind + 1) * BITS);
            if let Some(plane) = self.groups(kind, (ticket >> MODEL_AT) as usize)
                && let Some((cell, place)) = plane.of(key)
            {
                cell.leave(bits, &call, &place);
            }
        }
    }

    /// Every scope: it matters whether a call was sent, refused or given up.
    fn hears(&self) -> Scopes {
        Scopes::ALL
    }

    fn rekey(&self, keys: &KeySet) {
        let config = lock(&self.config);
        self.planes.iter().for_each(|plane| plane.rekey(keys));
        self.models.for_each(|plane| plane.rekey(keys));
        let models = config.models();
        let apply = |key: Candidate<'_>, group: LimitGroup<'_>| {
            let limits = config.of(key.id(), key.account_id(), group);
            for dimension in Dimension::ALL {
                if let Some(limit) = limits.get(dimension) {
                    // The one error there can be is documented at the configuration.
                    let _ = self.set_locked(&config, key, group, dimension, Some(limit));
                }
            }
        };
        for slot in keys.fresh() {
            if let Some(key) = keys.get(*slot) {
                apply(key, LimitGroup::Key);
            }
        }
        for account in keys.fresh_accounts() {
            let key = Group::Account.representative(keys, account.index());
            if let Some(key) = key {
                apply(key, LimitGroup::Account);
                apply(key, LimitGroup::FreeModels);
                for model in &models {
                    apply(key, LimitGroup::Model(model));
                }
            }
        }
        self.count_small();
    }

    fn detail(&self, at: &At<'_>) -> Detail {
        let what = self.bar(at).map(|(_, bar)| match bar.dimension {
            Dimension::Requests => "its requests for now are used up",
            Dimension::Tokens => "its tokens for now do not reach for the call",
            Dimension::InFlight => "it has as many calls under way as it may",
            Dimension::InFlightUsd => "calls under way hold the money that the call needs",
            Dimension::Credit => "its credit does not reach for the call",
            Dimension::Quota => "its requests until the reset are used up",
        });
        Detail { since: None, what }
    }
}

pub(super) fn denied(kind: u32, bar: Bar) -> Denied {
    if bar.until == u64::MAX {
        let scope = match bar.dimension {
            Dimension::Credit | Dimension::Quota => scope(kind),
            _ => Scope::Local,
        };
        return Denied::for_good(scope).of_limit();
    }
    let denied = Denied::until(scope(kind), Timestamp::from_nanos(bar.until)).of_limit();
    if bar.or_sooner {
        denied.or_sooner()
    } else {
        denied
    }
}

const fn scope(kind: u32) -> Scope {
    if kind == KEY {
        Scope::Key
    } else {
        Scope::Account
    }
}
