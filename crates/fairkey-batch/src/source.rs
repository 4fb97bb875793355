//! Where rows come from: the trait [`Source`].

use std::collections::VecDeque;
use std::future::Future;
use std::io;

use crate::Row;

/// Hands out rows, one after the other.
///
/// A runner asks for a row only when it may start one, so that a source of any length needs no
/// memory.
pub trait Source: Send {
    /// Returns the next row; `None` at the end, and from then on.
    ///
    /// # Errors
    ///
    /// Where the input cannot be read any further. A line that is no request is not an error but a
    /// row: see [`Row::request`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must not lose a row.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Row>>> + Send;

    /// Returns how many bytes there are in all, where that is known.
    fn total_bytes(&self) -> Option<u64> {
        None
    }
}

/// Rows that are there already.
impl Source for VecDeque<Row> {
    async fn next(&mut self) -> io::Result<Option<Row>> {
        Ok(self.pop_front())
    }
}
