//! Reading results back out of a journal: [`Shelf`].

use std::fs::File;
use std::io;

use super::record::{HEAD_BYTES, Head, STANDS};
use crate::output::ResultLine;

/// How much is read at once: results that are asked for one after the other lie close together.
const CHUNK: usize = 256 << 10;

/// Reads single records.
#[derive(Debug)]
pub(crate) struct Shelf(Window);

/// A result, as it is in the journal.
pub(crate) struct Found {
    pub(crate) head: Head,
    pub(crate) place: Place,
}

/// Where the line of a result is.
pub(crate) enum Place {
    Here(Vec<u8>),
    Output(Stands),
}

impl Shelf {
    pub(crate) fn new(journal: File) -> Self {
        Self(Window::new(journal))
    }

    /// Reads the record at `offset`.
    pub(crate) fn find(&mut self, offset: u64) -> io::Result<Found> {
        let head = self.0.bytes(offset, HEAD_BYTES)?;
        let head = Head::decode(head).ok_or_else(changed)?;
        let from = offset + HEAD_BYTES as u64;
        let payload = self.0.bytes(from, head.len as usize)?;
        if !head.fits(payload) {
            return Err(changed());
        }
        let place = match head.kind {
            STANDS => Place::Output(Stands::decode(payload).ok_or_else(changed)?),
            _ => Place::Here(payload.to_vec()),
        };
        Ok(Found { head, place })
    }

    /// Reads the result at `offset`.
    pub(crate) fn line(&mut self, offset: u64) -> io::Result<ResultLine> {
        let found = self.find(offset)?;
        match found.place {
            Place::Here(bytes) => Ok(ResultLine::new(
                found.head.index,
                found.head.is_answered(),
                bytes,
            )),
            Place::Output(_) => Err(changed()),
        }
    }
}

/// Where a result stands in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) check: u64,
}

impl Stands {
    pub(crate) fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..].copy_from_slice(&self.check.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 20] = bytes.try_into().ok()?;
        let (offset, rest) = bytes.split_first_chunk()?;
        let (len, check) = rest.split_first_chunk()?;
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            len: u32::from_le_bytes(*len),
            check: u64::from_le_bytes(check.try_into().ok()?),
        })
    }
}

fn changed() -> io::Error {
    let message = "it is not what it was: somebody else has written to it";
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// A file, and the part of it that was read last.
#[derive(Debug)]
struct Window {
    file: File,
    base: u64,
    buffer: Vec<u8>,
}

impl Window {
    fn new(file: File) -> Self {
        Self {
            file,
            base: 0,
            buffer: Vec::new(),
        }
    }

    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = offset + len as u64;
        let has = offset >= self.base && end <= self.base + self.buffer.len() as u64;
        if !has {
            self.base = offset;
            self.buffer.resize(len.max(CHUNK), 0);
            let read = read_at(&self.file, offset, &mut self.buffer);
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from = (offset - self.base) as usize;
        self.buffer
            .get(from..from + len)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Reads what is there, wherever the cursor is: who appends shares it.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, &mut buffer[done..], at);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, &mut buffer[done..], at);
        match read {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
