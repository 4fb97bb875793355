//! Why each key is in or out, since when, on what evidence, and until when: [`Standing`].

mod notes;

use std::fmt;
use std::time::Duration;

use fairkey_core::{AccountId, Ask, KeyId, Scope};
use fairkey_openrouter::{Cause, Evidence};

use crate::core::Core;
use crate::key_facts::KeyFacts;
use crate::utc::Utc;

pub(crate) use self::notes::{Note, Standings};

/// How every key stands at one moment. Times are since 1970-01-01 00:00 UTC.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// When it was asked.
    pub now: Duration,
    /// Each key, in the order of the pool.
    pub keys: Vec<KeyStanding>,
    /// What an operator should know: keys that expire, accounts that the configuration has wrong,
    /// a state file that is not what it should be.
    pub warnings: Vec<String>,
}

/// How a key stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct KeyStanding {
    /// The key.
    pub key: Option<KeyId>,
    /// The account that owns it, where one was named or found out.
    pub account: Option<AccountId>,
    /// Why it is out; empty where it is in.
    pub out: Vec<Out>,
    /// Why it is out for free models only.
    pub free_models: Option<Out>,
    /// What `GET /key` said last, where it was asked.
    pub facts: Option<KeyFacts>,
    /// When `GET /key` was last asked, and what came of it.
    pub checked: Option<Checked>,
    /// The time at which this was true.
    pub now: Duration,
}

/// One reason for a key to be out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Out {
    /// Whose trouble it is: only the key's, its budget's, its account's, the model's.
    pub by: Scope,
    /// The gate that bars.
    pub gate: &'static str,
    /// Why, where that is known.
    pub cause: Option<Cause>,
    /// On what evidence.
    pub proof: Option<Proof>,
    /// The status of the refusal.
    pub status: Option<u16>,
    /// Since when, where that is known.
    pub since: Option<Duration>,
    /// When it opens, or is tried; `None`: when something changes, such as a reload, a check that
    /// finds it well, or a word of an operator.
    pub until: Option<Duration>,
    /// What it waits for, in a few words, where the gate says.
    pub what: Option<&'static str>,
}

/// What a reason is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Proof {
    /// Fields of a refusal with a documented vocabulary.
    Typed,
    /// The status of a refusal.
    Status,
    /// The words of a refusal.
    Phrase,
    /// What this process saw itself.
    Observed,
    /// The answer of `GET /key`.
    KeyInfo,
    /// An operator's word.
    Operator,
}

impl Proof {
    /// Returns the proof as a word, as lines and tables show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Typed => "typed",
            Self::Status => "by status",
            Self::Phrase => "by phrase",
            Self::Observed => "observed",
            Self::KeyInfo => "by GET /key",
            Self::Operator => "by an operator",
        }
    }

    /// Returns the proof that such a word names.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [
            Self::Typed,
            Self::Status,
            Self::Phrase,
            Self::Observed,
            Self::KeyInfo,
            Self::Operator,
        ]
        .into_iter()
        .find(|proof| proof.as_str() == word)
    }
}

impl From<Evidence> for Proof {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Typed => Self::Typed,
            Evidence::Status => Self::Status,
            Evidence::Phrase => Self::Phrase,
            _ => Self::Observed,
        }
    }
}

/// What came of a check by `GET /key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// When.
    pub at: Duration,
    /// Whether the key answered for itself. Where it did not, it was refused or nobody could be
    /// asked.
    pub answered: bool,
    /// When it is asked next.
    pub next: Option<Duration>,
}

impl KeyStanding {
    /// Returns whether the key may be used now.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.out.is_empty()
    }
}

impl fmt::Display for KeyStanding {
    /// Says it in one line: `out: key cap spent (typed, 403) since 12:04:31 UTC, until 2026-10-15
    /// 00:00 UTC; checked by GET /key at 12:05 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.now;
        if self.out.is_empty() {
            f.write_str("in")?;
        }
        for (at, out) in self.out.iter().enumerate() {
            f.write_str(if at == 0 { "out: " } else { "; and " })?;
            out.write(f, now)?;
        }
        if let Some(free) = &self.free_models {
            f.write_str("; free models out: ")?;
            free.write(f, now)?;
        }
        if let (true, Some(facts)) = (self.out.is_empty(), &self.facts)
            && let Some(left) = facts.remaining_usd()
        {
            write!(f, ", {left:.2} USD left")?;
        }
        if let Some(checked) = self.checked {
            let how = if checked.answered {
                "checked"
            } else {
                "asked in vain"
            };
            write!(
                f,
                "; {how} by GET /key at {}",
                Utc {
                    at: checked.at,
                    now
                }
            )?;
            if let (Some(next), false) = (checked.next, self.out.is_empty()) {
                write!(f, ", next at {}", Utc { at: next, now })?;
            }
        }
        Ok(())
    }
}

impl Out {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: Duration) -> fmt::Result {
        match self.cause {
            Some(cause) => write!(f, "{}", cause.as_str().replace('_', " "))?,
            None if self.proof == Some(Proof::Operator) => f.write_str("disabled")?,
            None => write!(f, "barred by {}", self.gate)?,
        }
        f.write_str(" (")?;
        if !matches!(self.by, Scope::Key) {
            write!(f, "{}, ", self.by)?;
        }
        match (self.proof, self.status) {
            (Some(proof), Some(status)) => write!(f, "{}, {status}", proof.as_str())?,
            (Some(proof), None) => f.write_str(proof.as_str())?,
            (None, _) => f.write_str("reason unknown")?,
        }
        f.write_str(")")?;
        if let Some(since) = self.since {
            write!(f, " since {}", Utc { at: since, now })?;
        }
        match self.until {
            Some(until) => write!(f, ", until {}", Utc { at: until, now })?,
            None => f.write_str(", until something changes")?,
        }
        match self.what {
            Some(what) => write!(f, ": {what}"),
            None => Ok(()),
        }
    }
}

/// How long before a key expires it is warned of.
const WARN_EXPIRY: Duration = Duration::from_secs(3 * 86_400);

/// Says how every key stands, to a call that asks for `model`, or for any.
pub(crate) fn standing(core: &Core, model: Option<&str>) -> Standing {
    let pool = &core.admission.pool;
    let (now, wall) = (pool.now(), core.wall.since_epoch());
    let mut ask = Ask::new();
    ask.model = model;
    let explanation = pool.explain(&ask);
    let on_wall = |at: fairkey_core::Timestamp| wall + at.since(explanation.now);
    let notes = core.keyed.standings.read();
    let keys = explanation.keys.iter().map(|key| {
        let out = key
            .denied
            .iter()
            .filter(|denial| denial.denied.by != Scope::Local);
        let out = out.map(|denial| {
            let by = denial.denied.by;
            let is_word = denial.gate == "Switch";
            let note = (notes.find(&key.id, key.account.as_ref(), by, model)).filter(|_| !is_word);
            let since = denial.detail.since;
            Out {
                // A budget closes its keys one by one.
                by: note.map_or(by, |note| note.scope),
                gate: denial.gate,
                cause: note.and_then(|note| note.cause),
                proof: if is_word {
                    Some(Proof::Operator)
                } else {
                    note.map(|note| note.proof)
                },
                status: note.and_then(|note| note.status),
                since: note
                    .map(|note| note.since)
                    .or(since.map(|since| wall.saturating_sub(explanation.now.since(since)))),
                until: denial.denied.until.map(on_wall),
                what: denial.detail.what,
            }
        });
        let known = core.knowledge.of(&key.id);
        KeyStanding {
            key: Some(key.id.clone()),
            account: key.account.clone(),
            out: out.collect(),
            free_models: None,
            facts: known.facts,
            checked: known.checked,
            now: wall,
        }
    });
    let mut standing = Standing {
        now: wall,
        keys: keys.collect(),
        warnings: core.warnings.clone(),
    };
    let named: Vec<_> = (explanation.keys.iter())
        .map(|key| (key.id.clone(), key.account.clone()))
        .collect();
    let more = core.knowledge.warnings(&named, wall, WARN_EXPIRY);
    standing.warnings.extend(more);
    pool.with_keys(|keys| {
        for key in &mut standing.keys {
            let Some(id) = &key.key else { continue };
            let Some(candidate) = keys.find(id.as_str()) else {
                continue;
            };
            let until = core.free_models.until(candidate);
            let Some(until) = until.filter(|until| *until > now) else {
                continue;
            };
            let note = notes.free(id, key.account.as_ref());
            key.free_models = Some(Out {
                by: Scope::Account,
                gate: "Cooldown(free models)",
                cause: note.and_then(|note| note.cause),
                proof: note.map(|note| note.proof),
                status: note.and_then(|note| note.status),
                since: note.map(|note| note.since),
                until: Some(wall + until.since(now)),
                what: None,
            });
        }
    });
    standing
}

#[cfg(test)]
mod tests {
    use fairkey_openrouter::parse_iso8601;

    use super::*;

    fn at(text: &str) -> Duration {
        parse_iso8601(text).unwrap()
    }

    #[test]
    fn a_line_says_why_since_when_on_what_evidence_and_until_when() {
        let now = at("2026-10-14T12:30:00Z");
        let mut standing = KeyStanding {
            now,
            ..KeyStanding::default()
        };
        assert_eq!(standing.to_string(), "in");
        standing.out.push(Out {
            by: Scope::Key,
            gate: "Cooldown(key)",
            cause: Some(Cause::KeyCapSpent),
            proof: Some(Proof::Typed),
            status: Some(403),
            since: Some(at("2026-10-14T12:04:31Z")),
            until: Some(at("2026-10-15")),
            what: None,
        });
        standing.checked = Some(Checked {
            at: at("2026-10-14T12:04:33Z"),
            answered: true,
            next: None,
        });
        assert_eq!(
            standing.to_string(),
            "out: key cap spent (typed, 403) since 12:04:31 UTC, until 2026-10-15 00:00 UTC; \
             checked by GET /key at 12:04:33 UTC"
        );
        standing.out[0].by = Scope::Account;
        standing.out[0].cause = Some(Cause::KeyInvalid);
        standing.out[0].proof = Some(Proof::Status);
        standing.out[0].until = None;
        standing.checked = None;
        assert_eq!(
            standing.to_string(),
            "out: key invalid (account, by status, 403) since 12:04:31 UTC, until something changes"
        );
    }

    #[test]
    fn every_proof_is_found_by_its_word() {
        for proof in [Proof::Typed, Proof::KeyInfo, Proof::Operator] {
            assert_eq!(Proof::from_word(proof.as_str()), Some(proof));
        }
        assert_eq!(Proof::from_word("rumor"), None);
    }
}
