//! From rows that are done to lines that are written: [`Delivery`].

use std::io;

use super::keeping::{Keeping, Known, Note};
use super::stopped::Stopped;
use super::window::{Next, Settled, Window};
use super::written::Written;
use crate::journal::Journal;
use crate::output::{Output, OutputError, ResultLine};
use crate::summary::Rows;

/// Brings results into the journal, then into their order and to the output, and knows which of
/// them are written.
#[derive(Debug)]
pub(super) struct Delivery<O> {
    output: O,
    window: Window,
    written: Written,
    keeping: Option<Keeping>,
    /// How many bytes of results may wait in memory, where there is a journal to wait in.
    held_bytes: usize,
    /// Whether what is in the journal cannot be read back, or not be written.
    broken: bool,
}

impl<O: Output> Delivery<O> {
    pub(super) fn new(output: O, ordered: bool, held_bytes: usize) -> Self {
        Self {
            output,
            window: Window::new(ordered),
            written: Written::default(),
            keeping: None,
            held_bytes,
            broken: false,
        }
    }

    /// Keeps results in a journal from now on.
    pub(super) fn keep(&mut self, journal: Journal) -> io::Result<()> {
        self.keeping = Some(Keeping::start(journal)?);
        Ok(())
    }

    pub(super) fn has_journal(&self) -> bool {
        self.keeping.is_some()
    }

    /// Returns the first row behind all of which the journal knew when it was opened.
    pub(super) fn known_rows(&self) -> u64 {
        self.keeping.as_ref().map_or(0, Keeping::end)
    }

    /// Returns what the journal knows about a row.
    pub(super) fn known(&self, index: u64, identity: u64, id: &str) -> Known {
        match &self.keeping {
            Some(keeping) => keeping.known(index, identity, id),
            None => Known::Nothing,
        }
    }

    /// Returns how many rows are begun and not handed to the output.
    pub(super) fn rows(&self) -> usize {
        self.window.rows()
    }

    /// Returns how many bytes of results wait in memory for a row before them.
    pub(super) fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Returns how many results are not safe in the journal yet.
    pub(super) fn unconfirmed(&self) -> usize {
        self.keeping.as_ref().map_or(0, Keeping::unconfirmed)
    }

    /// Returns the row that others wait for, where some do.
    pub(super) fn awaited(&self) -> Option<u64> {
        self.window.awaited()
    }

    /// A row begins; rows begin in order.
    pub(super) fn open(&mut self) {
        self.window.open();
    }

    /// A row is done.
    pub(super) fn done(&mut self, line: ResultLine, note: Note) {
        match &mut self.keeping {
            Some(keeping) => keeping.append(line, note),
            None => self.window.settle(line.index, Settled::Line(line)),
        }
        self.advance();
    }

    /// A row was done before: its result is in the journal, and perhaps in the output.
    pub(super) fn was_done(&mut self, index: u64, offset: u64, answered: bool, written: bool) {
        if written {
            self.written.was_written(answered);
            self.window.settle(index, Settled::Nothing);
        } else {
            self.window.settle(index, Settled::Shelved(offset));
        }
        self.advance();
    }

    /// A row is given up: nothing will come of it.
    pub(super) fn given_up(&mut self, index: u64) {
        self.window.settle(index, Settled::Nothing);
        self.advance();
    }

    /// Hands out what can be written now.
    fn advance(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            while let Some((offset, line)) = keeping.next_confirmed() {
                let waits = !self.window.is_next(line.index);
                let full = self.window.bytes() + line.bytes.len() > self.held_bytes;
                let index = line.index;
                let settled = if waits && full {
                    Settled::Shelved(offset)
                } else {
                    Settled::Line(line)
                };
                self.window.settle(index, settled);
            }
        }
        loop {
            match self.window.take() {
                Next::Line(line) => self.push(line),
                Next::Shelved => {
                    self.fetch();
                    break;
                }
                Next::Nothing => break,
            }
        }
        self.written.confirm(self.output.written());
    }

    fn push(&mut self, line: ResultLine) {
        self.written.push(line.answered);
        self.output.push(line);
    }

    /// Has what comes next read from the journal, unless that is on its way or unwelcome.
    fn fetch(&mut self) {
        let Some(keeping) = &mut self.keeping else {
            return;
        };
        if !keeping.is_reading() && !self.broken && self.output.is_ready() {
            keeping.read(self.window.shelved(Keeping::most()));
        }
    }

    /// Returns whether [`stirred`](Self::stirred) has something to wait for on its own.
    pub(super) fn is_stirring(&self) -> bool {
        let keeping = self.keeping.as_ref();
        keeping.is_some_and(|keeping| keeping.is_reading() || keeping.unconfirmed() > 0)
            || self.awaits_room()
    }

    /// Returns whether results wait in the journal until the output takes more.
    fn awaits_room(&self) -> bool {
        let is_reading = self.keeping.as_ref().is_some_and(Keeping::is_reading);
        // Whether it does by now is not asked: nobody else would have them read then.
        !self.broken && !is_reading && !self.window.shelved(1).is_empty()
    }

    /// Waits until more can be handed out, and does; or, where there is room to be waited for,
    /// until the output takes more. Says what went wrong; each thing once.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub(super) async fn stirred(&mut self, room: bool) -> Result<(), Stopped> {
        let room = room || self.awaits_room();
        let mut stirred = Ok(());
        let mut read = None;
        match &mut self.keeping {
            None => stirred = self.output.ready().await,
            Some(keeping) => tokio::select! {
                biased;
                lines = keeping.stirred() => read = lines,
                ready = self.output.ready(), if room => stirred = ready,
            },
        }
        if let Err(error) = stirred {
            self.broken = true;
            return Err(Stopped::OutputFailed(error));
        }
        match read {
            Some(Ok(lines)) => {
                self.window.pass(lines.len());
                lines.into_iter().for_each(|line| self.push(line));
            }
            Some(Err(error)) => {
                self.broken = true;
                return Err(Stopped::JournalFailed(error));
            }
            None => {}
        }
        self.advance();
        Ok(())
    }

    /// Returns why the journal cannot be written, once.
    pub(super) fn journal_failure(&mut self) -> Option<OutputError> {
        self.keeping.as_mut()?.failure()
    }

    /// Waits until every result is safe in the journal.
    pub(super) async fn kept(&mut self) {
        while self.unconfirmed() > 0 {
            // It was told before, or will be at the end: to hear of it once is enough.
            let _ = self.stirred(false).await;
            let _ = self.journal_failure();
        }
    }

    /// Returns whether nothing more will be handed out unless another row ends.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_stirring() && (self.broken || self.window.shelved(1).is_empty())
    }

    /// Hands out what is not safe in the journal, and never will be.
    pub(super) fn give_up_keeping(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            while let Some(line) = keeping.next_unconfirmed() {
                self.window.settle(line.index, Settled::Line(line));
            }
        }
        self.advance();
    }

    /// Returns whether the output takes no more at this moment.
    pub(super) fn is_blocked(&self) -> bool {
        !self.output.is_ready()
    }

    /// Waits until everything is written.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub(super) async fn finish(&mut self) -> Result<(), OutputError> {
        self.output.finish().await
    }

    /// Ends the journal. Returns what went wrong with it.
    pub(super) async fn close_journal(&mut self) -> Option<OutputError> {
        self.keeping.take()?.close().await
    }

    /// Puts every row that is done into one place, once nothing more is written.
    pub(super) fn close(&mut self, rows: &mut Rows) {
        self.written.confirm(self.output.written());
        self.written.close(rows);
    }
}
