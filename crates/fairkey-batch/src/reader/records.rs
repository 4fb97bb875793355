//! Records of CSV and TSV, of bounded length.

use std::io::{self, Read};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr_iter;

use super::archive::Stream;

/// The most columns that a record may have.
const MAX_COLUMNS: usize = 1 << 14;

/// Splits an input into records.
pub(super) struct Records {
    parser: Reader,
    max_bytes: usize,
    /// Lines that ended so far.
    ended: u64,
    /// The line in which the last record began, from 1.
    number: u64,
    /// The cells of the last record, one behind the other, and where each ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    columns: usize,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Record,
    TooLong,
    TooWide,
    /// The input ends within quotes.
    Unclosed,
}

impl Records {
    pub(super) fn new(delimiter: u8, max_bytes: usize) -> Self {
        Self {
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            max_bytes,
            ended: 0,
            number: 0,
            cells: vec![0; 4096.min(max_bytes.saturating_add(1))],
            ends: vec![0; 64],
            columns: 0,
        }
    }

    /// Returns what comes next, blank lines aside; `None` at the end.
    pub(super) fn next<R: Read>(&mut self, input: &mut Stream<R>) -> io::Result<Option<Next>> {
        if !self.skip_blank(input)? {
            return Ok(None);
        }
        self.number = self.ended + 1;
        self.columns = 0;
        let mut used = 0;
        let mut wrong = None;
        loop {
            let chunk = input.fill()?;
            let is_over = chunk.is_empty();
            // The last line needs no end; but within quotes, an end of a line ends no record.
            let (result, read, written, ended) = self.parser.read_record(
                if is_over { b"\n" } else { chunk },
                &mut self.cells[used..],
                &mut self.ends[self.columns..],
            );
            if !is_over {
                self.ended += memchr_iter(b'\n', &chunk[..read]).count() as u64;
                input.consume(read);
            }
            used += written;
            self.columns += ended;
            match result {
                ReadRecordResult::InputEmpty if is_over => {
                    self.parser.reset();
                    return Ok(Some(Next::Unclosed));
                }
                ReadRecordResult::InputEmpty => {}
                // One more than the bound tells that it is passed.
                ReadRecordResult::OutputFull if used <= self.max_bytes => {
                    let size = (2 * self.cells.len()).min(self.max_bytes.saturating_add(1));
                    self.cells.resize(size, 0);
                }
                ReadRecordResult::OutputFull => {
                    wrong.get_or_insert(Next::TooLong);
                    (used, self.columns) = (0, 0);
                }
                ReadRecordResult::OutputEndsFull if self.columns < MAX_COLUMNS => {
                    self.ends.resize(2 * self.ends.len(), 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    wrong.get_or_insert(Next::TooWide);
                    (used, self.columns) = (0, 0);
                }
                ReadRecordResult::Record | ReadRecordResult::End => {
                    return Ok(Some(wrong.unwrap_or(Next::Record)));
                }
            }
        }
    }

    /// Skips ends of lines before a record; `false` at the end of the input.
    fn skip_blank<R: Read>(&mut self, input: &mut Stream<R>) -> io::Result<bool> {
        loop {
            let chunk = input.fill()?;
            if chunk.is_empty() {
                return Ok(false);
            }
            let blank = chunk
                .iter()
                .take_while(|byte| matches!(byte, b'\n' | b'\r'))
                .count();
            self.ended += memchr_iter(b'\n', &chunk[..blank]).count() as u64;
            let all = blank == chunk.len();
            input.consume(blank);
            if !all {
                return Ok(true);
            }
        }
    }

    /// Returns the line in which the last record began, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Returns a cell of the last record.
    pub(super) fn cell(&self, column: usize) -> &[u8] {
        let begin = column.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[begin..self.ends[column]]
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns whether the last record is one cell of white space: a blank line, in a table of
    /// several columns.
    pub(super) fn is_blank(&self) -> bool {
        self.columns == 1 && self.cell(0).trim_ascii().is_empty()
    }
}
