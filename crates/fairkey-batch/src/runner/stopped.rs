//! Why a run ended early: [`Stopped`].

use std::fmt;
use std::time::Duration;

use crate::caller::{KeyOut, Refusal, shared_by_keys};
use crate::money::OutOfMoney;
use crate::output::OutputError;
use crate::row::Place;

/// Why a run ended before its input did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It was told to: see [`Stop`](crate::Stop).
    Interrupted,
    /// No key can be used any more, or not for long.
    KeysOut {
        /// Why, for each key.
        keys: Vec<KeyOut>,
        /// Until one of them can be used again, as far as is known.
        retry_after: Option<Duration>,
    },
    /// Nothing was answered for as long as the run had patience, although attempts were made.
    NothingAnswered {
        /// For how long.
        patience: Duration,
        /// What was said last.
        refusal: Refusal,
    },
    /// The money that the run may spend does not reach for the next row.
    OutOfMoney(OutOfMoney),
    /// Results could not be written.
    OutputFailed(OutputError),
    /// The journal could not be written, or not be read back.
    JournalFailed(OutputError),
    /// The input is not the one that the journal was begun with.
    InputChanged(InputChange),
    /// The input could not be read to its end: why.
    InputFailed(String),
}

/// How an input differs from what its journal knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputChange {
    /// A row has a result, but is not the one that it was.
    Row {
        /// Where it stands.
        place: Place,
        /// Its name.
        id: String,
    },
    /// Rows with results are gone from the end.
    Gone {
        /// Rows there are.
        rows: u64,
        /// Rows there were, at least.
        known: u64,
    },
}

impl fmt::Display for InputChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { place, id } => write!(
                f,
                "the input was changed: {place} ({id:?}) has a result, and is not the row \
                 that was sent for it"
            ),
            Self::Gone { rows, known } => write!(
                f,
                "the input was changed: it has {rows} rows now, and results for {known}"
            ),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::KeysOut { keys, retry_after } => {
                let when = match retry_after {
                    Some(_) => "for now",
                    None => "any more",
                };
                match shared(keys) {
                    Some((what, why)) => write!(f, "{what} cannot be used {when}: {why}")?,
                    None => {
                        write!(f, "no key can be used {when}")?;
                        for (at, key) in keys.iter().enumerate() {
                            write!(f, "{}{key}", if at == 0 { ": " } else { "; " })?;
                        }
                    }
                }
                match retry_after {
                    Some(after) => write!(f, "; try again in {} s", after.as_secs().max(1)),
                    None => Ok(()),
                }
            }
            Self::NothingAnswered { patience, refusal } => {
                let seconds = patience.as_secs_f64();
                write!(
                    f,
                    "nothing was answered for {seconds} s, at last: {refusal}"
                )
            }
            Self::OutOfMoney(why) => why.fmt(f),
            Self::OutputFailed(error) => error.fmt(f),
            Self::JournalFailed(error) => {
                write!(f, "the journal cannot be kept: {}", error.message())
            }
            Self::InputChanged(change) => change.fmt(f),
            Self::InputFailed(why) => write!(f, "the input cannot be read any further: {why}"),
        }
    }
}

/// Names what bars every key alike and is none of theirs, and why it does.
fn shared(keys: &[KeyOut]) -> Option<(&'static str, &str)> {
    let first = keys.first()?;
    let what = shared_by_keys(first.by)?;
    let all = keys.iter().all(|key| key.by == first.by);
    all.then_some((what, &first.why))
}

#[cfg(test)]
mod tests {
    use fairkey_core::Scope;

    use super::*;

    #[test]
    fn what_all_keys_share_is_named_once() {
        let out = |by: [Scope; 2]| {
            let key = |by: Scope| KeyOut {
                key: by.to_string().into(),
                by,
                why: "not_json (200)".to_owned(),
            };
            let (keys, retry_after) = (by.map(key).into(), Some(Duration::from_secs(2)));
            Stopped::KeysOut { keys, retry_after }.to_string()
        };
        let service = "the service cannot be used for now: not_json (200); try again in 2 s";
        assert_eq!(out([Scope::Service; 2]), service);
        let mixed = "no key can be used for now: \"key\": not_json (200); \"service\": not_json \
                     (200); try again in 2 s";
        assert_eq!(out([Scope::Key, Scope::Service]), mixed);
    }

    #[test]
    fn what_comes_back_is_not_called_gone() {
        let out = |retry_after| {
            let keys = Vec::new();
            Stopped::KeysOut { keys, retry_after }.to_string()
        };
        assert_eq!(out(None), "no key can be used any more");
        let soon = out(Some(Duration::from_secs(2)));
        assert_eq!(soon, "no key can be used for now; try again in 2 s");
    }
}
