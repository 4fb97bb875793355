//! Why a journal cannot be used: [`JournalError`].

use std::error::Error;
use std::fmt;
use std::io;

/// Why a journal cannot be used. Nothing was changed in it.
#[derive(Debug)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process uses it.
    Locked,
    /// The file is something else.
    NotAJournal,
    /// A later version has written it.
    Newer {
        /// The version of its format; this program reads those up to 1.
        version: u32,
    },
    /// The run that it belongs to was begun with other parameters.
    OtherParameters {
        /// The first that differs.
        name: String,
        /// What it was; none where it was not set.
        was: Option<String>,
        /// What it is now; none where it is not set.
        is: Option<String>,
    },
    /// The output that it refers to is gone, or was changed.
    OutputChanged,
    /// It cannot be read or written.
    Io(io::Error),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another run is writing to it"),
            Self::NotAJournal => f.write_str("it is no journal of a run"),
            Self::Newer { version } => write!(
                f,
                "a newer version has written it (format {version}): use that one to go on"
            ),
            Self::OtherParameters { name, was, is } => {
                let shown = |value: &Option<String>| match value {
                    Some(value) => format!("\"{value}\""),
                    None => "nothing".to_owned(),
                };
                write!(
                    f,
                    "the run was begun with other parameters: {name} was {}, and is {}",
                    shown(was),
                    shown(is)
                )
            }
            Self::OutputChanged => f.write_str("the results that it refers to are gone or changed"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for JournalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
