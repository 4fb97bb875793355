//! From rows that are done to lines that are written: [`Delivery`].

use super::window::Window;
use super::written::Written;
use crate::output::{Output, OutputError, ResultLine};
use crate::summary::Rows;

/// Brings results into their order and to the output, and knows which of them are written.
#[derive(Debug)]
pub(super) struct Delivery<O> {
    output: O,
    window: Window,
    written: Written,
}

impl<O: Output> Delivery<O> {
    pub(super) fn new(output: O, ordered: bool) -> Self {
        Self {
            output,
            window: Window::new(ordered),
            written: Written::default(),
        }
    }

    /// Returns how many rows are begun and not handed to the output.
    pub(super) fn rows(&self) -> usize {
        self.window.rows()
    }

    /// Returns how many bytes of results wait for a row before them.
    pub(super) fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// A row begins; rows begin in order.
    pub(super) fn open(&mut self) {
        self.window.open();
    }

    /// A row is done.
    pub(super) fn done(&mut self, line: ResultLine) {
        self.window.settle(line.index, Some(line));
        self.advance();
    }

    /// A row is given up: nothing will come of it.
    pub(super) fn given_up(&mut self, index: u64) {
        self.window.settle(index, None);
        self.advance();
    }

    /// Hands out what can be written now.
    fn advance(&mut self) {
        while let Some(line) = self.window.take() {
            self.written.push(line.answered);
            self.output.push(line);
        }
        self.written.confirm(self.output.written());
    }

    /// Returns whether the output takes no more at this moment.
    pub(super) fn is_blocked(&self) -> bool {
        !self.output.is_ready()
    }

    /// Waits until the output takes more.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub(super) async fn ready(&mut self) -> Result<(), OutputError> {
        self.output.ready().await
    }

    /// Waits until everything is written.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub(super) async fn finish(&mut self) -> Result<(), OutputError> {
        self.output.finish().await
    }

    /// Puts every row that is done into one place, once nothing more is written.
    pub(super) fn close(&mut self, rows: &mut Rows) {
        let written = self.output.written();
        self.written.confirm(written);
        self.written.close(rows);
        rows.written = written;
    }
}
