//! The journal of a run that is under way: [`Keeping`].

use std::collections::VecDeque;
use std::io;

use tokio::task::JoinHandle;

use crate::journal::record::{self, ANSWERED, RESULT, UNSENT};
use crate::journal::{Appender, Head, Index, Journal, Shelf};
use crate::output::{OutputError, ResultLine};

/// The most results that are read back at once, and the bytes after which no more are.
const BATCH: (usize, usize) = (512, 1 << 20);

/// Appends results, says when they are safe, and reads back those that were put aside.
#[derive(Debug)]
pub(super) struct Keeping {
    appender: Appender,
    index: Index,
    /// Records that were seen to be confirmed.
    confirmed: u64,
    /// Results that are appended and not confirmed, and the offsets of their records.
    unconfirmed: VecDeque<(u64, ResultLine)>,
    /// What reads; away while it does.
    shelf: Option<Shelf>,
    reading: Option<JoinHandle<(Shelf, io::Result<Vec<ResultLine>>)>>,
    /// Whether the failure was told.
    told: bool,
}

/// What the journal knows about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: it has to be sent.
    Nothing,
    /// Its result.
    Result {
        offset: u64,
        answered: bool,
        written: bool,
    },
    /// The result of a row that is not this one.
    Another,
}

/// What is noted beside a result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    pub(super) identity: u64,
    pub(super) micro_usd: u64,
    pub(super) tokens: u64,
    /// Whether nothing was sent for it.
    pub(super) unsent: bool,
}

impl Keeping {
    pub(super) fn start(journal: Journal) -> io::Result<Self> {
        let (appender, index, shelf) = journal.start()?;
        Ok(Self {
            appender,
            index,
            confirmed: 0,
            unconfirmed: VecDeque::new(),
            shelf: Some(shelf),
            reading: None,
            told: false,
        })
    }

    /// Looks a row up, by its place and what it sends. `id` is what its result is called.
    pub(super) fn known(&self, index: u64, identity: u64, id: &str) -> Known {
        let Some(entry) = self.index.get(index) else {
            return Known::Nothing;
        };
        let same = if entry.is_adopted() {
            entry.identity == record::check(id.as_bytes())
        } else {
            entry.identity == identity
        };
        if same {
            Known::Result {
                offset: entry.offset(),
                answered: entry.is_answered(),
                written: entry.is_written(),
            }
        } else {
            Known::Another
        }
    }

    /// Returns the first row behind all of which the journal knew when it was opened.
    pub(super) fn end(&self) -> u64 {
        self.index.end()
    }

    pub(super) fn append(&mut self, line: ResultLine, note: Note) {
        let mut flags = 0;
        if line.answered {
            flags |= ANSWERED;
        }
        if note.unsent {
            flags |= UNSENT;
        }
        let head = Head {
            kind: RESULT,
            flags,
            // A line of 4 GiB is not read by any transport of ours.
            len: u32::try_from(line.bytes.len()).unwrap_or(u32::MAX),
            index: line.index,
            identity: note.identity,
            micro_usd: note.micro_usd,
            tokens: note.tokens,
            check: record::check(&line.bytes),
        };
        let offset = self.appender.append(&head, &line.bytes);
        self.unconfirmed.push_back((offset, line));
    }

    /// Returns the next result that is safe, and where its record is.
    pub(super) fn next_confirmed(&mut self) -> Option<(u64, ResultLine)> {
        if self.confirmed == self.appender.confirmed() {
            return None;
        }
        self.confirmed += 1;
        self.unconfirmed.pop_front()
    }

    /// Returns a result that never became safe.
    pub(super) fn next_unconfirmed(&mut self) -> Option<ResultLine> {
        self.unconfirmed.pop_front().map(|(_, line)| line)
    }

    /// Returns how many results are not safe yet.
    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Returns why nothing more should begin, once.
    pub(super) fn failure(&mut self) -> Option<OutputError> {
        if self.told || !self.appender.has_failed() {
            return None;
        }
        self.told = true;
        self.appender.error()
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Begins to read the results at these offsets; the first of them, if they are many.
    pub(super) fn read(&mut self, offsets: Vec<u64>) {
        let Some(mut shelf) = self.shelf.take() else {
            return;
        };
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let mut bytes = 0;
            for offset in offsets {
                match shelf.line(offset) {
                    Ok(line) => {
                        bytes += line.bytes.len();
                        lines.push(line);
                    }
                    Err(error) => return (shelf, Err(error)),
                }
                if bytes >= BATCH.1 {
                    break;
                }
            }
            (shelf, Ok(lines))
        }));
    }

    /// The most offsets that [`read`](Self::read) should be given.
    pub(super) const fn most() -> usize {
        BATCH.0
    }

    /// Waits until something is safe, was read, or failed. Returns what was read.
    ///
    /// # Cancel safety
    ///
    /// Loses nothing.
    pub(super) async fn stirred(&mut self) -> Option<Result<Vec<ResultLine>, OutputError>> {
        let Some(reading) = &mut self.reading else {
            self.appender.stirred(self.confirmed, self.told).await;
            return None;
        };
        let read = tokio::select! {
            read = reading => read,
            () = self.appender.stirred(self.confirmed, self.told),
                if !self.unconfirmed.is_empty() => return None,
        };
        self.reading = None;
        let lines = match read {
            Ok((shelf, lines)) => {
                self.shelf = Some(shelf);
                lines
            }
            Err(error) => Err(io::Error::other(error)),
        };
        Some(lines.map_err(|error| (&error).into()))
    }

    /// Ends when what was appended is there, or cannot be.
    pub(super) async fn close(self) -> Option<OutputError> {
        let appender = self.appender;
        match tokio::task::spawn_blocking(move || appender.close()).await {
            Ok(error) => error,
            Err(error) => Some((&io::Error::other(error)).into()),
        }
    }
}
