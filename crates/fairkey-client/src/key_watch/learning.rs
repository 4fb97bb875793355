//! What an answer of `GET /key` changes.

use std::time::Duration;

use fairkey_core::{Candidate, KeyId, KeySet, Scope, Timestamp};
use fairkey_openrouter::{Cause, Fault, KeyInfo};

use crate::core::Core;
use crate::gates::{close, on_clock};
use crate::key_facts::{Bar, KeyFacts};
use crate::schedule::Next;
use crate::standing::{Checked, Note, Proof};

/// How long after it was opened on the word of `GET /key` a key may be opened again, if calls
/// refuse it all the same; each further time twice as long.
const REOPEN: Duration = Duration::from_secs(30);
/// Where that stops doubling.
const REOPEN_CAP: Duration = Duration::from_secs(900);

impl Core {
    /// Learns from the answer to a question that was asked at `asked`.
    pub(crate) fn learn(
        &self,
        key: &KeyId,
        asked: Timestamp,
        answer: Result<KeyInfo, Fault>,
    ) -> Next {
        let pool = &self.admission.pool;
        let next = pool.with_keys(|keys| match (keys.find(key.as_str()), answer) {
            // Gone in the meantime.
            (None, _) => Next::Failed,
            (Some(key), Ok(info)) => self.told(keys, key, asked, &info),
            (Some(key), Err(fault)) => self.refused(key, fault),
        });
        self.knowledge.change();
        self.admission.pump_all();
        next
    }

    /// Notes when a key was asked, and that it will be after `wait`.
    pub(crate) fn note_checked(&self, key: &KeyId, answered: bool, wait: Duration) {
        let at = self.wall.since_epoch();
        self.knowledge.with(key, |known| {
            known.checked = Some(Checked {
                at,
                answered,
                next: (!wait.is_zero()).then_some(at + wait),
            });
        });
    }

    fn told(&self, keys: &KeySet, key: Candidate<'_>, asked: Timestamp, info: &KeyInfo) -> Next {
        let (now, wall) = (self.admission.pool.now(), self.wall.since_epoch());
        let facts = KeyFacts::of(info, wall);
        if !facts.is_management {
            self.take_key_info(key, info);
        }
        if let Some(until) = facts.free_until() {
            close(
                &self.free_models,
                key,
                now,
                Some(on_clock(until, wall, now)),
            );
        }
        let change = facts.next_change(wall).map(|at| at - wall);
        let bar = facts.bar(wall);
        let next = match &bar {
            Some(bar) => {
                self.shut(keys, key, asked, bar);
                bar.until
                    .map_or(Next::Out, |at| Next::OutFor(at.saturating_sub(wall)))
            }
            None if self.reopen(key, &facts, asked) => Next::Well { change },
            // It says that it may, and calls say that it may not.
            None => Next::Out,
        };
        if !facts.is_management {
            self.keyed.records.note_worked(key);
        }
        self.knowledge
            .with(key.id(), |known| known.facts = Some(facts));
        next
    }

    /// Closes a key by its own word, and those that share the budget that bars it.
    fn shut(&self, keys: &KeySet, key: Candidate<'_>, asked: Timestamp, bar: &Bar) {
        let (now, wall) = (self.admission.pool.now(), self.wall.since_epoch());
        let note = || Note {
            scope: bar.scope,
            cause: Some(bar.cause),
            proof: Proof::KeyInfo,
            status: None,
            since: wall,
            last: now,
        };
        let until = bar.until.map(|at| on_clock(at, wall, now));
        let shut = |key: Candidate<'_>| {
            self.keyed.standings.note_key(key.id(), note());
            if let Some(gates) = &self.gates {
                gates.move_key(key, asked, now, until);
            }
        };
        shut(key);
        if let Some(layer) = &bar.shared {
            for other in self.knowledge.sharing(layer) {
                if let Some(other) = keys.find(other.as_str()).filter(|o| o.slot() != key.slot()) {
                    shut(other);
                }
            }
        }
    }

    /// Opens a key on its own word, if what it was closed for is contradicted by it. Returns
    /// whether the key is open then.
    fn reopen(&self, key: Candidate<'_>, facts: &KeyFacts, asked: Timestamp) -> bool {
        let Some(gates) = &self.gates else {
            return true;
        };
        let now = self.admission.pool.now();
        if gates.key_until(key, now).is_none() {
            self.knowledge.with(key.id(), |known| {
                // A success has forgotten what was held against it.
                if self.keyed.standings.of_key(key.id()).is_none() {
                    known.reopened = 0;
                }
            });
            return true;
        }
        let Some(note) = self.keyed.standings.of_key(key.id()) else {
            return false;
        };
        // The question may have overtaken the refusal.
        let is_newer = asked > note.last;
        if !is_newer || !contradicts(facts, &note) {
            return false;
        }
        let may = self.knowledge.with(key.id(), |known| {
            if now < known.reopen_after {
                return false;
            }
            let times = 2_u32.saturating_pow(known.reopened);
            known.reopened = known.reopened.saturating_add(1);
            known.reopen_after = now + REOPEN.saturating_mul(times).min(REOPEN_CAP);
            true
        });
        if may {
            // The next call is the probe.
            gates.key.confirm(key, asked);
            #[cfg(feature = "tracing")]
            tracing::info!(key = %key.id(), "the key says that it may be used again");
        }
        may
    }

    /// The question was refused, or did not come through.
    fn refused(&self, key: Candidate<'_>, fault: Fault) -> Next {
        if fault.scope() != Scope::Key || fault.cause() != Cause::KeyInvalid {
            return Next::Failed;
        }
        let fault = self.judge(key, None, fault);
        if fault.scope() != Scope::Key {
            return Next::Failed;
        }
        let (now, wall) = (self.admission.pool.now(), self.wall.since_epoch());
        self.keyed.standings.fault(key, None, &fault, wall, now);
        if let Some(gates) = &self.gates {
            gates.close_key(key, now, None);
        }
        Next::Out
    }

    /// A call was refused for a budget: the keys that are known to share it are out with it.
    pub(crate) fn close_budget(&self, key: Candidate<'_>, fault: &Fault) {
        let Some(gates) = &self.gates else { return };
        let is_workspace = fault.cause() == Cause::WorkspaceBudget;
        let Some(facts) = self.knowledge.of(key.id()).facts else {
            return;
        };
        let (now, wall) = (self.admission.pool.now(), self.wall.since_epoch());
        // Without a stamp each finds out for itself.
        let Some(wait) = fault.wait(wall) else { return };
        let layers: Vec<&str> = (facts.shared())
            .filter(|layer| layer.is_workspace == is_workspace)
            .filter_map(|layer| layer.shared.as_deref())
            .collect();
        // Of several, nobody knows which one it was.
        let [layer] = layers[..] else { return };
        let sharing = self.knowledge.sharing(layer);
        self.admission.pool.with_keys(|keys| {
            for other in &sharing {
                let other = keys.find(other.as_str());
                if let Some(other) = other.filter(|other| other.slot() != key.slot()) {
                    self.keyed.standings.fault(other, None, fault, wall, now);
                    gates.close_key(other, now, Some(now + wait));
                }
            }
        });
    }
}

/// Tells whether what a key says of itself contradicts what is held against it.
fn contradicts(facts: &KeyFacts, note: &Note) -> bool {
    let has_left = |shared: bool| {
        let mut layers = facts.layers.iter().filter(|l| l.shared.is_some() == shared);
        layers.any(|layer| layer.remaining_usd.is_some_and(|left| left > 0.0))
    };
    match note.cause {
        // It has answered for itself.
        Some(Cause::KeyInvalid) => true,
        Some(Cause::KeyForbidden) => note.proof == Proof::KeyInfo,
        // There is money left, or no cap any more.
        Some(Cause::KeyCapSpent) => {
            has_left(false) || facts.layers.iter().all(|layer| layer.shared.is_some())
        }
        // Older answers say nothing of budgets.
        Some(Cause::GuardrailBudget | Cause::WorkspaceBudget) => has_left(true),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_facts::Layer;

    fn note(cause: Cause, proof: Proof) -> Note {
        Note {
            scope: cause.scope(),
            cause: Some(cause),
            proof,
            status: None,
            since: Duration::ZERO,
            last: Timestamp::ZERO,
        }
    }

    #[test]
    fn only_what_a_key_can_know_of_itself_contradicts() {
        let own = |left| Layer {
            remaining_usd: Some(left),
            ..Layer::default()
        };
        let shared = |left| Layer {
            shared: Some("member/b/u".into()),
            ..own(left)
        };
        let facts = |layers: &[Layer]| KeyFacts {
            layers: layers.to_vec(),
            ..KeyFacts::default()
        };
        let capped = note(Cause::KeyCapSpent, Proof::Typed);
        assert!(contradicts(&facts(&[own(1.0)]), &capped));
        assert!(contradicts(&facts(&[]), &capped), "the cap was taken away");
        assert!(!contradicts(&facts(&[own(0.0), shared(3.0)]), &capped));
        let budget = note(Cause::GuardrailBudget, Proof::Typed);
        assert!(contradicts(&facts(&[shared(1.0)]), &budget));
        assert!(!contradicts(&facts(&[own(1.0)]), &budget));
        assert!(contradicts(
            &facts(&[]),
            &note(Cause::KeyInvalid, Proof::Status)
        ));
        let forbidden = note(Cause::KeyForbidden, Proof::Status);
        assert!(
            !contradicts(&facts(&[]), &forbidden),
            "it says nothing of permissions"
        );
        assert!(!contradicts(
            &facts(&[]),
            &note(Cause::BalanceExhausted, Proof::Typed)
        ));
    }
}
