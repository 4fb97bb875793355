//! One row of a run: [`Row`], and the [`Request`] it asks for.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// One non-empty line of the input.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place among the rows, from 0; results are written in this order.
    pub index: u64,
    /// Its line in the input, from 1.
    pub line: u64,
    /// Where the line ends in the input, in bytes from its start: what progress is measured by.
    pub end_byte: u64,
    /// What the row calls itself: its `custom_id`, or `id`.
    pub custom_id: Option<String>,
    /// What to send, or why the line is no request.
    pub request: Result<Request, BadLine>,
}

impl Row {
    /// Returns the identifier that its result carries: its own, or `line-N`.
    #[must_use]
    pub fn id(&self) -> String {
        self.custom_id
            .clone()
            .unwrap_or_else(|| format!("line-{}", self.line))
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
    /// The line, from 1.
    pub line: u64,
    /// The byte of the line, from 1, where that says something.
    pub column: Option<u64>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, " column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for BadLine {}
