//! Lines of bounded length.

use std::io::{self, BufRead, BufReader, Read};

/// How much is read at once.
const CHUNK: usize = 256 << 10;
/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Splits an input into lines, without their ends.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    max_bytes: usize,
    number: u64,
    position: u64,
}

/// What came next.
pub(super) enum Next {
    Line(Vec<u8>),
    TooLong,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, max_bytes: usize) -> Self {
        let input = BufReader::with_capacity(CHUNK, input);
        Self {
            input,
            max_bytes,
            number: 0,
            position: 0,
        }
    }

    /// Returns the next line; `None` at the end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Next>> {
        let mut line = Vec::new();
        let mut seen: u64 = 0;
        let mut too_long = false;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                if seen == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let content = &chunk[..end.unwrap_or(chunk.len())];
            // One more than the bound, which may be the `\r` of the end.
            too_long |= line.len() + content.len() > self.max_bytes.saturating_add(1);
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(content);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            seen += used as u64;
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.position += seen;
        self.number += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.number == 1 && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        let too_long = too_long || line.len() > self.max_bytes;
        Ok(Some(if too_long {
            Next::TooLong
        } else {
            Next::Line(line)
        }))
    }

    /// Returns the number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns how many bytes the lines so far have, their ends included.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Returns whether a line that is not blank is there already.
    pub(super) fn has_buffered_line(&self) -> bool {
        let mut bytes = self.input.buffer().iter();
        bytes.any(|byte| !byte.is_ascii_whitespace()) && bytes.any(|&byte| byte == b'\n')
    }
}
