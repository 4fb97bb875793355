//! Why a run ended early: [`Stopped`].

use std::fmt;
use std::time::Duration;

use crate::caller::{KeyOut, Refusal};
use crate::output::OutputError;

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
    /// Results could not be written.
    OutputFailed(OutputError),
    /// The input could not be read to its end: why.
    InputFailed(String),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::KeysOut { keys, retry_after } => {
                f.write_str(match retry_after {
                    Some(_) => "no key can be used for now",
                    None => "no key can be used any more",
                })?;
                for (at, key) in keys.iter().enumerate() {
                    write!(f, "{}{key}", if at == 0 { ": " } else { "; " })?;
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
            Self::OutputFailed(error) => error.fmt(f),
            Self::InputFailed(why) => write!(f, "the input cannot be read any further: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
