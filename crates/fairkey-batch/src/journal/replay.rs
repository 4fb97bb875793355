//! Reading a journal from its beginning, whatever happened to it: [`Replay`].

use std::io::{self, Read};

use super::record::{HEAD_BYTES, Head, MARKER};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// Hands out the records of a journal that are whole and sound, in their order.
///
/// Behind a record that is not, the next one is looked for: each record stands for itself.
#[derive(Debug)]
pub(crate) struct Replay<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where what was not looked at yet begins in the buffer.
    at: usize,
    /// The offset of the buffer in the journal.
    base: u64,
    ended: bool,
    /// The offset behind the last sound record.
    end: u64,
    /// Bytes before it that are no record.
    damaged: u64,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) offset: u64,
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
}

impl<R: Read> Replay<R> {
    /// Reads from `input`, whose first byte stands at `offset` of the journal.
    pub(crate) fn new(input: R, offset: u64) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            at: 0,
            base: offset,
            ended: false,
            end: offset,
            damaged: 0,
        }
    }

    /// Returns the next sound record; `None` at the end.
    pub(crate) fn next_record(&mut self) -> io::Result<Option<Record<'_>>> {
        loop {
            if self.fill(HEAD_BYTES)? < HEAD_BYTES {
                return Ok(None);
            }
            if let Some(head) = Head::decode(&self.buffer[self.at..]) {
                let whole = HEAD_BYTES + head.len as usize;
                let there = self.fill(whole)? >= whole;
                let from = self.at;
                if there && head.fits(&self.buffer[from + HEAD_BYTES..from + whole]) {
                    let offset = self.base + from as u64;
                    self.damaged += offset - self.end;
                    self.at += whole;
                    self.end = offset + whole as u64;
                    return Ok(Some(Record {
                        offset,
                        head,
                        payload: &self.buffer[from + HEAD_BYTES..from + whole],
                    }));
                }
            }
            self.at += 1;
            let rest = &self.buffer[self.at..];
            self.at += rest
                .iter()
                .position(|&byte| byte == MARKER)
                .unwrap_or(rest.len());
        }
    }

    /// Returns the offset behind the last sound record, and how many bytes before it are none.
    /// What lies behind is torn.
    pub(crate) fn end(&self) -> (u64, u64) {
        (self.end, self.damaged)
    }

    /// Reads until so many bytes are there that were not looked at, or all. Returns how many are.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        while self.buffer.len() - self.at < wanted && !self.ended {
            // Moved to the front seldom: when there is a chunk of what is done.
            if self.at >= CHUNK {
                self.buffer.drain(..self.at);
                self.base += self.at as u64;
                self.at = 0;
            }
            let before = self.buffer.len();
            // Memory follows what is there, not what a damaged length claims.
            self.buffer.resize(before + CHUNK, 0);
            let read = self.input.read(&mut self.buffer[before..]);
            let n = match &read {
                Ok(n) => *n,
                Err(_) => 0,
            };
            self.buffer.truncate(before + n);
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer.len() - self.at)
    }
}
