//! Lines of bounded length.

use std::io::{self, Read};

use memchr::memchr;

use super::archive::Stream;

/// Splits an input into lines, without their ends.
pub(super) struct Lines {
    max_bytes: usize,
    number: u64,
}

/// What came next.
pub(super) enum Next {
    Line(Vec<u8>),
    TooLong,
}

impl Lines {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            number: 0,
        }
    }

    /// Returns the next line; `None` at the end.
    pub(super) fn next<R: Read>(&mut self, input: &mut Stream<R>) -> io::Result<Option<Next>> {
        let mut line = Vec::new();
        let mut any = false;
        let mut too_long = false;
        loop {
            let chunk = input.fill()?;
            if chunk.is_empty() {
                if !any {
                    return Ok(None);
                }
                break;
            }
            any = true;
            let end = memchr(b'\n', chunk);
            let content = &chunk[..end.unwrap_or(chunk.len())];
            // One more than the bound, which may be the `\r` of the end.
            too_long |= line.len() + content.len() > self.max_bytes.saturating_add(1);
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(content);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
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

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

/// Returns whether a line that is not blank is there already.
pub(super) fn has_line(buffered: &[u8]) -> bool {
    let begin = buffered.iter().position(|byte| !byte.is_ascii_whitespace());
    begin.is_some_and(|begin| memchr(b'\n', &buffered[begin..]).is_some())
}
