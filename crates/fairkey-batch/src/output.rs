//! Where result lines go: the trait [`Output`], and the [`WriterThread`] behind files and pipes.

mod split;
mod thread;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::split::SplitOutput;
pub use self::thread::{Sink, WriterThread};

/// The result of one row, as a line of OpenAI's batch results: what every output gets, whatever it
/// makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultLine {
    /// The row's place in the input, from 0.
    pub index: u64,
    /// Whether it has an answer in it, and no error.
    pub answered: bool,
    /// The line: one object of JSON, its end (`\n`) included.
    pub bytes: Vec<u8>,
}

impl ResultLine {
    /// Makes one of its parts.
    #[must_use]
    pub fn new(index: u64, answered: bool, bytes: Vec<u8>) -> Self {
        Self {
            index,
            answered,
            bytes,
        }
    }
}

/// Takes results, in the order in which they shall stand.
///
/// Whoever pushes asks [`ready`](Self::ready) before it goes on to produce more: that is how a
/// slow output slows down the run instead of filling the memory.
pub trait Output: Send {
    /// Takes one result. It is written whole or not at all.
    fn push(&mut self, line: ResultLine);

    /// Waits until more lines are welcome.
    ///
    /// # Errors
    ///
    /// Where a line could not be written; from then on always.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    fn ready(&mut self) -> impl Future<Output = Result<(), OutputError>> + Send;

    /// Returns whether more lines are welcome at this moment.
    fn is_ready(&self) -> bool;

    /// Waits until every line is written.
    ///
    /// # Errors
    ///
    /// Where a line could not be written.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing; can be called again.
    fn finish(&mut self) -> impl Future<Output = Result<(), OutputError>> + Send;

    /// Returns how many lines are written for sure.
    fn written(&self) -> u64;
}

/// Why results cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputError {
    kind: io::ErrorKind,
    message: String,
}

impl OutputError {
    /// Nothing was taken for so long.
    pub(crate) fn stuck(wait: std::time::Duration) -> Self {
        let message = format!("nothing was taken for {} s", wait.as_secs());
        Self {
            kind: io::ErrorKind::TimedOut,
            message,
        }
    }

    /// Returns what went wrong, without saying with what.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns whether there was no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};

        matches!(self.kind, StorageFull | QuotaExceeded | FileTooLarge)
    }

    /// Returns whether the reader of a pipe has gone away.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        self.kind == io::ErrorKind::BrokenPipe
    }
}

impl From<&io::Error> for OutputError {
    fn from(error: &io::Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the results cannot be written: {}", self.message)
    }
}

impl Error for OutputError {}

/// Keeps lines in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutput(Arc<Mutex<Vec<Vec<u8>>>>);

impl MemoryOutput {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the lines so far, without their ends; bytes that are no text are replaced.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = |line: &Vec<u8>| String::from_utf8_lossy(line).trim_end().to_owned();
        self.held().iter().map(text).collect()
    }

    fn held(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for MemoryOutput {
    fn push(&mut self, line: ResultLine) {
        self.held().push(line.bytes);
    }

    async fn ready(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn is_ready(&self) -> bool {
        true
    }

    async fn finish(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn written(&self) -> u64 {
        self.held().len() as u64
    }
}
