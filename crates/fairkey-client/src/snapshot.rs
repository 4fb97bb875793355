//! What is kept of a client between two runs, as text: [`Snapshot`].

use std::time::Duration;

use fairkey_core::{FaultKind, Scope, mix};
use fairkey_openrouter::Cause;
use fairkey_strategy::{Dimension, Learned, LearnedGroup};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::estimate::{MOST_MODELS, ModelMemory};
use crate::key_facts::KeyFacts;
use crate::standing::Proof;
use crate::utc::Utc;

/// The form that this version writes, and the only one that it reads.
const VERSION: u64 = 1;
/// What is older has nothing to say: every deadline has passed, every cap has started anew.
const OLDEST: Duration = Duration::from_secs(32 * 86_400);
/// How far two clocks may differ.
const AHEAD: Duration = Duration::from_secs(300);
/// How long a refusal without a typed proof is believed after a restart.
const UNPROVEN: Duration = Duration::from_secs(900);
/// More than a hundred thousand keys need.
pub(crate) const MOST_BYTES: usize = 64 << 20;

/// What is kept of a client between two runs. Holds no secret. Times are since 1970-01-01 00:00
/// UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    version: u64,
    pub(crate) saved_at: Duration,
    pub(crate) keys: Vec<KeyMemory>,
    pub(crate) accounts: Vec<AccountMemory>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<ModelMemory>,
}

/// What is kept of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyMemory {
    pub(crate) id: String,
    /// Tells another secret under the same label: see [`fingerprint`].
    pub(crate) fingerprint: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out: Option<OutMemory>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<KeyFacts>,
}

/// What is kept of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AccountMemory {
    /// Its name; or, where it has none, that of its only key.
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lone_fingerprint: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out: Option<OutMemory>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) free: Option<OutMemory>,
    /// Limits that refusals taught.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) learned: Vec<LearnedMemory>,
}

/// What is kept of a ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearnedMemory {
    /// Of one model only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Of free models only.
    #[serde(default)]
    pub(crate) is_free: bool,
    pub(crate) dimension: String,
    pub(crate) amount: u64,
    #[serde(default)]
    pub(crate) is_told: bool,
    /// When it was refused last.
    pub(crate) refused: Duration,
}

impl LearnedMemory {
    pub(crate) fn of(learned: Learned, wall: Duration) -> Self {
        let is_free = learned.group == LearnedGroup::FreeModels;
        let model = match learned.group {
            LearnedGroup::Model(name) => Some(name.into()),
            _ => None,
        };
        Self {
            model,
            is_free,
            dimension: learned.dimension.as_str().to_owned(),
            amount: learned.amount,
            is_told: learned.is_told,
            refused: wall.saturating_sub(learned.age),
        }
    }

    /// Returns it as it was learned; `None` where it is of a dimension that has no name here.
    pub(crate) fn learned(&self, wall: Duration) -> Option<Learned> {
        let dimension = Dimension::ALL.into_iter();
        Some(Learned {
            group: match &self.model {
                Some(model) => LearnedGroup::Model(model.as_str().into()),
                None if self.is_free => LearnedGroup::FreeModels,
                None => LearnedGroup::Account,
            },
            dimension: dimension
                .into_iter()
                .find(|it| it.as_str() == self.dimension)?,
            amount: self.amount,
            per: Duration::ZERO,
            is_told: self.is_told,
            age: wall.saturating_sub(self.refused),
        })
    }
}

/// Why somebody is out, and until when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutMemory {
    /// `None`: until something changes.
    pub(crate) until: Option<Duration>,
    pub(crate) since: Duration,
    pub(crate) cause: String,
    pub(crate) proof: String,
    #[serde(default)]
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) is_budget: bool,
}

impl OutMemory {
    /// Returns the cause, where it has a name that this version knows.
    pub(crate) fn cause(&self) -> Option<Cause> {
        Cause::all().find(|cause| cause.as_str() == self.cause)
    }

    pub(crate) fn proof(&self) -> Option<Proof> {
        Proof::from_word(&self.proof)
    }

    pub(crate) fn scope(&self, usual: Scope) -> Scope {
        if self.is_budget { Scope::Budget } else { usual }
    }

    /// Returns this as it can be believed at `now`: not longer than its class allows, for good
    /// only with a proof. `None` where it is over, or makes no sense.
    fn believed(mut self, now: Duration) -> Result<Option<Self>, String> {
        let cause =
            (self.cause()).ok_or_else(|| format!("the cause \"{}\"", short(&self.cause)))?;
        let proof =
            (self.proof()).ok_or_else(|| format!("the proof \"{}\"", short(&self.proof)))?;
        let is_proven = matches!(proof, Proof::Typed | Proof::KeyInfo | Proof::Operator);
        let refused = cause.kind() == FaultKind::Refused;
        let longest = now.saturating_add(if refused { UNPROVEN } else { cause.max_wait() });
        self.until = match self.until {
            None if refused && is_proven => None,
            // A cap that never starts anew is checked, and tried, in the course of time.
            None => Some(longest),
            Some(until) => Some(until.min(longest)),
        };
        self.since = self.since.min(now);
        Ok(Some(self).filter(|out| out.until.is_none_or(|until| until > now)))
    }
}

impl Snapshot {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            version: VERSION,
            saved_at: now,
            ..Self::default()
        }
    }

    /// Returns it as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Of these types nothing can fail.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Reads JSON at `now`, with suspicion: what cannot be believed is left out, and said.
    pub(crate) fn parse(json: &[u8], now: Duration) -> (Self, Vec<String>) {
        let nothing = |why: String| {
            (
                Self::new(now),
                vec![format!("{why}; starting with nothing")],
            )
        };
        if json.len() > MOST_BYTES {
            return nothing(format!("it is larger than {MOST_BYTES} bytes"));
        }
        let value: Value = match serde_json::from_slice(json) {
            Ok(value) => value,
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                return nothing(format!("it is no JSON, at line {line}, column {column}"));
            }
        };
        let version = value.get("version").and_then(Value::as_u64);
        if version != Some(VERSION) {
            return nothing("it is of a version that this program does not know".to_owned());
        }
        let saved_at = value.get("saved_at").cloned();
        let saved_at = saved_at.and_then(|at| serde_json::from_value::<Duration>(at).ok());
        let Some(saved_at) = saved_at else {
            return nothing("it does not say when it was written".to_owned());
        };
        if saved_at.saturating_add(OLDEST) < now {
            let at = Utc { at: saved_at, now };
            return nothing(format!("it was written long ago, at {at}"));
        }
        let mut warnings = Vec::new();
        let is_future = saved_at > now.saturating_add(AHEAD);
        if is_future {
            warnings.push(format!(
                "it was written in the future, at {}: is a clock wrong? What keys said of \
                 themselves is left out, and deadlines are cut short",
                Utc { at: saved_at, now }
            ));
        }
        let mut snapshot = Self::new(now);
        snapshot.saved_at = saved_at.min(now);
        let mut left_out = 0;
        for value in entries(&value, "keys") {
            match read_key(value, now, is_future) {
                Ok(key) => snapshot.keys.push(key),
                Err(why) => note(&mut warnings, &mut left_out, &why),
            }
        }
        for value in entries(&value, "accounts") {
            match read_account(value, now) {
                Ok(account) => snapshot.accounts.push(account),
                Err(why) => note(&mut warnings, &mut left_out, &why),
            }
        }
        // Those that were last of use come first.
        for value in entries(&value, "models").take(MOST_MODELS) {
            match read_model(value, now) {
                Ok(model) => snapshot.models.extend(model),
                Err(why) => note(&mut warnings, &mut left_out, &why),
            }
        }
        if left_out > 1 {
            warnings.push(format!("{left_out} entries of it are left out"));
        }
        (snapshot, warnings)
    }
}

/// Says why the first entry is left out; of the others, how many they are.
fn note(warnings: &mut Vec<String>, left_out: &mut usize, why: &str) {
    *left_out += 1;
    if *left_out == 1 {
        warnings.push(format!(
            "an entry of it makes no sense ({why}), and is left out"
        ));
    }
}

fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn read_key(value: &Value, now: Duration, is_future: bool) -> Result<KeyMemory, String> {
    let mut key = KeyMemory::deserialize(value).map_err(|_| "its form".to_owned())?;
    if let Some(out) = key.out.take() {
        key.out = out.believed(now)?;
    }
    let sound = |facts: &KeyFacts| !is_future && facts.read_at <= now.saturating_add(AHEAD);
    key.facts = key.facts.filter(sound);
    Ok(key)
}

fn read_account(value: &Value, now: Duration) -> Result<AccountMemory, String> {
    let mut account = AccountMemory::deserialize(value).map_err(|_| "its form".to_owned())?;
    if let Some(out) = account.out.take() {
        account.out = out.believed(now)?;
    }
    if let Some(free) = account.free.take() {
        account.free = free.believed(now)?;
    }
    Ok(account)
}

fn read_model(value: &Value, now: Duration) -> Result<Option<ModelMemory>, String> {
    let model = ModelMemory::deserialize(value).map_err(|_| "its form".to_owned())?;
    model.believed(now.as_secs())
}

fn short(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(32).collect()
}

/// Returns 32 bits that tell a secret from another one. Too few to say anything about a key of 256
/// random bits, enough to see that it was replaced.
pub(crate) fn fingerprint(secret: &str) -> u32 {
    // FNV-1a, and a mix, so that every bit of the secret counts for every bit of the result.
    let hash = secret
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (mix(hash) >> 32) as u32
}

#[cfg(test)]
mod tests;
