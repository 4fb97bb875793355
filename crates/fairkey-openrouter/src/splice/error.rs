//! Why a body was not spliced.

use std::error::Error;
use std::fmt;

/// A body that could not be read or edited. It names a place, and nothing of what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpliceError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Body { at: usize, what: &'static str },
    Value { name: Box<str> },
}

impl SpliceError {
    pub(super) fn body(at: usize, what: &'static str) -> Self {
        Self(Kind::Body { at, what })
    }

    pub(super) fn value(name: &str) -> Self {
        Self(Kind::Value { name: name.into() })
    }

    /// Returns where the body is malformed, in bytes from its beginning; at most its length.
    /// `None`: the body is not to blame, but a value that was to be set.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        match self.0 {
            Kind::Body { at, .. } => Some(at),
            Kind::Value { .. } => None,
        }
    }
}

impl fmt::Display for SpliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Body { at, what } => {
                write!(f, "the body is no JSON object: {what} at byte {at}")
            }
            Kind::Value { name } => write!(
                f,
                "the new value of {name:?} cannot be written as JSON: give texts, numbers, lists, \
                 and maps whose keys are texts"
            ),
        }
    }
}

impl Error for SpliceError {}
