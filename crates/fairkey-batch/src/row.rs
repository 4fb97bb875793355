//! One row of a run: [`Row`], and the [`Request`] it asks for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// One row of the input: a line, a record of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place among the rows, from 0; results are written in this order.
    pub index: u64,
    /// The input it comes from, where there are several.
    pub file: Option<Arc<str>>,
    /// Its line in the input, from 1; its first, where it has several.
    pub line: u64,
    /// Where it ends in the inputs, in bytes from the start of the first: what progress is
    /// measured by. Of an archive, how much of it was read by then.
    pub end_byte: u64,
    /// What the row calls itself: its `custom_id`, or `id`.
    pub custom_id: Option<String>,
    /// What to send, or why the line is no request.
    pub request: Result<Request, BadLine>,
}

impl Row {
    /// Returns the identifier that its result carries: its own, or `line-N`; where there are
    /// several inputs, `FILE:N`.
    #[must_use]
    pub fn id(&self) -> String {
        match (&self.custom_id, &self.file) {
            (Some(custom_id), _) => custom_id.clone(),
            (None, Some(file)) => format!("{file}:{}", self.line),
            (None, None) => format!("line-{}", self.line),
        }
    }

    /// Returns where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line,
        }
    }
}

/// Where a row stands: `line 4`, or, where there are several inputs, `b.csv line 4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The input, where there are several.
    pub file: Option<Arc<str>>,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file} ")?;
        }
        write!(f, "line {}", self.line)
    }
}

/// What one row sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path, relative to the base URL: `/chat/completions`.
    pub path: Arc<str>,
    /// The model that the body names, if it names one.
    pub model: Option<Arc<str>>,
    /// The body: the bytes of the line where nothing had to be filled in.
    pub body: Bytes,
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Where it stands.
    pub place: Place,
    /// The byte of the line, from 1, where that says something.
    pub column: Option<u64>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(column) = self.column {
            write!(f, " column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for BadLine {}
